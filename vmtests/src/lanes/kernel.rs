//! Lane kernel: the trial on this machine's kernel, in namespaces of its own; and on any other where stages can be set.

use std::path::{Path, PathBuf};

use seatrial_core::diagnostic::Diagnostics;
use seatrial_core::engine::Version;
use seatrial_core::linux::request::{Answer, Request};
use seatrial_core::linux::stage::{Launch, Stage};
use seatrial_core::linux::{self, Error};
use seatrial_core::plan::{self, Plan, PlanOp, Planner};
use seatrial_core::probe::{Change, Expectation, Outcome, Step};
use seatrial_core::topology::trial::{Lane, Place, Trial};
use seatrial_sim::trace::Trace;

use super::ground::{Ground, Standing, engine};
use super::rows::{Came, Line, Slot, Slots, wrong};
use crate::report::Verdict;

/// This machine, with a program that stages are made of.
pub(super) struct Here(pub(super) PathBuf);

impl Ground for Here {
    fn place(&self, trial: &Trial) -> Place {
        let kernel = linux::kernel().unwrap_or(Version { major: 0, minor: None, patch: None });
        Place { engine: engine(trial), kernel, lane: Lane::Kernel }
    }

    fn set(&self, _: &Trial, plan: &Plan) -> Result<Box<dyn Standing + '_>, Error> {
        let mut stage = Stage::launch(&Launch::of(&self.0, plan))?;
        stage.apply(plan.items.iter().cloned().map(PlanOp::Add).collect())?;
        Ok(Box::new(stage))
    }
}

impl Standing for Stage {
    fn apply(&mut self, operations: Vec<PlanOp>) -> Result<(), Error> {
        Self::apply(self, operations)
    }

    fn ask_all(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>, Error> {
        Self::ask_all(self, requests)
    }
}

/// Whether this machine lets anyone try a plan: an empty stage is launched.
pub(super) fn available(program: &Path) -> Result<(), Error> {
    linux::tools()?;
    Stage::launch(&Launch::of(program, &Plan::default())).map(drop)
}

/// Runs a trial: all its expectations at one time on one stage, its steps on another.
pub(super) fn run(trial: &Trial, ground: &dyn Ground) -> Result<Vec<Line>, Diagnostics> {
    let place = ground.place(trial);
    let slots = match ground.suits(trial) {
        Ok(()) => Slots::of(trial, &place),
        Err(reason) => Slots::skipped(trial, &reason),
    };
    if slots.is_idle() {
        return Ok(slots.idle());
    }
    let (planner, plan) = Planner::new(&trial.topology)?;
    plan::check::check(&plan).map_err(|faults| wrong(trial, &faults))?;
    let mut rows = expectations(&slots.expect, || ground.set(trial, &plan));
    rows.extend(steps(&slots.steps, planner, || ground.set(trial, &plan)));
    Ok(rows)
}

fn expectations<'g>(
    slots: &[Slot<'_, Expectation>],
    set: impl FnOnce() -> Result<Box<dyn Standing + 'g>, Error>,
) -> Vec<Line> {
    let meant: Vec<&Slot<'_, Expectation>> = slots.iter().filter(|slot| slot.skipped.is_none()).collect();
    let mut came = if meant.is_empty() { Vec::new() } else { all(&meant, set) }.into_iter();
    let row = |slot: &Slot<'_, Expectation>| slot.skip().or_else(|| came.next().map(|came| slot.ran(came)));
    slots.iter().filter_map(row).collect()
}

fn all<'g>(
    slots: &[&Slot<'_, Expectation>],
    set: impl FnOnce() -> Result<Box<dyn Standing + 'g>, Error>,
) -> Vec<Came> {
    let requests = slots.iter().map(|slot| request(&slot.line.line)).collect();
    let answers = set().and_then(|mut stage| stage.ask_all(requests));
    match answers {
        Ok(answers) => {
            slots.iter().zip(answers).map(|(slot, answer)| came(&slot.line.line, answer)).collect()
        }
        Err(error) => slots.iter().map(|_| (failed(&error), None)).collect(),
    }
}

fn request(expectation: &Expectation) -> Request {
    match expectation {
        Expectation::Probe(probe, _) => Request::Ask(probe.clone()),
        Expectation::Fact(node, fact) => Request::Fact(node.clone(), fact.clone()),
    }
}

/// What an answer makes of an expectation.
fn came(expectation: &Expectation, answer: Answer) -> Came {
    let otherwise = |got| Verdict::Failed { got, trace: Trace::default() };
    match (answer, expectation) {
        (Answer::Outcome(_), Expectation::Probe(_, Outcome::Depends { .. })) => {
            let reason = "a kernel always knows".to_owned();
            (Verdict::Skipped { reason }, None)
        }
        (Answer::Outcome(outcome), Expectation::Probe(_, expected)) => {
            let held = outcome.meets(expected);
            let verdict = if held { Verdict::Held } else { otherwise(outcome.to_string()) };
            (verdict, Some(outcome))
        }
        (Answer::Done, Expectation::Fact(..)) => (Verdict::Held, None),
        (Answer::Otherwise(so), _) => (otherwise(so), None),
        (Answer::Failed(error), _) => (failed(&error), None),
        (Answer::Done, Expectation::Probe(..))
        | (Answer::Outcome(_), Expectation::Fact(..))
        | (Answer::Observed(_) | Answer::Unheard(_), _) => {
            (otherwise("the stage answered another question".to_owned()), None)
        }
    }
}

/// Nothing came of it: this machine cannot, or something is broken.
fn failed(error: &Error) -> Verdict {
    if error.missing {
        Verdict::Skipped { reason: error.to_string() }
    } else {
        Verdict::Failed { got: error.to_string(), trace: Trace::default() }
    }
}

fn steps<'g>(
    slots: &[Slot<'_, Step>],
    planner: Planner,
    set: impl FnOnce() -> Result<Box<dyn Standing + 'g>, Error>,
) -> Vec<Line> {
    if slots.iter().all(|slot| slot.skipped.is_some()) {
        return slots.iter().filter_map(|slot| slot.skip()).collect();
    }
    let mut voyage = set().map(|stage| Voyage { stage, planner, now_ms: 0 }).map_err(|error| failed(&error));
    let row = |slot: &Slot<'_, Step>| {
        slot.skip().unwrap_or_else(|| {
            let came = match &mut voyage {
                Ok(under_way) => under_way.step(&slot.line.line),
                Err(verdict) => (verdict.clone(), None),
            };
            // What comes after a change that cannot be made here would be asked of another world.
            if let (Step::Change(_), Verdict::Skipped { reason }) = (&slot.line.line, &came.0)
                && voyage.is_ok()
            {
                let reason = format!("a step before it could not be made: {reason}");
                voyage = Err(Verdict::Skipped { reason });
            }
            slot.ran(came)
        })
    };
    slots.iter().map(row).collect()
}

