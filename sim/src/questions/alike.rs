//! Containers that are alike: to change places with one another changes nothing but names.
//!
//! A plan is held against itself. What belongs to a container alone - names, addresses, hardware addresses, devices,
//! published ports - are its words. Everything in the plan that has one of them in it is written down with numbers in
//! their place, and what reads the same is alike. A question to one is then a question to all of them, and the simulator
//! is asked once. Where two cannot be told to be alike they are not: every doubt makes a container one of its kind.
//!
//! * `words`: whose words they are. `sign`: what is written down. `rules`: a rule set, rule by rule.

use std::collections::BTreeMap;
use std::net::IpAddr;

use seatrial_core::addr::Transport;
use seatrial_core::plan::Plan;
use seatrial_core::topology::NodeName;
use smol_str::SmolStr;

mod rules;
mod sign;
mod words;

use words::Words;
pub(super) use words::replace;

/// Which containers of a plan may be like others, by number.
#[derive(Debug, Default)]
pub(super) struct Alike {
    members: BTreeMap<NodeName, usize>,
    published: BTreeMap<(Transport, u16), NodeName>,
}

/// A container that is like others.
#[derive(Debug)]
pub(super) struct Member {
    /// What it has in common with those that are like it.
    pub(super) kind: usize,
    /// Its words, numbered as those of the others are; addresses among them.
    words: Vec<(SmolStr, Option<IpAddr>)>,
    numbers: BTreeMap<SmolStr, usize>,
}

impl Alike {
    /// Holds a plan against itself; the members stand in the order of their numbers.
    pub(super) fn of(plan: &Plan) -> (Self, Vec<Member>) {
        let words = Words::of(plan);
        let mut kinds = BTreeMap::new();
        let (mut names, mut members) = (BTreeMap::new(), Vec::new());
        for (node, signed) in sign::sign(plan, &words) {
            let next = kinds.len();
            let kind = *kinds.entry(signed.text).or_insert(next);
            let words: Vec<(SmolStr, _)> =
                signed.words.iter().map(|word| (word.into(), word.parse().ok())).collect();
            let numbers =
                words.iter().enumerate().map(|(number, (word, _))| (word.clone(), number)).collect();
            names.insert(node, members.len());
            members.push(Member { kind, words, numbers });
        }
        let published = words.published().filter(|(_, node)| names.contains_key(*node));
        let published = published.map(|(port, node)| (port, node.clone())).collect();
        (Self { members: names, published }, members)
    }

    /// The number of a container that may be like others.
    pub(super) fn member(&self, node: &NodeName) -> Option<usize> {
        self.members.get(node).copied()
    }

    /// Whose port of the host this is.
    pub(super) fn publisher(&self, transport: Transport, port: u16) -> Option<&NodeName> {
        self.published.get(&(transport, port))
    }
}

impl Member {
    /// Which of its words this is.
    pub(super) fn number(&self, word: &str) -> Option<usize> {
        self.numbers.get(word).copied()
    }

    /// The word of that number.
    pub(super) fn word(&self, number: usize) -> Option<&SmolStr> {
        self.words.get(number).map(|(word, _)| word)
    }

    /// The address of that number.
    pub(super) fn address(&self, number: usize) -> Option<IpAddr> {
        self.words.get(number)?.1
    }
}

/// A text about some, as a text about others that are like them.
pub(super) fn retell(text: &str, of: &[(&Member, &Member)]) -> String {
    words::replace(text, &mut |word| {
        let other = of.iter().find_map(|(one, other)| other.word(one.number(word)?));
        other.map(ToString::to_string)
    })
}
