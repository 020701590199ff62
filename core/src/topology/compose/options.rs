//! `driver_opts` of networks (docs: Docker Engine, the drivers' pages; texts observed on 28.5).

use std::net::IpAddr;
use std::str::FromStr;

use super::load::Findings;
use crate::addr::{Family, IfName};
use crate::diagnostic::Diagnostic;
use crate::topology::field::{Field, nearest};
use crate::topology::{
    BridgeOptions, Driver, GatewayMode, IpvlanFlag, IpvlanMode, IpvlanOptions, MacvlanMode, MacvlanOptions,
    Network,
};

const MTU: &str = "com.docker.network.driver.mtu";

/// What the bridge driver takes, without `com.docker.network.`.
const BRIDGE_KEYS: &[&str] = &[
    "bridge.name",
    "bridge.enable_ip_masquerade",
    "bridge.enable_icc",
    "bridge.gateway_mode_ipv4",
    "bridge.gateway_mode_ipv6",
    "bridge.inhibit_ipv4",
    "bridge.host_binding_ipv4",
    "bridge.trusted_host_interfaces",
    "driver.mtu",
    "enable_ipv4",
    "enable_ipv6",
    "host_ipv4",
    "host_ipv6",
    "container_iface_prefix",
    "advertise_addr_nmsgs",
    "advertise_addr_ms",
];

/// The options of a bridge; `enable_ipv4` and `enable_ipv6` are the network's own.
pub(super) fn bridge(field: Option<Field<'_>>, network: &mut Network, found: &mut Findings<'_>) -> Driver {
    let mut options = BridgeOptions::default();
    for option in entries(field, found) {
        match option.name.strip_prefix("com.docker.network.") {
            Some("driver.mtu") => options.mtu = mtu(option, found),
            Some("enable_ipv4") => network.ipv4 = flag(option, found).unwrap_or(network.ipv4),
            Some("enable_ipv6") => network.ipv6 = flag(option, found).unwrap_or(network.ipv6),
            Some("host_ipv4") => options.host_ipv4 = address(option, Some(Family::V4), found),
            Some("host_ipv6") => options.host_ipv6 = address(option, Some(Family::V6), found),
            Some("container_iface_prefix") => options.iface_prefix = prefix(option, found),
            Some("advertise_addr_nmsgs") => advertise(option, 0..=3, found),
            Some("advertise_addr_ms") => advertise(option, 100..=2000, found),
            Some("internal") => refuse(option, "'internal: true' of the network", found),
            Some(name) => match name.strip_prefix("bridge.") {
                Some(name) => bridge_option(name, option, &mut options, found),
                None => unknown(option, found),
            },
            None => unknown(option, found),
        }
    }
    Driver::Bridge(options)
}

fn bridge_option(name: &str, option: Field<'_>, options: &mut BridgeOptions, found: &mut Findings<'_>) {
    match name {
        "name" => options.name = named(option, found),
        "enable_ip_masquerade" => options.masquerade = flag(option, found).unwrap_or(true),
        "enable_icc" => options.icc = flag(option, found).unwrap_or(true),
        "inhibit_ipv4" => options.inhibit_ipv4 = flag(option, found).unwrap_or(false),
        "gateway_mode_ipv4" => options.gateway_mode_ipv4 = gateway_mode(option, found),
        "gateway_mode_ipv6" => options.gateway_mode_ipv6 = gateway_mode(option, found),
        "host_binding_ipv4" => options.host_binding = address(option, None, found),
        "trusted_host_interfaces" => {
            let names = option.text(found.out).unwrap_or_default();
            for name in names.split(':').filter(|n| !n.is_empty()) {
                match name.parse::<IfName>() {
                    Ok(name) => options.trusted_host_interfaces.push(name),
                    Err(e) => found.out.push(option.bad(e.to_string())),
                }
            }
        }
        "default_bridge" => refuse(option, "'network_mode: bridge' in the service", found),
        _ => unknown(option, found),
    }
}

