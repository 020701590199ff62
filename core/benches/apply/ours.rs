//! A process of ours: it plans, sets up, says so, and takes all down when it is told to end.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

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
}

/// Up and down once.
pub(crate) fn sample(size: usize, extent: usize) -> Sample {
    let (up, running) = timed(|| Running::start(size, extent, &[]).up());
    let (down, ()) = timed(|| running.end());
    Sample { up, down }
}

/// The most memory that all its processes together had at one time while it was set up, in bytes. The tools are among
/// them: it is looked at without a pause, and not timed.
pub(crate) fn peak(size: usize, extent: usize) -> u64 {
    let running = Running::start(size, extent, &[]);
    let id = running.process.id();
    let up = thread::spawn(|| running.up());
    let mut most = 0;
    while !up.is_finished() {
        most = most.max(tree(id));
    }
    up.join().unwrap().end();
    most * 1024
}

/// How long each container took, in ms, in their order.
pub(crate) fn each(size: usize, extent: usize) -> Vec<f64> {
    let mut running = Running::start(size, extent, &["each"]).up();
    let each = running.took.split_off(1);
    running.end();
    each
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
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says, took: Vec::new() }
    }

    /// Waits until all is set up.
    fn up(mut self) -> Self {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        let took: Vec<Value> = serde_json::from_str(&line).unwrap();
        self.took = took.iter().filter_map(Value::as_f64).collect();
        self
    }

    fn end(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
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
