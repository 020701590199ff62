//! ICMP errors of every code, and what they mean to whoever asks.

use crate::alone::alone;
use crate::bed::Bed;

const V4: [(&str, &str); 7] = [
    ("net-unreachable", "unreachable (net)"),
    ("host-unreachable", "unreachable (host)"),
    ("prot-unreachable", "unreachable (protocol)"),
    ("port-unreachable", "refused"),
    ("net-prohibited", "unreachable (prohibited)"),
    ("host-prohibited", "unreachable (prohibited)"),
    ("admin-prohibited", "unreachable (prohibited)"),
];

const V6: [(&str, &str); 6] = [
    ("no-route", "unreachable (net)"),
    ("admin-prohibited", "unreachable (prohibited)"),
    ("addr-unreachable", "unreachable (host)"),
    ("port-unreachable", "refused"),
    ("policy-fail", "unreachable (prohibited)"),
    ("reject-route", "unreachable (prohibited)"),
];

/// What a machine rejects everything with, but neighbour discovery and its own errors to itself.
fn reject(bed: &Bed, name: &str, hook: &str, family: &str, code: &str) {
    let (icmp, spared) =
        if family == "ip" { ("icmp", "") } else { ("icmpv6", "icmpv6 type 133-137 accept;") };
    let rules = format!(
        "flush ruleset; table {family} t {{ chain c {{ type filter hook {hook} priority 0; meta oif lo accept; \
         {spared} \
         reject with {icmp} type {code}; }}; }}"
    );
    bed.sh(name, &format!("nft '{rules}'"));
}

#[test]
fn an_icmp_error_says_why_to_tcp_udp_and_echoes() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    // Six errors, and then one a second (`icmpv4_xrlim_allow`): a test wants more.
    bed.sh("b", "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
    let cases = V4.map(|(code, means)| ("ip", "10.0.0.2", code, means)).into_iter();
    let cases = cases.chain(V6.map(|(code, means)| ("ip6", "[2001:db8::2]", code, means)));
    for (family, to, code, means) in cases.clone() {
        reject(&bed, "b", "input", family, code);
        for what in [":80/tcp", ":80/udp", "/icmp"] {
            assert_eq!(bed.ask(&format!("a -> {to}{what}")), means, "{code} {what}");
        }
    }
    // The same of ping sockets, and not of raw ones.
    bed.sh("a", "sysctl -qw net.ipv4.ping_group_range='0 0'");
    for (family, to, code, means) in cases {
        reject(&bed, "b", "input", family, code);
        assert_eq!(bed.ask(&format!("a -> {to}/icmp")), means, "{code}");
    }
}

#[test]
fn a_rule_of_ones_own_machine_says_why_too() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    for (family, to) in [("ip", "10.0.0.2"), ("ip6", "[2001:db8::2]")] {
        reject(&bed, "a", "output", family, "admin-prohibited");
        // TCP's comes a second later: while connect() runs, its socket is busy (`tcp_v4_err`).
        for what in [":80/tcp", ":80/udp", "/icmp"] {
            let outcome = bed.ask(&format!("a -> {to}{what}"));
            assert_eq!(outcome, "unreachable (prohibited)", "{family} {what}");
        }
    }
}

#[test]
fn a_neighbour_that_does_not_answer_is_an_unreachable_host() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    let probes: Vec<String> = ["10.0.0.9", "[2001:db8::9]"]
        .iter()
        .flat_map(|to| [":80/tcp", ":80/udp", "/icmp"].map(|what| format!("a -> {to}{what}")))
        .collect();
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
    for (probe, outcome) in probes.iter().zip(bed.ask_all(&probes)) {
        assert_eq!(outcome, "unreachable (host)", "{probe}");
    }
}

#[test]
fn a_router_without_a_route_says_net() {
    if !alone() {
        return;
    }
    let mut bed = Bed::routed();
    // Each takes two of the five a peer has saved up (`ip_error`, `icmpv4_xrlim_allow`).
    bed.sh("r", "sysctl -qw net.ipv4.icmp_ratelimit=0");
    for what in [":80/tcp", ":80/udp", "/icmp"] {
        assert_eq!(bed.ask(&format!("a -> 192.0.2.1{what}")), "unreachable (net)", "{what}");
        assert_eq!(bed.ask(&format!("a -> [2001:db8:9::1]{what}")), "unreachable (net)", "{what}");
    }
}

#[test]
fn without_a_way_from_here_there_is_no_route() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.sh("a", "ip route add unreachable 198.51.100.1; ip route add prohibit 198.51.100.2");
    bed.sh("a", "ip route add blackhole 198.51.100.3");
    let targets = [
        "192.0.2.1",
        "[2001:db8:9::1]",
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.3",
        // A broadcast address, without SO_BROADCAST.
        "10.0.0.255",
    ];
    for to in targets {
        for what in [":80/tcp", ":80/udp", "/icmp"] {
            assert_eq!(bed.ask(&format!("a -> {to}{what}")), "no-route", "{to} {what}");
        }
    }
    // No address of this machine, and one that may not leave it.
    for from in ["10.0.0.7", "127.0.0.1"] {
        for what in [":80/tcp", ":80/udp", "/icmp"] {
            let probe = format!("a -> 10.0.0.2{what},from={from}");
            assert_eq!(bed.ask(&probe), "no-route", "{probe}");
        }
    }
}

#[test]
fn what_nobody_answers_is_dropped_after_five_seconds() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    for on in ["80/tcp", "80/udp"] {
        bed.listen("b", on);
    }
    let drops = |hook: &str, port: u16| {
        format!(
            "nft add table inet {hook}; nft add chain inet {hook} c '{{ type filter hook {hook} priority 0; }}'; \
                 nft add rule inet {hook} c tcp dport {port} drop; nft add rule inet {hook} c udp dport {port} drop; \
                 nft add rule inet {hook} c icmp type echo-request drop; \
                 nft add rule inet {hook} c icmpv6 type echo-request drop"
        )
    };
    bed.sh("b", &drops("input", 80));
    bed.sh("b", "nft add table ip x");
    bed.sh("a", &drops("output", 81));
    let probes = [
        "a -> 10.0.0.2:80/tcp",
        "a -> 10.0.0.2:80/udp",
        "b -> 127.0.0.1/icmp",
        "a -> [2001:db8::2]:80/tcp",
        "a -> [2001:db8::2]:80/udp",
        "b -> [::1]/icmp",
        "a -> 10.0.0.2:81/tcp",
        "a -> 10.0.0.2:81/udp",
        "a -> 10.0.0.2/icmp",
        "a -> [2001:db8::2]:81/tcp",
        "a -> [2001:db8::2]:81/udp",
        "a -> [2001:db8::2]/icmp",
    ];
    #[expect(clippy::disallowed_methods, reason = "the deadline is one of wall time")]
    let begun = std::time::Instant::now();
    for (probe, outcome) in probes.iter().zip(bed.ask_all(&probes)) {
        assert_eq!(outcome, "dropped", "{probe}");
    }
    let took_ms = begun.elapsed().as_millis();
    assert!((5000..6500).contains(&took_ms), "{took_ms} ms");
}