/// The options of a macvlan network.
pub(super) fn macvlan(field: Option<Field<'_>>, found: &mut Findings<'_>) -> Driver {
    let mut options = MacvlanOptions { parent: None, mode: MacvlanMode::Bridge, mtu: None };
    for option in entries(field, found) {
        match option.name {
            "parent" => options.parent = parent(option, found),
            MTU => options.mtu = mtu(option, found),
            "macvlan_mode" => {
                let modes = [
                    ("bridge", MacvlanMode::Bridge),
                    ("private", MacvlanMode::Private),
                    ("vepa", MacvlanMode::Vepa),
                    ("passthru", MacvlanMode::Passthru),
                ];
                let default = "'bridge' mode is the macvlan driver default";
                options.mode = one_of(option, "macvlan mode", &modes, default, found).unwrap_or(options.mode);
            }
            _ => unknown_to(option, &["parent", "macvlan_mode", MTU], "macvlan", found),
        }
    }
    Driver::Macvlan(options)
}

/// The options of an ipvlan network.
pub(super) fn ipvlan(field: Option<Field<'_>>, found: &mut Findings<'_>) -> Driver {
    let (mode, flag) = (IpvlanMode::L2, IpvlanFlag::Bridge);
    let mut options = IpvlanOptions { parent: None, mode, flag, mtu: None };
    for option in entries(field, found) {
        match option.name {
            "parent" => options.parent = parent(option, found),
            MTU => options.mtu = mtu(option, found),
            "ipvlan_mode" => {
                let modes = [("l2", IpvlanMode::L2), ("l3", IpvlanMode::L3), ("l3s", IpvlanMode::L3s)];
                let default = "'l2' mode is the ipvlan driver default";
                options.mode = one_of(option, "ipvlan mode", &modes, default, found).unwrap_or(options.mode);
            }
            "ipvlan_flag" => {
                let flags = [
                    ("bridge", IpvlanFlag::Bridge),
                    ("private", IpvlanFlag::Private),
                    ("vepa", IpvlanFlag::Vepa),
                ];
                let default = "'bridge' is the ipvlan driver default";
                options.flag = one_of(option, "ipvlan flag", &flags, default, found).unwrap_or(options.flag);
            }
            _ => unknown_to(option, &["parent", "ipvlan_mode", "ipvlan_flag", MTU], "ipvlan", found),
        }
    }
    Driver::Ipvlan(options)
}

/// The options, each a string or a number.
fn entries<'a>(field: Option<Field<'a>>, found: &mut Findings<'_>) -> Vec<Field<'a>> {
    let entries = field.map(|f| f.mapping(found.out)).unwrap_or_default();
    let options = entries.iter().map(|(key, node)| Field { name: &key.name, node });
    let (said, other): (Vec<_>, Vec<_>) =
        options.partition(|o| o.node.as_str().is_some() && o.node.kind() != "a boolean");
    for option in other {
        let quoted = option.node.as_str().map_or_else(String::new, |text| format!(": \"{text}\" in quotes"));
        found.out.push(option.wrong(&format!("a string or a number{quoted}")));
    }
    said
}

/// What Docker ignores or does not know; with `com.docker.network` in front somebody means Docker to obey it.
fn unknown(option: Field<'_>, found: &mut Findings<'_>) {
    let Some(name) = option.name.strip_prefix("com.docker.network.") else {
        let found_here = format!("the bridge driver has no option '{}'", option.name);
        found.warnings.push(option.bad(found_here).expected("an option that begins with com.docker.network"));
        return;
    };
    let near = nearest(name, BRIDGE_KEYS.iter().copied()).unwrap_or("bridge.name");
    let found_here = format!("the bridge driver has no option '{}'", option.name);
    found.out.push(option.bad(found_here).expected(format!("'com.docker.network.{near}'")));
}

fn unknown_to(option: Field<'_>, known: &[&str], driver: &str, found: &mut Findings<'_>) {
    let near = nearest(option.name, known.iter().copied());
    let expected = near.map_or_else(|| known.join(", "), |near| format!("'{near}'"));
    let found_here = option.bad(format!("the {driver} driver has no option '{}'", option.name));
    let diagnostic = found_here.expected(expected);
    if option.name.starts_with("com.docker.network.") || near.is_some() {
        found.out.push(diagnostic);
    } else {
        found.warnings.push(diagnostic);
    }
}

fn refuse(option: Field<'_>, expected: &str, found: &mut Findings<'_>) {
    found.out.push(option.bad(format!("option '{}' is not modelled", option.name)).expected(expected));
}

fn failed(option: Field<'_>, text: &str, why: &str) -> Diagnostic {
    option.bad(format!("failed to parse {} value: {text} ({why})", option.name))
}

/// A boolean as Go reads it (strconv.ParseBool).
fn flag(option: Field<'_>, found: &mut Findings<'_>) -> Option<bool> {
    let text = option.text(found.out)?;
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => {
            found.out.push(failed(option, text, "invalid syntax").expected("true or false"));
            None
        }
    }
}

