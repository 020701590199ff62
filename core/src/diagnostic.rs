//! What is wrong with a text the user wrote, and where: file, line, column, found, expected.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

/// The most that is reported at once; what is wrong beyond that is counted.
pub const MAX_DIAGNOSTICS: usize = 100;

/// A text the user wrote, and the name it is reported under.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The file's path as the user would type it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A place in a [`Source`].
#[derive(Clone, PartialEq, Eq)]
pub struct At {
    /// The text.
    pub source: Arc<Source>,
    /// Bytes of the text; always within it and on character boundaries.
    pub span: Range<usize>,
}

impl At {
    /// The place of `span`, clamped to the text and to character boundaries.
    #[must_use]
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let text = &source.text;
        let floor =
            |at: usize| (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let start = floor(span.start);
        let end = floor(span.end).max(start);
        Self { source: Arc::clone(source), span: start..end }
    }

    /// A place that no text has: what a default or a command line made.
    #[must_use]
    pub fn nowhere(name: &str) -> Self {
        Self { source: Arc::new(Source { name: name.to_owned(), text: String::new() }), span: 0..0 }
    }

    /// Line and column, both from 1, the column in characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.source.text[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The text at this place.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.source.text[self.span.clone()]
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.text.is_empty() {
            return f.write_str(&self.source.name);
        }
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub at: At,
    /// What was found there: a lower-case fragment.
    pub found: String,
    /// What was expected there, or what the user can do.
    pub expected: Option<String>,
    /// Other places that bear on it, each with a label: the first of two that clash.
    pub related: Vec<(At, String)>,
}

impl Diagnostic {
    /// A diagnostic without more words than what was found.
    #[must_use]
    pub fn new(at: At, found: impl Into<String>) -> Self {
        Self { at, found: found.into(), expected: None, related: Vec::new() }
    }

    /// Adds what was expected, or what the user can do.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Adds another place that bears on it.
    #[must_use]
    pub fn related(mut self, at: At, label: impl Into<String>) -> Self {
        self.related.push((at, label.into()));
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.found)?;
        self.expected.iter().try_for_each(|e| write!(f, " (expected {e})"))?;
        self.related.iter().try_for_each(|(at, label)| write!(f, "; {label} at {at}"))
    }
}

/// Everything that is wrong with what was read; never empty when returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// `value` where nothing is wrong.
    ///
    /// # Errors
    /// All that is wrong, in the order of the texts.
    pub fn into_result<T>(mut self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by(|a, b| (&a.at.source, a.at.span.start).cmp(&(&b.at.source, b.at.span.start)));
        self.0.dedup();
        if let Some(rest) = self.0.len().checked_sub(MAX_DIAGNOSTICS).filter(|rest| *rest > 0) {
            self.0.truncate(MAX_DIAGNOSTICS);
            let last = self.0.last().map(|d| d.at.clone());
            self.0.extend(last.map(|at| Diagnostic::new(at, format!("and {rest} more from here on"))));
        }
        Err(self)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, iter: I) {
        self.0.extend(iter);
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

/// The known word that is spelled most like `word`, where one is near enough to have been meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let distances = known.into_iter().map(|key| (strsim::damerau_levenshtein(word, key), key));
    distances.min().filter(|(distance, _)| *distance <= 1 + word.chars().count() / 3).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let source = Arc::new(Source { name: "a.yaml".into(), text: "a: b\nc: é!\n".into() });
        assert_eq!(At::new(&source, 10..11).to_string(), "a.yaml:2:5");
    }

    #[test]
    fn a_place_past_the_end_or_inside_a_character_is_clamped() {
        let source = Arc::new(Source { name: "a".into(), text: "é".into() });
        assert_eq!(At::new(&source, 1..99).span, 0..2);
    }
}
