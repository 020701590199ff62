//! The rules of real engines: what happened, event by event, must come to what their own iptables-save wrote.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use seatrial_core::addr::{Family, IfName};
use seatrial_core::engine::Engine;
use seatrial_core::plan::firewall::{
    EndpointRules, FamilyRules, Firewall, LinkRules, NetworkRules, PortRules,
};
use seatrial_core::rules::iptables::{parse, save};
use seatrial_core::rules::{Backend, Chain, Policy, Ruleset, Table, nft};
use seatrial_core::topology::{Daemon, GatewayMode};

fn engines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/engines")
}

/// Every folder of an engine in which events are written down.
fn scenarios(engine: &str) -> Vec<PathBuf> {
    let folder = engines().join(engine);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut folders: Vec<_> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.join("rules.events").exists()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "{}: no scenario", folder.display());
    folders
}

/// A host on which events happen, one line each.
struct Scene {
    engine: Engine,
    daemon: Daemon,
    before: Vec<Ruleset>,
    firewall: Option<Firewall>,
}

impl Scene {
    fn new(engine: &str) -> Self {
        Self {
            engine: engine.parse().unwrap(),
            daemon: Daemon::default(),
            before: Vec::new(),
            firewall: None,
        }
    }

    fn firewall(&mut self) -> &mut Firewall {
        let Self { engine, daemon, before, firewall } = self;
        firewall.get_or_insert_with(|| Firewall::new(*engine, daemon, before))
    }

    /// One event; see fixtures/engines/README.md.
    fn event(&mut self, folder: &Path, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["daemon", options @ ..] => options.iter().for_each(|o| self.option(o)),
            ["before", file] => self.before.push(read(&folder.join(file))),
            ["forward-drop", family] => self.firewall().set_forward_policy_drop(family_of(family)),
            ["network", bridge, options @ ..] => self.firewall().add_network(&network(bridge, options)),
            ["network-", bridge] => self.firewall().remove_network(&bridge.parse().unwrap()),
            ["endpoint", bridge, addresses @ ..] => {
                self.firewall().add_endpoint(&endpoint(bridge, addresses))
            }
            ["endpoint-", bridge, addresses @ ..] => {
                self.firewall().remove_endpoint(&endpoint(bridge, addresses));
            }
            ["publish", bridge, transport, host, container] => {
                self.firewall().publish(&port(bridge, transport, host, container));
            }
            ["publish-", bridge, transport, host, container] => {
                self.firewall().unpublish(&port(bridge, transport, host, container));
            }
            ["link", bridge, parent, child, ports @ ..] => {
                self.firewall().link(&link(bridge, parent, child, ports));
            }
            ["expect"] => self.expect(folder, ""),
            ["expect", step] => self.expect(folder, &format!(".{step}")),
            _ => panic!("{}: what is '{line}'?", folder.display()),
        }
    }

    fn option(&mut self, option: &str) {
        match option {
            "userland-proxy=false" => self.daemon.userland_proxy = false,
            "firewall-backend=nftables" => self.daemon.firewall_backend = Backend::Nft,
            "allow-direct-routing" => self.daemon.allow_direct_routing = true,
            "ip6tables=false" => self.daemon.ip6tables = Some(false),
            _ => match option.split_once('=') {
                Some(("bridge-accept-fwmark", mark)) => {
                    self.daemon.bridge_accept_fwmark = Some(mark.to_owned());
                }
                _ => panic!("no daemon option '{option}'"),
            },
        }
    }

    fn expect(&mut self, folder: &Path, step: &str) {
        let rulesets = self.firewall().rulesets();
        for (family, tool) in [(Family::V4, "iptables"), (Family::V6, "ip6tables")] {
            let file = folder.join(format!("{tool}-save{step}.txt"));
            let captured = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let ours = rulesets.iter().find(|r| r.family == family).map(save).unwrap_or_default();
            assert_eq!(ours, captured, "{} is not what the engine wrote", file.display());
        }
    }
}

fn read(file: &Path) -> Ruleset {
    let family = if file.to_string_lossy().contains("ip6tables") { Family::V6 } else { Family::V4 };
    parse(&fs::read_to_string(file).unwrap(), family).unwrap()
}

fn family_of(text: &str) -> Family {
    match text {
        "v4" => Family::V4,
        "v6" => Family::V6,
        _ => panic!("no family '{text}'"),
    }
}

