//! Chance comes from the seed, and from nowhere else: two processes say the same to the byte.

use serde_json::Value;

use crate::{Said, answer, folder, program, root, run, run_in};

const FAILS: &str = "title: t\ncompose: { services: { web: { image: x } } }\n\
                     expect: [ host -> web:80/tcp refused, host -> 127.0.0.1/icmp dropped ]\n";

/// What the program says with `SEATRIAL_SEED` in its environment.
fn with_variable(seed: &str, args: &[&str]) -> Said {
    program(&root(), args).env("SEATRIAL_SEED", seed).output().unwrap().into()
}

#[test]
fn two_processes_run_every_trial_the_same_way_to_the_event() {
    let check = ["check", "fixtures/trials", "--format", "json"];
    let (first, second) = (run(&check), run(&check));
    assert_eq!(first, second);
    let document: Value = serde_json::from_str(&first.out).unwrap();
    let trials = document["trials"].as_array().unwrap();
    assert!(trials.iter().all(|trial| trial["digest"].as_str().is_some_and(|digest| digest.len() == 32)));
    let other: Value = serde_json::from_str(&answer(&[&check[..], &["--seed", "2"]].concat())).unwrap();
    assert_eq!((&other["seed"], &other["counts"]), (&2.into(), &document["counts"]));
    assert_ne!(other["trials"][0]["digest"], trials[0]["digest"]);
}

#[test]
fn the_seed_is_an_option_or_a_variable_and_the_option_wins() {
    let trace = ["trace", "fixtures/compose/wordpress-mysql.yaml", "lan -> 203.0.113.10:80/tcp"];
    let seeded = |seed| answer(&[&trace[..], &["--seed", seed]].concat());
    assert_eq!(with_variable("7", &trace).out, seeded("7"));
    assert_eq!(with_variable("8", &[&trace[..], &["--seed", "7"]].concat()).out, seeded("7"));
    assert_eq!(answer(&trace), seeded("1"));
    assert_ne!(seeded("7"), seeded("1"), "the asker's port comes from the seed");
    let matrix = ["matrix", "fixtures/compose/wordpress-mysql.yaml", "--format", "json"];
    assert_eq!(with_variable("7", &matrix).out, answer(&matrix), "who reaches whom does not");
}

#[test]
fn a_seed_that_is_no_number_is_bad_usage() {
    let said = with_variable("seven", &["check", "fixtures/trials/none"]);
    assert_eq!(said.status, 2);
    assert!(said.err.starts_with("error: invalid value 'seven' for '--seed <N>'"), "{}", said.err);
}

/// The command that a failure says runs it again, up to where XML ends its text.
fn again(text: &str) -> Vec<&str> {
    let mut commands = text.lines().filter_map(|line| line.trim_start().strip_prefix("again: seatrial "));
    let command = commands.next().unwrap().split("]]>").next().unwrap();
    command.split(' ').collect()
}

#[test]
fn a_failure_says_in_every_format_which_command_runs_it_again() {
    let folder = folder(&[("t.trial.yaml", FAILS)]);
    let first = run_in(folder.path(), &["check", ".", "--seed", "9", "--engine", "28.5"]);
    let command = again(&first.out);
    assert_eq!(command, ["check", "./t.trial.yaml", "--engine", "28.5", "--seed", "9"]);
    let second = run_in(folder.path(), &command);
    assert_eq!(second, first);
    let formatted = |format| {
        let args = ["check", ".", "--seed", "9", "--engine", "28.5", "--format", format];
        run_in(folder.path(), &args).out
    };
    assert_eq!(again(&formatted("tap")), command);
    assert_eq!(again(&formatted("junit")), command);
    let document: Value = serde_json::from_str(&formatted("json")).unwrap();
    let lanes = &document["trials"][0]["expectations"][1]["lanes"];
    assert_eq!(lanes["sim"]["again"], format!("seatrial {}", command.join(" ")));
}
