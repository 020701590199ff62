//! `networks` at the top level: drivers, addresses, what is external.

use std::net::IpAddr;

use super::load::Findings;
use super::{check, keys, options};
use crate::addr::{Family, IpNet};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::field::{Field, nearest};
use crate::topology::yaml::{Key, Node};
use crate::topology::{BridgeOptions, Driver, GatewayMode, Network, Pool};

/// The key of the network that services join which name none.
pub(super) const DEFAULT: &str = "default";

/// Docker's own networks: no project can make or have them.
pub(super) const PREDEFINED: &[&str] = &["bridge", "host", "none"];

/// The networks as they are written, those that were refused too, behind the implicit one where it is not among them.
pub(super) fn all(root: &Node, project: &str, found: &mut Findings<'_>) -> Vec<Network> {
    let mut all = Vec::new();
    for (key, node) in Field::of(root, "networks").map(|f| f.mapping(found.out)).unwrap_or_default() {
        all.push(one(key, node, project, found));
    }
    let names = all.iter().map(|n| (&n.name, &n.at));
    check::twice(names, found.out, |name| {
        (format!("two networks with the name '{name}'"), "another 'name', or one network".to_owned())
    });
    if !all.iter().any(|n| n.key == DEFAULT) {
        all.insert(0, plain(DEFAULT, project, root.at.clone()));
    }
    all
}

fn plain(key: &str, project: &str, at: At) -> Network {
    Network {
        key: key.to_owned(),
        name: format!("{project}_{key}"),
        driver: Driver::Bridge(BridgeOptions::default()),
        ipv4: true,
        ipv6: false,
        internal: false,
        attachable: false,
        external: false,
        pools: Vec::new(),
        at,
    }
}

fn one(key: &Key, node: &Node, project: &str, found: &mut Findings<'_>) -> Network {
    check::name("network", key, found.out);
    let out = &mut *found.out;
    if node.is_null() || !keys::check_mapping(&key.name, node, keys::NETWORK, "a network", out) {
        return plain(&key.name, project, key.at.clone());
    }
    let mut flag = |name, default| Field::of(node, name).and_then(|f| f.boolean(out)).unwrap_or(default);
    let mut network = Network {
        ipv4: flag("enable_ipv4", true),
        ipv6: flag("enable_ipv6", false),
        internal: flag("internal", false),
        attachable: flag("attachable", false),
        ..plain(&key.name, project, key.at.clone())
    };
    name(node, &mut network, found);
    network.driver = driver(node, &mut network, found).unwrap_or(network.driver);
    network.pools = ipam(node, found.out);
    finished(&network, node, found.out);
    network
}

/// `name` and `external`, which has an older form with a name of its own.
fn name(node: &Node, network: &mut Network, found: &mut Findings<'_>) {
    let name = Field::of(node, "name").and_then(|f| Some((f.string(found.out)?, f)));
    let external = Field::of(node, "external");
    let older = external.and_then(|f| Field::of(f.node, "name"));
    if let Some((external, older)) = external.zip(older) {
        keys::check(external.node, &["name"], "'external'", found.out);
        let deprecated = Diagnostic::new(older.at(), "'external.name' is deprecated");
        found.warnings.push(deprecated.expected("'name', and 'external: true'"));
        network.external = true;
        let older_name = older.string(found.out).unwrap_or_default();
        if name.is_some_and(|(name, _)| name != older_name) {
            let clash = older.bad("'name' and 'external.name' conflict");
            found.out.push(clash.expected("only 'name'"));
        }
        network.name = older_name.to_owned();
    } else if let Some(external) = external {
        network.external = external.boolean(found.out).unwrap_or(false);
    }
    match name {
        Some((name, field)) if PREDEFINED.contains(&name) && !network.external => {
            let found_here = format!("'{name}' is one of Docker's own networks");
            found.out.push(field.bad(found_here).expected(format!("'network_mode: {name}' in the service")));
        }
        Some((name, _)) if !name.is_empty() => network.name = name.to_owned(),
        Some(_) | None if network.external && older.is_none() => network.name.clone_from(&network.key),
        Some(_) | None => {}
    }
}

/// `driver` and `driver_opts`; nothing where the driver is not one of those that are planned.
fn driver(node: &Node, network: &mut Network, found: &mut Findings<'_>) -> Option<Driver> {
    let field = Field::of(node, "driver");
    let name = match field {
        Some(field) => field.string(found.out)?,
        None => "bridge",
    };
    let driver_opts = Field::of(node, "driver_opts");
    match (name, field) {
        ("bridge" | "" | "default", _) => Some(options::bridge(driver_opts, network, found)),
        ("macvlan", _) => Some(options::macvlan(driver_opts, found)),
        ("ipvlan", _) => Some(options::ipvlan(driver_opts, found)),
        (name, Some(field)) => {
            found.out.push(unknown_driver(name, field));
            None
        }
        (_, None) => None,
    }
}

fn unknown_driver(name: &str, field: Field<'_>) -> Diagnostic {
    let drivers = "bridge, macvlan or ipvlan";
    match name {
        "overlay" => field.bad("driver 'overlay' needs a swarm, which is not modelled").expected(drivers),
        "host" | "none" | "null" => {
            let mode = if name == "null" { "none" } else { name };
            let found = format!("only one instance of \"{name}\" network is allowed");
            field.bad(found).expected(format!("'network_mode: {mode}' in the service"))
        }
        name => {
            let near = nearest(name, ["bridge", "macvlan", "ipvlan"]);
            let expected = near.map_or_else(|| drivers.to_owned(), |near| format!("'{near}'"));
            field.bad(format!("plugin \"{name}\" not found")).expected(expected)
        }
    }
}

