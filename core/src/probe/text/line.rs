//! A line's words, each with its place.

use std::ops::Range;

use super::TextError;
use crate::topology::NodeName;

/// A line that is being read from left to right.
pub(super) struct Line<'a> {
    text: &'a str,
    at: usize,
}

/// A piece of a line, and where it starts.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl<'a> Line<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// What is left, without white space around it.
    pub(super) fn rest(&self) -> Word<'a> {
        let left = self.text.get(self.at..).unwrap_or_default();
        let start = self.at + left.len() - left.trim_start().len();
        Word { text: left.trim(), start }
    }

    /// The next word, left where it is.
    pub(super) fn peek(&self) -> Option<Word<'a>> {
        let rest = self.rest();
        let text = rest.text.split_whitespace().next()?;
        Some(Word { text, start: rest.start })
    }

    /// The next word.
    pub(super) fn word(&mut self, expected: &str) -> Result<Word<'a>, TextError> {
        let word = self.peek().ok_or_else(|| self.missing(expected))?;
        self.at = word.start + word.text.len();
        Ok(word)
    }

    /// The next word, where it is this one.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let Some(word) = self.peek().filter(|w| w.text == text) else { return false };
        self.at = word.start + word.text.len();
        true
    }

    /// The next word, which must be this one.
    pub(super) fn keyword(&mut self, text: &str) -> Result<(), TextError> {
        let word = self.word(&format!("'{text}'"))?;
        if word.text == text { Ok(()) } else { Err(word.error(format!("'{text}'"))) }
    }

    /// Everything that is left.
    pub(super) fn take_rest(&mut self) -> Word<'a> {
        let rest = self.rest();
        self.at = self.text.len();
        rest
    }

    /// The word before `->`, and past the arrow; the caller knows that there is one.
    pub(super) fn before_arrow(&mut self) -> Word<'a> {
        let rest = self.rest();
        let (before, _) = rest.text.split_once("->").unwrap_or((rest.text, ""));
        self.at = (rest.start + before.len() + 2).min(self.text.len());
        Word { text: before.trim_end(), start: rest.start }
    }

    /// Whether the first word ends in an arrow or has one after it: no other line has.
    pub(super) fn has_arrow(&self) -> bool {
        let rest = self.rest().text;
        let first = rest.split_whitespace().next().unwrap_or_default();
        let after = rest.get(first.len()..).unwrap_or_default().trim_start();
        first.contains("->") || after.starts_with("->")
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), TextError> {
        let rest = self.rest();
        if rest.text.is_empty() { Ok(()) } else { Err(rest.error("the end of the line")) }
    }

    /// Something is missing at the end of the line.
    pub(super) fn missing(&self, expected: &str) -> TextError {
        let end = self.text.trim_end().len();
        TextError {
            span: end..end,
            found: "unexpected end of the line".to_owned(),
            expected: expected.to_owned(),
        }
    }
}

impl<'a> Word<'a> {
    pub(super) const fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// This word is not what was expected.
    pub(super) fn error(self, expected: impl Into<String>) -> TextError {
        let found = if self.text.is_empty() {
            "nothing here".to_owned()
        } else {
            format!("unexpected '{}'", self.text)
        };
        TextError { span: self.span(), found, expected: expected.into() }
    }

    /// The parts before and after the first `separator`; the second is none where there is no separator.
    pub(super) fn split(self, separator: char) -> (Self, Option<Self>) {
        match self.text.split_once(separator) {
            Some((before, after)) => {
                let start = self.start + before.len() + separator.len_utf8();
                (Self { text: before, start: self.start }, Some(Self { text: after, start }))
            }
            None => (self, None),
        }
    }

    /// The pieces between `separator`s.
    pub(super) fn pieces(self, separator: char) -> impl Iterator<Item = Self> {
        let mut left = Some(self);
        std::iter::from_fn(move || {
            let (piece, rest) = left?.split(separator);
            left = rest;
            Some(piece)
        })
    }

    /// Without white space around it.
    pub(super) fn trim(self) -> Self {
        let start = self.start + self.text.len() - self.text.trim_start().len();
        Self { text: self.text.trim(), start }
    }

    /// The word as something that reads itself.
    pub(super) fn parse<T: std::str::FromStr>(self, expected: &str) -> Result<T, TextError> {
        self.text.parse().map_err(|_| self.error(expected))
    }

    /// A decimal number without a sign, within a range.
    pub(super) fn number<T>(self, range: std::ops::RangeInclusive<T>, expected: &str) -> Result<T, TextError>
    where
        T: std::str::FromStr + PartialOrd,
    {
        let digits = self.text.bytes().all(|b| b.is_ascii_digit());
        let number = self.text.parse().ok().filter(|n| digits && range.contains(n));
        number.ok_or_else(|| self.error(expected))
    }

    /// A port.
    pub(super) fn port(self) -> Result<u16, TextError> {
        self.number(1..=u16::MAX, "a port, 1 to 65535")
    }

    /// A node's name.
    pub(super) fn node(self) -> Result<NodeName, TextError> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
        if self.text.is_empty() || !self.text.chars().all(good) {
            return Err(self.error("a node: host, a machine of the LAN, or a service"));
        }
        Ok(NodeName::from(self.text))
    }
}
