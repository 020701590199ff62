//! `host`: what Docker finds on its machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use super::{firewall, lan, listen};
use crate::addr::{IfName, IpNet, Transport};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::files::Files;
use crate::topology::{Machine, RouteSpec};

const KEYS: &[&str] =
    &["interfaces", "routes", "resolv_conf", "hosts", "ports_in_use", "sysctls", "boot", "firewall"];

const FORWARD: &str = "net.ipv4.ip_forward";

/// Reads `host`.
pub(super) fn read(field: Field<'_>, folder: &Path, files: &dyn Files, out: &mut Diagnostics) -> Machine {
    let node = field.node;
    let mut machine = Machine::default();
    if !super::keys(node, KEYS, "'host'", out) {
        return machine;
    }
    if let Some(field) = Field::of(node, "interfaces") {
        machine.interfaces = interfaces(field, out);
        // The default way out is there where an interface leads to it.
        machine.routes.retain(|r| r.via.is_some_and(|via| is_on_link(via, &machine.interfaces)));
    }
    if let Some(field) = Field::of(node, "routes") {
        machine.routes = routes(field, &machine.interfaces, out);
    }
    if let Some(text) = Field::of(node, "resolv_conf").and_then(|f| f.text(out)) {
        machine.resolv_conf = with_newline(text);
    }
    if let Some(text) = Field::of(node, "hosts").and_then(|f| f.text(out)) {
        machine.hosts_file = with_newline(text);
    }
    if let Some(field) = Field::of(node, "ports_in_use") {
        machine.ports_in_use = ports(field, out);
    }
    if let Some(field) = Field::of(node, "sysctls") {
        machine.sysctls = sysctls(field, out);
    }
    machine.boot_ip_forward = forwarding(field, &machine.sysctls, out);
    if let Some(field) = Field::of(node, "firewall") {
        firewall::read(field, folder, files, &mut machine, out);
    }
    machine
}

fn with_newline(text: &str) -> String {
    if text.ends_with('\n') || text.is_empty() { text.to_owned() } else { format!("{text}\n") }
}

fn interfaces(field: Field<'_>, out: &mut Diagnostics) -> BTreeMap<IfName, Vec<IpNet>> {
    let mut interfaces = BTreeMap::new();
    for (key, node) in field.mapping(out) {
        match key.name.parse::<IfName>() {
            Ok(name) => _ = interfaces.insert(name, addresses(Field { name: &key.name, node }, out)),
            Err(e) => out.push(Diagnostic::new(key.at.clone(), e.to_string())),
        }
    }
    interfaces
}

/// An address with its prefix, or a list of them.
pub(super) fn addresses(field: Field<'_>, out: &mut Diagnostics) -> Vec<IpNet> {
    let mut addresses: Vec<IpNet> = Vec::new();
    for (text, at) in field.string_or_list(out) {
        match address(text) {
            Ok(net) if addresses.iter().any(|a| a.addr() == net.addr()) => {
                out.push(Diagnostic::new(at, format!("{} a second time", net.addr())));
            }
            Ok(net) => addresses.push(net),
            Err(why) => {
                let wrong = Diagnostic::new(at, why);
                out.push(
                    wrong.expected("an address with its prefix, as in 203.0.113.50/24 or 2001:db8::50/64"),
                );
            }
        }
    }
    addresses
}

/// A machine's address; neither that of its network nor its broadcast (RFC 922).
fn address(text: &str) -> Result<IpNet, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("'{text}' has no prefix"));
    }
    let net: IpNet = text.parse().map_err(|_| format!("'{text}' is no address"))?;
    let wide = net.prefix_len() + 1 < net.max_prefix_len();
    match net {
        IpNet::V4(v4) if wide && v4.addr() == v4.network() => Err(format!("{text} is the network itself")),
        IpNet::V4(v4) if wide && v4.addr() == v4.broadcast() => {
            Err(format!("{text} is the network's broadcast"))
        }
        _ if net.addr().is_unspecified() || net.addr().is_multicast() => {
            Err(format!("{text} is no machine's address"))
        }
        IpNet::V4(_) | IpNet::V6(_) => Ok(net),
    }
}

