//! Where a trial can run: in the simulator; later in namespaces, in virtual machines, against the real Engine.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A place where a trial runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The simulator, in this process.
    Sim,
    /// Network namespaces of this machine.
    Kernel,
    /// Kernels in virtual machines.
    Vm,
    /// A private Docker Engine.
    Docker,
}

/// A lane that cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("lane {lane} cannot run here: {missing}; {get}")]
pub struct LaneMissing {
    /// Which.
    pub lane: Lane,
    /// What is missing.
    pub missing: &'static str,
    /// How to get it.
    pub get: &'static str,
}

/// Not a lane's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a lane: sim, kernel, vm or docker")]
pub struct LaneError(String);

impl Lane {
    /// All lanes, the cheapest first.
    pub const ALL: [Self; 4] = [Self::Sim, Self::Kernel, Self::Vm, Self::Docker];

    /// The name that trials and the command line use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Kernel => "kernel",
            Self::Vm => "vm",
            Self::Docker => "docker",
        }
    }

    /// Whether trials can run in this lane, on this machine, with this program.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub const fn available(self) -> Result<(), LaneMissing> {
        let missing = match self {
            Self::Sim => return Ok(()),
            Self::Kernel => "this version has no part that makes a plan's objects in namespaces",
            Self::Vm => "this version has no part that boots kernels",
            Self::Docker => "this version has no part that drives a Docker Engine",
        };
        Err(LaneMissing { lane: self, missing, get: "a later version brings it, and lane sim needs nothing" })
    }
}

impl FromStr for Lane {
    type Err = LaneError;

    fn from_str(s: &str) -> Result<Self, LaneError> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == s).ok_or_else(|| LaneError(s.to_owned()))
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
