//! The text of `nft list` and of a script for `nft -f` (man 8 nft): the same typed rules, whichever tool they were first
//! written for. Counters say nothing, as with `nft --stateless`.
//!
//! * `expression`, `statement`: what a rule asks, and what it does. `script`: what people write, and what `nft list` prints,
//!   read. `names`: names that stand for numbers.

use std::fmt::Write as _;

use thiserror::Error;

use crate::addr::{Family, IfName};
use crate::rules::{Base, Chain, Hook, Policy, Ruleset, Table, VerdictMap};

mod expression;
mod names;
mod script;
mod statement;
mod words;

pub use expression::rule;
pub(super) use expression::{devices, vmap};
pub use script::{Script, parse};

/// The module of a match, and the name of a target, that are kept as nft has them: nobody here knows what they mean.
pub const AS_WRITTEN: &str = "nft";

/// A rule that has no words in nft.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{chain} rule {number}: nft has no words for '{what}'")]
pub struct Unwritable {
    /// The chain.
    pub chain: String,
    /// The rule's place in it, from 1.
    pub number: usize,
    /// What has no words.
    pub what: String,
}

/// Lines before a [`script`] that take away what stands in its tables, at once with what the script does.
#[must_use]
pub fn room(ruleset: &Ruleset) -> String {
    let family = family(ruleset.family);
    // Only a table that is there can be deleted.
    let room = |table: &Table| format!("table {family} {0}\ndelete table {family} {0}\n", table.name);
    ruleset.tables.iter().map(room).collect()
}

/// A script that makes the tables, or adds to those that stand.
///
/// # Errors
/// The first rule that asks what nft cannot.
pub fn script(ruleset: &Ruleset) -> Result<String, Unwritable> {
    write(ruleset, |base| base.priority.to_string())
}

/// What `nft --stateless list table` prints of the tables.
///
/// # Errors
/// As [`script`].
pub fn list(ruleset: &Ruleset) -> Result<String, Unwritable> {
    write(ruleset, priority)
}

fn write(ruleset: &Ruleset, priority: fn(Base) -> String) -> Result<String, Unwritable> {
    let mut text = String::new();
    for table in &ruleset.tables {
        let maps = table.maps.iter().map(|map| Ok(map_text(map)));
        let chain = |chain| chain_text(ruleset.family, table, chain, priority);
        let blocks = maps.chain(table.chains.iter().map(chain)).collect::<Result<Vec<_>, _>>()?;
        let _ = writeln!(text, "table {} {} {{\n{}}}", family(ruleset.family), table.name, blocks.join("\n"));
    }
    Ok(text)
}

/// The family's name.
pub(crate) const fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

fn map_text(map: &VerdictMap) -> String {
    let verdict = |target| statement::statement(target).ok().flatten().unwrap_or_default();
    let mut elements: Vec<_> = map.elements.iter().collect();
    elements.sort_by_key(|(device, _)| weight(device));
    let elements: Vec<_> =
        elements.iter().map(|(device, target)| format!("\"{device}\" : {}", verdict(target))).collect();
    let elements = match elements.is_empty() {
        true => String::new(),
        false => format!("\t\telements = {{ {} }}\n", elements.join(",\n\t\t\t     ")),
    };
    format!("\tmap {} {{\n\t\ttype ifname : verdict\n{elements}\t}}\n", map.name)
}

/// By what nft sorts devices in a set: the 16 bytes of a name as one number, the last byte the heaviest.
fn weight(device: &IfName) -> (usize, Vec<u8>) {
    let name = device.as_str().as_bytes();
    (name.len(), name.iter().rev().copied().collect())
}

fn chain_text(
    family: Family,
    table: &Table,
    chain: &Chain,
    priority: fn(Base) -> String,
) -> Result<String, Unwritable> {
    let mut text = format!("\tchain {} {{\n", chain.name);
    if let Some(base) = chain.base {
        let _ = writeln!(text, "\t\t{}", heading(table, base, &priority(base)));
    }
    for (i, rule) in chain.rules.iter().enumerate() {
        let unwritable = |what| Unwritable { chain: chain.name.clone(), number: i + 1, what };
        let line = expression::rule(family, rule).map_err(unwritable)?;
        let _ = writeln!(text, "\t\t{line}");
    }
    text.push_str("\t}\n");
    Ok(text)
}

