//! What is wrong with a text, shown in the text: rustc's form.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics, Source};

use crate::style::{self, DOUBT, paint};

/// Columns in front of a help: the line numbers' and `= help: `.
const HELP: usize = 14;

/// Every diagnostic, then how many there are.
pub(crate) fn render(diagnostics: &Diagnostics, width: usize) -> String {
    let renderer = Renderer::styled().term_width(width);
    let mut out = String::new();
    for diagnostic in &diagnostics.0 {
        let _ = writeln!(out, "{}\n", renderer.render(&[group(diagnostic, width)]));
    }
    let _ = writeln!(
        out,
        "{}",
        renderer.render(&[Group::with_title(
            Level::ERROR.with_name("seatrial").primary_title(count(diagnostics))
        )])
    );
    out
}

/// What Compose would warn of, a line each.
pub(crate) fn warnings(warnings: &[Diagnostic]) -> String {
    warnings.iter().map(|warning| format!("{}: {warning}\n", paint(DOUBT, "warning"))).collect()
}

/// How many there are, in words.
pub(crate) fn count(diagnostics: &Diagnostics) -> String {
    match diagnostics.0.len() {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    }
}

fn group(diagnostic: &Diagnostic, width: usize) -> Group<'_> {
    let title = Level::ERROR.primary_title(diagnostic.found.as_str());
    let mut group = place(Group::with_title(title), &diagnostic.at, &same_source(diagnostic));
    for (at, label) in
        diagnostic.related.iter().filter(|(at, _)| !Arc::ptr_eq(&at.source, &diagnostic.at.source))
    {
        group = group.element(Level::NOTE.message(format!("{label}:")));
        group = place(group, at, &[]);
    }
    match &diagnostic.expected {
        Some(expected) => {
            let words = style::wrap(&format!("expected {expected}"), width.saturating_sub(HELP), 0);
            group.element(Level::HELP.message(words))
        }
        None => group,
    }
}

fn same_source(diagnostic: &Diagnostic) -> Vec<(&At, &str)> {
    let here = |at: &At| Arc::ptr_eq(&at.source, &diagnostic.at.source);
    diagnostic.related.iter().filter(|(at, _)| here(at)).map(|(at, label)| (at, label.as_str())).collect()
}

/// Adds a place, with others of the same text; of a place that no text has, its name alone.
fn place<'a>(group: Group<'a>, at: &'a At, others: &[(&'a At, &'a str)]) -> Group<'a> {
    let source: &Source = &at.source;
    if source.text.is_empty() {
        return group.element(Origin::path(source.name.as_str()));
    }
    // Only the lines that are shown are handed over: a large file with many errors stays quick.
    let lines = others
        .iter()
        .map(|(at, _)| first_line(at))
        .fold(first_line(at), |all, one| all.start.min(one.start)..all.end.max(one.end));
    let start = source.text[..lines.start].rfind('\n').map_or(0, |i| i + 1);
    let end = source.text[lines.end..].find('\n').map_or(source.text.len(), |i| lines.end + i);
    let span = |at: &At| first_line(at).start - start..first_line(at).end - start;
    let context = |(at, label): &(&'a At, &'a str)| AnnotationKind::Context.span(span(at)).label(*label);
    group.element(
        Snippet::source(&source.text[start..end])
            .path(source.name.as_str())
            .line_start(source.text[..start].matches('\n').count() + 1)
            .annotation(AnnotationKind::Primary.span(span(at)))
            .annotations(others.iter().map(context)),
    )
}

/// The part of a place in its first line: a whole service would hide what is said of it.
fn first_line(at: &At) -> Range<usize> {
    let text = at.text();
    let line = text.find('\n').map_or(text, |i| &text[..i]).trim_end();
    at.span.start..at.span.start + line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, text: &str) -> Arc<Source> {
        Arc::new(Source { name: name.to_owned(), text: text.to_owned() })
    }

    fn plain(diagnostic: Diagnostic) -> String {
        anstream::adapter::strip_str(&render(&diagnostic.into(), 80)).to_string()
    }

    #[test]
    fn a_diagnostic_shows_the_line_and_what_was_expected() {
        let file = source("compose.yaml", "services:\n  web:\n    ports: [\"80:99999\"]\n");
        let bad = Diagnostic::new(At::new(&file, 30..38), "'99999' is not a port").expected("1 to 65535");
        assert_eq!(
            plain(bad),
            "\
error: '99999' is not a port
 --> compose.yaml:3:14
  |
3 |     ports: [\"80:99999\"]
  |              ^^^^^^^^
  |
  = help: expected 1 to 65535

seatrial: 1 error
"
        );
    }

    #[test]
    fn related_places_of_the_same_and_of_another_file_are_shown() {
        let (a, b) = (source("a.yaml", "one: 1\none: 2\n"), source("b.yaml", "x: 1\n"));
        let twice = Diagnostic::new(At::new(&a, 7..10), "twice")
            .related(At::new(&a, 0..3), "first")
            .related(At::new(&b, 0..1), "included here");
        let text = plain(twice);
        for line in
            ["1 | one: 1\n  | --- first\n2 | one: 2\n  | ^^^", "= note: included here:\n", "::: b.yaml:1:1"]
        {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_place_that_no_text_has_is_named() {
        let text = plain(Diagnostic::new(At::nowhere("the command line"), "no such file"));
        assert!(text.starts_with("error: no such file\n--> the command line\n"), "{text}");
    }
}
