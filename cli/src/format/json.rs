//! Trials as one JSON document. The schema stands in `cli/README.md`.

use std::collections::BTreeMap;

use seatrial_core::diagnostic::{At, Diagnostic};
use seatrial_core::topology::trial::Lane;
use seatrial_sim::trace::Trace;
use seatrial_vmtests::report::{Counts, Report, Row, Verdict};
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    seatrial: &'a str,
    lanes: Vec<&'a str>,
    trials: Vec<Trial<'a>>,
    counts: BTreeMap<&'a str, usize>,
}

#[derive(Serialize)]
struct Trial<'a> {
    file: &'a str,
    title: &'a str,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expectations: Option<Vec<Expectation<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Error>>,
}

#[derive(Serialize)]
struct Expectation<'a> {
    at: Place,
    asked: &'a str,
    expected: &'a str,
    lanes: BTreeMap<&'a str, Outcome<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum Outcome<'a> {
    Held,
    Failed { got: &'a str, trace: &'a Trace },
    Skipped { reason: &'a str },
    Unsupported { what: &'a str },
}

/// Something wrong, as a program reads it.
#[derive(Serialize)]
pub(crate) struct Error {
    at: Place,
    found: String,
    expected: Option<String>,
    related: Vec<Related>,
}

#[derive(Serialize)]
struct Related {
    at: Place,
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
pub(crate) fn render(reports: &[Report], lanes: &[Lane]) -> Result<String, serde_json::Error> {
    let counts = Counts::of(reports);
    pretty(&Document {
        seatrial: env!("CARGO_PKG_VERSION"),
        lanes: lanes.iter().map(|l| l.as_str()).collect(),
        trials: reports.iter().map(trial).collect(),
        counts: BTreeMap::from([
            ("held", counts.held),
            ("failed", counts.failed),
            ("skipped", counts.skipped),
            ("unsupported", counts.unsupported),
            ("refused", counts.refused),
        ]),
    })
}

/// Any document, indented, with a line end.
pub(crate) fn pretty(document: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

fn trial(report: &Report) -> Trial<'_> {
    Trial {
        file: &report.file,
        title: &report.title,
        group: &report.group,
        expectations: report.rows.as_ref().ok().map(|rows| rows.iter().map(expectation).collect()),
        errors: report.rows.as_ref().err().map(|errors| errors.0.iter().map(Error::from).collect()),
    }
}

fn expectation(row: &Row) -> Expectation<'_> {
    Expectation {
        at: (&row.at).into(),
        asked: &row.asked,
        expected: &row.expected,
        lanes: row.verdicts.iter().map(|(lane, verdict)| (lane.as_str(), lived(verdict))).collect(),
    }
}

fn lived(verdict: &Verdict) -> Outcome<'_> {
    match verdict {
        Verdict::Held => Outcome::Held,
        Verdict::Failed { got, trace } => Outcome::Failed { got, trace },
        Verdict::Skipped { reason } => Outcome::Skipped { reason },
        Verdict::Unsupported { what } => Outcome::Unsupported { what },
    }
}
