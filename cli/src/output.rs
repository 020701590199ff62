//! What a command has to say, and with which status it ends.

use std::io::{self, Write};
use std::process::ExitCode;

use anstream::AutoStream;
use seatrial_core::diagnostic::{Diagnostic, Diagnostics};
use seatrial_core::linux;
use seatrial_vmtests::lanes::LaneMissing;

use crate::diagnostics;
use crate::style::{self, BAD, paint};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// Everything held, or there was nothing to hold.
    Held = 0,
    /// An expectation failed, or something could not be done.
    Failed = 1,
    /// The input or the usage is wrong.
    BadInput = 2,
    /// A lane that was asked for cannot run here.
    LaneMissing = 3,
}

/// What a command says. Escape codes are taken out where no terminal, or `NO_COLOR`, is at the other end.
#[derive(Debug)]
pub(crate) struct Output {
    /// For standard output.
    pub(crate) out: String,
    /// For standard error.
    pub(crate) err: String,
    /// How it ended.
    pub(crate) status: Status,
}

impl Output {
    /// All went well, and this is the answer.
    pub(crate) fn answer(out: String) -> Self {
        Self { out, err: String::new(), status: Status::Held }
    }

    /// The same, with something more for standard error.
    pub(crate) fn noting(mut self, more: &str) -> Self {
        self.err.push_str(more);
        self
    }

    /// Writes it all and says how the process ends.
    pub(crate) fn print(&self) -> ExitCode {
        let errors = write(AutoStream::auto(io::stderr().lock()), &self.err);
        let status = match write(AutoStream::auto(io::stdout().lock()), &self.out).and(errors) {
            Ok(()) => self.status,
            // Whoever read this has seen enough, as `head` does; the answer stays what it is.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.status,
            Err(e) => {
                let _ = writeln!(io::stderr().lock(), "seatrial: cannot write to standard output: {e}");
                Status::BadInput
            }
        };
        ExitCode::from(status as u8)
    }
}

fn write(mut stream: impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// Why a command has no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The texts that were read are wrong.
    Diagnostics(Diagnostics),
    /// A lane that was asked for cannot run here.
    Lane(LaneMissing),
    /// This machine would not do something.
    Machine(linux::Error),
    /// Anything else, in words.
    Words(String),
}

impl From<linux::Error> for Refusal {
    fn from(error: linux::Error) -> Self {
        Self::Machine(error)
    }
}

impl From<Diagnostics> for Refusal {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Diagnostics(diagnostics)
    }
}

impl From<Diagnostic> for Refusal {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Diagnostics(diagnostic.into())
    }
}

impl From<LaneMissing> for Refusal {
    fn from(lane: LaneMissing) -> Self {
        Self::Lane(lane)
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(e: serde_json::Error) -> Self {
        Self::Words(format!("the answer cannot be written as JSON: {e}"))
    }
}

impl From<Refusal> for Output {
    fn from(refusal: Refusal) -> Self {
        // What follows the first line is a console's, and stays as it is.
        let error = |words: String| {
            let (first, rest) = words.split_once('\n').map_or((words.as_str(), None), |(f, r)| (f, Some(r)));
            let first = style::wrap(&format!("error: {first}"), style::columns(), 2);
            let rest = rest.map(|rest| format!("\n{rest}")).unwrap_or_default();
            format!("{}{rest}\n", first.replacen("error", &paint(BAD, "error"), 1))
        };
        let (err, status) = match refusal {
            Refusal::Diagnostics(diagnostics) => {
                (diagnostics::render(&diagnostics, style::columns()), Status::BadInput)
            }
            Refusal::Lane(lane) => (error(lane.to_string()), Status::LaneMissing),
            Refusal::Machine(cannot) if cannot.missing => (error(cannot.to_string()), Status::LaneMissing),
            Refusal::Machine(cannot) => (error(cannot.to_string()), Status::Failed),
            Refusal::Words(words) => (error(words), Status::BadInput),
        };
        Self { out: String::new(), err, status }
    }
}
