//! Trials as one JSON document, and what every JSON document of the program has in common: later versions add fields,
//! and neither rename nor remove one.

use std::collections::BTreeMap;

use seatrial_core::diagnostic::{At, Diagnostic};
use seatrial_core::topology::trial::Lane;
use seatrial_sim::trace::Trace;
use seatrial_vmtests::report::{Counts, Report, Row, Verdict};
use serde::Serialize;

use crate::format::Again;

/// The version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What came of all trials.
#[derive(Serialize)]
struct Document<'a> {
    /// The version of the program.
    seatrial: &'a str,
    /// The lanes they were run in.
    lanes: Vec<&'a str>,
    /// The seed of lane sim.
    seed: u64,
    /// The trials, in the order they were run.
    trials: Vec<Trial<'a>>,
    /// How many expectations came to which verdict, over all lanes; `differ` counts those that lanes answer otherwise,
    /// and `refused` trials.
    counts: BTreeMap<&'a str, usize>,
}

/// What came of one trial: it has `expectations`, or `errors` where it was refused.
#[derive(Serialize)]
struct Trial<'a> {
    /// Its file, as it was named.
    file: &'a str,
    /// Its title; its file where it was refused.
    title: &'a str,
    /// The family it belongs to.
    group: &'a str,
    /// All that happened in lane sim, as 32 hexadecimal digits: two runs of one seed have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// What must hold, in the order it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    expectations: Option<Vec<Expectation<'a>>>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Error>>,
}

/// One line of `expect` or `steps`.
#[derive(Serialize)]
struct Expectation<'a> {
    /// Where it was written.
    at: Place,
    /// What was asked or done: `laptop -> 203.0.113.10:8080/tcp`, `wait 31s`.
    asked: &'a str,
    /// What must come of it: `reaches web:80`; empty for a step that only changes something.
    expected: &'a str,
    /// What came of it, by lane.
    lanes: BTreeMap<&'a str, Outcome<'a>>,
}

/// What came of a line in a lane: `verdict` says which of these.
#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum Outcome<'a> {
    /// What was expected.
    Held,
    /// Something else: what, the packet's journey, and in a lane that repeats itself the command that runs it again.
    Failed {
        got: &'a str,
        trace: &'a Trace,
        #[serde(skip_serializing_if = "Option::is_none")]
        again: Option<String>,
    },
    /// It was not meant to be run here.
    Skipped { reason: &'a str },
    /// It was meant to be run here, and this version cannot.
    Unsupported { what: &'a str },
}

/// Something wrong, as a program reads it.
#[derive(Serialize)]
pub(crate) struct Error {
    /// Where.
    at: Place,
    /// What was found there.
    found: String,
    /// What was expected there, or what the user can do.
    expected: Option<String>,
    /// Other places that bear on it.
    related: Vec<Related>,
}

/// Another place that bears on an error.
#[derive(Serialize)]
struct Related {
    /// Where.
    at: Place,
    /// What is there.
    label: String,
}

/// A place: line and column from 1; none where no text has it.
#[derive(Serialize)]
struct Place {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
}

impl From<&At> for Place {
    fn from(at: &At) -> Self {
        let place = (!at.source.text.is_empty()).then(|| at.line_column());
        Self { file: at.source.name.clone(), line: place.map(|p| p.0), column: place.map(|p| p.1) }
    }
}

impl From<&Diagnostic> for Error {
    fn from(diagnostic: &Diagnostic) -> Self {
        let related = |(at, label): &(At, String)| Related { at: at.into(), label: label.clone() };
        Self {
            at: (&diagnostic.at).into(),
            found: diagnostic.found.clone(),
            expected: diagnostic.expected.clone(),
            related: diagnostic.related.iter().map(related).collect(),
        }
    }
}

/// All reports as one document.
pub(crate) fn render(reports: &[Report], lanes: &[Lane], again: Again) -> Result<String, serde_json::Error> {
    let counts = Counts::of(reports);
    pretty(&Document {
        seatrial: VERSION,
        lanes: lanes.iter().map(|l| l.as_str()).collect(),
        seed: again.seed,
        trials: reports.iter().map(|report| trial(report, again)).collect(),
        counts: BTreeMap::from([
            ("held", counts.held),
            ("failed", counts.failed),
            ("skipped", counts.skipped),
            ("unsupported", counts.unsupported),
            ("differ", counts.differ),
            ("refused", counts.refused),
        ]),
    })
}

/// Any document, indented, with a line end.
pub(crate) fn pretty(document: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

fn trial(report: &Report, again: Again) -> Trial<'_> {
    let expectation = |row| expectation(row, |lane| again.command(lane, &report.file));
    Trial {
        file: &report.file,
        title: &report.title,
        group: &report.group,
        digest: report.digest.map(|digest| digest.to_string()),
        expectations: report.rows.as_ref().ok().map(|rows| rows.iter().map(expectation).collect()),
        errors: report.rows.as_ref().err().map(|errors| errors.0.iter().map(Error::from).collect()),
    }
}

fn expectation(row: &Row, again: impl Fn(Lane) -> Option<String>) -> Expectation<'_> {
    Expectation {
        at: (&row.at).into(),
        asked: &row.asked,
        expected: &row.expected,
        lanes: row
            .verdicts
            .iter()
            .map(|(lane, verdict)| (lane.as_str(), lived(verdict, again(*lane))))
            .collect(),
    }
}

fn lived(verdict: &Verdict, again: Option<String>) -> Outcome<'_> {
    match verdict {
        Verdict::Held => Outcome::Held,
        Verdict::Failed { got, trace } => Outcome::Failed { got, trace, again },
        Verdict::Skipped { reason } => Outcome::Skipped { reason },
        Verdict::Unsupported { what } => Outcome::Unsupported { what },
    }
}
