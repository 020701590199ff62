//! What the kernel refuses when rules are loaded, refused here too: no packet meets a rule that cannot run.

use std::collections::BTreeMap;
use std::sync::Arc;

use seatrial_core::rules::{Chain, Hook, Ruleset, Table, Target};
use thiserror::Error;

/// How deep jumps may go (`NFT_JUMP_STACK_SIZE`, net/netfilter/nf_tables_api.c).
pub(super) const DEPTH: usize = 16;

/// Why rules cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RulesError {
    /// A jump to nowhere.
    #[error("table {table}, chain {chain}, rule {number}: there is no chain '{target}' in this table")]
    NoChain {
        /// The table.
        table: String,
        /// The chain the rule stands in.
        chain: String,
        /// Its number from 1.
        number: usize,
        /// The chain it names.
        target: String,
    },
    /// A question to a map that is not there.
    #[error("table {table}, chain {chain}, rule {number}: there is no map '{map}' in this table")]
    NoMap {
        /// The table.
        table: String,
        /// The chain the rule stands in.
        chain: String,
        /// Its number from 1.
        number: usize,
        /// The map it names.
        map: String,
    },
    /// Jumps that come back to where they began, or go deeper than the kernel takes.
    #[error("table {table}, chain {chain}: jumps loop, or go deeper than {DEPTH} chains")]
    Loop {
        /// The table.
        table: String,
        /// The chain where it was noticed.
        chain: String,
    },
    /// A target where the kernel does not take it.
    #[error("table {table}, chain {chain}, rule {number}: this target may not be used at {}", .hook.chain())]
    Misplaced {
        /// The table.
        table: String,
        /// The chain the rule stands in.
        chain: String,
        /// Its number from 1.
        number: usize,
        /// The hook it can be reached from.
        hook: Hook,
    },
}

/// Follows every jump from every base chain.
pub(super) fn check(rulesets: &[Arc<Ruleset>]) -> Result<(), RulesError> {
    for table in rulesets.iter().flat_map(|r| &r.tables) {
        for chain in &table.chains {
            named(table, chain)?;
            if let Some(base) = chain.base {
                follow(table, chain, (base.hook, base.nat), 0, &mut BTreeMap::new())?;
            }
        }
    }
    Ok(())
}

/// Whether every chain that is jumped to is there.
fn named(table: &Table, chain: &Chain) -> Result<(), RulesError> {
    for (index, rule) in chain.rules.iter().enumerate() {
        let place = || (table.name.clone(), chain.name.clone(), index + 1);
        if let Some(missing) = table.leads(rule).find(|name| table.chain(name).is_none()) {
            let ((table, chain, number), target) = (place(), missing.to_owned());
            return Err(RulesError::NoChain { table, chain, number, target });
        }
        if let Some(Target::Vmap { map, .. }) = &rule.target
            && !table.maps.iter().any(|m| m.name == *map)
        {
            let ((table, chain, number), map) = (place(), map.clone());
            return Err(RulesError::NoMap { table, chain, number, map });
        }
    }
    Ok(())
}

/// Follows the jumps of a chain; `deepest` is how deep each chain was reached already.
fn follow<'a>(
    table: &'a Table,
    chain: &'a Chain,
    from: (Hook, bool),
    depth: usize,
    deepest: &mut BTreeMap<&'a str, usize>,
) -> Result<(), RulesError> {
    if depth > DEPTH {
        return Err(RulesError::Loop { table: table.name.clone(), chain: chain.name.clone() });
    }
    if deepest.get(chain.name.as_str()).is_some_and(|seen| *seen >= depth) {
        return Ok(());
    }
    deepest.insert(&chain.name, depth);
    for (index, rule) in chain.rules.iter().enumerate() {
        for next in table.leads(rule).filter_map(|name| table.chain(name)) {
            follow(table, next, from, depth + 1, deepest)?;
        }
        if rule.target.as_ref().is_some_and(|target| !takes(from, target)) {
            return Err(RulesError::Misplaced {
                table: table.name.clone(),
                chain: chain.name.clone(),
                number: index + 1,
                hook: from.0,
            });
        }
    }
    Ok(())
}

/// Whether a hook takes a target (`.hooks` and `.table` of each `struct xt_target`; nft's reject: PREROUTING too).
const fn takes((hook, nat): (Hook, bool), target: &Target) -> bool {
    match target {
        Target::Dnat(_) | Target::Redirect(_) => nat && matches!(hook, Hook::Prerouting | Hook::Output),
        Target::Snat(_) => nat && matches!(hook, Hook::Postrouting | Hook::Input),
        Target::Masquerade(_) => nat && matches!(hook, Hook::Postrouting),
        Target::Reject(_) => !nat && !matches!(hook, Hook::Postrouting),
        Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Jump(_)
        | Target::Goto(_)
        | Target::Vmap { .. }
        | Target::Mark(_)
        | Target::NoTrack { .. }
        | Target::Watch { .. }
        | Target::Other { .. } => true,
    }
}
