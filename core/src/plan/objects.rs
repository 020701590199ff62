//! The objects that an Engine's state comes to, in the order they are made.

use std::net::Ipv6Addr;

use super::container::{Ctr, Endpoint};
use super::dockerd::Dockerd;
use super::filter::{forwarded_before, turns_forwarding_on};
use super::gateway;
use super::names::resolver::Zones;
use super::network::{Gateway, Net};
use super::wire::{address, item, sysctl, sysctl_device};
use super::{Item, Link, LinkKind, Object, Proxy, Reservation, Route, bridge, shared};
use crate::addr::{Family, IfName, IpNet};
use crate::probe::NsKind;
use crate::topology::{Driver, Host, Listener};

/// What every bridge with IPv6 was called too, until 26.
const FE80_1: IpNet = IpNet::V6(ipnet::Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 64));

impl Dockerd {
    /// Everything the Engine has made.
    pub(super) fn items(&self) -> Vec<Item> {
        let host = self.host.name.as_str();
        let mut items = Vec::new();
        if turns_forwarding_on(&self.host, Family::V4) {
            items.push(sysctl(host, "net.ipv4.ip_forward", "1"));
        }
        items.extend(self.bridge_filter());
        items.extend(self.network_items());
        items.extend(
            self.firewall.rulesets().into_iter().map(|rules| item(host, Object::Rules(rules.into()))),
        );
        let mut zones = self.zones();
        items.extend(self.lingering.iter().flat_map(|l| l.items.iter().cloned()));
        for ctr in self.containers.iter().filter(|c| c.is_running()) {
            items.extend(self.container_items(ctr, &mut zones));
        }
        items
    }

    /// What loading br_netfilter sets, where the Engine loads it by itself and nobody did before.
    fn bridge_filter(&self) -> Vec<Item> {
        let Host { daemon, engine, machine, .. } = &self.host;
        let writes_rules = daemon.iptables || daemon.ip6tables.unwrap_or(false);
        let loaded = machine.sysctls.keys().any(|key| key.starts_with("net.bridge."));
        if !engine.loads_br_netfilter() || !writes_rules || loaded {
            return Vec::new();
        }
        bridge::FILTER_KEYS.map(|(_, key)| sysctl(self.host.name.as_str(), key, "1")).into()
    }

    fn network_items(&self) -> Vec<Item> {
        let host = self.host.name.as_str();
        let mut items = Vec::new();
        let (mut forwards_v6, mut filters) = (false, [!self.bridge_filter().is_empty(); 2]);
        let mut parents = shared::Parents::new(&self.host);
        for net in self.made.iter().filter_map(|key| self.networks.get(key)) {
            let Driver::Bridge(options) = &net.spec.driver else {
                items.extend(parents.items(net));
                continue;
            };
            let turns_on = turns_forwarding_on(&self.host, Family::V6);
            if net.subnet(Family::V6).is_some() && turns_on && !forwards_v6 {
                forwards_v6 = true;
                items.push(sysctl(host, "net.ipv6.conf.default.forwarding", "1"));
                items.push(sysctl(host, "net.ipv6.conf.all.forwarding", "1"));
            }
            let proxy = self.host.daemon.userland_proxy;
            items.extend(bridge::network_items(host, net, options, proxy));
            if net.subnet(Family::V6).is_some() && self.host.engine.profile.bridge_is_fe80_1() {
                items.push(item(host, Object::Address(address(&net.device, FE80_1))));
            }
            // br_netfilter shows bridged packets to iptables: only then can it keep neighbours apart, or send one
            // back to its own port.
            let filtered = !options.icc || (!proxy && self.host.engine.filters_bridges_without_proxy());
            for ((family, key), done) in bridge::FILTER_KEYS.into_iter().zip(&mut filters) {
                if filtered && !*done && net.subnet(family).is_some() {
                    *done = true;
                    items.push(sysctl(host, key, "1"));
                }
            }
            items.push(item(host, Object::Up(net.device.clone())));
        }
        items
    }

