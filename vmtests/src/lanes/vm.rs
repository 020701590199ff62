//! Lane vm: the trial on another kernel, in a virtual machine that serves many.

use std::io;

use seatrial_core::engine::Version;
use seatrial_core::linux::Error;
use seatrial_core::linux::request::{Answer, Request};
use seatrial_core::plan::{Plan, PlanOp};
use seatrial_core::topology::trial::{Lane, Place, Trial};

use super::ground::{Ground, Standing, engine};
use crate::channel::{Hello, What};
use crate::qemu::{self, Kit, Machine};

/// Whether machines can be booted here.
pub(super) fn available() -> io::Result<()> {
    qemu::available()
}

/// A virtual machine whose kernel trials are run on.
#[derive(Debug)]
pub(super) struct Elsewhere {
    machine: Machine,
    kernel: Version,
}

impl Elsewhere {
    /// Starts a machine.
    ///
    /// # Errors
    /// Why nothing came of it.
    pub(super) fn start(kit: &Kit<'_>) -> io::Result<Self> {
        Ok(Self { machine: kit.start(None)?, kernel: kit.kernel() })
    }

    /// Ends the machine.
    ///
    /// # Errors
    /// That its kernel complained of itself.
    pub(super) fn finish(self) -> Result<(), String> {
        self.machine.finish()
    }

    /// Whether it is a copy of one that was saved.
    pub(super) const fn restored(&self) -> bool {
        self.machine.restored()
    }

    /// What it said when it came up.
    pub(super) const fn hello(&self) -> &Hello {
        self.machine.hello()
    }
}

/// A kernel that did not come up.
pub(super) struct Lost(pub(super) Version);

impl Ground for Lost {
    fn place(&self, trial: &Trial) -> Place {
        Place { engine: engine(trial), kernel: self.0, lane: Lane::Vm }
    }

    fn set(&self, _: &Trial, _: &Plan) -> Result<Box<dyn Standing + '_>, Error> {
        Err(Error::words("boot", format!("kernel {}", self.0), "it did not come up"))
    }
}

impl Ground for Elsewhere {
    fn place(&self, trial: &Trial) -> Place {
        Place { engine: engine(trial), kernel: self.kernel, lane: Lane::Vm }
    }

    fn set(&self, _: &Trial, plan: &Plan) -> Result<Box<dyn Standing + '_>, Error> {
        let stage = Remote { machine: &self.machine, number: self.machine.next_stage() };
        stage.order(What::Set { plan: plan.clone(), among: None })?;
        Ok(Box::new(stage))
    }
}

/// A stage in a virtual machine.
struct Remote<'m> {
    machine: &'m Machine,
    number: u64,
}

impl Remote<'_> {
    fn order(&self, what: What) -> Result<Vec<Answer>, Error> {
        self.machine.order(self.number, what)
    }
}

impl Standing for Remote<'_> {
    fn apply(&mut self, operations: Vec<PlanOp>) -> Result<(), Error> {
        self.order(What::Apply(operations)).map(drop)
    }

    fn ask_all(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>, Error> {
        self.order(What::Ask(requests))
    }
}

impl Drop for Remote<'_> {
    fn drop(&mut self) {
        self.machine.end(self.number);
    }
}
