//! `daemon.json`: what a trial says of the daemon, and nothing that it leaves to the Engine.

use std::net::IpAddr;

use seatrial_core::engine::{Engine, Profile};
use seatrial_core::rules::Backend;
use seatrial_core::topology::trial::daemon::since;
use seatrial_core::topology::{CgroupMode, Daemon, IpcMode};
use serde_json::{Map, Value, json};

/// The file's text, for an Engine.
pub(crate) fn config(daemon: &Daemon, engine: Engine) -> String {
    let mut keys = keys(daemon);
    // An experiment until 27.
    if daemon.ip6tables == Some(true) && engine.profile < Profile::V27 {
        keys.insert("experimental".to_owned(), Value::Bool(true));
    }
    Value::Object(keys).to_string()
}

/// The first key that a trial needs and an Engine has not: it would not start.
pub(crate) fn lacks(daemon: &Daemon, engine: Engine) -> Option<String> {
    let new = |key: &String| since(key).is_some_and(|(major, minor)| !engine.is_at_least(major, minor));
    keys(daemon).keys().find(|key| new(key)).cloned()
}

fn keys(daemon: &Daemon) -> Map<String, Value> {
    let plain = Daemon::default();
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| _ = keys.insert(key.to_owned(), value);
    for (key, value, default) in [
        ("userland-proxy", daemon.userland_proxy, plain.userland_proxy),
        ("iptables", daemon.iptables, plain.iptables),
        ("ip-forward", daemon.ip_forward, plain.ip_forward),
        ("ip-forward-no-drop", daemon.ip_forward_no_drop, plain.ip_forward_no_drop),
        ("ip-masq", daemon.ip_masq, plain.ip_masq),
        ("icc", daemon.icc, plain.icc),
        ("ipv6", daemon.ipv6, plain.ipv6),
        ("allow-direct-routing", daemon.allow_direct_routing, plain.allow_direct_routing),
    ] {
        if value != default {
            put(key, value.into());
        }
    }
    daemon.ip6tables.into_iter().for_each(|on| put("ip6tables", on.into()));
    daemon.mtu.into_iter().for_each(|mtu| put("mtu", mtu.into()));
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = daemon.default_gateways.iter().partition(|g| g.is_ipv6());
    for (key, text) in [
        ("ip", daemon.ip.map(|ip| ip.to_string())),
        ("bip", daemon.bip.map(|net| net.to_string())),
        ("bip6", daemon.bip6.map(|net| net.to_string())),
        ("fixed-cidr", daemon.fixed_cidr.map(|net| net.to_string())),
        ("fixed-cidr-v6", daemon.fixed_cidr_v6.map(|net| net.to_string())),
        ("default-gateway", v4.first().map(ToString::to_string)),
        ("default-gateway-v6", v6.first().map(ToString::to_string)),
        ("bridge-accept-fwmark", daemon.bridge_accept_fwmark.clone()),
        ("userns-remap", daemon.userns_remap.clone()),
        ("host-gateway-ip", daemon.host_gateway_ip.map(|ip| ip.to_string())),
    ] {
        text.into_iter().for_each(|text| put(key, text.into()));
    }
    let texts = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (key, list) in [
        ("dns", texts(&daemon.dns)),
        ("host-gateway-ips", texts(&daemon.host_gateway_ips)),
        ("dns-opts", daemon.dns_opts.clone()),
        ("dns-search", daemon.dns_search.clone()),
    ] {
        if !list.is_empty() {
            put(key, list.into());
        }
    }
    if !daemon.default_address_pools.is_empty() {
        let pools = daemon.default_address_pools.iter();
        let pools: Vec<Value> =
            pools.map(|(net, size)| json!({ "base": net.to_string(), "size": size })).collect();
        put("default-address-pools", pools.into());
    }
    if !daemon.default_network_opts.is_empty() {
        put("default-network-opts", json!({ "bridge": daemon.default_network_opts }));
    }
    if daemon.firewall_backend == Backend::Nft {
        put("firewall-backend", "nftables".into());
    }
    match daemon.default_ipc_mode {
        IpcMode::Shareable => put("default-ipc-mode", "shareable".into()),
        IpcMode::None | IpcMode::Private | IpcMode::Host | IpcMode::Container(_) => {}
    }
    match daemon.default_cgroupns_mode {
        CgroupMode::Host => put("default-cgroupns-mode", "host".into()),
        CgroupMode::Private => {}
    }
    keys
}
