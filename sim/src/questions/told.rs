//! What came of a question, told of every other that differs from it in names alone.

use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::plan::Plan;
use seatrial_core::probe::{Ask, Outcome, Target};
use seatrial_core::topology::NodeName;

use super::alike::{Alike, Member, retell};
use super::matrix::{Asked, Decided, Source};

/// What came of the questions that were asked.
pub(super) struct Told {
    members: Vec<Member>,
    /// Of each who asks, the member that it is.
    sources: Vec<Option<usize>>,
    alike: Alike,
    answers: IndexMap<(Who, Whom, bool), Answer, FxBuildHasher>,
    /// The row that was asked last: whom it is about.
    row: Option<(usize, Whom, Option<usize>)>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Kind(usize),
    Alone(usize),
}

/// Whom, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whom {
    /// By a name or an address of its own.
    Own { kind: usize, word: usize, ask: Ask },
    /// By a published port of its own, on an address of the host's.
    Published { kind: usize, word: usize, address: IpAddr, ask: Ask },
    /// The row's alone.
    Alone(usize),
}

/// What came of one, and which members it was about.
struct Answer {
    outcome: Outcome,
    decided: Decided,
    about: [Option<usize>; 2],
    /// Who answered, and the address it saw, where those are somebody's words: whose of the two, and which.
    node: Option<(usize, usize)>,
    from: Option<(usize, usize)>,
}

impl Told {
    /// Nothing has been asked.
    pub(super) fn new(plan: &Plan, nodes: &[NodeName]) -> Self {
        let (alike, members) = Alike::of(plan);
        let sources = nodes.iter().map(|node| alike.member(node)).collect();
        Self { members, sources, alike, answers: IndexMap::default(), row: None }
    }

    /// What comes of a question.
    pub(super) fn answer(
        &mut self,
        source: Source<'_>,
        asked: &Asked,
        ask: impl FnOnce() -> (Outcome, Decided),
    ) -> (Outcome, Decided) {
        let (whom, owner) = self.row(asked);
        let member = self.sources.get(source.number).copied().flatten();
        let kind = member.and_then(|member| self.members.get(member)).map(|member| Who::Kind(member.kind));
        let who = kind.unwrap_or(Who::Alone(source.number));
        let key = (who, whom, member.is_some() && member == owner);
        let about = [member, owner];
        if let Some(answer) = self.answers.get(&key) {
            return self.retold(answer, about);
        }
        let (outcome, decided) = ask();
        let answer = self.noted(outcome.clone(), decided.clone(), about);
        self.answers.insert(key, answer);
        (outcome, decided)
    }

    /// Whom a row is about; the member whose target it is: of a published port, whoever publishes it.
    fn row(&mut self, asked: &Asked) -> (Whom, Option<usize>) {
        if let Some((_, whom, owner)) = self.row.filter(|(row, ..)| *row == asked.row) {
            return (whom, owner);
        }
        let own = self.alike.member(&asked.node);
        let owner = own.or_else(|| match asked.ask {
            Ask::Port(transport, port) => self.alike.member(self.alike.publisher(transport, port)?),
            Ask::Echo => None,
        });
        let member = owner.and_then(|owner| self.members.get(owner));
        let whom = member.and_then(|member| whom(asked, member, own.is_some()));
        let whom = whom.unwrap_or(Whom::Alone(asked.row));
        self.row = Some((asked.row, whom, owner));
        (whom, owner)
    }

    fn member(&self, member: Option<usize>) -> Option<&Member> {
        self.members.get(member?)
    }

    fn noted(&self, outcome: Outcome, decided: Decided, about: [Option<usize>; 2]) -> Answer {
        let whose = |word: &str| {
            let of = |side: usize| Some((side, self.member(*about.get(side)?)?.number(word)?));
            of(0).or_else(|| of(1))
        };
        let (mut by, mut seen) = (None, None);
        if let Outcome::Reaches { node, from, .. } = &outcome {
            by = whose(node.as_str());
            seen = from.and_then(|from| whose(&from.to_string()));
        }
        Answer { outcome, decided, about, node: by, from: seen }
    }

    /// An answer, in the names of those who are asked about.
    fn retold(&self, answer: &Answer, about: [Option<usize>; 2]) -> (Outcome, Decided) {
        let Answer { outcome, decided, .. } = answer;
        if let Outcome::Reaches { node, port, from } = outcome {
            let member = |side: usize| self.member(*about.get(side)?);
            let other = answer.node.and_then(|(side, word)| member(side)?.word(word));
            let node = other.map_or_else(|| node.clone(), |word| word.as_str().into());
            let seen = answer.from.and_then(|(side, word)| member(side)?.address(word));
            let reached = Outcome::Reaches { node, port: *port, from: seen.or(*from) };
            if decided.what.is_empty() {
                return (reached, Decided::default());
            }
            return (reached, self.retold_words(answer, about).1);
        }
        self.retold_words(answer, about)
    }

    /// The words of an answer, in the names of those who are asked about.
    fn retold_words(&self, answer: &Answer, about: [Option<usize>; 2]) -> (Outcome, Decided) {
        let Answer { outcome, decided, .. } = answer;
        let pairs = answer.about.into_iter().zip(about);
        let pairs = pairs.filter_map(|(one, other)| self.member(one).zip(self.member(other)));
        let pairs: Vec<(&Member, &Member)> =
            pairs.filter(|(one, other)| !std::ptr::eq(*one, *other)).collect();
        let text = |text: &str| if pairs.is_empty() { text.to_owned() } else { retell(text, &pairs) };
        let outcome = match outcome {
            Outcome::Depends { rule, what } => Outcome::Depends { rule: text(rule), what: text(what) },
            Outcome::Reaches { .. } | Outcome::Refused | Outcome::Closed => outcome.clone(),
            Outcome::Unreachable(_) | Outcome::Dropped | Outcome::NoRoute => outcome.clone(),
            Outcome::UnknownName => outcome.clone(),
        };
        let ns = decided.ns.as_ref().map(|ns| text(ns.as_str()).into());
        (outcome, Decided { ns, class: text(&decided.class), what: text(&decided.what) })
    }
}

fn whom(asked: &Asked, member: &Member, own: bool) -> Option<Whom> {
    let (kind, ask) = (member.kind, asked.ask);
    match (&asked.target, ask) {
        (Target::Name(name), _) if own => Some(Whom::Own { kind, word: member.number(name)?, ask }),
        (Target::Address(address), _) if own => {
            Some(Whom::Own { kind, word: member.number(&address.to_string())?, ask })
        }
        (Target::Address(address), Ask::Port(transport, port)) => {
            let word = member.number(&port.to_string())?;
            Some(Whom::Published { kind, word, address: *address, ask: Ask::Port(transport, 0) })
        }
        (Target::Name(_) | Target::Address(_), _) => None,
    }
}
