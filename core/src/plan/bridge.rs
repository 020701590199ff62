//! The bridge driver: a switch on the host, and a cable from it into each container.

use super::container::Endpoint;
use super::ids::Seed;
use super::network::Net;
use super::wire::{address, item, sysctl, sysctl_device};
use super::{BridgePort, Item, Link, LinkKind, NsName, Object, Peer};
use crate::addr::Family;
use crate::topology::BridgeOptions;

/// What shows bridged packets to iptables and ip6tables (net/bridge/br_netfilter_hooks.c).
pub(super) const FILTER_KEYS: [(Family, &str); 2] =
    [(Family::V4, "net.bridge.bridge-nf-call-iptables"), (Family::V6, "net.bridge.bridge-nf-call-ip6tables")];

/// The bridge of a network with its addresses, still down.
pub(super) fn network_items(host: &str, net: &Net, options: &BridgeOptions, proxy: bool) -> Vec<Item> {
    let device = &net.device;
    let key = |family: &str, name: &str| format!("net.{family}.conf.{}.{name}", sysctl_device(device));
    let mac = Some(Seed::of(&["bridge", &net.id]).mac());
    let link = Link { name: device.clone(), kind: LinkKind::Bridge, mac, mtu: options.mtu, master: None };
    let mut items = vec![item(host, Object::Link(link)), sysctl(host, key("ipv6", "accept_ra"), "0")];
    if net.subnet(Family::V6).is_some() {
        items.push(sysctl(host, key("ipv6", "disable_ipv6"), "0"));
    }
    for family in Family::ALL.into_iter().filter(|f| net.carries_gateway(*f)) {
        let gateway = net.subnet(family).and_then(|s| s.gateway_net());
        items.extend(gateway.map(|g| item(host, Object::Address(address(device, g)))));
    }
    if !proxy {
        items.push(sysctl(host, key("ipv4", "route_localnet"), "1"));
    }
    items
}

/// The cable of an endpoint: its end on the host is a port of the bridge, and up.
pub(super) fn endpoint_items(
    host: &str,
    netns: &str,
    net: &Net,
    endpoint: &Endpoint,
    proxy: bool,
) -> Vec<Item> {
    let peer = Peer {
        ns: NsName::from(netns),
        name: endpoint.device.clone(),
        mac: Some(endpoint.mac),
        mtu: net.mtu(),
        master: None,
    };
    let link = Link {
        name: endpoint.veth.clone(),
        kind: LinkKind::Veth(peer),
        mac: Some(endpoint.veth_mac),
        mtu: net.mtu(),
        master: Some(net.device.clone()),
    };
    let mut items = vec![item(host, Object::Link(link))];
    if !proxy {
        let port = BridgePort { link: endpoint.veth.clone(), hairpin: true, isolated: false };
        items.push(item(host, Object::BridgePort(port)));
    }
    items.push(item(host, Object::Up(endpoint.veth.clone())));
    items
}