/// A link's MTU: 0 is the default, and a bridge takes 68 to 65535 (net/bridge/br_device.c).
fn mtu(option: Field<'_>, found: &mut Findings<'_>) -> Option<u32> {
    let text = option.text(found.out)?;
    match text.parse::<i64>() {
        Ok(0) => None,
        Ok(mtu @ 68..=65535) => u32::try_from(mtu).ok(),
        Ok(_) => {
            found.out.push(option.bad(format!("invalid MTU number: {text}")).expected("68 to 65535"));
            None
        }
        Err(_) => {
            found.out.push(failed(option, text, "invalid syntax").expected("68 to 65535"));
            None
        }
    }
}

fn address(option: Field<'_>, family: Option<Family>, found: &mut Findings<'_>) -> Option<IpAddr> {
    let text = option.text(found.out)?;
    let read = text.parse().ok().filter(|a| family.is_none_or(|f| Family::of(*a) == f));
    if read.is_none() {
        let expected = family.map_or("an IP address".to_owned(), |f| format!("an IPv{} address", f.number()));
        found.out.push(failed(option, text, "nil ip").expected(expected));
    }
    read
}

fn named(option: Field<'_>, found: &mut Findings<'_>) -> Option<IfName> {
    let read = option.text(found.out)?.parse::<IfName>();
    read.map_err(|e| found.out.push(option.bad(e.to_string()))).ok()
}

/// A prefix that a number is put behind to name a device.
fn prefix(option: Field<'_>, found: &mut Findings<'_>) -> Option<String> {
    let text = option.text(found.out)?;
    if let Err(e) = IfName::from_str(&format!("{text}0")) {
        found.out.push(option.bad(e.to_string()));
        return None;
    }
    Some(text.to_owned())
}

/// How often and how soon an address is announced: checked, and the same for everyone here.
fn advertise(option: Field<'_>, range: std::ops::RangeInclusive<u32>, found: &mut Findings<'_>) {
    let Some(text) = option.text(found.out) else { return };
    match text.parse::<u32>() {
        Ok(value) if range.contains(&value) => {
            let found_here = format!("'{}' changes nothing here", option.name);
            found.warnings.push(option.bad(found_here));
        }
        Ok(_) | Err(_) => {
            let (first, last) = (range.start(), range.end());
            let found_here = format!("{} must be in the range {first} to {last}", option.name);
            found.out.push(option.bad(found_here).expected(format!("{first} to {last}")));
        }
    }
}

fn gateway_mode(option: Field<'_>, found: &mut Findings<'_>) -> GatewayMode {
    match option.text(found.out) {
        None | Some("" | "nat") => GatewayMode::Nat,
        Some("nat-unprotected") => GatewayMode::NatUnprotected,
        Some("routed") => GatewayMode::Routed,
        Some("isolated") => GatewayMode::Isolated,
        Some(text) => {
            let modes = "nat, nat-unprotected, routed or isolated";
            found.out.push(failed(option, text, &format!("unknown gateway mode {text}")).expected(modes));
            GatewayMode::Nat
        }
    }
}

/// The parent device: `eth0`, or `eth0.10` for a VLAN of it.
fn parent(option: Field<'_>, found: &mut Findings<'_>) -> Option<IfName> {
    let name = named(option, found)?;
    if name.as_str() == "lo" {
        let found_here = option.bad("loopback interface is not a valid parent link");
        found.out.push(found_here.expected("another device of the host"));
        return None;
    }
    let vlan = name.as_str().split_once('.').map(|(_, vlan)| vlan);
    if let Some(vlan) = vlan
        && !vlan.parse::<u16>().is_ok_and(|id| (1..=4094).contains(&id))
    {
        let found_here = format!("vlan id must be between 1-4094, received: {vlan}");
        found.out.push(option.bad(found_here).expected("DEVICE.NUMBER, as in eth0.10"));
        return None;
    }
    Some(name)
}

fn one_of<T: Copy>(
    option: Field<'_>,
    what: &str,
    known: &[(&str, T)],
    default: &str,
    found: &mut Findings<'_>,
) -> Option<T> {
    let text = option.text(found.out)?;
    let read = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if read.is_none() {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let found_here = format!("requested {what} '{text}' is not valid, {default}");
        found.out.push(option.bad(found_here).expected(names.join(", ")));
    }
    read
}
