//! The default bridge, as a network like any other, from `daemon.json`.

use std::collections::BTreeMap;

use crate::addr::{Family, IpNet};
use crate::diagnostic::At;
use crate::topology::{BridgeOptions, DEFAULT_BRIDGE, Daemon, Driver, Network, Pool};

/// `docker0`.
pub(in crate::plan) fn docker0(daemon: &Daemon) -> Network {
    let at = At::nowhere("daemon.json");
    let pools = [
        pool(daemon, Family::V4, daemon.bip, daemon.fixed_cidr, &at),
        pool(daemon, Family::V6, daemon.bip6, daemon.fixed_cidr_v6, &at),
    ];
    let options = BridgeOptions {
        name: "docker0".parse().ok(),
        masquerade: daemon.ip_masq,
        icc: daemon.icc,
        host_binding: daemon.ip,
        mtu: daemon.mtu,
        ..BridgeOptions::default()
    };
    Network {
        key: DEFAULT_BRIDGE.to_owned(),
        name: "bridge".to_owned(),
        driver: Driver::Bridge(options),
        ipv4: true,
        ipv6: daemon.ipv6,
        internal: false,
        attachable: false,
        external: false,
        pools: pools.into_iter().flatten().collect(),
        at,
    }
}

/// `bip` names the bridge's address and subnet, `fixed-cidr` the part of it that containers get.
fn pool(daemon: &Daemon, family: Family, bip: Option<IpNet>, fixed: Option<IpNet>, at: &At) -> Option<Pool> {
    let subnet = bip.or(fixed)?;
    let own = bip.map(|b| b.addr()).filter(|a| *a != subnet.network());
    Some(Pool {
        subnet: Some(subnet.trunc()),
        ip_range: fixed.map(|f| f.trunc()).filter(|f| *f != subnet.trunc()),
        gateway: own,
        aux_addresses: default_gateway(daemon, family, own),
        at: at.clone(),
    })
}

/// The name of the auxiliary address that containers go out by.
pub(super) const fn default_gateway_key(family: Family) -> &'static str {
    match family {
        Family::V4 => "DefaultGatewayIPv4",
        Family::V6 => "DefaultGatewayIPv6",
    }
}

/// `default-gateway` is kept from containers by an auxiliary address of this name (daemon/daemon_unix.go).
fn default_gateway(
    daemon: &Daemon,
    family: Family,
    own: Option<std::net::IpAddr>,
) -> BTreeMap<String, std::net::IpAddr> {
    let name = default_gateway_key(family);
    let named = daemon.default_gateways.iter().find(|g| Family::of(**g) == family && Some(**g) != own);
    named.map(|g| (name.to_owned(), *g)).into_iter().collect()
}
