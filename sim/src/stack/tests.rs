//! What a machine's stack does with routes, neighbours and sockets, one behaviour of Linux's each.

use seatrial_core::addr::Family;
use seatrial_core::plan::{Link, LinkKind, NsName, Object};
use seatrial_core::probe::NsKind;
use seatrial_core::rules::iptables;

use crate::packet::{Icmp, L4};
use crate::testbed::{Bed, ask, bridged, dropped, mac, name, pair, probe, routed};
use crate::trace::Event;
use crate::world::{Answer, World};

/// The same as `routed`, with an address of IPv6 for each IPv4: a is 2001:db8::1, b is 2001:db8:1::2.
fn routed6() -> Bed {
    routed()
        .addresses("a", "eth0", &["2001:db8::1/64"])
        .addresses("b", "eth0", &["2001:db8:1::2/64"])
        .addresses("r", "eth0", &["2001:db8::fe/64"])
        .addresses("r", "eth1", &["2001:db8:1::fe/64"])
        .sysctl("r", "net.ipv6.conf.all.forwarding=1")
        .route("a", "default via 2001:db8::fe")
        .route("b", "default via 2001:db8:1::fe")
}

/// The reason and the place of the first drop of a question's packets; nothing where none was dropped.
fn drop_of(bed: &Bed, question: &str) -> (&'static str, String) {
    let answer = probe(&mut bed.world(), question);
    let drop = answer.trace.hops.iter().find_map(|hop| {
        let Event::Drop { reason, .. } = hop.event else { return None };
        Some((reason.as_str(), hop.ns.to_string()))
    });
    drop.unwrap_or_default()
}

fn at_r(reason: &'static str) -> (&'static str, String) {
    (reason, "r".to_owned())
}

/// The ICMP error that came back: its source, and the time to live of what it quotes.
fn error_of(answer: &Answer) -> (String, u8) {
    let error = answer.trace.hops.iter().filter(|hop| hop.ns.as_str() == "a").find_map(|hop| {
        let L4::Icmp(Icmp::Error { quoted, .. }) = hop.packet.l4 else { return None };
        Some((hop.packet.src.to_string(), quoted.ttl))
    });
    error.unwrap()
}

fn down(world: &mut World, node: &str, device: &str) {
    let ns = world.spaces[&NsName::from(node)];
    world.set_up(ns, &name(device), false).unwrap();
}

/// Whether a machine has heard of an address.
fn knows(world: &World, node: &str, address: &str) -> bool {
    let address: std::net::IpAddr = address.parse().unwrap();
    world.stacks[world.spaces[&NsName::from(node)]].neighbours.keys().any(|(_, known)| *known == address)
}

