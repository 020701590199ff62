//! What Docker refuses before a network is made (28.5.2 observed; daemon/network.go, libnetwork/drivers).

use std::collections::BTreeMap;

use super::Net;
use crate::addr::{Family, IfName, IpNet};
use crate::diagnostic::Diagnostic;
use crate::plan::filter::lacks_forwarding;
use crate::plan::ids::short;
use crate::topology::{
    DEFAULT_BRIDGE, Driver, GatewayMode, Host, IpvlanMode, IpvlanOptions, MacvlanMode, MacvlanOptions,
    Network, Pool,
};

/// Checks a network against itself and those that stand; `made` is its id and its device.
pub(super) fn check(
    spec: &Network,
    made: (&str, &IfName),
    host: &Host,
    standing: &BTreeMap<String, Net>,
) -> Result<(), Diagnostic> {
    let refuse = |found: String| Diagnostic::new(spec.at.clone(), found);
    if !spec.ipv4 && !spec.ipv6 {
        return Err(refuse("IPv4 or IPv6 must be enabled".to_owned()));
    }
    if let Some(other) = standing.values().find(|n| n.spec.name == spec.name) {
        let found = format!("network with name {} already exists", spec.name);
        return Err(refuse(found).related(other.spec.at.clone(), "the first"));
    }
    spec.pools.iter().try_for_each(|pool| check_pool(pool).map_err(|why| config_error(pool, &why)))?;
    check_families(spec)?;
    match &spec.driver {
        Driver::Bridge(_) => check_bridge(spec, made, host, standing),
        Driver::Macvlan(options) => {
            check_parent(spec, options.parent.as_ref(), "macvlan", host)?;
            check_passthru(spec, options, standing)
        }
        Driver::Ipvlan(options) => {
            check_mode(spec, options, host)?;
            check_parent(spec, options.parent.as_ref(), "ipvlan", host)?;
            check_alone(spec, options, standing)
        }
        Driver::Host | Driver::None => Ok(()),
    }
}

/// L3S came with 23.0, as `ipvlan_flag` did, which 20.10.24 reads past.
fn check_mode(spec: &Network, options: &IpvlanOptions, host: &Host) -> Result<(), Diagnostic> {
    let unknown = options.mode == IpvlanMode::L3s && !host.engine.is_at_least(23, 0);
    let found = "requested ipvlan mode 'l3s' is not valid, 'l2' mode is the ipvlan driver default";
    if unknown { Err(Diagnostic::new(spec.at.clone(), found).expected("Engine 23 or newer")) } else { Ok(()) }
}

fn config_error(pool: &Pool, why: &str) -> Diagnostic {
    Diagnostic::new(pool.at.clone(), format!("invalid network config: {why}"))
}

fn check_pool(pool: &Pool) -> Result<(), String> {
    let Some(subnet) = pool.subnet else {
        return Err("invalid subnet : invalid CIDR block notation".to_owned());
    };
    if subnet.trunc() != subnet {
        return Err(format!("invalid subnet {subnet}: it should be {}", subnet.trunc()));
    }
    if let Some(range) = pool.ip_range.filter(|r| !subnet.contains(r)) {
        return Err(format!("invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"));
    }
    let outside = |addr: &std::net::IpAddr| !subnet.contains(addr);
    if let Some(gateway) = pool.gateway.filter(outside) {
        return Err(format!(
            "invalid gateway {gateway}: parent subnet {subnet} doesn't contain this address"
        ));
    }
    match pool.aux_addresses.iter().find(|(_, a)| outside(a)) {
        Some((name, _)) => Err(format!(
            "invalid auxiliary address {name}: parent subnet {subnet} doesn't contain this address"
        )),
        None => Ok(()),
    }
}

/// One subnet of each family.
fn check_families(spec: &Network) -> Result<(), Diagnostic> {
    for family in Family::ALL {
        let of = |p: &&Pool| p.subnet.is_some_and(|s: IpNet| Family::of_net(s) == family);
        let mut pools = spec.pools.iter().filter(of);
        if let (Some(first), Some(second)) = (pools.next(), pools.next()) {
            let found = match &spec.driver {
                Driver::Bridge(_) => "bridge driver doesn't support multiple subnets".to_owned(),
                Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None => {
                    format!("a second IPv{} subnet is not planned yet", family.number())
                }
            };
            return Err(Diagnostic::new(second.at.clone(), found).related(first.at.clone(), "the first"));
        }
    }
    Ok(())
}

