//! What holds for any traffic.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const RULES: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
    -A PREROUTING -i eth0 -p tcp --dport 8080 -j DNAT --to-destination 192.0.2.2:80\n\
    -A PREROUTING -i eth0 -p udp --dport 8080 -j DNAT --to-destination 192.0.2.2-192.0.2.4:80-82\n\
    -A POSTROUTING -o eth0 -p udp -j SNAT --to-source 203.0.113.20-203.0.113.22:1000-1010 --random\n\
    -A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n\
    *filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";

/// A flow's first packet, and the devices it crosses.
fn opening() -> impl Strategy<Value = (Packet, &'static str, &'static str)> {
    let inward = (50u8..54, 4000u16..4004, prop_oneof![Just(8080u16), Just(80)], any::<bool>());
    let inward = inward.prop_map(|(host, port, to, is_tcp)| {
        let (from, to) = (format!("203.0.113.{host}:{port}"), format!("203.0.113.10:{to}"));
        (if is_tcp { syn(&from, &to) } else { udp(&from, &to) }, "eth0", "bridge1")
    });
    let outward = (2u8..6, 4000u16..4004, 50u8..54, 0u8..3).prop_map(|(host, port, to, kind)| {
        let (from, to) = (format!("192.0.2.{host}"), format!("203.0.113.{to}"));
        let with_ports = (format!("{from}:{port}"), format!("{to}:53"));
        let packet = match kind {
            0 => syn(&with_ports.0, &with_ports.1),
            1 => udp(&with_ports.0, &with_ports.1),
            _ => echo(&from, &to, port, false),
        };
        (packet, "bridge1", "eth0")
    });
    prop_oneof![inward, outward]
}

/// A rule of a long chain, of few words, so that packets meet many of them.
fn rule() -> impl Strategy<Value = String> {
    let not = || prop_oneof![3 => Just(""), 1 => Just("! ")];
    let device =
        (not(), 0..2u8).prop_map(|(not, n)| format!("{not}-i {} ", ["eth0", "bridge1"][usize::from(n)]));
    let net = prop_oneof![2 => Just("/32"), 1 => Just("/31")];
    let dst = (not(), 2..6u8, net).prop_map(|(not, host, net)| format!("{not}-d 192.0.2.{host}{net} "));
    let ports = prop_oneof![3 => Just(""), 1 => Just(":90")];
    let ports = (not(), 80..84u16, ports).prop_map(|(not, port, to)| format!("{not}--dport {port}{to} "));
    let ports = (any::<bool>(), ports).prop_map(|(tcp, ports)| {
        let protocol = if tcp { "tcp" } else { "udp" };
        format!("-p {protocol} -m {protocol} {ports}")
    });
    let may = |text: BoxedStrategy<String>| prop_oneof![text, Just(String::new())];
    let target = prop_oneof![
        3 => Just("-j MARK --set-mark 1"), 1 => Just("-j RETURN"), 1 => Just("-j OTHER"), 1 => Just("-g OTHER"),
        1 => Just("-j ACCEPT"), 1 => Just("-j DROP"), 1 => Just("-j REJECT"),
    ];
    (may(device.boxed()), may(dst.boxed()), may(ports.boxed()), target)
        .prop_map(|(device, dst, ports, target)| format!("{device}{dst}{ports}{target}\n"))
}

/// A table whose FORWARD and whose other chain are long.
fn long_chains() -> impl Strategy<Value = String> {
    let rules = || prop::collection::vec(rule(), 16..60);
    (rules(), rules()).prop_map(|(forward, other)| {
        let mut text = "*filter\n:FORWARD ACCEPT [0:0]\n:OTHER - [0:0]\n".to_owned();
        text.extend(forward.iter().map(|rule| format!("-A FORWARD {rule}")));
        let other = other.iter().filter(|rule| !rule.contains("OTHER"));
        text.extend(other.map(|rule| format!("-A OTHER {rule}")));
        text + "COMMIT\n"
    })
}

