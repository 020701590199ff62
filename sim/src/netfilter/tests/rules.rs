//! The walk of rules, and what is not known about it.

use seatrial_core::rules::{Backend, Ruleset};

use super::*;
use crate::netfilter::RulesError;

fn filter(rules: &str) -> Host {
    let chains = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]";
    Host::new(&format!("*filter\n{chains}\n{rules}\nCOMMIT\n"))
}

fn forward(host: &mut Host) -> Result<Packet, Verdict> {
    host.forward(syn("203.0.113.50:4000", "192.0.2.2:80"), "eth0", "bridge1")
}

#[test]
fn h4_return_and_the_end_of_a_chain_go_on_behind_the_jump() {
    let mut host = filter(
        "-A FORWARD -j A\n-A FORWARD -j DROP\n-A A -j B\n-A A -p tcp -j RETURN\n-A A -j ACCEPT\n-A B -p udp -j ACCEPT",
    );
    assert!(forward(&mut host).is_err());
    assert_eq!(
        host.hits(),
        ["filter FORWARD 1 -> A", "filter A 1 -> B", "filter A 2 RETURN", "filter FORWARD 2 DROP"]
    );
}

#[test]
fn h4_goto_does_not_come_back() {
    let mut host =
        filter("-A FORWARD -j A\n-A FORWARD -j ACCEPT\n-A A -g B\n-A A -j DROP\n-A B -p udp -j DROP");
    assert!(forward(&mut host).is_ok());
    assert_eq!(host.hits(), ["filter FORWARD 1 -> A", "filter A 1 => B", "filter FORWARD 2 ACCEPT"]);
}

#[test]
fn h4_return_in_a_base_chain_is_the_policy() {
    let mut host =
        Host::new("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j RETURN\n-A FORWARD -j ACCEPT\nCOMMIT\n");
    let verdict = forward(&mut host).unwrap_err();
    assert_eq!(host.why(verdict), "the policy of filter FORWARD: DROP");
    assert_eq!(host.hits(), ["filter FORWARD 1 RETURN", "filter FORWARD policy DROP"]);
}

#[test]
fn h4_a_target_that_only_watches_or_marks_goes_on() {
    let mut host = filter(
        "-A FORWARD -j LOG --log-prefix seen\n-A FORWARD -j MARK --set-xmark 0x5/0xf\n\
         -A FORWARD -m mark --mark 0x5/0xf -j DROP",
    );
    assert!(forward(&mut host).is_err());
    assert_eq!(host.hits(), ["filter FORWARD 1 LOG", "filter FORWARD 2 MARK", "filter FORWARD 3 DROP"]);
}

#[test]
fn h5_h6_an_accept_ends_only_its_own_base_chain() {
    let mut host = Host::new(
        "*mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\nCOMMIT\n\
         *security\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n",
    );
    assert!(forward(&mut host).is_err());
    assert_eq!(
        host.hits(),
        ["mangle PREROUTING policy ACCEPT", "mangle FORWARD 1 ACCEPT", "filter FORWARD policy DROP"]
    );
}

#[test]
fn h8_a_packet_from_here_came_in_by_no_device() {
    let mut host = filter("-A OUTPUT -j A\n-A A ! -i eth0 -j DROP");
    assert!(host.send(syn("203.0.113.10:4000", "203.0.113.50:80"), "eth0").is_err());
}

#[test]
fn interfaces_match_by_name_and_by_prefix() {
    for (pattern, matches) in
        [("bridge1", true), ("bridge+", true), ("+", true), ("bridge", false), ("br-+", false)]
    {
        let mut host = filter(&format!("-A FORWARD -o {pattern} -j DROP"));
        assert_eq!(forward(&mut host).is_err(), matches, "{pattern}");
    }
}

