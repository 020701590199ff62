//! Goldens: the packets of every probe of every trial, in short, and what came of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use seatrial_core::engine::Version;
use seatrial_core::plan::Planner;
use seatrial_core::probe::{Change, Expectation, Fault, Probe, Step};
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial::{self, Entry, Lane, Place, Trial};

use seatrial_sim::world::World;

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

fn ask(world: &mut World, probe: &Probe, text: &mut String) {
    let answer = world.probe(probe);
    write!(text, "\n{probe}  {}\n{}", answer.outcome, answer.trace.brief()).unwrap();
}

fn change(world: &mut World, planner: &mut Planner, change: &Change) {
    let fault = match change {
        Change::Cut(node, device) => (node, device, Fault::Cut),
        Change::Heal(node, device) => (node, device, Fault::Heal),
        Change::Loss(node, device, percent) => (node, device, Fault::Loss(*percent)),
        Change::Stop(_)
        | Change::Start(_)
        | Change::Replace(_)
        | Change::Connect(..)
        | Change::Disconnect(..)
        | Change::Rule(..) => {
            let operations = planner.change(change).unwrap_or_else(|e| panic!("{change}: {e}"));
            return world.apply(&operations).unwrap();
        }
    };
    let (node, device, fault) = fault;
    world.fault(node, device, fault).unwrap();
}

fn step(world: &mut World, planner: &mut Planner, step: &Step, text: &mut String) {
    match step {
        Step::Expect(Expectation::Probe(probe, _)) => return ask(world, probe, text),
        Step::Expect(Expectation::Fact(..)) => return,
        Step::Change(asked) => change(world, planner, asked),
        Step::WaitMs(ms) => world.advance_ms(*ms),
        Step::AtMs(ms) => world.advance_ms(ms - world.now_us().div_ceil(1000)),
    }
    write!(text, "\n{step}\n").unwrap();
}

/// Every probe of a trial.
fn traces(trial: &Trial) -> String {
    let (mut planner, plan) = Planner::new(&trial.topology).unwrap_or_else(|e| panic!("{e}"));
    let mut world = World::build(&plan, 1).unwrap();
    let mut text = format!("{}\n", trial.title);
    for expectation in lines(trial, &trial.expect) {
        match expectation {
            Expectation::Probe(probe, _) => ask(&mut world.clone(), &probe, &mut text),
            Expectation::Fact(..) => {}
        }
    }
    for line in lines(trial, &trial.steps) {
        step(&mut world, &mut planner, &line, &mut text);
    }
    text
}

#[test]
fn every_packet_of_every_trial_goes_the_way_that_was_approved() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").canonicalize().unwrap();
    let disk = Fixtures(fixtures.clone());
    insta::glob!("../../fixtures/trials", "*/*.trial.yaml", |path| {
        let path = path.strip_prefix(&fixtures).unwrap();
        let trial = trial::read(path, &disk, &Options::default()).unwrap();
        insta::assert_snapshot!(traces(&trial));
    });
}
