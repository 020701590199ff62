//! Writing the trace, where one is wanted: without it nothing is written, and no word is made.

use std::collections::BTreeMap;

use seatrial_core::addr::IfName;
use seatrial_core::plan::NsName;
use seatrial_core::probe::Outcome;
use seatrial_core::topology::NodeName;

use crate::arena::{DevId, NsId};
use crate::device::Kind;
use crate::skb::Skb;
use crate::stack::socket::{Owner, SockId, Wake};
use crate::trace::{DropReason, Event as Happened, Hop, Place};
use crate::world::{Event, World};

impl World {
    /// Notes what happened to a packet; not to one that has no number: a neighbour message for no packet's sake.
    pub(crate) fn note(
        &mut self,
        ns: NsId,
        dev: Option<DevId>,
        skb: &Skb,
        event: impl FnOnce(&Self) -> Happened,
    ) {
        if self.hops.is_some() && skb.meta.flight > 0 {
            let hop = self.hop(ns, dev, skb, event);
            self.hops.get_or_insert_default().push(hop);
        }
    }

    /// Notes that a packet went no further.
    pub(crate) fn note_drop(
        &mut self,
        ns: NsId,
        dev: Option<DevId>,
        skb: &Skb,
        reason: DropReason,
        why: impl FnOnce(&Self) -> String,
    ) {
        self.note(ns, dev, skb, |w| Happened::Drop { reason, why: why(w) });
    }

    /// Keeps a drop in mind, in case nothing else tells why.
    pub(crate) fn aside(
        &mut self,
        dev: DevId,
        skb: &Skb,
        reason: DropReason,
        why: impl FnOnce(&Self) -> String,
    ) {
        if self.hops.is_some() {
            let ns = self.devices[dev].ns;
            self.aside = Some(self.hop(ns, Some(dev), skb, |w| Happened::Drop { reason, why: why(w) }));
        }
    }

    /// Notes that a process sent a packet.
    pub(crate) fn note_send(&mut self, ns: NsId, skb: &Skb, owner: Owner) {
        self.note(ns, None, skb, |w| Happened::Send { node: w.node_of(ns, owner) });
    }

    /// Notes that a socket got a packet.
    pub(crate) fn note_deliver(&mut self, ns: NsId, dev: DevId, skb: &Skb, sock: SockId) {
        let Some(socket) = self.hops.as_ref().and_then(|_| self.stacks[ns].sockets.get(sock)) else { return };
        let (owner, socket) = (socket.owner, socket.describe());
        self.note(ns, Some(dev), skb, |w| Happened::Deliver { node: w.node_of(ns, owner), socket });
    }

    /// A hop, to be written down.
    pub(crate) fn hop(
        &self,
        ns: NsId,
        dev: Option<DevId>,
        skb: &Skb,
        event: impl FnOnce(&Self) -> Happened,
    ) -> Hop {
        Hop {
            at_us: self.now_us(),
            flight: skb.meta.flight,
            ns: self.stacks[ns].name.clone(),
            device: dev.map(|dev| self.devices[dev].name.clone()),
            packet: skb.packet,
            event: event(self),
        }
    }

    /// The node of a socket's process; of one that has none, the namespace's name.
    fn node_of(&self, ns: NsId, owner: Owner) -> NodeName {
        match owner {
            Owner::Listener(node) | Owner::Asker(node) | Owner::Libc(node) => self.numbered(node).clone(),
            Owner::ProxyFront(_) | Owner::ProxyBack(_) | Owner::Reservation => {
                self.stacks[ns].name.as_str().into()
            }
            Owner::Resolver(_) | Owner::ResolverUpstream(_) => self.stacks[ns].name.as_str().into(),
        }
    }

    /// Answers the question, unless it has its answer.
    pub(crate) fn conclude(&mut self, outcome: Outcome) {
        self.concluded.get_or_insert(outcome);
    }

    /// Wakes a socket's process, a moment from now.
    pub(crate) fn wake(&mut self, ns: NsId, sock: SockId, wake: Wake) {
        let cause = self.cause;
        self.clock.after(1, Event::Wake { ns, sock, wake, cause });
    }

    /// What the devices that hops name are.
    pub(crate) fn devices_of(&self, hops: &[Hop]) -> BTreeMap<NsName, BTreeMap<IfName, Place>> {
        let mut places: BTreeMap<NsName, BTreeMap<IfName, Place>> = BTreeMap::new();
        // A packet meets the same few devices again and again.
        let mut seen: Vec<(&IfName, &NsName)> = Vec::new();
        for hop in hops {
            let others = match &hop.event {
                Happened::Cross { ns, device } => Some((ns, device)),
                Happened::Bridge { bridge, .. } => Some((&hop.ns, bridge)),
                Happened::Send { .. }
                | Happened::Route { .. }
                | Happened::Rule(_)
                | Happened::Policy { .. } => None,
                Happened::Conntrack { .. } | Happened::Rewrite { .. } | Happened::Neighbour { .. } => None,
                Happened::Deliver { .. } | Happened::Proxied { .. } => None,
                Happened::Answer { .. } | Happened::Drop { .. } => None,
            };
            for (ns, name) in others.into_iter().chain(hop.device.iter().map(|device| (&hop.ns, device))) {
                if seen.contains(&(name, ns)) {
                    continue;
                }
                seen.push((name, ns));
                let known = self.spaces.get(ns).and_then(|ns| self.stacks[*ns].links.get(name));
                if let Some(dev) = known {
                    places.entry(ns.clone()).or_default().insert(name.clone(), self.place(*dev));
                }
            }
        }
        places
    }

    /// What a device is to a reader.
    pub(crate) fn place(&self, dev: DevId) -> Place {
        let device = &self.devices[dev];
        let on_wire = |ns: NsId| self.stacks[ns].node.is_none();
        match &device.kind {
            Kind::Loopback => Place::Loopback,
            Kind::Bridge(_) if on_wire(device.ns) => Place::Switch,
            Kind::Bridge(_) => Place::Bridge,
            Kind::Veth { .. } if on_wire(device.ns) => Place::SwitchPort,
            Kind::Veth { .. } if device.port.is_some() => Place::BridgePort,
            Kind::Veth { peer } if peer.is_some_and(|p| on_wire(self.devices[p].ns)) => Place::Nic,
            Kind::Veth { .. } => Place::Interface,
            Kind::Macvlan { .. } => Place::Macvlan,
            Kind::Ipvlan { .. } => Place::Ipvlan,
            Kind::Vlan { .. } => Place::Vlan,
            Kind::Dummy => Place::Dummy,
        }
    }
}
