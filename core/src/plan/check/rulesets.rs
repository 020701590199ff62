//! Rules: chains that are jumped to exist and never lead back, base chains stand where their table may have them.

use std::collections::{BTreeMap, BTreeSet};

use crate::addr::IfName;
use crate::plan::NsName;
use crate::rules::nft::Script;
use crate::rules::{Backend, Hook, Ruleset, Table, Target};

impl super::Seen {
    pub(super) fn ruleset(&mut self, ns: &NsName, ruleset: &Ruleset, what: &str) {
        let key = format!("{:?} {:?}", ruleset.family, ruleset.backend);
        if !self.rules.insert((ns.clone(), key)) {
            self.fault(what, "the namespace's rules of this family and backend are written twice");
        }
        let mut names = BTreeSet::new();
        for table in &ruleset.tables {
            if !names.insert(&table.name) {
                self.fault(what, format!("the table {} stands twice", table.name));
            }
            if ruleset.backend == Backend::Iptables {
                self.hooks(table, what);
            }
            self.jumps(table, what);
        }
    }

    /// A text for nft: whatever it names is there when it is read.
    pub(super) fn script(&mut self, ns: &NsName, script: &Script, what: &str) {
        let missing = |device: &&IfName| self.links.get(ns).is_none_or(|links| !links.contains_key(*device));
        let missing: Vec<&IfName> = script.devices.iter().filter(missing).collect();
        for device in missing {
            self.fault(what, format!("it names the device {device}, which is not there yet"));
        }
        let tables = script.rulesets.iter().flat_map(|ruleset| &ruleset.tables);
        tables.for_each(|table| self.jumps(table, what));
    }

    fn hooks(&mut self, table: &Table, what: &str) {
        let Some(hooks) = hooks(&table.name) else {
            return self.fault(what, format!("iptables has no table {}", table.name));
        };
        if let Some(map) = table.maps.first() {
            self.fault(what, format!("iptables has no maps, and {} has {}", table.name, map.name));
        }
        for chain in &table.chains {
            let Some(base) = chain.base else { continue };
            if !hooks.contains(&base.hook) || base.hook.chain() != chain.name {
                self.fault(what, format!("the table {} has no base chain {}", table.name, chain.name));
            }
            if base.nat != (table.name == "nat") {
                self.fault(what, format!("only chains of the table nat translate, not {}", chain.name));
            }
        }
    }

    fn jumps(&mut self, table: &Table, what: &str) {
        let mut leads: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for chain in &table.chains {
            let targets = chain.rules.iter().flat_map(|rule| table.leads(rule));
            if leads.insert(&chain.name, targets.collect()).is_some() {
                self.fault(what, format!("the chain {} stands twice in {}", chain.name, table.name));
            }
            for rule in &chain.rules {
                if let Some(Target::Vmap { map, .. }) = &rule.target
                    && !table.maps.iter().any(|m| m.name == *map)
                {
                    let found =
                        format!("{} asks the map {map}, which {} does not have", chain.name, table.name);
                    self.fault(what, found);
                }
            }
        }
        for (from, to) in leads.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
            match table.chain(to) {
                None => self.fault(what, format!("{from} jumps to {to}, which {} does not have", table.name)),
                Some(chain) if chain.base.is_some() => {
                    self.fault(what, format!("{from} jumps to the base chain {to}"));
                }
                Some(_) => {}
            }
        }
        if let Some(chain) = leads.keys().find(|chain| leads_back(&leads, chain)) {
            self.fault(what, format!("the chain {chain} leads back to itself"));
        }
    }
}

fn leads_back(leads: &BTreeMap<&str, Vec<&str>>, start: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut todo: Vec<&str> = leads.get(start).into_iter().flatten().copied().collect();
    while let Some(chain) = todo.pop() {
        if chain == start {
            return true;
        }
        if seen.insert(chain) {
            todo.extend(leads.get(chain).into_iter().flatten());
        }
    }
    false
}

/// The hooks an iptables table has (`valid_hooks`, net/ipv4/netfilter/iptable_*.c); none where there is no such table.
fn hooks(table: &str) -> Option<&'static [Hook]> {
    match table {
        "raw" => Some(&[Hook::Prerouting, Hook::Output]),
        "mangle" => Some(&[Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]),
        "nat" => Some(&[Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting]),
        "filter" | "security" => Some(&[Hook::Input, Hook::Forward, Hook::Output]),
        _ => None,
    }
}
