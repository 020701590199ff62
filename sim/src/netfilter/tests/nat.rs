//! NAT as Linux 6.18.44 did it: each `kernel:` is what was seen there, with raw packets between two silent machines and
//! a namespace of this shape.

use std::collections::BTreeSet;

use super::*;
use crate::kernel::Kernel;

const LAN: &str = "203.0.113.50";

fn nat(rules: &str) -> Host {
    Host::new(&format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
         :POSTROUTING ACCEPT [0:0]\n{rules}\nCOMMIT\n"
    ))
}

fn ports(packet: &Packet) -> Ports {
    packet.ports().unwrap()
}

#[test]
fn n1_nat_is_consulted_once_per_flow() {
    let mut host = nat("-A PREROUTING -i eth0 -p udp --dport 53 -j DNAT --to-destination 192.0.2.2:5353");
    host.forward(udp("203.0.113.50:4000", "203.0.113.10:53"), "eth0", "bridge1").unwrap();
    host.hops = Some(Vec::new());
    let again = host.forward(udp("203.0.113.50:4000", "203.0.113.10:53"), "eth0", "bridge1").unwrap();
    assert_eq!(again.destination(), "192.0.2.2:5353");
    assert!(host.hits().is_empty(), "the second packet is NEW as well, and walks no nat chain");
}

#[test]
fn n1_a_rule_added_later_does_not_touch_a_flow_that_is_known() {
    // kernel: with conntrack on and no nat table, 4000 -> 192.0.2.2:53; a DNAT rule added; 4000 still goes to 192.0.2.2,
    // a new flow from 4001 to 192.0.2.3.
    let filter = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate NEW\nCOMMIT\n";
    let mut host = Host::new(filter);
    let send = |host: &mut Host, from| {
        host.forward(udp(from, "192.0.2.2:53"), "eth0", "bridge1").unwrap().destination()
    };
    assert_eq!(send(&mut host, "203.0.113.50:4000"), "192.0.2.2:53");
    let with_nat = format!(
        "{filter}*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp --dport 53 -j DNAT --to-destination 192.0.2.3\nCOMMIT\n"
    );
    host.netfilter.replace(&[iptables::parse(&with_nat, Family::V4).unwrap().into()], Family::V4).unwrap();
    assert_eq!(send(&mut host, "203.0.113.50:4000"), "192.0.2.2:53");
    assert_eq!(send(&mut host, "203.0.113.50:4001"), "192.0.2.3:53");
}

#[test]
fn n2_a_plain_flow_gets_another_source_port_where_its_reply_is_taken() {
    // kernel: 192.0.2.2:4000 translated to 192.0.2.3:4000, then 192.0.2.3:4000 itself left as 192.0.2.3:57301.
    let mut host = nat("-A POSTROUTING -s 192.0.2.2 -o eth0 -j SNAT --to-source 192.0.2.3");
    let first = host.forward(udp("192.0.2.2:4000", "203.0.113.50:53"), "bridge1", "eth0").unwrap();
    assert_eq!(first.source(), "192.0.2.3:4000");
    let second = host.forward(udp("192.0.2.3:4000", "203.0.113.50:53"), "bridge1", "eth0").unwrap();
    assert_eq!(second.src, ip("192.0.2.3"));
    assert!(ports(&second).src >= 1024 && ports(&second).src != 4000);
}

#[test]
fn n4_a_source_keeps_its_mapping_for_other_destinations() {
    // kernel: 192.0.2.2:4000 to .50 and to .51 both left from 203.0.113.20:7086, 192.0.2.3:4000 from 7005.
    let mut host = nat("-A POSTROUTING -o eth0 -p udp -j SNAT --to-source 203.0.113.20:7000-7100");
    let mut send = |from, to| host.forward(udp(from, to), "bridge1", "eth0").unwrap();
    let first = send("192.0.2.2:4000", "203.0.113.50:53");
    let other = send("192.0.2.2:4000", "203.0.113.51:53");
    assert_eq!(first.source(), other.source());
    assert!((7000..=7100).contains(&ports(&first).src));
    let neighbour = send("192.0.2.3:4000", "203.0.113.50:53");
    assert_ne!(neighbour.source(), first.source());
}

