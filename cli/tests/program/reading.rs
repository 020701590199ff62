//! What is read: a file, a folder, further files, a trial; and the options that say how.

use crate::{Said, folder, run, run_in};

const WEB: &str = "services: { web: { image: x, ports: ['${PORT:-80}:80'] } }\n";

/// The port that the project's web is published on.
fn port(said: &Said) -> String {
    assert_eq!(said.status, 0, "{}", said.err);
    let rule = said.out.lines().find(|line| line.contains("-j DNAT")).unwrap();
    let words: Vec<&str> = rule.split(' ').collect();
    let at = words.iter().position(|word| *word == "--dport").unwrap();
    words[at + 1].to_owned()
}

#[test]
fn a_file_of_variables_stands_in_place_of_the_one_beside_the_project() {
    let folder = folder(&[
        ("shop/compose.yaml", WEB),
        ("shop/.env", "PORT=81\n"),
        ("one.env", "PORT=82\nOTHER=1\n"),
        ("two.env", "PORT=8$OTHER$OTHER\n"),
        ("empty.env", ""),
    ]);
    let plan = ["plan", "shop", "--format", "iptables-save"];
    let with = |more: &[&str]| port(&run_in(folder.path(), &[&plan, more].concat()));
    assert_eq!(with(&[]), "81");
    assert_eq!(with(&["--env-file", "one.env"]), "82");
    assert_eq!(with(&["--env-file", "one.env", "--env-file", "two.env"]), "811");
    assert_eq!(with(&["--env-file", "two.env", "--env-file", "one.env"]), "82");
    assert_eq!(with(&["--env-file", "empty.env"]), "80", ".env is not read");
    let args = [&plan[..], &["--env-file", "one.env"]].concat();
    let environment = crate::program(folder.path(), &args).env("PORT", "83").output().unwrap();
    assert_eq!(port(&environment.into()), "83", "the environment wins");
}

#[test]
fn a_file_of_variables_that_is_missing_or_broken_is_refused() {
    let folder = folder(&[("compose.yaml", WEB), ("bad.env", "A=1\nB C=2\n")]);
    let with = |file| {
        let said = run_in(folder.path(), &["matrix", ".", "--env-file", file]);
        assert_eq!((said.status, said.out.as_str()), (2, ""));
        said.err
    };
    insta::assert_snapshot!(with("none.env"), @r"
    error: cannot read none.env: there is no such file
    --> --env-file

    seatrial: 1 error
    ");
    insta::assert_snapshot!(with("bad.env"), @r"
    error: ' ' in the name of a variable
     --> bad.env:2:1
      |
    2 | B C=2
      | ^^^^^
      |
      = help: expected NAME=value

    seatrial: 1 error
    ");
    assert!(with(".").contains("cannot read "), "{}", with("."));
}

#[test]
fn the_files_of_variables_are_also_for_the_compose_file_of_a_trial() {
    let trial = "title: t\ncompose: compose.yaml\nexpect: [host -> 127.0.0.1/icmp reaches host]\n";
    let folder = folder(&[("compose.yaml", WEB), ("t.trial.yaml", trial), ("one.env", "PORT=82\n")]);
    let args = ["plan", "t.trial.yaml", "--format", "iptables-save", "--env-file", "one.env"];
    assert_eq!(port(&run_in(folder.path(), &args)), "82");
}

#[test]
fn further_files_are_merged_over_the_first_and_a_folder_brings_its_override() {
    let more = "services: { web: { ports: !override ['90:80'] } }\n";
    let folder = folder(&[
        ("a/compose.yaml", WEB),
        ("a/compose.override.yaml", more),
        ("more.yaml", "services: { web: { ports: !override ['91:80'] } }\n"),
    ]);
    let plan = |args: &[&str]| {
        let args = [&["plan", "--format", "iptables-save"], args].concat();
        port(&run_in(folder.path(), &args))
    };
    assert_eq!(plan(&["a/compose.yaml"]), "80");
    assert_eq!(plan(&["a"]), "90");
    assert_eq!(plan(&["a/compose.yaml", "-f", "more.yaml"]), "91");
    assert_eq!(plan(&["a", "-f", "more.yaml"]), "91");
}

#[test]
fn a_project_has_the_profiles_and_the_name_that_are_asked_for() {
    let text = "services: { web: { image: x }, debug: { image: x, profiles: [dev] } }\n";
    let folder = folder(&[("shop/compose.yaml", text)]);
    let plan = |more: &[&str]| run_in(folder.path(), &[&["plan", "shop"], more].concat()).out;
    assert!(!plan(&[]).contains("debug") && plan(&["--profile", "dev"]).contains("debug"));
    assert!(plan(&[]).contains("shop") && !plan(&["-p", "other"]).contains("shop"));
}

#[test]
fn a_trial_is_read_by_every_command_with_the_machines_it_names() {
    let trial = "fixtures/trials/none/none.trial.yaml";
    for args in
        [vec!["matrix", trial], vec!["trace", trial, "laptop -> 203.0.113.10/icmp"], vec!["plan", trial]]
    {
        let said = run(&args);
        assert_eq!(said.status, 0, "{args:?}: {}", said.err);
        assert!(said.out.contains("laptop") && !said.out.contains("assumed"), "{args:?}: {}", said.out);
    }
}

#[test]
fn a_trial_without_the_ending_is_known_by_its_keys() {
    let trial = "title: t\ncompose: { services: { web: { image: x } } }\nlan: { pc: 203.0.113.9/24 }\nexpect: [host -> 127.0.0.1/icmp reaches host]\n";
    let folder = folder(&[("t.yaml", trial)]);
    assert_eq!(run_in(folder.path(), &["check", "t.yaml"]).status, 0);
    let out = run_in(folder.path(), &["matrix", "t.yaml"]).out;
    assert!(out.contains("pc"), "{out}");
}

#[test]
fn nothing_is_merged_over_a_trial() {
    let said =
        run(&["matrix", "fixtures/trials/none/none.trial.yaml", "-f", "fixtures/compose/wireguard.yaml"]);
    assert_eq!((said.status, said.out.as_str()), (2, ""));
    insta::assert_snapshot!(said.err, @r"
    error: fixtures/trials/none/none.trial.yaml is a trial, and fixtures/compose/wireguard.yaml is to be merged over it
    --> -f
     = help: expected a compose file as FILE

    seatrial: 1 error
    ");
}

#[test]
fn no_answer_names_a_folder_of_this_machine() {
    let folder = folder(&[("shop/compose.yaml", WEB)]);
    let here = folder.path().to_str().unwrap();
    for args in [
        vec!["matrix", "shop", "--format", "json"],
        vec!["trace", "shop", "lan -> 203.0.113.10:80/tcp", "--format", "json"],
        vec!["plan", "shop", "--format", "json"],
        vec!["plan", "shop"],
        vec!["matrix", "shop/none.yaml"],
    ] {
        let said = run_in(folder.path(), &args);
        assert!(!said.out.contains(here) && !said.err.contains(here), "{args:?}: {said:?}");
    }
}
