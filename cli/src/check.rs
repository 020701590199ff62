//! `seatrial check`: which expectations of which trials hold.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics};
use seatrial_core::topology::trial::{Lane, Trial};
use seatrial_vmtests::kernels::Wanted;
use seatrial_vmtests::lanes::{self, Means};
use seatrial_vmtests::qemu::{self, Accel};
use seatrial_vmtests::report::{Checked, Counts, Report};

use crate::args::{Check, CheckFormat, Machines, WhichAccel};
use crate::diagnostics;
use crate::disk::trials_below;
use crate::format::{Again, json, junit, tap, text};
use crate::input;
use crate::output::{Output, Refusal, Status};
use crate::style;

/// This program: stages and agents are made of it.
const PROGRAM: &str = "/proc/self/exe";
/// How many trials are run at one time where nobody says: most of a trial's time is waiting for what does not come.
const JOBS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// Runs every trial that is named, in every lane that is named.
pub(crate) fn run(args: &Check) -> Result<Output, Refusal> {
    let mut wanted = args.lane.clone();
    wanted.sort_unstable();
    wanted.dedup();
    let mut engines = args.engine.clone();
    engines.sort_unstable_by_key(|engine| engine.version);
    engines.dedup();
    let means = Means {
        jobs: args.jobs.unwrap_or(JOBS),
        docker_roots: args.docker_root.clone(),
        engines,
        ..means(args.kernel.clone(), &args.machines, args.chance.seed)
    };
    let checked = check(|| trials(&args.paths), &wanted, &means)?;
    let again = Again { seed: means.seed, engine: args.engine.first().copied() };
    checked.say(args.format, again, |checked| text::render(checked, again, style::columns()))
}

/// What lanes run with.
pub(crate) fn means(kernels: Vec<Wanted>, machines: &Machines, seed: u64) -> Means {
    Means {
        program: PathBuf::from(PROGRAM),
        jobs: JOBS,
        seed,
        kernels,
        engines: Vec::new(),
        docker_roots: Vec::new(),
        machines: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        accel: match machines.accel {
            WhichAccel::Auto => None,
            WhichAccel::Kvm => Some(Accel::Kvm),
            WhichAccel::Tcg => Some(Accel::Tcg),
        },
        keep: machines.keep.clone(),
        saved: qemu::saved(),
        timeout: machines.timeout,
    }
}

/// What came of a check, and what Compose warns of in its files.
pub(crate) struct Came {
    checked: Checked,
    warnings: Vec<Diagnostic>,
}

/// Runs trials in lanes, all of which must be available.
pub(crate) fn check(
    files: impl FnOnce() -> Result<Vec<PathBuf>, Refusal>,
    lanes: &[Lane],
    means: &Means,
) -> Result<Came, Refusal> {
    lanes.iter().try_for_each(|lane| lanes::available(*lane, means))?;
    let read: Vec<_> = files()?.into_iter().map(read).collect();
    let warnings = warnings(&read);
    let good: Vec<Trial> = read.iter().filter_map(|trial| trial.as_ref().ok().cloned()).collect();
    let mut checked = lanes::run(&good, lanes, means)?;
    let mut run = checked.reports.into_iter();
    let all = read.into_iter().filter_map(|trial| match trial {
        Ok(_) => run.next(),
        Err(refused) => Some(*refused),
    });
    checked.reports = all.collect();
    Ok(Came { checked, warnings })
}

impl Came {
    /// All of it in the form that was asked for; `text` makes that for a person.
    pub(crate) fn say(
        &self,
        format: CheckFormat,
        again: Again,
        text: impl FnOnce(&Checked) -> String,
    ) -> Result<Output, Refusal> {
        let reports = &self.checked.reports;
        let out = match format {
            CheckFormat::Text => text(&self.checked),
            CheckFormat::Json => json::render(&self.checked, again)?,
            CheckFormat::Junit => {
                junit::render(&self.checked, again).map_err(|e| Refusal::Words(e.to_string()))?
            }
            CheckFormat::Tap => tap::render(&self.checked, again),
        };
        let err = diagnostics::warnings(&self.warnings) + &refusals(reports);
        Ok(Output { out, err, status: status(&self.checked.counts()) })
    }
}

/// What is wrong with the trials that could not be run.
fn refusals(reports: &[Report]) -> String {
    let wrong = reports.iter().filter_map(|report| report.rows.as_ref().err());
    let all = Diagnostics(wrong.flat_map(|diagnostics| diagnostics.0.iter().cloned()).collect());
    if all.0.is_empty() { String::new() } else { diagnostics::render(&all, style::columns()) }
}

/// The trials that paths name: a file itself, a folder all that are below it.
pub(crate) fn trials(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Refusal> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let below = trials_below(path)
                .map_err(|(folder, e)| Refusal::Words(format!("cannot list {}: {e}", folder.display())))?;
            files.extend(below);
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        let found = format!("no trials below {}", paths.join(", "));
        return Err(Diagnostic::new(At::nowhere("PATH"), found).expected("files named *.trial.yaml").into());
    }
    Ok(files)
}

/// A trial, or what is wrong with it.
fn read(file: PathBuf) -> Result<Trial, Box<Report>> {
    input::trial(&file).map_err(|diagnostics| {
        let file = file.display().to_string();
        Box::new(Report {
            title: file.clone(),
            group: String::new(),
            file,
            engines: Vec::new(),
            rows: Err(diagnostics),
            digest: None,
            took: BTreeMap::new(),
        })
    })
}

/// What Compose warns of; of a file that several trials name, once.
fn warnings(read: &[Result<Trial, Box<Report>>]) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for warning in read.iter().flatten().flat_map(|trial| &trial.warnings) {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}

/// A trial that cannot be read outranks one that fails, and that one a step that could not be made.
const fn status(counts: &Counts) -> Status {
    match counts {
        Counts { refused: 1.., .. } => Status::BadInput,
        Counts { failed: 1.., .. } | Counts { differ: 1.., .. } | Counts { lost: 1.., .. } => Status::Failed,
        Counts { unsupported: 1.., .. } => Status::LaneMissing,
        Counts { .. } => Status::Held,
    }
}
