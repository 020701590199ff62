//! `seatrial check`: which expectations of which trials hold.

use std::path::PathBuf;

use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics};
use seatrial_core::topology::trial::Lane;
use seatrial_vmtests::lanes;
use seatrial_vmtests::report::{Counts, Report};

use crate::args::{Check, CheckFormat};
use crate::diagnostics;
use crate::disk::trials_below;
use crate::format::{json, junit, tap, text};
use crate::input;
use crate::output::{Output, Refusal, Status};
use crate::style;

/// Runs every trial that is named, in every lane that is named.
pub(crate) fn run(args: &Check) -> Result<Output, Refusal> {
    let mut wanted = args.lane.clone();
    wanted.sort_unstable();
    wanted.dedup();
    wanted.iter().try_for_each(|lane| lanes::available(*lane))?;
    let files = trials(&args.paths)?;
    let mut warnings = Vec::new();
    let reports = files.into_iter().map(|file| report(file, args, &wanted, &mut warnings));
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    let out = match args.format {
        CheckFormat::Text => text::render(&reports, &wanted, style::columns()),
        CheckFormat::Json => json::render(&reports, &wanted)?,
        CheckFormat::Junit => junit::render(&reports).map_err(|e| Refusal::Words(e.to_string()))?,
        CheckFormat::Tap => tap::render(&reports),
    };
    let err = diagnostics::warnings(&warnings) + &refusals(&reports);
    Ok(Output { out, err, status: status(&Counts::of(&reports)) })
}

/// What is wrong with the trials that could not be run.
fn refusals(reports: &[Report]) -> String {
    let wrong = reports.iter().filter_map(|report| report.rows.as_ref().err());
    let all = Diagnostics(wrong.flat_map(|diagnostics| diagnostics.0.iter().cloned()).collect());
    if all.0.is_empty() { String::new() } else { diagnostics::render(&all, style::columns()) }
}

/// The trials that paths name: a file itself, a folder all that are below it.
fn trials(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Refusal> {
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

fn report(
    file: PathBuf,
    args: &Check,
    wanted: &[Lane],
    warnings: &mut Vec<Diagnostic>,
) -> Result<Report, Refusal> {
    let mut trial = match input::trial(&file) {
        Ok(trial) => trial,
        Err(diagnostics) => {
            let file = file.display().to_string();
            return Ok(Report { title: file.clone(), group: String::new(), file, rows: Err(diagnostics) });
        }
    };
    // A compose file that several trials name is warned of once.
    let new: Vec<_> = trial.warnings.iter().filter(|warning| !warnings.contains(*warning)).cloned().collect();
    warnings.extend(new);
    if let (Some(engine), Some(host)) = (args.engine, trial.topology.hosts.first_mut()) {
        host.engine = engine;
    }
    Ok(lanes::run(&trial, wanted)?)
}

/// A trial that cannot be read outranks one that fails, and that one a step that could not be made.
const fn status(counts: &Counts) -> Status {
    match counts {
        Counts { refused: 1.., .. } => Status::BadInput,
        Counts { failed: 1.., .. } => Status::Failed,
        Counts { unsupported: 1.., .. } => Status::LaneMissing,
        Counts { .. } => Status::Held,
    }
}
