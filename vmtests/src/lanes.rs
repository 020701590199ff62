//! Where a trial can run: in the simulator, in namespaces of this machine, in those of virtual machines, and with the real
//! Docker Engine.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use seatrial_core::diagnostic::Diagnostics;
use seatrial_core::engine::{Engine, Version};
use seatrial_core::topology::trial::{Lane, Trial};
use seatrial_sim::digest::Digest;
use thiserror::Error;

use crate::kernels::{self, Wanted};
use crate::qemu::Accel;
use crate::report::{Checked, Column, Machine, Report, Row};
use docker::Engines;
use ground::Ground;
use kernel::Here;
use rows::Line;

mod apart;
mod docker;
mod fleet;
mod ground;
mod kernel;
mod rows;
mod shell;
mod sim;
mod vm;

pub use shell::{Ended, shell};

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
    /// How many trials are run at one time on one kernel, where most of the time is spent waiting.
    pub jobs: NonZeroUsize,
    /// Where a simulated world's chance comes from.
    pub seed: u64,
    /// The kernels that the simulator follows and that virtual machines run; without one 6.12, and the newest there is.
    pub kernels: Vec<Wanted>,
    /// How many virtual machines run at one time.
    pub machines: NonZeroUsize,
    /// What carries virtual machines out; without one the processor, where a first machine shows that it can.
    pub accel: Option<Accel>,
    /// A folder in which virtual machines leave their consoles and initramfs.
    pub keep: Option<PathBuf>,
    /// The folder of saved virtual machines, where they are to be saved.
    pub saved: Option<PathBuf>,
    /// The Engines whose rules every trial is run with, whatever it says itself; without one its own.
    pub engines: Vec<Engine>,
    /// The root filesystems with the Engines of lane docker; those that were made for it where none is named.
    pub docker_roots: Vec<PathBuf>,
    /// How long a virtual machine may be silent, and a Docker Engine take to come up, before it is given up. Under emulation
    /// with all cores taken, a plan of many containers takes seconds.
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
        Lane::Vm => match vm::available().and_then(|()| kernels::find(&means.kernels)) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        },
        Lane::Docker => match docker::available(&means.docker_roots) {
            Ok(()) => return Ok(()),
            Err(error) => error.to_string(),
        },
    };
    Err(LaneMissing { lane, why })
}

/// Runs trials in lanes that are available, with every Engine and on every kernel that is wanted.
///
/// # Errors
/// Kernels of which none comes up, and Engines that cannot be started.
pub fn run(trials: &[Trial], lanes: &[Lane], means: &Means) -> Result<Checked, LaneMissing> {
    // Every machine that is booted serves all Engines.
    let all: Vec<Trial> = match means.engines.as_slice() {
        [] => trials.to_vec(),
        engines => {
            engines.iter().flat_map(|engine| trials.iter().map(|trial| with(trial, *engine))).collect()
        }
    };
    let (mut ran, machines) = columns(&all, lanes, means)?;
    if let [_, _, ..] = means.engines.as_slice() {
        ran = ran.into_iter().flat_map(|ran| apart(ran, &means.engines, trials.len())).collect();
        ran.sort_by_key(|(column, _)| *column);
    }
    let columns: Vec<Column> = ran.iter().map(|(column, _)| *column).collect();
    let mut ran: Vec<_> = ran.into_iter().map(|(column, ran)| (column, ran.into_iter())).collect();
    let reports = trials.iter().map(|trial| {
        let of_trial = ran.iter_mut().filter_map(|(column, ran)| Some((*column, ran.next()?)));
        said(trial, &means.engines, of_trial.collect())
    });
    Ok(Checked { reports: reports.collect(), columns, machines })
}

/// A trial under another Engine.
fn with(trial: &Trial, engine: Engine) -> Trial {
    let mut trial = trial.clone();
    if let Some(host) = trial.topology.hosts.first_mut() {
        host.engine = engine;
    }
    trial
}

/// A column for each Engine, of what came of all trials with one Engine after the other.
fn apart((column, ran): (Column, Vec<Ran>), engines: &[Engine], trials: usize) -> Columns {
    let mut ran = ran.into_iter();
    let part = |engine: &Engine| {
        let column = Column { engine: Some(engine.version), ..column };
        (column, ran.by_ref().take(trials).collect())
    };
    engines.iter().map(part).collect()
}

/// What came of all trials, by column.
type Columns = Vec<(Column, Vec<Ran>)>;

/// The virtual machines, by the column they served.
type Machines = BTreeMap<Column, Machine>;

/// Runs trials in every lane and on every kernel.
fn columns(trials: &[Trial], lanes: &[Lane], means: &Means) -> Result<(Columns, Machines), LaneMissing> {
    let (fleet, ran) = thread::scope(|scope| {
        let fleet = lanes.contains(&Lane::Vm).then(|| scope.spawn(|| fleet::run(trials, means)));
        let ran = here(trials, lanes, means);
        (fleet.map(|fleet| fleet.join().unwrap_or_else(|panic| resume_unwind(panic))), ran)
    });
    let mut ran = ran?;
    let mut machines = BTreeMap::new();
    for (column, served) in fleet.transpose()?.into_iter().flatten() {
        machines.insert(column, served.machine);
        ran.push((column, served.ran));
    }
    ran.sort_by_key(|(column, _)| *column);
    Ok((ran, machines))
}