fn check_bridge(
    spec: &Network,
    (id, device): (&str, &IfName),
    host: &Host,
    standing: &BTreeMap<String, Net>,
) -> Result<(), Diagnostic> {
    let refuse = |found: String| Diagnostic::new(spec.at.clone(), found);
    let isolated = |family| super::gateway_mode(spec, family) == GatewayMode::Isolated;
    if !spec.internal && Family::ALL.into_iter().any(isolated) {
        let found = "gateway mode 'isolated' can only be used for an internal network";
        return Err(refuse(found.to_owned()));
    }
    let same = |n: &&Net| n.device == *device && matches!(n.spec.driver, Driver::Bridge(_));
    if let Some(other) = standing.values().find(same) {
        let found = format!(
            "cannot create network {id} ({device}): conflicts with network {} ({device}): networks have same bridge name",
            other.id
        );
        return Err(refuse(found).related(other.spec.at.clone(), "the first"));
    }
    if host.machine.interfaces.contains_key(device) || *device == IfName::lo() {
        return Err(refuse(format!("existing interface {device} is not a bridge")));
    }
    // The default bridge is the first of all and has IPv4: where that is not forwarded the daemon does not start.
    let asked = [(Family::V4, spec.key == DEFAULT_BRIDGE), (Family::V6, spec.ipv6)];
    let lacks = asked.into_iter().filter(|(_, asked)| *asked).find_map(|(f, _)| lacks_forwarding(host, f));
    lacks.map_or(Ok(()), |found| Err(refuse(found.to_owned()).expected(FORWARDING)))
}

/// How a trial says that a host forwards.
const FORWARDING: &str =
    "host: { sysctls: { net.ipv4.ip_forward: 1 } }, with IPv6 net.ipv6.conf.all.forwarding: 1 too";

/// The parent must be there, or be a VLAN of one that is.
fn check_parent(
    spec: &Network,
    parent: Option<&IfName>,
    driver: &str,
    host: &Host,
) -> Result<(), Diagnostic> {
    let Some(parent) = parent else { return Ok(()) };
    let refuse = |found: String| Err(Diagnostic::new(spec.at.clone(), found));
    if *parent == IfName::lo() {
        return refuse(format!("loopback interface is not a valid {driver} parent link"));
    }
    let there = |name: &str| name.parse::<IfName>().is_ok_and(|n| host.machine.interfaces.contains_key(&n));
    if there(parent.as_str()) {
        return Ok(());
    }
    let Some((master, vlan)) = parent.as_str().split_once('.') else {
        return refuse(format!("invalid subinterface vlan name {parent}, example formatting is eth0.10"));
    };
    if !there(master) {
        return refuse(format!(
            "failed to find master interface {master} on the Docker host: Link not found"
        ));
    }
    match vlan.parse::<u16>() {
        Ok(1..=4094) => Ok(()),
        Ok(_) | Err(_) => refuse(format!("vlan id must be between 1-4094, received: {vlan}")),
    }
}

/// A parent that is passed through belongs to one network.
fn check_passthru(
    spec: &Network,
    options: &MacvlanOptions,
    standing: &BTreeMap<String, Net>,
) -> Result<(), Diagnostic> {
    let Some(parent) = &options.parent else { return Ok(()) };
    let clash = standing.values().find(|n| match &n.spec.driver {
        Driver::Macvlan(other) => {
            let passthru = [other.mode, options.mode].contains(&MacvlanMode::Passthru);
            other.parent.as_ref() == Some(parent) && passthru
        }
        Driver::Bridge(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None => false,
    });
    let Some(other) = clash else { return Ok(()) };
    let taken = format!("macvlan network {} is already using parent interface {parent}", other.id);
    let found = match options.mode {
        MacvlanMode::Passthru => format!("cannot use mode passthru, {taken}"),
        MacvlanMode::Bridge | MacvlanMode::Private | MacvlanMode::Vepa => format!("{taken} in mode passthru"),
    };
    Err(Diagnostic::new(spec.at.clone(), found).related(other.spec.at.clone(), "the first"))
}

/// An ipvlan network has its parent to itself.
fn check_alone(
    spec: &Network,
    options: &IpvlanOptions,
    standing: &BTreeMap<String, Net>,
) -> Result<(), Diagnostic> {
    let Some(parent) = &options.parent else { return Ok(()) };
    let clash = standing.values().find(|n| match &n.spec.driver {
        Driver::Ipvlan(other) => other.parent.as_ref() == Some(parent),
        Driver::Bridge(_) | Driver::Macvlan(_) | Driver::Host | Driver::None => false,
    });
    let Some(other) = clash else { return Ok(()) };
    let found = format!("network di-{} is already using parent interface {parent}", short(&other.id));
    Err(Diagnostic::new(spec.at.clone(), found).related(other.spec.at.clone(), "the first"))
}