/// A list of routes whose next hops are on a network of the machine.
pub(super) fn routes(
    field: Field<'_>,
    interfaces: &BTreeMap<IfName, Vec<IpNet>>,
    out: &mut Diagnostics,
) -> Vec<RouteSpec> {
    let mut routes = Vec::new();
    for (text, at) in field.string_or_list(out) {
        match text.parse::<RouteSpec>() {
            Ok(route) => match wrong_route(&route, interfaces) {
                Some(why) => out.push(Diagnostic::new(at, format!("the route '{text}': {why}"))),
                None => routes.push(route),
            },
            Err(e) => out.push(Diagnostic::new(at, e.to_string())),
        }
    }
    routes
}

fn wrong_route(route: &RouteSpec, interfaces: &BTreeMap<IfName, Vec<IpNet>>) -> Option<String> {
    if let Some(dev) = route.dev.as_ref().filter(|dev| !interfaces.contains_key(dev)) {
        return Some(format!("there is no device {dev}"));
    }
    let via = route.via?;
    if !lan::same_family(route.to, via) {
        return Some(format!("{} and {via} are of different families", route.to));
    }
    let link_local = matches!(via, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if link_local && route.dev.is_none() {
        return Some(format!("{via} is link-local: it needs a device"));
    }
    (!link_local && !is_on_link(via, interfaces)).then(|| format!("{via} is on no network of this machine"))
}

fn is_on_link(address: IpAddr, interfaces: &BTreeMap<IfName, Vec<IpNet>>) -> bool {
    interfaces.values().flatten().any(|net| net.contains(&address))
}

/// `ports_in_use`: a list of PORT/PROTO.
fn ports(field: Field<'_>, out: &mut Diagnostics) -> Vec<(Transport, u16)> {
    let mut ports = Vec::new();
    for (text, at) in listen::texts(field, out) {
        match listen::socket(text) {
            Ok((None, port, transport)) => ports.push((transport, port)),
            Ok((Some(_), ..)) => {
                out.push(
                    Diagnostic::new(at, format!("'{text}' names an address"))
                        .expected("PORT/PROTO, as in 80/tcp"),
                );
            }
            Err(found) => out.push(Diagnostic::new(at, found).expected("PORT/PROTO, as in 80/tcp")),
        }
    }
    ports
}

/// `sysctls`: a key under net, and a value.
fn sysctls(field: Field<'_>, out: &mut Diagnostics) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (key, node) in field.mapping(out) {
        let words = key.name.split('.').count() > 2 && !key.name.split('.').any(str::is_empty);
        if !words || !key.name.starts_with("net.") {
            let wrong = Diagnostic::new(key.at.clone(), format!("'{}' as a setting", key.name));
            out.push(wrong.expected("a key under net, as in net.ipv4.ip_forward"));
            continue;
        }
        let value = Field { name: &key.name, node }.text(out);
        settings.extend(value.map(|v| (key.name.clone(), v.to_owned())));
    }
    settings
}

/// Whether forwarding was on before Docker came: `boot: { ip_forward }`, or the setting itself.
fn forwarding(field: Field<'_>, sysctls: &BTreeMap<String, String>, out: &mut Diagnostics) -> bool {
    let set = sysctls.get(FORWARD).map(|v| v != "0");
    let Some(boot) = Field::of(field.node, "boot") else { return set.unwrap_or(false) };
    super::keys(boot.node, &["ip_forward"], "'boot'", out);
    let Some(ip_forward) = Field::of(boot.node, "ip_forward") else { return set.unwrap_or(false) };
    let said = match ip_forward.text(out) {
        Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(other) => {
            out.push(ip_forward.bad(format!("'ip_forward' is '{other}'")).expected("0 or 1"));
            return false;
        }
        None => return false,
    };
    if set.is_some_and(|set| set != said) {
        out.push(contradiction(ip_forward.at(), field));
    }
    said
}

fn contradiction(at: At, field: Field<'_>) -> Diagnostic {
    let wrong = Diagnostic::new(at, "'boot' and 'sysctls' contradict each other").expected("one of them");
    let setting = Field::of(field.node, "sysctls").and_then(|f| Field::of(f.node, FORWARD));
    match setting {
        Some(setting) => wrong.related(setting.at(), "the setting"),
        None => wrong,
    }
}
