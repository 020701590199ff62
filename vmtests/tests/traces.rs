//! The packets of every probe of every trial: goldens of them in short, and that they go the same way every time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use seatrial_core::engine::Version;
use seatrial_core::plan::Planner;
use seatrial_core::probe::{Change, Expectation, Probe, Step};
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial::{self, Entry, Lane, Place, Trial};

use seatrial_sim::digest::Digest;
use seatrial_sim::world::{Answer, World};

#[path = "traces/captures.rs"]
mod captures;
#[path = "traces/determinism.rs"]
mod determinism;

/// The disk, below the fixtures.
struct Fixtures(PathBuf);

impl Files for Fixtures {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(self.0.join(path))
    }
}

/// The lines that are meant in the simulator, with the trial's own engine.
fn lines<T: Clone>(trial: &Trial, entries: &[Entry<T>]) -> Vec<T> {
    let kernel = Version { major: 6, minor: Some(12), patch: None };
    let place = Place { engine: trial.topology.hosts[0].engine.version, kernel, lane: Lane::Sim };
    entries.iter().flat_map(|entry| entry.lines(&place)).map(|written| written.line.clone()).collect()
}

/// What came of a trial's lines, in their order.
#[derive(Debug, PartialEq, Eq)]
struct Voyage {
    told: Vec<Told>,
    /// Of each world: one an expectation, one for the steps.
    digests: Vec<Digest>,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Asked(Probe, Answer),
    Did(Step),
}

/// Asks a world a question.
type Ask<'a> = dyn FnMut(&mut World, &Probe) -> Answer + 'a;

fn change(world: &mut World, planner: &mut Planner, change: &Change) {
    match change {
        Change::Fault(node, device, fault) => world.fault(node, device, *fault).unwrap(),
        Change::Stop(_)
        | Change::Start(_)
        | Change::Replace(_)
        | Change::Connect(..)
        | Change::Disconnect(..)
        | Change::Rule(..) => {
            let operations = planner.change(change).unwrap_or_else(|e| panic!("{change}: {e}"));
            world.apply(&operations).unwrap();
        }
    }
}

fn step(world: &mut World, planner: &mut Planner, step: &Step, ask: &mut Ask<'_>) -> Option<Told> {
    match step {
        Step::Expect(Expectation::Probe(probe, _)) => {
            return Some(Told::Asked(probe.clone(), ask(world, probe)));
        }
        Step::Expect(Expectation::Fact(..)) => return None,
        Step::Change(asked) => change(world, planner, asked),
        Step::WaitMs(ms) => world.advance_ms(*ms),
        Step::AtMs(ms) => world.advance_ms(ms - world.now_us().div_ceil(1000)),
    }
    Some(Told::Did(step.clone()))
}

/// Every probe of a trial, and every step.
fn sail(trial: &Trial, seed: u64) -> Voyage {
    sail_asking(trial, seed, &mut World::probe)
}

fn sail_asking(trial: &Trial, seed: u64, ask: &mut Ask<'_>) -> Voyage {
    let (mut planner, plan) = Planner::new(&trial.topology).unwrap_or_else(|e| panic!("{e}"));
    let mut world = World::build(&plan, seed).unwrap();
    let mut voyage = Voyage { told: Vec::new(), digests: Vec::new() };
    for expectation in lines(trial, &trial.expect) {
        match expectation {
            Expectation::Probe(probe, _) => {
                let mut world = world.clone();
                let answer = ask(&mut world, &probe);
                voyage.told.push(Told::Asked(probe, answer));
                voyage.digests.push(world.digest());
            }
            Expectation::Fact(..) => {}
        }
    }
    for line in lines(trial, &trial.steps) {
        voyage.told.extend(step(&mut world, &mut planner, &line, ask));
    }
    voyage.digests.push(world.digest());
    voyage
}

/// The same in short.
fn traces(trial: &Trial) -> String {
    let mut text = format!("{}\n", trial.title);
    for told in sail(trial, 1).told {
        match told {
            Told::Asked(probe, Answer { outcome, trace }) => {
                write!(text, "\n{probe}  {outcome}\n{}", trace.brief()).unwrap();
            }
            Told::Did(step) => write!(text, "\n{step}\n").unwrap(),
        }
    }
    text
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").canonicalize().unwrap()
}

/// Every trial, by path.
fn trials() -> Vec<PathBuf> {
    let families = fs::read_dir(fixtures().join("trials")).unwrap().map(|entry| entry.unwrap().path());
    let families = families.filter(|path| path.is_dir());
    let files = families.flat_map(|family| fs::read_dir(family).unwrap()).map(|entry| entry.unwrap().path());
    let mut trials: Vec<PathBuf> =
        files.filter(|path| path.to_string_lossy().ends_with(".trial.yaml")).collect();
    trials.sort();
    assert!(trials.len() > 80, "only {} trials found", trials.len());
    trials
}

/// A trial by its path, below the fixtures or not.
fn trial(path: &Path) -> Trial {
    let path = path.strip_prefix(fixtures()).unwrap();
    trial::read(path, &Fixtures(fixtures()), &Options::default()).unwrap()
}

#[test]
fn every_packet_of_every_trial_goes_the_way_that_was_approved() {
    insta::glob!("../../fixtures/trials", "*/*.trial.yaml", |path| {
        insta::assert_snapshot!(traces(&trial(path)));
    });
}
