//! Entries of `expect` and `steps`: a line, or alternatives for different places.
//!
//! ```yaml
//! expect:
//!   - web -> db:5432/tcp reaches db:5432
//!   - when: { engine: ">=29" }
//!     then: web -> 172.18.0.1:8080/tcp reaches app:80 from 172.19.0.1
//!   - - { when: { lane: [sim] }, then: [db -> 10.0.0.9/icmp unreachable] }
//!     - { then: db -> 10.0.0.9/icmp unreachable (host) }      # where no alternative before it fits
//! steps:
//!   - at: 2s
//!   - stop web
//! ```

use std::ops::Range;
use std::str::FromStr;

use super::when::{self, Place, When};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::probe::text::TextError;
use crate::topology::field::Field;
use crate::topology::yaml::{Node, Value};

/// A line of a trial and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    /// What it says.
    pub line: T,
    /// Where.
    pub at: At,
}

/// An entry: its alternatives, of which the first that fits a place is meant there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// Never empty; one without a condition is the last.
    pub alternatives: Vec<Alternative<T>>,
}

/// Lines for certain places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative<T> {
    /// Which places.
    pub when: When,
    /// What is meant there.
    pub lines: Vec<Written<T>>,
}

impl<T> Entry<T> {
    /// What is meant at a place; nothing where no alternative fits it.
    #[must_use]
    pub fn lines(&self, place: &Place) -> &[Written<T>] {
        let fitting = self.alternatives.iter().find(|a| a.when.fits(place));
        fitting.map(|a| a.lines.as_slice()).unwrap_or_default()
    }
}

/// What an entry of a list can say.
pub(super) trait Line: FromStr<Err = TextError> {
    /// The keys that are lines by themselves: `at: 2s`.
    const KEYS: &'static [&'static str];
    /// Examples, for messages.
    const EXAMPLE: &'static str;
}

impl Line for crate::probe::Expectation {
    const KEYS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = "web -> db:5432/tcp reaches db:5432";
}

impl Line for crate::probe::Step {
    const KEYS: &'static [&'static str] = &["at"];
    const EXAMPLE: &'static str = "stop web";
}

/// Reads a list of entries.
pub(super) fn all<T: Line>(field: Option<Field<'_>>, out: &mut Diagnostics) -> Vec<Entry<T>> {
    let nodes = field.map(|f| f.list(out)).unwrap_or_default();
    nodes.iter().map(|node| entry(node, out)).collect()
}

fn entry<T: Line>(node: &Node, out: &mut Diagnostics) -> Entry<T> {
    let nodes = match &node.value {
        Value::Sequence(nodes) => nodes.as_slice(),
        Value::Scalar(_) | Value::Mapping(_) => std::slice::from_ref(node),
    };
    if nodes.is_empty() {
        out.push(Diagnostic::new(node.at.clone(), "an entry without alternatives").expected("when and then"));
    }
    let alternatives: Vec<Alternative<T>> = nodes.iter().map(|node| alternative(node, out)).collect();
    for (node, alternative) in nodes.iter().rev().skip(1).zip(alternatives.iter().rev().skip(1)) {
        if alternative.when.is_always() {
            let found = "an alternative without a condition before others: they are never meant";
            out.push(Diagnostic::new(node.at.clone(), found).expected("when, or its place at the end"));
        }
    }
    Entry { alternatives }
}

fn alternative<T: Line>(node: &Node, out: &mut Diagnostics) -> Alternative<T> {
    let Value::Mapping(entries) = &node.value else {
        return Alternative { when: When::default(), lines: line(node, "", out).into_iter().collect() };
    };
    if let [(key, value)] = entries.as_slice() {
        if T::KEYS.contains(&key.name.as_str()) {
            let lines = line(value, &format!("{}: ", key.name), out).into_iter().collect();
            return Alternative { when: When::default(), lines };
        }
        if key.name.contains(' ') {
            let found = format!("'{}' as a key: YAML takes ': ' for the end of one", key.name);
            out.push(Diagnostic::new(key.at.clone(), found).expected("the whole line in single quotes"));
            return Alternative { when: When::default(), lines: Vec::new() };
        }
    }
    super::keys(node, &["when", "then"], "an alternative", out);
    let when = Field::of(node, "when").map(|f| when::read(f, out)).unwrap_or_default();
    let lines = match Field::of(node, "then") {
        Some(Field { node: Node { value: Value::Sequence(nodes), .. }, .. }) => {
            nodes.iter().filter_map(|node| line(node, "", out)).collect()
        }
        Some(field) => line(field.node, "", out).into_iter().collect(),
        None => {
            let found = "an alternative that says nothing";
            out.push(Diagnostic::new(node.at.clone(), found).expected(format!("then: {}", T::EXAMPLE)));
            Vec::new()
        }
    };
    Alternative { when, lines }
}

/// Reads a scalar as a line that begins with `before`.
fn line<T: Line>(node: &Node, before: &str, out: &mut Diagnostics) -> Option<Written<T>> {
    let Some(text) = node.as_str() else {
        let found = format!("{} as a line", node.kind());
        out.push(Diagnostic::new(node.at.clone(), found).expected(format!("a string, as in {}", T::EXAMPLE)));
        return None;
    };
    match format!("{before}{text}").parse() {
        Ok(line) => Some(Written { line, at: node.at.clone() }),
        Err(TextError { span, found, expected }) => {
            let back = |at: usize| at.saturating_sub(before.len());
            let at = place(node, back(span.start)..back(span.end));
            out.push(Diagnostic::new(at, found).expected(expected));
            None
        }
    }
}

/// The place of a piece of a scalar's text; the whole scalar where escapes or folded lines hide it.
pub(super) fn place(node: &Node, span: Range<usize>) -> At {
    let (raw, text) = (node.at.text(), node.as_str().unwrap_or_default());
    let before = match raw.strip_prefix(['"', '\'']) {
        // What follows is the closing quote, and perhaps a comment.
        Some(quoted) if quoted.strip_prefix(text).is_some_and(|rest| rest.starts_with(['"', '\''])) => 1,
        None if raw == text => 0,
        Some(_) | None => return node.at.clone(),
    };
    let start = node.at.span.start + before;
    At::new(&node.at.source, start + span.start..start + span.end)
}