#[test]
fn h1_h2_every_hook_walks_its_tables_in_the_kernels_order() {
    let table = |table: &str, hooks: &[&str]| {
        let chains: String = hooks.iter().map(|hook| format!(":{hook} ACCEPT [0:0]\n")).collect();
        let rules: String = hooks.iter().map(|hook| format!("-A {hook} -p udp -j ACCEPT\n")).collect();
        format!("*{table}\n{chains}{rules}COMMIT\n")
    };
    let tables = [
        table("security", &["INPUT", "FORWARD", "OUTPUT"]),
        table("filter", &["INPUT", "FORWARD", "OUTPUT"]),
        table("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
        table("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
        table("raw", &["PREROUTING", "OUTPUT"]),
    ];
    // NAT is nothing without conntrack, and that is off until a target needs it (C15).
    let tables = tables.concat().replace(
        "-A POSTROUTING -p udp -j ACCEPT\nCOMMIT\n*mangle",
        "-A POSTROUTING -p udp -j MASQUERADE\nCOMMIT\n*mangle",
    );
    let bed = routed().listen("b", "80/tcp").rules("r", &tables);
    let walked = |question: &str| -> Vec<String> {
        let answer = probe(&mut bed.world(), question);
        let at_r = answer.trace.hops.iter().filter(|hop| hop.flight == 1 && hop.ns.as_str() == "r");
        let policy = |hop: &crate::trace::Hop| {
            let Event::Policy { table, chain, .. } = &hop.event else { return None };
            Some(format!("{table} {chain}"))
        };
        at_r.filter_map(policy).collect()
    };
    let through = [
        "raw PREROUTING",
        "mangle PREROUTING",
        "nat PREROUTING",
        "mangle FORWARD",
        "filter FORWARD",
        "security FORWARD",
        "mangle POSTROUTING",
        "nat POSTROUTING",
    ];
    assert_eq!(walked("a -> 10.0.1.2:80/tcp"), through);
    let from_here = [
        "raw OUTPUT",
        "mangle OUTPUT",
        "nat OUTPUT",
        "filter OUTPUT",
        "security OUTPUT",
        "mangle POSTROUTING",
        "nat POSTROUTING",
    ];
    assert_eq!(walked("r -> 10.0.1.2:80/tcp"), from_here);
    let for_here = [
        "raw PREROUTING",
        "mangle PREROUTING",
        "nat PREROUTING",
        "mangle INPUT",
        "filter INPUT",
        "security INPUT",
        "nat INPUT",
    ];
    assert_eq!(walked("a -> 10.0.0.254:80/tcp"), for_here);
}

#[test]
fn h7_a_rule_sees_the_bridge_and_not_its_port_where_a_packet_is_routed() {
    let filtered = |device: &str| {
        let rules = format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i {device} -j DROP\nCOMMIT\n");
        ask(&mut bridged().rules("h", &rules).world(), "a -> 10.0.0.254/icmp")
    };
    assert_eq!(filtered("br"), "dropped");
    assert_eq!(filtered("p1"), "reaches h from 10.0.0.1");
}

#[test]
fn f2_an_address_brings_its_own_route_its_networks_and_its_broadcast() {
    let mut world = pair().machine("c", "10.0.0.3/32").world();
    assert_eq!(ask(&mut world, "a -> 10.0.0.1/icmp"), "reaches a from 10.0.0.1");
    assert_eq!(ask(&mut world, "a -> 10.0.0.2/icmp"), "reaches b from 10.0.0.1");
    // Without SO_BROADCAST that is EACCES; TCP has no route to it (`tcp_v4_connect`).
    assert_eq!(dropped(&probe(&mut world, "a -> 10.0.0.255:9/udp")).0, "EACCES");
    assert_eq!(dropped(&probe(&mut world, "a -> 10.0.0.255:9/tcp")).0, "ENETUNREACH");
    assert_eq!(ask(&mut world, "c -> 10.0.0.2/icmp"), "no-route", "a /32 has no network");
}

#[test]
fn f3_a_route_by_a_device_that_is_down_is_none() {
    let mut world = pair().world();
    down(&mut world, "a", "eth0");
    assert_eq!(ask(&mut world, "a -> 10.0.0.2/icmp"), "no-route");
    // A device without a carrier keeps its routes: its neighbours do not answer.
    let mut world = pair().world();
    down(&mut world, "b", "eth0");
    assert_eq!(ask(&mut world, "a -> 10.0.0.2/icmp"), "unreachable (host)");
}

#[test]
fn f4_the_source_is_the_first_address_whose_network_holds_the_next_hop() {
    let bed = pair().addresses("a", "eth0", &["192.0.2.1/24", "192.0.2.9/24"]).addresses(
        "b",
        "eth0",
        &["192.0.2.2/24"],
    );
    let mut world = bed.world();
    assert_eq!(ask(&mut world, "a -> 192.0.2.2/icmp"), "reaches b from 192.0.2.1");
    assert_eq!(ask(&mut world, "a -> 10.0.0.2/icmp"), "reaches b from 10.0.0.1");
    assert_eq!(ask(&mut world, "a -> 10.0.0.1/icmp"), "reaches a from 10.0.0.1");
    // Linux 6.18, `ip route get 192.0.2.9`: local 192.0.2.9 dev lo src 192.0.2.1, a secondary's is the primary.
    assert_eq!(ask(&mut world, "a -> 192.0.2.9/icmp"), "reaches a from 192.0.2.1");
}

#[test]
fn f5_impossible_addresses_are_martians() {
    let at = |question: &str| drop_of(&routed(), question);
    assert_eq!(at("a -> 10.0.1.2:9/udp,raw,from=224.0.0.1"), at_r("IP_INVALID_SOURCE"));
    assert_eq!(at("a -> 10.0.1.2:9/udp,raw,from=0.0.0.9"), at_r("IP_INVALID_SOURCE"));
    assert_eq!(at("a -> 0.0.0.9:9/udp,raw,from=10.0.0.1"), at_r("IP_INVALID_DEST"));
    assert_eq!(at("a -> 10.0.1.2:9/udp,raw,from=127.0.0.1"), at_r("IP_LOCALNET"));
    assert_eq!(at("a -> 127.0.0.1:9/udp,raw,from=10.0.0.1"), at_r("IP_LOCALNET"));
}

#[test]
fn f6_a_source_is_held_against_the_way_back() {
    // 198.51.100.7 is behind r's eth1, by its default route.
    let filtered = |level: u8| {
        let bed = routed()
            .route("r", "default via 10.0.1.2")
            .sysctl("r", &format!("net.ipv4.conf.eth0.rp_filter={level}"));
        drop_of(&bed, "a -> 10.0.1.2:9/udp,raw,from=198.51.100.7").0
    };
    assert_eq!(filtered(1), "IP_RPFILTER");
    assert_ne!(filtered(0), "IP_RPFILTER");
    assert_ne!(filtered(2), "IP_RPFILTER", "loose: any route will do");
    let loose = routed().sysctl("r", "net.ipv4.conf.eth0.rp_filter=2");
    assert_eq!(
        drop_of(&loose, "a -> 10.0.1.2:9/udp,raw,from=198.51.100.7").0,
        "IP_RPFILTER",
        "and there is none"
    );
    assert_eq!(drop_of(&routed(), "a -> 10.0.1.2:9/udp,raw,from=10.0.1.254"), at_r("IP_LOCAL_SOURCE"));
    let accepting = routed().sysctl("r", "net.ipv4.conf.eth0.accept_local=1");
    assert_ne!(drop_of(&accepting, "a -> 10.0.1.2:9/udp,raw,from=10.0.1.254").0, "IP_LOCAL_SOURCE");
}

#[test]
fn f7_a_setting_of_all_devices_and_of_one_are_joined_each_in_its_way() {
    let spoofed = |setting: &str| {
        let bed = routed().route("r", "default via 10.0.1.2").sysctl("r", setting);
        drop_of(&bed, "a -> 10.0.1.2:9/udp,raw,from=198.51.100.7").0 == "IP_RPFILTER"
    };
    assert!(spoofed("net.ipv4.conf.all.rp_filter=1"), "the stricter counts");
    assert!(spoofed("net.ipv4.conf.eth0.rp_filter=1"));
    let localnet =
        |setting: &str| drop_of(&routed().sysctl("r", setting), "a -> 127.0.0.1:9/udp,raw,from=10.0.0.1").0;
    assert_ne!(localnet("net.ipv4.conf.all.route_localnet=1"), "IP_LOCALNET", "either will do");
    assert_ne!(localnet("net.ipv4.conf.eth0.route_localnet=1"), "IP_LOCALNET");
    // Forwarding is the in device's alone, and ip_forward sets them all.
    let forwards = |setting: &str| {
        ask(&mut routed().listen("b", "80/tcp").sysctl("r", setting).world(), "a -> 10.0.1.2:80/tcp")
    };
    assert_eq!(forwards("net.ipv4.conf.eth0.forwarding=0"), "dropped");
    assert_eq!(forwards("net.ipv4.ip_forward=0"), "dropped");
    assert_eq!(forwards("net.ipv4.ip_forward=1"), "reaches b:80 from 10.0.0.1");
}

#[test]
fn f8_who_forwards_says_that_there_is_no_route_and_who_does_not_says_nothing() {
    assert_eq!(ask(&mut routed().world(), "a -> 192.0.2.1/icmp"), "unreachable (net)");
    let deaf = routed().sysctl("r", "net.ipv4.ip_forward=0");
    assert_eq!(drop_of(&deaf, "a -> 192.0.2.1/icmp"), at_r("IP_INADDRERRORS"));
}

#[test]
fn f9_r2_the_ttl_is_looked_at_before_it_falls_and_the_error_comes_from_the_way_back() {
    let answer = probe(&mut routed().world(), "a -> 10.0.1.2/icmp,ttl=1");
    assert_eq!(answer.outcome.to_string(), "unreachable (time exceeded)");
    assert_eq!(error_of(&answer), ("10.0.0.254".to_owned(), 1));
    let rejecting = routed().rules("r", "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j REJECT\nCOMMIT\n");
    let answer = probe(&mut rejecting.world(), "a -> 10.0.1.2/icmp,ttl=64");
    assert_eq!(error_of(&answer), ("10.0.0.254".to_owned(), 63), "FORWARD sees it fallen");
    // Linux 6.18: an error about a packet for the router itself comes from the address that was asked.
    let answer = probe(&mut routed().world(), "a -> 10.0.1.254:9/udp");
    assert_eq!(error_of(&answer).0, "10.0.1.254");
}

/// The same as `routed`, with an MTU of 1400 on the far side.
fn narrow(bed: Bed) -> World {
    let mut world = bed.listen("b", "80/udp").world();
    for node in ["r", "b"] {
        let device = name(if node == "r" { "eth1" } else { "eth0" });
        world.fault(&node.into(), &device, seatrial_core::probe::Fault::Mtu(1400)).unwrap();
    }
    world
}

#[test]
fn f11_what_is_too_long_is_cut_unless_that_is_forbidden() {
    // 1472 and its headers fill a's MTU, so that a itself cuts nothing; it sets DF, and does not where it cuts.
    let mut world = narrow(routed());
    assert_eq!(ask(&mut world, "a -> 10.0.1.2:80/udp,size=1472,df"), "unreachable (too big)");
    assert_eq!(ask(&mut world, "a -> 10.0.1.2:80/udp,size=3000"), "reaches b:80 from 10.0.0.1");
    let mut world = narrow(routed6());
    assert_eq!(
        ask(&mut world, "a -> [2001:db8:1::2]:80/udp,size=1400"),
        "unreachable (too big)",
        "nobody cuts on the way"
    );
    assert_eq!(ask(&mut world, "a -> [2001:db8:1::2]:80/udp,size=1300"), "reaches b:80 from 2001:db8::1");
}

#[test]
fn a1_an_address_is_answered_for_on_every_device_unless_arp_ignore_says_otherwise() {
    let asked = |setting: &str| {
        let bed = routed().route("a", "10.0.1.254/32 dev eth0").sysctl("r", setting);
        ask(&mut bed.world(), "a -> 10.0.1.254/icmp")
    };
    assert_eq!(asked("net.ipv4.conf.all.arp_ignore=0"), "reaches r from 10.0.0.1");
    assert_eq!(asked("net.ipv4.conf.all.arp_ignore=1"), "unreachable (host)");
    assert_eq!(asked("net.ipv4.conf.eth0.arp_ignore=8"), "unreachable (host)");
}

#[test]
fn a2_a_proxy_answers_for_what_it_forwards_to_another_device() {
    let asked = |setting: &str| {
        let bed = routed().route("a", "10.0.1.0/24 dev eth0").sysctl("r", setting);
        ask(&mut bed.world(), "a -> 10.0.1.2/icmp")
    };
    assert_eq!(asked("net.ipv4.conf.eth0.proxy_arp=1"), "reaches b from 10.0.0.1");
    assert_eq!(asked("net.ipv4.conf.eth0.proxy_arp=0"), "unreachable (host)");
}

#[test]
fn a3_who_is_asked_learns_who_asks_and_others_do_not() {
    let mut world = pair().machine("c", "10.0.0.3/24").world();
    ask(&mut world, "a -> 10.0.0.2/icmp");
    assert!(knows(&world, "b", "10.0.0.1"));
    assert!(!knows(&world, "c", "10.0.0.1"), "everybody hears the question");
}

#[test]
fn a4_arp_announce_says_which_address_a_question_comes_from() {
    let asks_as = |level: u8, address: &str| {
        let bed = pair().addresses("a", "eth0", &["192.0.2.1/24"]).route("b", "192.0.2.0/24 dev eth0");
        let mut world = bed.sysctl("a", &format!("net.ipv4.conf.all.arp_announce={level}")).world();
        ask(&mut world, "a -> 10.0.0.2:9/udp,from=192.0.2.1");
        // b learns who asks; it asks in turn for whom it answers.
        knows(&world, "b", address)
    };
    assert!(asks_as(0, "192.0.2.1") && !asks_as(0, "10.0.0.1"));
    assert!(asks_as(1, "10.0.0.1"), "of the target's network");
    assert!(asks_as(2, "10.0.0.1"), "the best for the target");
}

#[test]
fn a5_a_neighbour_is_trusted_for_30_seconds_and_then_asked_again_after_5() {
    let mut world = pair().listen("b", "9/udp").world();
    let udp = "a -> 10.0.0.2:9/udp";
    assert_eq!(ask(&mut world, udp), "reaches b:9 from 10.0.0.1");
    down(&mut world, "b", "eth0");
    assert_eq!(ask(&mut world, udp), "dropped", "reachable");
    world.advance_ms(31_000);
    assert_eq!(ask(&mut world, udp), "dropped", "stale, and used: a delay of 5 s begins");
    world.advance_ms(4_000);
    assert_eq!(
        ask(&mut world, udp),
        "unreachable (host)",
        "three probes a second apart, and three for everyone"
    );
}

#[test]
fn b4_a_bridge_has_the_lowest_address_of_its_ports() {
    let link = Link { name: name("sw3"), kind: LinkKind::Bridge, mac: None, mtu: None, master: None };
    let bed = Bed::new().with("wire", Object::Link(link)).with("wire", Object::Up(name("sw3")));
    let bed = bed.node("a").plug("a", "eth0", ("wire", "sw3"), &[]).node("b").plug(
        "b",
        "eth0",
        ("wire", "sw3"),
        &[],
    );
    let world = bed.world();
    let ns = world.spaces[&NsName::from("wire")];
    assert_eq!(world.devices[world.stacks[ns].links[&name("sw3")]].mac, mac(0x81));
}

#[test]
fn r5_an_exact_address_is_preferred_to_any() {
    let second = |bed: Bed| bed.process("any", None, &[(NsKind::Network, "b")]);
    let bed = second(pair()).addresses("b", "eth0", &["10.0.0.9/24"]);
    let bed =
        bed.listen_on("b", "b", Some("10.0.0.2"), "80/tcp").listen_on("b", "any", Some("10.0.0.9"), "80/tcp");
    let mut world = bed.world();
    assert_eq!(ask(&mut world, "a -> 10.0.0.2:80/tcp"), "reaches b:80 from 10.0.0.1");
    assert_eq!(ask(&mut world, "a -> 10.0.0.9:80/tcp"), "reaches any:80 from 10.0.0.1");
}

#[test]
fn r6_a_socket_that_binds_to_no_port_gets_one_of_the_ephemeral() {
    let mut ports = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let answer = probe(&mut pair().listen("b", "80/tcp").seeded(seed), "a -> 10.0.0.2:80/tcp");
        ports.insert(answer.trace.hops[0].packet.ports().unwrap().src);
    }
    assert!(ports.iter().all(|port| (32_768..=60_999).contains(port)), "{ports:?}");
    assert!(ports.len() > 30);
}

#[test]
fn v2_v3_what_ipv6_does_not_forward() {
    let at = |question: &str| drop_of(&routed6(), question);
    // These two are not believed as they come in (skb:kfree_skb on 6.18: `ip6_rcv_core`), the third is not passed on
    // (`ip6_forward`).
    assert_eq!(at("a -> [2001:db8:1::2]:9/udp,raw,from=::1"), at_r("IP_INHDR"));
    assert_eq!(at("a -> [2001:db8:1::2]:9/udp,raw,from=ff02::1"), at_r("IP_INHDR"));
    assert_eq!(at("a -> [2001:db8:1::2]:9/udp,raw,from=fe80::9"), at_r("IP_INADDRERRORS"));
    let answer = probe(&mut routed6().world(), "a -> [2001:db8:1::2]/icmp,ttl=1");
    assert_eq!(answer.outcome.to_string(), "unreachable (time exceeded)");
    assert_eq!(error_of(&answer), ("2001:db8::fe".to_owned(), 1));
    let off = routed6().sysctl("r", "net.ipv6.conf.all.forwarding=0");
    assert_eq!(drop_of(&off, "a -> [2001:db8:1::2]/icmp").1, "r");
}

#[test]
fn v5_reject_says_port_unreachable_or_what_it_is_told_to() {
    let rejected = |with: &str| {
        let rules = format!("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j REJECT{with}\nCOMMIT\n");
        let rules = iptables::parse(&rules, Family::V6).unwrap();
        let mut world = routed6().listen("b", "80/tcp").with("r", Object::Rules(rules.into())).world();
        ask(&mut world, "a -> [2001:db8:1::2]:80/tcp")
    };
    assert_eq!(rejected(""), "refused");
    assert_eq!(rejected(" --reject-with icmp6-adm-prohibited"), "unreachable (prohibited)");
    assert_eq!(rejected(" --reject-with icmp6-addr-unreachable"), "unreachable (host)");
}

#[test]
fn c6_timeouts_are_settings_of_a_namespace() {
    let states = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n";
    let bed = routed().listen("b", "9/udp").rules("r", states);
    let mut world = bed.clone().sysctl("r", "net.netfilter.nf_conntrack_udp_timeout=7").world();
    ask(&mut world, "a -> 10.0.1.2:9/udp");
    let entries = |world: &World| world.conntrack(&NsName::from("r"));
    assert!(entries(&world)[0].starts_with("udp      17 6 "), "{:?}", entries(&world));
    world.advance_ms(7_000);
    assert_eq!(entries(&world), Vec::<String>::new());
    let unknown = bed.sysctl("r", "net.netfilter.nf_conntrack_udp_timeout_of_nothing=7").plan();
    assert!(World::build(&unknown, 1).is_err());
}
