//! `seatrial check`: one trial in every format, and the status it ends with.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use serde_json::Value;

use crate::{Said, folder, run, run_in};

/// A trial with a row of each verdict, and with what XML, TAP and JSON must escape.
const SMALL: &str = r#"
title: '<b>&"small" has one of each # \ and no more'
compose:
  services:
    web: { image: nginx, hostname: w1, ports: ["8080:80"] }
expect:
  - host -> 127.0.0.1:8080/tcp reaches web:80
  - 'web hostname is <w2>&#\'
  - lan -> 203.0.113.10:8080/tcp refused
  - when: { engine: ">=28, <29" }
    then: host -> 127.0.0.1:8080/tcp,mark=1 refused
steps:
  - cut web.eth7
  - "wait 1s"
lan: { lan: 203.0.113.50/24 }
"#;

fn check(format: &str) -> Said {
    let folder = folder(&[("demo/small.trial.yaml", SMALL)]);
    run_in(folder.path(), &["check", "demo", "--format", format])
}

/// The journey of a failed probe is long, and held elsewhere.
fn without_hops(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(trace) = fields.get_mut("trace") {
                *trace = format!("{} hops", trace["hops"].as_array().unwrap().len()).into();
            }
            fields.values_mut().for_each(without_hops);
        }
        Value::Array(all) => all.iter_mut().for_each(without_hops),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_trial_is_a_table_for_a_person() {
    insta::assert_snapshot!(check("text").out);
}

#[test]
fn a_trial_is_a_json_document_for_a_program() {
    let mut document: Value = serde_json::from_str(&check("json").out).unwrap();
    without_hops(&mut document);
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn a_trial_is_a_suite_of_junit() {
    insta::assert_snapshot!(check("junit").out);
}

#[test]
fn a_trial_is_a_stream_of_tap() {
    insta::assert_snapshot!(check("tap").out);
}

/// How many rows held, failed, and were not proved.
type Counts = (usize, usize, usize);

fn of_json(text: &str) -> Counts {
    let document: Value = serde_json::from_str(text).unwrap();
    let trials = document["trials"].as_array().unwrap().iter();
    let rows = trials.flat_map(|trial| trial["expectations"].as_array().unwrap());
    let verdicts: Vec<&str> = rows.map(|row| row["lanes"]["sim"]["verdict"].as_str().unwrap()).collect();
    let of = |wanted: &str| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    for (name, count) in document["counts"].as_object().unwrap() {
        assert_eq!(count.as_u64().unwrap(), of(name) as u64, "{name}");
    }
    (of("held"), of("failed"), of("skipped") + of("unsupported"))
}

fn of_junit(text: &str) -> Counts {
    let report = Report::deserialize_from_str(text).unwrap();
    let cases = || report.test_suites.iter().flat_map(|suite| &suite.test_cases);
    let of = |wanted: fn(&TestCaseStatus) -> bool| cases().filter(|case| wanted(&case.status)).count();
    let failure = |status: &TestCaseStatus| {
        matches!(status, TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, .. })
    };
    let counts = (
        of(|status| matches!(status, TestCaseStatus::Success { .. })),
        of(failure),
        of(|status| matches!(status, TestCaseStatus::Skipped { .. })),
    );
    assert_eq!((report.tests, report.failures, report.errors), (cases().count(), counts.1, 0));
    counts
}

fn of_tap(text: &str) -> Counts {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("TAP version 14"));
    let plan: usize = lines.next().unwrap().strip_prefix("1..").unwrap().parse().unwrap();
    let points: Vec<&str> = lines.filter(|l| l.starts_with("ok ") || l.starts_with("not ok ")).collect();
    assert_eq!(points.len(), plan);
    for (i, point) in points.iter().enumerate() {
        assert!(point.contains(&format!("ok {} - ", i + 1)), "{point}");
    }
    let unproved = |point: &&&str| point.contains(" # SKIP ") || point.contains(" # TODO ");
    let proved = |held: &str| points.iter().filter(|p| !unproved(p) && p.starts_with(held)).count();
    (proved("ok "), proved("not ok "), points.iter().filter(unproved).count())
}

#[test]
fn every_format_counts_the_same() {
    let folder = "fixtures/trials";
    let out = |format| run(&["check", folder, "--format", format]).out;
    let (held, failed, unproved) = of_json(&out("json"));
    assert!(held > 500 && failed == 0 && unproved > 0);
    assert_eq!(of_junit(&out("junit")), (held, failed, unproved));
    assert_eq!(of_tap(&out("tap")), (held, failed, unproved));
    assert!(out("text").contains(&format!(" trials: {held} held, 0 failed, {unproved} skipped\n")));
    assert_eq!(of_json(&check("json").out), (1, 2, 3));
    assert_eq!(of_junit(&check("junit").out), (1, 2, 3));
    assert_eq!(of_tap(&check("tap").out), (1, 2, 3));
}

