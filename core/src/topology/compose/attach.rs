//! A service's `networks`: which it joins, and how.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{check, keys};
use crate::addr::{Family, IfName, MacAddr};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::Attachment;
use crate::topology::field::{Field, nearest};
use crate::topology::yaml::{Node, Value};

/// One entry of `networks`, and what only Compose needs to know of it.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    /// What it says.
    pub(super) attachment: Attachment,
    /// `priority`: the service's hardware address goes to the network with the highest, by name among equals.
    pub(super) priority: f64,
    /// Where its static addresses stand.
    pub(super) addresses_at: Vec<(IpAddr, At)>,
}

/// The entries of `networks`, a list of names or a mapping.
pub(super) fn all(field: Field<'_>, out: &mut Diagnostics) -> Vec<Joined> {
    let mut all: Vec<Joined> = Vec::new();
    match &field.node.value {
        Value::Sequence(_) => {
            let mut seen = BTreeSet::new();
            for (name, at) in field.strings(out) {
                if seen.insert(name) {
                    all.push(plain(name, at));
                }
            }
        }
        Value::Mapping(entries) => {
            for (key, node) in entries {
                match &node.value {
                    Value::Mapping(_) => all.push(one(&key.name, &key.at, node, out)),
                    Value::Scalar(_) if node.is_null() => all.push(plain(&key.name, key.at.clone())),
                    Value::Scalar(_) | Value::Sequence(_) => {
                        out.push(Field { name: &key.name, node }.wrong("a mapping, or nothing"));
                    }
                }
            }
        }
        Value::Scalar(_) => out.push(field.wrong("a list of networks, or a mapping")),
    }
    all
}

/// An entry that is a name alone.
pub(super) fn plain(network: &str, at: At) -> Joined {
    Joined { attachment: Attachment::plain(network, at), priority: 0.0, addresses_at: Vec::new() }
}

fn one(network: &str, at: &At, node: &Node, out: &mut Diagnostics) -> Joined {
    keys::check(node, keys::ATTACHMENT, "a service's network", out);
    let field = |name| Field::of(node, name);
    let aliases = field("aliases").map(|f| f.strings(out)).unwrap_or_default();
    let ipv4_address = field("ipv4_address").and_then(|f| address(f, Family::V4, out));
    let ipv6_address = field("ipv6_address").and_then(|f| address(f, Family::V6, out));
    let addresses_at = [("ipv4_address", ipv4_address), ("ipv6_address", ipv6_address)];
    let addresses_at = addresses_at.into_iter().filter_map(|(key, a)| Some((a?, field(key)?.at())));
    let link_local = field("link_local_ips").map(|f| f.entries(out).collect::<Vec<_>>()).unwrap_or_default();
    let mut attachment = Attachment {
        aliases: aliases.into_iter().map(|(alias, _)| alias.to_owned()).collect(),
        ipv4_address,
        ipv6_address,
        link_local_ips: link_local.into_iter().filter_map(|f| link_local_address(f, out)).collect(),
        mac_address: field("mac_address").and_then(|f| mac_address(f, out)),
        gw_priority: field("gw_priority").and_then(|f| whole(f, out)).unwrap_or_default(),
        interface_name: field("interface_name").and_then(|f| interface_name(f, out)),
        ..Attachment::plain(network, at.clone())
    };
    if let Some(options) = field("driver_opts") {
        driver_opts(options, &mut attachment, out);
    }
    let priority = field("priority").and_then(|f| f.parse_as("a number", out)).unwrap_or_default();
    Joined { attachment, priority, addresses_at: addresses_at.collect() }
}

/// A number without a fraction.
fn whole(field: Field<'_>, out: &mut Diagnostics) -> Option<i64> {
    field.parse_as("a whole number", out)
}

fn address(field: Field<'_>, family: Family, out: &mut Diagnostics) -> Option<IpAddr> {
    let text = field.string(out).filter(|t| !t.is_empty())?;
    let read = text.parse().ok().filter(|a| Family::of(*a) == family);
    if read.is_none() {
        let found = format!("invalid IPv{} address: {text}", family.number());
        out.push(
            field.bad(found).expected(format!("an IPv{} address without a prefix length", family.number())),
        );
    }
    read
}

