//! Tables as they are written: rules are words still, since a set that they name may come later.

use std::collections::{BTreeMap, BTreeSet};

use super::rule;
use crate::addr::{Family, IfName};
use crate::rules::iptables::ParseError;
use crate::rules::nft::words::Word;
use crate::rules::{Base, Chain, Counters, Rule, Table, VerdictMap};

/// Whose packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `ip`.
    Ip,
    /// `ip6`.
    Ip6,
    /// `inet`: both.
    Inet,
}

impl Scope {
    /// The name nft gives it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        }
    }

    pub(super) const fn has(self, family: Family) -> bool {
        match (self, family) {
            (Self::Ip, Family::V4) | (Self::Ip6, Family::V6) | (Self::Inet, _) => true,
            (Self::Ip, Family::V6) | (Self::Ip6, Family::V4) => false,
        }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub(super) scope: Scope,
    pub(super) name: &'a str,
    /// Where it is first named.
    pub(super) at: Word<'a>,
    /// Sets and maps by name.
    pub(super) sets: BTreeMap<&'a str, SetDraft<'a>>,
    /// Their names in the order they were written.
    pub(super) order: Vec<&'a str>,
    pub(super) chains: Vec<ChainDraft<'a>>,
}

/// A set, or a map.
#[derive(Debug, Clone, Default)]
pub(super) struct SetDraft<'a> {
    /// `ifname`, `ipv4_addr . inet_service`; nothing where `typeof` says.
    pub(super) kind: String,
    /// What a map leads to: `verdict`.
    pub(super) to: Option<String>,
    /// Whether packets put elements in (`flags dynamic`).
    pub(super) dynamic: bool,
    pub(super) elements: Vec<Vec<Word<'a>>>,
}

/// A chain.
#[derive(Debug, Clone)]
pub(super) struct ChainDraft<'a> {
    pub(super) name: &'a str,
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Vec<Word<'a>>>,
}

impl<'a> Draft<'a> {
    /// The table as packets of a family meet it, its family before its name.
    pub(super) fn table(&self, family: Family, devices: &mut BTreeSet<IfName>) -> Result<Table, ParseError> {
        let mut maps = Vec::new();
        for name in &self.order {
            let set = self.sets.get(name).filter(|set| set.asks_devices());
            maps.extend(set.map(|set| self.map(name, set, family)).transpose()?);
        }
        let mut chains = Vec::new();
        for chain in &self.chains {
            let mut rules: Vec<Rule> = Vec::new();
            for words in &chain.rules {
                rules.extend(rule::read(words, self, family, devices)?);
            }
            chains.push(Chain {
                name: chain.name.to_owned(),
                base: chain.base,
                counters: Counters::default(),
                rules,
            });
        }
        Ok(Table { name: format!("{} {}", self.scope.name(), self.name), maps, chains })
    }

    /// A map from devices to verdicts.
    fn map(&self, name: &str, set: &SetDraft<'a>, family: Family) -> Result<VerdictMap, ParseError> {
        let mut map = VerdictMap { name: name.to_owned(), elements: BTreeMap::new() };
        for (key, verdict) in rule::mapped(&set.elements, family)? {
            let [device] = key.as_slice() else { continue };
            let name = super::value::device(*device)?;
            let name = name.parse().map_err(|_| device.expected("a device's name"))?;
            map.elements.insert(name, verdict);
        }
        Ok(map)
    }
}

impl SetDraft<'_> {
    /// Whether it is a map that is asked for one device.
    pub(super) fn asks_devices(&self) -> bool {
        self.kind == "ifname" && self.to.as_deref() == Some("verdict")
    }
}
