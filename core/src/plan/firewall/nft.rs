//! Docker's own table of nft, `docker-bridges`, one for each family (daemon/libnetwork/drivers/bridge/internal/nftabler,
//! 29.0 to 29.7).
//!
//! A packet between a bridge and elsewhere finds the chains of that bridge by maps from devices to verdicts, so that it
//! meets no rule of another network but those of `raw-PREROUTING` and of published ports. Rules of one chain stand in
//! groups, each group in the order its rules came. Nothing is inserted before what stands, and no policy is ever set.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::{Family, IfName, IpNet};
use crate::rules::{
    AddrType, AddrTypeMatch, Base, Chain, ConntrackMatch, Counters, CtState, Hook, Is, MapKey, Match, Policy,
    Rule, Table, Target, VerdictMap,
};

mod endpoint;
mod network;

pub(super) use endpoint::{guard, link};

/// The table's name, in both families.
pub(super) const TABLE: &str = "docker-bridges";
/// The chain of published ports.
const NAT: &str = "nat-prerouting-and-output";
/// The chain that guards addresses before anything else sees a packet.
const RAW: &str = "raw-PREROUTING";

/// The maps that lead to the chains of one bridge, in the order nft lists them; a chain is called by what its map is,
/// and the bridge.
const MAPS: [(&str, &str); 4] = [
    ("filter-forward-in-jumps", FORWARD_IN),
    ("filter-forward-out-jumps", FORWARD_OUT),
    ("nat-postrouting-in-jumps", POSTROUTING_IN),
    ("nat-postrouting-out-jumps", POSTROUTING_OUT),
];
/// What is forwarded to a bridge.
const FORWARD_IN: &str = "filter-forward-in__";
/// What is forwarded from a bridge.
const FORWARD_OUT: &str = "filter-forward-out__";
/// What leaves the host by a bridge.
const POSTROUTING_IN: &str = "nat-postrouting-in__";
/// What came by a bridge and leaves the host.
const POSTROUTING_OUT: &str = "nat-postrouting-out__";

/// Where a rule stands in its chain: behind all of its own group and of those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Initial,
    FwMark,
    Links,
    Icc,
    Ports,
    Final,
}

/// Something dockerd makes, and takes away again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// The chains of a bridge, and the ways to them.
    Chains(IfName),
    /// A rule, unless it stands there already.
    Rule { chain: String, group: Group, rule: Box<Rule> },
}

impl Edit {
    /// A rule in a chain of a bridge, or of all.
    fn rule(chain: impl Into<String>, group: Group, matches: Vec<Match>, target: Target) -> Self {
        Self::Rule { chain: chain.into(), group, rule: Box::new(Rule::new(matches, target)) }
    }

    /// The same rule with a comment.
    fn says(mut self, comment: &str) -> Self {
        if let Self::Rule { rule, .. } = &mut self {
            rule.matches.push(Match::Comment(comment.to_owned()));
        }
        self
    }
}

/// A chain whose rules stand in groups.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grouped {
    name: String,
    base: Option<Base>,
    rules: Vec<(Group, Rule)>,
}

/// The table of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bridges {
    maps: Vec<VerdictMap>,
    chains: Vec<Grouped>,
}

impl Bridges {
    /// The daemon starts (`NewNftabler`).
    pub(super) fn start(family: Family, hairpin: bool) -> Self {
        let maps = MAPS.map(|(name, _)| VerdictMap { name: name.to_owned(), elements: Default::default() });
        let mut bridges = Self { maps: maps.to_vec(), chains: bases() };
        let ask = |chain: &str, key, map: &str| {
            Edit::rule(chain, Group::Initial, Vec::new(), Target::Vmap { key, map: map.to_owned() })
        };
        let to_nat = || Target::Jump(NAT.to_owned());
        // A packet for a loopback address goes to docker-proxy, where there is one.
        let not_loopback = (!hairpin).then(|| Match::Destination(Is::not(loopback(family))));
        let local = not_loopback.into_iter().chain([to_local()]).collect();
        bridges.apply(&[
            ask("filter-FORWARD", MapKey::OutInterface, "filter-forward-in-jumps"),
            ask("filter-FORWARD", MapKey::InInterface, "filter-forward-out-jumps"),
            ask("nat-POSTROUTING", MapKey::InInterface, "nat-postrouting-out-jumps"),
            ask("nat-POSTROUTING", MapKey::OutInterface, "nat-postrouting-in-jumps"),
            Edit::rule("nat-PREROUTING", Group::Initial, vec![to_local()], to_nat()),
            Edit::rule("nat-OUTPUT", Group::Initial, local, to_nat()),
        ]);
        bridges
    }

