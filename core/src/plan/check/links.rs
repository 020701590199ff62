//! Devices, what stands on them, and who shares a wire with whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::addr::{Family, IfName, IpNet, MacAddr};
use crate::plan::{Address, Link, LinkKind, NsName, Object, Parent, Plan, Route};
use crate::probe::NsKind;

/// A device that stands.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    bridge: bool,
    master: Option<IfName>,
    up: bool,
    addresses: Vec<(usize, IpNet)>,
}

impl Seen {
    pub(super) fn loopback() -> Self {
        Self { bridge: false, master: None, up: false, addresses: Vec::new() }
    }
}

impl super::Seen {
    /// The device, or a fault that it does not stand before `what`.
    pub(super) fn device(&mut self, ns: &NsName, name: &IfName, what: &str) -> bool {
        let stands = self.links.contains_key(&(ns.clone(), name.clone()));
        if !stands {
            self.fault(what, format!("there is no device {name} in {ns} before it"));
        }
        stands
    }

    pub(super) fn link(&mut self, ns: &NsName, link: &Link, what: &str) {
        self.end(ns, &link.name, link.mac, link.master.as_ref(), matches!(link.kind, LinkKind::Bridge), what);
        match &link.kind {
            LinkKind::Bridge | LinkKind::Dummy => {}
            LinkKind::Veth(peer) => {
                if !self.namespaces.contains(&(NsKind::Network, peer.ns.clone())) {
                    self.fault(what, format!("there is no network namespace {} for its peer", peer.ns));
                }
                self.end(&peer.ns, &peer.name, peer.mac, peer.master.as_ref(), false, what);
            }
            LinkKind::Macvlan { parent: Parent { ns, name }, .. }
            | LinkKind::Ipvlan { parent: Parent { ns, name }, .. } => _ = self.device(ns, name, what),
            LinkKind::Vlan { parent, id } => {
                self.device(ns, parent, what);
                if !(1..=4094).contains(id) {
                    self.fault(what, format!("{id} is no VLAN: 1 to 4094"));
                }
            }
        }
    }

    fn end(
        &mut self,
        ns: &NsName,
        name: &IfName,
        mac: Option<MacAddr>,
        master: Option<&IfName>,
        bridge: bool,
        what: &str,
    ) {
        if mac.is_some_and(|m| m.is_multicast() || m == MacAddr::ZERO) {
            self.fault(what, format!("no device may have the hardware address of {name}"));
        }
        if let Some(master) = master {
            match self.links.get(&(ns.clone(), master.clone())) {
                Some(seen) if seen.bridge => {}
                Some(_) => self.fault(what, format!("its master {master} is no bridge")),
                None => self.fault(what, format!("its master {master} does not stand in {ns} before it")),
            }
        }
        let seen = Seen { bridge, master: master.cloned(), up: false, addresses: Vec::new() };
        if self.links.insert((ns.clone(), name.clone()), seen).is_some() {
            self.fault(what, format!("there are two devices {name} in {ns}"));
        }
    }

    pub(super) fn port(&mut self, ns: &NsName, name: &IfName, what: &str) {
        let port = self.links.get(&(ns.clone(), name.clone())).is_some_and(|seen| seen.master.is_some());
        if self.device(ns, name, what) && !port {
            self.fault(what, format!("{name} is a port of no bridge"));
        }
    }

    pub(super) fn up(&mut self, ns: &NsName, name: &IfName, what: &str) {
        match self.links.get_mut(&(ns.clone(), name.clone())) {
            None => _ = self.device(ns, name, what),
            Some(seen) if seen.up => self.fault(what, "it is up already"),
            Some(seen) => seen.up = true,
        }
    }

    pub(super) fn address(&mut self, ns: &NsName, address: &Address, what: &str) {
        let addr = address.net.addr();
        if addr.is_unspecified() || addr.is_multicast() {
            self.fault(what, "no device may have this address");
        }
        let twice = |((n, name), seen): (&(NsName, IfName), &Seen)| {
            let same = n == ns && seen.addresses.iter().any(|(_, net)| net.addr() == addr);
            same.then(|| name.clone())
        };
        if let Some(name) = self.links.iter().find_map(twice) {
            self.fault(what, format!("{name} has this address already"));
        }
        if self.device(ns, &address.link, what) {
            let index = self.index;
            let seen = self.links.get_mut(&(ns.clone(), address.link.clone()));
            seen.into_iter().for_each(|seen| seen.addresses.push((index, address.net)));
        }
    }

