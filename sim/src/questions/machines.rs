//! Whom a plan has, and what they can be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use seatrial_core::addr::IfName;
use seatrial_core::plan::{LinkKind, NsName, Object, Plan};
use seatrial_core::probe::{Ask, NsKind, Target};
use seatrial_core::topology::NodeName;

/// The nodes of a plan, their namespaces and addresses.
pub(super) struct Machines {
    pub(super) nodes: Vec<NodeName>,
    containers: BTreeSet<NodeName>,
    network: BTreeMap<NodeName, NsName>,
    addresses: BTreeMap<NsName, Vec<(IfName, IpAddr)>>,
    /// Those of bridges: where a host meets its containers.
    gateways: BTreeMap<NsName, Vec<(IfName, IpAddr)>>,
}

impl Machines {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut machines = Self {
            nodes: Vec::new(),
            containers: BTreeSet::new(),
            network: BTreeMap::new(),
            addresses: BTreeMap::new(),
            gateways: BTreeMap::new(),
        };
        let bridges = bridges(plan);
        for item in &plan.items {
            if let Object::Process(process) = &item.object {
                machines.nodes.push(process.node.clone());
                machines.containers.extend(process.container.is_some().then(|| process.node.clone()));
                let ns = process.namespaces.get(&NsKind::Network).cloned();
                machines.network.extend(ns.map(|ns| (process.node.clone(), ns)));
            }
            if let Object::Address(address) = &item.object {
                let addr = address.net.addr();
                let bridge = bridges.contains(&(&item.ns, address.link.as_str()));
                let of = if bridge { &mut machines.gateways } else { &mut machines.addresses };
                let all = of.entry(item.ns.clone()).or_default();
                all.extend(is_asked(addr).then(|| (address.link.clone(), addr)));
            }
        }
        machines
    }

    /// A node's addresses and the devices they are on; those of a host's bridges are not among them.
    pub(super) fn homes(&self, node: &NodeName) -> &[(IfName, IpAddr)] {
        self.network.get(node).and_then(|ns| self.addresses.get(ns)).map_or(&[], Vec::as_slice)
    }

    /// The addresses of a host's bridges.
    pub(super) fn gateways(&self, node: &NodeName) -> &[(IfName, IpAddr)] {
        self.network.get(node).and_then(|ns| self.gateways.get(ns)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_container(&self, node: &NodeName) -> bool {
        self.containers.contains(node)
    }

    /// Whether it is a Docker host: the first, or one with bridges.
    pub(super) fn is_host(&self, node: &NodeName) -> bool {
        !self.is_container(node) && (*node == NodeName::host() || !self.gateways(node).is_empty())
    }

    /// Whether it is a machine of the LAN.
    pub(super) fn is_stranger(&self, node: &NodeName) -> bool {
        !self.is_container(node) && !self.is_host(node)
    }

    fn addresses_of(&self, node: &NodeName) -> impl Iterator<Item = IpAddr> {
        self.homes(node).iter().map(|(_, address)| *address)
    }

    /// Listeners by name and by address, an echo of nodes without one, and what is published, each once.
    pub(super) fn targets(&self, plan: &Plan) -> Vec<(NodeName, Target, Ask)> {
        let mut targets: Vec<(NodeName, Target, Ask)> = Vec::new();
        let all = listeners(plan);
        for node in &self.nodes {
            let listeners = all.get(node).map_or(&[][..], Vec::as_slice);
            for (address, ask) in listeners {
                targets.extend(self.by_name(node).map(|target| (node.clone(), target, *ask)));
                let addresses = match address.filter(|a| !a.is_unspecified()) {
                    Some(address) => vec![address],
                    None => self.addresses_of(node).collect(),
                };
                targets.extend(addresses.into_iter().map(|a| (node.clone(), Target::Address(a), *ask)));
            }
            if listeners.is_empty() {
                targets.extend(self.by_name(node).map(|target| (node.clone(), target, Ask::Echo)));
                let addresses = self.addresses_of(node);
                targets.extend(addresses.map(|a| (node.clone(), Target::Address(a), Ask::Echo)));
            }
        }
        for (ns, address, ask) in published(plan) {
            let host = NodeName::from(ns.as_str());
            let addresses = self.addresses_of(&host);
            let same_family = addresses.filter(|a| a.is_ipv4() == address.is_ipv4());
            let public =
                same_family.filter(|a| address.is_unspecified() || address.is_loopback() || *a == address);
            let loopback = address.is_loopback().then_some(address);
            targets.extend(public.chain(loopback).map(|a| (host.clone(), Target::Address(a), ask)));
        }
        let mut seen = BTreeSet::new();
        targets.retain(|(_, target, ask)| seen.insert((target.clone(), *ask)));
        targets
    }

    /// A container's name; machines have none that others know.
    fn by_name(&self, node: &NodeName) -> Option<Target> {
        self.containers.contains(node).then(|| Target::Name(service(node).to_owned()))
    }

    /// A loopback address is its own node's alone.
    pub(super) fn makes_sense(&self, source: &NodeName, node: &NodeName, target: &Target) -> bool {
        match target {
            Target::Address(address) if address.is_loopback() => {
                self.network.get(source) == self.network.get(node)
            }
            Target::Address(_) | Target::Name(_) => true,
        }
    }
}

/// Whether others can ask an address: one that is its link's own means nothing without the link's name.
const fn is_asked(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// The service of `service.2`: the name that others know it by.
pub(super) fn service(node: &NodeName) -> &str {
    let name = node.as_str().rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.') {
        Some((service, number)) if number.bytes().all(|b| b.is_ascii_digit()) => service,
        Some(_) | None => name,
    }
}

fn bridges(plan: &Plan) -> BTreeSet<(&NsName, &str)> {
    let links = plan
        .items
        .iter()
        .filter_map(|item| if let Object::Link(link) = &item.object { Some((&item.ns, link)) } else { None });
    links.filter(|(_, l)| l.kind == LinkKind::Bridge).map(|(ns, l)| (ns, l.name.as_str())).collect()
}

fn listeners(plan: &Plan) -> BTreeMap<&NodeName, Vec<(Option<IpAddr>, Ask)>> {
    let mut all: BTreeMap<&NodeName, Vec<_>> = BTreeMap::new();
    for item in &plan.items {
        if let Object::Listener(l) = &item.object {
            all.entry(&l.node).or_default().push((l.address, Ask::Port(l.transport, l.port)));
        }
    }
    all
}

/// What the hosts publish: each address and port that Docker holds.
pub(super) fn published(plan: &Plan) -> Vec<(NsName, IpAddr, Ask)> {
    let held = plan.items.iter().filter_map(|item| {
        let (transport, listen) = if let Object::Proxy(proxy) = &item.object {
            (proxy.transport, proxy.listen)
        } else if let Object::Reservation(reservation) = &item.object {
            (reservation.transport, reservation.listen)
        } else {
            return None;
        };
        Some((item.ns.clone(), listen.ip(), Ask::Port(transport, listen.port())))
    });
    held.collect()
}
