//! `seatrial plan`: the whole of it, or one namespace's part, in every format.

use seatrial_core::plan::Plan;

use crate::{answer, run};

const FILE: &str = "fixtures/compose/wireguard.yaml";

#[test]
fn a_plan_is_a_script_and_the_same_plan_is_a_json_document() {
    let script = answer(&["plan", FILE]);
    let (notes, script): (Vec<&str>, Vec<&str>) =
        script.lines().partition(|line| line.starts_with("# assumed: ") || line.starts_with("# host: "));
    assert_eq!(notes.len(), 4);
    assert_eq!(notes[0], "# host: Docker Engine 29, by document");
    let plan: Plan = serde_json::from_str(&answer(&["plan", FILE, "--format", "json"])).unwrap();
    assert_eq!(plan.to_string().lines().collect::<Vec<_>>(), script);
}

#[test]
fn the_rules_of_the_host_are_those_of_iptables_save() {
    insta::assert_snapshot!(answer(&["plan", FILE, "--format", "iptables-save"]));
}

#[test]
fn the_rules_of_the_other_family_are_those_of_ip6tables_save() {
    insta::assert_snapshot!(answer(&["plan", FILE, "--format", "ip6tables-save"]));
}

#[test]
fn the_rules_of_an_engine_with_nftables_are_those_of_nft_list_and_no_others() {
    let file = "fixtures/trials/nft/published.trial.yaml";
    insta::assert_snapshot!(answer(&["plan", file, "--format", "nft"]));
    let container = answer(&["plan", file, "--ns", "web", "--format", "nft"]);
    assert!(container.starts_with("table ip docker-dns {\n\tchain dns-dnat {\n"), "{container}");
    let said = run(&["plan", file, "--format", "iptables-save"]);
    assert!(said.err.contains("seatrial: the plan has no such rules in namespace host\n"), "{}", said.err);
}

#[test]
fn one_namespace_is_planned_alone() {
    let json = |more: &[&str]| -> Plan {
        let args = [&["plan", FILE, "--format", "json"], more].concat();
        serde_json::from_str(&answer(&args)).unwrap()
    };
    let (whole, part) = (json(&[]), json(&["--ns", "wireguard"]));
    let expected: Vec<_> = whole.items.into_iter().filter(|i| i.ns.as_str() == "wireguard").collect();
    assert_eq!(part.items, expected);
    let rules = answer(&["plan", FILE, "--ns", "wireguard", "--format", "iptables-save"]);
    assert!(rules.contains("\n-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT\n"), "{rules}");
}

#[test]
fn a_namespace_without_rules_says_so() {
    let said = run(&["plan", FILE, "--ns", "lan", "--format", "iptables-save"]);
    assert_eq!((said.status, said.out.as_str()), (0, ""));
    assert!(said.err.contains("seatrial: the plan has no such rules in namespace lan\n"), "{}", said.err);
}

#[test]
fn a_namespace_that_is_not_there_is_refused_with_those_that_are() {
    let said = run(&["plan", FILE, "--ns", "vpn"]);
    assert_eq!((said.status, said.out.as_str()), (2, ""));
    insta::assert_snapshot!(said.err, @r"
    error: there is no namespace 'vpn'
    --> --ns
     = help: expected one of host, lan, wire, wireguard

    seatrial: 1 error
    ");
}

#[test]
fn another_engine_has_other_rules() {
    let rules = |engine| answer(&["plan", FILE, "--engine", engine, "--format", "iptables-save"]);
    assert_ne!(rules("28.5"), rules("29"));
    assert_eq!(rules("29"), answer(&["plan", FILE, "--format", "iptables-save"]));
}
