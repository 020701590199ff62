//! What setting networks up and taking them down costs: `scripts/bench.sh apply`.
//!
//! Each sample is whole processes, from the compose file to the last rule, and all who are compared take turns. It needs
//! no root: everything is made in namespaces of the bench's own. `down` is until the last process has ended, `gone` until
//! the kernel has freed the last namespace, which it does by itself.
//!
//! * `project`: what is set up. `ours`: by this crate. `peers`: by `ip -batch` and `nft -f`, and by netavark.
//! * `alone`: the namespaces of the bench's own, and when those below are gone.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench may")]
#![expect(clippy::disallowed_methods, reason = "a bench looks at the clock, and waits for the kernel")]

use std::env;
use std::iter;
use std::process::ExitCode;
use std::time::Instant;

use seatrial_core::linux;

use crate::alone::Alone;
use crate::peers::{Ip, Netavark};
use crate::project::{EXTENTS, SIZES, Size};

mod alone;
mod ours;
mod peers;
mod project;

/// How often each is done.
const SAMPLES: usize = 20;
/// Whoever takes longer than so many ms is done no more than three times.
const SLOW: f64 = 2000.0;

fn main() -> ExitCode {
    if let Some(status) = linux::entry() {
        return status;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == ours::HOLD) {
        ours::hold(&args[1..]);
        return ExitCode::SUCCESS;
    }
    let mut filters = args.iter().filter(|arg| !arg.starts_with('-') && arg.parse::<usize>().is_err());
    if !filters.clone().any(|filter| "apply".contains(filter.as_str())) && filters.next().is_some() {
        return ExitCode::SUCCESS;
    }
    let count = args.iter().skip_while(|arg| *arg != "--sample-count").nth(1);
    let count = count.map_or(SAMPLES, |count| count.parse().unwrap());
    match Alone::enter() {
        Some(alone) => bench(&alone, count),
        None => return alone::again(&args),
    }
    ExitCode::SUCCESS
}

fn bench(alone: &Alone, count: usize) {
    println!(
        "{:17}{:20}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}",
        "ms", "", "up", "least", "down", "gone", "up / ip", "MB"
    );
    for (n, size) in SIZES.iter().enumerate() {
        let ip = Ip::new(*size);
        let netavark = Netavark::new(*size);
        let ours = EXTENTS.iter().enumerate().map(|(extent, (_, name))| {
            let sample: Box<dyn Fn() -> Sample + '_> = Box::new(move || ours::sample(n, extent));
            (*name, sample)
        });
        let mut all: Vec<Contender<'_>> = ours.collect();
        all.push(("ip -batch, nft -f", Box::new(|| ip.sample())));
        match &netavark {
            Some(netavark) => all.push(("netavark", Box::new(|| netavark.sample()))),
            None if n == 0 => println!("netavark: not installed, skipped"),
            None => {}
        }
        let samples = take_turns(alone, &all, count);
        let most = |extent| (0..3).map(|_| alone.timed_gone(|| ours::peak(n, extent)).0).max();
        let peaks: Vec<_> = (0..EXTENTS.len()).map(most).collect();
        report(size, &all.iter().map(|(name, _)| *name).collect::<Vec<_>>(), &samples, &peaks);
    }
    let each = |extent| {
        let runs: Vec<Vec<f64>> =
            (0..count).map(|_| alone.timed_gone(|| ours::each(SIZES.len() - 1, extent)).0).collect();
        let of = |take: fn(&Vec<f64>) -> Option<&f64>| runs.iter().filter_map(take).copied();
        let (first, last) = (of(|run| run.first()), of(|run| run.last()));
        let name = EXTENTS[extent].1;
        println!(
            "of 100 containers {name:20}median: {}; least: {}",
            apart(median(first.clone()), median(last.clone())),
            apart(least(first), least(last))
        );
    };
    (0..EXTENTS.len()).for_each(each);
}

type Contender<'a> = (&'static str, Box<dyn Fn() -> Sample + 'a>);

/// Once up and down, in ms.
#[derive(Debug, Clone, Copy)]
struct Sample {
    up: f64,
    down: f64,
}

/// Every contender's samples, and how long it took until all was gone.
fn take_turns(alone: &Alone, all: &[Contender<'_>], count: usize) -> Vec<Vec<(Sample, f64)>> {
    let mut samples: Vec<Vec<(Sample, f64)>> = vec![Vec::new(); all.len()];
    for turn in 0..count {
        for ((_, contender), samples) in all.iter().zip(&mut samples) {
            let slow = samples.last().is_some_and(|(sample, _)| sample.up > SLOW);
            if turn < 3 || !slow {
                samples.push(alone.timed_gone(contender));
            }
        }
    }
    samples
}

fn report(size: &Size, names: &[&str], samples: &[Vec<(Sample, f64)>], peaks: &[Option<u64>]) {
    let ip: Vec<f64> = samples[EXTENTS.len()].iter().map(|(sample, _)| sample.up).collect();
    let peaks = peaks.iter().copied().chain(iter::repeat(None));
    for ((name, samples), peak) in names.iter().zip(samples).zip(peaks) {
        let of = |value: fn(&(Sample, f64)) -> f64| median(samples.iter().map(value));
        let least = least(samples.iter().map(|(sample, _)| sample.up));
        let ratio = median(samples.iter().zip(&ip).map(|((sample, _), ip)| sample.up / ip));
        let memory = peak.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
        let (up, down, gone) = (of(|(s, _)| s.up), of(|(s, _)| s.down), of(|(s, gone)| s.down + gone));
        println!(
            "{:17}{name:20}{up:>9.1}{least:>9.1}{down:>9.1}{gone:>9.1}{ratio:>9.2}{memory:>7}",
            size.name
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn apart(first: f64, last: f64) -> String {
    format!("first {first:.2}, last {last:.2}, {:.2} x", last / first)
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed().as_secs_f64() * 1e3, done)
}
