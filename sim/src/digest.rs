//! A rolling digest of all that happens in a world: equal digests, equal runs.
//!
//! It is the same on every machine: whatever happens is written as numbers of one width and byte order.

use std::fmt;
use std::net::IpAddr;

use seatrial_core::addr::MacAddr;
use seatrial_core::probe::Way;
use xxhash_rust::xxh3::xxh3_128;

use crate::arena::Id as _;
use crate::packet::{Icmp, L4, NeighbourMessage, Packet, Payload, Ports, Quoted, Tcp};
use crate::skb::{Framed, Meta, Skb, Spoken};
use crate::stack::icmp::Told;
use crate::stack::socket::Wake;
use crate::world::Event;

/// What a run comes to, 128 bits; it says that two runs are the same, and keeps nothing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(u128);

impl Digest {
    /// One digest of several, by their order.
    #[must_use]
    pub fn of(digests: impl IntoIterator<Item = Self>) -> Self {
        let chain = |sum: u128, Self(next): Self| {
            let mut words = Words::new();
            words.wide(sum);
            words.wide(next);
            xxh3_128(words.bytes())
        };
        Self(digests.into_iter().fold(0, chain))
    }
}

/// As 32 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The digest of what has happened so far. Events are written down behind the sum of those before them, and XXH3, whose
/// sums are the same wherever they are made, is taken of that whenever there is enough of it.
#[derive(Clone, Debug)]
pub(crate) struct Rolling(Vec<u8>);

/// When there is enough, in bytes.
const ENOUGH: usize = 1024;

impl Rolling {
    /// Nothing has happened.
    pub(crate) fn new() -> Self {
        let mut bytes = Vec::with_capacity(ENOUGH + WORDS * 8);
        bytes.extend(0u128.to_le_bytes());
        Self(bytes)
    }

    /// What it comes to so far.
    pub(crate) fn digest(&self) -> Digest {
        Digest(xxh3_128(&self.0))
    }

    /// Takes in an event and its time.
    pub(crate) fn take(&mut self, at_us: u64, event: &Event) {
        let mut words = Words::new();
        words.put(at_us);
        words.event(event);
        let Self(bytes) = self;
        bytes.extend(words.bytes());
        if bytes.len() >= ENOUGH {
            let sum = xxh3_128(bytes);
            bytes.clear();
            bytes.extend(sum.to_le_bytes());
        }
    }
}

/// How many words the longest event has: a frame with an ICMP error in it, and an answer for its payload.
const WORDS: usize = 32;

/// An event in numbers, each with its lowest byte first.
struct Words {
    words: [[u8; 8]; WORDS],
    len: usize,
}

