//! Where a trial can run: in the simulator, and in namespaces of this machine; later in virtual machines, and against
//! the real Engine.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use seatrial_core::diagnostic::Diagnostics;
use seatrial_core::topology::trial::{Lane, Trial};
use thiserror::Error;

use crate::report::{Report, Row};

mod kernel;
mod rows;
mod sim;

/// A lane that cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("lane {lane} cannot run here: {why}")]
pub struct LaneMissing {
    /// Which.
    pub lane: Lane,
    /// What is missing, and how to get it.
    pub why: String,
}

/// What lanes run with.
#[derive(Debug, Clone)]
pub struct Means {
    /// A program that calls [`seatrial_core::linux::entry()`] first: stages and agents are made of it.
    pub program: PathBuf,
    /// How many trials are run at one time where most of the time is spent waiting.
    pub jobs: NonZeroUsize,
}

/// Whether trials can run in a lane, on this machine, with this program.
///
/// # Errors
/// What is missing, and how to get it.
pub fn available(lane: Lane, means: &Means) -> Result<(), LaneMissing> {
    let why = match lane {
        Lane::Sim => return Ok(()),
        Lane::Kernel => match kernel::available(&means.program) {
            Ok(()) => return Ok(()),
            Err(error) => error.to_string(),
        },
        Lane::Vm => {
            "this version has no part that boots kernels; lane kernel tries this machine's".to_owned()
        }
        Lane::Docker => "this version has no part that drives a Docker Engine".to_owned(),
    };
    Err(LaneMissing { lane, why })
}

/// Runs trials in lanes that are available; the reports stand in the order of the trials.
#[must_use]
pub fn run(trials: &[Trial], lanes: &[Lane], means: &Means) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((i, trial)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, trials.get(i)?)))
        {
            done.push((i, report(trial, lanes, means)));
        }
        done
    };
    let jobs = if lanes == [Lane::Sim] { 1 } else { means.jobs.get() };
    let mut done: Vec<(usize, Report)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.min(trials.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, report)| report).collect()
}

/// Runs a trial in the simulator, which needs nothing.
#[must_use]
pub fn simulate(trial: &Trial) -> Report {
    said(trial, sim::run(trial))
}

/// Runs a trial in lanes, one after another.
fn report(trial: &Trial, lanes: &[Lane], means: &Means) -> Report {
    let mut rows = Ok(Vec::new());
    for lane in lanes {
        rows = rows.and_then(|rows| Ok(beside(rows, run_in(trial, *lane, means)?)));
    }
    said(trial, rows)
}

fn said(trial: &Trial, rows: Result<Vec<Row>, Diagnostics>) -> Report {
    Report {
        file: trial.path.display().to_string(),
        title: trial.title.clone(),
        group: trial.group.clone(),
        rows,
    }
}

/// Runs a trial in a lane that is available.
fn run_in(trial: &Trial, lane: Lane, means: &Means) -> Result<Vec<Row>, Diagnostics> {
    match lane {
        Lane::Sim => sim::run(trial),
        Lane::Kernel => kernel::run(trial, &means.program),
        Lane::Vm | Lane::Docker => Ok(Vec::new()),
    }
}

/// Puts one lane's verdicts beside another's: the same line of the trial is the same row.
fn beside(mut rows: Vec<Row>, more: Vec<Row>) -> Vec<Row> {
    for row in more {
        match rows.iter_mut().find(|r| r.at == row.at && r.asked == row.asked) {
            Some(same) => {
                same.verdicts.extend(row.verdicts);
                same.outcomes.extend(row.outcomes);
            }
            None => rows.push(row),
        }
    }
    rows
}
