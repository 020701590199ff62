//! Trials as one JSON document, and what every JSON document of the program has in common: later versions add fields,
//! and neither rename nor remove one.

use std::collections::BTreeMap;

use seatrial_core::diagnostic::{At, Diagnostic};
use seatrial_sim::trace::Trace;
use seatrial_vmtests::report::{Checked, Column, Machine, Report, Row, Verdict};
use serde::Serialize;

use crate::format::Again;

/// The version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What came of all trials.
#[derive(Serialize)]
struct Document<'a> {
    /// The version of the program.
    seatrial: &'a str,
    /// The columns they were run in: a lane's name, with the kernel's version where one was asked for: `vm 6.12`.
    lanes: Vec<String>,
    /// The seed of lane sim.
    seed: u64,
    /// The trials, in the order they were run.
    trials: Vec<Trial<'a>>,
    /// The virtual machines, by column.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    machines: BTreeMap<String, Guest<'a>>,
    /// How many expectations came to which verdict, over all columns; `differ` counts those that lanes answer otherwise,
    /// `refused` trials, and `lost` machines.
    counts: BTreeMap<&'a str, usize>,
}

/// A virtual machine.
#[derive(Serialize)]
#[serde(untagged)]
enum Guest<'a> {
    /// It came up: its kernel's release, `kvm` or `tcg` and why not the former, whether it was restored, what kept a saved
    /// machine from being of use or being made, the seconds to its first word, to the end of a first trial, and from its
    /// first word on, and modules it would not load.
    Up {
        release: &'a str,
        accel: &'a str,
        no_kvm: Option<&'a str>,
        restored: bool,
        remark: Option<&'a str>,
        boot_seconds: f64,
        first_seconds: f64,
        served_seconds: f64,
        refused_modules: &'a [String],
    },
    /// It did not, or its kernel complained of itself.
    Lost { error: &'a str },
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
    /// How many seconds it took, by column, where a kernel ran it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    seconds: BTreeMap<String, f64>,
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
    /// What came of it, by column.
    lanes: BTreeMap<String, Outcome<'a>>,
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
pub(crate) fn render(checked: &Checked, again: Again) -> Result<String, serde_json::Error> {
    let Checked { columns, reports, machines } = checked;
    let counts = checked.counts();
    pretty(&Document {
        seatrial: VERSION,
        lanes: columns.iter().map(Column::to_string).collect(),
        seed: again.seed,
        trials: reports.iter().map(|report| trial(report, again)).collect(),
        machines: machines.iter().map(|(column, machine)| (column.to_string(), guest(machine))).collect(),
        counts: BTreeMap::from([
            ("held", counts.held),
            ("failed", counts.failed),
            ("skipped", counts.skipped),
            ("unsupported", counts.unsupported),
            ("differ", counts.differ),
            ("refused", counts.refused),
            ("lost", counts.lost),
        ]),
    })
}

/// Any document, indented, with a line end.
pub(crate) fn pretty(document: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

fn guest(machine: &Machine) -> Guest<'_> {
    match machine {
        Ok(up) => Guest::Up {
            release: &up.release,
            accel: up.accel.as_str(),
            no_kvm: up.no_kvm.as_deref(),
            restored: up.restored,
            remark: up.remark.as_deref(),
            boot_seconds: up.boot.as_secs_f64(),
            first_seconds: up.first.as_secs_f64(),
            served_seconds: up.served.as_secs_f64(),
            refused_modules: &up.refused,
        },
        Err(error) => Guest::Lost { error },
    }
}

fn trial(report: &Report, again: Again) -> Trial<'_> {
    let expectation = |row| expectation(row, |column| again.command(column, &report.file));
    Trial {
        file: &report.file,
        title: &report.title,
        group: &report.group,
        digest: report.digest.map(|digest| digest.to_string()),
        seconds: report.took.iter().map(|(column, took)| (column.to_string(), took.as_secs_f64())).collect(),
        expectations: report.rows.as_ref().ok().map(|rows| rows.iter().map(expectation).collect()),
        errors: report.rows.as_ref().err().map(|errors| errors.0.iter().map(Error::from).collect()),
    }
}

fn expectation(row: &Row, again: impl Fn(Column) -> Option<String>) -> Expectation<'_> {
    Expectation {
        at: (&row.at).into(),
        asked: &row.asked,
        expected: &row.expected,
        lanes: row
            .verdicts
            .iter()
            .map(|(column, verdict)| (column.to_string(), lived(verdict, again(*column))))
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
