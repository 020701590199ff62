//! The words of a text of nft, each with its place.

use crate::addr::IfName;
use crate::rules::iptables::ParseError;

/// A word: quoted text with its quotes, or one of `{ } , ;` that stands at a word's end, or the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    line: usize,
    column: usize,
}

impl Word<'_> {
    /// What stands here, and what could.
    pub(super) fn expected(&self, expected: impl Into<String>) -> ParseError {
        let found = if self.text == "\n" { "the end of the line".to_owned() } else { self.text.to_owned() };
        ParseError { line: self.line, column: self.column, found, expected: expected.into() }
    }
}

/// Words one after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    words: Vec<Word<'a>>,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let words = text.lines().enumerate().flat_map(|(at, line)| words(line, at + 1)).collect();
        Self { words, at: 0 }
    }

    /// Whether anything but ends of lines is left.
    pub(super) fn at_something(&mut self) -> bool {
        self.skip_lines();
        self.at < self.words.len()
    }

    fn skip_lines(&mut self) {
        while self.words.get(self.at).is_some_and(|word| word.text == "\n") {
            self.at += 1;
        }
    }

    /// The next word, wherever it stands.
    pub(super) fn word(&mut self) -> Result<Word<'a>, ParseError> {
        self.skip_lines();
        let end =
            Word { text: "the end of the text", line: self.words.last().map_or(1, |w| w.line), column: 1 };
        let word = self.words.get(self.at).copied().ok_or_else(|| end.expected("more"))?;
        self.at += 1;
        Ok(word)
    }

    /// The next word of the line; none at its end.
    pub(super) fn in_line(&mut self) -> Option<Word<'a>> {
        let word = self.words.get(self.at).copied()?;
        self.at += 1;
        (word.text != "\n").then_some(word)
    }

    /// The next word of the line, which is left where it is.
    pub(super) fn peek(&self) -> &'a str {
        self.words.get(self.at).map_or("", |word| word.text)
    }

    /// The next word of a block; none where it ends.
    pub(super) fn block(&mut self) -> Result<Option<Word<'a>>, ParseError> {
        let word = self.word()?;
        Ok((word.text != "}").then_some(word))
    }

    pub(super) fn expect(&mut self, text: &str) -> Result<(), ParseError> {
        let word = self.word()?;
        if word.text == text { Ok(()) } else { Err(word.expected(format!("'{text}'"))) }
    }

    /// A word that has a meaning.
    pub(super) fn one_of<T>(
        &mut self,
        expected: &str,
        meaning: impl Fn(&'a str) -> Option<T>,
    ) -> Result<T, ParseError> {
        let word = self.word()?;
        meaning(word.text).ok_or_else(|| word.expected(expected))
    }

    /// A name.
    pub(super) fn name(&mut self) -> Result<String, ParseError> {
        let word = self.word()?;
        let is_name = word.text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_name { Ok(word.text.to_owned()) } else { Err(word.expected("a name")) }
    }

    /// A device's name in quotes.
    pub(super) fn device(&mut self) -> Result<IfName, ParseError> {
        self.one_of("a device in quotes", |text| unquoted(text)?.parse().ok())
    }

    /// Whether a comma follows, and so one more of several; or the bracket that ends them.
    pub(super) fn is_next_of_several(&mut self) -> Result<bool, ParseError> {
        self.one_of("',' or '}'", |text| match text {
            "," => Some(true),
            "}" => Some(false),
            _ => None,
        })
    }

    /// Whether `!=` follows; it is taken.
    pub(super) fn not(&mut self) -> bool {
        let not = self.peek() == "!=";
        self.at += usize::from(not);
        not
    }
}

/// What is between quotes.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// The words of a line, and its end.
fn words(line: &str, number: usize) -> Vec<Word<'_>> {
    let word = |from: usize, to: usize| {
        let text = line.get(from..to).unwrap_or_default();
        Word { text, line: number, column: from + 1 }
    };
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(gap) = line.get(at..).and_then(|rest| rest.find(|c: char| !c.is_whitespace())) {
        let from = at + gap;
        let rest = line.get(from..).unwrap_or_default();
        let quoted = rest.strip_prefix('"').and_then(|r| r.find('"')).map(|end| end + 2);
        let length = quoted.or_else(|| rest.find(char::is_whitespace)).unwrap_or(rest.len());
        let ends = |c: char| [',', ';'].contains(&c);
        let bare = rest.get(..length).unwrap_or_default().trim_end_matches(ends).len();
        // A comma or a semicolon by itself is a word.
        let length = if bare == 0 { 1 } else { bare };
        words.push(word(from, from + length));
        at = from + length;
    }
    words.push(Word { text: "\n", line: number, column: line.len() + 1 });
    words
}
