//! What came of trials: one row an expectation, one verdict a column; a column is a lane, or a lane on one of several
//! kernels or with one of several Engines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use seatrial_core::diagnostic::{At, Diagnostics};
use seatrial_core::engine::{Engine, Version};
use seatrial_core::probe::Outcome;
use seatrial_core::topology::trial::Lane;
use seatrial_sim::digest::Digest;
use seatrial_sim::trace::Trace;

use crate::qemu::Accel;

/// Where a trial was run: a lane, the Engine where it is one of several, and so the kernel. Written `sim`, `vm 6.12`,
/// `docker 28.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    /// The Engine whose rules were tried, where several were.
    pub engine: Option<Version>,
    /// The lane.
    pub lane: Lane,
    /// The kernel that was booted, or that the simulator was told to follow.
    pub kernel: Option<Version>,
}

impl From<Lane> for Column {
    fn from(lane: Lane) -> Self {
        Self { engine: None, lane, kernel: None }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lane.as_str())?;
        self.engine.iter().try_for_each(|engine| write!(f, " {engine}"))?;
        self.kernel.iter().try_for_each(|kernel| write!(f, " {kernel}"))
    }
}

/// All that came of a run.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Where trials were run, in order.
    pub columns: Vec<Column>,
    /// What came of the trials, in the order they were given.
    pub reports: Vec<Report>,
    /// The virtual machines, by the column they served.
    pub machines: BTreeMap<Column, Machine>,
}

impl Checked {
    /// How much came to which verdict.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let lost = self.machines.values().filter(|machine| machine.is_err()).count();
        Counts { lost, ..Counts::of(&self.reports) }
    }
}

/// A virtual machine that served a column; or why it did not come up, or what its kernel said of its own mistakes.
pub type Machine = Result<Up, String>;

/// A virtual machine that came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Up {
    /// The kernel's release: `6.12.118+deb13-cloud-amd64`.
    pub release: String,
    /// What carried it out.
    pub accel: Accel,
    /// Why it was not the processor itself, where nobody asked for that.
    pub no_kvm: Option<String>,
    /// Whether it is a copy of a saved one. Else its kernel was booted.
    pub restored: bool,
    /// What kept a saved machine from being of use, or from being made: its own, or one for a trial alone.
    pub remark: Option<String>,
    /// From the start to its first word.
    pub boot: Duration,
    /// From the start to the end of the trial that was through first.
    pub first: Duration,
    /// From its first word to the end of the last trial.
    pub served: Duration,
    /// Modules that would not be loaded, each with the kernel's word.
    pub refused: Vec<String>,
}

/// What came of one trial.
#[derive(Debug, Clone)]
pub struct Report {
    /// The file, as it was named.
    pub file: String,
    /// The trial's title.
    pub title: String,
    /// The family it belongs to.
    pub group: String,
    /// The Engines of its hosts, in every column; none where it could not be read.
    pub engines: Vec<Engine>,
    /// Its expectations in order; or what is wrong with the trial itself, when nothing was run.
    pub rows: Result<Vec<Row>, Diagnostics>,
    /// All that happened in the simulator, where it was run there: two runs of one seed have the same.
    pub digest: Option<Digest>,
    /// How long it took, where a kernel ran it: the simulator has no clock.
    pub took: BTreeMap<Column, Duration>,
}

/// One expectation and what came of it in every column it was run in.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it was written.
    pub at: At,
    /// What was asked or done: `laptop -> 203.0.113.10:8080/tcp`, `web hostname`, `wait 31s`.
    pub asked: String,
    /// What must come of it: `reaches web:80`, `is web1`; nothing for a step that only changes something.
    pub expected: String,
    /// What came of it.
    pub verdicts: BTreeMap<Column, Verdict>,
    /// The whole of it, of a question: what an expectation leaves out is compared between columns all the same.
    pub outcomes: BTreeMap<Column, Outcome>,
}

impl Row {
    /// Whether two columns of one Engine answer one question otherwise. What depends on the unknown in one may be either in
    /// another.
    #[must_use]
    pub fn lanes_differ(&self) -> bool {
        !self.differing().is_empty()
    }

    /// What the columns of an Engine answer of which two differ.
    #[must_use]
    pub fn differing(&self) -> Vec<(Column, &Outcome)> {
        let sure = || self.outcomes.iter().filter(|(_, o)| !matches!(o, Outcome::Depends { .. }));
        let other = |(column, outcome): &(&Column, &Outcome)| {
            let first = sure().find(|(of, _)| of.engine == column.engine);
            first.is_some_and(|(_, first)| first != *outcome)
        };
        let engines: Vec<_> = sure().filter(other).map(|(column, _)| column.engine).collect();
        let all = self.outcomes.iter().filter(|(column, _)| engines.contains(&column.engine));
        all.map(|(column, outcome)| (*column, outcome)).collect()
    }
}

/// What came of an expectation in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What was expected.
    Held,
    /// Something else.
    Failed {
        /// What came instead.
        got: String,
        /// The packet's journey; empty where no packet was sent.
        trace: Trace,
    },
    /// It was not meant to be run here.
    Skipped {
        /// Why: the condition that did not hold.
        reason: String,
    },
    /// It was meant to be run here, and this version cannot: no proof of anything.
    Unsupported {
        /// What is missing.
        what: String,
    },
}

/// How many rows came to which verdict, over all columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that held.
    pub held: usize,
    /// Rows that failed.
    pub failed: usize,
    /// Rows that were skipped.
    pub skipped: usize,
    /// Rows that this version cannot run.
    pub unsupported: usize,
    /// Rows that lanes answer otherwise.
    pub differ: usize,
    /// Trials that are wrong in themselves.
    pub refused: usize,
    /// Machines that did not come up, or whose kernels complained of themselves.
    pub lost: usize,
}

impl Counts {
    /// Counts what came of `reports`.
    #[must_use]
    pub fn of(reports: &[Report]) -> Self {
        let mut counts = Self::default();
        for report in reports {
            match &report.rows {
                Ok(rows) => {
                    rows.iter().flat_map(|r| r.verdicts.values()).for_each(|v| counts.add(v));
                    counts.differ += rows.iter().filter(|row| row.lanes_differ()).count();
                }
                Err(_) => counts.refused += 1,
            }
        }
        counts
    }

    /// Counts what came of `reports` in the columns of an Engine.
    #[must_use]
    pub fn of_engine(reports: &[Report], engine: Version) -> Self {
        let mut counts = Self::default();
        let rows = reports.iter().filter_map(|report| report.rows.as_deref().ok()).flatten();
        let verdicts = rows.flat_map(|row| &row.verdicts);
        verdicts.filter(|(column, _)| column.engine == Some(engine)).for_each(|(_, v)| counts.add(v));
        counts
    }

    const fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Held => self.held += 1,
            Verdict::Failed { .. } => self.failed += 1,
            Verdict::Skipped { .. } => self.skipped += 1,
            Verdict::Unsupported { .. } => self.unsupported += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} held, {} failed", self.held, self.failed)?;
        for (count, what) in [
            (self.skipped, "skipped"),
            (self.unsupported, "not possible yet"),
            (self.differ, "answered otherwise by another lane"),
            (self.refused, "refused"),
            (self.lost, if self.lost == 1 { "machine lost" } else { "machines lost" }),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}
