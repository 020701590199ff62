//! A rule set, rule by rule: a container's rules are at home between those that are about nobody.
//!
//! Of two rules that stand between the same two of these, no packet meets both, since each is for packets to one
//! container, or to a port that one has published: which comes first has no meaning. Any other rule that has a
//! container's words in it makes that container one of its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use seatrial_core::plan::{NsName, Object, Plan};
use seatrial_core::rules::{Match, Rule, Ruleset};
use seatrial_core::topology::NodeName;

use super::sign::Signed;
use super::words::{Words, destination_port};

/// Takes out whom a rule names otherwise than as the one that packets go to.
pub(super) fn set_apart(plan: &Plan, words: &mut Words) {
    for item in &plan.items {
        let rulesets = if let Object::Script(script) = &item.object {
            script.rulesets.as_slice()
        } else if let Object::Rules(ruleset) = &item.object {
            std::slice::from_ref(ruleset)
        } else {
            continue;
        };
        if words.owner_of_ns(&item.ns).is_some() {
            continue;
        }
        let tables = rulesets.iter().flat_map(|ruleset| &ruleset.tables);
        for rule in tables.flat_map(|t| &t.chains).flat_map(|c| &c.rules) {
            let about = about(rule, words);
            let one = about.len() < 2 && about.iter().all(|node| leads_to(rule, node, words));
            let apart: Vec<NodeName> = about.into_iter().filter(|_| !one).cloned().collect();
            apart.iter().for_each(|node| words.set_apart(node));
        }
    }
}

/// Writes every rule down with the one it is about.
pub(super) fn sign(
    ns: &NsName,
    ruleset: &Ruleset,
    words: &Words,
    all: &mut BTreeMap<NodeName, Signed>,
    others: &mut String,
) {
    let (family, backend) = (ruleset.family, ruleset.backend);
    for table in &ruleset.tables {
        *others += &format!("{ns} {family:?} {backend:?} {} {:?}\n", table.name, table.maps);
        for chain in &table.chains {
            *others +=
                &format!("{ns} {family:?} {backend:?} {} {} {:?}\n", table.name, chain.name, chain.base);
            let mut before = 0;
            for rule in &chain.rules {
                let text = format!("{:?} {:?}", rule.matches, rule.target);
                match about(rule, words).first().and_then(|node| Some((*node, all.get_mut(*node)?))) {
                    Some((node, signed)) => {
                        let place = format!("{ns} {family:?} {} {} {before}", table.name, chain.name);
                        signed.line(&format!("{place} {text}"), node, words);
                    }
                    None => {
                        before += 1;
                        *others += &text;
                        others.push('\n');
                    }
                }
            }
        }
    }
}

fn about<'a>(rule: &Rule, words: &'a Words) -> BTreeSet<&'a NodeName> {
    words.owners_in(&format!("{:?} {:?}", rule.matches, rule.target))
}

/// Whether it is for packets to this one alone.
fn leads_to(rule: &Rule, node: &NodeName, words: &Words) -> bool {
    let is = |address: IpAddr| words.owner(&address.to_string()) == Some(node);
    let destination = rule.matches.iter().any(|m| {
        matches!(m, Match::Destination(net) if !net.not && net.value.prefix_len() == net.value.max_prefix_len()
            && is(net.value.addr()))
    });
    let port = destination_port(rule)
        .is_some_and(|(transport, port)| words.publisher(transport, port) == Some(node));
    destination || port
}