#[test]
fn a_refused_trial_is_an_error_in_every_format() {
    let bad = "fixtures/bad/no-listener.trial.yaml";
    let out = |format| {
        let said = run(&["check", bad, "--format", format]);
        assert_eq!(said.status, 2);
        assert!(said.err.starts_with("error: "), "{}", said.err);
        said.out
    };
    let json: Value = serde_json::from_str(&out("json")).unwrap();
    assert_eq!(json["counts"]["refused"], 1);
    assert_eq!(json["trials"][0]["errors"][0]["at"]["file"], bad);
    assert_eq!(Report::deserialize_from_str(&out("junit")).unwrap().errors, 1);
    let tap = out("tap");
    assert!(
        tap.starts_with(&format!("TAP version 14\n1..1\nnot ok 1 - {bad}\n  ---\n  refused: |\n")),
        "{tap}"
    );
}

/// A small trial whose only row is `line`.
fn status_of(section: &str, line: &str) -> i32 {
    let trial =
        format!("title: t\ncompose: {{ services: {{ web: {{ image: x }} }} }}\n{section}: [{line}]\n");
    let folder = folder(&[("t.trial.yaml", &trial)]);
    run_in(folder.path(), &["check"]).status
}

#[test]
fn the_status_says_whether_all_held() {
    assert_eq!(status_of("expect", "host -> 127.0.0.1/icmp reaches host"), 0);
    assert_eq!(status_of("expect", "host -> 127.0.0.1/icmp dropped"), 1);
    assert_eq!(status_of("expect", "host -> 127.0.0.1/imcp dropped"), 2);
    assert_eq!(status_of("steps", "cut web.eth7"), 3, "not proved is not held");
    assert_eq!(check("text").status, 1, "what failed outranks what could not be asked");
}

#[test]
fn a_lane_that_is_missing_is_named_and_nothing_is_run() {
    let said = run(&["check", "fixtures/trials/none", "--lane", "sim", "--lane", "docker"]);
    assert_eq!((said.status, said.out.as_str()), (3, ""));
    assert!(said.err.starts_with("error: lane docker cannot run here: "), "{}", said.err);
}

#[test]
fn trials_run_by_the_rules_of_the_engine_that_is_asked_for() {
    let trial = "title: t\ncompose: { services: { web: { image: x } } }\nexpect:\n  - when: { engine: '<29' }\n    then: host -> 127.0.0.1/icmp reaches host\n";
    let folder = folder(&[("t.trial.yaml", trial)]);
    let verdict = |engine| {
        let out = run_in(folder.path(), &["check", "--engine", engine, "--format", "json"]).out;
        let document: Value = serde_json::from_str(&out).unwrap();
        document["trials"][0]["expectations"][0]["lanes"]["sim"].clone()
    };
    assert_eq!(verdict("28.5")["verdict"], "held");
    assert_eq!(verdict("29")["reason"], "meant for engine <29; this is engine 29, kernel 6.12, lane sim");
}

/// A trial with a line that all Engines answer alike, one that each answers in its way, and one that is meant for old ones.
const ENGINES: &str = r#"
title: three Engines
compose:
  services:
    web: { image: nginx, network_mode: none, expose: ["80"] }
expect:
  - - { when: { engine: "<26" }, then: "web -> [::1]:80/tcp no-route" }
    - { then: "web -> [::1]:80/tcp reaches web:80" }
  - when: { engine: "<23" }
    then: web has devices lo
  - web -> localhost:80/tcp reaches web:80
steps:
  - web -> 127.0.0.1:80/tcp reaches web:80 from 127.0.0.9
"#;

#[test]
fn several_engines_are_columns_of_one_table() {
    let folder = folder(&[("demo/engines.trial.yaml", ENGINES)]);
    let engines = ["--engine", "28.5", "--engine", "20.10", "--engine", "26.1", "--engine", "28.5"];
    let said = run_in(folder.path(), &[&["check", "demo"], &engines[..]].concat());
    assert_eq!((said.status, said.err.as_str()), (1, ""));
    insta::assert_snapshot!(said.out);
}

#[test]
fn a_compose_file_is_no_trial() {
    let file = "fixtures/compose/wireguard.yaml";
    let said = run(&["check", file]);
    assert_eq!((said.status, said.out.as_str()), (2, ""));
    assert!(
        said.err.starts_with(&format!("error: {file} is a compose file, and no trial\n")),
        "{}",
        said.err
    );
    assert!(Path::new(file).is_relative());
}
