//! The matrix as one JSON document.

use seatrial_sim::questions::matrix::{self, Matrix};
use serde::Serialize;

use super::target;
use crate::format::json::{VERSION, pretty};

/// Who reaches whom. Probes and outcomes are written as in a trial.
#[derive(Serialize)]
struct Document<'a> {
    /// The version of the program.
    seatrial: &'static str,
    /// The Engine whose rules are planned.
    engine: String,
    /// What its plans were held against.
    evidence: String,
    /// What was assumed because nothing said it, a sentence each.
    assumed: &'a [String],
    /// Who asks: the columns.
    sources: Vec<&'a str>,
    /// Whom: the rows.
    rows: Vec<Row<'a>>,
    /// Why not: what `reason` of a cell counts into, from 0.
    reasons: Vec<Reason<'a>>,
}

/// One target, asked by every source.
#[derive(Serialize)]
struct Row<'a> {
    /// `web:80/tcp`, `172.18.0.2/icmp`.
    target: String,
    /// Whose it is.
    node: &'a str,
    /// What came of it, in the order of the sources.
    cells: Vec<Cell>,
}

/// What came of one probe.
#[derive(Serialize)]
struct Cell {
    /// `reaches web:80 from 172.18.0.1`, `dropped`; null where the question has no sense: another's loopback.
    outcome: Option<String>,
    /// Which of the reasons; null where the target was reached.
    reason: Option<usize>,
}

/// Why a class of probes does not reach its target.
#[derive(Serialize)]
struct Reason<'a> {
    /// What came of them all.
    outcome: String,
    /// The rule, check or answer that decided the first of them; empty where the trace has none.
    what: &'a str,
    /// The namespace it was decided in.
    ns: Option<&'a str>,
    /// The first of them: what `seatrial trace` takes.
    example: String,
    /// How many they are.
    cells: usize,
    /// How many different rules or checks of this kind decided.
    kinds: usize,
}

/// The whole document.
pub(super) fn render(
    matrix: &Matrix,
    (engine, evidence): (String, String),
    assumed: &[String],
) -> Result<String, serde_json::Error> {
    pretty(&Document {
        seatrial: VERSION,
        engine,
        evidence,
        assumed,
        sources: matrix.sources.iter().map(|source| source.as_str()).collect(),
        rows: matrix.rows.iter().map(row).collect(),
        reasons: matrix.reasons.iter().map(reason).collect(),
    })
}

fn row(row: &matrix::Row) -> Row<'_> {
    let cell = |cell: &matrix::Cell| Cell {
        outcome: cell.outcome.as_ref().map(ToString::to_string),
        reason: cell.reason,
    };
    Row { target: target(row), node: row.node.as_str(), cells: row.cells.iter().map(cell).collect() }
}

fn reason(reason: &matrix::Reason) -> Reason<'_> {
    Reason {
        outcome: reason.outcome.to_string(),
        what: &reason.what,
        ns: reason.ns.as_ref().map(|ns| ns.as_str()),
        example: reason.example.to_string(),
        cells: reason.cells,
        kinds: reason.kinds,
    }
}
