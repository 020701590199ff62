//! Rules made ready to run: flat arrays of chains, rules and conditions, and for each hook what runs in which order.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::addr::{Family, IfName};
use seatrial_core::rules::{
    Backend, Base, Chain, Hook, MapKey, MarkValue, NatRange, Policy, PortMap, RejectWith, Rule, Ruleset,
    Table, Target, VerdictMap,
};
use smol_str::SmolStr;

use super::check::{RulesError, check};
use super::condition::Condition;
use super::index::Index;

/// Priority of conntrack at PREROUTING and OUTPUT (`NF_IP_PRI_CONNTRACK`).
const CONNTRACK: i32 = -200;
/// Priority of destination NAT (`NF_IP_PRI_NAT_DST`).
const NAT_DST: i32 = -100;
/// Priority of source NAT (`NF_IP_PRI_NAT_SRC`).
const NAT_SRC: i32 = 100;
/// Priority of confirmation (`NF_IP_PRI_CONNTRACK_CONFIRM`).
const CONFIRM: i32 = i32::MAX;

/// The rules of both families.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// What they were made from: the words of a trace.
    sources: Vec<Arc<Ruleset>>,
    v4: Arc<Code>,
    v6: Arc<Code>,
}

/// The rules of one family.
#[derive(Debug, Clone, Default)]
pub(super) struct Code {
    /// All chains.
    pub chains: Vec<ChainCode>,
    /// All rules, chain by chain.
    pub rules: Vec<RuleCode>,
    /// All conditions, rule by rule.
    pub conditions: Vec<Condition>,
    /// The verdict maps of nft, table by table.
    pub maps: Vec<MapCode>,
    steps: [Vec<Step>; 5],
    nat: [Vec<BaseChain>; 5],
}

/// What runs at a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A base chain that filters.
    Chain(BaseChain),
    /// `nf_conntrack_in`.
    Conntrack,
    /// The dispatcher of the hook's nat chains (`nf_nat_inet_fn`).
    Nat,
    /// `nf_conntrack_confirm`.
    Confirm,
}

/// A base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BaseChain {
    /// Its code.
    pub chain: usize,
    /// Which chain of the source.
    pub at: ChainAt,
    /// Where it stands in its hook.
    pub base: Base,
}

/// A chain.
#[derive(Debug, Clone)]
pub(super) struct ChainCode {
    /// Its place among all.
    pub number: usize,
    /// Its rules.
    pub rules: Range<usize>,
    /// The way to them, where there are many.
    pub index: Option<Index>,
    /// Which chain of the source.
    pub at: ChainAt,
}

/// A verdict map: found at once, however many devices it has.
pub(super) type MapCode = IndexMap<IfName, Action, FxBuildHasher>;

/// A rule.
#[derive(Debug, Clone)]
pub(super) struct RuleCode {
    /// Its conditions.
    pub conditions: Range<usize>,
    /// What it does.
    pub action: Action,
    /// Which rule of the source.
    pub at: RuleAt,
    /// What a trace says of it, once it has been asked.
    pub words: OnceLock<Words>,
}

/// A rule in words.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub table: SmolStr,
    pub chain: SmolStr,
    pub text: SmolStr,
    pub verdict: SmolStr,
}

/// A chain of the source, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChainAt {
    ruleset: usize,
    table: usize,
    chain: usize,
}

/// A rule of the source, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RuleAt {
    /// Its chain.
    pub chain: ChainAt,
    /// Its position, from 0.
    pub index: usize,
}

/// A rule of the source, with the names around it.
pub(super) struct RuleSource<'a> {
    pub family: Family,
    pub backend: Backend,
    pub table: &'a str,
    pub chain: &'a str,
    pub number: usize,
    pub rule: &'a Rule,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Continue,
    Accept,
    Drop,
    Return,
    Jump(usize),
    Goto(usize),
    /// What a map says of the device, if it says anything.
    Vmap(MapKey, usize),
    Reject(RejectWith),
    Nat(NatAction),
    Mark(MarkValue),
    NoTrack,
    Unknown,
}

/// A translation a rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NatAction {
    Dnat(NatRange),
    Snat(NatRange),
    Masquerade(PortMap),
    Redirect(PortMap),
}

impl Rules {
    pub(super) fn build(rulesets: &[Arc<Ruleset>]) -> Result<Self, RulesError> {
        check(rulesets)?;
        let code = |family| Code::build(rulesets, family).into();
        Ok(Self { sources: rulesets.to_vec(), v4: code(Family::V4), v6: code(Family::V6) })
    }

    /// Others, that differ in one family alone; the other's stand where they stood.
    pub(super) fn rebuild(&self, rulesets: &[Arc<Ruleset>], family: Family) -> Result<Self, RulesError> {
        check(rulesets)?;
        let mut rules = Self { sources: rulesets.to_vec(), ..self.clone() };
        *rules.code_mut(family) = Code::build(rulesets, family).into();
        Ok(rules)
    }