/// A priority by its name (man 8 nft, BASE CHAINS). An older nft than 1.0.7 takes `dstnat` for no hook but prerouting.
fn priority(base: Base) -> String {
    let named = match (base.priority, base.hook) {
        (-300, _) => "raw",
        (-150, _) => "mangle",
        (-100, Hook::Prerouting | Hook::Output) => "dstnat",
        (0, _) => "filter",
        (50, _) => "security",
        (100, Hook::Postrouting) => "srcnat",
        (number, _) => return number.to_string(),
    };
    named.to_owned()
}

/// `type nat hook prerouting priority -100; policy accept;`
fn heading(table: &Table, base: Base, priority: &str) -> String {
    let hook = match base.hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    };
    let policy = match base.policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    };
    // What is marked on its way out is routed anew (net/ipv4/netfilter/iptable_mangle.c).
    let reroutes = table.name == "mangle" && base.hook == Hook::Output;
    let kind = match base.nat {
        true => "nat",
        false if reroutes => "route",
        false => "filter",
    };
    format!("type {kind} hook {hook} priority {priority}; policy {policy};")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::iptables;

    fn lines(rules: &str) -> Result<Vec<String>, String> {
        let text = format!("*filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n{rules}COMMIT\n");
        let script = script(&iptables::parse(&text, Family::V4).unwrap()).map_err(|e| e.to_string())?;
        let of_forward = script.split_once("chain FORWARD {\n").unwrap().1.split_once("\t}\n").unwrap().0;
        Ok(of_forward.lines().skip(1).map(|line| line.trim().to_owned()).collect())
    }

    fn line(rule: &str) -> String {
        lines(&format!("-A FORWARD {rule}\n")).unwrap().remove(0)
    }

    #[test]
    fn a_table_takes_the_place_of_one_that_makes_room() {
        let rules = iptables::parse("*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", Family::V6).unwrap();
        assert_eq!(room(&rules), "table ip6 nat\ndelete table ip6 nat\n");
        let script = script(&rules).unwrap();
        assert!(script.starts_with("table ip6 nat {\n\tchain PREROUTING {\n"), "{script}");
        assert!(script.contains("\t\ttype nat hook prerouting priority -100; policy accept;\n"), "{script}");
    }

    #[test]
    fn matches_are_expressions() {
        for (rule, expected) in [
            (
                "-d 172.18.0.2/32 ! -i br0 -o br0 -p tcp -m tcp --dport 80 -j ACCEPT",
                "ip daddr 172.18.0.2 iifname != \"br0\" oifname \"br0\" tcp dport 80 counter accept",
            ),
            ("-i br-+ -j DROP", "iifname \"br-*\" counter drop"),
            (
                "-o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "oifname \"br0\" ct state related,established counter accept",
            ),
            ("-m addrtype --dst-type LOCAL -j DOCKER", "fib daddr type local counter jump DOCKER"),
            ("-p icmp -m icmp --icmp-type 8 -j ACCEPT", "icmp type 8 counter accept"),
            ("-p udp -m multiport --dports 53,60:70 -j DROP", "udp dport { 53, 60-70 } counter drop"),
            ("-m mark --mark 0x2/0x3 -j DROP", "meta mark & 0x00000003 == 0x00000002 counter drop"),
            ("-p tcp -j REJECT --reject-with tcp-reset", "ip protocol tcp counter reject with tcp reset"),
            ("-j REJECT --reject-with icmp-host-prohibited", "counter reject with icmp 10"),
        ] {
            assert_eq!(line(rule), expected);
        }
    }

    #[test]
    fn what_has_no_words_is_named() {
        let error = lines("-A FORWARD -m bpf --bytecode 1 -j DROP\n").unwrap_err();
        assert_eq!(error, "FORWARD rule 1: nft has no words for '-m bpf --bytecode 1'");
    }
}
