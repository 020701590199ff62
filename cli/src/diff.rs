//! `seatrial diff`: what differs between two networks.

use std::env;
use std::path::Path;

use seatrial_core::diagnostic::Diagnostics;
use seatrial_core::engine::Engine;
use seatrial_core::plan::Plan;
use seatrial_core::probe::Probe;
use seatrial_sim::questions::diff::{self, Change, Diff, Pair, Side};
use seatrial_sim::world::World;

use crate::args::{self, DiffFormat};
use crate::diagnostics;
use crate::disk::Store;
use crate::git::Revision;
use crate::input::{self, Subject};
use crate::output::{Output, Refusal, Status};
use crate::style;

mod json;
mod junit;
mod markdown;
mod text;

/// One of the two networks.
struct Network {
    /// What a reader calls it: `compose.yaml, Engine 28.5`.
    name: String,
    subject: Subject,
    plan: Plan,
    world: World,
}

impl Network {
    const fn side(&self) -> Side<'_> {
        Side { plan: &self.plan, world: &self.world }
    }
}

/// Reads both, compares them and prints what differs.
pub(crate) fn run(args: &args::Diff) -> Result<Output, Refusal> {
    let [before, after] = networks(args)?;
    let diff = diff::diff(before.side(), after.side());
    let out = match args.format {
        DiffFormat::Text => text::render(&diff, &before, &after, style::columns()),
        DiffFormat::Json => json::render(&diff, &before, &after)?,
        DiffFormat::Markdown => markdown::render(&diff, &before, &after),
        DiffFormat::Junit => junit::render(&diff, &before, &after)
            .map_err(|e| Refusal::Words(format!("the answer cannot be written as XML: {e}")))?,
    };
    let status = if diff.changes.is_empty() { Status::Held } else { Status::Failed };
    let warnings = [&before, &after].map(|network| diagnostics::warnings(&network.subject.warnings));
    let said_twice = warnings[0] == warnings[1];
    let output = Output { status, ..Output::answer(out) }.noting(&warnings[0]);
    Ok(if said_twice { output } else { output.noting(&warnings[1]) })
}

fn networks(args: &args::Diff) -> Result<[Network; 2], Refusal> {
    let after = args.after.as_deref().unwrap_or(&args.before);
    let engines = match args.engine.as_slice() {
        [] => [None; 2],
        [both] => [Some(*both); 2],
        [before, after] => [Some(*before), Some(*after)],
        [_, _, third, ..] => {
            let found = format!("a third Engine, {third}");
            return Err(input::refuse("--engine", found, "one for both networks, or one for each").into());
        }
    };
    let revisions = match args.rev.as_slice() {
        [] => [None; 2],
        [before] => [Some(before), None],
        [before, after] => [Some(before), Some(after)],
        [_, _, third, ..] => {
            let found = format!("a third revision, {third}");
            return Err(input::refuse("--rev", found, "one for the first network, or one for each").into());
        }
    };
    if args.after.is_none() && args.rev.is_empty() && engines[0] == engines[1] {
        let found = format!("{} is not told apart from itself", args.before.display());
        return Err(input::refuse("AFTER", found, "a second file, two --engine, or --rev").into());
    }
    let network = |file, side: usize| network(args, file, engines[side], revisions[side].map(String::as_str));
    Ok([network(&args.before, 0)?, network(after, 1)?])
}

fn network(
    args: &args::Diff,
    file: &Path,
    engine: Option<Engine>,
    revision: Option<&str>,
) -> Result<Network, Refusal> {
    let store = match revision {
        None => Store::Disk,
        Some(name) => Store::Revision(found(name, file)?),
    };
    let subject = input::subject_of(&store, file, &args.project, engine)?;
    let plan = subject.plan()?;
    let world = World::build(&plan, args.chance.seed).map_err(|e| Refusal::Words(e.to_string()))?;
    let (engine, _) = subject.engine();
    let at = revision.map(|name| format!(" at {name}")).unwrap_or_default();
    let name = format!("{}{at}, Engine {engine}", file.display());
    Ok(Network { name, subject, plan, world })
}

fn found(name: &str, file: &Path) -> Result<Revision, Diagnostics> {
    let folder = env::current_dir().unwrap_or_default();
    Revision::find(name, file, &folder)
        .map_err(|why| input::refuse("--rev", why, "a revision of the tree that the file is in"))
}

/// A question, as the first network is asked it; what the second is asked in its place, where that is something else.
fn question(pair: &Pair<Option<Probe>>) -> String {
    match (&pair.before, &pair.after) {
        (Some(before), Some(after)) if before == after => before.to_string(),
        (Some(before), Some(after)) => format!("{before} (now {after})"),
        (Some(probe), None) | (None, Some(probe)) => probe.to_string(),
        (None, None) => String::new(),
    }
}

/// What came of an example, in one line.
fn outcome(change: &Change, of: impl Fn(&Pair<diff::Seen>) -> &diff::Seen) -> String {
    let seen = of(&change.example);
    seen.outcome.as_ref().map_or_else(|| "nobody is there".to_owned(), ToString::to_string)
}

/// How many differences there are of each kind, in one line.
fn summary(diff: &Diff) -> String {
    let mut kinds: Vec<(diff::Kind, usize)> = Vec::new();
    for change in &diff.changes {
        match kinds.last_mut().filter(|(kind, _)| *kind == change.kind) {
            Some((_, count)) => *count += change.questions.len(),
            None => kinds.push((change.kind, change.questions.len())),
        }
    }
    let asked = format!("{} questions asked of both", diff.asked);
    if kinds.is_empty() {
        return format!("{asked}: nothing differs");
    }
    let each: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    format!("{asked}; {}", each.join("; "))
}