    fn container_items(&self, ctr: &Ctr, zones: &mut Zones) -> Vec<Item> {
        let own = self.own_kinds(ctr);
        let mut items: Vec<Item> = own.iter().map(|kind| self.namespace(*kind, ctr)).collect();
        if own.contains(&NsKind::Network) {
            items.extend(self.netns_items(ctr));
        }
        items.extend(setting_items(ctr));
        items.extend(self.attached_items(ctr, zones));
        items.extend(self.files(ctr));
        items.push(Self::process(ctr));
        items.extend(self.published_items(ctr));
        let netns = ctr.ns(NsKind::Network);
        let own = self.listeners(ctr.node());
        items.extend(own.map(|l| listener(netns.as_str(), l)));
        items
    }

    /// A fresh network namespace: loopback is up, and the settings Docker, the kernel and the user give it.
    pub(super) fn netns_items(&self, ctr: &Ctr) -> Vec<Item> {
        let netns = ctr.ns(NsKind::Network);
        let netns = netns.as_str();
        let mut items = Vec::new();
        // The kernel copies IPv4's settings from the first namespace of the machine (net/ipv4/devinet.c).
        let inherited =
            |key: &str| ["all", "default"].iter().any(|d| key.starts_with(&format!("net.ipv4.conf.{d}.")));
        let from_host = self.host.machine.sysctls.iter().filter(|(key, _)| inherited(key));
        items.extend(from_host.map(|(key, value)| sysctl(netns, key, value)));
        if self.host.daemon.ip_forward || forwarded_before(&self.host, Family::V4) {
            items.push(sysctl(netns, "net.ipv4.ip_forward", "1"));
        }
        items.push(item(netns, Object::Up(IfName::lo())));
        if !self.host.engine.keeps_ipv6_on_loopback() {
            let has_v6 = ctr.endpoints.iter().any(|e| e.address(Family::V6).is_some());
            // What a user sets of all devices is set of this one too.
            let off = if ctr.wants_ipv6().unwrap_or(has_v6) { "0" } else { "1" };
            items.push(sysctl(netns, "net.ipv6.conf.lo.disable_ipv6", off));
        }
        items.push(sysctl(netns, "net.ipv4.ip_unprivileged_port_start", "0"));
        if ctr.ns(NsKind::User).as_str() == self.host.name.as_str() {
            items.push(sysctl(netns, "net.ipv4.ping_group_range", "0 2147483647"));
        }
        items
    }

    /// The container's devices, addresses, default routes and resolver.
    fn attached_items(&self, ctr: &Ctr, zones: &mut Zones) -> Vec<Item> {
        let ns = ctr.ns(NsKind::Network);
        let (host, netns) = (self.host.name.as_str(), ns.as_str());
        let mut items = Vec::new();
        for endpoint in &ctr.endpoints {
            let Some(net) = self.networks.get(&endpoint.attachment.network) else { continue };
            match &net.spec.driver {
                Driver::Bridge(_) => {
                    let proxy = self.host.daemon.userland_proxy;
                    items.extend(bridge::endpoint_items(host, netns, net, endpoint, proxy));
                }
                Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None => {
                    let kind = shared::link_kind(&self.host, net);
                    items.extend(kind.map(|kind| share(netns, net, endpoint, kind)));
                }
            }
            items.extend(device_items(netns, endpoint, self.has_ipv6(ctr, endpoint)));
        }
        let gateways = self.gateways(ctr);
        let families = Family::ALL.into_iter();
        for family in families.filter(|f| *f == Family::V4 || ctr.wants_ipv6() != Some(false)) {
            let endpoint = gateways.of(family).and_then(|place| ctr.endpoints.get(place));
            items.extend(endpoint.and_then(|e| self.default_route(netns, e, family)));
        }
        items.extend(self.rule_items(ctr));
        items.extend(self.resolver(ctr, zones).map(|r| item(netns, Object::Resolver(r))));
        items
    }

    /// Whether IPv6 is on on an endpoint's device: where it has such an address, unless the container's settings say
    /// otherwise of all devices; those that turn it on reach one without an address until 28 (20.10.24, 26.1.5, 28.5.2).
    fn has_ipv6(&self, ctr: &Ctr, endpoint: &Endpoint) -> bool {
        let has = endpoint.address(Family::V6).is_some();
        match ctr.wants_ipv6() {
            Some(true) => has || !self.host.engine.is_at_least(28, 0),
            Some(false) => false,
            None => has,
        }
    }

