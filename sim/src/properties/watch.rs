//! Checkers: each looks at every event as it happens, and knows nothing of how it comes about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use seatrial_core::addr::{IfName, IpNet, MacAddr};
use seatrial_core::plan::{Link, LinkKind, NsName, Object, Plan};

use super::plant;
use crate::arena::DevId;
use crate::device::Kind;
use crate::packet::{L4, Packet, Payload, Tcp, TcpFlags};
use crate::skb::{Framed, Skb};
use crate::trace::{DropReason, Event as Happened, Hop};
use crate::world::{Event, World};

/// Something rare that must be met on some voyage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// NAT gave a flow another source port, since its own was taken.
    PortClash,
    /// A container reached itself by the host's address.
    Hairpin,
    /// A neighbour did not answer.
    ArpFailure,
    /// Conntrack had no room.
    TableFull,
    /// A fault took a packet.
    Lost,
    /// A checksum did.
    Marred,
}

impl Mark {
    pub(super) const ALL: [Self; 6] =
        [Self::PortClash, Self::Hairpin, Self::ArpFailure, Self::TableFull, Self::Lost, Self::Marred];
}

/// A packet whose checksum is wrong.
const SUMS: [DropReason; 4] =
    [DropReason::IpCsum, DropReason::TcpCsum, DropReason::UdpCsum, DropReason::IcmpCsum];

/// A bridge, and the namespace it is in.
type Segment = (NsName, IfName);

/// What is known of a network, and what has been seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    wrong: Option<String>,
    marks: BTreeMap<Mark, usize>,
    /// Subnets that the host masquerades.
    private: Vec<IpNet>,
    /// The bridge that a device is behind, by its place and by its MAC address.
    behind: BTreeMap<(NsName, IfName), Segment>,
    macs: BTreeMap<MacAddr, Segment>,
    /// Who has asked whom, and on what port.
    asked: BTreeSet<(NsName, IpAddr, Option<u16>)>,
    /// Packets that conntrack would not have: NAT leaves them as they are (C4).
    invalid: BTreeSet<(u32, IpAddr, IpAddr)>,
}

impl Watch {
    pub(super) fn new(private: Vec<IpNet>) -> Self {
        Self { private, ..Self::default() }
    }

    /// Takes in what is planned.
    pub(super) fn learn(&mut self, plan: &Plan) {
        for item in &plan.items {
            let Object::Link(Link { name, kind: LinkKind::Veth(peer), mac, master, .. }) = &item.object
            else {
                continue;
            };
            let segment = match (master, &peer.master) {
                (Some(master), _) => (item.ns.clone(), master.clone()),
                (None, Some(master)) => (peer.ns.clone(), master.clone()),
                (None, None) => continue,
            };
            self.behind.insert((item.ns.clone(), name.clone()), segment.clone());
            self.behind.insert((peer.ns.clone(), peer.name.clone()), segment.clone());
            for mac in [*mac, peer.mac].into_iter().flatten() {
                self.macs.insert(mac, segment.clone());
            }
        }
    }

    pub(super) fn asks(&mut self, from: &str, target: IpAddr, port: Option<u16>) {
        self.asked.insert((NsName::from(from), target, port));
    }

    /// The first thing that must not be.
    pub(super) fn verdict(&self) -> Result<(), String> {
        self.wrong.clone().map_or(Ok(()), Err)
    }

    pub(super) fn take_marks(&mut self, into: &mut BTreeMap<Mark, usize>) {
        for (mark, count) in std::mem::take(&mut self.marks) {
            *into.entry(mark).or_default() += count;
        }
    }

    fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// A frame reaches a device.
    fn look(&mut self, world: &World, dev: DevId, framed: &Framed) {
        let device = &world.devices[dev];
        let ns = &world.stacks[device.ns].name;
        let place = (ns.clone(), device.name.clone());
        let meta = framed.meta();
        if meta.hops > 64 {
            self.wrong(format!("a frame at {} of {ns} has passed {} devices", device.name, meta.hops));
        }
        if let (Some(here), Some(home)) = (self.behind.get(&place), self.macs.get(&meta.src))
            && here != home
        {
            let what = format!(
                "a frame of {}'s reaches {}: networks that have nothing to do with each other",
                home.1, here.1
            );
            self.wrong(what);
        }
        if let Framed::Ip(skb) = framed {
            self.look_inside(ns, skb);
        }
    }