impl Words {
    const fn new() -> Self {
        Self { words: [[0; 8]; WORDS], len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        self.words.get(..self.len).unwrap_or(&self.words).as_flattened()
    }

    fn put(&mut self, word: u64) {
        debug_assert!(self.len < WORDS, "an event longer than {WORDS} words");
        if let Some(room) = self.words.get_mut(self.len) {
            *room = word.to_le_bytes();
        }
        self.len += 1;
    }

    /// Two numbers of at most 32 bits.
    fn pair(&mut self, high: impl Into<u64>, low: impl Into<u64>) {
        self.put(high.into() << 32 | low.into());
    }

    fn wide(&mut self, word: u128) {
        self.put((word >> 64) as u64);
        self.put(word as u64);
    }

    fn event(&mut self, event: &Event) {
        match *event {
            Event::Receive(dev, ref framed) => {
                self.pair(0u32, dev.position());
                self.framed(framed);
            }
            Event::Passed(dev, way, ref framed) => {
                self.pair(1 + u32::from(matches!(way, Way::In)), dev.position());
                self.framed(framed);
            }
            Event::Neighbour { ns, dev, address, timer } => {
                self.pair(3u32, ns.position());
                self.pair(dev.position(), timer);
                self.address(address);
            }
            Event::Tcp { ns, sock, timer } => {
                self.pair(4u32, ns.position());
                self.pair(sock.0, timer);
            }
            Event::Wake { ns, sock, wake, cause } => {
                self.pair(5u32, ns.position());
                self.pair(sock.0, cause);
                self.wake(wake);
            }
            Event::Upstream { resolver, token } => {
                self.pair(6u32, resolver.position());
                self.put(token.into());
            }
            Event::Idle { proxy, back } => {
                self.pair(7u32, proxy.position());
                self.put(back.0.into());
            }
        }
    }

    fn framed(&mut self, framed: &Framed) {
        let meta = framed.meta();
        self.macs(meta.src, meta.dst);
        match framed {
            Framed::Ip(Skb { packet, .. }) => self.packet(packet),
            Framed::Neighbour(Spoken { message, .. }) => self.message(message),
        }
        // What a namespace keeps beside a packet follows from what came to it before.
        let Meta { src: _, dst: _, flight, ct: _, vlan, bridge: _, to_host, routed, piece, hops, flooded } =
            meta;
        let flags = u32::from(*to_host) | u32::from(*routed) << 1 | u32::from(*flooded) << 2;
        self.pair(*flight, flags | u32::from(*hops) << 8);
        // No tag and no piece is as long as this.
        self.pair(vlan.map_or(u32::MAX, u32::from), piece.unwrap_or(u32::MAX));
    }

    fn packet(&mut self, packet: &Packet) {
        let Packet { src, dst, ttl, df, mark, size, l4, payload, checksum } = packet;
        let flags = u32::from(*df) | (*checksum as u32) << 1 | u32::from(src.is_ipv6()) << 3;
        self.pair(*mark, u32::from(*ttl) | flags << 8 | u32::from(*size) << 16);
        self.addresses(*src, *dst);
        match l4 {
            L4::Tcp(Tcp { ports, flags, seq, ack }) => {
                self.ports(0, ports);
                self.pair(*seq, *ack);
                self.put(flags.0.into());
            }
            L4::Udp(ports) => self.ports(1, ports),
            L4::Sctp(ports) => self.ports(2, ports),
            L4::Icmp(icmp) => self.icmp(icmp),
            L4::Other(number) => self.pair(6u32, *number),
        }
        self.payload(*payload);
    }

    fn ports(&mut self, of: u32, ports: &Ports) {
        self.pair(of, u32::from(ports.src) << 16 | u32::from(ports.dst));
    }

    fn icmp(&mut self, icmp: &Icmp) {
        match icmp {
            Icmp::Echo { reply, id, seq } => {
                self.ports(3, &Ports { src: *id, dst: *seq });
                self.put((*reply).into());
            }
            Icmp::Other { kind, code } => self.pair(4u32, u32::from(*kind) << 8 | u32::from(*code)),
            Icmp::Error { kind, code, mtu, quoted } => {
                self.pair(5u32, u32::from(*kind) << 8 | u32::from(*code));
                let Quoted { src, dst, protocol, ports, ttl } = quoted;
                self.pair(*mtu, u32::from(protocol.0) << 8 | u32::from(*ttl));
                self.ports(0, ports);
                self.addresses(*src, *dst);
            }
        }
    }

    fn message(&mut self, NeighbourMessage { request, sender_mac, sender, target }: &NeighbourMessage) {
        self.pair(*request, sender.is_ipv6());
        self.macs(*sender_mac, MacAddr::ZERO);
        self.addresses(*sender, *target);
    }

    fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Connected => self.put(0),
            Wake::Ended => self.put(1),
            Wake::Reset => self.put(2),
            Wake::Received { payload, from, to, size } => {
                self.pair(3u32, u32::from(from.1) << 16 | u32::from(size));
                self.payload(payload);
                self.address(from.0);
                self.address(to);
            }
            Wake::Told(Told::Refused) => self.pair(4u32, 0u32),
            Wake::Told(Told::Unreachable(why)) => self.pair(4u32, 1 + why as u32),
        }
    }

    fn payload(&mut self, payload: Payload) {
        match payload {
            Payload::Empty => self.put(0),
            Payload::Ask(nonce) => {
                self.put(1);
                self.put(nonce.0);
            }
            Payload::Answer { nonce, node, port, saw } => {
                self.pair(2u32, u32::from(node) << 16 | u32::from(port));
                self.put(nonce.0);
                self.address(saw);
            }
            Payload::Query(index) => self.pair(3u32, index),
            Payload::Reply(index) => self.pair(4u32, index),
        }
    }

    /// Two addresses of one family, that has been told already.
    fn addresses(&mut self, a: IpAddr, b: IpAddr) {
        match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => self.pair(a.to_bits(), b.to_bits()),
            (IpAddr::V6(_), _) | (_, IpAddr::V6(_)) => [a, b].into_iter().for_each(|a| self.address(a)),
        }
    }

    fn macs(&mut self, MacAddr([a, b, c, d, e, f]): MacAddr, MacAddr([g, h, i, j, k, l]): MacAddr) {
        self.put(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        self.put(u64::from_be_bytes([0, 0, 0, 0, i, j, k, l]));
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.pair(4u32, address.to_bits()),
            IpAddr::V6(address) => {
                self.put(6);
                self.wide(address.to_bits());
            }
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
        let (src, dst) = ("02:00:00:00:00:01".parse().unwrap(), "02:00:00:00:00:02".parse().unwrap());
        let dev = crate::arena::Id::from_position(3);
        let skb = Skb { packet, meta: Meta { src, dst, ..Meta::new(1) } };
        rolling.take(7, &Event::Receive(dev, Framed::Ip(skb)));
        assert_eq!(rolling.digest().to_string(), "39d3ae4f894e040bff1df7d7dffb5ccd");
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
