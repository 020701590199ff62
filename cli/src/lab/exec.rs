//! `seatrial exec`: a program of the user's runs inside a node.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use seatrial_core::linux;
use seatrial_core::linux::lab::visit::{self, Failure, Visit};

use super::{Found, find, node};
use crate::args::Exec;
use crate::output::{Output, Refusal};

/// The status where nothing was run, as `docker exec`, `env` and `nohup` have it: no way in, and what cannot be run.
const NO_WAY_IN: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Runs it and ends as it does.
pub(crate) fn run(args: &Exec) -> ExitCode {
    match enter(args) {
        Ok(status) => ExitCode::from(status),
        Err(Stopped::Before(refusal)) => Output::from(refusal).print(),
        Err(Stopped::At(status, error)) => {
            // Where nobody reads what goes wrong, the status still says it.
            let _ = writeln!(io::stderr().lock(), "seatrial: {error}");
            ExitCode::from(status)
        }
    }
}

/// Why it did not run.
enum Stopped {
    /// It was not clear what is meant.
    Before(Refusal),
    /// It could not be run.
    At(u8, linux::Error),
}

impl<T: Into<Refusal>> From<T> for Stopped {
    fn from(refusal: T) -> Self {
        Self::Before(refusal.into())
    }
}

fn enter(args: &Exec) -> Result<u8, Stopped> {
    let Found { lab, notes } = find(&args.which)?;
    // As above.
    let _ = write!(io::stderr().lock(), "{notes}");
    let node = node(&lab, &args.node)?;
    let visit =
        Visit { command: args.command.clone(), env: environment(&args.env), directory: args.workdir.clone() };
    let entry = lab.enter(&node).map_err(|error| Stopped::At(NO_WAY_IN, error))?;
    visit::run(entry, lab.record(), visit).map_err(|failure| match failure {
        Failure::Refused(error) => Stopped::At(NO_WAY_IN, error),
        Failure::NotExecutable(error) => Stopped::At(NOT_EXECUTABLE, error),
        Failure::NotFound(error) => Stopped::At(NOT_FOUND, error),
    })
}

/// The terminal's name, and what the user gives.
fn environment(given: &[OsString]) -> Vec<(OsString, OsString)> {
    let here = |name: OsString| env::var_os(&name).map(|value| (name, value));
    let split = |text: &OsString| {
        let bytes = text.as_bytes();
        match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                let (name, value) = (bytes.get(..at)?, bytes.get(at + 1..)?);
                Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
            }
            None => here(text.clone()),
        }
    };
    here("TERM".into()).into_iter().chain(given.iter().filter_map(split)).collect()
}
