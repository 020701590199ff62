//! Every numbered behaviour of Linux's and Docker's is held by a test, or the README says why it is not modelled.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The sections, and how many behaviours each has.
const SECTIONS: [(char, u8); 10] =
    [('H', 10), ('C', 15), ('N', 13), ('F', 13), ('A', 8), ('B', 7), ('X', 5), ('R', 8), ('D', 9), ('V', 5)];

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

/// `h1_h2_every_hook_…` names H1 and H2.
fn of_test(name: &str) -> Vec<String> {
    let number = |part: &&str| part.len() > 1 && part[1..].bytes().all(|b| b.is_ascii_digit());
    name.split('_').take_while(number).map(str::to_uppercase).collect()
}

/// Those that functions behind `#[test]` begin with.
fn tested() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [files(&root.join("src"), "rs"), files(&root.join("tests"), "rs")].concat();
    let mut tested = BTreeSet::new();
    for text in sources.iter().map(|path| fs::read_to_string(path).unwrap()) {
        for test in text.split("#[test]").skip(1) {
            let name = test.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            tested.extend(name.map(of_test).unwrap_or_default());
        }
    }
    tested
}

/// Those that a trial's comment begins with, as `# D2: …`.
fn tried() -> BTreeSet<String> {
    let trials = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/trials"), "yaml");
    let comments = |path: &PathBuf| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let named = text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(": "));
        named.map(|(item, _)| item.to_owned()).collect()
    };
    trials.iter().flat_map(comments).collect()
}

/// Whether the README says in brackets that it is not modelled.
fn is_excused(item: &str) -> bool {
    include_str!("../README.md").contains(&format!("({item})"))
}

#[test]
fn every_behaviour_has_a_test_or_the_readme_says_why_not() {
    let (tested, tried) = (tested(), tried());
    let items =
        SECTIONS.iter().flat_map(|(section, count)| (1..=*count).map(move |n| format!("{section}{n}")));
    let (mut nowhere, mut twice) = (Vec::new(), Vec::new());
    for item in items {
        let held = tested.contains(&item) || tried.contains(&item);
        match (held, is_excused(&item)) {
            (false, false) => nowhere.push(item),
            (true, true) => twice.push(item),
            (true, false) | (false, true) => {}
        }
    }
    assert_eq!(nowhere, Vec::<String>::new(), "neither a test nor sim/README.md names these");
    assert_eq!(
        twice,
        Vec::<String>::new(),
        "these are held, and sim/README.md says that they are not modelled"
    );
}

#[test]
fn a_tests_name_begins_with_the_behaviours_it_holds() {
    assert_eq!(of_test("h1_h2_every_hook_walks"), ["H1", "H2"]);
    assert_eq!(of_test("a_route_is_found"), Vec::<String>::new());
}
