//! Differences as the comment of a merge request.

use std::fmt::Write as _;

use seatrial_sim::questions::diff::{Change, Diff};

use super::{Network, outcome, question, summary};

/// All of it.
pub(super) fn render(diff: &Diff, before: &Network, after: &Network) -> String {
    let mut out =
        format!("**Who reaches whom:** `{}` → `{}`\n\n{}\n", before.name, after.name, summary(diff));
    if diff.changes.is_empty() {
        return out;
    }
    out += "\n| | question | before | after |\n|---|---|---|---|\n";
    for change in &diff.changes {
        let [was, is] = [outcome(change, |pair| &pair.before), outcome(change, |pair| &pair.after)];
        let more = match change.questions.len().saturating_sub(1) {
            0 => String::new(),
            more => format!(" and {more} like it"),
        };
        let example = change.questions.first().map(question).unwrap_or_default();
        let _ =
            writeln!(out, "| {} | {}{more} | {} | {} |", change.kind, code(&example), code(&was), code(&is));
    }
    diff.changes.iter().for_each(|change| details(&mut out, change));
    out
}

fn details(out: &mut String, change: &Change) {
    let example = change.questions.first().map(question).unwrap_or_default();
    let all: Vec<String> = change.questions.iter().map(question).collect();
    let _ = write!(
        out,
        "\n<details><summary><code>{}</code> {}</summary>\n\n```text\n{}\n\nbefore\n{}\nafter\n{}```\n\n</details>\n",
        escaped(&example),
        change.kind,
        all.join("\n"),
        change.example.before.trace.brief(),
        change.example.after.trace.brief(),
    );
}

/// In a table's cell: a bar would end it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