fn link_local_address(field: Field<'_>, out: &mut Diagnostics) -> Option<IpAddr> {
    let text = field.string(out)?;
    let is_link_local = |a: &IpAddr| match a {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let read = text.parse().ok().filter(is_link_local);
    if read.is_none() {
        let found = format!("invalid link local IP address: {text}");
        out.push(field.bad(found).expected("an address of 169.254.0.0/16 or fe80::/10"));
    }
    read
}

/// A hardware address that a device can have: Linux takes neither a group's nor zero.
pub(super) fn mac_address(field: Field<'_>, out: &mut Diagnostics) -> Option<MacAddr> {
    let text = field.string(out).filter(|t| !t.is_empty())?;
    let dotted = || {
        let digits: String = text.split('.').filter(|p| p.len() == 4).collect();
        let pairs = digits.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned());
        pairs.collect::<Vec<_>>().join(":").parse::<MacAddr>()
    };
    match text.parse::<MacAddr>().or_else(|e| dotted().map_err(|_| e)) {
        Ok(mac) if mac.is_multicast() || mac == MacAddr::ZERO => {
            let found = format!("error setting interface MAC to \"{mac}\": cannot assign requested address");
            out.push(
                field
                    .bad(found)
                    .expected("the address of one device: its first byte is even, and not all are 0"),
            );
            None
        }
        Ok(mac) => Some(mac),
        Err(e) => {
            out.push(field.bad(format!("invalid MAC address: {e}")));
            None
        }
    }
}

fn interface_name(field: Field<'_>, out: &mut Diagnostics) -> Option<IfName> {
    let text = field.string(out).filter(|t| !t.is_empty())?;
    // Linux has directories of these names beside those of devices (net/ipv4/devinet.c); `lo` is there already.
    if matches!(text, "all" | "default" | "lo") {
        let found = format!("error renaming interface to \"{text}\": the name is taken");
        out.push(field.bad(found).expected("another name"));
        return None;
    }
    match text.parse::<IfName>() {
        Ok(name) => Some(name),
        Err(e) => {
            out.push(field.bad(e.to_string()));
            None
        }
    }
}

const IFNAME: &str = "com.docker.network.endpoint.ifname";
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Options of the endpoint; what begins with `com.docker.network` and is none of Docker's is refused.
fn driver_opts(field: Field<'_>, attachment: &mut Attachment, out: &mut Diagnostics) {
    for (key, node) in field.mapping(out) {
        let option = Field { name: &key.name, node };
        match key.name.as_str() {
            IFNAME => {
                let name = interface_name(option, out);
                attachment.interface_name = attachment.interface_name.take().or(name);
            }
            SYSCTLS => attachment.sysctls.extend(endpoint_sysctls(option, out)),
            name if name.starts_with("com.docker.network.") => {
                let near = nearest(name, [IFNAME, SYSCTLS]).unwrap_or(SYSCTLS);
                let found = format!("an endpoint has no option '{name}'");
                out.push(Diagnostic::new(key.at.clone(), found).expected(format!("'{near}'")));
            }
            // Docker hands it to a driver that does not look at it.
            _ => {}
        }
    }
}

/// `net.ipv4.conf.IFNAME.log_martians=1,…`.
fn endpoint_sysctls(field: Field<'_>, out: &mut Diagnostics) -> Vec<(String, String)> {
    let Some(text) = field.string(out) else { return Vec::new() };
    let mut all = Vec::new();
    for setting in text.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        let Some((name, value)) = setting.split_once('=') else {
            let found = format!("expected sysctl '{setting}' to have format name=value");
            out.push(field.bad(found));
            continue;
        };
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["net", family @ ("ipv4" | "ipv6" | "mpls"), group, "IFNAME" | "ifname", key] => {
                if group.is_empty() || key.is_empty() {
                    let found = format!("/proc/sys/net/{family}/{group}/IFNAME/{key} is not a sysctl file");
                    out.push(field.bad(found));
                }
                all.push((format!("net.{family}.{group}.IFNAME.{key}"), value.to_owned()));
            }
            _ => out.push(field.bad(format!("unrecognised network interface sysctl '{setting}'")).expected(
                "'net.X.Y.ethN.Z=V' represented as 'net.X.Y.IFNAME.Z=V', X being ipv4, ipv6 or mpls",
            )),
        }
    }
    all
}

/// Gives the service's hardware address to the network that Compose gives it to.
pub(super) fn service_mac(all: &mut [Joined], mac: Option<(MacAddr, At)>, out: &mut Diagnostics) {
    let Some((mac, at)) = mac else { return };
    let first = all.iter_mut().max_by(|a, b| {
        let by_name = || b.attachment.network.cmp(&a.attachment.network);
        a.priority.total_cmp(&b.priority).then_with(by_name)
    });
    let Some(Joined { attachment, .. }) = first else { return };
    match attachment.mac_address {
        Some(other) if other != mac => {
            let network = &attachment.network;
            let found =
                format!("the service-level mac_address should have the same value as network {network}");
            out.push(Diagnostic::new(at, found).expected(format!("{other}, or no 'mac_address' here")));
        }
        Some(_) | None => attachment.mac_address = Some(mac),
    }
}

/// Refuses a device's name that stands twice in one service.
pub(super) fn check_names(all: &[Joined], out: &mut Diagnostics) {
    let named = all.iter().filter_map(|j| Some((j.attachment.interface_name.as_ref()?, &j.attachment.at)));
    check::twice(named, out, |name| {
        (format!("error renaming interface to \"{name}\": file exists"), "another name".to_owned())
    });
}
