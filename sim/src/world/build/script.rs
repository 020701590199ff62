//! What a person wrote for nft, beside the rules of the tools.

use std::sync::Arc;

use seatrial_core::rules::{Ruleset, Table};

use crate::arena::NsId;
use crate::netfilter::Netfilter;
use crate::world::World;
use crate::world::build::Refusal;

/// Whether a ruleset is a part of a text: its tables are named with their family, `inet filter`.
pub(super) fn is_of_script(rules: &Ruleset) -> bool {
    rules.tables.first().is_some_and(|table| table.name.contains(' '))
}

impl World {
    /// Tables in place of those of the text before. One that was there keeps its place among those of its priority, with
    /// all its chains; a new one comes after all that stands.
    pub(crate) fn make_script(&mut self, ns: NsId, new: &[Arc<Ruleset>]) -> Result<(), Refusal> {
        let stack = &mut self.stacks[ns];
        let mut rulesets = Vec::new();
        for old in &stack.rulesets {
            if !is_of_script(old) {
                rulesets.push(Arc::clone(old));
                continue;
            }
            let of_family = new.iter().filter(|rules| rules.family == old.family);
            let kept = |table: &&Table| old.tables.iter().any(|t| t.name == table.name);
            let tables = of_family.flat_map(|rules| &rules.tables).filter(kept).cloned().collect();
            rulesets.push(Arc::new(Ruleset { tables, ..**old }));
        }
        for rules in new {
            let is_new = |table: &&Table| !stack.rulesets.iter().any(|old| holds(old, rules, table));
            let tables: Vec<Table> = rules.tables.iter().filter(is_new).cloned().collect();
            rulesets.push(Arc::new(Ruleset { tables, ..**rules }));
        }
        rulesets.retain(|rules| !rules.tables.is_empty());
        match &mut stack.netfilter {
            Some(netfilter) => netfilter.rewrite(&rulesets).map_err(|e| e.to_string())?,
            None => stack.netfilter = Some(Netfilter::build(&rulesets).map_err(|e| e.to_string())?),
        }
        stack.rulesets = rulesets;
        stack.tune();
        Ok(())
    }
}

fn holds(old: &Ruleset, rules: &Ruleset, table: &Table) -> bool {
    old.family == rules.family && is_of_script(old) && old.tables.iter().any(|t| t.name == table.name)
}
