//! No file makes the reader or the planner panic, or take long; and what both accept stands before a second pair of
//! eyes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample;
use proptest::test_runner::TestCaseError;
use seatrial_core::engine::Engine;
use seatrial_core::plan::check::check;
use seatrial_core::plan::plan;
use seatrial_core::topology::compose::{self, Options};
use seatrial_core::topology::{Topology, trial};

use super::fixtures;

/// The collection.
fn corpus() -> Vec<String> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(fixtures().join("compose")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    paths.iter().map(|p| fs::read_to_string(p).unwrap()).collect()
}

/// Every trial: between them they use most keys that bear on the network.
fn trials() -> Vec<String> {
    let folders = fs::read_dir(fixtures().join("trials")).unwrap().map(|e| e.unwrap().path());
    let files = folders.filter(|p| p.is_dir()).flat_map(|p| fs::read_dir(p).unwrap());
    let mut paths: Vec<PathBuf> = files.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|p| fs::read_to_string(p).unwrap()).collect()
}

/// What trials may name: the collection.
fn compose_files() -> BTreeMap<PathBuf, String> {
    let paths = fs::read_dir(fixtures().join("compose")).unwrap().map(|e| e.unwrap().path());
    let name = |path: &Path| Path::new("compose").join(path.file_name().unwrap());
    paths.filter_map(|path| Some((name(&path), fs::read_to_string(path).ok()?))).collect()
}

/// A change to a file; places are taken modulo what there is.
#[derive(Debug, Clone)]
enum Change {
    DropLine(usize),
    DoubleLine(usize),
    SwapLines(usize, usize),
    Indent(usize, usize),
    Insert(usize, &'static str),
    Drop(usize, usize),
    Truncate(usize),
}

const PIECES: &[&str] = &[
    "\t",
    " ",
    "\n",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "&a ",
    "*a ",
    "<<: ",
    "!reset ",
    "!override ",
    "#",
    "|\n",
    "> ",
    "? ",
    "---\n",
    "${",
    "${A:-",
    "${A:?}",
    "$$",
    "$A",
    "é",
    "\u{0}",
    "\u{feff}",
    "\r\n",
    "-1",
    "99999",
    "0",
    "::",
    "/",
    "null",
    "~",
    "yes",
    "networks: [x]\n",
    "network_mode: service:redis\n",
    "extends: web\n",
    "include: [compose.yaml]\n",
    "scale: 3\n",
    "ports: [1-65535]\n",
    "x-a: &a [*a]\n",
    "1e9",
    ".inf",
    "!!binary x",
];

fn change() -> impl Strategy<Value = Change> {
    let place = any::<usize>;
    prop_oneof![
        place().prop_map(Change::DropLine),
        place().prop_map(Change::DoubleLine),
        (place(), place()).prop_map(|(a, b)| Change::SwapLines(a, b)),
        (place(), 0..9usize).prop_map(|(line, by)| Change::Indent(line, by)),
        (place(), sample::select(PIECES)).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (place(), 1..40usize).prop_map(|(at, length)| Change::Drop(at, length)),
        place().prop_map(Change::Truncate),
    ]
}

fn floor(text: &str, at: usize) -> usize {
    let at = at % (text.len() + 1);
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

fn apply(text: &str, change: &Change) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let count = lines.len().max(1);
    match change {
        Change::DropLine(i) if !lines.is_empty() => _ = lines.remove(i % count),
        Change::DoubleLine(i) if !lines.is_empty() => lines.insert(i % count, lines[i % count].clone()),
        Change::SwapLines(a, b) if !lines.is_empty() => lines.swap(a % count, b % count),
        Change::Indent(i, by) if !lines.is_empty() => {
            let line = lines[i % count].trim_start().to_owned();
            lines[i % count] = format!("{}{line}", " ".repeat(*by));
        }
        Change::Insert(at, piece) => {
            let mut text = text.to_owned();
            text.insert_str(floor(&text, *at), piece);
            return text;
        }
        Change::Drop(at, length) => {
            let start = floor(text, *at);
            let end = floor(text, (start + length).min(text.len())).max(start);
            return format!("{}{}", &text[..start], &text[end..]);
        }
        Change::Truncate(at) => return text[..floor(text, *at)].to_owned(),
        Change::DropLine(_) | Change::DoubleLine(_) | Change::SwapLines(..) | Change::Indent(..) => {}
    }
    lines.concat()
}

static CORPUS: LazyLock<Vec<String>> = LazyLock::new(corpus);
static TRIALS: LazyLock<Vec<String>> = LazyLock::new(trials);
static COMPOSE: LazyLock<BTreeMap<PathBuf, String>> = LazyLock::new(compose_files);

fn mutated(files: &[String], file: sample::Index, changes: &[Change]) -> String {
    changes.iter().fold(file.get(files).clone(), |text, change| apply(&text, change))
}

/// Either there is a plan without a fault, or there are words for why not.
fn planned_or_refused(topology: &Topology) -> Result<(), TestCaseError> {
    match plan(topology) {
        Ok(plan) => prop_assert_eq!(check(&plan), Ok(())),
        Err(refused) => prop_assert!(!refused.0.is_empty() && !refused.to_string().is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_mutated_compose_file_is_planned_or_refused(
        file in any::<sample::Index>(),
        changes in proptest::collection::vec(change(), 1..6),
        engine in sample::select(&["28.5", "29"][..]),
    ) {
        let path = PathBuf::from("demo/compose.yaml");
        let files = BTreeMap::from([(path.clone(), mutated(&CORPUS, file, &changes))]);
        let engine: Engine = engine.parse().unwrap();
        let read = compose::read(&[path], &files, &Options::default());
        if let Ok(project) = &read {
            prop_assert!(!project.name.is_empty());
        }
        match read.and_then(|project| trial::assume(project, engine)) {
            Ok(topology) => planned_or_refused(&topology)?,
            Err(wrong) => prop_assert!(!wrong.0.is_empty() && !wrong.to_string().is_empty()),
        }
    }

    #[test]
    fn every_mutated_trial_is_planned_or_refused(
        file in any::<sample::Index>(),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let path = PathBuf::from("trials/demo/demo.trial.yaml");
        let mut files = COMPOSE.clone();
        files.insert(path.clone(), mutated(&TRIALS, file, &changes));
        match trial::read(Path::new(&path), &files, &Options::default()) {
            Ok(trial) => planned_or_refused(&trial.topology)?,
            Err(wrong) => prop_assert!(!wrong.0.is_empty() && !wrong.to_string().is_empty()),
        }
    }
}
