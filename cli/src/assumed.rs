//! What was assumed because nothing said it: said wherever an answer rests on it.

use crate::style::{self, FAINT, paint};

/// For a person, behind the answer; nothing where nothing was assumed.
pub(crate) fn text(assumed: &[String], columns: usize) -> String {
    if assumed.is_empty() {
        return String::new();
    }
    let line = |what: &String| format!("  {}\n", style::wrap(what, columns.saturating_sub(2), 4));
    let all: String = assumed.iter().map(line).collect();
    format!("\n{}", paint(FAINT, &format!("assumed, since nothing says otherwise\n{all}")))
}

/// For standard error, beside an answer that a program reads.
pub(crate) fn note(assumed: &[String]) -> String {
    assumed.iter().map(|what| format!("seatrial: assumed: {what}\n")).collect()
}
