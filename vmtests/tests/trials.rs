//! Every trial of `fixtures/trials` holds in the simulator, with the rules of both Engines that are planned.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::{fs, io};

use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial::{self, Lane};
use seatrial_vmtests::lanes;
use seatrial_vmtests::report::{Report, Verdict};

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
        match &row.verdicts[&Lane::Sim] {
            Verdict::Held | Verdict::Skipped { .. } => {}
            Verdict::Failed { got, .. } => broken.push(format!("{} {}: got {got}", row.at, row.asked)),
            Verdict::Unsupported { what } => broken.push(format!("{} {}: cannot: {what}", row.at, row.asked)),
        }
    }
    broken
}

#[test]
fn every_trial_holds_in_the_simulator_by_every_planned_engine() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let disk = Fixtures(fixtures.clone());
    let trials = trials(&fixtures);
    assert!(trials.len() > 80, "only {} trials found", trials.len());
    let mut broken_lines = Vec::new();
    for path in &trials {
        for engine in ["28.2", "28.5", "29"] {
            let mut trial = trial::read(path, &disk, &Options::default()).unwrap();
            trial.topology.hosts[0].engine = engine.parse().unwrap();
            let report = lanes::simulate(&trial, lanes::SEED);
            broken_lines.extend(broken(&report).iter().map(|line| format!("{engine}: {line}")));
        }
    }
    assert!(broken_lines.is_empty(), "{}", broken_lines.join("\n"));
}