#[test]
fn n4_an_address_of_a_range_is_chosen_by_the_kernels_hash() {
    // kernel: exactly these.
    let mut host = nat("-A POSTROUTING -o eth0 -j SNAT --to-source 203.0.113.20-203.0.113.39");
    let mut send = |from, to| host.forward(udp(from, to), "bridge1", "eth0").unwrap();
    assert_eq!(send("192.0.2.2:4000", "203.0.113.50:53").source(), "203.0.113.31:4000");
    assert_eq!(send("192.0.2.3:4000", "203.0.113.50:53").src, ip("203.0.113.31"), "with another port");
    assert_eq!(send("192.0.2.4:4000", "203.0.113.50:53").source(), "203.0.113.30:4000");
    assert_eq!(send("192.0.2.2:4000", "203.0.113.51:53").source(), "203.0.113.31:4000");
    assert_eq!(send("192.0.2.9:4000", "203.0.113.52:53").source(), "203.0.113.28:4000");
}

#[test]
fn n4_a_persistent_range_looks_at_the_source_alone() {
    let mut host = nat("-A POSTROUTING -o eth0 -j SNAT --to-source 203.0.113.20-203.0.113.39 --persistent");
    let mut send = |from, to| host.forward(udp(from, to), "bridge1", "eth0").unwrap().source();
    assert_eq!(send("192.0.2.2:4000", "203.0.113.50:53"), "203.0.113.21:4000");
    assert_eq!(send("192.0.2.2:4000", "203.0.113.51:53"), "203.0.113.21:4000");
    assert_eq!(send("192.0.2.3:4000", "203.0.113.50:53"), "203.0.113.33:4000");
}

#[test]
fn n4_a_destination_of_a_range_is_chosen_by_the_kernels_hash() {
    let mut host = nat("-A PREROUTING -i eth0 -d 203.0.113.10 -j DNAT --to-destination 192.0.2.2-192.0.2.20");
    let mut send = |from| host.forward(udp(from, "203.0.113.10:53"), "eth0", "bridge1").unwrap().dst;
    assert_eq!(send("203.0.113.50:4000"), ip("192.0.2.7"));
    assert_eq!(send("203.0.113.51:4000"), ip("192.0.2.3"));
    assert_eq!(send("203.0.113.52:4000"), ip("192.0.2.14"));
}

#[test]
fn n5_a_destination_port_is_the_first_free_of_its_range_and_then_the_source_gives_way() {
    // kernel: 4500 -> 5000, 4500 -> 5001, 39488 -> 5001, 59055 -> 5001.
    let mut host =
        nat("-A PREROUTING -i eth0 -p udp --dport 53 -j DNAT --to-destination 192.0.2.2:5000-5001");
    let mut send = |to| ports(&host.forward(udp("203.0.113.50:4500", to), "eth0", "bridge1").unwrap());
    assert_eq!(send("203.0.113.10:53"), Ports { src: 4500, dst: 5000 });
    assert_eq!(send("203.0.113.11:53"), Ports { src: 4500, dst: 5001 });
    let third = send("203.0.113.12:53");
    assert_eq!(third.dst, 5001);
    assert_ne!(third.src, 4500);
}

#[test]
fn n5_a_clashing_source_port_is_replaced_by_one_of_its_kind() {
    // kernel: 40000 -> 16047, 400 -> 89, 700 -> 998; the first flow keeps its port.
    let mut host = nat("-A POSTROUTING -o eth0 -j MASQUERADE");
    let mut send = |src: &str, port: u16| {
        let from = format!("{src}:{port}");
        let sent = host.forward(udp(&from, "203.0.113.50:53"), "bridge1", "eth0").unwrap();
        assert_eq!(sent.src, ip("203.0.113.10"));
        ports(&sent).src
    };
    for (port, kind) in [(40000, 1024..=65535), (400, 1..=511), (700, 600..=1023)] {
        assert_eq!(send("192.0.2.2", port), port);
        let other = send("192.0.2.3", port);
        assert!(kind.contains(&other) && other != port, "{port} became {other}");
    }
}

