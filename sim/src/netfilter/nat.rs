//! NAT: which tuple a flow gets, settled once, and how its packets are rewritten (net/netfilter/nf_nat_core.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use seatrial_core::addr::{Family, PortRange};
use seatrial_core::rules::{Hook, NatRange, PortMap, Protocol};

use super::Scene;
use super::compile::NatAction;
use super::conntrack::tuple::{Direction, Tuple};
use super::conntrack::{Entry, EntryId, Status, Table};
use crate::packet::{Icmp, L4, Packet, Ports, Quoted};
use crate::seed::Seed;

mod address;
mod unique;

use unique::unique_tuple;

/// Which half of a packet is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manip {
    Source,
    Destination,
}

impl Manip {
    /// Which half a hook rewrites (`HOOK2MANIP`); nothing at FORWARD.
    pub(super) const fn of(hook: Hook) -> Option<Self> {
        match hook {
            Hook::Prerouting | Hook::Output => Some(Self::Destination),
            Hook::Input | Hook::Postrouting => Some(Self::Source),
            Hook::Forward => None,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }

    /// The status of an entry whose half is settled.
    pub(super) const fn done(self) -> Status {
        match self {
            Self::Source => Status::SRC_NAT_DONE,
            Self::Destination => Status::DST_NAT_DONE,
        }
    }

    /// The status of an entry whose half is translated; in the reply direction the halves swap.
    const fn status(self, direction: Direction) -> Status {
        match (self, direction) {
            (Self::Source, Direction::Original) | (Self::Destination, Direction::Reply) => Status::SRC_NAT,
            (Self::Destination, Direction::Original) | (Self::Source, Direction::Reply) => Status::DST_NAT,
        }
    }
}

/// What a translation may come to (`struct nf_nat_range2`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    addresses: Option<(IpAddr, IpAddr)>,
    ports: Option<PortRange>,
    random: bool,
    persistent: bool,
}

impl Range {
    const fn new(addresses: Option<(IpAddr, IpAddr)>, ports: PortMap) -> Self {
        let random = ports.random || ports.random_fully;
        Self { addresses, ports: ports.ports, random, persistent: false }
    }

    fn of(range: NatRange) -> Self {
        Self { persistent: range.persistent, ..Self::new(range.addresses, range.ports) }
    }

    /// The packet's own address, whatever it is by now: a null binding.
    fn null(entry: &Entry, manip: Manip) -> Self {
        let own = match manip {
            Manip::Source => entry.reply.dst,
            Manip::Destination => entry.reply.src,
        };
        let any = PortMap { ports: None, random: false, random_fully: false };
        Self::new(Some((own, own)), any)
    }
}

/// What came of a NAT rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// The packet goes on; whether its flow is settled, the entry says.
    Go,
    /// It is dropped, and why.
    Drop(&'static str),
}

/// Carries out the target of a NAT rule.
pub(super) fn apply(
    table: &mut Table,
    id: EntryId,
    action: &NatAction,
    packet: &Packet,
    scene: &Scene<'_>,
    seed: &mut Seed,
) -> Applied {
    let only = |addr| Some((addr, addr));
    let (range, manip) = match *action {
        NatAction::Dnat(range) => (Range::of(range), Manip::Destination),
        NatAction::Snat(range) => (Range::of(range), Manip::Source),
        NatAction::Redirect(ports) => match redirect_address(packet, scene) {
            Some(addr) => (Range::new(only(addr), ports), Manip::Destination),
            None => return Applied::Drop("the device it came in by has no address to redirect to"),
        },
        NatAction::Masquerade(ports) => {
            if packet.src.is_unspecified() {
                return Applied::Go;
            }
            let Some(addr) = masquerade_address(packet, scene) else {
                return Applied::Drop("the device it leaves by has no address to masquerade as");
            };
            if let Some(entry) = table.get_mut(id) {
                entry.masquerade = scene.output.cloned();
            }
            (Range::new(only(addr), ports), Manip::Source)
        }
    };
    settle(table, id, &range, manip, scene.now_us, seed);
    Applied::Go
}

/// Settles that a half of a flow's packets stays as it is, if no other flow has that already.
pub(super) fn bind_null(table: &mut Table, id: EntryId, manip: Manip, scene: &Scene<'_>, seed: &mut Seed) {
    if let Some(range) = table.get(id).map(|entry| Range::null(entry, manip)) {
        settle(table, id, &range, manip, scene.now_us, seed);
    }
}

