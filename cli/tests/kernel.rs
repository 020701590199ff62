//! Lane kernel, through the program: every trial holds in the simulator and on this machine's kernel, and both say the
//! same of every packet.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may, and says what it skips")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// What the program says; none, and that is said, where this machine lets nobody try: see the message for what to
/// install or allow.
fn checked(args: &[&str]) -> Option<Output> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    let output = program.arg("check").args(args).current_dir(root).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) && said.contains("lane kernel cannot run here") {
        println!("skipped: {said}");
        return None;
    }
    Some(output)
}

#[test]
fn every_trial_holds_on_this_machines_kernel_as_in_the_simulator() {
    let all = ["fixtures/trials", "--lane", "sim", "--lane", "kernel", "--format", "json"];
    let Some(output) = checked(&all) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let held = report["counts"]["held"].as_u64().unwrap();
    assert!(held > 1500, "only {held} held: was lane kernel run?");
}

#[test]
fn what_engines_do_otherwise_holds_on_this_machines_kernel_by_older_ones_too() {
    for engine in ["20.10", "24", "26.1", "27", "28.1"] {
        let args = ["fixtures/trials/engines", "--lane", "sim", "--lane", "kernel", "--engine", engine];
        let Some(output) = checked(&args) else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{engine}: {said}");
    }
}

#[test]
fn a_rule_that_iptables_refuses_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refused.trial.yaml");
    let trial = "title: t\ncompose: { services: { web: { image: x } } }\n\
                 host: { firewall: \"*filter\\n-A INPUT -m nosuch --that 1 -j ACCEPT\\nCOMMIT\\n\" }\n\
                 expect: [ 'host -> web:80/tcp refused' ]\n";
    fs::write(&file, trial).unwrap();
    let Some(output) = checked(&[file.to_str().unwrap(), "--lane", "kernel"]) else { return };
    let said = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write rules in host with iptables-restore"), "{said}");
    assert!(said.contains("(-A INPUT -m nosuch --that 1 -j ACCEPT)"), "{said}");
}
