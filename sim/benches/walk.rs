//! What a packet costs: `scripts/bench.sh walk`.
//!
//! A LAN machine asks a published port by UDP and is answered: two full walks, through raw, conntrack, nat, FIB, filter and
//! the bridge to the container's socket, and back. So many ports are published, and it asks the last.
#![expect(clippy::unwrap_used, reason = "a bench may")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use seatrial_core::engine::Engine;
use seatrial_core::plan;
use seatrial_core::probe::Probe;
use seatrial_core::topology::{compose, trial};
use seatrial_sim::world::World;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// How many ports are published.
const PORTS: [u16; 3] = [10, 1000, 10_000];
/// The first.
const FIRST: u16 = 10_000;
/// How many walks a question and its answer are.
const WALKS: u64 = 2;

fn main() {
    divan::main();
}

fn world(ports: u16) -> World {
    let range = format!("{FIRST}-{}", FIRST + ports - 1);
    let text =
        format!("name: shop\nservices: {{ dns: {{ image: dns, ports: [ '{range}:{range}/udp' ] }} }}\n");
    let path = PathBuf::from("compose.yaml");
    let files = BTreeMap::from([(path.clone(), text)]);
    let project = compose::read(&[path], &files, &compose::Options::default()).unwrap();
    let plan = plan::plan(&trial::assume(project, Engine::NEWEST).unwrap()).unwrap();
    World::build(&plan, 1).unwrap()
}

/// Asks the last of them, from a port of the LAN machine.
fn probe(ports: u16, from: u16) -> Probe {
    let to = FIRST + ports - 1;
    format!("lan -> 203.0.113.10:{to}/udp,from=203.0.113.50:{from}").parse().unwrap()
}

/// Packets of a flow that conntrack knows.
#[divan::bench(args = PORTS)]
fn known_flow(bencher: Bencher<'_, '_>, ports: u16) {
    let (mut world, probe) = (world(ports), probe(ports, 40_000));
    assert!(world.ask(&probe).to_string().starts_with("reaches dns:"));
    bencher.counter(ItemsCount::new(WALKS)).bench_local(|| world.ask(black_box(&probe)));
}

/// Every question is the first of its flow.
#[divan::bench(args = PORTS)]
fn new_flow(bencher: Bencher<'_, '_>, ports: u16) {
    let fresh = world(ports);
    let probes: Vec<Probe> = (30_000..60_000).map(|from| probe(ports, from)).collect();
    let (mut world, mut next) = (fresh.clone(), 0);
    bencher.counter(ItemsCount::new(WALKS)).bench_local(|| {
        if next == probes.len() {
            (world, next) = (fresh.clone(), 0);
        }
        next += 1;
        world.ask(black_box(&probes[next - 1]))
    });
}

/// A known flow, with every rule and every hop written down.
#[divan::bench(args = PORTS)]
fn known_flow_traced(bencher: Bencher<'_, '_>, ports: u16) {
    let (mut world, probe) = (world(ports), probe(ports, 40_000));
    bencher.counter(ItemsCount::new(WALKS)).bench_local(|| world.probe(black_box(&probe)));
}
