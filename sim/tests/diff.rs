//! Two networks are asked once for all who are alike. What is said of them is what asking them all would say.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use seatrial_core::engine::Engine;
use seatrial_core::plan::{self, Plan};
use seatrial_core::topology::{compose, trial};
use seatrial_sim::questions::diff::{Side, diff, diff_one_by_one};
use seatrial_sim::world::World;

fn network(text: &str, engine: &str) -> (Plan, World) {
    let path = PathBuf::from("compose.yaml");
    let files = BTreeMap::from([(path.clone(), text.to_owned())]);
    let project = compose::read(&[path], &files, &compose::Options::default()).unwrap();
    let engine: Engine = engine.parse().unwrap();
    let plan = plan::plan(&trial::assume(project, engine).unwrap()).unwrap();
    let world = World::build(&plan, 1).unwrap();
    (plan, world)
}

/// How many questions differ between two networks.
fn differ(before: (&str, &str), after: (&str, &str)) -> usize {
    let [one, other] = [before, after].map(|(text, engine)| network(text, engine));
    let [one, other] = [&one, &other].map(|(plan, world)| Side { plan, world });
    let found = diff(one, other);
    assert_eq!(found, diff_one_by_one(one, other), "{before:?} {after:?}");
    found.changes.iter().map(|change| change.questions.len()).sum()
}

#[test]
fn every_compose_file_differs_between_engines_as_one_by_one() {
    let folder = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/compose")).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(differ((&text, "26"), (&text, "28")) > 0, "{}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 12);
}

#[test]
fn many_who_are_alike_differ_as_one_by_one() {
    let services = |count: u16| -> String {
        let service = |n: u16| {
            format!("  s{n}: {{ image: s, ports: ['{}:80', '127.0.0.1:{}:81'] }}\n", 8000 + n, 9000 + n)
        };
        format!("name: many\nservices:\n{}", (1..=count).map(service).collect::<String>())
    };
    let (few, more) = (services(12), services(13));
    assert!(differ((&few, "29"), (&more, "29")) > 13);
    assert!(differ((&few, "26"), (&few, "29")) > 12);
    assert_eq!(differ((&few, "29"), (&few, "29")), 0);
}
