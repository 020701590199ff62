//! What planning costs as a project grows: `cargo bench -p seatrial-core`.
//!
//! `plan` is from the topology to every object; `check` is the second pair of eyes, which both executors run first.
#![expect(clippy::unwrap_used, reason = "a bench may")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use divan::{AllocProfiler, Bencher};
use seatrial_core::engine::Engine;
use seatrial_core::plan::{self, Plan};
use seatrial_core::topology::{Topology, compose, trial};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// How many containers a project has, or ports.
const SIZES: [usize; 4] = [1, 10, 100, 1000];

fn main() {
    divan::main();
}

/// Services on one network, each with a published port.
fn containers(count: usize) -> Topology {
    let mut text = "name: shop\nservices:\n".to_owned();
    for n in 0..count {
        writeln!(text, "  web{n}: {{ image: nginx, ports: [ '{}:80' ] }}", 8000 + n).unwrap();
    }
    read(text)
}

/// One service with so many published ports.
fn ports(count: usize) -> Topology {
    let ports: Vec<String> = (8000..8000 + count).map(|port| format!("'{port}:{port}'")).collect();
    read(format!("name: shop\nservices: {{ web: {{ image: nginx, ports: [ {} ] }} }}\n", ports.join(", ")))
}

fn read(text: String) -> Topology {
    let path = PathBuf::from("compose.yaml");
    let files = BTreeMap::from([(path.clone(), text)]);
    let project = compose::read(&[path], &files, &compose::Options::default()).unwrap();
    trial::assume(project, Engine::NEWEST).unwrap()
}

fn planned(topology: &Topology) -> Plan {
    plan::plan(topology).unwrap()
}

/// Plans a project of so many containers.
#[divan::bench(args = SIZES)]
fn plan_containers(bencher: Bencher<'_, '_>, count: usize) {
    let topology = containers(count);
    bencher.bench(|| planned(&topology));
}

/// Plans one container with so many published ports.
#[divan::bench(args = SIZES)]
fn plan_ports(bencher: Bencher<'_, '_>, count: usize) {
    let topology = ports(count);
    bencher.bench(|| planned(&topology));
}

/// Checks the plan of so many containers.
#[divan::bench(args = SIZES)]
fn check_containers(bencher: Bencher<'_, '_>, count: usize) {
    let plan = planned(&containers(count));
    bencher.bench(|| plan::check::check(&plan).unwrap());
}

/// Checks the plan of so many published ports.
#[divan::bench(args = SIZES)]
fn check_ports(bencher: Bencher<'_, '_>, count: usize) {
    let plan = planned(&ports(count));
    bencher.bench(|| plan::check::check(&plan).unwrap());
}