#[test]
fn n5_a_clashing_echo_gets_another_id_and_its_reply_the_old_one() {
    let mut host = nat("-A POSTROUTING -o eth0 -j MASQUERADE");
    let mut send = |src| host.forward(echo(src, LAN, 7, false), "bridge1", "eth0").unwrap();
    let id = |packet: &Packet| match packet.l4 {
        L4::Icmp(Icmp::Echo { id, .. }) => id,
        _ => panic!("no echo"),
    };
    assert_eq!(id(&send("192.0.2.2")), 7);
    let second = send("192.0.2.3");
    assert_ne!(id(&second), 7);
    let reply = host.forward(answer(&second, TcpFlags::default()), "eth0", "bridge1").unwrap();
    assert_eq!((reply.dst, id(&reply)), (ip("192.0.2.3"), 7));
}

#[test]
fn n5_when_every_port_is_taken_the_packet_is_dropped() {
    let mut host = nat("-A POSTROUTING -o eth0 -p tcp -j SNAT --to-source 203.0.113.10:7000-7001");
    let mut send =
        |from| host.forward(syn(from, "203.0.113.50:80"), "bridge1", "eth0").map(|p| ports(&p).src);
    let mut used = [send("192.0.2.2:4000").unwrap(), send("192.0.2.3:4000").unwrap()];
    used.sort_unstable();
    assert_eq!(used, [7000, 7001]);
    let verdict = send("192.0.2.4:4000").unwrap_err();
    assert_eq!(host.why(verdict), "nf_conntrack: another flow has the same tuple");
}

#[test]
fn n5_in_6_1_a_destination_port_is_any_of_its_range() {
    let first_of = |kernel, seed| {
        let mut host =
            nat("-A PREROUTING -i eth0 -p udp --dport 53 -j DNAT --to-destination 192.0.2.2:5000-5099");
        host.seed = Seed::new(seed);
        host.runs(kernel);
        let sent = host.forward(udp("203.0.113.50:4500", "203.0.113.10:53"), "eth0", "bridge1");
        ports(&sent.unwrap()).dst
    };
    let all = |kernel| (0..40).map(|seed| first_of(kernel, seed)).collect::<BTreeSet<_>>();
    assert_eq!(all(Kernel::V6_12), BTreeSet::from([5000]));
    let any = all(Kernel::V6_1);
    assert!(any.iter().all(|port| (5000..=5099).contains(port)) && any.len() > 20, "{any:?}");
}

/// The ports that two newer connections get of two, one of which belongs to a connection that is over.
fn after_one_that_is_over(kernel: Kernel) -> [Option<u16>; 2] {
    let mut host = nat("-A POSTROUTING -o eth0 -p tcp -j SNAT --to-source 203.0.113.10:7000");
    let opened = host.forward(syn("192.0.2.2:4000", "203.0.113.50:80"), "bridge1", "eth0").unwrap();
    // Refused: with a reply seen the entry lingers as CLOSE.
    host.runs(kernel);
    host.forward(answer(&opened, SYN_ACK), "eth0", "bridge1").unwrap();
    let mut reset = tcp("192.0.2.2:4000", "203.0.113.50:80", TcpFlags::RST);
    if let L4::Tcp(tcp) = &mut reset.l4 {
        tcp.seq = 101;
    }
    host.forward(reset, "bridge1", "eth0").unwrap();
    assert!(host.entries()[0].contains("CLOSE"), "{:?}", host.entries());
    // A single port is kept without a search, and clashes; a range of two searches, and may evict.
    let two = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -p tcp -j SNAT --to-source 203.0.113.10:7000-7001\nCOMMIT\n";
    host.netfilter.replace(&[iptables::parse(two, Family::V4).unwrap().into()], Family::V4).unwrap();
    let mut newer = |from: &str, seq| {
        let mut packet = syn(from, "203.0.113.50:80");
        if let L4::Tcp(tcp) = &mut packet.l4 {
            tcp.seq = seq;
        }
        host.forward(packet, "bridge1", "eth0").map(|p| ports(&p).src).ok()
    };
    let mut both = [newer("192.0.2.3:4000", 5000), newer("192.0.2.4:4000", 5000)];
    both.sort_unstable();
    both
}

#[test]
fn n6_a_newer_connection_takes_the_port_of_one_that_is_over() {
    assert_eq!(after_one_that_is_over(Kernel::V6_12), [Some(7000), Some(7001)]);
}

#[test]
fn n6_in_6_1_a_port_is_taken_as_long_as_its_entry_is_there() {
    assert_eq!(after_one_that_is_over(Kernel::V6_1), [None, Some(7001)]);
}

