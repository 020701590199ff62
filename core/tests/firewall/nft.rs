//! Rules of Engine 29 with nftables: upstream's documents and sources.

use std::fs;
use std::path::Path;

use seatrial_core::addr::Family;
use seatrial_core::rules::{Backend, Ruleset, nft};

use crate::scene::{Scene, engines};

/// Upstream's documents.
const SCENARIOS: [&str; 4] = ["new-daemon", "usernet-internal", "usernet-portmap", "usernet-portmap-noproxy"];

impl Scene {
    /// Events one a line, and then what `nft list table` prints of a family.
    fn listing(&mut self, folder: &Path, events: &str, family: Family) -> String {
        events.lines().for_each(|line| self.event(folder, line.trim()));
        let rulesets = self.firewall().rulesets();
        nft::list(rulesets.iter().find(|r| r.family == family).unwrap()).unwrap()
    }
}

/// The table in a document, as `nft list table` printed it.
fn listed(document: &str) -> String {
    let unindented = document.lines().map(|line| line.strip_prefix("    ").unwrap_or(line));
    let table = unindented.skip_while(|line| !line.starts_with("table ")).map(|line| format!("{line}\n"));
    let mut text = String::new();
    for line in table {
        text += &line;
        if line == "}\n" {
            break;
        }
    }
    text
}

#[test]
fn rules_of_29_with_nftables_are_upstream_s_to_the_byte() {
    let folder = engines().join("29-nftables");
    for scenario in SCENARIOS {
        let read = |ending: &str| fs::read_to_string(folder.join(format!("{scenario}.{ending}"))).unwrap();
        let ours = Scene::new("29").listing(&folder, &read("events"), Family::V4);
        let theirs = listed(&read("md"));
        assert!(theirs.contains("chain filter-forward-in__docker0 {\n\t\tct state"), "{scenario}: {theirs}");
        assert_eq!(ours, theirs, "{scenario}");
    }
}

/// The lines of a chain in a listing.
fn chain_of<'a>(listing: &'a str, name: &str) -> Vec<&'a str> {
    let chain =
        listing.split_once(&format!("chain {name} {{\n")).unwrap_or_else(|| panic!("{name}: {listing}"));
    chain.1.lines().take_while(|line| *line != "\t}").map(str::trim).collect()
}

