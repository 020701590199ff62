//! Variables: `$NAME`, `${NAME}`, `${NAME:-default}` and its kin, `$$` (compose-go, template).

use std::collections::BTreeMap;

use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::yaml::{MAX_FILE_BYTES, Node, Scalar, Value};

/// The deepest nesting of one variable in another's default.
const MAX_DEPTH: usize = 16;

/// Puts variables' values into texts.
#[derive(Debug)]
pub(super) struct Interpolation<'a> {
    env: &'a BTreeMap<String, String>,
    /// Bytes that may still be put in: a text cannot be made to grow without end.
    budget: usize,
    /// Variables that were not set and have no default, each as it was written.
    pub(super) unset: Vec<String>,
}

/// Why a text cannot be interpolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The part of the text.
    raw: String,
    found: String,
    expected: &'static str,
}

const FORMS: &str =
    "$NAME or ${NAME}, with :- - :? ? :+ + and a text after the name, or $$ for a dollar sign";

impl Fault {
    fn new(raw: &str, found: impl Into<String>, expected: &'static str) -> Self {
        Self { raw: raw.to_owned(), found: found.into(), expected }
    }

    /// As a diagnostic at the place of the whole text, or of the part where that can be told.
    pub(super) fn at(self, at: &At) -> Diagnostic {
        Diagnostic::new(part(at, &self.raw), self.found).expected(self.expected)
    }
}

/// The place of `raw` in the text at `at`.
fn part(at: &At, raw: &str) -> At {
    match at.text().find(raw) {
        Some(offset) => {
            let start = at.span.start + offset;
            At { source: at.source.clone(), span: start..start + raw.len() }
        }
        None => at.clone(),
    }
}

/// Puts the values of `env` into every scalar below `node`; keys stay as they are.
pub(super) fn interpolate(
    node: &mut Node,
    env: &BTreeMap<String, String>,
    out: &mut Diagnostics,
    warnings: &mut Vec<Diagnostic>,
) {
    let mut interpolation = Interpolation::new(env);
    interpolation.node(node, out, warnings);
}

impl<'a> Interpolation<'a> {
    /// With the variables of `env`.
    pub(super) const fn new(env: &'a BTreeMap<String, String>) -> Self {
        Self { env, budget: 4 * MAX_FILE_BYTES, unset: Vec::new() }
    }

    /// Whether all is well; what is not is taken out of a list, and null in a mapping.
    fn node(&mut self, node: &mut Node, out: &mut Diagnostics, warnings: &mut Vec<Diagnostic>) -> bool {
        let Node { at, value, .. } = node;
        let scalar = match value {
            Value::Sequence(items) => {
                items.retain_mut(|item| self.node(item, out, warnings));
                return true;
            }
            Value::Mapping(entries) => {
                entries.iter_mut().for_each(|(_, node)| _ = self.node(node, out, warnings));
                return true;
            }
            Value::Scalar(scalar) if !scalar.text.contains('$') => return true,
            Value::Scalar(scalar) => scalar,
        };
        let text = self.text(&scalar.text);
        warnings.extend(self.unset.drain(..).map(|raw| {
            let name = raw.trim_matches(['$', '{', '}']);
            let found = format!("the variable {name} is not set; an empty string stands for it");
            Diagnostic::new(part(at, &raw), found)
        }));
        match text {
            Ok(text) => {
                *scalar = Scalar { text, plain: false };
                true
            }
            Err(fault) => {
                out.push(fault.at(at));
                *scalar = Scalar { text: String::new(), plain: true };
                false
            }
        }
    }

    /// The text with its variables replaced.
    ///
    /// # Errors
    /// A variable that is not written as one, or is required and not set.
    pub(super) fn text(&mut self, text: &str) -> Result<String, Fault> {
        self.nested(text, 0)
    }

