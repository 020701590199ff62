//! Which packets of a trace are worth showing whole: the first of each way, and each that ends otherwise.

use std::net::IpAddr;

use super::{Event, Hop, Trace};
use crate::packet::{Icmp, L4, Packet, TcpFlags};

/// One packet and all its hops.
pub(super) struct Flight<'a> {
    pub(super) hops: Vec<&'a Hop>,
    /// Whether it was sent before, to the byte.
    pub(super) resent: bool,
}

/// How a packet is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Hop by hop.
    Shown,
    /// In short: it answers one that was shown, and arrives.
    Back,
    /// Only counted: it goes the way of one before it.
    Same,
}

/// Who sends to whom: protocol, source and destination with their ports.
type Ends = (u8, (IpAddr, u16), (IpAddr, u16));

/// The packets of a trace in the order they were sent, and how each is shown.
pub(super) fn flights(trace: &Trace) -> Vec<(Flight<'_>, Role)> {
    let mut numbers: Vec<u32> = Vec::new();
    for hop in &trace.hops {
        if !numbers.contains(&hop.flight) {
            numbers.push(hop.flight);
        }
    }
    let mut out: Vec<(Flight<'_>, Role)> = Vec::new();
    for number in numbers {
        let hops = trace.hops.iter().filter(|h| h.flight == number).collect();
        let mut flight = Flight { hops, resent: false };
        let role = role(&out, &flight);
        flight.resent =
            role == Role::Same && flight.is_syn() && out.iter().any(|(o, _)| o.bytes() == flight.bytes());
        out.push((flight, role));
    }
    out
}

fn role(before: &[(Flight<'_>, Role)], flight: &Flight<'_>) -> Role {
    // One that is still on its way when the trace ends is taken to go the way of those before it.
    let like = |other: &Flight<'_>| other.fate() == flight.fate() || !flight.ends();
    if before.iter().any(|(other, _)| other.sent() == flight.sent() && like(other)) {
        return Role::Same;
    }
    let answers = before.iter().any(|(other, _)| flight.answers(other));
    if answers && flight.arrives() { Role::Back } else { Role::Shown }
}

impl<'a> Flight<'a> {
    /// The packet as it was sent; a proxy's notes are about its client's.
    pub(super) fn first(&self) -> Option<&'a Hop> {
        self.hops.iter().find(|hop| !matches!(hop.event, Event::Proxied { .. })).copied()
    }

    fn sent(&self) -> Option<Ends> {
        self.first().and_then(|hop| ends(&hop.packet))
    }

    fn is_syn(&self) -> bool {
        let syn = |packet: &Packet| matches!(packet.l4, L4::Tcp(tcp) if tcp.flags == TcpFlags::SYN);
        self.first().is_some_and(|hop| syn(&hop.packet))
    }

    /// The addresses it has at its end: after the last rewrite.
    fn received(&self) -> Option<Ends> {
        let last = self.hops.last()?;
        let after = if let Event::Rewrite { after } = &last.event { after } else { &last.packet };
        ends(after)
    }

    /// What became of it.
    fn fate(&self) -> Option<(String, String)> {
        let last = self.hops.last()?;
        let end = match &last.event {
            Event::Drop { reason, why } => format!("{reason} {why}"),
            Event::Deliver { node, .. } => format!("to {node}"),
            Event::Answer { what } => what.clone(),
            Event::Send { .. } | Event::Route { .. } | Event::Rule(_) | Event::Policy { .. } => String::new(),
            Event::Conntrack { .. } | Event::Rewrite { .. } | Event::Bridge { .. } => String::new(),
            Event::Cross { .. } | Event::Neighbour { .. } | Event::Proxied { .. } => String::new(),
        };
        Some((last.ns.to_string(), end))
    }

    fn ends(&self) -> bool {
        let end = |e: &Event| matches!(e, Event::Deliver { .. } | Event::Drop { .. } | Event::Answer { .. });
        self.hops.last().is_some_and(|hop| end(&hop.event))
    }

    fn arrives(&self) -> bool {
        self.hops.last().is_some_and(|hop| matches!(hop.event, Event::Deliver { .. }))
    }

    /// Whether it goes back where another came from, or is an error about it.
    fn answers(&self, other: &Self) -> bool {
        let Some(first) = self.first() else { return false };
        if let L4::Icmp(Icmp::Error { .. }) = first.packet.l4 {
            return true;
        }
        let back = other.received().map(|(protocol, from, to)| (protocol, to, from));
        self.sent() == back
    }

    /// The packet as it was sent first.
    fn bytes(&self) -> Option<Packet> {
        self.first().map(|hop| hop.packet)
    }
}

fn ends(packet: &Packet) -> Option<Ends> {
    let protocol = packet.protocol().0;
    match packet.l4 {
        L4::Icmp(Icmp::Echo { id, .. }) => Some((protocol, (packet.src, id), (packet.dst, id))),
        L4::Tcp(_) | L4::Udp(_) | L4::Sctp(_) => {
            packet.ports().map(|p| (protocol, (packet.src, p.src), (packet.dst, p.dst)))
        }
        L4::Icmp(_) | L4::Other(_) => None,
    }
}
