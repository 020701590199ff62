//! Questions: one probe at a time, from the system call that begins it to its answer or the deadline.

use std::net::IpAddr;

use seatrial_core::addr::Family;
use seatrial_core::probe::{Ask, NsKind, Outcome, Probe, Target, Unreachable};
use seatrial_core::topology::NodeName;

use crate::arena::{DevId, NodeId, NsId};
use crate::capture::Capture;
use crate::clock::{MS, SECOND};
use crate::packet::{L4, Nonce, Payload, Ports, Tcp, TcpFlags};
use crate::skb::{Meta, Skb};
use crate::stack::output::{SendError, packet};
use crate::stack::socket::{End, Knobs, Owner, SockId, Socket, Sort};
use crate::trace::{DropReason, Event as Happened, Hop, SILENCE, Trace};
use crate::world::World;

/// How long an answer is waited for; longer than ARP takes to give up.
const DEADLINE_US: u64 = 5 * SECOND;
/// How long a connection that has had its answer is given to close.
const CLOSING_US: u64 = 10 * MS;
/// How many hops a trace has room for before it grows.
const HOPS: usize = 128;
/// How long a question is that does not say, in bytes.
const ASK_BYTES: u16 = 32;

/// What came of a probe, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What came of it.
    pub outcome: Outcome,
    /// Every hop of every packet, in the order of time. Where nothing came back it ends with the drop that decided it.
    pub trace: Trace,
}

/// The question that is asked just now.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) ns: NsId,
    pub(crate) sock: SockId,
    pub(crate) nonce: Nonce,
    /// How long it is, in bytes.
    pub(crate) size: u16,
    /// The device of the packet socket that it is asked by.
    pub(crate) raw: Option<DevId>,
    /// Whether there is a connection.
    pub(crate) connected: bool,
}

impl World {
    /// Asks a question, and tells how the answer came about.
    pub fn probe(&mut self, probe: &Probe) -> Answer {
        self.follow(probe).0
    }

    /// The same, with every frame on every device, to the last of the closing connection's.
    pub fn record(&mut self, probe: &Probe) -> (Answer, Capture) {
        self.tape = Some(Vec::new());
        let (answer, hops) = self.follow(probe);
        let tape = self.tape.take().unwrap_or_default();
        let capture = Capture::develop(self, &tape, &hops);
        (answer, capture)
    }

    /// The answer, and all hops where a capture is made.
    fn follow(&mut self, probe: &Probe) -> (Answer, Vec<Hop>) {
        self.flights = 0;
        self.aside = None;
        self.hops = Some(Vec::with_capacity(HOPS));
        let outcome = self.inquire(probe);
        let mut hops = self.hops.take().unwrap_or_default();
        self.hops = self.tape.is_some().then(|| hops.clone());
        if outcome == Outcome::Dropped {
            let last = hops.iter().rposition(|hop| matches!(hop.event, Happened::Drop { .. }));
            match (last, self.aside.take()) {
                (Some(last), _) => hops.truncate(last + 1),
                (None, Some(aside)) => hops.push(aside),
                (None, None) => {
                    let silent = hops.last().cloned().map(|mut hop| {
                        hop.event =
                            Happened::Drop { reason: DropReason::NotSpecified, why: SILENCE.to_owned() };
                        hop
                    });
                    hops.extend(silent);
                }
            }
        }
        self.finish();
        let all = self.hops.take().unwrap_or_default();
        let devices = self.devices_of(&hops);
        (Answer { outcome, trace: Trace { hops, devices } }, all)
    }

    /// Asks a question without writing a trace.
    pub fn ask(&mut self, probe: &Probe) -> Outcome {
        self.hops = None;
        let outcome = self.inquire(probe);
        self.finish();
        outcome
    }

    fn inquire(&mut self, probe: &Probe) -> Outcome {
        self.concluded = None;
        let Some((node, ns)) = self.number(&probe.from).zip(self.ns_of(&probe.from)) else {
            return Outcome::NoRoute;
        };
        let target = match &probe.target {
            Target::Address(address) => *address,
            Target::Name(name) => match self.resolve(node, ns, name, probe.family).first() {
                Some(address) => *address,
                None => return self.concluded.take().unwrap_or(Outcome::UnknownName),
            },
        };
        // A socket of IPv6 speaks IPv4 to an address that is mapped (man 7 ipv6).
        let target = target.to_canonical();
        match self.begin(node, ns, probe, target) {
            Ok(()) => {
                let until = self.now_us() + DEADLINE_US;
                self.run(until, |w| w.concluded.is_some());
                self.concluded.take().unwrap_or(Outcome::Dropped)
            }
            Err(error) => self.could_not(ns, node, probe, target, &error),
        }
    }

