//! Every broken file of `fixtures/bad`: it is refused with status 2, and nothing is printed as if it were an answer.
//!
//! What is said in full is held in `core/tests`; here stand the first words of each, and a few pages as they are printed.

use std::fmt::Write as _;
use std::path::Path;

use crate::{Said, root, run};

/// Every file below a folder, as it would be typed, in order.
fn below(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// How many errors, and the first one's words and place.
fn summary(file: &str, said: &Said) -> String {
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{file}: {}", said.err);
    let errors = said.err.lines().filter(|l| l.starts_with("error: ")).count();
    let first: Vec<&str> = said.err.lines().take(2).map(str::trim).collect();
    let last = said.err.lines().last().unwrap();
    let count = if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") };
    assert_eq!(last, format!("seatrial: {count}"), "{file}");
    format!("{file}: {count}\n  {}\n", first.join("\n  "))
}

#[test]
fn every_broken_trial_is_refused_by_every_command() {
    let mut all = String::new();
    for file in below("fixtures/bad", |path| path.ends_with(".trial.yaml")) {
        let said = run(&["check", &file]);
        assert_eq!(run(&["plan", &file]), said);
        assert_eq!(run(&["matrix", &file]), said);
        assert_eq!(run(&["trace", &file, "host -> 127.0.0.1/icmp"]), said);
        all += &summary(&file, &said);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn every_broken_compose_file_is_refused_by_every_command() {
    let mut all = String::new();
    let helpers = ["include-cycle/parts.yaml", "include/parts.yaml", "merge-types/compose.yaml"];
    let compose = |path: &str| path.ends_with(".yaml") && !path.ends_with(".trial.yaml");
    for file in below("fixtures/bad/compose", compose) {
        if helpers.iter().any(|helper| file.ends_with(helper)) {
            continue;
        }
        let said = run(&["matrix", &file]);
        assert_eq!(run(&["plan", &file]), said);
        assert_eq!(run(&["trace", &file, "host -> 127.0.0.1/icmp"]), said);
        all += &summary(&file, &said);
    }
    let project = "fixtures/bad/compose/merge-types";
    all += &summary(project, &run(&["matrix", project]));
    insta::assert_snapshot!(all);
}

/// A page of several errors, of related places, of places in other files, and of a file that has no lines to show.
#[test]
fn what_is_wrong_is_shown_where_it_was_written() {
    let mut all = String::new();
    for (command, file) in [
        ("check", "fixtures/bad/bad-lines.trial.yaml"),
        ("check", "fixtures/bad/refused/port-twice.trial.yaml"),
        ("matrix", "fixtures/bad/compose/duplicate-key.yaml"),
        ("matrix", "fixtures/bad/compose/include/compose.yaml"),
        ("matrix", "fixtures/bad/compose/dotenv"),
        ("matrix", "fixtures/bad/compose/not-utf-8.yaml"),
    ] {
        let _ = write!(all, "$ seatrial {command} {file}\n{}\n", run(&[command, file]).err);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn the_trials_of_a_folder_are_run_beside_one_that_is_refused() {
    let (good, bad) = ("fixtures/trials/none/none.trial.yaml", "fixtures/bad/no-listener.trial.yaml");
    let said = run(&["check", bad, good]);
    assert_eq!(said.status, 2);
    let refused = format!("{bad}\n  refused: ");
    assert!(said.out.starts_with(&refused) && said.out.contains(good), "{}", said.out);
    assert!(said.out.ends_with("2 trials: 11 held, 0 failed, 1 refused\n"), "{}", said.out);
    assert!(Path::new(bad).extension().is_some() && said.err.contains(bad), "{}", said.err);
}