    fn look_inside(&mut self, ns: &NsName, Skb { packet, meta }: &Skb) {
        let key = (meta.flight, packet.src, packet.dst);
        let private = self.private.iter().any(|net| net.contains(&packet.src));
        if ns.as_str() == "wire" && private && !self.invalid.contains(&key) {
            self.wrong(format!(
                "{} > {} left the host with its private source",
                packet.source(),
                packet.destination()
            ));
        }
    }

    /// An answer that meets no socket, from where its receiver never asked: somebody did not undo his NAT. On the host
    /// there are proxies that ask too.
    fn judge_answer(&mut self, hop: &Hop) {
        let packet = &hop.packet;
        let lost = match &hop.event {
            Happened::Drop { reason, .. } => *reason == DropReason::NoSocket,
            Happened::Answer { what } => what.starts_with("RST"),
            _ => false,
        };
        let opens = |tcp: Tcp| tcp.flags.has(TcpFlags::SYN.with(TcpFlags::ACK));
        let answers = match (packet.payload, packet.l4) {
            (Payload::Answer { .. }, _) => true,
            (_, L4::Tcp(tcp)) => opens(tcp),
            (_, _) => false,
        };
        let asked = (hop.ns.clone(), packet.src, packet.ports().map(|p| p.src));
        if lost && answers && hop.ns.as_str() != "host" && !self.asked.contains(&asked) {
            self.wrong(format!("{} was answered from {}, whom it never asked", hop.ns, packet.source()));
        }
    }

    /// What came of an event: `left` is how many frames of its packet wait now beyond those that did before, `hops`
    /// what was noted, and `aside` whether something was kept in mind.
    fn judge(&mut self, framed: &Framed, hops: &[Hop], left: isize, aside: bool) {
        let Framed::Ip(skb) = framed else { return };
        let flight = skb.meta.flight;
        let own: Vec<&Hop> = hops.iter().filter(|hop| hop.flight == flight).collect();
        let ends = own.iter().filter(|hop| {
            matches!(hop.event, Happened::Deliver { .. } | Happened::Drop { .. } | Happened::Answer { .. })
        });
        let ends = isize::try_from(ends.count()).unwrap() + isize::from(aside);
        if left + ends < 1 {
            let (from, to) = (skb.packet.source(), skb.packet.destination());
            self.wrong(format!(
                "{from} > {to} {:?} went no further, and nothing says why (noted: {:?})",
                skb.packet.l4,
                own.iter().map(|h| &h.event).collect::<Vec<_>>()
            ));
        }
        self.judge_ttl(&own);
        own.iter().for_each(|hop| self.judge_answer(hop));
        own.iter().for_each(|hop| self.remark(hop));
    }

    /// A packet that is passed on has one hop less to live from there on.
    fn judge_ttl(&mut self, own: &[&Hop]) {
        let passage = |hop: &Hop| matches!(&hop.event, Happened::Route { text } if text.passes);
        let Some(at) = own.iter().position(|hop| passage(hop)) else { return };
        let ttl = own[at].packet.ttl;
        if let Some(hop) = own[at + 1..].iter().find(|hop| hop.packet.ttl + 1 != ttl) {
            self.wrong(format!(
                "{} was passed on, and its TTL is still {}",
                hop.packet.destination(),
                hop.packet.ttl
            ));
        }
    }

    fn remark(&mut self, hop: &Hop) {
        let mut mark = |mark| *self.marks.entry(mark).or_default() += 1;
        match &hop.event {
            Happened::Rewrite { after } if hop.packet.src != after.src => {
                let port = |packet: &Packet| packet.ports().map(|p| p.src);
                if port(&hop.packet) == Some(40000) && port(after) != Some(40000) {
                    mark(Mark::PortClash);
                }
            }
            Happened::Drop { reason: DropReason::QdiscDrop, .. } => mark(Mark::Lost),
            Happened::Drop { reason, .. } if SUMS.contains(reason) => mark(Mark::Marred),
            Happened::Drop { reason: DropReason::NeighFailed, .. } => mark(Mark::ArpFailure),
            Happened::Drop { why, .. } if why.contains("table full") => mark(Mark::TableFull),
            Happened::Conntrack { state: "INVALID", .. } => {
                self.invalid.insert((hop.flight, hop.packet.src, hop.packet.dst));
            }
            _ => {}
        }
    }
}

