//! Trials run in the simulator's lane: one verdict for each way an expectation can end.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use seatrial_core::topology::compose::Options;
use seatrial_core::topology::trial::{self, Lane, Trial};
use seatrial_vmtests::lanes;
use seatrial_vmtests::report::{Column, Counts, Report, Row, Verdict};

const SIM: Column = Column { engine: None, lane: Lane::Sim, kernel: None };

/// A trial of `web`, published on 8080, and whatever else `rest` says.
fn trial(rest: &str) -> Trial {
    let text = format!(
        "title: t\ncompose: {{ services: {{ web: {{ image: x, ports: [ '8080:80' ] }} }} }}\n\
         lan: {{ laptop: 203.0.113.50/24 }}\n{rest}\n"
    );
    let files = BTreeMap::from([(PathBuf::from("t.trial.yaml"), text)]);
    trial::read(Path::new("t.trial.yaml"), &files, &Options::default()).unwrap()
}

fn rows(rest: &str) -> Vec<Row> {
    lanes::simulate(&trial(rest), lanes::SEED).rows.unwrap()
}

fn verdicts(rest: &str) -> Vec<Verdict> {
    rows(rest).into_iter().map(|mut row| row.verdicts.remove(&SIM).unwrap()).collect()
}

#[test]
fn an_expectation_holds_or_fails_with_what_came_and_the_packets_journey() {
    let verdicts = verdicts(
        "expect:\n\
         - laptop -> 203.0.113.10:8080/tcp reaches web:80 from 203.0.113.50\n\
         - laptop -> 203.0.113.10:8080/tcp refused\n\
         - web has own network\n\
         - web hostname is x",
    );
    let [Verdict::Held, Verdict::Failed { got, trace }, Verdict::Held, Verdict::Failed { got: fact, .. }] =
        verdicts.as_slice()
    else {
        panic!("{verdicts:?}")
    };
    assert_eq!(got, "reaches web:80 from 203.0.113.50");
    assert!(!trace.hops.is_empty());
    assert!(fact.starts_with("web hostname is "), "{fact}");
}

#[test]
fn each_expectation_has_a_world_of_its_own_and_steps_share_one() {
    let ask = "laptop -> 203.0.113.10:8080/tcp";
    let steps = format!(
        "steps: [ '{ask} reaches web:80', 'stop web', '{ask} refused', 'start web', '{ask} reaches web:80' ]"
    );
    assert_eq!(verdicts(&steps), vec![Verdict::Held; 5]);
    let expect = format!("expect: [ '{ask} reaches web:80', '{ask} reaches web:80' ]");
    assert_eq!(verdicts(&expect), vec![Verdict::Held; 2]);
}

#[test]
fn time_passes_in_steps_and_a_time_that_has_passed_is_a_failure() {
    assert_eq!(verdicts("steps: [ 'at: 2s', 'wait 1s', 'at: 3s' ]"), vec![Verdict::Held; 3]);
    // ARP gives up after three seconds.
    let verdicts = verdicts("steps: [ 'laptop -> 203.0.113.99/icmp unreachable', 'at: 2s' ]");
    let [Verdict::Held, Verdict::Failed { got, .. }] = verdicts.as_slice() else { panic!("{verdicts:?}") };
    assert!(got.starts_with("it is 3") && got.ends_with(" ms already"), "{got}");
}

#[test]
fn what_is_not_meant_for_this_place_is_skipped_with_the_reason() {
    let expect = "expect: [ 'laptop -> 203.0.113.10:8080/tcp reaches web:80' ]";
    let whole = verdicts(&format!("engine: '28.5'\nwhen: {{ engine: '>=29' }}\n{expect}"));
    let reason = "meant for engine >=29; this is engine 28.5, kernel 6.12, lane sim".to_owned();
    assert_eq!(whole, [Verdict::Skipped { reason }]);
    let entry =
        rows("expect:\n- when: { lane: [ kernel ] }\n  then: laptop -> 203.0.113.10:8080/tcp dropped");
    let [Row { asked, expected, verdicts, .. }] = entry.as_slice() else { panic!("{entry:?}") };
    assert_eq!((asked.as_str(), expected.as_str()), ("laptop -> 203.0.113.10:8080/tcp", "dropped"));
    assert!(
        matches!(&verdicts[&SIM], Verdict::Skipped { reason } if reason.contains("meant for lane kernel;"))
    );
}

#[test]
fn the_alternative_that_fits_is_run() {
    let rows = rows(
        "expect:\n\
         - - { when: { engine: '<29' }, then: laptop -> 203.0.113.10:8080/tcp refused }\n\
         \x20 - { then: laptop -> 203.0.113.10:8080/tcp reaches web:80 }",
    );
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].expected.as_str(), &rows[0].verdicts[&SIM]), ("reaches web:80", &Verdict::Held));
}

#[test]
fn a_step_that_cannot_be_made_yet_is_no_pass_and_nothing_after_it_is_asked() {
    let verdicts = verdicts("steps: [ 'cut web.eth7', 'laptop -> 203.0.113.10:8080/tcp reaches web:80' ]");
    let [Verdict::Unsupported { what }, Verdict::Unsupported { what: after }] = verdicts.as_slice() else {
        panic!("{verdicts:?}")
    };
    assert!(what.contains("eth7"), "{what}");
    assert!(after.starts_with("a step before it could not be made"), "{after}");
}

#[test]
fn what_docker_refuses_is_shown_where_the_user_wrote_it() {
    let text = "title: t\ncompose: { services: { a: { image: x, ports: [ '80:80' ] }, b: { image: x, ports: [ '80:80' ] } } }\n\
                expect: [ 'a hostname is a' ]\n";
    let files = BTreeMap::from([(PathBuf::from("t.trial.yaml"), text.to_owned())]);
    let trial = trial::read(Path::new("t.trial.yaml"), &files, &Options::default()).unwrap();
    let report = lanes::simulate(&trial, lanes::SEED);
    let refused = report.rows.as_ref().unwrap_err();
    assert_eq!(refused.0[0].at.line_column().0, 2, "{refused}");
    assert_eq!(Counts::of(&[report]).refused, 1);
}

#[test]
fn counts_say_what_was_not_proved() {
    let report = |rows| Report {
        file: String::new(),
        title: String::new(),
        group: String::new(),
        engines: Vec::new(),
        rows,
        digest: None,
        took: BTreeMap::new(),
    };
    let all = rows("expect: [ 'web has own network', 'web has own ipc', 'web hostname is x' ]");
    assert_eq!(Counts::of(&[report(Ok(all))]).to_string(), "2 held, 1 failed");
    let some = Counts { held: 1, skipped: 2, unsupported: 3, ..Counts::default() };
    assert_eq!(some.to_string(), "1 held, 0 failed, 2 skipped, 3 not possible yet");
}
