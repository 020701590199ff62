//! Packet filter rules, typed once: built by the planner, read from a host, run by the simulator, rendered last.
//!
//! One form holds both iptables and nft: a base chain carries its hook and priority, so that whoever runs the rules
//! need not know which tool wrote them. [`iptables`] reads and writes the text of `iptables-save`, [`nft`] that of
//! `nft list`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::addr::{Family, IfName};

pub mod iptables;
mod matches;
pub mod nft;
mod target;

pub use matches::{
    AddrType, AddrTypeMatch, AddressSide, ConntrackMatch, CtState, HopLimitMatch, IcmpType, IfPattern, Is,
    MarkValue, Match, MultiportMatch, MultiportSide, PhysDevMatch, PortsMatch, Protocol, SetMatch,
    TcpFlagsMatch, TcpMatch,
};
pub use target::{NatRange, PortMap, RejectWith, Target};

/// All rules of one family in one network namespace, written by one tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Which tool's rules.
    pub backend: Backend,
    /// The tables, in the order they are written.
    pub tables: Vec<Table>,
}

/// The tool whose text a ruleset is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// `iptables-restore`, `ip6tables-restore`: tables are fixed, and so are their hooks and priorities.
    #[default]
    Iptables,
    /// `nft -f`: tables, hooks and priorities are free.
    Nft,
}

/// A table: `filter`, `nat`, `raw`, `mangle`, `security`, or any name in nft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// nft's verdict maps, in the order they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<VerdictMap>,
    /// The base chains, then the user's, in the order they are written.
    pub chains: Vec<Chain>,
}

/// A map of nft from devices to verdicts: `type ifname : verdict` (man 8 nft, MAPS).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictMap {
    /// Its name.
    pub name: String,
    /// For each device what becomes of a packet.
    pub elements: BTreeMap<IfName, Target>,
}

/// The device of a packet that a [`VerdictMap`] is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapKey {
    /// `iifname`: the one it came in by.
    InInterface,
    /// `oifname`: the one it leaves by.
    OutInterface,
}

/// A chain and its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it is hooked in; none for a chain that is only jumped to.
    pub base: Option<Base>,
    /// What passed it when it was saved.
    pub counters: Counters,
    /// The rules in order.
    pub rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The hook.
    pub hook: Hook,
    /// The priority: lower runs first (uapi/linux/netfilter_ipv4.h).
    pub priority: i32,
    /// Whether it is a chain that translates addresses: consulted once per flow.
    pub nat: bool,
    /// What becomes of a packet that no rule decides.
    pub policy: Policy,
}

/// A netfilter hook of the IP families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// Every packet that came in, before routing.
    Prerouting,
    /// For this namespace's own sockets.
    Input,
    /// Routed through.
    Forward,
    /// From this namespace's own sockets.
    Output,
    /// Everything on its way out.
    Postrouting,
}

impl Hook {
    /// The name iptables gives the hook's base chains.
    #[must_use]
    pub const fn chain(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }
}

/// A base chain's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// Let it pass.
    Accept,
    /// Drop it.
    Drop,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One rule: every match must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The matches, in the order they are written.
    pub matches: Vec<Match>,
    /// What happens then; a rule without a target only counts.
    pub target: Option<Target>,
    /// What it counted, where the text says (`iptables-save -c`).
    pub counters: Option<Counters>,
}

impl Rule {
    /// A rule that counts nothing yet.
    #[must_use]
    pub const fn new(matches: Vec<Match>, target: Target) -> Self {
        Self { matches, target: Some(target), counters: None }
    }
}

impl Ruleset {
    /// The table of a name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }
}

impl Table {
    /// The chain of a name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|c| c.name == name)
    }

    /// The chains that a rule may go on in: where it jumps, or where its map's elements do.
    pub fn leads<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a str> {
        let named = if let Some(Target::Vmap { map, .. }) = &rule.target { Some(map) } else { None };
        let map = named.and_then(|name| self.maps.iter().find(|m| m.name == *name));
        let verdicts = map.into_iter().flat_map(|map| map.elements.values());
        rule.target.iter().chain(verdicts).filter_map(Target::chain)
    }
}
