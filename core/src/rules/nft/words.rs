//! The words of a text of nft, each with its place.

use std::collections::BTreeMap;

use crate::rules::iptables::ParseError;

/// A word: quoted text with its quotes, a name or a number, a sign, or the end of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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

    /// Whether it parts one command or rule from the next.
    pub(super) fn parts(&self) -> bool {
        ["\n", ";"].contains(&self.text)
    }
}

/// Words one after the other.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    words: Vec<Word<'a>>,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The words of a text, with what it has defined (`define NAME = …`) in the places of `$NAME`.
    pub(super) fn of(text: &'a str) -> Result<Self, ParseError> {
        let plain = text.lines().enumerate().flat_map(|(at, line)| words(line, at + 1)).collect();
        Ok(Self { words: defined(plain)?, at: 0 })
    }

    /// The words of one rule.
    pub(super) fn over(words: &[Word<'a>]) -> Self {
        Self { words: words.to_vec(), at: 0 }
    }

    /// The words from here to where another reader of the same has come.
    pub(super) fn until(&self, later: &Self) -> &[Word<'a>] {
        self.words.get(self.at..later.at).unwrap_or_default()
    }

    /// Whether anything but ends of lines and commands is left.
    pub(super) fn at_something(&mut self) -> bool {
        while self.words.get(self.at).is_some_and(Word::parts) {
            self.at += 1;
        }
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

    /// The end of a command, of a rule or of a block: nft wants one, even where a bracket follows.
    pub(super) fn end(&mut self) -> Result<(), ParseError> {
        match self.words.get(self.at) {
            Some(word) if !word.parts() => Err(word.expected("a semicolon or the end of the line")),
            Some(_) | None => {
                self.at += 1;
                Ok(())
            }
        }
    }

    /// The next word of a rule; none at its end.
    pub(super) fn next(&mut self) -> Option<Word<'a>> {
        let word = self.words.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    /// The next word, which is left where it is; nothing at the end.
    pub(super) fn peek(&self) -> &'a str {
        self.words.get(self.at).map_or("", |word| word.text)
    }

    /// The next word if it is this one; it is taken.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let is = self.peek() == text;
        self.at += usize::from(is);
        is
    }

    /// The next word of a block; none where it ends.
    pub(super) fn block(&mut self) -> Result<Option<Word<'a>>, ParseError> {
        self.at_something();
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
    pub(super) fn name(&mut self) -> Result<&'a str, ParseError> {
        let word = self.word()?;
        let is_name = word.text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_name { Ok(word.text) } else { Err(word.expected("a name")) }
    }

    /// What is left of a command or of a rule: to the end of its line, a semicolon, or the bracket that closes its block.
    pub(super) fn rest(&mut self) -> Vec<Word<'a>> {
        let mut rest = Vec::new();
        let mut open = 0_usize;
        while let Some(word) = self.words.get(self.at) {
            match word.text {
                "{" => open += 1,
                "}" if open == 0 => break,
                "}" => open -= 1,
                _ if open == 0 && word.parts() => break,
                _ => {}
            }
            rest.push(*word);
            self.at += 1;
        }
        rest.retain(|word| word.text != "\n");
        rest
    }

    /// What stands between brackets, apart by commas; the first bracket is the next word.
    pub(super) fn elements(&mut self) -> Result<Vec<Vec<Word<'a>>>, ParseError> {
        self.expect("{")?;
        let mut all = vec![Vec::new()];
        let mut open = 0_usize;
        loop {
            let word = self.word()?;
            match word.text {
                "}" if open == 0 => break,
                "}" => open -= 1,
                "{" => open += 1,
                "," if open == 0 => {
                    all.push(Vec::new());
                    continue;
                }
                _ => {}
            }
            all.last_mut().into_iter().for_each(|last| last.push(word));
        }
        all.retain(|element| !element.is_empty());
        Ok(all)
    }
}

/// What is between quotes.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// Takes definitions out, and puts what they say where they are named.
fn defined(plain: Vec<Word<'_>>) -> Result<Vec<Word<'_>>, ParseError> {
    let mut names: BTreeMap<&str, Vec<Word<'_>>> = BTreeMap::new();
    let mut words = Vec::new();
    let mut reader = Reader { words: plain, at: 0 };
    let mut begins = true;
    while let Some(word) = reader.words.get(reader.at).copied() {
        reader.at += 1;
        if begins && ["define", "redefine"].contains(&word.text) {
            let name = reader.name()?;
            reader.expect("=")?;
            let value = instead(&names, reader.rest())?;
            names.insert(name, value);
        } else {
            words.extend(instead(&names, vec![word])?);
        }
        begins = word.parts() || word.text == "{";
    }
    Ok(words)
}

fn instead<'a>(
    names: &BTreeMap<&str, Vec<Word<'a>>>,
    words: Vec<Word<'a>>,
) -> Result<Vec<Word<'a>>, ParseError> {
    let mut all = Vec::new();
    for word in words {
        let Some(name) = word.text.strip_prefix('$') else {
            all.push(word);
            continue;
        };
        let value = names.get(name).ok_or_else(|| word.expected("what a 'define' before it has named"))?;
        all.extend(value.iter().map(|said| Word { text: said.text, ..word }));
    }
    Ok(all)
}

/// The words of a line, and its end, unless it goes on in the next.
fn words(line: &str, number: usize) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(gap) = line.get(at..).and_then(|rest| rest.find(|c: char| !c.is_whitespace())) {
        let from = at + gap;
        let rest = line.get(from..).unwrap_or_default();
        if rest.starts_with('#') {
            break;
        }
        if rest.trim_end() == "\\" {
            return words;
        }
        at = from + length(rest);
        let text = line.get(from..at).unwrap_or_default();
        words.push(Word { text, line: number, column: from + 1 });
    }
    words.push(Word { text: "\n", line: number, column: line.len() + 1 });
    words
}

/// How long the word is that a text begins with.
fn length(text: &str) -> usize {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.find('"').map_or(text.len(), |end| end + 2);
    }
    if ["!=", "==", "<=", ">=", "<<", ">>"].iter().any(|sign| text.starts_with(sign)) {
        return 2;
    }
    let signs = |c: char| "{},;()=&|^<>!\"".contains(c);
    if text.starts_with(signs) {
        return 1;
    }
    text.find(|c: char| c.is_whitespace() || signs(c)).unwrap_or(text.len())
}
