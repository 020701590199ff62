//! Trials in the Test Anything Protocol, version 14: a test point an expectation and column, and one for each machine that
//! was lost; how long a trial took is a comment.

use std::fmt::Write as _;

use seatrial_vmtests::report::{Checked, Report, Row, Verdict};

use crate::format::Again;

/// All reports as one stream.
pub(crate) fn render(checked: &Checked, again: Again) -> String {
    let Checked { reports, machines, .. } = checked;
    let lost = machines.iter().filter_map(|(column, machine)| {
        let why = machine.as_ref().err()?;
        Some(format!("not ok - machine [{column}]\n{}", block("lost", why)))
    });
    let points: Vec<String> = reports.iter().flat_map(|report| points(report, again)).chain(lost).collect();
    let mut out = format!("TAP version 14\n1..{}\n", points.len());
    for (i, point) in points.iter().enumerate() {
        out += &point.replacen("ok -", &format!("ok {} -", i + 1), 1);
    }
    for report in reports {
        for (column, took) in &report.took {
            let _ = writeln!(out, "# {} [{column}] {:.3} s", report.file, took.as_secs_f64());
        }
    }
    out
}

fn points(report: &Report, again: Again) -> Vec<String> {
    match &report.rows {
        Ok(rows) => rows.iter().flat_map(|row| row_points(report, row, again)).collect(),
        Err(diagnostics) => {
            let point = format!("not ok - {}\n", escape(&report.file));
            vec![point + &block("refused", &diagnostics.to_string())]
        }
    }
}

fn row_points(report: &Report, row: &Row, again: Again) -> Vec<String> {
    let name =
        |column| escape(format!("{} [{column}] {} {}", report.file, row.asked, row.expected).trim_end());
    let point = |(column, verdict): (&_, &Verdict)| {
        let name: String = name(*column);
        match verdict {
            Verdict::Held => format!("ok - {name}\n"),
            Verdict::Failed { got, trace } => {
                let again = again.command(*column, &report.file).map(|command| format!("again: {command}\n"));
                let what = format!("{}\ngot: {got}\n{trace}{}", row.at, again.unwrap_or_default());
                format!("not ok - {name}\n{}", block("failed", &what))
            }
            Verdict::Skipped { reason } => format!("ok - {name} # SKIP {}\n", escape(reason)),
            // Not proved is not passed; nor is it a failure of the trial.
            Verdict::Unsupported { what } => format!("not ok - {name} # TODO {}\n", escape(what)),
        }
    };
    row.verdicts.iter().map(point).collect()
}

/// A YAML diagnostic block (TAP 14, YAML Diagnostics).
fn block(key: &str, text: &str) -> String {
    let mut out = format!("  ---\n  {key}: |\n");
    for line in text.lines() {
        let _ = writeln!(out, "    {line}");
    }
    out + "  ...\n"
}

/// A description or reason: `#` and `\` are escaped, and it stays on its line (TAP 14, Escaping).
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#").replace('\n', " ")
}