/// Lets an event happen under the eyes of all checkers.
pub(crate) fn over(mut watch: Box<Watch>, world: &mut World, mut event: Event) {
    let swallowed = world.planted.is_some_and(|bug| plant::event(world, &mut event, bug));
    let framed = match &event {
        Event::Receive(dev, framed) => {
            watch.look(world, *dev, framed);
            Some(framed.clone())
        }
        Event::Passed(_, _, framed) => Some(framed.clone()),
        Event::Neighbour { .. } | Event::Tcp { .. } | Event::Wake { .. } => None,
        Event::Upstream { .. } | Event::Idle { .. } => None,
    };
    let traced = world.hops.is_some();
    let start = world.hops.get_or_insert_default().len();
    let flight = framed.as_ref().map_or(0, |f| f.meta().flight);
    let before = under_way(world, flight);
    let aside = world.aside.take();
    if !swallowed {
        world.happen(&mut event);
    }
    let hops = world.hops.take().unwrap_or_default();
    if let Some(framed) = framed {
        let left = under_way(world, flight) - before;
        watch.judge(&framed, &hops[start..], left, world.aside.is_some());
    } else {
        hops[start..].iter().for_each(|hop| watch.remark(hop));
    }
    world.hops = traced.then_some(hops);
    world.aside = world.aside.take().or(aside);
    world.watch = Some(watch);
}

/// How many frames of a packet are on a wire or wait for a neighbour.
fn under_way(world: &World, flight: u32) -> isize {
    let on_wires = world.clock.pending().filter(|event| match event {
        Event::Receive(_, f) | Event::Passed(_, _, f) => {
            matches!(f, Framed::Ip(skb) if skb.meta.flight == flight)
        }
        Event::Neighbour { .. } | Event::Tcp { .. } | Event::Wake { .. } => false,
        Event::Upstream { .. } | Event::Idle { .. } => false,
    });
    let neighbours = world.stacks.iter().flat_map(|(_, stack)| stack.neighbours.values());
    let queued = neighbours.flat_map(|n| n.waiting()).filter(|skb| skb.meta.flight == flight);
    isize::try_from(on_wires.count() + queued.count()).unwrap()
}

/// What must hold whenever nothing is happening.
pub(super) fn between(world: &World) -> Result<(), String> {
    world.devices.iter().filter(|(_, d)| d.alive).try_for_each(|(id, device)| {
        let Kind::Bridge(bridge) = &device.kind else { return Ok(()) };
        bridge.learned().try_for_each(|(mac, port)| {
            let at = &world.devices[port];
            let lives = at.alive && at.port.is_some_and(|p| p.bridge == id) && bridge.ports.contains(&port);
            let known =
                || format!("{mac} is behind {} to {}, which is no port of the bridge", at.name, device.name);
            if lives { Ok(()) } else { Err(known()) }
        })
    })?;
    world.stacks.iter().try_for_each(|(_, stack)| unique(&world.conntrack(&stack.name), &stack.name))
}

/// No tuple belongs to two flows, in whichever direction.
fn unique(entries: &[String], ns: &NsName) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    entries.iter().try_for_each(|entry| {
        let protocol = entry.split_whitespace().next().unwrap_or_default();
        let words: Vec<&str> = entry.split_whitespace().filter(|w| w.contains('=')).collect();
        let reply = words.iter().rposition(|w| w.starts_with("src=")).unwrap_or(0);
        let own = |words: &[&str]| -> Vec<String> {
            let named = |w: &&&str| !["mark", "use"].contains(&w.split('=').next().unwrap_or_default());
            words.iter().filter(named).map(|w| (*w).to_owned()).collect()
        };
        let tuples = [own(&words[..reply]), own(&words[reply..])];
        tuples.into_iter().try_for_each(|tuple| {
            let text = format!("{protocol} {}", tuple.join(" "));
            if seen.insert(text.clone()) {
                Ok(())
            } else {
                Err(format!("in {ns}, {text} belongs to two flows"))
            }
        })
    })
}
