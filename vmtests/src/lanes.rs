//! Where a trial can run: in the simulator, in namespaces of this machine, and in those of virtual machines; later against
//! the real Engine.

use std::io;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use seatrial_core::diagnostic::Diagnostics;
use seatrial_core::engine::Version;
use seatrial_core::topology::trial::{Lane, Trial};
use seatrial_sim::digest::Digest;
use thiserror::Error;

use crate::kernels::{self, HOW, Kernel};
use crate::report::{Report, Row};
use kernel::{Ground, Here};
use vm::Elsewhere;

mod kernel;
mod rows;
mod sim;
mod vm;

/// The seed of simulated worlds where nobody names another.
pub const SEED: u64 = 1;

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
    /// Where a simulated world's chance comes from.
    pub seed: u64,
    /// The kernel that the simulator follows and that virtual machines run; without one 6.12, and the newest there is.
    pub kernel: Option<Version>,
    /// How long a virtual machine may be silent before it is given up. Under emulation with all cores taken, a plan of many
    /// containers takes seconds.
    pub timeout: Duration,
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
        Lane::Vm => match vm::available().and_then(|()| bootable(means)) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        },
        Lane::Docker => "this version has no part that drives a Docker Engine".to_owned(),
    };
    Err(LaneMissing { lane, why })
}

/// The kernel that is to be booted.
fn bootable(means: &Means) -> io::Result<Kernel> {
    let kernels = kernels::list(None)?;
    let kernel = match means.kernel {
        Some(version) => kernels::of(&kernels, version),
        None => kernels.last(),
    };
    let missing = || {
        let have: Vec<String> = kernels.iter().map(|kernel| kernel.version.to_string()).collect();
        let wanted = means.kernel.map_or_else(|| "at all".to_owned(), |version| version.to_string());
        io::Error::other(format!("no kernel {wanted} among those that are here ({}); {HOW}", have.join(", ")))
    };
    kernel.cloned().ok_or_else(missing)
}

/// Runs trials in lanes that are available; the reports stand in the order of the trials.
///
/// # Errors
/// A kernel that does not come up.
pub fn run(trials: &[Trial], lanes: &[Lane], means: &Means) -> Result<Vec<Report>, LaneMissing> {
    let grounds = Grounds::of(lanes, means)?;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((i, trial)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, trials.get(i)?)))
        {
            done.push((i, report(trial, lanes, means, &grounds)));
        }
        done
    };
    let jobs = if lanes == [Lane::Sim] { 1 } else { means.jobs.get() };
    let mut done: Vec<(usize, Report)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.min(trials.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    Ok(done.into_iter().map(|(_, report)| report).collect())
}

/// Where stages are set.
struct Grounds {
    here: Here,
    elsewhere: Option<Elsewhere>,
}

impl Grounds {
    fn of(lanes: &[Lane], means: &Means) -> Result<Self, LaneMissing> {
        let missing = |e: io::Error| LaneMissing { lane: Lane::Vm, why: e.to_string() };
        let boot = || Elsewhere::boot(&bootable(means)?, &means.program, means.timeout);
        let elsewhere = lanes.contains(&Lane::Vm).then(boot).transpose().map_err(missing)?;
        Ok(Self { here: Here(means.program.clone()), elsewhere })
    }
}

/// Runs a trial in the simulator, which needs nothing but a seed.
#[must_use]
pub fn simulate(trial: &Trial, seed: u64) -> Report {
    said(trial, sim::run(trial, seed, None))
}

/// Runs a trial in lanes, one after another.
fn report(trial: &Trial, lanes: &[Lane], means: &Means, grounds: &Grounds) -> Report {
    let mut runs = Ok(Run::default());
    for lane in lanes {
        runs = runs.and_then(|runs| Ok(beside(runs, run_in(trial, *lane, means, grounds)?)));
    }
    said(trial, runs)
}

/// What came of a trial in some lanes: its rows, and what all simulated worlds come to.
#[derive(Debug, Default)]
struct Run {
    rows: Vec<Row>,
    digest: Option<Digest>,
}

fn said(trial: &Trial, run: Result<Run, Diagnostics>) -> Report {
    let (rows, digest) = match run {
        Ok(Run { rows, digest }) => (Ok(rows), digest),
        Err(wrong) => (Err(wrong), None),
    };
    Report {
        file: trial.path.display().to_string(),
        title: trial.title.clone(),
        group: trial.group.clone(),
        engines: trial.topology.hosts.iter().map(|host| host.engine).collect(),
        rows,
        digest,
    }
}

/// Runs a trial in a lane that is available.
fn run_in(trial: &Trial, lane: Lane, means: &Means, grounds: &Grounds) -> Result<Run, Diagnostics> {
    let on = |ground: &dyn Ground| Ok(Run { rows: kernel::run(trial, ground)?, digest: None });
    match lane {
        Lane::Sim => sim::run(trial, means.seed, means.kernel),
        Lane::Kernel => on(&grounds.here),
        Lane::Vm => grounds.elsewhere.as_ref().map_or_else(|| Ok(Run::default()), |vm| on(vm)),
        Lane::Docker => Ok(Run::default()),
    }
}

/// Puts one lane's verdicts beside another's: the same line of the trial is the same row.
fn beside(mut run: Run, more: Run) -> Run {
    for row in more.rows {
        match run.rows.iter_mut().find(|r| r.at == row.at && r.asked == row.asked) {
            Some(same) => {
                same.verdicts.extend(row.verdicts);
                same.outcomes.extend(row.outcomes);
            }
            None => run.rows.push(row),
        }
    }
    Run { digest: run.digest.or(more.digest), ..run }
}
