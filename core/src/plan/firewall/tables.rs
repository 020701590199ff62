//! The tables of one family, and the edits dockerd makes to them (daemon/libnetwork/iptables).

use crate::addr::{Family, IpNet};
use crate::engine::{Filter, Profile};
use crate::rules::iptables::{empty_table, table_order};
use crate::rules::{
    AddrType, AddrTypeMatch, Backend, Chain, Counters, IfPattern, Is, Match, Policy, Rule, Ruleset, Table,
    Target,
};

/// A place for a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before all others.
    Head,
    /// Behind all others.
    Tail,
}

/// A rule dockerd adds to a chain, unless it stands there already, and takes away again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// The table.
    pub(super) table: &'static str,
    /// The chain.
    pub(super) chain: &'static str,
    /// Where in the chain.
    pub(super) place: Place,
    /// The rule.
    pub(super) rule: Rule,
}

impl Edit {
    /// A rule before all others.
    pub(super) fn insert(
        table: &'static str,
        chain: &'static str,
        matches: Vec<Match>,
        target: Target,
    ) -> Self {
        Self { table, chain, place: Place::Head, rule: Rule::new(matches, target) }
    }

    /// A rule behind all others.
    pub(super) fn append(
        table: &'static str,
        chain: &'static str,
        matches: Vec<Match>,
        target: Target,
    ) -> Self {
        Self { table, chain, place: Place::Tail, rule: Rule::new(matches, target) }
    }
}

/// The tables of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tables(Vec<Table>);

impl Tables {
    /// Takes over rules that stand already.
    pub(super) fn extend(&mut self, before: &Ruleset) {
        for table in &before.tables {
            self.0.retain(|t| t.name != table.name);
            self.0.push(table.clone());
        }
    }

    /// Makes edits in order.
    pub(super) fn apply(&mut self, edits: &[Edit]) {
        for edit in edits {
            let rules = &mut self.chain(edit.table, edit.chain).rules;
            if rules.iter().any(|r| same(r, &edit.rule)) {
                continue;
            }
            match edit.place {
                Place::Head => rules.insert(0, edit.rule.clone()),
                Place::Tail => rules.push(edit.rule.clone()),
            }
        }
    }

    /// Takes back what edits made.
    pub(super) fn undo(&mut self, edits: &[Edit]) {
        for edit in edits {
            self.delete(edit.table, edit.chain, &edit.rule);
        }
    }

    fn delete(&mut self, table: &str, chain: &str, rule: &Rule) {
        let rules = &mut self.chain(table, chain).rules;
        if let Some(at) = rules.iter().position(|r| same(r, rule)) {
            rules.remove(at);
        }
    }

    /// A jump that stands first, wherever it stood before (`EnsureJumpRule`).
    pub(super) fn ensure_jump(&mut self, table: &'static str, chain: &'static str, to: &str) {
        let edit = Edit::insert(table, chain, Vec::new(), Target::Jump(to.to_owned()));
        self.delete(table, chain, &edit.rule);
        self.apply(&[edit]);
    }

    /// What is for the host goes by DOCKER's DNAT rules; where docker-proxy runs, not what the host sends to itself.
    pub(super) fn jump_to_nat(&mut self, family: Family, hairpin: bool) {
        let local = || {
            let destination = Some(Is::a(vec![AddrType::Local]));
            Match::AddrType(AddrTypeMatch { destination, ..AddrTypeMatch::default() })
        };
        let to_docker = || Target::Jump("DOCKER".to_owned());
        let not_loopback = (!hairpin).then(|| Match::Destination(Is::not(loopback(family))));
        self.apply(&[
            Edit::append("nat", "PREROUTING", vec![local()], to_docker()),
            Edit::append("nat", "OUTPUT", not_loopback.into_iter().chain([local()]).collect(), to_docker()),
        ]);
    }

    /// Empties a chain, and makes it if it is not there.
    fn fresh_chain(&mut self, table: &'static str, chain: &'static str) {
        self.chain(table, chain).rules.clear();
    }

    /// Sets the policy of a base chain.
    pub(super) fn set_policy(&mut self, table: &'static str, chain: &'static str, policy: Policy) {
        self.chain(table, chain).base.iter_mut().for_each(|base| base.policy = policy);
    }