fn network(bridge: &str, options: &[&str]) -> NetworkRules {
    let mut network = NetworkRules {
        bridge: bridge.parse().unwrap(),
        v4: None,
        v6: None,
        masquerade: true,
        icc: true,
        internal: false,
        trusted: Vec::new(),
    };
    for option in options {
        match option.split_once('=') {
            None if *option == "internal" => network.internal = true,
            None => {
                let subnet = option.parse().unwrap();
                let rules = FamilyRules { subnet, mode: GatewayMode::Nat, snat: None };
                match Family::of_net(subnet) {
                    Family::V4 => network.v4 = Some(rules),
                    Family::V6 => network.v6 = Some(rules),
                }
            }
            Some(("icc", "false")) => network.icc = false,
            Some(("masquerade", "false")) => network.masquerade = false,
            Some(("trusted", names)) => {
                network.trusted = names.split(':').map(|n| n.parse::<IfName>().unwrap()).collect();
            }
            Some(("snat", address)) => {
                let address: IpAddr = address.parse().unwrap();
                part(&mut network, Family::of(address)).snat = Some(address);
            }
            Some((family, mode)) => part(&mut network, family_of(family)).mode = gateway_mode(mode),
        }
    }
    network
}

fn part(network: &mut NetworkRules, family: Family) -> &mut FamilyRules {
    match family {
        Family::V4 => network.v4.as_mut().unwrap(),
        Family::V6 => network.v6.as_mut().unwrap(),
    }
}

fn gateway_mode(text: &str) -> GatewayMode {
    match text {
        "nat-unprotected" => GatewayMode::NatUnprotected,
        "routed" => GatewayMode::Routed,
        "isolated" => GatewayMode::Isolated,
        _ => panic!("no gateway mode '{text}'"),
    }
}

fn endpoint(bridge: &str, addresses: &[&str]) -> EndpointRules {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    EndpointRules { bridge: bridge.parse().unwrap(), addresses }
}

fn port(bridge: &str, transport: &str, host: &str, container: &str) -> PortRules {
    PortRules {
        bridge: bridge.parse().unwrap(),
        transport: transport.parse().unwrap(),
        host: host.parse().unwrap(),
        container: container.parse().unwrap(),
    }
}

fn link(bridge: &str, parent: &str, child: &str, ports: &[&str]) -> LinkRules {
    let port = |text: &&str| {
        let (port, transport) = text.split_once('/').unwrap();
        (transport.parse().unwrap(), port.parse().unwrap())
    };
    LinkRules {
        bridge: bridge.parse().unwrap(),
        parent: parent.parse().unwrap(),
        child: child.parse().unwrap(),
        ports: ports.iter().map(port).collect(),
    }
}

fn play(engine: &str, folder: &Path) {
    let events = fs::read_to_string(folder.join("rules.events")).unwrap();
    let mut scene = Scene::new(engine);
    let lines = events.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    lines.for_each(|line| scene.event(folder, line));
    assert!(events.lines().any(|l| l.starts_with("expect")), "{}: expects nothing", folder.display());
}

#[test]
fn rules_of_28_5_2_are_what_the_engine_wrote_to_the_byte() {
    scenarios("28.5").iter().for_each(|folder| play("28.5.2", folder));
}

/// What an engine that was not at hand differs in from one that was, in one scenario of 28.5.
fn rules_of(version: &str, scenario: &str) -> String {
    let folder = engines().join("28.5").join(scenario);
    let events = fs::read_to_string(folder.join("rules.events")).unwrap();
    let mut scene = Scene::new(version);
    let done = |l: &&str| !l.starts_with("expect") && !l.starts_with('#');
    events.lines().filter(done).for_each(|line| scene.event(&folder, line));
    let rulesets = scene.firewall().rulesets();
    rulesets.iter().find(|r| r.family == Family::V4).map(save).unwrap()
}

