//! The text of `nft list`, read and written: upstream's own listings, and those of every trial with nftables.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::addr::Family;
use seatrial_core::plan::{Object, plan};
use seatrial_core::rules::Backend;
use seatrial_core::rules::nft::{self, Script, list, parse};
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial;

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files.sort();
    assert!(!files.is_empty(), "{}: no {ending}", folder.display());
    files
}

#[test]
fn every_table_that_is_planned_survives_being_written_and_read() {
    let mut read = 0;
    for file in files("trials/nft", ".trial.yaml") {
        let topology = trial::read(&file, &Disk, &Options::default()).unwrap().topology;
        for item in plan(&topology).unwrap().items {
            let Object::Rules(rules) = item.object else { continue };
            if rules.backend == Backend::Nft {
                let text = list(&rules).unwrap();
                let tables = parse(&text, rules.family).unwrap_or_else(|e| panic!("{e}\n{text}"));
                assert_eq!(tables, rules.tables, "{}", file.display());
                read += 1;
            }
        }
    }
    assert!(read > 40, "only {read} sets of rules");
}

fn of_chain(rule: &str) -> String {
    format!("table inet t {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n")
}

/// The rules that one becomes in a family, as nft writes them.
fn rules(family: Family, rule: &str) -> Vec<String> {
    let script = Script::read(&of_chain(rule)).unwrap_or_else(|e| panic!("{rule}: {e}"));
    let of_family = script.rulesets.iter().find(|rules| rules.family == family).unwrap();
    let rules = &of_family.tables[0].chains[0].rules;
    rules.iter().map(|rule| nft::rule(family, rule).unwrap().replace("counter ", "")).collect()
}

#[test]
fn a_rule_of_inet_is_one_of_ipv4_one_of_ipv6_or_both() {
    for (rule, v4, v6) in [
        ("tcp dport { 22, ssh, 8000-8009 } accept", Some("tcp dport { 22, 8000-8009 } accept"), None),
        ("ip saddr 10.0.0.1 drop", Some("ip saddr 10.0.0.1 drop"), Some("")),
        ("ip6 saddr fd00::/8 drop", Some(""), Some("ip6 saddr fd00::/8 drop")),
        ("meta nfproto ipv6 drop", Some(""), Some("drop")),
        ("meta nfproto != ipv6 drop", Some("drop"), Some("")),
        ("ip saddr { 10.0.0.1-10.0.0.4, 10.1.0.0/16 } drop", None, Some("")),
        ("iif lo accept", Some("iifname \"lo\" accept"), None),
        ("reject", Some("reject with icmp 3"), Some("reject with icmpv6 4")),
        ("reject with icmpx no-route", Some("reject with icmp 0"), Some("reject with icmpv6 0")),
        ("reject with icmp type host-prohibited", Some("reject with icmp 10"), Some("")),
        ("dnat ip to 10.0.0.1:80", Some("dnat to 10.0.0.1:80"), Some("")),
        ("tcp flags & (fin|syn|rst|ack) == syn drop", Some("tcp flags & 0x17 == 0x2 drop"), None),
        ("tcp flags syn / fin,syn,rst,ack drop", Some("tcp flags & 0x17 == 0x2 drop"), None),
        ("tcp dport >= 1024 drop", Some("tcp dport 1024-65535 drop"), None),
        ("oifname != { \"a\", \"b*\" } drop", Some("oifname != \"a\" oifname != \"b*\" drop"), None),
        (
            "ct state { new, established } counter packets 1 bytes 2 log prefix \"x y\" group 2 accept",
            Some("ct state established,new accept"),
            None,
        ),
        ("limit rate 1/second accept", Some("limit rate 1/second accept"), None),
        ("fib saddr . iif oif missing drop", Some("fib saddr . iif oif missing drop"), None),
        ("tcp dport 80 queue num 1", Some("tcp dport 80 queue num 1"), None),
        ("meta mark set 0x7 accept", Some("meta mark set 0x7; accept"), None),
        ("icmp type { echo-request, 3 } drop", Some("icmp type 3 drop; icmp type 8 drop"), Some("")),
        // Bits are held as one number where a sign is written, or against several in a set (nft 1.0.6, --debug=netlink).
        ("ct state != new,established drop", Some("ct state != new , established drop"), None),
        ("ct state != { new, established } drop", Some("ct state != established,new drop"), None),
        ("ct status != dnat drop", Some("ct status != dnat drop"), None),
        ("ct status == dnat drop", Some("ct status == dnat drop"), None),
        ("ct status dnat drop", Some("ct status dnat drop"), None),
        ("tcp flags == syn drop", Some("tcp flags == syn drop"), None),
        (
            "reject with tcp reset",
            Some("ip protocol tcp reject with tcp reset"),
            Some("meta l4proto tcp reject with tcp reset"),
        ),
        ("meta mark set 0x1 tcp dport 80 drop", Some("meta mark set 0x1; tcp dport 80 drop"), None),
        (
            "ct state vmap { new : jump c, invalid : drop }",
            Some("ct state invalid drop; ct state new jump c"),
            None,
        ),
        (
            "meta l4proto { tcp, udp } th dport 53 drop",
            Some("udp dport { 53 } drop; tcp dport { 53 } drop"),
            None,
        ),
    ] {
        for (family, expected) in [(Family::V4, v4), (Family::V6, v6.or(v4))] {
            if let Some(expected) = expected {
                assert_eq!(rules(family, rule).join("; "), expected, "{rule} for {family:?}");
            }
        }
    }
}