    /// Opens the socket and sends the first packet.
    fn begin(&mut self, node: NodeId, ns: NsId, probe: &Probe, target: IpAddr) -> Result<(), SendError> {
        let (sort, port) = match probe.ask {
            Ask::Port(transport, port) => (Sort::from(transport), port),
            Ask::Echo => (Sort::Echo, 0),
        };
        let to: End = (anywhere(target), port);
        let (address, from_port) = probe.options.source.map_or((None, None), |(a, p)| (Some(a), p));
        let mut socket = Socket::bound(sort, Owner::Asker(node), address, from_port.unwrap_or(0));
        let options = &probe.options;
        socket.knobs = Knobs { ttl: options.ttl, mark: options.mark.unwrap_or(0), df: options.df };
        if options.raw {
            socket.raw = Some(self.raw_path(ns, target).ok_or(SendError::NoRoute(target))?);
            socket.address = address.or_else(|| self.own_address(ns, target));
        }
        let (nonce, size) = (Nonce(self.seed.next_u64()), options.size.unwrap_or(ASK_BYTES));
        let raw = socket.raw.map(|(dev, _)| dev);
        let sock = self.open(ns, socket);
        self.question = Some(Question { ns, sock, nonce, size, raw, connected: false });
        match sort {
            Sort::Tcp => self.tcp_connect(ns, sock, to),
            Sort::Udp | Sort::Sctp | Sort::Echo => {
                self.bind_for(ns, sock, to)?;
                let socket = self.stacks[ns].sockets.get(sock);
                let from = socket.and_then(|s| s.address);
                self.datagram_send(ns, sock, from, to, Payload::Ask(nonce), size)
            }
        }
    }

    /// The first address of a machine's, for a crafted frame that names none.
    fn own_address(&self, ns: NsId, target: IpAddr) -> Option<IpAddr> {
        let stack = &self.stacks[ns];
        let own = stack.inet.keys().flat_map(|dev| stack.addresses_of(*dev)).map(|net| net.addr());
        own.filter(|a| !a.is_loopback()).find(|a| Family::of(*a) == Family::of(target))
    }

    /// The system call failed: the packet that would have been, and why there is none.
    fn could_not(
        &mut self,
        ns: NsId,
        node: NodeId,
        probe: &Probe,
        target: IpAddr,
        error: &SendError,
    ) -> Outcome {
        let unspecified = match Family::of(target) {
            Family::V4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let src = probe.options.source.map_or(unspecified, |(a, _)| a);
        let ports = |dst| Ports { src: 0, dst };
        let l4 = match probe.ask {
            Ask::Port(seatrial_core::addr::Transport::Tcp, p) => {
                L4::Tcp(Tcp { ports: ports(p), flags: TcpFlags::SYN, seq: 0, ack: 0 })
            }
            Ask::Port(seatrial_core::addr::Transport::Udp, p) => L4::Udp(ports(p)),
            Ask::Port(seatrial_core::addr::Transport::Sctp, p) => L4::Sctp(ports(p)),
            Ask::Echo => L4::Icmp(crate::packet::Icmp::Echo { reply: false, id: 0, seq: 1 }),
        };
        let skb = Skb { packet: packet(src, target, 64, l4), meta: Meta::new(self.flights + 1) };
        self.note_send(ns, &skb, Owner::Asker(node));
        self.note_drop(ns, None, &skb, error.errno(), |_| error.to_string());
        match error {
            SendError::TooBig(_) => Outcome::Unreachable(Some(Unreachable::TooBig)),
            SendError::NoRoute(_) | SendError::NotOurs(_) | SendError::NoSource(_) => Outcome::NoRoute,
            SendError::Localnet(..) | SendError::Broadcast(_) => Outcome::NoRoute,
        }
    }

    /// Closes what the question opened, and lets that be seen by the other side.
    fn finish(&mut self) {
        if let Some(question) = self.question.take() {
            let (ns, sock) = (question.ns, question.sock);
            if question.connected {
                self.tcp_close(ns, sock);
                let until = self.now_us() + CLOSING_US;
                self.run(until, |_| false);
            } else {
                self.forget_socket(ns, sock);
            }
        }
    }

    /// The network namespace of a node's process.
    pub(crate) fn ns_of(&self, node: &NodeName) -> Option<NsId> {
        let name = self.places.space(node, NsKind::Network)?;
        self.spaces.get(name).copied()
    }
}

/// The unspecified address means this machine (`ip_route_output_key`: no destination is loopback).
const fn anywhere(target: IpAddr) -> IpAddr {
    match target {
        IpAddr::V4(a) if a.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(a) if a.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => target,
    }
}

#[cfg(test)]
mod tests {
    use crate::testbed::{ask, dropped, pair, probe, routed};

