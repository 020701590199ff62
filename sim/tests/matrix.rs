//! The matrix asks once for all who are alike. It says what it would say if it had asked them all.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use seatrial_core::engine::Engine;
use seatrial_core::plan;
use seatrial_core::topology::{compose, trial};
use seatrial_sim::questions::matrix::{Matrix, matrix, matrix_one_by_one};
use seatrial_sim::world::{Answer, World};

/// The matrix of a compose file, asked once for all and asked one by one, and how many questions the first took.
fn both(path: &Path, text: &str, engine: Engine) -> (Matrix, Matrix, usize) {
    let files = BTreeMap::from([(path.to_owned(), text.to_owned())]);
    let project = compose::read(&[path.to_owned()], &files, &compose::Options::default()).unwrap();
    let plan = plan::plan(&trial::assume(project, engine).unwrap()).unwrap();
    let world = World::build(&plan, 1).unwrap();
    let mut asked = 0;
    let once = matrix(&plan, |probe| {
        asked += 1;
        let Answer { outcome, trace } = world.clone().probe(probe);
        (outcome, trace)
    });
    let all = matrix_one_by_one(&plan, |probe| {
        let Answer { outcome, trace } = world.clone().probe(probe);
        (outcome, trace)
    });
    (once, all, asked)
}

/// What differs.
fn differ(once: &Matrix, all: &Matrix) -> Option<String> {
    for (one, other) in once.rows.iter().zip(&all.rows) {
        for ((one_cell, other_cell), source) in one.cells.iter().zip(&other.cells).zip(&once.sources) {
            if one_cell != other_cell {
                return Some(format!(
                    "{source} -> {:?} {:?}: {one_cell:?}, and {other_cell:?}",
                    one.target, one.ask
                ));
            }
        }
    }
    let reasons = once.reasons.iter().zip(&all.reasons).find(|(one, other)| one != other);
    reasons
        .map(|(one, other)| format!("{one:#?}, and {other:#?}"))
        .or_else(|| (once != all).then(String::new))
}

#[test]
fn every_compose_file_has_the_matrix_it_has_one_by_one() {
    let folder = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/compose")).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let (once, all, _) = both(&path, &fs::read_to_string(&path).unwrap(), Engine::NEWEST);
            assert_eq!(differ(&once, &all), None, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 12, "{seen}");
}

/// How many are asked does not grow with how many are alike.
#[test]
fn of_those_who_are_alike_one_is_asked() {
    let questions = |count: u16| {
        let services: String = (0..count)
            .map(|n| format!("  web{n}: {{ image: nginx, ports: [ '{}:80' ] }}\n", 8000 + n))
            .collect();
        both(&PathBuf::from("compose.yaml"), &format!("name: shop\nservices:\n{services}"), Engine::NEWEST).2
    };
    assert_eq!(questions(4), questions(12));
}

/// A service: on which networks, what it publishes, whom it is linked to and shares with, and what else sets it apart.
#[derive(Debug, Clone)]
struct Service {
    networks: Vec<usize>,
    ports: Vec<String>,
    extra: &'static str,
    replicas: usize,
}

fn service() -> impl Strategy<Value = Service> {
    let port =
        (0..4u16, prop_oneof![Just(""), Just("127.0.0.1:")], prop_oneof![Just(80u16), Just(53), Just(8001)]);
    let ports = prop::collection::vec((port, prop_oneof![3 => Just("tcp"), 1 => Just("udp")]), 0..3);
    let ports = ports.prop_map(|ports| {
        ports.into_iter().map(|((n, on, to), protocol)| format!("{on}HOST{n}:{to}/{protocol}")).collect()
    });
    let extra = prop_oneof![
        6 => Just(""),
        1 => Just("hostname: odd, "),
        1 => Just("network_mode: host, "),
        1 => Just("network_mode: none, "),
        1 => Just("cap_drop: [ NET_RAW ], "),
        1 => Just("sysctls: [ net.ipv4.ip_default_ttl=3 ], "),
        1 => Just("expose: [ '81' ], "),
    ];
    let replicas = prop_oneof![8 => Just(1usize), 1 => Just(2)];
    (prop::collection::vec(0..3usize, 1..3), ports, extra, replicas)
        .prop_map(|(networks, ports, extra, replicas)| Service { networks, ports, extra, replicas })
}

/// Services of a few kinds, several of each kind.
fn project() -> impl Strategy<Value = String> {
    let kinds = prop::collection::vec((service(), 1..5usize), 1..4);
    let options = prop_oneof![
        3 => Just(""),
        1 => Just("internal: true"),
        1 => Just("driver_opts: { com.docker.network.bridge.enable_icc: 'false' }"),
        1 => Just("enable_ipv6: true"),
    ];
    (kinds, prop::collection::vec(options, 3)).prop_map(|(kinds, options)| {
        let mut text = "name: shop\nservices:\n".to_owned();
        let (mut number, mut port) = (0, 7999);
        for (service, count) in kinds {
            for _ in 0..count {
                number += 1;
                let networks: Vec<String> = service.networks.iter().map(|n| format!("n{n}")).collect();
                let alone = service.extra.starts_with("network_mode");
                let networks = if alone { String::new() } else { format!("networks: [ {} ], ", unique(networks)) };
                let single = service.replicas == 1 && !alone;
                let ports = service.ports.iter().filter(|_| single).map(|p| {
                    port += 1;
                    let at = p.find("HOST").unwrap();
                    format!("'{}{port}{}'", &p[..at], &p[at + 5..])
                });
                let ports: Vec<String> = ports.collect();
                let extra = if service.replicas > 1 && service.extra.contains("hostname") { "" } else { service.extra };
                let _ = writeln!(
                    text,
                    "  s{number}: {{ image: nginx, {networks}{extra}ports: [ {} ], deploy: {{ replicas: {} }} }}",
                    ports.join(", "),
                    service.replicas,
                );
            }
        }
        let networks = options.iter().enumerate().map(|(n, o)| format!("  n{n}: {{ {o} }}\n"));
        text + "networks:\n" + &networks.collect::<String>()
    })
}

fn unique(mut names: Vec<String>) -> String {
    names.sort();
    names.dedup();
    names.join(", ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_matrix_says_what_it_says_one_by_one(
        text in project(), engine in prop::sample::select(vec!["28.2", "28.5", "29"]),
    ) {
        let (once, all, _) = both(&PathBuf::from("compose.yaml"), &text, engine.parse().unwrap());
        prop_assert_eq!(differ(&once, &all), None, "{}", text);
    }
}