/// Runs trials in the lanes that need no machine of their own, one lane after another.
///
/// # Errors
/// Engines that cannot be started.
fn here(trials: &[Trial], lanes: &[Lane], means: &Means) -> Result<Columns, LaneMissing> {
    let jobs = if lanes == [Lane::Sim] { NonZeroUsize::MIN } else { means.jobs };
    let mut ran = Vec::new();
    for lane in lanes {
        match lane {
            Lane::Sim => {
                for kernel in followed(&means.kernels) {
                    let work = |trial: &Trial| (sim::run(trial, means.seed, kernel), None);
                    ran.push((Column { kernel, ..Column::from(*lane) }, spread(trials, jobs, work)));
                }
            }
            Lane::Kernel => {
                let ground = Here(means.program.clone());
                ran.push((Column::from(*lane), spread(trials, jobs, |trial| on(trial, &ground))));
            }
            Lane::Docker => {
                let engines = Engines::of(&means.docker_roots, &means.program, means.timeout);
                let ground = engines.map_err(|e| LaneMissing { lane: *lane, why: e.to_string() })?;
                ran.push((Column::from(*lane), spread(trials, jobs, |trial| on(trial, &ground))));
            }
            Lane::Vm => {}
        }
    }
    Ok(ran)
}

/// The kernels that the simulator follows: its own, where nobody wants another.
fn followed(wanted: &[Wanted]) -> Vec<Option<Version>> {
    let mut versions: Vec<_> = wanted.iter().map(|one| Some(one.version())).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.is_empty() { vec![None] } else { versions }
}

/// Does something with each trial, some at one time; what comes of it stands in the order of the trials.
fn spread<T: Send>(trials: &[Trial], jobs: NonZeroUsize, work: impl Fn(&Trial) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((i, trial)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, trials.get(i)?)))
        {
            done.push((i, work(trial)));
        }
        done
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.get().min(trials.len())).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, came)| came).collect()
}

/// Runs a trial in the simulator, which needs nothing but a seed.
#[must_use]
pub fn simulate(trial: &Trial, seed: u64) -> Report {
    said(trial, &[], vec![(Column::from(Lane::Sim), (sim::run(trial, seed, None), None))])
}

/// What came of a trial in one column: its lines, and what all simulated worlds come to.
#[derive(Debug, Default)]
struct Run {
    lines: Vec<Line>,
    digest: Option<Digest>,
}

/// What came of a trial in one column, and how long it took; or what is wrong with the trial.
type Ran = (Result<Run, Diagnostics>, Option<Duration>);

/// Runs a trial on a kernel.
#[expect(clippy::disallowed_methods, reason = "how long a kernel takes is of interest")]
fn on(trial: &Trial, ground: &dyn Ground) -> Ran {
    let began = Instant::now();
    let run = kernel::run(trial, ground).map(|lines| Run { lines, digest: None });
    (run, Some(began.elapsed()))
}

/// What all columns say of a trial, which was run with these Engines, or its own.
fn said(trial: &Trial, engines: &[Engine], ran: Vec<(Column, Ran)>) -> Report {
    // A trial's further hosts keep theirs.
    let kept = if engines.is_empty() { 0 } else { 1 };
    let own = trial.topology.hosts.iter().skip(kept).map(|host| host.engine);
    let mut report = Report {
        file: trial.path.display().to_string(),
        title: trial.title.clone(),
        group: trial.group.clone(),
        engines: engines.iter().copied().chain(own).collect(),
        rows: Ok(Vec::new()),
        digest: None,
        took: BTreeMap::new(),
    };
    let mut digests = Vec::new();
    for (column, (run, took)) in ran {
        match (&mut report.rows, run) {
            (Ok(rows), Ok(run)) => {
                digests.extend(run.digest);
                report.took.extend(took.map(|took| (column, took)));
                run.lines.into_iter().fold(0, |place, line| beside(rows, place, column, line));
            }
            (Ok(_), Err(wrong)) => report.rows = Err(wrong),
            (Err(_), _) => {}
        }
    }
    report.digest = match digests.as_slice() {
        [one] => Some(*one),
        [] => None,
        several => Some(Digest::of(several.iter().copied())),
    };
    report
}

/// Puts one column's verdict beside another's: the same line of the trial is the same row. A line that no other column has
/// comes to stand at `place`, behind the one before it; the place behind this one is returned.
fn beside(
    rows: &mut Vec<Row>,
    place: usize,
    column: Column,
    Line { at, asked, expected, came: (verdict, outcome) }: Line,
) -> usize {
    let known = rows.iter().position(|row| row.at == at && row.asked == asked);
    let verdicts = BTreeMap::from([(column, verdict)]);
    let outcomes = outcome.into_iter().map(|outcome| (column, outcome)).collect();
    if let Some((known, row)) = known.and_then(|known| Some((known, rows.get_mut(known)?))) {
        row.verdicts.extend(verdicts);
        row.outcomes.extend::<BTreeMap<_, _>>(outcomes);
        return known + 1;
    }
    // Other columns may have another of its alternatives there, written before it.
    let written_before = |row: &&Row| row.at.span.start < at.span.start;
    let place = place + rows.iter().skip(place).take_while(written_before).count();
    rows.insert(place, Row { at, asked, expected, verdicts, outcomes });
    place + 1
}
