//! The programs people type, [`seatrial()`] and [`vmtests()`]: they read, ask the crates beside them, and print; they decide
//! nothing.

mod args;
mod assumed;
mod check;
mod diagnostics;
mod diff;
mod disk;
mod format;
mod git;
mod input;
mod lab;
mod matrix;
mod output;
mod plan;
mod snapshot;
mod style;
mod trace;
mod vmtests;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, VmTests};
use output::Output;

/// What `seatrial` is called.
const SEATRIAL: &str = "seatrial";

/// `seatrial`: all of it.
#[must_use]
pub fn seatrial() -> ExitCode {
    agent().unwrap_or_else(|| run(&Arguments::parse()))
}

/// `vmtests`: trials on kernels in virtual machines, and nothing else.
#[must_use]
pub fn vmtests() -> ExitCode {
    agent().unwrap_or_else(|| match called() {
        // It is both in a virtual machine.
        Some(name) if name == SEATRIAL => run(&Arguments::parse()),
        Some(_) | None => vmtests::run(&VmTests::parse()),
    })
}

/// The name this program was called by.
fn called() -> Option<OsString> {
    Some(Path::new(&env::args_os().next()?).file_name()?.to_owned())
}

/// What this process is where it is no program that somebody typed: a stage's agent, or a machine's first process.
fn agent() -> Option<ExitCode> {
    seatrial_core::linux::entry().or_else(seatrial_vmtests::guest::entry)
}

fn run(arguments: &Arguments) -> ExitCode {
    let answer = match &arguments.command {
        Command::Check(args) => check::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Matrix(args) => matrix::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Up(args) => lab::up(args),
        Command::Exec(args) => return lab::exec(args),
        Command::Ps(args) => lab::ps(args),
        Command::Networks(args) => lab::networks(args),
        Command::Bridges(args) => lab::bridges(args),
        Command::Down(args) => lab::down(args),
    };
    answer.unwrap_or_else(Output::from).print()
}
