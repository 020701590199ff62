//! A line's words, as `iptables-restore` splits them: at white space, or between double quotes.

use super::ParseError;

/// A word and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Word<'a> {
    /// As written, quotes and all.
    pub raw: &'a str,
    /// What it says.
    pub text: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Word<'_> {
    /// This word is not what `expected` names.
    pub(super) fn expected(&self, expected: impl Into<String>) -> ParseError {
        ParseError {
            line: self.line,
            column: self.column,
            found: format!("'{}'", self.text),
            expected: expected.into(),
        }
    }

    /// Whether it can be an option: it begins with a dash and no quotes.
    pub(super) fn is_option(&self) -> bool {
        self.raw.starts_with('-')
    }
}

/// The words of a line. Only double quotes quote, and a backslash escapes inside them alone.
pub(super) fn words(text: &str, line: usize) -> Result<Vec<Word<'_>>, ParseError> {
    let mut words = Vec::new();
    let mut rest = text;
    let mut column = 1;
    loop {
        let trimmed = rest.trim_start();
        column += rest.chars().count() - trimmed.chars().count();
        if trimmed.is_empty() {
            return Ok(words);
        }
        let (length, text) = match trimmed.strip_prefix('"') {
            Some(quoted) => quoted_word(quoted).ok_or_else(|| open_quote(trimmed, line, column))?,
            None => {
                let length = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
                let (word, _) = trimmed.split_at(length);
                (length, word.to_owned())
            }
        };
        let (raw, after) = trimmed.split_at(length);
        words.push(Word { raw, text, line, column });
        column += raw.chars().count();
        rest = after;
    }
}

/// How long a quoted word is with both quotes, and what it says; nothing where the second quote is missing.
fn quoted_word(after_quote: &str) -> Option<(usize, String)> {
    let mut text = String::new();
    let mut escaped = false;
    for (at, c) in after_quote.char_indices() {
        match c {
            _ if escaped => {
                text.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((at + 2, text)),
            _ => text.push(c),
        }
    }
    None
}

fn open_quote(rest: &str, line: usize, column: usize) -> ParseError {
    ParseError { line, column, found: rest.to_owned(), expected: "a closing '\"' on this line".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line, 1).unwrap().into_iter().map(|w| w.text).collect()
    }

    #[test]
    fn only_double_quotes_quote() {
        assert_eq!(texts(r#"--comment "a \"b\" c\\d" x"#), ["--comment", r#"a "b" c\d"#, "x"]);
        assert_eq!(texts("'a b'"), ["'a", "b'"]);
        assert_eq!(texts(r#"-j "" "#), ["-j", ""]);
    }

    #[test]
    fn a_word_knows_its_column() {
        let columns: Vec<_> = words("  -A ä \"b c\" d", 3).unwrap().iter().map(|w| w.column).collect();
        assert_eq!(columns, [3, 6, 8, 14]);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        let error = words(r#"-m comment --comment "a b"#, 7).unwrap_err();
        assert_eq!((error.line, error.column), (7, 22));
    }
}
