//! `vmtests`: every trial on every kernel, beside the simulator.

use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use seatrial_core::linux;
use seatrial_core::topology::trial::Lane;
use seatrial_vmtests::kernels::{self, Kernel, Wanted};
use seatrial_vmtests::lanes::{self, Ended, LaneMissing, Means};
use seatrial_vmtests::qemu::Disk;

use crate::args::{Shard, VmTests};
use crate::check::{check, means, trials};
use crate::format::{Again, kernels as kernels_table};
use crate::output::{Output, Refusal};
use crate::style;

/// The simulator says what each kernel should: a difference is a mistake of one of them.
const LANES: [Lane; 2] = [Lane::Sim, Lane::Vm];

/// What names trials where nobody else does.
const TRIALS: &str = "VMTESTS_TRIALS";

/// Runs trials on kernels.
pub(crate) fn run(args: &VmTests) -> ExitCode {
    let done = if args.shell { shell(args) } else { table(args).map(|output| output.print()) };
    done.unwrap_or_else(|refusal| Output::from(refusal).print())
}

/// A shell on a kernel, or a program there.
fn shell(args: &VmTests) -> Result<ExitCode, Refusal> {
    if let [_, another, ..] = args.kernel.as_slice() {
        let words = format!("--shell is on one kernel: --kernel {} is one too many", another.version());
        return Err(Refusal::Words(words));
    }
    let means = means(args.kernel.clone(), &args.machines, args.chance.seed);
    args.disk.as_ref().map_or(Ok(()), usable)?;
    let Ended { status, mistake } = lanes::shell(&means, &args.command, args.disk.as_ref())?;
    match mistake {
        Some(mistake) => Err(Refusal::Machine(linux::Error::words("trust", "the kernel", mistake))),
        None => status.map(ExitCode::from).map_err(Refusal::Words),
    }
}

/// Whether an image can be read, and written to where it is to be.
fn usable(disk: &Disk) -> Result<(), Refusal> {
    let opened = File::options().read(true).write(disk.writable).open(&disk.path);
    let kind = opened.and_then(|file| file.metadata()).map(|metadata| metadata.is_dir());
    let why = match kind {
        Ok(false) => return Ok(()),
        Ok(true) => "it is a folder".to_owned(),
        Err(e) => e.to_string(),
    };
    Err(Refusal::Words(format!("cannot use the disk {}: {why}", disk.path.display())))
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
    let files = || match of_shard(trials(&wanted_trials(&args.trials))?, args.shard) {
        none if none.is_empty() => Err(Refusal::Words("there are fewer trials than parts".to_owned())),
        some => Ok(some),
    };
    let came = check(files, &LANES, &means)?;
    let again = Again { seed: means.seed, engine: None };
    came.say(args.format, again, |checked| kernels_table::render(checked, again, style::columns()))
}

/// What was named, or what the environment names.
fn wanted_trials(named: &[PathBuf]) -> Vec<PathBuf> {
    match named {
        [] => vec![env::var_os(TRIALS).map_or_else(|| PathBuf::from("fixtures/trials"), PathBuf::from)],
        named => named.to_vec(),
    }
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
