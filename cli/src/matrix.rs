//! `seatrial matrix`: who reaches whom.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use seatrial_core::probe::{Outcome, Probe, ProbeOptions};
use seatrial_sim::questions::matrix::{self, Cell, Matrix, Reason, Row};
use seatrial_sim::world::Answer;

use crate::args::{self, Format};
use crate::assumed;
use crate::diagnostics;
use crate::input;
use crate::output::{Output, Refusal};
use crate::style::{self, BAD, DOUBT, FAINT, GOOD, HEAD, pad, paint, width};

mod json;

/// Asks every question of the matrix and prints the answers.
pub(crate) fn run(args: &args::Matrix) -> Result<Output, Refusal> {
    let (subject, plan, world) = input::world(&args.input, &args.options, &args.chance)?;
    let matrix = matrix::matrix(&plan, |probe| {
        let Answer { outcome, trace } = world.clone().probe(probe);
        (outcome, trace)
    });
    let columns = style::columns();
    let out = match args.format {
        Format::Text => render(&matrix, columns) + &assumed::text(&subject.assumed, columns),
        Format::Json => json::render(&matrix, subject.engine(), &subject.assumed)?,
    };
    Ok(Output::answer(out).noting(&diagnostics::warnings(&subject.warnings)))
}

/// The matrix as a table for a person.
fn render(matrix: &Matrix, columns: usize) -> String {
    let mut out = String::new();
    for (i, block) in blocks(matrix, columns).iter().enumerate() {
        out += if i == 0 { "" } else { "\n" };
        table(&mut out, matrix, block, columns);
    }
    reasons(&mut out, matrix, columns);
    out
}

/// Columns that stand side by side, each source with its heading.
struct Block {
    heads: Vec<(usize, String)>,
    cell: usize,
}

/// One block with the sources' names where that fits; otherwise numbers, in as many blocks as it takes.
fn blocks(matrix: &Matrix, columns: usize) -> Vec<Block> {
    let room = columns.saturating_sub(left(matrix) + 2 + right(matrix));
    let names = matrix.sources.iter().map(|s| s.as_str().to_owned());
    let all: Vec<(usize, String)> = names.enumerate().collect();
    let named: usize = all.iter().map(|(_, name)| width(name).max(2) + 2).sum();
    if named <= room {
        return vec![Block { heads: all, cell: 0 }];
    }
    let cell = matrix.sources.len().to_string().len().max(label(matrix.reasons.len()).len()).max(2) + 1;
    let per_block = (room / cell).max(1);
    let numbered: Vec<_> = all.into_iter().map(|(i, _)| (i, (i + 1).to_string())).collect();
    numbered.chunks(per_block).map(|heads| Block { heads: heads.to_vec(), cell }).collect()
}

fn left(matrix: &Matrix) -> usize {
    matrix.rows.iter().map(|row| width(&target(row))).max().unwrap_or(0)
}

fn right(matrix: &Matrix) -> usize {
    matrix.rows.iter().map(|row| width(&answered_by(row))).max().unwrap_or(0)
}

fn table(out: &mut String, matrix: &Matrix, block: &Block, columns: usize) {
    let wide = |head: &str| if block.cell > 0 { block.cell } else { width(head).max(2) + 2 };
    let heads: String = block.heads.iter().map(|(_, head)| pad(head, wide(head))).collect();
    let line = format!("{}  {heads}answers", pad("", left(matrix)));
    let _ = writeln!(out, "{}", paint(HEAD, line.trim_end()));
    for row in &matrix.rows {
        let cells: String = block
            .heads
            .iter()
            .filter_map(|(i, head)| row.cells.get(*i).map(|cell| mark(cell, wide(head))))
            .collect();
        let by = paint(FAINT, &answered_by(row));
        let _ = writeln!(out, "{}  {cells}{by}", pad(&target(row), left(matrix)));
    }
    if block.cell > 0 {
        let legend =
            block.heads.iter().filter_map(|(i, head)| Some(format!("{head} {}", matrix.sources.get(*i)?)));
        let _ = writeln!(out, "{}", paint(FAINT, &style::join(legend, " · ", columns)));
    }
}

fn mark(cell: &Cell, wide: usize) -> String {
    match (&cell.outcome, cell.reason) {
        (None, _) => paint(FAINT, &pad("·", wide)),
        (Some(Outcome::Reaches { .. }), _) => paint(GOOD, &pad("ok", wide)),
        (Some(Outcome::Depends { .. }), reason) => {
            paint(DOUBT, &pad(&reason.map_or_else(String::new, label), wide))
        }
        (Some(_), reason) => paint(BAD, &pad(&reason.map_or_else(String::new, label), wide)),
    }
}

/// `a` to `z`, then `aa`, `ab`, …
fn label(index: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(index % 26).unwrap_or(0));
    if index < 26 { letter.to_string() } else { format!("{}{letter}", label(index / 26 - 1)) }
}

/// The row's target as a probe writes it.
fn target(row: &Row) -> String {
    let probe = Probe {
        from: row.node.clone(),
        target: row.target.clone(),
        ask: row.ask,
        family: None,
        options: ProbeOptions::default(),
    };
    let text = probe.to_string();
    text.split_once("-> ").map_or(text.clone(), |(_, target)| target.to_owned())
}

/// Who answered: `web:80`; in brackets whose the target is, where nobody did.
fn answered_by(row: &Row) -> String {
    let by = row.cells.iter().filter_map(|cell| match &cell.outcome {
        Some(Outcome::Reaches { node, port: Some(port), .. }) => Some(format!("{node}:{port}")),
        Some(Outcome::Reaches { node, port: None, .. }) => Some(node.to_string()),
        _ => None,
    });
    let by: BTreeSet<String> = by.collect();
    if by.is_empty() { format!("({})", row.node) } else { by.into_iter().collect::<Vec<_>>().join(", ") }
}

fn reasons(out: &mut String, matrix: &Matrix, columns: usize) {
    if matrix.reasons.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint(HEAD, "why not"));
    for (i, reason) in matrix.reasons.iter().enumerate() {
        let text = format!("{}  {}", pad(&label(i), 2), words(reason));
        let _ = writeln!(out, "{}", style::wrap(&text, columns, 4));
    }
}

fn words(reason: &Reason) -> String {
    let outcome = reason.outcome.to_string();
    let place = reason.ns.as_ref().map(|ns| format!(" in {ns}")).unwrap_or_default();
    let what = if reason.what.is_empty() { String::new() } else { format!(": {}", reason.what) };
    let more = match reason.kinds.saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} like it)"),
    };
    format!("{outcome}{place}{what}{more}; {} of these, as {}", reason.cells, reason.example)
}
