//! Trials for a person: a row an expectation, a column a lane, with its kernel or below its Engine where there are several,
//! and the journey under a row that failed.

use std::fmt::Write as _;

use seatrial_core::engine::Engine;
use seatrial_vmtests::report::{Checked, Column, Counts, Machine, Report, Row, Verdict};

use crate::diagnostics;
use crate::format::Again;
use crate::style::{self, BAD, DOUBT, FAINT, GOOD, HEAD, pad, paint, width};

/// How wide a column is at least.
const COLUMN: usize = 8;
/// The widest question that outcomes are still lined up behind.
const ASKED: usize = 44;

/// All reports, then the counts; nothing where no trial could be run: standard error says it all.
pub(crate) fn render(checked: &Checked, again: Again, columns: usize) -> String {
    let Checked { columns: lanes, reports, .. } = checked;
    let mut out = String::new();
    if reports.iter().all(|report| report.rows.is_err()) {
        return out;
    }
    reports.iter().for_each(|report| out += &trial(report, lanes, again, columns));
    out += &paint(FAINT, &engines(reports, lanes));
    out + &summary(checked)
}

/// One trial: every row of it.
pub(super) fn trial(report: &Report, lanes: &[Column], again: Again, columns: usize) -> String {
    let mut out = String::new();
    if report.title != report.file {
        let _ = writeln!(out, "{}", paint(HEAD, &style::wrap(&report.title, columns, 0)));
    }
    let _ = writeln!(out, "{}", paint(FAINT, &report.file));
    match &report.rows {
        Ok(rows) => table(&mut out, rows, lanes, columns, |column| again.command(column, &report.file)),
        Err(diagnostics) => {
            let refused = format!("refused: {}", diagnostics::count(diagnostics));
            let _ = writeln!(out, "  {}", paint(BAD, &refused));
        }
    }
    out + "\n"
}

/// The machines that served, and how many rows came to what.
pub(super) fn summary(checked: &Checked) -> String {
    let Checked { reports, machines, .. } = checked;
    let mut out: String = machines.iter().map(|(column, machine)| guest(*column, machine)).collect();
    let trials = if reports.len() == 1 { "1 trial".to_owned() } else { format!("{} trials", reports.len()) };
    let counts = checked.counts();
    let style = if counts.failed + counts.refused + counts.differ + counts.lost > 0 { BAD } else { GOOD };
    let _ = writeln!(out, "{}", paint(style, &format!("{trials}: {counts}")));
    out
}

/// Whose rules were asked, and what is known of them; and where it has columns of its own, what came of them.
fn engines(reports: &[Report], lanes: &[Column]) -> String {
    let mut engines: Vec<Engine> = reports.iter().flat_map(|r| r.engines.iter().copied()).collect();
    engines.sort_unstable_by_key(|engine| engine.version);
    engines.dedup();
    let came = |engine: &Engine| {
        let own = lanes.iter().any(|column| column.engine == Some(engine.version));
        if own { format!(": {}", Counts::of_engine(reports, engine.version)) } else { String::new() }
    };
    let line = |engine: &Engine| format!("Docker Engine {engine}, {}{}\n", engine.evidence(), came(engine));
    engines.iter().map(line).collect()
}

/// What a virtual machine was, and how long it took.
fn guest(column: Column, machine: &Machine) -> String {
    match machine {
        Ok(up) => {
            let [boot, first, served] = [up.boot, up.first, up.served].map(|took| took.as_secs_f64());
            let accel = up.accel.as_str();
            let no_kvm = up.no_kvm.as_ref().map(|why| format!(" (no kvm: {why})")).unwrap_or_default();
            let came = if up.restored { "restored" } else { "up" };
            let remark = up.remark.as_ref().map(|remark| format!("; {remark}")).unwrap_or_default();
            let said = format!(
                "{column}: {}, {came} after {boot:.1} s by {accel}{no_kvm}, first trial through after {first:.1} s, served {served:.1} s{remark}",
                up.release
            );
            paint(FAINT, &said) + "\n"
        }
        Err(why) => paint(BAD, &format!("{column}: {why}")) + "\n",
    }
}