    fn default_route(&self, netns: &str, endpoint: &Endpoint, family: Family) -> Option<Item> {
        let net = self.networks.get(&endpoint.attachment.network)?;
        let via = match gateway::way_out(endpoint, net, family)? {
            Gateway::Via(address) => Some(address),
            Gateway::Device => None,
        };
        let to = match family {
            Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
            Family::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
        };
        let dev = Some(endpoint.device.clone());
        Some(item(netns, Object::Route(Route { to, via, dev, table: None, metric: None, source: None })))
    }

    /// A proxy for each published port, or the bound socket that keeps others away.
    fn published_items(&self, ctr: &Ctr) -> Vec<Item> {
        let bindings = ctr.endpoints.iter().flat_map(|e| &e.bindings).filter(|b| b.is_nat());
        let object = |b: &super::publish::Binding| {
            let (transport, listen) = (b.transport, b.host);
            if self.host.daemon.userland_proxy {
                let answers_by_route = self.host.engine.profile.proxy_answers_by_route();
                Object::Proxy(Proxy { transport, listen, connect: b.container, answers_by_route })
            } else {
                Object::Reservation(Reservation { transport, listen })
            }
        };
        bindings.map(|b| item(self.host.name.as_str(), object(b))).collect()
    }
}

/// The user's settings, each in the namespace it belongs to.
pub(super) fn setting_items(ctr: &Ctr) -> Vec<Item> {
    let [network, ipc] = [NsKind::Network, NsKind::Ipc].map(|kind| ctr.ns(kind));
    // A name belongs to the UTS namespace, which is made with it.
    let settings = ctr.spec.sysctls.iter().filter(|(key, _)| *key != "kernel.domainname");
    let settings = settings.map(|(key, value)| {
        let ns = if key.starts_with("net.") { &network } else { &ipc };
        sysctl(ns.as_str(), key, value)
    });
    settings.collect()
}

/// A share of a parent device.
fn share(netns: &str, net: &Net, endpoint: &Endpoint, kind: LinkKind) -> Item {
    let mac = match &kind {
        // All ipvlans of a parent have its address.
        LinkKind::Ipvlan { .. } => None,
        LinkKind::Macvlan { .. }
        | LinkKind::Bridge
        | LinkKind::Veth(_)
        | LinkKind::Vlan { .. }
        | LinkKind::Dummy => Some(endpoint.mac),
    };
    item(netns, Object::Link(Link { name: endpoint.device.clone(), kind, mac, mtu: net.mtu(), master: None }))
}

/// What an endpoint comes to on its device inside the container.
fn device_items(netns: &str, endpoint: &Endpoint, ipv6: bool) -> Vec<Item> {
    let device = &endpoint.device;
    let mut items = Vec::new();
    if !ipv6 {
        let key = format!("net.ipv6.conf.{}.disable_ipv6", sysctl_device(device));
        items.push(sysctl(netns, key, "1"));
    }
    let addresses = endpoint.addresses.iter().filter(|net| net.addr().is_ipv4() || ipv6);
    items.extend(addresses.map(|net| item(netns, Object::Address(address(device, *net)))));
    items.extend(endpoint.attachment.link_local_ips.iter().filter_map(|ip| {
        let prefix = if ip.is_ipv4() { 16 } else { 64 };
        Some(item(netns, Object::Address(address(device, IpNet::new(*ip, prefix).ok()?))))
    }));
    let own = endpoint.attachment.sysctls.iter();
    items.extend(own.map(|(key, value)| sysctl(netns, key.replace("IFNAME", &sysctl_device(device)), value)));
    items.push(item(netns, Object::Up(device.clone())));
    items
}

/// A listener in a namespace.
pub(super) fn listener(netns: &str, l: &Listener) -> Item {
    // A server on `[::]` hears IPv4 too, as long as it does not ask for less (man 7 ipv6, IPV6_V6ONLY).
    let address = l.address.filter(|address| *address != Ipv6Addr::UNSPECIFIED);
    let object = super::Listener { node: l.node.clone(), transport: l.transport, address, port: l.port };
    item(netns, Object::Listener(object))
}