/// A stage on which steps are made, and the Engines that plan them.
struct Voyage<'g> {
    stage: Box<dyn Standing + 'g>,
    planner: Planner,
    now_ms: u64,
}

impl Voyage<'_> {
    fn step(&mut self, step: &Step) -> Came {
        let done = match step {
            Step::Expect(expectation) => return self.expect(expectation),
            Step::Change(change) => self.change(change),
            Step::WaitMs(ms) => self.wait(*ms),
            // Questions take no time here that a trial could count on.
            Step::AtMs(ms) => self.wait(ms.saturating_sub(self.now_ms)),
        };
        (done.err().unwrap_or(Verdict::Held), None)
    }

    fn expect(&mut self, expectation: &Expectation) -> Came {
        match self.stage.ask(request(expectation)) {
            Ok(answer) => came(expectation, answer),
            Err(error) => (failed(&error), None),
        }
    }

    fn wait(&mut self, ms: u64) -> Result<(), Verdict> {
        self.now_ms += ms;
        self.stage.ask(Request::WaitMs(ms)).map(|_| ()).map_err(|error| failed(&error))
    }

    fn change(&mut self, change: &Change) -> Result<(), Verdict> {
        if let Change::Fault(node, device, fault) = change {
            let answer = self.stage.ask(Request::Fault(node.clone(), device.clone(), *fault));
            return match answer {
                Ok(Answer::Failed(error)) | Err(error) => Err(failed(&error)),
                Ok(Answer::Done | Answer::Outcome(_) | Answer::Observed(_)) => Ok(()),
                Ok(Answer::Otherwise(_) | Answer::Unheard(_)) => Ok(()),
            };
        }
        let refused = |got| Verdict::Failed { got, trace: Trace::default() };
        let operations = self.planner.change(change).map_err(|why| refused(why.to_string()))?;
        self.stage.change(change, operations).map_err(|error| failed(&error))
    }
}
