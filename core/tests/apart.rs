//! A plan in parts: each machine has its own, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use seatrial_core::plan::apart::{operations_of, parts};
use seatrial_core::plan::{PlanOp, plan};
use seatrial_core::topology::NodeName;
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::trial;

const TRIAL: &str = "title: t
compose: { services: { web: { image: x } } }
hosts: { b: { host: { interfaces: { eth0: 203.0.113.20/24 } }, compose: { services: { web: { image: x } } } } }
lan: { laptop: 203.0.113.50/24 }
expect: [ laptop -> 203.0.113.10/icmp reaches host ]
";

#[test]
fn every_object_but_the_wires_is_on_one_machine_in_the_plans_order() {
    let files = BTreeMap::from([(PathBuf::from("t.trial.yaml"), TRIAL.to_owned())]);
    let trial = trial::read(Path::new("t.trial.yaml"), &files, &Options::default()).unwrap();
    let plan = plan(&trial.topology).unwrap();
    let parts = parts(&trial.topology, &plan);
    let of = |name: &str| -> BTreeSet<&str> {
        parts[&NodeName::from(name)].items.iter().map(|item| item.ns.as_str()).collect()
    };
    assert_eq!(of("host"), BTreeSet::from(["host", "web"]));
    assert_eq!(of("b"), BTreeSet::from(["b", "b/web"]));
    assert_eq!(of("laptop"), BTreeSet::from(["laptop"]));
    let wire = plan.items.iter().filter(|item| item.ns.as_str() == "wire").count();
    assert_eq!(parts.values().map(|part| part.items.len()).sum::<usize>() + wire, plan.items.len());
    let mut ordered = plan.items.iter();
    assert!(parts[&NodeName::from("b")].items.iter().all(|item| ordered.any(|other| other == item)));
    let operations = plan.items.into_iter().map(PlanOp::Add).collect();
    let counts: Vec<usize> = operations_of(&trial.topology, operations).values().map(Vec::len).collect();
    assert_eq!(counts, parts.values().map(|part| part.items.len()).collect::<Vec<_>>());
}
