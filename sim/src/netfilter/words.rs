//! Verdicts put into words.

use seatrial_core::rules::{Backend, CtState, Match, Rule, Target, nft};
use smol_str::SmolStr;

use super::compile::{RuleAt, RuleSource, Rules, Words};
use super::{Cause, Netfilter, Why};

impl Netfilter {
    /// What decided a drop or a rejection, in words.
    #[must_use]
    pub fn why(&self, cause: Cause) -> String {
        match cause.0 {
            Why::Rule(at) | Why::UnknownMatch(at) | Why::UnknownTarget(at) => self.place(at),
            Why::Nat(at, why) => format!("{why}: {}", self.place(at)),
            Why::Conntrack(why) => format!("nf_conntrack: {why}"),
            Why::Policy(at, policy) => {
                let (table, chain) = self.rules.chain_names(at);
                format!("the policy of {table} {chain}: {}", self.rules.policy_name(at, policy))
            }
        }
    }

    /// The rule that a verdict depends on, and what it asks.
    #[must_use]
    pub fn depends(&self, cause: Cause) -> (String, String) {
        let (at, of_match) = match cause.0 {
            Why::UnknownMatch(at) => (at, true),
            Why::Rule(at) | Why::UnknownTarget(at) | Why::Nat(at, _) => (at, false),
            Why::Conntrack(_) | Why::Policy(..) => return (self.why(cause), String::new()),
        };
        let Some(source) = self.rules.rule_source(at) else { return Default::default() };
        let what = if of_match { unknown_match(source.rule) } else { unknown_target(source.rule) };
        (source.text(), what.unwrap_or_default())
    }

    /// A rule with its place: `filter DOCKER 3: -A DOCKER -j DROP`.
    fn place(&self, at: RuleAt) -> String {
        self.rules.rule_source(at).map_or_else(String::new, |source| {
            let RuleSource { table, chain, number, .. } = &source;
            format!("{table} {chain} {number}: {}", source.text())
        })
    }
}

impl Rules {
    /// A rule in words.
    pub(super) fn words(&self, at: RuleAt) -> Words {
        let source = self.rule_source(at);
        let say = |what: fn(&RuleSource<'_>) -> SmolStr| source.as_ref().map(what).unwrap_or_default();
        Words {
            table: say(|source| source.table.into()),
            chain: say(|source| source.chain.into()),
            text: say(|source| source.text().into()),
            verdict: say(|source| source.verdict().into()),
        }
    }
}

impl RuleSource<'_> {
    /// The rule as `iptables -S` or `nft list` writes it.
    pub(super) fn text(&self) -> String {
        let by_iptables = || self.rule.command(self.chain);
        match self.backend {
            Backend::Iptables => by_iptables(),
            Backend::Nft => nft::rule(self.family, self.rule).unwrap_or_else(|_| by_iptables()),
        }
    }

    /// What the rule does, in a word.
    pub(super) fn verdict(&self) -> String {
        let verdict = self.verdict_of_iptables();
        let names_a_chain = self.rule.target.as_ref().is_some_and(|target| target.chain().is_some());
        match self.backend {
            Backend::Nft if !names_a_chain => verdict.to_lowercase(),
            Backend::Iptables | Backend::Nft => verdict,
        }
    }

    fn verdict_of_iptables(&self) -> String {
        match &self.rule.target {
            None => "continue".to_owned(),
            Some(Target::Accept) => "ACCEPT".to_owned(),
            Some(Target::Drop) => "DROP".to_owned(),
            Some(Target::Return) => "RETURN".to_owned(),
            Some(Target::Jump(chain)) => format!("-> {chain}"),
            Some(Target::Goto(chain)) => format!("=> {chain}"),
            Some(Target::Vmap { map, .. }) => format!("@{map}"),
            Some(Target::Reject(_)) => "REJECT".to_owned(),
            Some(Target::Dnat(_)) => "DNAT".to_owned(),
            Some(Target::Snat(_)) => "SNAT".to_owned(),
            Some(Target::Masquerade(_)) => "MASQUERADE".to_owned(),
            Some(Target::Redirect(_)) => "REDIRECT".to_owned(),
            Some(Target::Mark(_)) => "MARK".to_owned(),
            Some(Target::NoTrack { .. }) => "NOTRACK".to_owned(),
            Some(Target::Watch { name, .. } | Target::Other { name, .. }) => name.clone(),
        }
    }
}

/// A translation that could not be made, by the rule that asked for it.
pub(super) const fn nat_cause(rule: Why, why: &'static str) -> Cause {
    if let Why::Rule(at) = rule { Cause(Why::Nat(at, why)) } else { Cause(rule) }
}

/// The first match that is not modelled, as it was written.
fn unknown_match(rule: &Rule) -> Option<String> {
    rule.matches.iter().find_map(|m| match m {
        Match::Other { module, options } if module == nft::AS_WRITTEN => Some(options.join(" ")),
        Match::Other { module, options } => {
            Some(format!("-m {module} {}", options.join(" ")).trim_end().to_owned())
        }
        Match::Set(set) if set.value.networks.is_none() => {
            Some(format!("-m set --match-set {}", set.value.name))
        }
        Match::Tcp(tcp) => tcp.option.map(|option| format!("--tcp-option {}", option.value)),
        Match::Source(_)
        | Match::Destination(_)
        | Match::InInterface(_)
        | Match::OutInterface(_)
        | Match::InInterfaces(_)
        | Match::Protocol(_)
        | Match::Fragment(_)
        | Match::Udp(_)
        | Match::Sctp(_)
        | Match::Icmp(_)
        | Match::AddrType(_)
        | Match::Conntrack(_)
        | Match::State(_)
        | Match::Mark(_)
        | Match::ConnMark(_)
        | Match::Comment(_)
        | Match::Multiport(_)
        | Match::PhysDev(_)
        | Match::Ttl(_)
        | Match::Set(_)
        | Match::HopLimit(_) => None,
    })
}

fn unknown_target(rule: &Rule) -> Option<String> {
    match &rule.target {
        Some(Target::Other { name, options }) if name == nft::AS_WRITTEN => Some(options.join(" ")),
        Some(Target::Other { name, options }) => {
            Some(format!("-j {name} {}", options.join(" ")).trim_end().to_owned())
        }
        Some(
            Target::Accept
            | Target::Drop
            | Target::Return
            | Target::Jump(_)
            | Target::Goto(_)
            | Target::Vmap { .. }
            | Target::Reject(_)
            | Target::Dnat(_)
            | Target::Snat(_)
            | Target::Masquerade(_)
            | Target::Redirect(_)
            | Target::Mark(_)
            | Target::NoTrack { .. }
            | Target::Watch { .. },
        )
        | None => None,
    }
}

/// A state as iptables writes it.
pub(super) const fn state(state: CtState) -> &'static str {
    match state {
        CtState::Invalid => "INVALID",
        CtState::New => "NEW",
        CtState::Related => "RELATED",
        CtState::Established => "ESTABLISHED",
        CtState::Untracked => "UNTRACKED",
        CtState::Snat => "SNAT",
        CtState::Dnat => "DNAT",
    }
}
