//! A process of ours: it plans, sets up, says so, and takes all down when it is told to end.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use seatrial_core::linux::stage::{Launch, Stage};
use seatrial_core::plan::PlanOp;
use serde_json::Value;

use crate::project::{self, EXTENTS, SIZES};
use crate::{Sample, timed};

/// What such a process is called.
pub(crate) const HOLD: &str = "hold";

/// Sets up and takes down what the two numbers name; each container by itself where there is a third word.
pub(crate) fn hold(args: &[String]) {
    let [size, extent] = [&args[0], &args[1]].map(|n| n.parse::<usize>().unwrap());
    let plan = project::plan(SIZES[size], EXTENTS[extent].0);
    let mut stage = Stage::launch(&Launch::of(Path::new("/proc/self/exe"), &plan)).unwrap();
    let parts = match args.get(2) {
        Some(_) => project::parts(plan),
        None => vec![plan.items.into_iter().map(PlanOp::Add).collect()],
    };
    let took: Vec<f64> = parts.into_iter().map(|part| timed(|| stage.apply(part).unwrap()).0).collect();
    println!("{}", serde_json::to_string(&took).unwrap());
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(stage);
    // In KiB, of whichever process below had most.
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss());
}

/// Up and down once.
pub(crate) fn sample(size: usize, extent: usize) -> Sample {
    let (up, mut running) = timed(|| Running::start(size, extent, &[]));
    // The tools have ended by now: whichever had most is counted beside all that run on.
    let live = tree(running.process.id());
    let (down, largest) = timed(|| running.end());
    Sample { up, down, memory: Some((live + largest) * 1024) }
}

/// How long each container took, in ms, in their order.
pub(crate) fn each(size: usize, extent: usize) -> Vec<f64> {
    let mut running = Running::start(size, extent, &["each"]);
    running.end();
    running.took.split_off(1)
}

struct Running {
    process: Child,
    says: BufReader<ChildStdout>,
    /// How long each part took.
    took: Vec<f64>,
}

impl Running {
    fn start(size: usize, extent: usize, more: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(HOLD).args([size, extent].map(|n| n.to_string())).args(more);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut says = BufReader::new(process.stdout.take().unwrap());
        let took: Vec<Value> = serde_json::from_str(&line(&mut says)).unwrap();
        Self { process, says, took: took.iter().filter_map(Value::as_f64).collect() }
    }

    /// Ends it: the most memory that one process below it had, in KiB.
    fn end(&mut self) -> u64 {
        drop(self.process.stdin.take());
        let most = line(&mut self.says).trim().parse().unwrap();
        assert!(self.process.wait().unwrap().success());
        most
    }
}

fn line(says: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    says.read_line(&mut line).unwrap();
    line
}

/// The memory of a process and of those below it, in KiB: what several share is divided among them (man 5 proc_pid_smaps,
/// Pss).
fn tree(process: u32) -> u64 {
    let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let all = read("smaps_rollup");
    let own = all.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
    let below = read(&format!("task/{process}/children"));
    own.map_or(0, |kib| kib.parse().unwrap())
        + below.split_whitespace().map(|child| tree(child.parse().unwrap())).sum::<u64>()
}
