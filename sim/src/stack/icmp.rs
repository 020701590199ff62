//! ICMP and ICMPv6: echoes answered, errors made and errors received (net/ipv4/icmp.c, net/ipv6/icmp.c).

use std::fmt;
use std::net::IpAddr;

use seatrial_core::addr::Family;
use seatrial_core::probe::{Outcome, Unreachable};
use seatrial_core::rules::AddrType;

use super::Stack;
use super::fib::Flow;
use super::output::packet;
use super::socket::{Sort, Wake};
use crate::arena::{DevId, NsId};
use crate::packet::{Icmp, L4, Packet, Payload, Ports, Quoted};
use crate::skb::Skb;
use crate::trace::{DropReason, Event as Happened};
use crate::world::World;

/// Why an error is sent, whatever the family's numbers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    NoRoute,
    NoNeighbour,
    NoProtocol,
    NoPort,
    TimeExceeded,
    BeyondScope,
    TooBig {
        mtu: u32,
    },
    /// By a rule, with the code it names.
    Rejected {
        code: u8,
    },
}

/// What an error tells whoever sent the packet it is about (`icmp_err_convert`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Refused,
    Unreachable(Unreachable),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("port unreachable"),
            Self::Unreachable(reason @ (Unreachable::TooBig | Unreachable::TimeExceeded)) => {
                f.write_str(reason.as_str())
            }
            Self::Unreachable(
                reason @ (Unreachable::Net
                | Unreachable::Host
                | Unreachable::Protocol
                | Unreachable::Prohibited),
            ) => write!(f, "{} unreachable", reason.as_str()),
        }
    }
}

impl Reason {
    /// The type, the code and the MTU field (RFC 792, RFC 4443).
    const fn numbers(self, family: Family) -> (u8, u8, u32) {
        match (family, self) {
            (Family::V4, Self::NoRoute | Self::BeyondScope) => (3, 0, 0),
            (Family::V4, Self::NoNeighbour) => (3, 1, 0),
            (Family::V4, Self::NoProtocol) => (3, 2, 0),
            (Family::V4, Self::NoPort) => (3, 3, 0),
            (Family::V4, Self::TooBig { mtu }) => (3, 4, mtu),
            (Family::V4, Self::Rejected { code }) => (3, code, 0),
            (Family::V4, Self::TimeExceeded) => (11, 0, 0),
            (Family::V6, Self::NoRoute) => (1, 0, 0),
            (Family::V6, Self::BeyondScope) => (1, 2, 0),
            (Family::V6, Self::NoNeighbour) => (1, 3, 0),
            (Family::V6, Self::NoPort) => (1, 4, 0),
            (Family::V6, Self::Rejected { code }) => (1, code, 0),
            (Family::V6, Self::TooBig { mtu }) => (2, 0, mtu),
            (Family::V6, Self::TimeExceeded) => (3, 0, 0),
            // An unrecognised next header is a parameter problem.
            (Family::V6, Self::NoProtocol) => (4, 1, 0),
        }
    }
}

impl Told {
    /// What a type and code mean to a socket.
    pub(crate) const fn by(family: Family, kind: u8, code: u8) -> Self {
        let reason = match (family, kind, code) {
            (Family::V4, 3, 3) | (Family::V6, 1, 4) => return Self::Refused,
            (Family::V4, 3, 2) | (Family::V6, 4, _) => Unreachable::Protocol,
            (Family::V4, 3, 4) | (Family::V6, 2, _) => Unreachable::TooBig,
            (Family::V4, 3, 9 | 10 | 13) | (Family::V6, 1, 1 | 5 | 6) => Unreachable::Prohibited,
            (Family::V4, 3, 1 | 5 | 7 | 8 | 12) | (Family::V6, 1, 3) => Unreachable::Host,
            (Family::V4, 11, _) | (Family::V6, 3, _) => Unreachable::TimeExceeded,
            (Family::V4 | Family::V6, _, _) => Unreachable::Net,
        };
        Self::Unreachable(reason)
    }

    /// As a probe's outcome.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Refused => Outcome::Refused,
            Self::Unreachable(reason) => Outcome::Unreachable(Some(reason)),
        }
    }
}

impl World {
    /// Sends an error about a packet to its sender, unless it is one that nobody is told about (`icmp_send`, R1, R2).
    pub(crate) fn icmp_error(&mut self, ns: NsId, about: &Skb, reason: Reason) {
        let bad = &about.packet;
        let stack = &self.stacks[ns];
        let to_many = matches!(stack.addr_type(bad.dst), AddrType::Broadcast | AddrType::Multicast);
        let from_many = matches!(stack.addr_type(bad.src), AddrType::Broadcast | AddrType::Multicast);
        if matches!(bad.l4, L4::Icmp(Icmp::Error { .. })) || to_many || from_many || bad.src.is_unspecified()
        {
            return;
        }
        // ::1 answers nobody who is elsewhere (`ipv6_chk_addr`: an address of one device's own).
        let answers = bad.dst.is_ipv4() || !bad.dst.is_loopback() || stack.is_local(bad.src);
        let (src, to) = ((stack.is_local(bad.dst) && answers).then_some(bad.dst), bad.src);
        let (kind, code, mtu) = reason.numbers(bad.family());
        let error = Icmp::Error { kind, code, mtu, quoted: quote(bad) };
        let answer = packet(src.unwrap_or(bad.dst), bad.src, stack.settings.ttl, L4::Icmp(error));
        let mut skb = self.fresh(answer);
        skb.meta.ct = about.meta.ct.answer();
        // Without a route back nobody is told.
        let Ok((path, src)) = self.route_output(ns, &Flow { src, ..Flow::of(&skb.packet) }) else { return };
        skb.packet.src = src;
        if !self.devices[path.dev].is_loopback() && !self.may_tell(ns, to, (kind, code), path.prefix) {
            let why = |_: &Self| format!("{to} has been told of errors too often (icmp_ratelimit)");
            return self.note_drop(ns, Some(path.dev), &skb, DropReason::NotSpecified, why);
        }
        self.local_out(ns, &mut skb, path);
    }