#[test]
fn f13_addrtype_knows_what_is_local_and_where() {
    let drops = |options: &str, input: &str, to: &str| {
        let mut host = Host::new(&format!(
            "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m addrtype {options} -j DROP\nCOMMIT\n"
        ));
        let packet = syn("203.0.113.50:4000", to);
        host.run(packet, &[(Hook::Prerouting, (input, ""))]).is_err()
    };
    assert!(drops("--dst-type LOCAL", "eth0", "127.0.0.1:80"));
    assert!(drops("--dst-type LOCAL", "eth0", "192.0.2.1:80"));
    assert!(!drops("--dst-type LOCAL", "eth0", "192.0.2.2:80"));
    assert!(drops("! --dst-type LOCAL", "eth0", "192.0.2.2:80"));
    assert!(drops("--dst-type BROADCAST,MULTICAST", "eth0", "224.0.0.251:5353"));
    assert!(drops("--dst-type LOCAL --limit-iface-in", "eth0", "203.0.113.10:80"));
    assert!(!drops("--dst-type LOCAL --limit-iface-in", "eth0", "192.0.2.1:80"));
    assert!(!drops("--src-type LOCAL", "eth0", "192.0.2.1:80"));
}

#[test]
fn ports_flags_and_types_match_as_written() {
    let dropped = |rule: &str, packet: Packet| {
        let mut host = filter(&format!("-A FORWARD {rule} -j DROP"));
        host.forward(packet, "eth0", "bridge1").is_err()
    };
    let opening = syn("203.0.113.50:4000", "192.0.2.2:80");
    assert!(dropped("-p tcp -m tcp --dport 80 --syn", opening));
    assert!(!dropped("-p tcp -m tcp ! --syn", opening));
    assert!(dropped("-p tcp -m tcp --sport 4000:4001 ! --dport 81", opening));
    assert!(dropped("-p tcp -m multiport --dports 22,80,443", opening));
    assert!(dropped("-p tcp -m multiport --ports 3999:4000", opening));
    assert!(!dropped("-p tcp -m multiport ! --dports 80", opening));
    assert!(!dropped("-p udp", opening));
    assert!(dropped("! -p udp", opening));
    assert!(!dropped("-f", opening));
    let ping = echo("203.0.113.50", "192.0.2.2", 7, false);
    assert!(dropped("-p icmp -m icmp --icmp-type 8", ping));
    assert!(!dropped("-p icmp -m icmp --icmp-type 0", ping));
    assert!(dropped("-p icmp -m icmp ! --icmp-type 3/1", ping));
}

#[test]
fn physdev_matches_bridged_packets_and_inverted_options_any_other() {
    let dropped = |rule: &str, ports: Option<(&str, &str)>| {
        let mut host = filter(&format!("-A FORWARD -m physdev {rule} -j DROP"));
        let (input, output) = ports.map(|(i, o)| (name(i), name(o))).unzip();
        let bridged =
            ports.map(|_| crate::netfilter::BridgePorts { input: input.as_ref(), output: output.as_ref() });
        let bridge1 = name("bridge1");
        let mut ctx = Context {
            now_us: 0,
            seed: &mut host.seed,
            input: Some(&bridge1),
            output: Some(&bridge1),
            bridged,
            next_hop: None,
            routing: &host.addresses,
            ns: &host.ns,
            flight: 1,
            hops: None,
        };
        let (mut packet, mut ct) = (syn("192.0.2.3:4000", "192.0.2.2:80"), CtInfo::NONE);
        host.netfilter.hook(Hook::Forward, &mut packet, &mut ct, &mut ctx) != Verdict::Accept
    };
    assert!(dropped("--physdev-is-bridged", Some(("veth1", "veth2"))));
    assert!(dropped("--physdev-in veth1 --physdev-out veth+", Some(("veth1", "veth2"))));
    assert!(!dropped("--physdev-in veth2", Some(("veth1", "veth2"))));
    assert!(!dropped("--physdev-is-bridged", None));
    assert!(dropped("! --physdev-is-bridged", None));
    assert!(dropped("! --physdev-in veth1", None));
}

