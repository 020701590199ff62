//! Lane sim: the trial in the simulator.

use std::collections::BTreeMap;

use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics};
use seatrial_core::engine::Version;
use seatrial_core::plan::{self, Planner};
use seatrial_core::probe::{Change, Expectation, Fact, Fault, Outcome, Probe, Step};
use seatrial_core::topology::NodeName;
use seatrial_core::topology::trial::{Entry, Lane, Place, Trial, When, Written};
use seatrial_sim::trace::{Event, Trace};
use seatrial_sim::world::{Answer, World};

use crate::report::{Row, Verdict};

/// The seed of every trial's world.
const SEED: u64 = 1;
/// The kernel whose source the simulator follows.
const KERNEL: Version = Version { major: 6, minor: Some(12), patch: None };

/// Runs a trial: each expectation in a fresh world, the steps in one.
pub(super) fn run(trial: &Trial) -> Result<Vec<Row>, Diagnostics> {
    let engine = trial.topology.hosts.first().map(|host| host.engine).unwrap_or_default();
    let place = Place { engine: engine.version, kernel: KERNEL, lane: Lane::Sim };
    if !trial.when.fits(&place) {
        let reason = elsewhere(&[&trial.when], &place);
        let expect = trial.expect.iter().flat_map(|entry| skip(entry, &reason, split));
        let steps = trial.steps.iter().flat_map(|entry| skip(entry, &reason, split_step));
        return Ok(expect.chain(steps).collect());
    }
    let (planner, plan) = Planner::new(&trial.topology)?;
    plan::check::check(&plan).map_err(|faults| wrong(trial, &faults))?;
    let world = World::build(&plan, SEED).map_err(|e| e.to_string());
    let fresh = |line: &Expectation| match &world {
        Ok(world) => expect(&mut world.clone(), line),
        Err(what) => Verdict::Unsupported { what: what.clone() },
    };
    let mut rows: Vec<Row> =
        trial.expect.iter().flat_map(|entry| entry_rows(entry, &place, split, fresh)).collect();
    let mut voyage = world.clone().map(|world| Voyage { world, planner });
    let mut step = |line: &Step| match &mut voyage {
        Ok(under_way) => match under_way.step(line) {
            // What comes after a step that was not done would be asked of another world.
            Verdict::Unsupported { what } => {
                voyage = Err(format!("a step before it could not be made: {what}"));
                Verdict::Unsupported { what }
            }
            verdict @ (Verdict::Held | Verdict::Failed { .. } | Verdict::Skipped { .. }) => verdict,
        },
        Err(what) => Verdict::Unsupported { what: what.clone() },
    };
    rows.extend(trial.steps.iter().flat_map(|entry| entry_rows(entry, &place, split_step, &mut step)));
    Ok(rows)
}

/// A plan that no kernel could make: the planner's mistake, and not the user's.
fn wrong(trial: &Trial, faults: &[plan::check::Fault]) -> Diagnostics {
    let at = At::new(&trial.source, 0..0);
    let fault = |fault: &plan::check::Fault| {
        Diagnostic::new(at.clone(), format!("the plan is wrong: {fault}"))
            .expected("a report of this mistake")
    };
    Diagnostics(faults.iter().map(fault).collect())
}

/// The rows of what an entry means at a place, each line run; skipped, with the reason, where it means nothing.
fn entry_rows<T>(
    entry: &Entry<T>,
    place: &Place,
    text: impl Fn(&T) -> (String, String),
    mut run: impl FnMut(&T) -> Verdict,
) -> Vec<Row> {
    let lines = entry.lines(place);
    if lines.is_empty() {
        let whens: Vec<&When> = entry.alternatives.iter().map(|a| &a.when).collect();
        return skip(entry, &elsewhere(&whens, place), text);
    }
    lines.iter().map(|line| row(line, &text, run(&line.line))).collect()
}

fn skip<T>(entry: &Entry<T>, reason: &str, text: impl Fn(&T) -> (String, String)) -> Vec<Row> {
    let lines = entry.alternatives.iter().flat_map(|a| &a.lines);
    lines.map(|line| row(line, &text, Verdict::Skipped { reason: reason.to_owned() })).collect()
}

fn row<T>(line: &Written<T>, text: impl Fn(&T) -> (String, String), verdict: Verdict) -> Row {
    let (asked, expected) = text(&line.line);
    Row { at: line.at.clone(), asked, expected, verdicts: BTreeMap::from([(Lane::Sim, verdict)]) }
}

/// Why nothing is meant here: where it is meant, and where this is.
fn elsewhere(whens: &[&When], place: &Place) -> String {
    let meant: Vec<String> = whens.iter().map(ToString::to_string).collect();
    let Place { engine, kernel, lane } = place;
    format!("meant for {}; this is engine {engine}, kernel {kernel}, lane {lane}", meant.join(" or "))
}

/// What is asked, and what must come of it.
fn split(expectation: &Expectation) -> (String, String) {
    match expectation {
        Expectation::Probe(probe, outcome) => (probe.to_string(), outcome.to_string()),
        Expectation::Fact(node, fact) => (node.to_string(), fact.to_string()),
    }
}

fn split_step(step: &Step) -> (String, String) {
    match step {
        Step::Expect(expectation) => split(expectation),
        Step::Change(_) | Step::WaitMs(_) | Step::AtMs(_) => (step.to_string(), String::new()),
    }
}

fn expect(world: &mut World, expectation: &Expectation) -> Verdict {
    match expectation {
        Expectation::Probe(probe, outcome) => ask(world, probe, outcome),
        Expectation::Fact(node, fact) => hold(world, node, fact),
    }
}

fn ask(world: &mut World, probe: &Probe, expected: &Outcome) -> Verdict {
    let Answer { outcome, trace } = world.probe(probe);
    if !outcome.meets(expected) {
        return Verdict::Failed { got: outcome.to_string(), trace };
    }
    if outcome == Outcome::Dropped && !is_explained(&trace) {
        return Verdict::Failed { got: "dropped, and nothing in the trace says by what".to_owned(), trace };
    }
    Verdict::Held
}

/// Whether a trace ends with the rule or check that dropped the packet.
fn is_explained(trace: &Trace) -> bool {
    let last = trace
        .hops
        .iter()
        .rev()
        .find_map(|hop| if let Event::Drop { reason, .. } = hop.event { Some(reason) } else { None });
    last.is_some_and(|reason| reason != "NOT_SPECIFIED")
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
    fn step(&mut self, step: &Step) -> Verdict {
        match step {
            Step::Expect(expectation) => expect(&mut self.world, expectation),
            Step::Change(change) => self.change(change),
            Step::WaitMs(ms) => {
                self.world.advance_ms(*ms);
                Verdict::Held
            }
            Step::AtMs(ms) => self.until(*ms),
        }
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
        let fault = match change {
            Change::Cut(node, device) => Some((node, device, Fault::Cut)),
            Change::Heal(node, device) => Some((node, device, Fault::Heal)),
            Change::Loss(node, device, percent) => Some((node, device, Fault::Loss(*percent))),
            Change::Stop(_) | Change::Start(_) | Change::Replace(_) => None,
            Change::Connect(..) | Change::Disconnect(..) | Change::Rule(..) => None,
        };
        let done = match fault {
            Some((node, device, fault)) => self.world.fault(node, device, fault),
            None => match self.planner.change(change) {
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