/// This machine, as REDIRECT sees it (net/netfilter/nf_nat_redirect.c).
fn redirect_address(packet: &Packet, scene: &Scene<'_>) -> Option<IpAddr> {
    match (scene.input, packet.family()) {
        (None, Family::V4) => Some(Ipv4Addr::LOCALHOST.into()),
        (None, Family::V6) => Some(Ipv6Addr::LOCALHOST.into()),
        (Some(device), _) => scene.routing.redirect_address(device, packet.dst),
    }
}

/// The device's address, as MASQUERADE picks it (net/netfilter/nf_nat_masquerade.c).
fn masquerade_address(packet: &Packet, scene: &Scene<'_>) -> Option<IpAddr> {
    let to = match packet.family() {
        Family::V4 => scene.next_hop.unwrap_or(packet.dst),
        Family::V6 => packet.dst,
    };
    scene.routing.masquerade_source(scene.output?, to)
}

/// Settles one half of a flow for good (`nf_nat_setup_info`).
fn settle(table: &mut Table, id: EntryId, range: &Range, manip: Manip, now_us: u64, seed: &mut Seed) {
    let Some(entry) = table.get(id) else { return };
    // What is in the table stays as it is.
    if entry.has(Status::CONFIRMED) {
        return;
    }
    // A flow's reply can be inverted, or it would not be a flow.
    let Some(current) = entry.reply.inverse() else { return };
    let new = unique_tuple(table, id, &current, range, manip, now_us, seed);
    let Some(entry) = table.get_mut(id) else { return };
    if let Some(reply) = new.inverse()
        && new != current
    {
        entry.reply = reply;
        entry.status.set(manip.status(Direction::Original));
    }
    entry.status.set(manip.done());
    if manip == Manip::Source {
        table.settle_source(id);
    }
}

/// Rewrites a packet of a settled flow (`nf_nat_packet`).
pub(super) fn rewrite(entry: &Entry, direction: Direction, manip: Manip, packet: &mut Packet) {
    if entry.has(manip.status(direction))
        && let Some(target) = entry.tuple(direction.other()).inverse()
    {
        rewrite_half(packet, &target, manip);
    }
}

fn rewrite_half(packet: &mut Packet, target: &Tuple, manip: Manip) {
    match manip {
        Manip::Source => packet.src = target.src,
        Manip::Destination => packet.dst = target.dst,
    }
    if let Some(ports) = packet.ports() {
        packet.set_ports(half_of(ports, target.ports, manip));
    }
    if let L4::Icmp(Icmp::Echo { id, .. }) = &mut packet.l4 {
        *id = target.ports.src;
    }
}

const fn half_of(ports: Ports, target: Ports, manip: Manip) -> Ports {
    match manip {
        Manip::Source => Ports { src: target.src, dst: ports.dst },
        Manip::Destination => Ports { src: ports.src, dst: target.dst },
    }
}

/// Rewrites an ICMP error of a flow: the packet it quotes the other way round, then its own header as an answer's
/// (`nf_nat_icmp_reply_translation`). False where it must not pass.
pub(super) fn rewrite_error(entry: &Entry, direction: Direction, manip: Manip, packet: &mut Packet) -> bool {
    let family = packet.family();
    let L4::Icmp(Icmp::Error { kind, quoted, .. }) = &mut packet.l4 else { return true };
    let redirects = matches!((family, *kind), (Family::V4, 5) | (Family::V6, 137));
    let settled = entry.has(Status::SRC_NAT_DONE) && entry.has(Status::DST_NAT_DONE);
    let translated = entry.source_translated() || entry.destination_translated();
    if redirects && (!settled || translated) {
        return false;
    }
    if !entry.has(manip.status(direction)) {
        return true;
    }
    let other = entry.tuple(direction.other());
    rewrite_quoted(quoted, other, manip.other());
    if let Some(target) = other.inverse() {
        match manip {
            Manip::Source => packet.src = target.src,
            Manip::Destination => packet.dst = target.dst,
        }
    }
    true
}

fn rewrite_quoted(quoted: &mut Quoted, target: &Tuple, manip: Manip) {
    match manip {
        Manip::Source => quoted.src = target.src,
        Manip::Destination => quoted.dst = target.dst,
    }
    quoted.ports = match quoted.protocol {
        Protocol::TCP | Protocol::UDP | Protocol::SCTP => half_of(quoted.ports, target.ports, manip),
        Protocol::ICMP | Protocol::ICMPV6 => Ports { src: target.ports.src, dst: target.ports.src },
        Protocol(_) => quoted.ports,
    };
}