#[test]
fn the_fate_of_a_packet_may_hang_on_a_match_that_is_not_modelled() {
    let mut host =
        filter("-A FORWARD -p udp -j ACCEPT\n-A FORWARD -m recent --name x --update --rsource -j DROP");
    let verdict = forward(&mut host).unwrap_err();
    assert!(matches!(verdict, Verdict::Depends(_)));
    let text = host.why(verdict);
    assert!(text.starts_with("-A FORWARD -m recent") && text.contains(": -m recent "), "{text}");
    assert!(host.hits().is_empty(), "what follows the rule is not known, and not told");
}

#[test]
fn a_rule_that_does_not_match_otherwise_is_no_question() {
    let mut host = filter("-A FORWARD -p udp -m recent --name x --update --rsource -j DROP");
    assert!(forward(&mut host).is_ok());
    let mut host = filter("-A FORWARD -m recent --name x --update --rsource -s 9.9.9.9 -j DROP");
    assert!(forward(&mut host).is_ok());
}

#[test]
fn an_unknown_match_does_not_matter_where_both_ways_come_to_the_same() {
    let unknown = "-m recent --name x --update --rsource";
    for rules in [
        format!("-A FORWARD {unknown} -j DROP\n-A FORWARD -j DROP"),
        format!("-A FORWARD {unknown} -j A\n-A FORWARD -j DROP\n-A A -p udp -j ACCEPT"),
        format!("-A FORWARD {unknown} -j LOG\n-A FORWARD -j DROP"),
        format!("-A FORWARD {unknown} -j A\n-A FORWARD {unknown} -j B\n-A FORWARD -j DROP"),
    ] {
        let mut host = filter(&rules);
        assert!(matches!(forward(&mut host), Err(Verdict::Drop(_))), "{rules}");
    }
    for rules in [
        format!("-A FORWARD {unknown} -j A\n-A FORWARD -j DROP\n-A A -p tcp -j ACCEPT"),
        format!("-A FORWARD {unknown} -j ACCEPT\n-A FORWARD -j REJECT"),
        format!("-A FORWARD {unknown} -j MARK --set-mark 1"),
    ] {
        let mut host = filter(&rules);
        assert!(matches!(forward(&mut host), Err(Verdict::Depends(_))), "{rules}");
    }
}

#[test]
fn the_rule_that_is_named_is_one_that_matters() {
    let mut host = filter(
        "-A FORWARD -m recent --name harmless --update --rsource -j DROP\n\
         -A FORWARD -m recent --name harmful --update --rsource -j ACCEPT\n-A FORWARD -j DROP",
    );
    let verdict = forward(&mut host).unwrap_err();
    assert!(host.why(verdict).contains("harmful"), "{}", host.why(verdict));
}

#[test]
fn many_unknown_rules_do_not_take_for_ever() {
    let jumps = "-A FORWARD -m recent --name x --update --rsource -j A\n".repeat(40);
    let mut host = filter(&format!("{jumps}-A FORWARD -j DROP\n-A A -p udp -j ACCEPT"));
    assert!(forward(&mut host).is_err());
}

#[test]
fn rules_that_no_kernel_would_load_are_refused() {
    let build = |rules: &str| {
        Netfilter::build(&[iptables::parse(rules, Family::V4).unwrap().into()]).map(|_| ()).unwrap_err()
    };
    let looped = "*filter\n:FORWARD ACCEPT [0:0]\n:A - [0:0]\n-A FORWARD -j A\n-A A -j A\nCOMMIT\n";
    assert!(matches!(build(looped), RulesError::Loop { .. }));
    let misplaced = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j MASQUERADE\nCOMMIT\n";
    assert_eq!(
        build(misplaced).to_string(),
        "table nat, chain PREROUTING, rule 1: this target may not be used at PREROUTING"
    );
}

#[test]
fn a_host_with_ufw_is_a_riddle_only_where_it_limits_a_rate() {
    let rules = include_str!("../../../../fixtures/rules/ufw/iptables-save.txt");
    let mut host = Host::new(rules);
    let mut receive = |port| host.receive(syn("203.0.113.50:4000", &format!("203.0.113.10:{port}")), "eth0");
    assert!(matches!(receive(22), Err(Verdict::Depends(_))), "-m recent: how often did it come before?");
    assert!(receive(443).is_ok());
    assert!(matches!(receive(5432), Err(Verdict::Drop(_))), "-m limit only before LOG");
}

