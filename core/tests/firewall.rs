//! The rules of real engines: what happened, event by event, must come to what their own iptables-save wrote.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fs;
use std::path::Path;

use seatrial_core::addr::Family;
use seatrial_core::rules::iptables::save;
use seatrial_core::rules::{Chain, Policy, Table};

use crate::scene::{Scene, engines, scenarios};

#[path = "firewall/nft.rs"]
mod nft;
#[path = "firewall/scene.rs"]
mod scene;

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

/// libnetwork/drivers/bridge/setup_ip_tables_linux.go of 28.0.0, and its iptablesdoc/usernet-portmap-routed.md: FORWARD asks a
/// set of subnets first, then each network, the newest last.
#[test]
fn rules_of_28_0_0_ask_a_set_of_subnets() {
    let rules = rules_of("28.0.0", "j-routed");
    let of = |chain: &str| -> Vec<&str> {
        rules
            .lines()
            .filter_map(|line| line.strip_prefix("-A ")?.strip_prefix(chain)?.strip_prefix(' '))
            .collect()
    };
    assert_eq!(
        of("FORWARD"),
        [
            "-j DOCKER-USER",
            "-m set --match-set docker-ext-bridges-v4 dst -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-j DOCKER-ISOLATION-STAGE-1",
            "-m set --match-set docker-ext-bridges-v4 dst -j DOCKER",
            "-i docker0 -j ACCEPT",
            "-i br-13a3fdd6ff83 -j ACCEPT",
        ]
    );
    assert_eq!(
        of("DOCKER-ISOLATION-STAGE-1"),
        [
            "-i br-13a3fdd6ff83 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-o br-13a3fdd6ff83 -j RETURN",
            "-i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2",
            "-i br-13a3fdd6ff83 ! -o br-13a3fdd6ff83 -j DOCKER-ISOLATION-STAGE-2",
        ]
    );
    assert_eq!(of("DOCKER-USER"), ["-j RETURN"]);
    assert!(!rules.contains("DOCKER-FORWARD") && !rules.contains("DOCKER-CT"), "{rules}");
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
