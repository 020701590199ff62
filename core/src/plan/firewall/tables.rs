//! The tables of one family, and the edits dockerd makes to them (daemon/libnetwork/iptables).

use std::collections::BTreeSet;

use super::network::{STAGE_1, STAGE_2, replies};
use crate::addr::{Family, IpNet};
use crate::engine::{Filter, Profile};
use crate::rules::iptables::{empty_table, table_order};
use crate::rules::{
    AddrType, AddrTypeMatch, AddressSide, Backend, Chain, Counters, IfPattern, Is, Match, Policy, Rule,
    Ruleset, SetMatch, Table, Target,
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

    /// A chain that stands.
    fn standing(&mut self, table: &str, chain: &str) -> Option<&mut Chain> {
        let table = self.0.iter_mut().find(|t| t.name == table)?;
        table.chains.iter_mut().find(|c| c.name == chain)
    }

    /// Empties a chain that stands, and takes it away where no rule leads to it any more (`-F`, `-X`).
    fn remove_chain(&mut self, table: &str, chain: &str) {
        let Some(table) = self.0.iter_mut().find(|t| t.name == table) else { return };
        table.chains.iter_mut().filter(|c| c.name == chain).for_each(|c| c.rules.clear());
        let rules = table.chains.iter().flat_map(|c| &c.rules);
        let is_led_to = rules.filter_map(|rule| rule.target.as_ref()?.chain()).any(|to| to == chain);
        if !is_led_to {
            table.chains.retain(|c| c.name != chain);
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
        self.ensure(Edit::insert(table, chain, Vec::new(), Target::Jump(to.to_owned())));
    }

    fn ensure(&mut self, edit: Edit) {
        self.delete(edit.table, edit.chain, &edit.rule);
        self.apply(&[edit]);
    }

    /// What is in a set of networks from now on.
    pub(super) fn fill(&mut self, set: &str, networks: &BTreeSet<IpNet>) {
        let rules = self.0.iter_mut().flat_map(|t| &mut t.chains).flat_map(|c| &mut c.rules);
        for asked in rules.flat_map(|rule| &mut rule.matches) {
            if let Match::Set(Is { value, .. }) = asked
                && value.name == set
            {
                value.networks = Some(networks.clone());
            }
        }
    }

    /// What is for the host goes by DOCKER's DNAT rules; where docker-proxy runs, not what the host sends to itself.
    pub(super) fn jump_to_nat(&mut self, family: Family, hairpin: bool) {
        let to_docker = || Target::Jump("DOCKER".to_owned());
        let not_loopback = (!hairpin).then(|| Match::Destination(Is::not(loopback(family))));
        self.apply(&[
            Edit::append("nat", "PREROUTING", vec![to_local()], to_docker()),
            Edit::append(
                "nat",
                "OUTPUT",
                not_loopback.into_iter().chain([to_local()]).collect(),
                to_docker(),
            ),
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
        Filter::Forward | Filter::Sets => &[],
        Filter::Stages => &["DOCKER-CT", "DOCKER-ISOLATION-STAGE-1", "DOCKER-BRIDGE"],
        Filter::Internal => &["DOCKER-CT", "DOCKER-INTERNAL", "DOCKER-BRIDGE"],
    }
}

/// Docker's other chains in `filter`.
const fn other_chains(filter: Filter) -> &'static [&'static str] {
    match filter {
        Filter::Forward | Filter::Sets => &["DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"],
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
        Filter::Sets => {
            tables.jump_to_nat(family, hairpin);
            let to_bridges = || to_set(bridges_set(family));
            let docker = Target::Jump("DOCKER".to_owned());
            tables.ensure(Edit::insert("filter", "FORWARD", vec![to_bridges()], docker));
            tables.ensure_jump("filter", "FORWARD", STAGE_1);
            tables.ensure(Edit::insert("filter", "FORWARD", vec![to_bridges(), replies()], Target::Accept));
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

/// A daemon that writes for nft comes where one has written for iptables: the chains of that one go, and what led to them
/// (`NewCleaner`, `removeIPChains`, 29). DOCKER-USER stays, and so do its networks' rules in other chains.
pub(super) fn clean(tables: &mut Tables, family: Family) {
    let jump = |matches, to: &str| Rule::new(matches, Target::Jump(to.to_owned()));
    // Somebody else's text does not say what is in a set.
    let to_bridges = || {
        let (name, side) = (bridges_set(family).to_owned(), AddressSide::Destination);
        Match::Set(Is::a(SetMatch { name, side, networks: None }))
    };
    let forward = [
        jump(Vec::new(), "DOCKER-FORWARD"),
        jump(Vec::new(), STAGE_1),
        jump(vec![to_bridges()], "DOCKER"),
        Rule::new(vec![to_bridges(), replies()], Target::Accept),
        jump(Vec::new(), "DOCKER-ISOLATION"),
    ];
    let Some(chain) = tables.standing("filter", "FORWARD") else { return };
    let is_docker = |rule: &Rule| forward.iter().take(2).any(|docker| same(rule, docker));
    if !chain.rules.iter().any(is_docker) {
        return;
    }
    chain.rules.retain(|rule| !forward.iter().any(|docker| same(rule, docker)));
    let not_loopback = || Match::Destination(Is::not(loopback(family)));
    let nat = [jump(vec![to_local()], "DOCKER"), jump(vec![not_loopback(), to_local()], "DOCKER")];
    for chain in ["PREROUTING", "OUTPUT"] {
        let rules = tables.standing("nat", chain).map(|c| &mut c.rules);
        rules.into_iter().for_each(|rules| rules.retain(|rule| !nat.iter().any(|docker| same(rule, docker))));
    }
    tables.remove_chain("nat", "DOCKER");
    for chain in DOCKERS {
        tables.remove_chain("filter", chain);
    }
}

/// Every chain in `filter` that a daemon has made, in the order they are taken away.
const DOCKERS: [&str; 8] = [
    "DOCKER-FORWARD",
    "DOCKER-BRIDGE",
    "DOCKER",
    "DOCKER-CT",
    "DOCKER-INTERNAL",
    STAGE_1,
    STAGE_2,
    "DOCKER-ISOLATION",
];

/// The set of the subnets of all networks that are not internal (28.0.0).
pub(super) const fn bridges_set(family: Family) -> &'static str {
    match family {
        Family::V4 => "docker-ext-bridges-v4",
        Family::V6 => "docker-ext-bridges-v6",
    }
}

/// `-m set --match-set NAME dst`, with nothing in it.
fn to_set(name: &str) -> Match {
    let networks = Some(BTreeSet::new());
    Match::Set(Is::a(SetMatch { name: name.to_owned(), side: AddressSide::Destination, networks }))
}

/// `-m addrtype --dst-type LOCAL`.
fn to_local() -> Match {
    let destination = Some(Is::a(vec![AddrType::Local]));
    Match::AddrType(AddrTypeMatch { destination, ..AddrTypeMatch::default() })
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