#[test]
fn rules_see_how_far_a_packet_may_still_go() {
    // As Linux 6.18 answers of `-m hl`.
    for (rule, passes) in [
        ("--ttl-eq 64", false),
        ("! --ttl-eq 64", true),
        ("--ttl-lt 64", true),
        ("--ttl-lt 65", false),
        ("--ttl-gt 64", true),
        ("--ttl-gt 63", false),
    ] {
        let mut host =
            Host::new(&format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m ttl {rule} -j DROP\nCOMMIT\n"));
        let packet = syn("203.0.113.50:4000", "203.0.113.10:80");
        assert_eq!(packet.ttl, 64);
        assert_eq!(host.receive(packet, "eth0").is_ok(), passes, "{rule}");
    }
}

#[test]
fn what_looks_for_an_extension_header_finds_none() {
    // Linux 6.18 lets a datagram pass each of these, and their opposites, in INPUT.
    for rule in ["rt --rt-type 0", "frag --fragid 0:4294967295", "hbh --hbh-len 8", "rt ! --rt-type 0"] {
        let rules = format!("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m {rule} -j DROP\nCOMMIT\n");
        let ping = echo("2001:db8:2::2", "2001:db8:1::50", 7, false);
        assert!(Host::v6(&rules).forward(ping, "eth0", "bridge1").is_ok(), "{rule}");
    }
}

/// Rules of nft, as it lists them.
fn nft(text: &str) -> Ruleset {
    let tables = seatrial_core::rules::nft::parse(text, Family::V4).unwrap();
    Ruleset { family: Family::V4, backend: Backend::Nft, tables }
}

fn built(rules: Ruleset) -> Result<Host, RulesError> {
    Netfilter::build(&[rules.into()]).map(Host::with)
}

fn with_map(elements: &str) -> Result<Host, RulesError> {
    built(map(elements))
}

fn map(elements: &str) -> Ruleset {
    nft(&format!(
        "table ip t {{\n map in {{\n type ifname : verdict\n elements = {{ {elements} }}\n }}\n\
         chain F {{\n type filter hook forward priority filter; policy accept;\n oifname vmap @in\n \
         iifname vmap @in\n }}\n chain in__bridge1 {{\n tcp dport 80 counter drop\n }}\n}}\n"
    ))
}

#[test]
fn h4_a_map_leads_by_the_device_and_back_behind_the_rule_that_asked_it() {
    let mut host = with_map("\"bridge1\" : jump in__bridge1, \"eth0\" : drop").unwrap();
    let verdict = forward(&mut host).unwrap_err();
    assert_eq!(host.why(verdict), "t in__bridge1 1: tcp dport 80 counter drop");
    assert_eq!(host.hits(), ["t F 1 -> in__bridge1", "t in__bridge1 1 drop"]);
    let other = |host: &mut Host| host.forward(syn("203.0.113.50:4000", "192.0.2.2:81"), "eth0", "bridge1");
    let verdict = other(&mut host).unwrap_err();
    assert_eq!(host.why(verdict), "t F 2: iifname vmap @in");
    // A device that it does not know is no match.
    let mut host = with_map("\"docker0\" : drop").unwrap();
    assert!(forward(&mut host).is_ok());
    assert_eq!(host.hits(), ["t F policy accept"]);
}

#[test]
fn h4_what_a_map_leads_to_is_there() {
    let Err(error) = with_map("\"bridge1\" : jump in__bridge2") else { panic!("it is taken") };
    assert_eq!(error.to_string(), "table t, chain F, rule 1: there is no chain 'in__bridge2' in this table");
    let mut rules = map("\"bridge1\" : jump in__bridge1");
    rules.tables.iter_mut().for_each(|table| table.maps.clear());
    let nowhere = built(rules).err().unwrap();
    assert_eq!(nowhere.to_string(), "table t, chain F, rule 1: there is no map 'in' in this table");
}
