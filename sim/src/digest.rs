//! A rolling digest of all that happens in a world: equal digests, equal runs.
//!
//! It is the same on every machine: no number is hashed in the machine's own byte order or width, and an address as
//! the number it is (std hashes an address in the machine's order).

use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::net::IpAddr;

use rustc_stable_hash::hashers::{SipHasher128Hash, StableSipHasher128};
use rustc_stable_hash::{FromStableHash, StableHasher};
use seatrial_core::probe::Way;

use crate::packet::{Body, Icmp, L4, NeighbourMessage, Packet, Payload, Quoted};
use crate::skb::{Framed, Meta};
use crate::stack::socket::Wake;
use crate::world::Event;

/// What a run comes to, 128 bits; it says that two runs are the same, and keeps nothing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u64; 2]);

impl Digest {
    /// One digest of several, by their order.
    #[must_use]
    pub fn of(digests: impl IntoIterator<Item = Self>) -> Self {
        let mut hasher = StableSipHasher128::new();
        digests.into_iter().for_each(|Self(words)| words.into_iter().for_each(|w| hasher.write_u64(w)));
        hasher.finish()
    }
}

/// As 32 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([first, second]) = self;
        write!(f, "{first:016x}{second:016x}")
    }
}

impl FromStableHash for Digest {
    type Hash = SipHasher128Hash;

    fn from(SipHasher128Hash(words): SipHasher128Hash) -> Self {
        Self(words)
    }
}

/// The digest of what has happened so far. Nothing is allocated for it.
#[derive(Clone)]
pub(crate) struct Rolling(StableSipHasher128);

impl fmt::Debug for Rolling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rolling({})", self.digest())
    }
}

impl Rolling {
    /// Nothing has happened.
    pub(crate) fn new() -> Self {
        Self(StableHasher::new())
    }

    /// What it comes to so far.
    pub(crate) fn digest(&self) -> Digest {
        self.0.clone().finish()
    }

    /// Takes in an event and its time.
    pub(crate) fn take(&mut self, at_us: u64, event: &Event) {
        self.0.write_u64(at_us);
        std::mem::discriminant(event).hash(&mut self.0);
        match *event {
            Event::Receive(dev, ref framed) => {
                dev.hash(&mut self.0);
                self.framed(framed);
            }
            Event::Passed(dev, way, ref framed) => {
                (dev, matches!(way, Way::In)).hash(&mut self.0);
                self.framed(framed);
            }
            Event::Neighbour { ns, dev, address, timer } => {
                (ns, dev, timer).hash(&mut self.0);
                self.address(address);
            }
            Event::Tcp { ns, sock, timer } => (ns, sock, timer).hash(&mut self.0),
            Event::Wake { ns, sock, wake, cause } => {
                (ns, sock, cause).hash(&mut self.0);
                self.wake(wake);
            }
            Event::Upstream { resolver, token } => (resolver, token).hash(&mut self.0),
            Event::Idle { proxy, back } => (proxy, back).hash(&mut self.0),
        }
    }

    fn framed(&mut self, Framed { frame, meta }: &Framed) {
        (frame.src, frame.dst).hash(&mut self.0);
        match &frame.body {
            Body::Ip(packet) => self.packet(packet),
            Body::Neighbour(message) => self.message(message),
        }
        // What a namespace keeps beside a packet follows from what came to it before.
        let Meta { flight, ct: _, vlan, bridge: _, to_host, routed, piece, hops, flooded } = meta;
        (flight, vlan, to_host, routed, piece, hops, flooded).hash(&mut self.0);
    }

    fn packet(&mut self, packet: &Packet) {
        let Packet { src, dst, ttl, df, mark, size, l4, payload, checksum } = packet;
        self.address(*src);
        self.address(*dst);
        (ttl, df, mark, size).hash(&mut self.0);
        std::mem::discriminant(l4).hash(&mut self.0);
        match l4 {
            L4::Tcp(tcp) => tcp.hash(&mut self.0),
            L4::Udp(ports) | L4::Sctp(ports) => ports.hash(&mut self.0),
            L4::Icmp(icmp) => self.icmp(icmp),
            L4::Other(number) => number.hash(&mut self.0),
        }
        self.payload(*payload);
        std::mem::discriminant(checksum).hash(&mut self.0);
    }

