//! Where a trial can run: in the simulator; later in namespaces, in virtual machines, against the real Engine.

use seatrial_core::diagnostic::Diagnostics;
use seatrial_core::topology::trial::{Lane, Trial};
use thiserror::Error;

use crate::report::{Report, Row};

mod sim;

/// A lane that cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("lane {lane} cannot run here: {missing}; {get}")]
pub struct LaneMissing {
    /// Which.
    pub lane: Lane,
    /// What is missing.
    pub missing: &'static str,
    /// How to get it.
    pub get: &'static str,
}

/// Whether trials can run in a lane, on this machine, with this program.
///
/// # Errors
/// What is missing, and how to get it.
pub const fn available(lane: Lane) -> Result<(), LaneMissing> {
    let missing = match lane {
        Lane::Sim => return Ok(()),
        Lane::Kernel => "this version has no part that makes a plan's objects in namespaces",
        Lane::Vm => "this version has no part that boots kernels",
        Lane::Docker => "this version has no part that drives a Docker Engine",
    };
    Err(LaneMissing { lane, missing, get: "a later version brings it, and lane sim needs nothing" })
}

/// Runs a trial in lanes, one after another.
///
/// # Errors
/// The first lane that cannot run here.
pub fn run(trial: &Trial, lanes: &[Lane]) -> Result<Report, LaneMissing> {
    let mut rows = Ok(Vec::new());
    for lane in lanes {
        available(*lane)?;
        rows = rows.and_then(|rows| Ok(beside(rows, run_in(trial, *lane)?)));
    }
    Ok(Report {
        file: trial.path.display().to_string(),
        title: trial.title.clone(),
        group: trial.group.clone(),
        rows,
    })
}

/// Runs a trial in a lane that is available.
fn run_in(trial: &Trial, lane: Lane) -> Result<Vec<Row>, Diagnostics> {
    match lane {
        Lane::Sim => sim::run(trial),
        Lane::Kernel | Lane::Vm | Lane::Docker => Ok(Vec::new()),
    }
}

/// Puts one lane's verdicts beside another's: the same line of the trial is the same row.
fn beside(mut rows: Vec<Row>, more: Vec<Row>) -> Vec<Row> {
    for row in more {
        match rows.iter_mut().find(|r| r.at == row.at && r.asked == row.asked) {
            Some(same) => same.verdicts.extend(row.verdicts),
            None => rows.push(row),
        }
    }
    rows
}