/// Everything that happened to a sequence of packets, as text.
fn run(flows: &[(Packet, &str, &str)], seed: u64) -> Vec<String> {
    let mut host = Host::new(RULES);
    host.seed = Seed::new(seed);
    let sent: Vec<String> = flows
        .iter()
        .map(|(packet, input, output)| format!("{:?}", host.forward(*packet, input, output).ok()))
        .collect();
    let hops = host.hops.iter().flatten().map(|hop| format!("{hop:?}"));
    sent.into_iter().chain(hops).chain(host.entries()).collect()
}

proptest! {
    #[test]
    fn a_reply_undoes_its_nat(flows in prop::collection::vec(opening(), 1..40), seed: u64) {
        let mut host = Host::new(RULES);
        host.seed = Seed::new(seed);
        for (sent, input, output) in flows {
            let Ok(arrived) = host.forward(sent, input, output) else { continue };
            let reply = answer(&arrived, SYN_ACK);
            let back = host.forward(reply, output, input).unwrap();
            prop_assert_eq!((back.src, back.dst), (sent.dst, sent.src));
            let swapped = sent.ports().map(|p| Ports { src: p.dst, dst: p.src });
            prop_assert_eq!(back.ports(), swapped);
        }
    }

    #[test]
    fn no_two_flows_look_alike_behind_the_nat(flows in prop::collection::vec(opening(), 1..60), seed: u64) {
        let mut host = Host::new(RULES);
        host.seed = Seed::new(seed);
        let mut behind = BTreeSet::new();
        let mut before = BTreeSet::new();
        for (sent, input, output) in flows {
            let words = |p: &Packet| format!("{} {} {:?} {:?}", p.src, p.dst, p.protocol(), p.l4);
            let Ok(arrived) = host.forward(sent, input, output) else { continue };
            if before.insert(words(&sent)) {
                prop_assert!(behind.insert(words(&arrived)), "{} seen twice", words(&arrived));
            }
        }
    }

    #[test]
    fn conntrack_tuples_are_unique(flows in prop::collection::vec(opening(), 1..60), seed: u64) {
        let mut host = Host::new(RULES);
        host.seed = Seed::new(seed);
        for (sent, input, output) in flows {
            let _ = host.forward(sent, input, output);
        }
        let entries = host.netfilter.table.alive(host.now_us);
        let tuples: BTreeSet<_> = entries.iter().flat_map(|e| [e.original, e.reply]).collect();
        prop_assert_eq!(tuples.len(), 2 * entries.len());
    }

    /// The same verdict, by the same rule.
    #[test]
    fn an_index_passes_over_no_rule(
        rules in long_chains(),
        packets in prop::collection::vec((2u8..6, 80u16..92, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut indexed = Host::new(&rules);
        let mut linear = Host::new(&rules);
        std::sync::Arc::make_mut(&mut linear.netfilter.rules).forget_indexes();
        for (host, port, is_tcp, inward) in packets {
            let (from, to) = ("203.0.113.50:4000".to_owned(), format!("192.0.2.{host}:{port}"));
            let packet = if is_tcp { syn(&from, &to) } else { udp(&from, &to) };
            let input = if inward { "eth0" } else { "bridge1" };
            prop_assert_eq!(indexed.forward(packet, input, "docker0"), linear.forward(packet, input, "docker0"));
            prop_assert_eq!(&indexed.hops, &linear.hops);
        }
    }

    #[test]
    fn walking_is_deterministic(flows in prop::collection::vec(opening(), 1..40), seed: u64) {
        prop_assert_eq!(run(&flows, seed), run(&flows, seed));
    }

    #[test]
    fn a_packet_fares_the_same_whether_it_is_traced_or_not(flows in prop::collection::vec(opening(), 1..40)) {
        let mut traced = Host::new(RULES);
        let mut silent = Host::new(RULES);
        silent.hops = None;
        for (sent, input, output) in flows {
            prop_assert_eq!(traced.forward(sent, input, output), silent.forward(sent, input, output));
        }
    }

    #[test]
    fn time_only_ever_takes_entries_away(flows in prop::collection::vec(opening(), 1..40), wait_s in 0u64..1000) {
        let mut host = Host::new(RULES);
        for (sent, input, output) in flows {
            let _ = host.forward(sent, input, output);
        }
        let before = host.entries().len();
        host.wait_s(wait_s);
        prop_assert!(host.entries().len() <= before);
    }
}