    /// Whether an address may be told of one more error, by a route of this prefix length (R3).
    fn may_tell(&mut self, ns: NsId, to: IpAddr, numbers: (u8, u8), prefix: u8) -> bool {
        let now_us = self.clock.now_us();
        let Stack { settings, told, .. } = &mut self.stacks[ns];
        let each_us = settings.limits.each_us(Family::of(to), numbers, prefix);
        each_us.is_none_or(|each_us| told.entry(to).or_default().take(now_us, each_us))
    }

    /// A message for this namespace (`icmp_rcv`).
    pub(crate) fn icmp_input(&mut self, ns: NsId, dev: DevId, skb: &Skb, icmp: Icmp, everyone: bool) {
        match icmp {
            Icmp::Echo { reply: false, id, seq } => self.echo(ns, dev, skb, id, seq, everyone),
            Icmp::Echo { reply: true, id, .. } => {
                let (local, remote) = ((skb.packet.dst, id), (skb.packet.src, id));
                match self.stacks[ns].sockets.find(Sort::Echo, local, remote) {
                    Some(sock) => self.datagram_deliver(ns, dev, skb, sock),
                    None => self
                        .note_drop(ns, Some(dev), skb, DropReason::NoSocket, |_| "nobody asked".to_owned()),
                }
            }
            Icmp::Error { kind, code, mtu, quoted } => self.told(ns, dev, skb, (kind, code, mtu), quoted),
            Icmp::Other { .. } => {}
        }
    }

    /// Answers an echo request, from the address that was asked (`icmp_echo`).
    fn echo(&mut self, ns: NsId, dev: DevId, skb: &Skb, id: u16, seq: u16, everyone: bool) {
        let settings = self.stacks[ns].settings;
        if settings.echo_ignore_all || (everyone && settings.echo_ignore_broadcasts) {
            return self.note_drop(ns, Some(dev), skb, DropReason::NotSpecified, |_| {
                "echo requests are ignored (net.ipv4.icmp_echo_ignore_*)".to_owned()
            });
        }
        let asked = skb.packet;
        self.note(ns, Some(dev), skb, |_| Happened::Answer { what: "echo reply".to_owned() });
        let l4 = L4::Icmp(Icmp::Echo { reply: true, id, seq });
        let mut answer = packet(asked.dst, asked.src, settings.ttl, l4);
        answer.size = asked.size;
        answer.payload = match (asked.payload, self.stacks[ns].node) {
            (Payload::Ask(nonce), Some(node)) => self.answer_of(nonce, node, 0, asked.src),
            (payload, _) => payload,
        };
        let src = (!everyone).then_some(asked.dst);
        let mut skb = self.fresh(answer);
        // A request from nowhere is answered by nobody.
        _ = self.send(ns, &mut skb, src);
    }

    /// An error about a packet that was sent from here: to its socket (`icmp_socket_deliver`).
    fn told(&mut self, ns: NsId, dev: DevId, skb: &Skb, numbers: (u8, u8, u32), quoted: Quoted) {
        let (kind, code, mtu) = numbers;
        let (local, remote) = ((quoted.src, quoted.ports.src), (quoted.dst, quoted.ports.dst));
        let found =
            Sort::of(quoted.protocol).and_then(|sort| self.stacks[ns].sockets.find(sort, local, remote));
        let Some(sock) = found else {
            return self.note_drop(ns, Some(dev), skb, DropReason::NoSocket, |_| {
                "about no packet of ours".to_owned()
            });
        };
        let told = Told::by(skb.packet.family(), kind, code);
        self.note_deliver(ns, dev, skb, sock);
        if told == Told::Unreachable(Unreachable::TooBig) && self.tcp_shrink(ns, sock, mtu) {
            return;
        }
        self.wake(ns, sock, Wake::Told(told));
    }
}

/// The headers of a packet, as an error quotes them.
fn quote(packet: &Packet) -> Quoted {
    let ports = match packet.l4 {
        L4::Icmp(Icmp::Echo { id, .. }) => Ports { src: id, dst: id },
        L4::Tcp(_) | L4::Udp(_) | L4::Sctp(_) | L4::Icmp(_) | L4::Other(_) => {
            packet.ports().unwrap_or(Ports { src: 0, dst: 0 })
        }
    };
    Quoted { src: packet.src, dst: packet.dst, protocol: packet.protocol(), ports, ttl: packet.ttl }
}
