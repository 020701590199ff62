//! What a trial runs on, whatever it is made of: a machine, and the stages that are set on it.

use seatrial_core::engine::Version;
use seatrial_core::linux::Error;
use seatrial_core::linux::request::{Answer, Request};
use seatrial_core::plan::{Plan, PlanOp};
use seatrial_core::probe::Change;
use seatrial_core::topology::trial::{Place, Trial};

/// A machine on which stages can be set.
pub(super) trait Ground {
    /// What a trial's conditions are held against.
    fn place(&self, trial: &Trial) -> Place;

    /// Whether a trial can be run here at all.
    ///
    /// # Errors
    /// Why it is skipped.
    fn suits(&self, _: &Trial) -> Result<(), String> {
        Ok(())
    }

    /// A stage on which the plan of a trial stands.
    ///
    /// # Errors
    /// The first object that cannot be made.
    fn set(&self, trial: &Trial, plan: &Plan) -> Result<Box<dyn Standing + '_>, Error>;
}

/// A stage on which a plan stands. It ends with this.
pub(super) trait Standing {
    /// Carries operations out.
    fn apply(&mut self, operations: Vec<PlanOp>) -> Result<(), Error>;

    /// Makes a change, which these operations come to.
    fn change(&mut self, _: &Change, operations: Vec<PlanOp>) -> Result<(), Error> {
        self.apply(operations)
    }

    /// Asks several things at one time.
    fn ask_all(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>, Error>;

    /// Asks one thing.
    fn ask(&mut self, request: Request) -> Result<Answer, Error> {
        let mut answers = self.ask_all(vec![request])?;
        answers.pop().ok_or_else(|| Error::words("ask", "the stage", "there was no answer"))
    }
}

/// Whose rules a trial's host has.
pub(super) fn engine(trial: &Trial) -> Version {
    trial.topology.hosts.first().map(|host| host.engine).unwrap_or_default().version
}