    /// A chain, with its table; both are made if they are not there.
    fn chain(&mut self, table: &str, chain: &str) -> &mut Chain {
        let table = at_or_push(&mut self.0, |t| t.name == table, || empty_table(table));
        at_or_push(
            &mut table.chains,
            |c| c.name == chain,
            || Chain { name: chain.to_owned(), base: None, counters: Counters::default(), rules: Vec::new() },
        )
    }

    /// All of it in the order of `iptables-save`: tables in their fixed order, a table's own chains by name.
    pub(super) fn ruleset(&self, family: Family) -> Ruleset {
        let mut tables = self.0.clone();
        tables.sort_by_key(|t| table_order(&t.name));
        for table in &mut tables {
            let base = |c: &Chain| c.base.is_some();
            let mut own: Vec<_> = table.chains.iter().filter(|c| !base(c)).cloned().collect();
            own.sort_by(|a, b| a.name.cmp(&b.name));
            table.chains.retain(base);
            table.chains.extend(own);
        }
        Ruleset { family, backend: Backend::Iptables, tables }
    }
}

/// Whether two rules are one, whatever they counted. Docker's rules differ soonest in their targets.
fn same(a: &Rule, b: &Rule) -> bool {
    a.target == b.target && a.matches == b.matches
}

/// The item that is meant, which is added at the end if it is not there.
fn at_or_push<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
    let at = items.iter().position(is).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    });
    &mut items[at]
}

/// Docker's chains in `filter` that DOCKER-FORWARD jumps to, in the order it does.
const fn forward_chains(filter: Filter) -> &'static [&'static str] {
    match filter {
        Filter::Forward => &[],
        Filter::Stages => &["DOCKER-CT", "DOCKER-ISOLATION-STAGE-1", "DOCKER-BRIDGE"],
        Filter::Internal => &["DOCKER-CT", "DOCKER-INTERNAL", "DOCKER-BRIDGE"],
    }
}

/// Docker's other chains in `filter`.
const fn other_chains(filter: Filter) -> &'static [&'static str] {
    match filter {
        Filter::Forward => &["DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"],
        Filter::Stages => &["DOCKER", "DOCKER-FORWARD", "DOCKER-ISOLATION-STAGE-2"],
        Filter::Internal => &["DOCKER", "DOCKER-FORWARD"],
    }
}

/// The daemon starts: its chains are made, and the jumps to them (`setupIPChains`, `setupUserChain`).
pub(super) fn start(tables: &mut Tables, profile: Profile, family: Family, hairpin: bool) {
    let filter = profile.filter();
    for chain in forward_chains(filter).iter().chain(other_chains(filter)) {
        tables.fresh_chain("filter", chain);
    }
    tables.fresh_chain("nat", "DOCKER");
    match filter {
        Filter::Forward => {
            for chain in ["DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"] {
                tables.apply(&[Edit::append("filter", chain, Vec::new(), Target::Return)]);
            }
        }
        Filter::Stages | Filter::Internal => {
            tables.jump_to_nat(family, hairpin);
            tables.ensure_jump("filter", "FORWARD", "DOCKER-FORWARD");
        }
    }
    for chain in forward_chains(filter).iter().rev() {
        tables.ensure_jump("filter", "DOCKER-FORWARD", chain);
    }
    if profile.has_user_chain(family) {
        // The user's chain keeps its rules.
        tables.chain("filter", "DOCKER-USER");
        if profile.user_chain_returns() {
            tables.apply(&[Edit::append("filter", "DOCKER-USER", Vec::new(), Target::Return)]);
        }
        tables.ensure_jump("filter", "FORWARD", "DOCKER-USER");
    }
}

fn loopback(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)),
        Family::V6 => IpNet::from(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)),
    }
}

/// `-i BRIDGE`.
pub(super) fn from(device: &str) -> Match {
    Match::InInterface(Is::a(IfPattern(device.to_owned())))
}

/// `! -i BRIDGE`.
pub(super) fn not_from(device: &str) -> Match {
    Match::InInterface(Is::not(IfPattern(device.to_owned())))
}

/// `-o BRIDGE`.
pub(super) fn to(device: &str) -> Match {
    Match::OutInterface(Is::a(IfPattern(device.to_owned())))
}

/// `! -o BRIDGE`.
pub(super) fn not_to(device: &str) -> Match {
    Match::OutInterface(Is::not(IfPattern(device.to_owned())))
}
