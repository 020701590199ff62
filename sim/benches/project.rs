//! What a project costs as it grows: `cargo bench -p seatrial-sim --bench project`.
#![expect(clippy::unwrap_used, reason = "a bench may")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use divan::{AllocProfiler, Bencher};
use seatrial_core::engine::Engine;
use seatrial_core::plan::{self, Plan};
use seatrial_core::probe::Probe;
use seatrial_core::topology::{compose, trial};
use seatrial_sim::questions::matrix::matrix;
use seatrial_sim::world::{Answer, World};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// How many containers a project has.
const SIZES: [usize; 4] = [1, 10, 100, 1000];

fn main() {
    divan::main();
}

/// Services on one network, each with a published port.
fn plan(count: usize) -> Plan {
    let mut text = "name: shop\nservices:\n".to_owned();
    for n in 0..count {
        writeln!(text, "  web{n}: {{ image: nginx, ports: [ '{}:80' ] }}", 8000 + n).unwrap();
    }
    let path = PathBuf::from("compose.yaml");
    let files = BTreeMap::from([(path.clone(), text)]);
    let project = compose::read(&[path], &files, &compose::Options::default()).unwrap();
    plan::plan(&trial::assume(project, Engine::NEWEST).unwrap()).unwrap()
}

/// Builds a world of so many containers; `max alloc` is what it holds, and what building it needs for a while.
#[divan::bench(args = SIZES.into_iter().chain([10_000]))]
fn build(bencher: Bencher<'_, '_>, count: usize) {
    let plan = plan(count);
    bencher.bench(|| World::build(&plan, 1).unwrap());
}

/// Copies one, as every expectation of a trial has its own.
#[divan::bench(args = SIZES)]
fn copy(bencher: Bencher<'_, '_>, count: usize) {
    let world = World::build(&plan(count), 1).unwrap();
    bencher.bench(|| world.clone());
}

/// Asks every pair, as `seatrial matrix` does.
#[divan::bench(args = SIZES, sample_count = 5)]
fn all_pairs(bencher: Bencher<'_, '_>, count: usize) {
    let plan = plan(count);
    let world = World::build(&plan, 1).unwrap();
    bencher.bench(|| {
        matrix(&plan, |probe| {
            let Answer { outcome, trace } = world.clone().probe(probe);
            (outcome, trace)
        })
    });
}

/// A LAN machine asks the first container's published port.
#[divan::bench(args = SIZES)]
fn probe(bencher: Bencher<'_, '_>, count: usize) {
    let world = World::build(&plan(count), 1).unwrap();
    let probe: Probe = "lan -> 203.0.113.10:8000/tcp".parse().unwrap();
    assert!(world.clone().ask(&probe).to_string().starts_with("reaches web0:80"));
    bencher.with_inputs(|| world.clone()).bench_refs(|world| world.ask(&probe));
}
