//! Lane kernel, through the program: every trial holds in the simulator and on this machine's kernel, and both say the
//! same of every packet.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Skipped, and it says so, where this machine lets nobody try: see the message for what to install or allow.
#[test]
fn every_trial_holds_on_this_machines_kernel_as_in_the_simulator() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    program.args(["check", "fixtures/trials", "--lane", "sim", "--lane", "kernel", "--format", "json"]);
    let output = program.current_dir(root).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) && said.contains("lane kernel cannot run here") {
        println!("skipped: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let held = report["counts"]["held"].as_u64().unwrap();
    assert!(held > 1500, "only {held} held: was lane kernel run?");
}
