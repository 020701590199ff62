//! Trials on kernels, for a person: a row a trial, a column a kernel, the seconds it took; and below, what did not hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use seatrial_core::topology::trial::Lane;
use seatrial_vmtests::report::{Checked, Column, Report, Row, Verdict};

use super::text;
use crate::format::Again;
use crate::style::{self, BAD, DOUBT, FAINT, GOOD, pad, paint, width};

/// How wide a column is at least.
const CELL: usize = 7;

/// The table, what did not hold, what was skipped, the machines, and the counts.
pub(crate) fn render(checked: &Checked, again: Again, columns: usize) -> String {
    let Checked { columns: all, reports, .. } = checked;
    let kernels: Vec<Column> = all.iter().copied().filter(|column| column.lane == Lane::Vm).collect();
    let mut out = String::new();
    if reports.iter().all(|report| report.rows.is_err()) {
        return out;
    }
    table(&mut out, reports, &kernels, columns);
    for report in reports {
        let bad = Report { rows: report.rows.clone().map(wrong), ..report.clone() };
        if !bad.rows.as_ref().is_ok_and(Vec::is_empty) {
            out += &text::trial(&bad, all, again, columns);
        }
    }
    out += &paint(FAINT, &skipped(reports, &kernels, columns));
    out + &text::summary(checked)
}

/// The rows that did not hold, in whichever column.
fn wrong(mut rows: Vec<Row>) -> Vec<Row> {
    let bad = |verdict: &Verdict| match verdict {
        Verdict::Failed { .. } | Verdict::Unsupported { .. } => true,
        Verdict::Held | Verdict::Skipped { .. } => false,
    };
    rows.retain(|row| row.lanes_differ() || row.verdicts.values().any(bad));
    rows
}

fn table(out: &mut String, reports: &[Report], kernels: &[Column], columns: usize) {
    let title = |column: &Column| column.kernel.map(|kernel| kernel.to_string()).unwrap_or_default();
    let wide = |column: &Column| CELL.max(width(&title(column)) + 2);
    let all: usize = kernels.iter().map(wide).sum();
    let names: Vec<String> = reports.iter().map(|report| name(&report.file)).collect();
    let longest = names.iter().map(|name| width(name) + 2).max().unwrap_or(0);
    let left = longest.min(columns.saturating_sub(all));
    let head: String = kernels.iter().map(|column| pad(&title(column), wide(column))).collect();
    let _ = writeln!(out, "{}{}", " ".repeat(left), paint(FAINT, head.trim_end()));
    for (report, name) in reports.iter().zip(&names) {
        let cells: String = kernels.iter().map(|column| cell(report, *column, wide(column))).collect();
        let row = if width(name) < left { pad(name, left) } else { format!("{name}\n{}", " ".repeat(left)) };
        let _ = writeln!(out, "{row}{}", cells.trim_end());
    }
    out.push('\n');
}

/// `bridge/icc` of `fixtures/trials/bridge/icc.trial.yaml`: its group and its own name.
fn name(file: &str) -> String {
    let path = Path::new(file);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split(".trial.").next().unwrap_or_default();
    let group = path.parent().and_then(Path::file_name).map(|group| group.to_string_lossy());
    group.map_or_else(|| name.to_owned(), |group| format!("{group}/{name}"))
}

/// What came of a trial on a kernel: its seconds where all that was asked held.
fn cell(report: &Report, column: Column, columns: usize) -> String {
    let rows = report.rows.as_deref().unwrap_or_default();
    let verdicts = || rows.iter().filter_map(|row| row.verdicts.get(&column));
    let differs = |row: &Row| row.outcomes.contains_key(&column) && row.lanes_differ();
    let (style, word) = if report.rows.is_err() {
        (BAD, "refused".to_owned())
    } else if verdicts().any(|verdict| matches!(verdict, Verdict::Failed { .. })) {
        (BAD, "FAILED".to_owned())
    } else if rows.iter().any(differs) {
        (BAD, "DIFFER".to_owned())
    } else if verdicts().any(|verdict| matches!(verdict, Verdict::Unsupported { .. })) {
        (DOUBT, "cannot".to_owned())
    } else if is_skipped(report, column) {
        (DOUBT, "skip".to_owned())
    } else {
        let took = report.took.get(&column).map(|took| format!("{:.1} s", took.as_secs_f64()));
        (GOOD, took.unwrap_or_default())
    };
    paint(style, &pad(&word, columns))
}

fn is_skipped(report: &Report, column: Column) -> bool {
    let rows = report.rows.as_deref().unwrap_or_default();
    let mut verdicts = rows.iter().filter_map(|row| row.verdicts.get(&column));
    verdicts.all(|verdict| matches!(verdict, Verdict::Skipped { .. }))
}

/// The trials that were skipped, on which kernels, and why.
fn skipped(reports: &[Report], kernels: &[Column], columns: usize) -> String {
    let mut why: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for report in reports {
        for column in kernels.iter().filter(|column| is_skipped(report, **column)) {
            let rows = report.rows.as_deref().unwrap_or_default();
            let mut verdicts = rows.iter().filter_map(|row| row.verdicts.get(column));
            if let Some(Verdict::Skipped { reason }) = verdicts.next() {
                why.entry((name(&report.file), reason)).or_default().push(column.to_string());
            }
        }
    }
    let line = |((name, reason), columns_of): (&(String, &str), &Vec<String>)| {
        let text = format!("skipped on {}: {name}: {reason}", columns_of.join(", "));
        style::wrap(&text, columns, 2) + "\n"
    };
    why.iter().map(line).collect()
}
