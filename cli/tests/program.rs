//! The program, as a person or a script runs it: what it prints, where, and with which status it ends.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[path = "program/broken.rs"]
mod broken;
#[path = "program/check.rs"]
mod check;
#[path = "program/diff.rs"]
mod diff;
#[path = "program/docker.rs"]
mod docker;
#[path = "program/pcap.rs"]
mod pcap;
#[path = "program/plan.rs"]
mod plan;
#[path = "program/projects.rs"]
mod projects;
#[path = "program/reading.rs"]
mod reading;
#[path = "program/seed.rs"]
mod seed;
#[path = "program/snapshot.rs"]
mod snapshot;
#[path = "program/usage.rs"]
mod usage;
#[path = "program/vm.rs"]
mod vm;

/// The repository's folder: paths that are typed begin there.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The program, started in a folder, with nothing in its environment.
fn program(folder: &Path, args: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    program.args(args).current_dir(folder).env_clear();
    program
}

/// What the program said.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs the program in a folder.
fn run_in(folder: &Path, args: &[&str]) -> Said {
    program(folder, args).output().unwrap().into()
}

/// Runs the program in the repository's folder.
fn run(args: &[&str]) -> Said {
    run_in(&root(), args)
}

/// The answer of a command that has one.
fn answer(args: &[&str]) -> String {
    let said = run(args);
    assert_eq!(said.status, 0, "{args:?}: {}", said.err);
    said.out
}

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}
