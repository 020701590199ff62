//! Differences as one JSON document.

use seatrial_sim::questions::diff::{Change, Diff, Kind, Seen};
use seatrial_sim::trace::Trace;
use serde::Serialize;

use super::Network;
use crate::format::json;

/// What differs.
#[derive(Serialize)]
struct Document<'a> {
    /// The version of the program.
    seatrial: &'a str,
    /// The two networks.
    before: Named<'a>,
    after: Named<'a>,
    /// How many questions were asked of both.
    asked: usize,
    /// Classes of questions that are answered otherwise, and alike.
    changes: Vec<Class<'a>>,
}

/// A network.
#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    /// What was assumed because nothing said it, a sentence each.
    assumed: &'a [String],
}

/// Questions that are answered otherwise, and alike.
#[derive(Serialize)]
struct Class<'a> {
    /// `opens`, `closes`, `moves` or `refuses`.
    kind: Kind,
    /// All of them, as each network is asked; `null` where nobody is there to ask or to be asked.
    questions: Vec<Question>,
    /// What comes of the first.
    before: Example<'a>,
    after: Example<'a>,
}

#[derive(Serialize)]
struct Question {
    before: Option<String>,
    after: Option<String>,
}

#[derive(Serialize)]
struct Example<'a> {
    /// As a trial writes it; `null` where nobody is there.
    outcome: Option<String>,
    /// The way that led there, or what decided that none did.
    what: &'a str,
    trace: &'a Trace,
}

/// All of it.
pub(super) fn render(diff: &Diff, before: &Network, after: &Network) -> Result<String, serde_json::Error> {
    json::pretty(&Document {
        seatrial: json::VERSION,
        before: named(before),
        after: named(after),
        asked: diff.asked,
        changes: diff.changes.iter().map(class).collect(),
    })
}

fn named(network: &Network) -> Named<'_> {
    Named { name: &network.name, assumed: &network.subject.assumed }
}

fn class(change: &Change) -> Class<'_> {
    let text = |probe: &Option<seatrial_core::probe::Probe>| probe.as_ref().map(ToString::to_string);
    let questions = change.questions.iter();
    Class {
        kind: change.kind,
        questions: questions.map(|q| Question { before: text(&q.before), after: text(&q.after) }).collect(),
        before: example(&change.example.before),
        after: example(&change.example.after),
    }
}

fn example(seen: &Seen) -> Example<'_> {
    let outcome = seen.outcome.as_ref().map(ToString::to_string);
    Example { outcome, what: &seen.what, trace: &seen.trace }
}
