//! A packet costs no allocation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use seatrial_core::engine::Engine;
use seatrial_core::plan;
use seatrial_core::probe::Probe;
use seatrial_core::topology::{compose, trial};
use seatrial_sim::world::World;

/// From the LAN through every hook of a Docker host to a container's socket, and back.
#[test]
fn packets_of_a_known_flow_allocate_nothing() {
    let text = "name: shop\nservices: { dns: { image: dns, ports: [ '53:53/udp' ] } }\n";
    let path = PathBuf::from("compose.yaml");
    let files = BTreeMap::from([(path.clone(), text.to_owned())]);
    let project = compose::read(&[path], &files, &compose::Options::default()).unwrap();
    let plan = plan::plan(&trial::assume(project, Engine::NEWEST).unwrap()).unwrap();
    let mut world = World::build(&plan, 1).unwrap();
    let probe: Probe = "lan -> 203.0.113.10:53/udp,from=203.0.113.50:40000".parse().unwrap();
    let mut ask = || assert!(matches!(world.ask(&probe), seatrial_core::probe::Outcome::Reaches { .. }));
    // Neighbours are asked for, the flow becomes known, and every queue finds its length.
    (0..3).for_each(|_| ask());
    let counted = allocation_counter::measure(ask);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
