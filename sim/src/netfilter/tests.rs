//! A namespace with rules and addresses, and nothing else: packets are put to its hooks by hand.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]

use std::net::IpAddr;

use ipnet::IpNet;
use seatrial_core::addr::{Family, IfName};
use seatrial_core::plan::NsName;
use seatrial_core::rules::{AddrType, Hook, iptables};

use super::{Context, CtInfo, Netfilter, Routing, Tuning, Verdict};
use crate::kernel::Kernel;
use crate::packet::{Checksum, Icmp, L4, Packet, Payload, Ports, Quoted, Tcp, TcpFlags};
use crate::seed::Seed;
use crate::trace::{Event, Hop};

mod conntrack;
mod docker;
mod nat;
mod properties;
mod rules;

/// A namespace's addresses: what rules ask of a routing table.
struct Addresses(Vec<(IfName, IpNet)>);

impl Routing for Addresses {
    fn addr_type(&self, addr: IpAddr, dev: Option<&IfName>) -> AddrType {
        let own = |(name, net): &&(IfName, IpNet)| {
            (net.addr() == addr || name.as_str() == "lo" && net.contains(&addr))
                && dev.is_none_or(|dev| dev == name)
        };
        match addr {
            _ if addr.is_multicast() => AddrType::Multicast,
            _ if self.0.iter().any(|one| own(&one)) => AddrType::Local,
            _ if self.0.iter().any(|(_, net)| net.addr().is_ipv4() && net.broadcast() == addr) => {
                AddrType::Broadcast
            }
            _ => AddrType::Unicast,
        }
    }

    fn masquerade_source(&self, out: &IfName, to: IpAddr) -> Option<IpAddr> {
        self.redirect_address(out, to)
    }

    fn redirect_address(&self, dev: &IfName, to: IpAddr) -> Option<IpAddr> {
        let of = |(name, net): &&(IfName, IpNet)| name == dev && net.addr().is_ipv4() == to.is_ipv4();
        self.0.iter().find(of).map(|(_, net)| net.addr())
    }
}

/// The host of Docker's own examples, with a LAN: eth0 203.0.113.10/24, bridge1 192.0.2.1/24, docker0 172.17.0.1/16.
struct Host {
    netfilter: Netfilter,
    addresses: Addresses,
    seed: Seed,
    now_us: u64,
    ns: NsName,
    hops: Option<Vec<Hop>>,
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Host {
    fn new(rules: &str) -> Self {
        let parsed = [iptables::parse(rules, Family::V4).unwrap()];
        Self::with(Netfilter::build(&parsed.map(Into::into)).unwrap())
    }

    fn v6(rules: &str) -> Self {
        let parsed = [iptables::parse(rules, Family::V6).unwrap()];
        Self::with(Netfilter::build(&parsed.map(Into::into)).unwrap())
    }

    fn with(netfilter: Netfilter) -> Self {
        let addresses = [
            ("lo", "127.0.0.1/8"),
            ("eth0", "203.0.113.10/24"),
            ("bridge1", "192.0.2.1/24"),
            ("docker0", "172.17.0.1/16"),
            ("lo", "::1/128"),
            ("eth0", "2001:db8:1::10/64"),
            ("bridge1", "2001:db8:2::1/64"),
        ];
        let address = |(dev, net): (&str, &str)| (name(dev), net.parse().unwrap());
        Self {
            netfilter,
            addresses: Addresses(addresses.into_iter().map(address).collect()),
            seed: Seed::new(1),
            now_us: 0,
            ns: NsName::from("host"),
            hops: Some(Vec::new()),
        }
    }

    /// One hook.
    fn hook(&mut self, at: Hook, packet: &mut Packet, ct: &mut CtInfo, path: (&str, &str)) -> Verdict {
        let (input, output) = (path.0.parse::<IfName>().ok(), path.1.parse::<IfName>().ok());
        let mut ctx = Context {
            now_us: self.now_us,
            seed: &mut self.seed,
            input: input.as_ref(),
            output: output.as_ref(),
            bridged: None,
            next_hop: None,
            routing: &self.addresses,
            ns: &self.ns,
            flight: 1,
            hops: self.hops.as_mut(),
        };
        self.netfilter.hook(at, packet, ct, &mut ctx)
    }

    fn run(&mut self, mut packet: Packet, hooks: &[(Hook, (&str, &str))]) -> Result<Packet, Verdict> {
        let mut ct = CtInfo::NONE;
        for (at, path) in hooks {
            match self.hook(*at, &mut packet, &mut ct, *path) {
                Verdict::Accept => {}
                verdict => return Err(verdict),
            }
        }
        Ok(packet)
    }

    /// A packet routed through, from device to device.
    fn forward(&mut self, packet: Packet, input: &str, output: &str) -> Result<Packet, Verdict> {
        self.run(
            packet,
            &[
                (Hook::Prerouting, (input, "")),
                (Hook::Forward, (input, output)),
                (Hook::Postrouting, (input, output)),
            ],
        )
    }

    /// A packet for the host itself.
    fn receive(&mut self, packet: Packet, input: &str) -> Result<Packet, Verdict> {
        self.run(packet, &[(Hook::Prerouting, (input, "")), (Hook::Input, (input, ""))])
    }

    /// A packet of the host's own.
    fn send(&mut self, packet: Packet, output: &str) -> Result<Packet, Verdict> {
        self.run(packet, &[(Hook::Output, ("", output)), (Hook::Postrouting, ("", output))])
    }

    /// The entries of conntrack, as `conntrack -L` writes them.
    fn entries(&self) -> Vec<String> {
        self.netfilter.entries(self.now_us)
    }

    /// It is another Linux's.
    fn runs(&mut self, kernel: Kernel) {
        self.netfilter.tune(Tuning { kernel, ..Tuning::default() });
    }

    fn wait_s(&mut self, seconds: u64) {
        self.now_us += seconds * 1_000_000;
    }

    /// The rules that matched, as `TABLE CHAIN NUMBER VERDICT`, and policies as `TABLE CHAIN policy VERDICT`.
    fn hits(&mut self) -> Vec<String> {
        let hit = |hop: Hop| match hop.event {
            Event::Rule(hit) => Some(format!("{} {} {} {}", hit.table, hit.chain, hit.number, hit.verdict)),
            Event::Policy { table, chain, verdict, .. } => Some(format!("{table} {chain} policy {verdict}")),
            _ => None,
        };
        self.hops.take().into_iter().flatten().filter_map(hit).collect()
    }

    fn why(&self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Accept => String::new(),
            Verdict::Drop(cause) | Verdict::Reject(_, cause) => self.netfilter.why(cause),
            Verdict::Depends(cause) => {
                let (rule, what) = self.netfilter.depends(cause);
                format!("{rule}: {what}")
            }
        }
    }
}

