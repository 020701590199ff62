//! Networks, in the words of the API.

use std::collections::BTreeMap;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use seatrial_core::topology::{
    BridgeOptions, Driver, GatewayMode, IpvlanFlag, IpvlanMode, IpvlanOptions, MacvlanMode, MacvlanOptions,
    Network, Pool,
};

/// What makes a network; none for one that every Engine has.
pub(super) fn request(network: &Network) -> Option<NetworkCreateRequest> {
    let (driver, options) = match &network.driver {
        Driver::Bridge(options) => ("bridge", bridge(options)),
        Driver::Macvlan(options) => ("macvlan", macvlan(options)),
        Driver::Ipvlan(options) => ("ipvlan", ipvlan(options)),
        Driver::Host | Driver::None => return None,
    };
    let config: Vec<IpamConfig> = network.pools.iter().map(pool).collect();
    Some(NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some(driver.to_owned()),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        enable_ipv4: (!network.ipv4).then_some(false),
        enable_ipv6: network.ipv6.then_some(true),
        ipam: (!config.is_empty()).then(|| Ipam { config: Some(config), ..Ipam::default() }),
        options: Some(options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ..NetworkCreateRequest::default()
    })
}

fn pool(pool: &Pool) -> IpamConfig {
    let aux = pool.aux_addresses.iter().map(|(name, address)| (name.clone(), address.to_string()));
    IpamConfig {
        subnet: pool.subnet.map(|net| net.to_string()),
        ip_range: pool.ip_range.map(|net| net.to_string()),
        gateway: pool.gateway.map(|address| address.to_string()),
        auxiliary_addresses: (!pool.aux_addresses.is_empty()).then(|| aux.collect()),
    }
}

type Options = BTreeMap<&'static str, String>;

fn options<const N: usize>(all: [(&'static str, Option<String>); N]) -> Options {
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn bridge(bridge: &BridgeOptions) -> Options {
    let plain = BridgeOptions::default();
    let text = |value: bool, default: bool| (value != default).then(|| value.to_string());
    let mode = |mode: GatewayMode| (mode != GatewayMode::Nat).then(|| gateway_mode(mode).to_owned());
    let trusted: Vec<&str> = bridge.trusted_host_interfaces.iter().map(|name| name.as_str()).collect();
    options([
        ("com.docker.network.bridge.name", bridge.name.as_ref().map(ToString::to_string)),
        ("com.docker.network.bridge.enable_ip_masquerade", text(bridge.masquerade, plain.masquerade)),
        ("com.docker.network.bridge.enable_icc", text(bridge.icc, plain.icc)),
        ("com.docker.network.bridge.gateway_mode_ipv4", mode(bridge.gateway_mode_ipv4)),
        ("com.docker.network.bridge.gateway_mode_ipv6", mode(bridge.gateway_mode_ipv6)),
        ("com.docker.network.bridge.inhibit_ipv4", text(bridge.inhibit_ipv4, plain.inhibit_ipv4)),
        ("com.docker.network.bridge.host_binding_ipv4", bridge.host_binding.map(|ip| ip.to_string())),
        (
            "com.docker.network.bridge.trusted_host_interfaces",
            (!trusted.is_empty()).then(|| trusted.join(":")),
        ),
        ("com.docker.network.driver.mtu", bridge.mtu.map(|mtu| mtu.to_string())),
        ("com.docker.network.host_ipv4", bridge.host_ipv4.map(|ip| ip.to_string())),
        ("com.docker.network.host_ipv6", bridge.host_ipv6.map(|ip| ip.to_string())),
        ("com.docker.network.container_iface_prefix", bridge.iface_prefix.clone()),
    ])
}

const fn gateway_mode(mode: GatewayMode) -> &'static str {
    match mode {
        GatewayMode::Nat => "nat",
        GatewayMode::NatUnprotected => "nat-unprotected",
        GatewayMode::Routed => "routed",
        GatewayMode::Isolated => "isolated",
    }
}

fn macvlan(macvlan: &MacvlanOptions) -> Options {
    let mode = match macvlan.mode {
        MacvlanMode::Bridge => "bridge",
        MacvlanMode::Private => "private",
        MacvlanMode::Vepa => "vepa",
        MacvlanMode::Passthru => "passthru",
    };
    options([
        ("parent", macvlan.parent.as_ref().map(ToString::to_string)),
        ("macvlan_mode", (macvlan.mode != MacvlanMode::Bridge).then(|| mode.to_owned())),
        ("com.docker.network.driver.mtu", macvlan.mtu.map(|mtu| mtu.to_string())),
    ])
}

fn ipvlan(ipvlan: &IpvlanOptions) -> Options {
    let mode = match ipvlan.mode {
        IpvlanMode::L2 => "l2",
        IpvlanMode::L3 => "l3",
        IpvlanMode::L3s => "l3s",
    };
    let flag = match ipvlan.flag {
        IpvlanFlag::Bridge => "bridge",
        IpvlanFlag::Private => "private",
        IpvlanFlag::Vepa => "vepa",
    };
    options([
        ("parent", ipvlan.parent.as_ref().map(ToString::to_string)),
        ("ipvlan_mode", Some(mode.to_owned())),
        ("ipvlan_flag", (ipvlan.flag != IpvlanFlag::Bridge).then(|| flag.to_owned())),
        ("com.docker.network.driver.mtu", ipvlan.mtu.map(|mtu| mtu.to_string())),
    ])
}
