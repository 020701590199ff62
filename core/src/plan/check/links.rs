//! Devices, what stands on them, and who shares a wire with whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::addr::{Family, IfName, IpNet, MacAddr};
use crate::plan::{Address, Link, LinkKind, NsName, Parent, Route};
use crate::probe::NsKind;

/// A device that stands.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The item it is made by.
    index: usize,
    bridge: bool,
    mac: Option<MacAddr>,
    master: Option<IfName>,
    segment: Option<Segment>,
    up: bool,
    addresses: Vec<(usize, IpNet)>,
}

impl Seen {
    pub(super) fn loopback() -> Self {
        Self::new(0, None)
    }

    fn new(index: usize, mac: Option<MacAddr>) -> Self {
        Self { index, bridge: false, mac, master: None, segment: None, up: false, addresses: Vec::new() }
    }
}

/// Who has a device as a neighbour whatever is plugged in elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// A bridge, and what its cables lead to.
    Bridge(NsName, IfName),
    /// The macvlans or ipvlans of a parent.
    Parent(NsName, IfName),
}

impl super::Seen {
    /// The device, or a fault that it does not stand before `what`.
    pub(super) fn device(&mut self, ns: &NsName, name: &IfName, what: &str) -> bool {
        let stands = self.find(ns, name).is_some();
        if !stands {
            self.fault(what, format!("there is no device {name} in {ns} before it"));
        }
        stands
    }

    fn find(&mut self, ns: &NsName, name: &IfName) -> Option<&mut Seen> {
        self.links.get_mut(ns)?.get_mut(name)
    }

    pub(super) fn link(&mut self, ns: &NsName, link: &Link, what: &str) {
        let mut seen = Seen::new(self.index, link.mac);
        seen.master.clone_from(&link.master);
        match &link.kind {
            LinkKind::Dummy => {}
            LinkKind::Bridge => {
                seen.bridge = true;
                seen.segment = Some(Segment::Bridge(ns.clone(), link.name.clone()));
            }
            LinkKind::Veth(peer) => {
                seen.segment = peer.master.clone().map(|master| Segment::Bridge(peer.ns.clone(), master));
                if !self.namespaces.contains(&(NsKind::Network, peer.ns.clone())) {
                    self.fault(what, format!("there is no network namespace {} for its peer", peer.ns));
                }
                let mut other = Seen::new(self.index, peer.mac);
                other.master.clone_from(&peer.master);
                other.segment = link.master.clone().map(|master| Segment::Bridge(ns.clone(), master));
                self.end(&peer.ns, &peer.name, other, what);
            }
            LinkKind::Macvlan { parent: Parent { ns, name }, .. }
            | LinkKind::Ipvlan { parent: Parent { ns, name }, .. } => {
                seen.segment = Some(Segment::Parent(ns.clone(), name.clone()));
                self.device(ns, name, what);
            }
            LinkKind::Vlan { parent, id } => {
                self.device(ns, parent, what);
                if !(1..=4094).contains(id) {
                    self.fault(what, format!("{id} is no VLAN: 1 to 4094"));
                }
            }
        }
        self.end(ns, &link.name, seen, what);
    }

    fn end(&mut self, ns: &NsName, name: &IfName, seen: Seen, what: &str) {
        if seen.mac.is_some_and(|m| m.is_multicast() || m == MacAddr::ZERO) {
            self.fault(what, format!("no device may have the hardware address of {name}"));
        }
        if let Some(master) = &seen.master {
            match self.find(ns, master).map(|m| m.bridge) {
                Some(true) => {}
                Some(false) => self.fault(what, format!("its master {master} is no bridge")),
                None => self.fault(what, format!("its master {master} does not stand in {ns} before it")),
            }
        }
        if self.links.entry(ns.clone()).or_default().insert(name.clone(), seen).is_some() {
            self.fault(what, format!("there are two devices {name} in {ns}"));
        }
    }

    pub(super) fn port(&mut self, ns: &NsName, name: &IfName, what: &str) {
        let port = self.find(ns, name).is_some_and(|seen| seen.master.is_some());
        if self.device(ns, name, what) && !port {
            self.fault(what, format!("{name} is a port of no bridge"));
        }
    }

    pub(super) fn up(&mut self, ns: &NsName, name: &IfName, what: &str) {
        match self.find(ns, name) {
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
        if !self.device(ns, &address.link, what) {
            return;
        }
        let index = self.index;
        let same = |net: &IpNet| match net {
            // Another prefix makes it another address (`__inet_insert_ifa`), not so in IPv6 (`ipv6_add_addr`).
            IpNet::V4(_) => *net == address.net,
            IpNet::V6(_) => net.addr() == addr,
        };
        let Some(seen) = self.find(ns, &address.link) else { return };
        let twice = seen.addresses.iter().any(|(_, net)| same(net));
        seen.addresses.push((index, address.net));
        if twice {
            self.fault(what, "it has this address already");
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
        let links = self.links.get(ns).into_iter().flatten();
        let mut here =
            links.filter(|(name, _)| dev.is_none_or(|d| d == *name)).flat_map(|(_, l)| &l.addresses);
        link_local || here.any(|(_, net)| net.contains(&via))
    }

    /// Faults of devices on one segment: two with one address where one Engine gives them out, two with one hardware
    /// address where the kernel refuses that.
    ///
    /// Anywhere else both are trouble, and yet allowed: nobody watches over the wire between machines, and a bridge
    /// takes a `mac_address` that the user wrote twice.
    pub(super) fn segments(&mut self) {
        let (mut addresses, mut macs) = (Keys::new(), Keys::new());
        for (ns, links) in &self.links {
            for (name, link) in links {
                let Some(segment) = &link.segment else { continue };
                let end = (ns, name);
                if self.is_ruled(segment) {
                    // The user may write a link-local address twice; Docker does not look at it.
                    let given = link.addresses.iter().filter(|(_, net)| !is_link_local(net.addr()));
                    addresses.extend(given.map(|(index, net)| (*index, segment, net.to_string(), end)));
                }
                if let (Segment::Parent(..), Some(mac)) = (segment, link.mac) {
                    macs.push((link.index, segment, mac.to_string(), end));
                }
            }
        }
        let faults: Vec<_> = twice(addresses).into_iter().chain(twice(macs)).collect();
        for (index, object, cause) in faults {
            self.index = index;
            self.fault(object, cause);
        }
    }

    /// Whether one Engine gives out the addresses of a segment: the switch between machines is nobody's.
    fn is_ruled(&self, segment: &Segment) -> bool {
        let (Segment::Bridge(ns, _) | Segment::Parent(ns, _)) = segment;
        self.machines.contains(ns)
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// What must be unique on a segment: the item, the segment, the key, and the device that has it.
type Keys<'a> = Vec<(usize, &'a Segment, String, (&'a NsName, &'a IfName))>;

/// The items that have a key which an item before them has on the same segment: object and cause of each fault.
fn twice(mut all: Keys<'_>) -> Vec<(usize, String, String)> {
    all.sort();
    let mut first: BTreeMap<(&Segment, String), (&NsName, &IfName)> = BTreeMap::new();
    let mut faults = Vec::new();
    for (index, segment, key, (ns, name)) in all {
        if let Some((other_ns, other)) = first.get(&(segment, key.clone())) {
            let cause = format!("{key} is on {other} of {other_ns} too, on the same segment");
            faults.push((index, format!("{ns}: {name}"), cause));
        } else {
            first.insert((segment, key), (ns, name));
        }
    }
    faults
}