    pub(super) fn code(&self, family: Family) -> &Code {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    const fn code_mut(&mut self, family: Family) -> &mut Arc<Code> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// Whether no hook does anything.
    pub(super) fn is_empty(&self) -> bool {
        [&self.v4, &self.v6].iter().all(|code| code.steps.iter().all(Vec::is_empty))
    }

    /// Looks at every rule of a chain, however many there are.
    #[cfg(test)]
    pub(super) fn forget_indexes(&mut self) {
        for family in Family::ALL {
            Arc::make_mut(self.code_mut(family)).chains.iter_mut().for_each(|chain| chain.index = None);
        }
    }

    fn source(&self, at: ChainAt) -> Option<(&Table, &Chain)> {
        let table = self.sources.get(at.ruleset)?.tables.get(at.table)?;
        Some((table, table.chains.get(at.chain)?))
    }

    /// The names of a chain and of its table.
    pub(super) fn chain_names(&self, at: ChainAt) -> (&str, &str) {
        self.source(at).map(|(table, chain)| (table.name.as_str(), chain.name.as_str())).unwrap_or_default()
    }

    /// A policy in the words of the tool that wrote it.
    pub(super) fn policy_name(&self, at: ChainAt, policy: Policy) -> &'static str {
        let nft = self.sources.get(at.ruleset).is_some_and(|r| r.backend == Backend::Nft);
        match (policy, nft) {
            (Policy::Accept, false) => "ACCEPT",
            (Policy::Drop, false) => "DROP",
            (Policy::Accept, true) => "accept",
            (Policy::Drop, true) => "drop",
        }
    }

    /// A rule as it was written, with the names around it.
    pub(super) fn rule_source(&self, at: RuleAt) -> Option<RuleSource<'_>> {
        let (table, chain) = self.source(at.chain)?;
        let rule = chain.rules.get(at.index)?;
        let Ruleset { family, backend, .. } = **self.sources.get(at.chain.ruleset)?;
        Some(RuleSource {
            family,
            backend,
            table: &table.name,
            chain: &chain.name,
            number: at.index + 1,
            rule,
        })
    }
}

impl Code {
    /// What runs at a hook, in order.
    pub(super) fn steps(&self, hook: Hook) -> &[Step] {
        // A hook is its own index: five of each.
        self.steps.get(hook as usize).map_or(&[], Vec::as_slice)
    }

