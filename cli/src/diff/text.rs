//! Differences for a person: a class at a time, with the first question's journey in both networks.

use std::fmt::Write as _;

use anstyle::Style;
use seatrial_sim::questions::diff::{Change, Diff, Kind, Seen};

use super::{Network, outcome, question, summary};
use crate::assumed;
use crate::style::{self, BAD, DOUBT, FAINT, GOOD, HEAD, paint};

/// How many questions of a class are written out.
const SHOWN: usize = 10;

/// All of it.
pub(super) fn render(diff: &Diff, before: &Network, after: &Network, columns: usize) -> String {
    let mut out = format!("{}\n", paint(HEAD, &format!("before: {}\nafter:  {}", before.name, after.name)));
    let mut last = None;
    for change in &diff.changes {
        if last.replace(change.kind) != Some(change.kind) {
            let _ = writeln!(out, "\n{}", paint(color(change.kind), &heading(change.kind)));
        }
        class(&mut out, change, columns);
    }
    let _ = writeln!(out, "\n{}", style::wrap(&summary(diff), columns, 2));
    let [was, is] = [before, after].map(|network| assumed::text(&network.subject.assumed, columns));
    out += &was;
    if was != is {
        out += &is;
    }
    out
}

fn heading(kind: Kind) -> String {
    kind.to_string()
}

const fn color(kind: Kind) -> Style {
    match kind {
        Kind::Opens => GOOD,
        Kind::Closes => BAD,
        Kind::Moves | Kind::Refuses => DOUBT,
    }
}

fn class(out: &mut String, change: &Change, columns: usize) {
    for pair in change.questions.iter().take(SHOWN) {
        let _ = writeln!(out, "  {}", style::wrap(&question(pair), columns.saturating_sub(2), 4));
    }
    let more = change.questions.len().saturating_sub(SHOWN);
    if more > 0 {
        let _ = writeln!(out, "  {}", paint(FAINT, &format!("and {more} more; --format json has all")));
    }
    for (word, seen, said) in [
        ("before", &change.example.before, outcome(change, |pair| &pair.before)),
        ("after", &change.example.after, outcome(change, |pair| &pair.after)),
    ] {
        let _ = writeln!(out, "    {}", paint(HEAD, &format!("{word}: {said}")));
        out.push_str(&journey(seen));
    }
}

fn journey(seen: &Seen) -> String {
    let brief = seen.trace.brief().to_string();
    brief.lines().map(|line| format!("    {}\n", paint(FAINT, line))).collect()
}