/// libnetwork/drivers/bridge/port_mapping_linux.go and setup_ip_tables_linux.go of 28.0.1 to 28.1: raw guards a port, not
/// an address, and DOCKER-USER returns.
#[test]
fn rules_of_28_1_are_those_of_28_5_but_for_two_that_its_sources_have() {
    for scenario in ["c-publish", "d-publish-lo", "g-internal", "j-routed", "j2-nat-unprotected"] {
        let captured =
            fs::read_to_string(engines().join("28.5").join(scenario).join("iptables-save.txt")).unwrap();
        let own = |line: &&str| {
            let guards_address = line.starts_with("-A PREROUTING -d 172.") && line.ends_with("-j DROP");
            !guards_address || line.contains("--dport")
        };
        let others: Vec<&str> = captured.lines().filter(own).collect();
        let planned = rules_of("28.1", scenario);
        let more: Vec<&str> = planned.lines().filter(|l| !others.contains(l)).collect();
        let (user, guards): (Vec<&str>, Vec<&str>) =
            more.into_iter().partition(|l| *l == "-A DOCKER-USER -j RETURN");
        assert_eq!(user.len(), 1, "{scenario}");
        assert!(others.iter().all(|l| planned.lines().any(|p| p == *l)), "{scenario}: {planned}");
        // A guard for each port that DNAT leads to.
        let mapped = planned.lines().filter(|l| l.contains("-j DNAT")).filter_map(|l| {
            let (_, container) = l.split_once("--to-destination ")?;
            container.split_once(':')
        });
        let bridge = |address: &str| {
            let accept = format!("-A DOCKER -d {address}/32 ! -i ");
            planned.lines().find_map(|l| l.strip_prefix(&accept)?.split(' ').next())
        };
        let expected: Vec<String> = mapped
            .filter_map(|(address, port)| {
                let bridge = bridge(address)?;
                Some(format!(
                    "-A PREROUTING -d {address}/32 ! -i {bridge} -p tcp -m tcp --dport {port} -j DROP"
                ))
            })
            .collect();
        assert_eq!(guards, expected, "{scenario}");
    }
}

/// What `iptables -S` prints of a table.
fn list(table: &Table) -> Vec<String> {
    let chain = |c: &Chain| match c.base.map(|b| b.policy) {
        Some(Policy::Accept) => format!("-P {} ACCEPT", c.name),
        Some(Policy::Drop) => format!("-P {} DROP", c.name),
        None => format!("-N {}", c.name),
    };
    let rules = table.chains.iter().flat_map(|c| c.rules.iter().map(|r| r.command(&c.name)));
    table.chains.iter().map(chain).chain(rules).collect()
}

/// The runs of `iptables -S` lines in a document, in order.
fn listings(document: &str) -> Vec<Vec<String>> {
    let mut listings: Vec<Vec<String>> = Vec::new();
    let mut before = "";
    for line in document.lines().map(str::trim) {
        if line.starts_with("-P PREROUTING") || line.starts_with("-P INPUT") && !before.starts_with("-P") {
            listings.push(Vec::new());
        }
        if ["-P ", "-N ", "-A "].iter().any(|c| line.starts_with(c)) {
            listings.last_mut().unwrap().push(line.to_owned());
        }
        before = line;
    }
    listings
}

/// The table that the listed base chains belong to.
fn table_of(listing: &[String]) -> &'static str {
    let has = |chain: &str| listing.iter().any(|l| l.starts_with(&format!("-P {chain} ")));
    match (has("FORWARD"), has("POSTROUTING")) {
        (true, _) => "filter",
        (false, true) => "nat",
        (false, false) => "raw",
    }
}

#[test]
fn rules_of_29_are_upstream_s_line_for_line() {
    let folder = engines().join("29-iptables");
    for (scenario, tables) in [
        ("new-daemon", ["filter", "nat"].as_slice()),
        ("usernet-internal", &["filter", "nat"]),
        ("usernet-portmap", &["filter", "nat", "raw"]),
        ("usernet-portmap-noproxy", &["filter", "nat"]),
    ] {
        let mut scene = Scene::new("29");
        let events = fs::read_to_string(folder.join(format!("{scenario}.events"))).unwrap();
        events.lines().for_each(|line| scene.event(&folder, line));
        let ours = scene.firewall().rulesets();
        let document = fs::read_to_string(folder.join(format!("{scenario}.md"))).unwrap();
        let listings = listings(&document);
        assert_eq!(listings.iter().map(|l| table_of(l)).collect::<Vec<_>>(), tables, "{scenario}");
        for listing in &listings {
            let table =
                ours.iter().find_map(|r| r.table(table_of(listing)).filter(|_| r.family == Family::V4));
            assert_eq!(&list(table.unwrap()), listing, "{scenario}");
        }
    }
}

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
    for scenario in ["new-daemon", "usernet-internal", "usernet-portmap", "usernet-portmap-noproxy"] {
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
