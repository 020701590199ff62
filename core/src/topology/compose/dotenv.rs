//! `.env` files (compose-go, dotenv).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::interpolate::Interpolation;
use crate::diagnostic::{At, Diagnostic, Source};
use crate::topology::yaml::MAX_FILE_BYTES;

/// Adds the variables of a file to `all`, which begins with those of `env`: they win. A later line wins over an
/// earlier one, and may use it.
///
/// # Errors
/// The first line that sets no variable.
pub(super) fn parse(
    source: &Arc<Source>,
    env: &BTreeMap<String, String>,
    all: &mut BTreeMap<String, String>,
) -> Result<(), Diagnostic> {
    let mut reader = Reader { source, at: 0 };
    let mut budget = MAX_FILE_BYTES;
    while let Some(line) = reader.assignment()? {
        let Assignment { name, value, literal, at } = line;
        if env.contains_key(name) {
            continue;
        }
        let value = if literal {
            value
        } else {
            Interpolation::new(all).text(&value).map_err(|fault| fault.at(&at))?
        };
        budget = budget.checked_sub(value.len()).ok_or_else(|| {
            Diagnostic::new(at, "the values of variables are too long").expected("1 MiB a file at most")
        })?;
        all.insert(name.to_owned(), value);
    }
    Ok(())
}

/// `NAME=value`.
struct Assignment<'a> {
    name: &'a str,
    value: String,
    /// Whether it stood in single quotes: no variables in it.
    literal: bool,
    at: At,
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source.text[self.at..]
    }

    fn refuse(&self, found: impl Into<String>) -> Diagnostic {
        let end = self.at + self.rest().lines().next().map_or(0, str::len);
        Diagnostic::new(At::new(self.source, self.at..end), found).expected("NAME=value")
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').map_or(self.rest().len(), |i| i + 1);
    }

    /// The next line that sets a variable.
    fn assignment(&mut self) -> Result<Option<Assignment<'a>>, Diagnostic> {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            let line = self.rest().lines().next().unwrap_or_default();
            if line.is_empty() {
                return Ok(None);
            }
            if line.starts_with('#') {
                self.skip_line();
                continue;
            }
            if let Some(after) = line.strip_prefix("export").filter(|l| l.starts_with([' ', '\t'])) {
                self.at += line.len() - after.trim_start().len();
                continue;
            }
            // A name alone stands for the environment's own variable, which is there already.
            let Some(equals) = line.find(['=', ':']) else {
                self.name(line)?;
                self.skip_line();
                continue;
            };
            let name = self.name(&line[..equals])?;
            self.at += equals + 1;
            self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
            return self.value(name).map(Some);
        }
    }

    fn name(&self, text: &'a str) -> Result<&'a str, Diagnostic> {
        let name = text.trim_end();
        let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
        match name.chars().find(|c| !part(*c)) {
            None if !name.is_empty() => Ok(name),
            None => Err(self.refuse("a value without a name")),
            Some(c) => Err(self.refuse(format!("'{}' in the name of a variable", c.escape_default()))),
        }
    }

    fn value(&mut self, name: &'a str) -> Result<Assignment<'a>, Diagnostic> {
        let start = self.at;
        let text = self.rest();
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else {
            let line = text.lines().next().unwrap_or_default();
            let comment = line.match_indices('#').map(|(i, _)| i);
            let mut comment = comment.filter(|i| *i > 0 && line[..*i].ends_with([' ', '\t']));
            let value = line[..comment.next().unwrap_or(line.len())].trim_end();
            self.skip_line();
            let at = At::new(self.source, start..start + value.len());
            return Ok(Assignment { name, value: value.to_owned(), literal: false, at });
        };
        let Some(end) = closing(text, quote) else {
            return Err(self.refuse("a quote that is not closed").expected(format!("a closing {quote}")));
        };
        let inside = &text[1..end];
        let value = if quote == '"' { unescaped(inside) } else { inside.replace("\\'", "'") };
        self.at += end + 1;
        self.skip_line();
        let at = At::new(self.source, start..start + end + 1);
        Ok(Assignment { name, value, literal: quote == '\'', at })
    }
}

/// Where the quote that `text` begins with is closed.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices()
        .skip(1)
        .find(|(_, c)| {
            let closes = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            closes
        })
        .map(|(i, _)| i)
}

/// A text in double quotes without its escapes; an escaped dollar sign is one that names no variable.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('$') => out.push_str("$$"),
                Some(other @ ('"' | '\\')) => out.push(other),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
        let source = Arc::new(Source { name: ".env".into(), text: text.into() });
        let env = BTreeMap::from([("P".to_owned(), "process".to_owned())]);
        let mut all = env.clone();
        parse(&source, &env, &mut all).map(|()| all).map_err(|e| e.to_string())
    }

    /// What Docker Compose 2.40.3 reads.
    #[test]
    fn lines_are_read_as_compose_reads_them() {
        let text = r#"# comment
A='$B'
B=$$x
C="a\tb\"c\$d\q\\"
D=a # b #c
E="x"y
  F  =  six  
export G
export H=a=b
I='a#b'
J=#nothing
K='a\'b\n'
a.b=1
L: yaml
M=a\nb
N=${A}
O=$F/${Z:-zz}
P=file
Q=
S=first
S=second
T="a
b ${S}""#;
        let all = read(text).unwrap();
        for (name, expected) in [
            ("A", "$B"),
            ("B", "$x"),
            ("C", "a\tb\"c$d\\q\\"),
            ("D", "a"),
            ("E", "x"),
            ("F", "six"),
            ("H", "a=b"),
            ("I", "a#b"),
            ("J", "#nothing"),
            ("K", "a'b\\n"),
            ("a.b", "1"),
            ("L", "yaml"),
            ("M", "a\\nb"),
            ("N", "$B"),
            ("O", "six/zz"),
            ("P", "process"),
            ("Q", ""),
            ("S", "second"),
            ("T", "a\nb second"),
        ] {
            assert_eq!(all.get(name).map(String::as_str), Some(expected), "{name}");
        }
        assert_eq!(all.get("G"), None);
    }

    #[test]
    fn a_line_that_sets_nothing_is_refused_with_its_place() {
        for (text, place) in [
            ("A=1\nB C=1\n", ".env:2:1: ' '"),
            ("A=\"x\n", ".env:1:3: a quote"),
            ("=x", ".env:1:1: a value"),
            ("A=${", ".env:1:3: '${'"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(place), "{error}");
        }
    }
}
