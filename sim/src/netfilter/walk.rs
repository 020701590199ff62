//! The walk of one base chain: which rule decides, and what is unknown about it (`ipt_do_table`, `nft_do_chain`).
//!
//! A rule that nobody can know to match is followed both ways. Where both come to the same, that is the outcome; where
//! they differ, the outcome hangs on that rule.

use std::ops::Range;

use seatrial_core::rules::{CtState, MapKey, MarkValue, Policy, RejectWith};

use super::Why;
use super::check::DEPTH;
use super::compile::{Action, BaseChain, ChainCode, Code, NatAction, RuleAt, RuleCode, Rules, Words};
use super::condition::{Known, View};
use super::log::Log;
use crate::trace::{Event, RuleHit};

/// How many times a walk may fork before it gives up knowing.
const FORKS: u32 = 256;

/// What a base chain came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome<'a> {
    pub end: End<'a>,
    /// The packet's mark afterwards.
    pub mark: u32,
    /// Whether a rule said that conntrack should leave the packet alone.
    pub untracked: bool,
    pub why: Why,
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End<'a> {
    Accept,
    Drop,
    Reject(RejectWith),
    Nat(&'a NatAction),
    /// `why` says what is unknown.
    Unknown,
}

impl Outcome<'_> {
    fn is_same(&self, other: &Self) -> bool {
        (self.end, self.mark, self.untracked) == (other.end, other.mark, other.untracked)
    }
}

/// Where a walk stands, and what the packet has become.
#[derive(Clone, Copy)]
struct Place<'a, 'v> {
    chain: &'a ChainCode,
    /// The next rule, of all.
    rule: usize,
    /// Where to go on; small, for every walk begins with one.
    stack: [(u32, u32); DEPTH],
    depth: usize,
    view: View<'v>,
    untracked: bool,
}

/// A fork that was not taken: what would have come of it.
struct Fork<'a> {
    outcome: Outcome<'a>,
    rule: RuleAt,
    /// How much was logged before it.
    logged: usize,
}

/// A walk through a family's rules.
pub(super) struct Walk<'a> {
    pub rules: &'a Rules,
    pub code: &'a Code,
    pub base: &'a BaseChain,
}

