//! No file makes the reader panic, or take long.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use proptest::sample;
use seatrial_core::topology::compose::{self, Options};

use super::fixtures;

/// The collection, and two files that use every key.
fn corpus() -> Vec<String> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(fixtures().join("compose")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    paths.iter().map(|p| fs::read_to_string(p).unwrap()).collect()
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_file_makes_the_reader_panic(
        file in any::<sample::Index>(),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let corpus = corpus();
        let text = changes.iter().fold(file.get(&corpus).clone(), |text, change| apply(&text, change));
        let path = PathBuf::from("demo/compose.yaml");
        let files = BTreeMap::from([(path.clone(), text)]);
        match compose::read(&[path], &files, &Options::default()) {
            Ok(project) => prop_assert!(!project.name.is_empty()),
            Err(wrong) => prop_assert!(!wrong.0.is_empty() && !wrong.to_string().is_empty()),
        }
    }
}
