//! Lane sim: the trial in the simulator.

use seatrial_core::diagnostic::Diagnostics;
use seatrial_core::engine::Version;
use seatrial_core::plan::{self, Planner};
use seatrial_core::probe::{Change, Expectation, Fact, Outcome, Probe, Step};
use seatrial_core::topology::NodeName;
use seatrial_core::topology::trial::{Lane, Place, Trial};
use seatrial_sim::digest::Digest;
use seatrial_sim::kernel::Kernel;
use seatrial_sim::trace::{Event, SILENCE, Trace};
use seatrial_sim::world::{Answer, World};

use super::Run;
use super::rows::{Came, Slot, Slots, wrong};
use crate::report::Verdict;

/// The kernel whose source the simulator follows.
const KERNEL: Version = Version { major: 6, minor: Some(12), patch: None };

/// Runs a trial: each expectation in a fresh world, the steps in one, and all of them with one seed.
pub(super) fn run(trial: &Trial, seed: u64, kernel: Option<Version>) -> Result<Run, Diagnostics> {
    let kernel = kernel.unwrap_or(KERNEL);
    let engine = trial.topology.hosts.first().map(|host| host.engine).unwrap_or_default();
    let place = Place { engine: engine.version, kernel, lane: Lane::Sim };
    let slots = Slots::of(trial, &place);
    if slots.is_idle() {
        return Ok(Run { lines: slots.idle(), digest: None });
    }
    let (planner, plan) = Planner::new(&trial.topology)?;
    plan::check::check(&plan).map_err(|faults| wrong(trial, &faults))?;
    let world = World::build_on(model(kernel), &plan, seed).map_err(|e| e.to_string());
    let mut digests = Vec::new();
    let mut fresh = |line: &Expectation| match world.clone() {
        Ok(mut world) => {
            let came = expect(&mut world, line);
            digests.push(world.digest());
            came
        }
        Err(what) => (Verdict::Unsupported { what }, None),
    };
    let mut lines = Vec::new();
    for slot in &slots.expect {
        lines.push(slot.skip().unwrap_or_else(|| slot.ran(fresh(&slot.line.line))));
    }
    let mut voyage = world.map(|world| Voyage { world, planner });
    let step =
        |slot: &Slot<'_, Step>| slot.skip().unwrap_or_else(|| slot.ran(go(&mut voyage, &slot.line.line)));
    lines.extend(slots.steps.iter().map(step));
    digests.extend(voyage.ok().map(|voyage| voyage.world.digest()));
    Ok(Run { lines, digest: Some(Digest::of(digests)) })
}

/// The simulator's kernel that a version behaves as.
fn model(version: Version) -> Kernel {
    if version < KERNEL { Kernel::V6_1 } else { Kernel::try_from(version).unwrap_or_default() }
}

/// Makes a step. What comes after one that was not made would be asked of another world.
fn go(voyage: &mut Result<Voyage, String>, step: &Step) -> Came {
    let came = match voyage {
        Ok(under_way) => under_way.step(step),
        Err(what) => return (Verdict::Unsupported { what: what.clone() }, None),
    };
    if let (Verdict::Unsupported { what }, _) = &came {
        *voyage = Err(format!("a step before it could not be made: {what}"));
    }
    came
}

fn expect(world: &mut World, expectation: &Expectation) -> Came {
    match expectation {
        Expectation::Probe(probe, outcome) => ask(world, probe, outcome),
        Expectation::Fact(node, fact) => (hold(world, node, fact), None),
    }
}

fn ask(world: &mut World, probe: &Probe, expected: &Outcome) -> Came {
    let Answer { outcome, trace } = world.probe(probe);
    let verdict = if !outcome.meets(expected) {
        Verdict::Failed { got: outcome.to_string(), trace }
    } else if outcome == Outcome::Dropped && !is_explained(&trace) {
        Verdict::Failed { got: "dropped, and nothing in the trace says by what".to_owned(), trace }
    } else {
        Verdict::Held
    };
    (verdict, Some(outcome))
}

/// Whether a trace ends with the rule or check that dropped the packet.
fn is_explained(trace: &Trace) -> bool {
    let last = trace
        .hops
        .iter()
        .rev()
        .find_map(|hop| if let Event::Drop { why, .. } = &hop.event { Some(why) } else { None });
    last.is_some_and(|why| why != SILENCE)
}

fn hold(world: &mut World, node: &NodeName, fact: &Fact) -> Verdict {
    match world.fact(node, fact) {
        Ok(()) => Verdict::Held,
        Err(unmet) => Verdict::Failed { got: unmet.to_string(), trace: Trace::default() },
    }
}

/// A world in which steps are made, and the Engines that plan them.
struct Voyage {
    world: World,
    planner: Planner,
}

impl Voyage {
    fn step(&mut self, step: &Step) -> Came {
        let verdict = match step {
            Step::Expect(expectation) => return expect(&mut self.world, expectation),
            Step::Change(change) => self.change(change),
            Step::WaitMs(ms) => {
                self.world.advance_ms(*ms);
                Verdict::Held
            }
            Step::AtMs(ms) => self.until(*ms),
        };
        (verdict, None)
    }

    fn until(&mut self, ms: u64) -> Verdict {
        let now_ms = self.world.now_us().div_ceil(1000);
        match ms.checked_sub(now_ms) {
            Some(left) => {
                self.world.advance_ms(left);
                Verdict::Held
            }
            None => Verdict::Failed { got: format!("it is {now_ms} ms already"), trace: Trace::default() },
        }
    }

    fn change(&mut self, change: &Change) -> Verdict {
        let done = match change {
            Change::Fault(node, device, fault) => self.world.fault(node, device, *fault),
            Change::Stop(_)
            | Change::Start(_)
            | Change::Replace(_)
            | Change::Connect(..)
            | Change::Disconnect(..)
            | Change::Rule(..) => match self.planner.change(change) {
                Ok(operations) => self.world.apply(&operations),
                Err(refused) => {
                    return Verdict::Failed { got: refused.to_string(), trace: Trace::default() };
                }
            },
        };
        match done {
            Ok(()) => Verdict::Held,
            Err(unsupported) => Verdict::Unsupported { what: unsupported.to_string() },
        }
    }
}
