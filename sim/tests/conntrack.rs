//! Conntrack against the kernel's own: packets and what it made of them, from `fixtures/conntrack`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::net::IpAddr;

use seatrial_core::addr::{Family, IfName};
use seatrial_core::plan::NsName;
use seatrial_core::rules::{AddrType, Hook, iptables};
use seatrial_sim::netfilter::{Context, CtInfo, Netfilter, Routing, Verdict};
use seatrial_sim::packet::{Checksum, L4, Packet, Payload, Ports, Tcp, TcpFlags};
use seatrial_sim::seed::Seed;

const CLIENT: &str = "203.0.113.50";
const SERVER: &str = "192.0.2.2";

/// Nothing here asks for an address.
struct NoAddresses;

impl Routing for NoAddresses {
    fn addr_type(&self, _: IpAddr, _: Option<&IfName>) -> AddrType {
        AddrType::Unicast
    }

    fn masquerade_source(&self, _: &IfName, _: IpAddr) -> Option<IpAddr> {
        None
    }

    fn redirect_address(&self, _: &IfName, _: IpAddr) -> Option<IpAddr> {
        None
    }
}

/// `> SA seq=1 ack=2 len=3`.
fn packet(line: &str, port: u16) -> Packet {
    let words: Vec<&str> = line.split(' ').collect();
    let [direction, flags, seq, ack, len] = words[..] else { panic!("{line}") };
    let number = |word: &str| word.split_once('=').unwrap().1.parse::<u32>().unwrap();
    let flag = |c| match c {
        'S' => TcpFlags::SYN,
        'A' => TcpFlags::ACK,
        'F' => TcpFlags::FIN,
        'R' => TcpFlags::RST,
        'P' => TcpFlags::PSH,
        '0' => TcpFlags::default(),
        other => panic!("{other}"),
    };
    let flags = flags.chars().fold(TcpFlags::default(), |all, c| all.with(flag(c)));
    let (src, dst, ports) = match direction {
        ">" => (CLIENT, SERVER, Ports { src: port, dst: 80 }),
        _ => (SERVER, CLIENT, Ports { src: 80, dst: port }),
    };
    let l4 = L4::Tcp(Tcp { ports, flags, seq: number(seq), ack: number(ack) });
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let size = u16::try_from(number(len)).unwrap();
    Packet {
        src,
        dst,
        ttl: 64,
        df: true,
        mark: 0,
        size,
        l4,
        payload: Payload::Empty,
        checksum: Checksum::Good,
    }
}

/// Routes a packet through, and says what its state was.
fn forward(netfilter: &mut Netfilter, mut packet: Packet) -> String {
    let (eth0, bridge1) = ("eth0".parse::<IfName>().unwrap(), "bridge1".parse().unwrap());
    let mut ct = CtInfo::NONE;
    for at in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
        let mut ctx = Context {
            now_us: 1,
            seed: &mut Seed::new(1),
            input: Some(&eth0),
            output: (at != Hook::Prerouting).then_some(&bridge1),
            bridged: None,
            next_hop: None,
            routing: &NoAddresses,
            ns: &NsName::from("host"),
            flight: 1,
            hops: None,
        };
        assert_eq!(netfilter.hook(at, &mut packet, &mut ct, &mut ctx), Verdict::Accept);
    }
    format!("{:?}", ct.state()).to_uppercase()
}

/// The flow's entry as the fixture writes it.
fn entry(netfilter: &Netfilter) -> String {
    let entries = netfilter.entries(1);
    let Some(text) = entries.first() else { return "-".to_owned() };
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut entry = format!("{} {}", words[3], words[2]);
    for flag in ["UNREPLIED", "ASSURED"] {
        if text.contains(flag) {
            entry = format!("{entry} {flag}");
        }
    }
    if words[4] != format!("src={CLIENT}") {
        entry += " SWAPPED";
    }
    entry
}

#[test]
fn c9_c10_conntrack_follows_tcp_as_linux_does() {
    let rules = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate INVALID\nCOMMIT\n";
    let rules = [iptables::parse(rules, Family::V4).unwrap().into()];
    let text = include_str!("../../fixtures/conntrack/tcp.txt");
    let mut netfilter = Netfilter::build(&rules).unwrap();
    let mut wrong = Vec::new();
    let (mut port, mut broken) = (20_000, false);
    let mut flow = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((sent, expected)) = line.split_once(": ") else {
            netfilter = Netfilter::build(&rules).unwrap();
            port += 1;
            (flow, broken) = (String::new(), false);
            continue;
        };
        let state = forward(&mut netfilter, packet(sent, port));
        let found = format!("{state} {}", entry(&netfilter));
        flow += &format!("{line}\n");
        if found != expected && !broken {
            broken = true;
            wrong.push(format!("{flow}but here {found}\n"));
        }
    }
    assert!(wrong.is_empty(), "{} flows differ:\n{}", wrong.len(), wrong.join("\n"));
}