    fn nested(&mut self, text: &str, depth: usize) -> Result<String, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(
                text,
                format!("more than {MAX_DEPTH} variables inside one another"),
                FORMS,
            ));
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, dollar)) = rest.find('$').map(|i| rest.split_at(i)) {
            out.push_str(before);
            let length = match dollar.as_bytes().get(1) {
                Some(b'$') => {
                    out.push('$');
                    2
                }
                Some(b'{') => {
                    let raw = braced(dollar)?;
                    out.push_str(&self.braces(raw, depth)?);
                    raw.len()
                }
                _ => match name_length(&dollar[1..]) {
                    // Docker's own shell-like `$1` or `$(` stay as they are.
                    0 => {
                        out.push('$');
                        1
                    }
                    length => {
                        out.push_str(&self.plain(&dollar[1..=length], &dollar[..=length])?);
                        length + 1
                    }
                },
            };
            rest = &dollar[length..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The value of a variable that has no default.
    fn plain(&mut self, name: &str, raw: &str) -> Result<String, Fault> {
        match self.env.get(name) {
            Some(value) => self.spend(value.clone(), raw),
            None => {
                self.unset.push(raw.to_owned());
                Ok(String::new())
            }
        }
    }

    fn spend(&mut self, value: String, raw: &str) -> Result<String, Fault> {
        match self.budget.checked_sub(value.len()) {
            Some(left) => {
                self.budget = left;
                Ok(value)
            }
            None => Err(Fault::new(raw, "the values of variables are too long", "4 MiB in all at most")),
        }
    }

    /// `${NAME}` and its kin, braces included.
    fn braces(&mut self, raw: &str, depth: usize) -> Result<String, Fault> {
        let inside = &raw[2..raw.len() - 1];
        let (name, operation) = inside.split_at(name_length(inside));
        if name.is_empty() {
            return Err(Fault::new(raw, format!("'{raw}' is no variable"), FORMS));
        }
        let (strict, operation) = match operation.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, operation),
        };
        let set = self.env.get(name).filter(|v| !strict || !v.is_empty()).cloned();
        let mut parts = operation.chars();
        match (parts.next(), set) {
            (None, _) if !strict => self.plain(name, raw),
            (Some('-' | '?'), Some(value)) => self.spend(value, raw),
            (Some('-'), None) | (Some('+'), Some(_)) => self.nested(parts.as_str(), depth + 1),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => {
                let why = self.nested(parts.as_str(), depth + 1)?;
                let colon = if why.is_empty() { "" } else { ": " };
                let found = format!("required variable {name} is missing a value{colon}{why}");
                Err(Fault::new(raw, found, "a value in the environment or in .env"))
            }
            (None | Some(_), _) => Err(Fault::new(raw, format!("'{raw}' is no variable"), FORMS)),
        }
    }
}

/// How many bytes of `text` are a variable's name.
fn name_length(text: &str) -> usize {
    let part = |(i, b): &(usize, u8)| b.is_ascii_alphabetic() || *b == b'_' || (*i > 0 && b.is_ascii_digit());
    text.bytes().enumerate().take_while(part).count()
}

/// The `${…}` that `text` begins with, to the brace that closes it.
fn braced(text: &str) -> Result<&str, Fault> {
    let mut open = 0_usize;
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 1 => return Ok(&text[..=i]),
            b'}' => open -= 1,
            _ => {}
        }
    }
    let raw = text.lines().next().unwrap_or(text);
    Err(Fault::new(raw, format!("'{raw}' has no closing brace"), FORMS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(template: &str) -> Result<String, String> {
        let env = [("F", "f"), ("E", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        Interpolation::new(&BTreeMap::from(env)).text(template).map_err(|f| f.found)
    }

    /// What Docker Compose 2.40.3 makes of each, with F=f, E empty and U, V not set.
    #[test]
    fn variables_are_replaced_as_compose_replaces_them() {
        for (template, expected) in [
            ("${U:-dflt}", "dflt"),
            ("${U-dflt}", "dflt"),
            ("${E:-a}", "a"),
            ("${E-a}", ""),
            ("${F:+alt}", "alt"),
            ("${E:+alt}", ""),
            ("${E+alt}", "alt"),
            ("${U:+alt}x", "x"),
            ("${U+alt}x", "x"),
            ("$$", "$"),
            ("$$F", "$F"),
            ("$F-x", "f-x"),
            ("${F}x", "fx"),
            ("${U:-${F}}", "f"),
            ("${U:-${V:-$F}}", "f"),
            ("${U:-a:b}", "a:b"),
            ("${U:-}", ""),
            ("${U:-{a}}", "{a}"),
            ("${F:?err}", "f"),
            ("a$$$F", "a$f"),
            ("${U:-$$F}", "$F"),
            ("$U", ""),
            ("echo $1 $ $(ls) $", "echo $1 $ $(ls) $"),
        ] {
            assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for template in ["${F", "${}", "${ F }", "${F!x}", "${F:a}", "${1}", "${F:}", "${"] {
            assert!(text(template).is_err(), "{template}");
        }
        assert_eq!(text("${U:?need ${E:-z}}").unwrap_err(), "required variable U is missing a value: need z");
        assert_eq!(text("${U?}").unwrap_err(), "required variable U is missing a value");
    }

    #[test]
    fn variables_nest_and_grow_within_limits() {
        assert!(text(&"${U:-".repeat(100_000)).is_err());
        let deep = format!("{}{}", "${U:-".repeat(50), "}".repeat(50));
        assert!(text(&deep).unwrap_err().contains("inside one another"));
        let env = BTreeMap::from([("L".to_owned(), "x".repeat(1 << 20))]);
        assert!(Interpolation::new(&env).text("$L$L$L$L$L").is_err());
    }
}