#[test]
fn n8_masquerade_without_an_address_drops() {
    let mut host = nat("-A POSTROUTING -j MASQUERADE");
    let verdict = host.forward(udp("192.0.2.2:4000", "198.51.100.1:53"), "bridge1", "eth9").unwrap_err();
    assert_eq!(
        host.why(verdict),
        "the device it leaves by has no address to masquerade as: nat POSTROUTING 1: -A POSTROUTING -j MASQUERADE"
    );
}

#[test]
fn n8_a_masqueraded_flow_that_leaves_by_another_device_ends() {
    let mut host = nat("-A POSTROUTING ! -o bridge1 -j MASQUERADE");
    let packet = udp("192.0.2.2:4000", "203.0.113.50:53");
    host.forward(packet, "bridge1", "eth0").unwrap();
    let verdict = host.forward(packet, "bridge1", "docker0").unwrap_err();
    assert_eq!(host.why(verdict), "nf_conntrack: the flow is masqueraded as another device");
    assert!(host.entries().is_empty());
    assert_eq!(host.forward(packet, "bridge1", "docker0").unwrap().src, ip("172.17.0.1"));
}

#[test]
fn n8_what_was_masqueraded_is_forgotten_with_its_device_or_address() {
    for (gone, left) in [(None, 0), (Some(ip("203.0.113.10")), 0), (Some(ip("203.0.113.11")), 1)] {
        let mut host = nat("-A POSTROUTING -o eth0 -j MASQUERADE");
        host.forward(udp("192.0.2.2:4000", "203.0.113.50:53"), "bridge1", "eth0").unwrap();
        host.netfilter.forget_masquerade(&name("eth0"), gone, 0);
        assert_eq!(host.entries().len(), left, "{gone:?}");
    }
}

#[test]
fn n9_redirect_goes_to_the_first_address_of_the_device_and_from_here_to_loopback() {
    // kernel: a packet to 192.0.2.2:53 that came in by eth0 became one to 203.0.113.10:5353.
    let rules = "-A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353\n\
                 -A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 5353";
    let mut host = nat(rules);
    let arrived = host.receive(udp("203.0.113.50:4000", "192.0.2.2:53"), "eth0").unwrap();
    assert_eq!(arrived.destination(), "203.0.113.10:5353");
    let sent = host.send(udp("203.0.113.10:4000", "203.0.113.50:53"), "eth0").unwrap();
    assert_eq!(sent.destination(), "127.0.0.1:5353");
}

#[test]
fn n11_an_error_about_a_published_port_comes_from_the_host() {
    // kernel: 203.0.113.10 > 203.0.113.50: 3/3, inner 203.0.113.50:4000 > 203.0.113.10:53.
    let mut host = nat("-A PREROUTING -i eth0 -p udp --dport 53 -j DNAT --to-destination 192.0.2.2:5353");
    let arrived = host.forward(udp("203.0.113.50:4000", "203.0.113.10:53"), "eth0", "bridge1").unwrap();
    let error = host.forward(unreachable("192.0.2.2", LAN, 3, &arrived), "bridge1", "eth0").unwrap();
    assert_eq!((error.src, error.dst), (ip("203.0.113.10"), ip(LAN)));
    let L4::Icmp(Icmp::Error { quoted, .. }) = error.l4 else { panic!("no error") };
    assert_eq!((quoted.src, quoted.dst), (ip(LAN), ip("203.0.113.10")));
    assert_eq!(quoted.ports, Ports { src: 4000, dst: 53 });
}

#[test]
fn n11_an_error_about_a_masqueraded_packet_finds_the_container() {
    // kernel: outer to 192.0.2.2, inner from 192.0.2.2:4000; from a router as well, whose address stays.
    let mut host = nat("-A POSTROUTING -o eth0 -j MASQUERADE");
    for sent in [udp("192.0.2.2:4000", "203.0.113.50:53"), echo("192.0.2.2", LAN, 7, false)] {
        let left = host.forward(sent, "bridge1", "eth0").unwrap();
        let error = unreachable("203.0.113.51", "203.0.113.10", 1, &left);
        let error = host.forward(error, "eth0", "bridge1").unwrap();
        assert_eq!((error.src, error.dst), (ip("203.0.113.51"), ip("192.0.2.2")));
        let L4::Icmp(Icmp::Error { quoted, .. }) = error.l4 else { panic!("no error") };
        assert_eq!((quoted.src, quoted.dst), (ip("192.0.2.2"), ip(LAN)));
    }
}

