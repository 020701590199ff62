//! `vmtests`: every trial on every kernel, beside the simulator.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use seatrial_core::linux;
use seatrial_core::topology::trial::Lane;
use seatrial_vmtests::kernels::{self, Kernel, Wanted};
use seatrial_vmtests::lanes::{self, Ended, LaneMissing, Means};

use crate::args::{Shard, VmTests};
use crate::check::{check, means, trials};
use crate::format::{Again, kernels as kernels_table};
use crate::output::{Output, Refusal};
use crate::style;

/// The simulator says what each kernel should: a difference is a mistake of one of them.
const LANES: [Lane; 2] = [Lane::Sim, Lane::Vm];

/// Runs trials on kernels.
pub(crate) fn run(args: &VmTests) -> ExitCode {
    let done = if args.shell { shell(args) } else { table(args).map(|output| output.print()) };
    done.unwrap_or_else(|refusal| Output::from(refusal).print())
}

/// A shell on a kernel, or a program there.
fn shell(args: &VmTests) -> Result<ExitCode, Refusal> {
    let means = means(args.kernel.clone(), &args.machines, args.chance.seed);
    if let Some(disk) = &args.disk {
        let wrong = |e| Refusal::Words(format!("cannot use {}: {e}", disk.path.display()));
        File::options().read(true).write(disk.writable).open(&disk.path).map_err(wrong)?;
    }
    let Ended { status, mistake } = lanes::shell(&means, &args.command, args.disk.as_ref())?;
    match mistake {
        Some(mistake) => Err(Refusal::Machine(linux::Error::words("trust", "the kernel", mistake))),
        None => Ok(ExitCode::from(status)),
    }
}

fn table(args: &VmTests) -> Result<Output, Refusal> {
    let missing = |e: io::Error| LaneMissing { lane: Lane::Vm, why: e.to_string() };
    if args.list_kernels {
        return Ok(Output::answer(list(&kernels::list(None).map_err(missing)?)));
    }
    let wanted = if args.kernel.is_empty() {
        kernels::list(None).map_err(missing)?.into_iter().map(Wanted::Given).collect()
    } else {
        args.kernel.clone()
    };
    let means = means(wanted, &args.machines, args.chance.seed);
    let means = Means { machines: args.jobs.unwrap_or(means.machines), ..means };
    let files = || match of_shard(trials(&args.trials)?, args.shard) {
        none if none.is_empty() => Err(Refusal::Words("there are fewer trials than parts".to_owned())),
        some => Ok(some),
    };
    let came = check(files, &LANES, &means)?;
    let again = Again { seed: means.seed, engine: None };
    came.say(args.format, again, |checked| kernels_table::render(checked, again, style::columns()))
}

/// The trials of a part: every part has some of every group.
fn of_shard(files: Vec<PathBuf>, shard: Option<Shard>) -> Vec<PathBuf> {
    let Some(Shard { part, parts }) = shard else { return files };
    files.into_iter().skip(part - 1).step_by(parts).collect()
}

/// Kernels, a line each.
fn list(kernels: &[Kernel]) -> String {
    let mut out = String::new();
    for Kernel { version, image, modules } in kernels {
        let modules = modules.as_ref().map_or_else(|| "no modules".to_owned(), |m| m.display().to_string());
        let _ = writeln!(out, "{:<6}  {}\n        {modules}", version.to_string(), image.display());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_all_trials_each_once() {
        let files: Vec<PathBuf> = (0..7).map(|n| PathBuf::from(n.to_string())).collect();
        let part = |part| of_shard(files.clone(), Some(Shard { part, parts: 3 }));
        let mut all = [part(1), part(2), part(3)].concat();
        all.sort();
        assert_eq!((all, part(1).len(), part(3).len()), (files.clone(), 3, 2));
    }
}
