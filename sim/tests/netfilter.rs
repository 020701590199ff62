//! Rules against the kernel's own: random ones, packets, and what became of these, from `fixtures/netfilter`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::net::{IpAddr, SocketAddr};

use seatrial_core::addr::{Family, IfName};
use seatrial_core::plan::NsName;
use seatrial_core::rules::{AddrType, Hook, RejectWith, iptables};
use seatrial_sim::netfilter::{Context, CtInfo, Netfilter, Routing, Verdict};
use seatrial_sim::packet::{Checksum, Icmp, L4, Packet, Payload, Ports, Tcp, TcpFlags};
use seatrial_sim::seed::Seed;

/// A router: eth0 203.0.113.10/24, bridge1 192.0.2.1/24.
struct Router;

const ETH0: &str = "203.0.113.10";
const BRIDGE1: &str = "192.0.2.1";

/// The device that an address is behind.
fn device(addr: IpAddr) -> &'static str {
    if addr.to_string().starts_with("203.0.113.") { "eth0" } else { "bridge1" }
}

impl Routing for Router {
    fn addr_type(&self, addr: IpAddr, dev: Option<&IfName>) -> AddrType {
        let own = [ETH0, BRIDGE1].contains(&addr.to_string().as_str());
        let here = dev.is_none_or(|dev| dev.as_str() == device(addr));
        if own && here { AddrType::Local } else { AddrType::Unicast }
    }

    fn masquerade_source(&self, out: &IfName, _: IpAddr) -> Option<IpAddr> {
        Some(if out.as_str() == "eth0" { ETH0 } else { BRIDGE1 }.parse().unwrap())
    }

    fn redirect_address(&self, dev: &IfName, to: IpAddr) -> Option<IpAddr> {
        self.masquerade_source(dev, to)
    }
}

/// `tcp 203.0.113.50:4001 192.0.2.3:80 SA`, `icmp 203.0.113.50 192.0.2.2 request 4004`.
fn packet(line: &str) -> Packet {
    let words: Vec<&str> = line.split(' ').collect();
    let (src, dst, l4) = if words[0] == "icmp" {
        let echo = Icmp::Echo { reply: words[3] == "reply", id: words[4].parse().unwrap(), seq: 1 };
        (words[1].parse().unwrap(), words[2].parse().unwrap(), L4::Icmp(echo))
    } else {
        let [src, dst]: [SocketAddr; 2] = [words[1].parse().unwrap(), words[2].parse().unwrap()];
        let ports = Ports { src: src.port(), dst: dst.port() };
        let flags = match words[3] {
            "S" => TcpFlags::SYN,
            "A" => TcpFlags::ACK,
            "FA" => TcpFlags::FIN.with(TcpFlags::ACK),
            _ => TcpFlags::SYN.with(TcpFlags::ACK),
        };
        // The first packet of a flow begins at 1000, its answer at 5000.
        let answers = words[3] == "SA" && [53, 80, 99, 443, 8080, 8085].contains(&ports.src);
        let (seq, ack) = match (flags, answers) {
            (_, true) => (5000, 1001),
            (TcpFlags::SYN, _) => (1000, 0),
            (_, false) => (1000, 5000),
        };
        let l4 = if words[0] == "tcp" { L4::Tcp(Tcp { ports, flags, seq, ack }) } else { L4::Udp(ports) };
        (src.ip(), dst.ip(), l4)
    };
    Packet {
        src,
        dst,
        ttl: 64,
        df: true,
        mark: 0,
        size: 0,
        l4,
        payload: Payload::Empty,
        checksum: Checksum::Good,
    }
}

fn text(packet: &Packet) -> String {
    match packet.l4 {
        L4::Icmp(Icmp::Echo { reply, id, .. }) => {
            format!("icmp {} {} {} {id}", packet.src, packet.dst, if reply { "reply" } else { "request" })
        }
        L4::Tcp(_) => format!("tcp {} {}", packet.source(), packet.destination()),
        L4::Udp(_) => format!("udp {} {}", packet.source(), packet.destination()),
        L4::Icmp(_) | L4::Sctp(_) | L4::Other(_) => panic!("{packet:?}"),
    }
}

/// Routes a packet, and says what became of it.
fn route(netfilter: &mut Netfilter, input: &str, mut packet: Packet) -> String {
    let input: IfName = input.parse().unwrap();
    let (mut ct, mut seed) = (CtInfo::NONE, Seed::new(1));
    for at in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
        if at == Hook::Forward && Router.addr_type(packet.dst, None) == AddrType::Local {
            return "local".to_owned();
        }
        let output: IfName = device(packet.dst).parse().unwrap();
        let mut ctx = Context {
            now_us: 1,
            seed: &mut seed,
            input: Some(&input),
            output: (at != Hook::Prerouting).then_some(&output),
            bridged: None,
            next_hop: None,
            routing: &Router,
            ns: &NsName::from("router"),
            flight: 1,
            hops: None,
        };
        match netfilter.hook(at, &mut packet, &mut ct, &mut ctx) {
            Verdict::Accept => {}
            Verdict::Drop(_) => return "drop".to_owned(),
            Verdict::Reject(RejectWith::TcpReset, _) => return "reject tcp-reset".to_owned(),
            Verdict::Reject(RejectWith::Icmp { code } | RejectWith::Icmpv6 { code }, _) => {
                return format!("reject icmp {code}");
            }
            Verdict::Depends(cause) => panic!("{:?}", netfilter.depends(cause)),
        }
    }
    format!("{} mark={}", text(&packet), packet.mark)
}

#[test]
fn h4_rules_decide_as_linux_does() {
    let all = include_str!("../../fixtures/netfilter/walks.txt");
    let mut wrong = Vec::new();
    let mut packets = 0;
    for case in all.split("case ").skip(1) {
        let (rules, sent): (Vec<&str>, Vec<&str>) =
            case.lines().skip(1).partition(|line| line.starts_with(['*', ':', '-', 'C']));
        let rules = iptables::parse(&(rules.join("\n") + "\n"), Family::V4).unwrap();
        let mut netfilter = Netfilter::build(&[rules.into()]).unwrap();
        for line in sent {
            let (packet_text, expected) = line.split_once(": ").unwrap();
            let (input, packet_text) = packet_text.split_once(' ').unwrap();
            let found = route(&mut netfilter, input, packet(packet_text));
            packets += 1;
            if found != expected {
                wrong.push(format!("case {case}\nat {line}\nbut here {found}\n"));
                break;
            }
        }
    }
    assert!(packets > 0);
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