/// What the documents at hand do not show: moby 29's nftabler (daemon/libnetwork/drivers/bridge/internal/nftabler,
/// network.go, endpoint.go, port.go, link.go), and of the first four upstream's documents of the same name too
/// (integration/network/bridge/nftablesdoc/generated). Each is events, a family, a chain, and its rules.
const FACTS: &[(&str, Family, &str, &[&str])] = &[
    // usernet-portmap-routed.md
    (
        "network br0 192.0.2.0/24 v4=routed\nendpoint br0 192.0.2.2\npublish br0 tcp 0.0.0.0:0 192.0.2.2:80",
        Family::V4,
        "filter-forward-in__br0",
        &[
            "ct state established,related counter accept",
            "ip protocol icmp counter accept comment \"ICMP\"",
            "iifname \"br0\" counter accept comment \"ICC\"",
            "ip daddr 192.0.2.2 tcp dport 80 counter accept",
            "counter drop comment \"UNPUBLISHED PORT DROP\"",
        ],
    ),
    // usernet-portmap-lo.md
    (
        "network br0 192.0.2.0/24\nendpoint br0 192.0.2.2\npublish br0 tcp 127.0.0.1:8080 192.0.2.2:80",
        Family::V4,
        "raw-PREROUTING",
        &[
            "type filter hook prerouting priority raw; policy accept;",
            "ip daddr 192.0.2.2 iifname != \"br0\" counter drop comment \"DROP DIRECT ACCESS\"",
            "iifname != \"lo\" ip daddr 127.0.0.1 tcp dport 8080 counter drop comment \"DROP REMOTE LOOPBACK\"",
        ],
    ),
    // usernet-portmap-natunprot.md
    (
        "network br0 192.0.2.0/24 v4=nat-unprotected\nendpoint br0 192.0.2.2\npublish br0 tcp 0.0.0.0:8080 192.0.2.2:80",
        Family::V4,
        "filter-forward-in__br0",
        &[
            "ct state established,related counter accept",
            "iifname \"br0\" counter accept comment \"ICC\"",
            "counter accept comment \"UNPROTECTED\"",
        ],
    ),
    // usernet-portmap-noicc.md
    (
        "network br0 192.0.2.0/24 icc=false\nlink br0 192.0.2.3 192.0.2.2 90/tcp\npublish br0 tcp 0.0.0.0:8080 192.0.2.2:80",
        Family::V4,
        "filter-forward-in__br0",
        &[
            "ct state established,related counter accept",
            "ip saddr 192.0.2.3 ip daddr 192.0.2.2 tcp dport 90 counter accept",
            "ip daddr 192.0.2.3 ip saddr 192.0.2.2 tcp sport 90 counter accept",
            "iifname \"br0\" counter drop comment \"ICC\"",
            "ip daddr 192.0.2.2 tcp dport 80 counter accept",
            "counter drop comment \"UNPUBLISHED PORT DROP\"",
        ],
    ),
    (
        "daemon bridge-accept-fwmark=0x2/0x3\nnetwork br0 192.0.2.0/24",
        Family::V4,
        "filter-forward-in__br0",
        &[
            "ct state established,related counter accept",
            "meta mark & 0x00000003 == 0x00000002 counter accept comment \"ALLOW FW MARK\"",
            "iifname \"br0\" counter accept comment \"ICC\"",
            "counter drop comment \"UNPUBLISHED PORT DROP\"",
        ],
    ),
    (
        "network br0 192.0.2.0/24 trusted=eth3\nendpoint br0 192.0.2.2",
        Family::V4,
        "raw-PREROUTING",
        &[
            "type filter hook prerouting priority raw; policy accept;",
            "ip daddr 192.0.2.2 iifname != { \"br0\", \"eth3\" } counter drop comment \"DROP DIRECT ACCESS\"",
        ],
    ),
    (
        "daemon allow-direct-routing\nnetwork br0 192.0.2.0/24\nendpoint br0 192.0.2.2",
        Family::V4,
        "raw-PREROUTING",
        &["type filter hook prerouting priority raw; policy accept;"],
    ),
    (
        "network br0 192.0.2.0/24 snat=203.0.113.10",
        Family::V4,
        "nat-postrouting-out__br0",
        &["oifname != \"br0\" ip saddr 192.0.2.0/24 counter snat to 203.0.113.10 comment \"SNAT\""],
    ),
    (
        "daemon userland-proxy=false\nnetwork br0 192.0.2.0/24 snat=203.0.113.10 masquerade=false",
        Family::V4,
        "nat-postrouting-in__br0",
        &["fib saddr type local counter snat to 203.0.113.10 comment \"SNAT FROM HOST\""],
    ),
    ("network br0 192.0.2.0/24 masquerade=false", Family::V4, "nat-postrouting-out__br0", &[]),
    (
        "network br0 fd00:1::/64",
        Family::V6,
        "nat-OUTPUT",
        &[
            "type nat hook output priority dstnat; policy accept;",
            "ip6 daddr != ::1 fib daddr type local counter jump nat-prerouting-and-output",
        ],
    ),
    (
        "network br0 fd00:1::/64\nendpoint br0 fd00:1::2\npublish br0 tcp [::1]:8080 [fd00:1::2]:80",
        Family::V6,
        "nat-prerouting-and-output",
        &["iifname != \"br0\" ip6 saddr != fe80::/10 ip6 daddr ::1 tcp dport 8080 counter \
             dnat to [fd00:1::2]:80 comment \"DNAT\""],
    ),
    (
        "network br0 fd00:1::/64 v6=routed",
        Family::V6,
        "filter-forward-in__br0",
        &[
            "ct state established,related counter accept",
            "meta l4proto ipv6-icmp counter accept comment \"ICMP\"",
            "iifname \"br0\" counter accept comment \"ICC\"",
            "counter drop comment \"UNPUBLISHED PORT DROP\"",
        ],
    ),
    // An address of the host in IPv6 leads to IPv4 by docker-proxy alone, but the port is open all the same.
    (
        "network br0 192.0.2.0/24\npublish br0 udp [::]:53 192.0.2.2:53",
        Family::V4,
        "filter-forward-in__br0",
        &[
            "ct state established,related counter accept",
            "iifname \"br0\" counter accept comment \"ICC\"",
            "ip daddr 192.0.2.2 udp dport 53 counter accept",
            "counter drop comment \"UNPUBLISHED PORT DROP\"",
        ],
    ),
];

#[test]
fn rules_of_29_with_nftables_are_those_its_source_asks_for() {
    for (events, family, chain, expected) in FACTS {
        let events = format!("daemon firewall-backend=nftables\n{events}");
        let listing = Scene::new("29").listing(Path::new("."), &events, *family);
        assert_eq!(chain_of(&listing, chain), *expected, "{events}");
    }
}

#[test]
fn networks_that_go_take_their_chains_and_leave_the_others_where_they_are() {
    let folder = Path::new(".");
    let [first, second, third] =
        ["network br1 192.0.2.0/24", "network br2 198.51.100.0/24", "network br3 10.9.0.0/24"];
    let start = "daemon firewall-backend=nftables";
    let went = format!("{start}\n{first}\n{second}\nnetwork- br1\n{third}");
    let never = format!("{start}\n{second}\n{third}");
    let [went, never] = [went, never].map(|events| Scene::new("29").listing(folder, &events, Family::V4));
    assert_eq!(went, never);
    assert!(went.find("filter-forward-in__br2 {") < went.find("filter-forward-in__br3 {"), "{went}");
}

#[test]
fn what_nft_listed_survives_being_read_and_written() {
    for scenario in SCENARIOS {
        let document = engines().join("29-nftables").join(format!("{scenario}.md"));
        let text = listed(&fs::read_to_string(document).unwrap());
        let tables = nft::parse(&text, Family::V4).unwrap_or_else(|e| panic!("{scenario}: {e}"));
        let read = Ruleset { family: Family::V4, backend: Backend::Nft, tables };
        assert_eq!(nft::list(&read).unwrap(), text, "{scenario}");
    }
}
