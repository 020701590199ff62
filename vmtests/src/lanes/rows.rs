//! What a trial means at a place: its lines, each to be run there or skipped with the reason.

use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics};
use seatrial_core::plan::check::Fault;
use seatrial_core::probe::{Expectation, Outcome, Step};
use seatrial_core::topology::trial::{Entry, Place, Trial, When, Written};

use crate::report::Verdict;

/// What came of a line: the verdict, and the whole answer where it was a question.
pub(super) type Came = (Verdict, Option<Outcome>);

/// A line of a trial that has been run, or skipped.
#[derive(Debug)]
pub(super) struct Line {
    /// Where it was written.
    pub(super) at: At,
    /// What was asked or done.
    pub(super) asked: String,
    /// What must come of it.
    pub(super) expected: String,
    /// What came of it.
    pub(super) came: Came,
}

/// A line of a trial.
pub(super) struct Slot<'t, T> {
    /// The line.
    pub(super) line: &'t Written<T>,
    /// Why it is not meant here.
    pub(super) skipped: Option<String>,
}

/// A trial's lines, in order: those of its expectations, and those of its steps.
pub(super) struct Slots<'t> {
    pub(super) expect: Vec<Slot<'t, Expectation>>,
    pub(super) steps: Vec<Slot<'t, Step>>,
}

impl<'t> Slots<'t> {
    /// Which lines are meant at a place.
    pub(super) fn of(trial: &'t Trial, place: &Place) -> Self {
        if trial.when.fits(place) {
            return Self { expect: slots(&trial.expect, place), steps: slots(&trial.steps, place) };
        }
        Self::skipped(trial, &elsewhere(&[&trial.when], place))
    }

    /// All of a trial's lines, none of which is meant.
    pub(super) fn skipped(trial: &'t Trial, reason: &str) -> Self {
        let expect = trial.expect.iter().flat_map(|entry| skip(entry, reason)).collect();
        let steps = trial.steps.iter().flat_map(|entry| skip(entry, reason)).collect();
        Self { expect, steps }
    }

    /// Whether nothing is to be run.
    pub(super) fn is_idle(&self) -> bool {
        self.expect.iter().all(|s| s.skipped.is_some()) && self.steps.iter().all(|s| s.skipped.is_some())
    }

    /// What comes of it where nothing is run.
    pub(super) fn idle(&self) -> Vec<Line> {
        let expect = self.expect.iter().filter_map(Slot::skip);
        expect.chain(self.steps.iter().filter_map(Slot::skip)).collect()
    }
}

impl<T: Said> Slot<'_, T> {
    /// The line, with what came of it.
    pub(super) fn ran(&self, came: Came) -> Line {
        let (asked, expected) = self.line.line.said();
        Line { at: self.line.at.clone(), asked, expected, came }
    }

    /// The line, where it is not meant.
    pub(super) fn skip(&self) -> Option<Line> {
        let reason = self.skipped.clone()?;
        Some(self.ran((Verdict::Skipped { reason }, None)))
    }
}

fn slots<'t, T>(entries: &'t [Entry<T>], place: &Place) -> Vec<Slot<'t, T>> {
    let of = |entry: &'t Entry<T>| {
        let lines = entry.lines(place);
        if lines.is_empty() {
            let whens: Vec<&When> = entry.alternatives.iter().map(|a| &a.when).collect();
            return skip(entry, &elsewhere(&whens, place));
        }
        lines.iter().map(|line| Slot { line, skipped: None }).collect()
    };
    entries.iter().flat_map(of).collect()
}

fn skip<'t, T>(entry: &'t Entry<T>, reason: &str) -> Vec<Slot<'t, T>> {
    let lines = entry.alternatives.iter().flat_map(|a| &a.lines);
    lines.map(|line| Slot { line, skipped: Some(reason.to_owned()) }).collect()
}

/// Why nothing is meant here: where it is meant, and where this is.
fn elsewhere(whens: &[&When], place: &Place) -> String {
    let meant: Vec<String> = whens.iter().map(ToString::to_string).collect();
    let Place { engine, kernel, lane } = place;
    format!("meant for {}; this is engine {engine}, kernel {kernel}, lane {lane}", meant.join(" or "))
}

/// A plan that no kernel could make: the planner's mistake, and not the user's.
pub(super) fn wrong(trial: &Trial, faults: &[Fault]) -> Diagnostics {
    let at = At::new(&trial.source, 0..0);
    let fault = |fault: &Fault| {
        Diagnostic::new(at.clone(), format!("the plan is wrong: {fault}"))
            .expected("a report of this mistake")
    };
    Diagnostics(faults.iter().map(fault).collect())
}

/// What a line asks, and what must come of it.
pub(super) trait Said {
    fn said(&self) -> (String, String);
}

impl Said for Expectation {
    fn said(&self) -> (String, String) {
        match self {
            Self::Probe(probe, outcome) => (probe.to_string(), outcome.to_string()),
            Self::Fact(node, fact) => (node.to_string(), fact.to_string()),
        }
    }
}

impl Said for Step {
    fn said(&self) -> (String, String) {
        match self {
            Self::Expect(expectation) => expectation.said(),
            Self::Change(_) | Self::WaitMs(_) | Self::AtMs(_) => (self.to_string(), String::new()),
        }
    }
}