fn table(
    out: &mut String,
    rows: &[Row],
    lanes: &[Column],
    columns: usize,
    again: impl Fn(Column) -> Option<String>,
) {
    let wide = |lane: &Column| COLUMN.max(width(&below(*lane)) + 1);
    head(out, lanes, wide);
    let asked = rows.iter().map(|row| width(&row.asked)).filter(|w| *w <= ASKED).max().unwrap_or(0);
    for row in rows {
        let marks: String = lanes.iter().map(|lane| mark(row.verdicts.get(lane), wide(lane))).collect();
        let left = 2 + lanes.iter().map(wide).sum::<usize>();
        let line = format!("{}  {}", pad(&row.asked, asked), row.expected);
        if left + width(line.trim_end()) <= columns || row.expected.is_empty() {
            let _ = writeln!(out, "  {marks}{}", line.trim_end());
        } else {
            let _ = writeln!(out, "  {marks}{}\n{}{}", row.asked, " ".repeat(left + 4), row.expected);
        }
        for lane in lanes {
            out.push_str(&under(row, *lane, lanes.len() > 1, columns, &again));
        }
        out.push_str(&skipped(row, lanes.len() > 1, columns));
        if row.lanes_differ() {
            let differing = row.differing();
            let answers = differing.iter().map(|(lane, outcome)| format!("{lane}: {outcome}"));
            let text = format!("the lanes differ: {}", answers.collect::<Vec<_>>().join("; "));
            out.push_str(&paint(BAD, &style::indent(&style::wrap(&text, columns.saturating_sub(6), 2), 6)));
        }
    }
}

/// A column's name below that of its Engine.
fn below(column: Column) -> String {
    Column { engine: None, ..column }.to_string()
}

/// The columns' names, and above them those of the Engines, each over the first of its columns.
fn head(out: &mut String, lanes: &[Column], wide: impl Fn(&Column) -> usize) {
    let mut line = |name: &dyn Fn(usize, &Column) -> String| {
        let names: String =
            lanes.iter().enumerate().map(|(i, lane)| pad(&name(i, lane), wide(lane))).collect();
        if !names.trim().is_empty() {
            let _ = writeln!(out, "  {}", paint(FAINT, names.trim_end()));
        }
    };
    line(&|i, lane| {
        let before = i.checked_sub(1).and_then(|i| lanes.get(i)).and_then(|before| before.engine);
        let starts = lane.engine.filter(|engine| before != Some(*engine));
        starts.map(|engine| engine.to_string()).unwrap_or_default()
    });
    line(&|_, lane| below(*lane));
}

fn mark(verdict: Option<&Verdict>, columns: usize) -> String {
    let (style, word) = match verdict {
        Some(Verdict::Held) => (GOOD, "ok"),
        Some(Verdict::Failed { .. }) => (BAD, "FAILED"),
        Some(Verdict::Skipped { .. }) => (DOUBT, "skipped"),
        Some(Verdict::Unsupported { .. }) => (DOUBT, "cannot"),
        None => (FAINT, "-"),
    };
    paint(style, &pad(word, columns))
}

/// Why a row was not run: of several columns that have the same reason once, without where each of them is.
fn skipped(row: &Row, name_lane: bool, columns: usize) -> String {
    let mut whys: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for (lane, verdict) in &row.verdicts {
        let Verdict::Skipped { reason } = verdict else { continue };
        let short = reason.split("; this is ").next().unwrap_or(reason);
        match whys.iter_mut().find(|(known, ..)| *known == short) {
            Some((_, _, lanes)) => lanes.push(lane.to_string()),
            None => whys.push((short, reason, vec![lane.to_string()])),
        }
    }
    let say = |(short, reason, lanes): (&str, &str, Vec<String>)| {
        let why = if lanes.len() == 1 { reason } else { short };
        let prefix = if name_lane { format!("{}: ", lanes.join(", ")) } else { String::new() };
        let text = style::wrap(&format!("{prefix}{why}"), columns.saturating_sub(6), 2);
        paint(FAINT, &style::indent(&text, 6))
    };
    whys.into_iter().map(say).collect()
}

/// What stands under a row of a column: why it failed, or could not be run.
fn under(
    row: &Row,
    lane: Column,
    name_lane: bool,
    columns: usize,
    again: &impl Fn(Column) -> Option<String>,
) -> String {
    let prefix = if name_lane { format!("{lane}: ") } else { String::new() };
    let say =
        |text: &str| style::indent(&style::wrap(&format!("{prefix}{text}"), columns.saturating_sub(6), 2), 6);
    match row.verdicts.get(&lane) {
        Some(Verdict::Failed { got, trace }) => {
            let mut out = say(&format!("{}: got: {got}", row.at));
            if !trace.hops.is_empty() {
                out += &style::indent(&format!("{trace:width$}", width = columns.saturating_sub(6)), 6);
            }
            // A command is copied as it stands: it is not wrapped.
            out.extend(again(lane).map(|command| format!("      again: {command}\n")));
            out
        }
        Some(Verdict::Unsupported { what }) => paint(DOUBT, &say(what)),
        Some(Verdict::Held | Verdict::Skipped { .. }) | None => String::new(),
    }
}
