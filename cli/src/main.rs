//! The program people type: it reads, asks the crates beside it, and prints; it decides nothing.

mod args;
mod assumed;
mod check;
mod diagnostics;
mod disk;
mod format;
mod input;
mod lab;
mod matrix;
mod output;
mod plan;
mod style;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use output::Output;

fn main() -> ExitCode {
    if let Some(code) = seatrial_core::linux::entry().or_else(seatrial_vmtests::guest::entry) {
        return code;
    }
    let arguments = Arguments::parse();
    let answer = match &arguments.command {
        Command::Check(args) => check::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Matrix(args) => matrix::run(args),
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
