//! Every trial of `fixtures/trials` holds in the simulator, with the rules of the Engines that keep containers from the
//! LAN; those of `fixtures/trials/engines`, which say where Engines differ, with everyone's.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use seatrial_core::engine::{Engine, Profile};
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial::{self, Lane};
use seatrial_vmtests::lanes;
use seatrial_vmtests::report::{Column, Report, Verdict};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// The disk, below the fixtures.
struct Fixtures(PathBuf);

impl Files for Fixtures {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(self.0.join(path))
    }
}

/// The trials, by path.
fn trials(fixtures: &Path) -> Vec<PathBuf> {
    let mut folders = vec![fixtures.join("trials")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".trial.yaml") {
                found.push(path.strip_prefix(fixtures).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// What did not hold, a line each.
fn broken(report: &Report) -> Vec<String> {
    let rows = match &report.rows {
        Ok(rows) => rows,
        Err(wrong) => return vec![wrong.to_string()],
    };
    let mut broken = Vec::new();
    for row in rows {
        match &row.verdicts[&Column::from(Lane::Sim)] {
            Verdict::Held | Verdict::Skipped { .. } => {}
            Verdict::Failed { got, .. } => broken.push(format!("{} {}: got {got}", row.at, row.asked)),
            Verdict::Unsupported { what } => broken.push(format!("{} {}: cannot: {what}", row.at, row.asked)),
        }
    }
    broken
}

/// What does not hold of trials by engines, a line each.
fn broken_by(paths: &[PathBuf], engines: &[&str]) -> Vec<String> {
    let disk = Fixtures(fixtures());
    let mut lines = Vec::new();
    for path in paths {
        for engine in engines {
            let mut trial = trial::read(path, &disk, &Options::default()).unwrap();
            trial.topology.hosts[0].engine = engine.parse().unwrap();
            let report = lanes::simulate(&trial, lanes::SEED);
            lines.extend(broken(&report).iter().map(|line| format!("{engine}: {line}")));
        }
    }
    lines
}

#[test]
fn every_trial_holds_in_the_simulator_by_engines_from_28_2_on() {
    let trials = trials(&fixtures());
    assert!(trials.len() > 80, "only {} trials found", trials.len());
    let broken = broken_by(&trials, &["28.2", "28.5", "29"]);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn trials_of_what_engines_do_otherwise_hold_by_every_profile() {
    let all = ["20.10", "23", "24", "25", "26.1", "27", "28.0.0", "28.0", "28.1", "28.5", "29"];
    let profiles: BTreeSet<Profile> = all.iter().map(|e| e.parse::<Engine>().unwrap().profile).collect();
    assert_eq!(profiles.into_iter().collect::<Vec<_>>(), Profile::ALL);
    let trials: Vec<PathBuf> =
        trials(&fixtures()).into_iter().filter(|path| path.starts_with("trials/engines")).collect();
    assert!(trials.len() >= 7, "only {} trials found", trials.len());
    let broken = broken_by(&trials, &all);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