impl<'a> Walk<'a> {
    /// Runs the chain.
    pub(super) fn run(&self, view: View<'_>, log: &mut Log<'_>) -> Outcome<'a> {
        let chain = &self.code.chains[self.base.chain];
        let (rule, stack) = (chain.rules.start, [(0, 0); DEPTH]);
        let mut place = Place { chain, rule, stack, depth: 0, view, untracked: false };
        self.go(&mut place, log, &mut 0)
    }

    fn go(&self, place: &mut Place<'a, '_>, log: &mut Log<'_>, forks: &mut u32) -> Outcome<'a> {
        let mut fork: Option<Fork<'a>> = None;
        let mut differing: Option<Fork<'a>> = None;
        let outcome = loop {
            let Some(rule) = self.next_rule(place) else {
                break self.policy(place, log);
            };
            match self.matches(rule, &place.view) {
                Known::No => {}
                Known::Yes => {
                    let Some(action) = self.action(rule, &place.view) else { continue };
                    self.log_hit(rule, action, log);
                    if let Some(outcome) = self.act(rule, action, place) {
                        break outcome;
                    }
                }
                Known::Unknown => {
                    let Some(action) = self.action(rule, &place.view) else { continue };
                    *forks += 1;
                    let mut matched = *place;
                    let taken = if *forks > FORKS {
                        self.end(End::Unknown, place, Why::UnknownMatch(rule.at))
                    } else if let Some(outcome) = self.act(rule, action, &mut matched) {
                        outcome
                    } else {
                        self.go(&mut matched, &mut Log::none(), forks)
                    };
                    let new = Fork { outcome: taken, rule: rule.at, logged: log.len() };
                    match &fork {
                        None => fork = Some(new),
                        Some(first) if !first.outcome.is_same(&taken) && differing.is_none() => {
                            differing = Some(new);
                        }
                        Some(_) => {}
                    }
                }
            }
        };
        if fork.is_none() { outcome } else { decide(outcome, [fork, differing], log) }
    }

    /// The next rule, back out of chains that have ended; none where the base chain has.
    fn next_rule(&self, place: &mut Place<'a, '_>) -> Option<&'a RuleCode> {
        loop {
            let Range { start, end } = place.chain.rules;
            let next = match &place.chain.index {
                Some(index) => {
                    index.next(place.rule - start, place.view.packet).map_or(end, |number| start + number)
                }
                None => place.rule,
            };
            if next < end {
                place.rule = next + 1;
                return self.code.rules.get(next);
            }
            if !place.pop(self.code) {
                return None;
            }
        }
    }

    fn matches(&self, rule: &RuleCode, view: &View<'_>) -> Known {
        let mut known = Known::Yes;
        for condition in self.code.conditions.get(rule.conditions.clone()).unwrap_or_default() {
            match condition.holds(view) {
                Known::Yes => {}
                // One that does not hold settles it, whatever the others are.
                Known::No => return Known::No,
                Known::Unknown => known = Known::Unknown,
            }
        }
        known
    }

    /// What the rule does, itself or by its map; none where the map does not know the device.
    fn action(&self, rule: &'a RuleCode, view: &View<'_>) -> Option<&'a Action> {
        let Action::Vmap(key, map) = rule.action else { return Some(&rule.action) };
        let device = match key {
            MapKey::InInterface => view.scene.input,
            MapKey::OutInterface => view.scene.output,
        };
        self.code.maps.get(map)?.get(device?)
    }

    /// Does it; none where the walk goes on.
    fn act(&self, rule: &RuleCode, action: &'a Action, place: &mut Place<'a, '_>) -> Option<Outcome<'a>> {
        let end = |end: End<'a>, place: &Place<'_, '_>| Some(self.end(end, place, Why::Rule(rule.at)));
        match *action {
            // No map leads to another.
            Action::Continue | Action::Vmap(..) => None,
            Action::Accept => end(End::Accept, place),
            Action::Drop => end(End::Drop, place),
            Action::Reject(with) => end(End::Reject(with), place),
            Action::Nat(ref nat) => end(End::Nat(nat), place),
            Action::Unknown => Some(self.end(End::Unknown, place, Why::UnknownTarget(rule.at))),
            Action::Return => {
                if !place.pop(self.code) {
                    // What is left is the policy.
                    place.rule = place.chain.rules.end;
                }
                None
            }
            Action::Jump(chain) => {
                place.push();
                place.enter(self.code, chain);
                None
            }
            Action::Goto(chain) => {
                place.enter(self.code, chain);
                None
            }
            Action::Mark(MarkValue { value, mask }) => {
                place.view.mark = (place.view.mark & !mask) ^ value;
                None
            }
            Action::NoTrack => {
                // Only what conntrack has not seen yet.
                if place.view.entry.is_none() {
                    place.view.state = CtState::Untracked;
                    place.untracked = true;
                }
                None
            }
        }
    }

    const fn end(&self, end: End<'a>, place: &Place<'_, '_>, why: Why) -> Outcome<'a> {
        Outcome { end, mark: place.view.mark, untracked: place.untracked, why }
    }

    fn policy(&self, place: &Place<'_, '_>, log: &mut Log<'_>) -> Outcome<'a> {
        let policy = self.base.base.policy;
        let at = self.base.at;
        log.note(|| {
            let (table, chain) = self.rules.chain_names(at);
            Event::Policy {
                hook: self.base.base.hook,
                table: table.into(),
                chain: chain.into(),
                verdict: self.rules.policy_name(at, policy),
            }
        });
        let end = match policy {
            Policy::Accept => End::Accept,
            Policy::Drop => End::Drop,
        };
        self.end(end, place, Why::Policy(at, policy))
    }

    fn log_hit(&self, rule: &RuleCode, action: &Action, log: &mut Log<'_>) {
        log.note(|| {
            let Words { table, chain, text, mut verdict } =
                rule.words.get_or_init(|| self.rules.words(rule.at)).clone();
            if let (Action::Vmap(..), &(Action::Jump(to) | Action::Goto(to))) = (&rule.action, action) {
                let chain = self.code.chains.get(to);
                let name = chain.map_or("", |chain| self.rules.chain_names(chain.at).1);
                verdict = format!("-> {name}").into();
            }
            let number = rule.at.index + 1;
            Event::Rule(RuleHit { hook: self.base.base.hook, table, chain, number, text, verdict })
        });
    }
}

/// What is known of the outcome when some forks were not taken.
fn decide<'a>(outcome: Outcome<'a>, forks: [Option<Fork<'a>>; 2], log: &mut Log<'_>) -> Outcome<'a> {
    let differs = |fork: &Fork<'_>| !fork.outcome.is_same(&outcome);
    let Some(fork) = forks.into_iter().flatten().find(differs) else { return outcome };
    log.truncate(fork.logged);
    Outcome { end: End::Unknown, why: Why::UnknownMatch(fork.rule), ..outcome }
}

impl<'a> Place<'a, '_> {
    fn enter(&mut self, code: &'a Code, chain: usize) {
        if let Some(chain) = code.chains.get(chain) {
            (self.chain, self.rule) = (chain, chain.rules.start);
        }
    }

    /// Remembers where to go on.
    fn push(&mut self) {
        // `check` has refused rules that go deeper.
        if let Some(top) = self.stack.get_mut(self.depth) {
            // Nobody has so many rules.
            *top = (self.chain.number as u32, self.rule as u32);
            self.depth += 1;
        }
    }

    /// Goes on where the last jump left; false in the base chain.
    fn pop(&mut self, code: &'a Code) -> bool {
        let Some(&(chain, rule)) = self.depth.checked_sub(1).and_then(|top| self.stack.get(top)) else {
            return false;
        };
        self.depth -= 1;
        self.enter(code, chain as usize);
        self.rule = rule as usize;
        true
    }
}