    /// The nat chains of a hook, in order.
    pub(super) fn nat(&self, hook: Hook) -> &[BaseChain] {
        self.nat.get(hook as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether conntrack's hooks are registered: only where a rule needs them (`nf_ct_netns_get`).
    pub(super) fn tracks(&self) -> bool {
        self.steps(Hook::Prerouting).contains(&Step::Conntrack)
    }

    fn build(rulesets: &[Arc<Ruleset>], family: Family) -> Self {
        let mut code = Self::default();
        let of_family = || rulesets.iter().filter(|ruleset| ruleset.family == family);
        let chains = || of_family().flat_map(|ruleset| &ruleset.tables).flat_map(|table| &table.chains);
        code.chains.reserve(chains().count());
        code.rules.reserve(chains().map(|chain| chain.rules.len()).sum());
        let mut bases = Vec::new();
        let mut tracks = false;
        for (r, ruleset) in rulesets.iter().enumerate().filter(|(_, ruleset)| ruleset.family == family) {
            for (t, table) in ruleset.tables.iter().enumerate() {
                let place = Place { table, chains: code.chains.len(), maps: code.maps.len() };
                code.maps.extend(table.maps.iter().map(|map| place.map(map)));
                for (c, chain) in table.chains.iter().enumerate() {
                    let at = ChainAt { ruleset: r, table: t, chain: c };
                    bases.extend(chain.base.map(|base| BaseChain { chain: code.chains.len(), at, base }));
                    tracks |= chain.rules.iter().any(needs_conntrack);
                    code.add_chain(at, &place, chain);
                }
            }
        }
        code.order(&bases, tracks);
        code
    }

    fn add_chain(&mut self, at: ChainAt, place: &Place<'_>, chain: &Chain) {
        let start = self.rules.len();
        for (index, rule) in chain.rules.iter().enumerate() {
            let conditions = self.conditions.len();
            rule.matches.iter().for_each(|of| Condition::add(&mut self.conditions, of));
            self.rules.push(RuleCode {
                conditions: conditions..self.conditions.len(),
                action: rule.target.as_ref().map_or(Action::Continue, |target| place.action(target)),
                at: RuleAt { chain: at, index },
                words: OnceLock::new(),
            });
        }
        let rules = self.rules.get(start..).unwrap_or_default();
        let conditions = rules.iter().map(|r| self.conditions.get(r.conditions.clone()).unwrap_or_default());
        let (number, index) = (self.chains.len(), Index::of(conditions));
        self.chains.push(ChainCode { number, rules: start..self.rules.len(), index, at });
    }

    /// Puts what runs at each hook in the order of priorities; of equal ones the last that was registered comes first
    /// (`nf_hook_entries_grow`, net/netfilter/core.c).
    fn order(&mut self, bases: &[BaseChain], tracks: bool) {
        // One nat chain brings the dispatcher to all four hooks (`nf_nat_register_fn`), but without conntrack it does nothing.
        let nat = tracks && bases.iter().any(|b| b.base.nat);
        for hook in [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting] {
            let mut steps = Vec::new();
            if tracks {
                steps.extend(conntrack_steps(hook));
            }
            if nat {
                steps.extend(nat_priority(hook).map(|priority| (priority, Step::Nat)));
            }
            let here = || bases.iter().rev().filter(|b| b.base.hook == hook);
            steps.extend(here().filter(|b| !b.base.nat).map(|&b| (b.base.priority, Step::Chain(b))));
            steps.sort_by_key(|(priority, _)| *priority);
            let mut nat: Vec<BaseChain> = here().filter(|b| b.base.nat).copied().collect();
            nat.sort_by_key(|b| b.base.priority);
            if let (Some(at), Some(nat_at)) =
                (self.steps.get_mut(hook as usize), self.nat.get_mut(hook as usize))
            {
                *at = steps.into_iter().map(|(_, step)| step).collect();
                *nat_at = nat;
            }
        }
    }
}

/// Conntrack's own places: it looks up where packets come from, and confirms where they leave.
fn conntrack_steps(hook: Hook) -> Option<(i32, Step)> {
    match hook {
        Hook::Prerouting | Hook::Output => Some((CONNTRACK, Step::Conntrack)),
        Hook::Input | Hook::Postrouting => Some((CONFIRM, Step::Confirm)),
        Hook::Forward => None,
    }
}

const fn nat_priority(hook: Hook) -> Option<i32> {
    match hook {
        Hook::Prerouting | Hook::Output => Some(NAT_DST),
        Hook::Input | Hook::Postrouting => Some(NAT_SRC),
        Hook::Forward => None,
    }
}

/// Whether a rule's match or target asks for conntrack (`nf_ct_netns_get` in its `checkentry`).
fn needs_conntrack(rule: &Rule) -> bool {
    rule.matches.iter().any(Condition::needs_conntrack)
        || match &rule.target {
            Some(Target::Dnat(_) | Target::Snat(_) | Target::Masquerade(_) | Target::Redirect(_)) => true,
            Some(Target::Other { name, .. }) => matches!(name.as_str(), "CT" | "CONNMARK" | "NETMAP"),
            Some(
                Target::Accept
                | Target::Drop
                | Target::Return
                | Target::Jump(_)
                | Target::Goto(_)
                | Target::Vmap { .. }
                | Target::Reject(_)
                | Target::Mark(_)
                | Target::NoTrack { .. }
                | Target::Watch { .. },
            )
            | None => false,
        }
}

/// A table, and where its chains and its maps begin among all.
struct Place<'a> {
    table: &'a Table,
    chains: usize,
    maps: usize,
}

impl Place<'_> {
    fn chain(&self, name: &str) -> Option<usize> {
        self.table.chains.iter().position(|c| c.name == name).map(|i| self.chains + i)
    }

    fn map(&self, map: &VerdictMap) -> MapCode {
        map.elements.iter().map(|(device, target)| (device.clone(), self.action(target))).collect()
    }

    fn action(&self, target: &Target) -> Action {
        match target {
            Target::Watch { .. } => Action::Continue,
            Target::Accept => Action::Accept,
            Target::Drop => Action::Drop,
            Target::Return => Action::Return,
            // `check` has refused a chain or a map that is not there.
            Target::Jump(name) => self.chain(name).map_or(Action::Unknown, Action::Jump),
            Target::Goto(name) => self.chain(name).map_or(Action::Unknown, Action::Goto),
            Target::Vmap { key, map } => {
                let place = self.table.maps.iter().position(|m| m.name == *map);
                place.map_or(Action::Unknown, |place| Action::Vmap(*key, self.maps + place))
            }
            Target::Reject(with) => Action::Reject(*with),
            Target::Dnat(range) => Action::Nat(NatAction::Dnat(*range)),
            Target::Snat(range) => Action::Nat(NatAction::Snat(*range)),
            Target::Masquerade(ports) => Action::Nat(NatAction::Masquerade(*ports)),
            Target::Redirect(ports) => Action::Nat(NatAction::Redirect(*ports)),
            Target::Mark(value) => Action::Mark(*value),
            Target::NoTrack { .. } => Action::NoTrack,
            Target::Other { .. } => Action::Unknown,
        }
    }
}