/// `ipam`: only Docker's own driver, whose options change nothing.
fn ipam(node: &Node, out: &mut Diagnostics) -> Vec<Pool> {
    let Some(ipam) = Field::of(node, "ipam") else { return Vec::new() };
    if !keys::check_mapping("ipam", ipam.node, keys::IPAM, "'ipam'", out) {
        return Vec::new();
    }
    if let Some(driver) = Field::of(ipam.node, "driver")
        && let Some(name) = driver.string(out)
        && !matches!(name, "default" | "")
    {
        out.push(driver.bad(format!("IPAM driver '{name}' is not modelled")).expected("default"));
    }
    let entries = Field::of(ipam.node, "config").map(|f| f.list(out)).unwrap_or_default();
    entries.iter().filter_map(|entry| pool(entry, out)).collect()
}

/// One entry of `ipam.config`, checked as the Engine does (28.5: daemon/libnetwork/network.go, validation).
fn pool(entry: &Node, out: &mut Diagnostics) -> Option<Pool> {
    if !keys::check_mapping("config", entry, keys::POOL, "'ipam.config'", out) {
        return None;
    }
    let field = |name| Field::of(entry, name);
    let Some(subnet_field) = field("subnet") else {
        let found = "an entry of 'ipam.config' without a 'subnet'";
        out.push(Diagnostic::new(entry.at.clone(), found).expected("a network, as in 172.28.0.0/16"));
        return None;
    };
    let subnet = block("subnet", subnet_field, out)?;
    let ip_range = field("ip_range").and_then(|f| range(f, subnet, out));
    let gateway = field("gateway").and_then(|f| member("gateway", f, subnet, out));
    let aux = field("aux_addresses").map(|f| f.mapping(out)).unwrap_or_default();
    let aux = aux.iter().filter_map(|(key, node)| {
        let what = format!("auxiliary address {}:", key.name);
        Some((key.name.clone(), member(&what, Field { name: &key.name, node }, subnet, out)?))
    });
    let aux_addresses = aux.collect();
    Some(Pool { subnet: Some(subnet), ip_range, gateway, aux_addresses, at: entry.at.clone() })
}

/// A network without host bits.
fn block(what: &str, field: Field<'_>, out: &mut Diagnostics) -> Option<IpNet> {
    let text = field.string(out)?;
    let Ok(net) = text.parse::<IpNet>() else {
        let found = format!("invalid {what} {text}: invalid CIDR block notation");
        out.push(field.bad(found).expected("ADDRESS/LENGTH, as in 172.28.0.0/16"));
        return None;
    };
    if net.trunc() != net {
        let found = format!("invalid {what} {text}: it should be {}", net.trunc());
        out.push(field.bad(found).expected(net.trunc().to_string()));
        return None;
    }
    Some(net)
}

fn range(field: Field<'_>, subnet: IpNet, out: &mut Diagnostics) -> Option<IpNet> {
    let range = block("ip-range", field, out)?;
    let why = if Family::of_net(range) != Family::of_net(subnet) {
        format!("parent subnet is an IPv{} block", Family::of_net(subnet).number())
    } else if range.prefix_len() < subnet.prefix_len() {
        format!("CIDR block is bigger than its parent subnet {subnet}")
    } else if !subnet.contains(&range) {
        format!("parent subnet {subnet} doesn't contain ip-range")
    } else {
        return Some(range);
    };
    out.push(field.bad(format!("invalid ip-range {range}: {why}")).expected(format!("a part of {subnet}")));
    None
}

/// An address of the subnet.
fn member(what: &str, field: Field<'_>, subnet: IpNet, out: &mut Diagnostics) -> Option<IpAddr> {
    let text = field.string(out)?;
    let why = match text.parse::<IpAddr>() {
        Err(_) => "invalid address".to_owned(),
        Ok(address) if Family::of(address) != Family::of_net(subnet) => {
            format!("parent subnet is an IPv{} block", Family::of_net(subnet).number())
        }
        Ok(address) if !subnet.contains(&address) => {
            format!("parent subnet {subnet} doesn't contain this address")
        }
        Ok(address) => return Some(address),
    };
    let found = format!("invalid {what} {text}: {why}");
    out.push(field.bad(found).expected(format!("an address of {subnet} without a prefix length")));
    None
}

/// What the parts of a network say of each other.
fn finished(network: &Network, node: &Node, out: &mut Diagnostics) {
    if !network.ipv4 && !network.ipv6 {
        out.push(Diagnostic::new(network.at.clone(), "IPv4 or IPv6 must be enabled"));
    }
    let Driver::Bridge(options) = &network.driver else { return };
    for family in Family::ALL {
        let pools = network.pools.iter().filter(|p| p.subnet.is_some_and(|s| Family::of_net(s) == family));
        let pools: Vec<&Pool> = pools.collect();
        if let [first, second, ..] = pools.as_slice() {
            let found = "bridge driver doesn't support multiple subnets";
            let expected = format!("one IPv{} subnet", family.number());
            let diagnostic = Diagnostic::new(second.at.clone(), found).expected(expected);
            out.push(diagnostic.related(first.at.clone(), "the first"));
        }
    }
    let modes = [options.gateway_mode_ipv4, options.gateway_mode_ipv6];
    if modes.contains(&GatewayMode::Isolated) && !network.internal {
        let at = node.get("driver_opts").map_or(&network.at, |n| &n.at);
        let found = "gateway mode 'isolated' can only be used for an internal network";
        out.push(Diagnostic::new(at.clone(), found).expected("'internal: true', or another mode"));
    }
}