#[test]
fn n11_a_redirect_about_a_translated_flow_is_dropped() {
    // kernel: dropped.
    let mut host = nat("-A POSTROUTING -o eth0 -j MASQUERADE");
    let left = host.forward(udp("192.0.2.2:4000", "203.0.113.50:53"), "bridge1", "eth0").unwrap();
    let mut error = unreachable(LAN, "203.0.113.10", 1, &left);
    if let L4::Icmp(Icmp::Error { kind, .. }) = &mut error.l4 {
        *kind = 5;
    }
    assert!(matches!(host.forward(error, "eth0", "bridge1"), Err(Verdict::Drop(_))));
}

#[test]
fn a_rejected_packets_reset_is_translated_and_asks_postrouting_but_leaves_no_entry() {
    // kernel: the reset arrived from 203.0.113.10:8080, MASQUERADE counted one packet, conntrack stayed empty.
    let mut host = Host::new(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
         -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 192.0.2.2:80\n\
         -A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n\
         *filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n",
    );
    let mut packet = syn("203.0.113.50:4000", "203.0.113.10:8080");
    let mut ct = CtInfo::NONE;
    assert_eq!(host.hook(Hook::Prerouting, &mut packet, &mut ct, ("eth0", "")), Verdict::Accept);
    let verdict = host.hook(Hook::Forward, &mut packet, &mut ct, ("eth0", "bridge1"));
    assert!(matches!(verdict, Verdict::Reject(seatrial_core::rules::RejectWith::TcpReset, _)));

    let mut reset = answer(&packet, TcpFlags::RST.with(TcpFlags::ACK));
    let mut ct = ct.answer();
    assert_eq!(reset.source(), "192.0.2.2:80");
    assert_eq!(host.hook(Hook::Output, &mut reset, &mut ct, ("", "eth0")), Verdict::Accept);
    assert_eq!(host.hook(Hook::Postrouting, &mut reset, &mut ct, ("", "eth0")), Verdict::Accept);
    assert_eq!(reset.source(), "203.0.113.10:8080");
    assert!(host.hits().contains(&"nat POSTROUTING 1 MASQUERADE".to_owned()));
    assert!(host.entries().is_empty());
}

#[test]
fn n10_ctstate_dnat_says_whether_the_tuple_changed() {
    // kernel: --ctstate DNAT matched a DNATed packet and its reply, not a plain one, nor one "translated" to itself.
    let mut host = Host::new(
        "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp --dport 53 -j DNAT --to-destination 192.0.2.2:5353\n\
         -A PREROUTING -p udp --dport 54 -j DNAT --to-destination 192.0.2.2:54\nCOMMIT\n\
         *mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate DNAT -j MARK --set-mark 1\n\
         -A FORWARD -m conntrack --ctstate SNAT -j MARK --set-mark 2\nCOMMIT\n",
    );
    let translated = host.forward(udp("203.0.113.50:4000", "203.0.113.10:53"), "eth0", "bridge1").unwrap();
    let reply = host.forward(answer(&translated, TcpFlags::default()), "bridge1", "eth0").unwrap();
    assert_eq!((translated.mark, reply.mark), (1, 1));
    for to in ["192.0.2.2:54", "192.0.2.2:55"] {
        assert_eq!(host.forward(udp("203.0.113.50:4000", to), "eth0", "bridge1").unwrap().mark, 0);
    }
}

#[test]
fn c14_a_packet_through_lo_keeps_its_entry_and_is_translated_once() {
    let mut host = nat("-A OUTPUT -p udp --dport 53 -j DNAT --to-destination 127.0.0.11:4000\n\
         -A PREROUTING -p udp -j DNAT --to-destination 127.0.0.12:4000\n\
         -A POSTROUTING -d 127.0.0.11 -p udp -j SNAT --to-source 127.0.0.11:53");
    let arrived = host.run(
        udp("127.0.0.1:40000", "127.0.0.11:53"),
        &[
            (Hook::Output, ("", "lo")),
            (Hook::Postrouting, ("", "lo")),
            (Hook::Prerouting, ("lo", "")),
            (Hook::Input, ("lo", "")),
        ],
    );
    assert_eq!(arrived.unwrap().destination(), "127.0.0.11:4000");
}