#[test]
fn commands_add_to_what_stands() {
    let mut script = Script::read("table inet t { set s { type ipv4_addr; }; }; \n").unwrap();
    for command in [
        "add chain inet t c { type filter hook input priority 0; policy drop; }",
        "add rule inet t c tcp dport 2 accept",
        "insert rule inet t c ip saddr @s accept",
        "add rule inet t c index 0 tcp dport 1 accept",
        "add element inet t s { 10.0.0.1, 10.0.0.2 }",
        "delete element inet t s { 10.0.0.2 }",
        "create table ip u",
        "delete table ip u",
    ] {
        script = script.and(command).unwrap_or_else(|e| panic!("{command}: {e}"));
    }
    let rules = &script.rulesets[0].tables[0].chains[0].rules;
    let rules: Vec<_> = rules.iter().map(|rule| nft::rule(Family::V4, rule).unwrap()).collect();
    assert_eq!(
        rules,
        ["ip saddr 10.0.0.1 counter accept", "tcp dport 1 counter accept", "tcp dport 2 counter accept"]
    );
    assert_eq!(script.tables().into_iter().collect::<Vec<_>>(), ["inet t"]);
}

#[test]
fn what_nft_does_not_take_is_refused_where_it_stands() {
    let of_table = |text: &str| format!("table inet t {{\n{text}\n}}\n");
    for (text, expected) in [
        (of_chain("tcp dport { 80, none } accept"), "line 3, column 19: found none, expected a port"),
        (of_chain("ip saddr"), "expected more"),
        (of_chain("ip saddr 300.0.0.1 drop"), "line 3, column 12: found 300.0.0.1, expected an address"),
        (of_chain("ip saddr ::1 drop"), "line 3, column 12: found ::1, expected an address"),
        (
            of_chain("type filter hook ingress priority 0;"),
            "line 3, column 20: found ingress, expected a hook",
        ),
        (of_chain("tcp dport 80 counter jump"), "expected more"),
        (of_chain("ip saddr 10.0.0.1 - 10.0.0.9 drop"), "found -, expected a range without blanks"),
        (
            of_chain("meta mark 0 meta mark set 1 drop"),
            "found drop, expected the end of a rule that asks for the mark and sets it",
        ),
        (of_chain("ip saddr @none drop"), "line 3, column 12: found @none, expected a set of this table"),
        (of_chain("ip saddr $none drop"), "line 3, column 12: found $none, expected what a 'define'"),
        (of_table("chain c { tcp dport 80 accept }"), "line 2, column 31: found }, expected a semicolon"),
        (of_table("flags dormant"), "found dormant, expected a table that is awake"),
        (of_table("flowtable f"), "found flowtable, expected a chain, a set or a map"),
        ("table netdev t {\n}\n".to_owned(), "line 1, column 7: found netdev, expected ip, ip6 or inet"),
        ("table ip t {\n".to_owned(), "found the end of the text, expected more"),
        ("add rule inet t c accept\n".to_owned(), "found t, expected a table of family inet that is there"),
        ("table t\ndelete rule t c handle 4\n".to_owned(), "a rule is deleted by its handle"),
        ("include \"x\"\n".to_owned(), "found include, expected table"),
    ] {
        let error = Script::read(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}{error}");
    }
    let error = parse("table inet t {\n}\n", Family::V4).unwrap_err().to_string();
    assert!(error.contains("expected a table of family ip"), "{error}");
}

#[test]
fn an_engine_before_29_does_not_know_the_key() {
    let file = &files("trials/nft", "published.trial.yaml")[0];
    let mut topology = trial::read(file, &Disk, &Options::default()).unwrap().topology;
    topology.hosts[0].engine = "28.5".parse().unwrap();
    let refused = plan(&topology).unwrap_err().to_string();
    let words =
        "daemon.json: the following directives don't match any configuration option: firewall-backend";
    assert!(refused.starts_with(words), "{refused}");
}