    pub(super) fn route(&mut self, ns: &NsName, route: &Route, what: &str) {
        if let Some(dev) = &route.dev {
            self.device(ns, dev, what);
        }
        if route.to.trunc() != route.to {
            self.fault(what, "its destination has bits beyond its prefix");
        }
        match route.via {
            None if route.dev.is_none() => self.fault(what, "it has neither a next hop nor a device"),
            None => {}
            Some(via) if Family::of(via) != Family::of_net(route.to) => {
                self.fault(what, format!("its next hop {via} is of the other family"));
            }
            Some(via) if !self.on_link(ns, route.dev.as_ref(), via) => {
                self.fault(what, format!("its next hop {via} is on no network of {ns}"));
            }
            Some(_) => {}
        }
    }

    /// Whether a neighbour with this address can be asked for: link-local ones always can.
    fn on_link(&self, ns: &NsName, dev: Option<&IfName>, via: IpAddr) -> bool {
        let link_local = matches!(via, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let here = self.links.iter().filter(|((n, name), _)| n == ns && dev.is_none_or(|d| d == name));
        link_local || here.flat_map(|(_, seen)| &seen.addresses).any(|(_, net)| net.contains(&via))
    }
}

type End = (NsName, IfName);

/// Which device stands for the wire a device is on.
struct Wires(BTreeMap<End, End>);

impl Wires {
    fn root(&self, end: &End) -> End {
        let mut at = end.clone();
        while let Some(next) = self.0.get(&at) {
            at = next.clone();
        }
        at
    }

    fn join(&mut self, a: &End, b: &End) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.0.insert(a, b);
        }
    }
}

/// Faults of devices that share a wire: two with one address, two with one hardware address.
pub(super) fn segments(seen: &mut super::Seen, plan: &Plan) {
    let mut wires = Wires(BTreeMap::new());
    let mut macs: Vec<(usize, End, MacAddr)> = Vec::new();
    for (index, item) in plan.items.iter().enumerate() {
        let Object::Link(link) = &item.object else { continue };
        let end = (item.ns.clone(), link.name.clone());
        link.master.iter().for_each(|m| wires.join(&end, &(item.ns.clone(), m.clone())));
        macs.extend(link.mac.map(|mac| (index, end.clone(), mac)));
        match &link.kind {
            LinkKind::Bridge | LinkKind::Dummy | LinkKind::Vlan { .. } => {}
            LinkKind::Veth(peer) => {
                let other = (peer.ns.clone(), peer.name.clone());
                peer.master.iter().for_each(|m| wires.join(&other, &(peer.ns.clone(), m.clone())));
                macs.extend(peer.mac.map(|mac| (index, other.clone(), mac)));
                wires.join(&end, &other);
            }
            LinkKind::Macvlan { parent, .. } | LinkKind::Ipvlan { parent, .. } => {
                wires.join(&end, &(parent.ns.clone(), parent.name.clone()));
            }
        }
    }
    let addresses = seen.links.iter().flat_map(|(end, link)| link.addresses.iter().map(move |a| (end, *a)));
    let addresses: Vec<(usize, End, IpAddr)> =
        addresses.map(|(e, (i, net))| (i, e.clone(), net.addr())).collect();
    twice(seen, &wires, addresses);
    twice(seen, &wires, macs);
}

/// A fault for every second `key` on one wire.
fn twice<K: Ord + Clone + std::fmt::Display>(
    seen: &mut super::Seen,
    wires: &Wires,
    mut all: Vec<(usize, End, K)>,
) {
    all.sort_by_key(|(index, ..)| *index);
    let mut first: BTreeMap<(End, K), End> = BTreeMap::new();
    for (index, end, key) in all {
        let wire = wires.root(&end);
        match first.get(&(wire.clone(), key.clone())) {
            Some((ns, name)) if (ns, name) != (&end.0, &end.1) => {
                let cause = format!("{key} is on {name} of {ns} too, on the same wire");
                seen.index = index;
                seen.fault(format!("{}: {}", end.0, end.1), cause);
            }
            Some(_) => {}
            None => _ = first.insert((wire, key), end),
        }
    }
}