fn packet(src: &str, dst: &str, l4: L4) -> Packet {
    Packet {
        src: ip(src),
        dst: ip(dst),
        ttl: 64,
        df: true,
        mark: 0,
        size: 0,
        l4,
        payload: Payload::Empty,
        checksum: Checksum::Good,
    }
}

/// `ADDRESS:PORT`, or `[ADDRESS]:PORT`.
fn at(text: &str) -> (String, u16) {
    let socket: std::net::SocketAddr = text.parse().unwrap();
    (socket.ip().to_string(), socket.port())
}

fn tcp(src: &str, dst: &str, flags: TcpFlags) -> Packet {
    let ((src, sport), (dst, dport)) = (at(src), at(dst));
    let ports = Ports { src: sport, dst: dport };
    packet(&src, &dst, L4::Tcp(Tcp { ports, flags, seq: 100, ack: 0 }))
}

fn syn(src: &str, dst: &str) -> Packet {
    tcp(src, dst, TcpFlags::SYN)
}

fn udp(src: &str, dst: &str) -> Packet {
    let ((src, sport), (dst, dport)) = (at(src), at(dst));
    packet(&src, &dst, L4::Udp(Ports { src: sport, dst: dport }))
}

fn echo(src: &str, dst: &str, id: u16, reply: bool) -> Packet {
    packet(src, dst, L4::Icmp(Icmp::Echo { reply, id, seq: 1 }))
}

/// A destination unreachable that quotes a packet.
fn unreachable(src: &str, dst: &str, code: u8, about: &Packet) -> Packet {
    let ports = match about.l4 {
        L4::Icmp(Icmp::Echo { id, .. }) => Ports { src: id, dst: id },
        _ => about.ports().unwrap(),
    };
    let Packet { src: from, dst: to, ttl, .. } = *about;
    let quoted = Quoted { src: from, dst: to, protocol: about.protocol(), ports, ttl };
    packet(src, dst, L4::Icmp(Icmp::Error { kind: 3, code, mtu: 0, quoted }))
}

/// The answer a socket gives to a packet: the same ports, the other way.
fn answer(to: &Packet, flags: TcpFlags) -> Packet {
    let swap = |ports: Ports| Ports { src: ports.dst, dst: ports.src };
    let l4 = match to.l4 {
        L4::Tcp(tcp) => {
            let ack = tcp.seq.wrapping_add(1);
            L4::Tcp(Tcp { ports: swap(tcp.ports), flags, seq: if tcp.ack == 0 { 900 } else { tcp.ack }, ack })
        }
        L4::Udp(ports) => L4::Udp(swap(ports)),
        L4::Sctp(ports) => L4::Sctp(swap(ports)),
        L4::Icmp(Icmp::Echo { id, seq, .. }) => L4::Icmp(Icmp::Echo { reply: true, id, seq }),
        L4::Icmp(_) | L4::Other(_) => to.l4,
    };
    Packet { src: to.dst, dst: to.src, l4, ..*to }
}

const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);