    #[test]
    fn tcp_connects_asks_and_is_answered() {
        let mut world = pair().listen("b", "80/tcp").world();
        assert_eq!(ask(&mut world, "a -> 10.0.0.2:80/tcp"), "reaches b:80 from 10.0.0.1");
    }

    #[test]
    fn udp_asks_and_is_answered() {
        let mut world = pair().listen("b", "53/udp").world();
        assert_eq!(ask(&mut world, "a -> 10.0.0.2:53/udp"), "reaches b:53 from 10.0.0.1");
    }

    #[test]
    fn an_echo_is_answered_by_the_machine() {
        let mut world = pair().world();
        assert_eq!(ask(&mut world, "a -> 10.0.0.2/icmp"), "reaches b from 10.0.0.1");
    }

    #[test]
    fn r4_nobody_listening_is_refused_at_once() {
        let mut world = pair().world();
        for port in ["81/tcp", "81/udp", "81/sctp"] {
            assert_eq!(ask(&mut world, &format!("a -> 10.0.0.2:{port}")), "refused", "{port}");
        }
        assert!(world.now_us() < 1000, "{}", world.now_us());
    }

    #[test]
    fn r7_an_own_address_is_reached_by_loopback() {
        let mut world = pair().listen("a", "80/tcp").world();
        assert_eq!(ask(&mut world, "a -> 10.0.0.1:80/tcp"), "reaches a:80 from 10.0.0.1");
        assert_eq!(ask(&mut world, "a -> 127.0.0.1:80/tcp"), "reaches a:80 from 127.0.0.1");
        assert_eq!(ask(&mut world, "a -> [::1]:80/tcp"), "reaches a:80 from ::1");
    }

    #[test]
    fn a_router_carries_both_ways() {
        let mut world = routed().listen("b", "80/tcp").world();
        assert_eq!(ask(&mut world, "a -> 10.0.1.2:80/tcp"), "reaches b:80 from 10.0.0.1");
    }

    #[test]
    fn without_a_route_the_source_itself_cannot_send() {
        let answer = probe(&mut pair().world(), "a -> 192.0.2.1:80/tcp");
        assert_eq!(answer.outcome.to_string(), "no-route");
        assert_eq!(dropped(&answer).0, "ENETUNREACH");
    }

    #[test]
    fn timers_that_wait_are_no_frames_that_do() {
        let mut world = pair().listen("b", "80/tcp").world();
        for resolver in 0..2000 {
            let resolver = crate::arena::Id::from_position(resolver);
            world
                .clock
                .after(60 * crate::clock::SECOND, crate::world::Event::Upstream { resolver, token: 0 });
        }
        assert_eq!(ask(&mut world, "a -> 10.0.0.2:80/tcp"), "reaches b:80 from 10.0.0.1");
    }

    #[test]
    fn a6_a_neighbour_that_does_not_answer_is_unreachable_after_three_seconds() {
        // Linux 6.18: connect() to an absent neighbour fails with EHOSTUNREACH after 3.05 s.
        let mut world = pair().world();
        assert_eq!(ask(&mut world, "a -> 10.0.0.9:80/tcp"), "unreachable (host)");
        assert!((3_000_000..3_100_000).contains(&world.now_us()), "{}", world.now_us());
    }
}
