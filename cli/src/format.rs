//! What came of trials, in the form that was asked for.

use seatrial_core::engine::Engine;
use seatrial_core::topology::trial::Lane;
use seatrial_vmtests::report::Column;

pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod kernels;
pub(crate) mod tap;
pub(crate) mod text;

/// How a simulated failure is seen again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again {
    /// The seed it had.
    pub(crate) seed: u64,
    /// The Engine of the command line, where it names one.
    pub(crate) engine: Option<Engine>,
}

impl Again {
    /// The command that runs a file's trial again, for a failure in a lane that repeats itself.
    pub(crate) fn command(&self, column: Column, file: &str) -> Option<String> {
        let file = shlex::try_quote(file).ok()?;
        let engine = column.engine.or(self.engine.map(|engine| engine.version));
        let engine = engine.map(|engine| format!(" --engine {engine}")).unwrap_or_default();
        let kernel = column.kernel.map(|kernel| format!(" --kernel {kernel}")).unwrap_or_default();
        match column.lane {
            Lane::Sim => Some(format!("seatrial check {file}{engine}{kernel} --seed {}", self.seed)),
            Lane::Kernel | Lane::Vm | Lane::Docker => None,
        }
    }
}