    fn icmp(&mut self, icmp: &Icmp) {
        std::mem::discriminant(icmp).hash(&mut self.0);
        match icmp {
            Icmp::Echo { reply, id, seq } => (reply, id, seq).hash(&mut self.0),
            Icmp::Other { kind, code } => (kind, code).hash(&mut self.0),
            Icmp::Error { kind, code, mtu, quoted } => {
                let Quoted { src, dst, protocol, ports, ttl } = quoted;
                (kind, code, mtu, protocol, ports, ttl).hash(&mut self.0);
                self.address(*src);
                self.address(*dst);
            }
        }
    }

    fn message(&mut self, NeighbourMessage { request, sender_mac, sender, target }: &NeighbourMessage) {
        (request, sender_mac).hash(&mut self.0);
        self.address(*sender);
        self.address(*target);
    }

    fn wake(&mut self, wake: Wake) {
        std::mem::discriminant(&wake).hash(&mut self.0);
        match wake {
            Wake::Connected | Wake::Ended | Wake::Reset => {}
            Wake::Received { payload, from, to, size } => {
                self.payload(payload);
                self.address(from.0);
                self.address(to);
                (from.1, size).hash(&mut self.0);
            }
            Wake::Told(told) => told.hash(&mut self.0),
        }
    }

    fn payload(&mut self, payload: Payload) {
        std::mem::discriminant(&payload).hash(&mut self.0);
        match payload {
            Payload::Empty => {}
            Payload::Ask(nonce) => nonce.hash(&mut self.0),
            Payload::Answer { nonce, node, port, saw } => {
                (nonce, node, port).hash(&mut self.0);
                self.address(saw);
            }
            Payload::Query(index) | Payload::Reply(index) => index.hash(&mut self.0),
        }
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.0.write_u32(address.to_bits()),
            IpAddr::V6(address) => self.0.write_u128(address.to_bits()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{ask, pair};

    #[test]
    fn every_machine_comes_to_the_same_digest() {
        let mut rolling = Rolling::new();
        let ports = crate::packet::Ports { src: 40_000, dst: 80 };
        let packet =
            crate::stack::output::packet([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 64, L4::Udp(ports));
        let skb = crate::skb::Skb { packet, meta: Meta::new(1) };
        let (src, dst) = ("02:00:00:00:00:01".parse().unwrap(), "02:00:00:00:00:02".parse().unwrap());
        let dev = crate::arena::Id::from_position(3);
        rolling.take(7, &Event::Receive(dev, skb.framed(src, dst)));
        assert_eq!(rolling.digest().to_string(), "6950a141cb54da43bb2aa48126278d12");
    }

    #[test]
    fn what_happens_and_when_changes_the_digest_and_looking_at_it_does_not() {
        let world = pair().listen("b", "80/tcp").world();
        let after = |questions: &[&str], ms| {
            let mut world = world.clone();
            world.advance_ms(ms);
            questions.iter().for_each(|question| drop(ask(&mut world, question)));
            assert_eq!(world.digest(), world.digest());
            world.digest()
        };
        let (tcp, udp) = ("a -> 10.0.0.2:80/tcp", "a -> 10.0.0.2:80/udp");
        assert_eq!(after(&[tcp, udp], 0), after(&[tcp, udp], 0));
        let others =
            [after(&[], 0), after(&[tcp], 0), after(&[tcp], 1), after(&[udp], 0), after(&[udp, tcp], 0)];
        let different: std::collections::BTreeSet<Digest> = others.into_iter().collect();
        assert_eq!(different.len(), others.len());
    }
}