    /// Makes edits in order.
    pub(super) fn apply(&mut self, edits: &[Edit]) {
        for edit in edits {
            match edit {
                Edit::Chains(bridge) => self.add_chains(bridge),
                Edit::Rule { chain, group, rule } => self.add_rule(chain, *group, rule),
            }
        }
    }

    /// Takes back what edits made.
    pub(super) fn undo(&mut self, edits: &[Edit]) {
        for edit in edits.iter().rev() {
            match edit {
                Edit::Chains(bridge) => self.remove_chains(bridge),
                Edit::Rule { chain, rule, .. } => self.remove_rule(chain, rule),
            }
        }
    }

    /// As `nft list table` tells it: base chains by name, then those of the bridges in the order these came.
    pub(super) fn table(&self) -> Table {
        let chain = |chain: &Grouped| Chain {
            name: chain.name.clone(),
            base: chain.base,
            counters: Counters::default(),
            rules: chain.rules.iter().map(|(_, rule)| rule.clone()).collect(),
        };
        Table {
            name: TABLE.to_owned(),
            maps: self.maps.clone(),
            chains: self.chains.iter().map(chain).collect(),
        }
    }

    fn add_chains(&mut self, bridge: &IfName) {
        for (map, (_, chain)) in self.maps.iter_mut().zip(MAPS) {
            let name = format!("{chain}{bridge}");
            map.elements.insert(bridge.clone(), Target::Jump(name.clone()));
            self.chains.push(Grouped { name, base: None, rules: Vec::new() });
        }
    }

    fn remove_chains(&mut self, bridge: &IfName) {
        self.maps.iter_mut().for_each(|map| _ = map.elements.remove(bridge));
        let of_bridge = MAPS.map(|(_, chain)| format!("{chain}{bridge}"));
        self.chains.retain(|chain| !of_bridge.contains(&chain.name));
    }

    fn add_rule(&mut self, chain: &str, group: Group, rule: &Rule) {
        let Some(chain) = self.chains.iter_mut().find(|c| c.name == chain) else { return };
        if chain.rules.iter().all(|(_, standing)| standing != rule) {
            let place = chain.rules.partition_point(|(standing, _)| *standing <= group);
            chain.rules.insert(place, (group, rule.clone()));
        }
    }

    fn remove_rule(&mut self, chain: &str, rule: &Rule) {
        let Some(chain) = self.chains.iter_mut().find(|c| c.name == chain) else { return };
        if let Some(place) = chain.rules.iter().position(|(_, standing)| standing == rule) {
            chain.rules.remove(place);
        }
    }
}

/// The chains that stand before any bridge, in the order of their names.
fn bases() -> Vec<Grouped> {
    let base = |name: &str, base: Option<(Hook, i32, bool)>| Grouped {
        name: name.to_owned(),
        base: base.map(|(hook, priority, nat)| Base { hook, priority, nat, policy: Policy::Accept }),
        rules: Vec::new(),
    };
    vec![
        base("filter-FORWARD", Some((Hook::Forward, 0, false))),
        base("nat-OUTPUT", Some((Hook::Output, -100, true))),
        base("nat-POSTROUTING", Some((Hook::Postrouting, 100, true))),
        base("nat-PREROUTING", Some((Hook::Prerouting, -100, true))),
        base(NAT, None),
        base(RAW, Some((Hook::Prerouting, -300, false))),
    ]
}

/// `fib daddr type local`.
fn to_local() -> Match {
    let destination = Some(Is::a(vec![AddrType::Local]));
    Match::AddrType(AddrTypeMatch { destination, ..AddrTypeMatch::default() })
}

/// `ct state established,related`.
fn replies() -> Match {
    let state = Some(Is::a(vec![CtState::Established, CtState::Related]));
    Match::Conntrack(ConntrackMatch { state, ..ConntrackMatch::default() })
}

/// The chain of a bridge.
fn chain_of(chain: &str, bridge: &IfName) -> String {
    format!("{chain}{bridge}")
}

fn loopback(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        Family::V6 => IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    }
}
