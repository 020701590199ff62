//! Values read as what they should be: each refusal names the key, what was found and what was expected.

use std::fmt::Display;
use std::str::FromStr;

pub(super) use crate::diagnostic::nearest;
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::yaml::{Key, Node, Value};

/// A value and the key it stands under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// The key, for messages.
    pub(super) name: &'a str,
    /// The value.
    pub(super) node: &'a Node,
}

impl<'a> Field<'a> {
    /// The value of `key`, unless it is missing or null.
    pub(super) fn of(node: &'a Node, key: &'a str) -> Option<Self> {
        node.get(key).filter(|n| !n.is_null()).map(|node| Self { name: key, node })
    }

    /// Where the value stands.
    pub(super) fn at(self) -> At {
        self.node.at.clone()
    }

    /// A refusal of this value's type.
    pub(super) fn wrong(self, expected: &str) -> Diagnostic {
        Diagnostic::new(self.at(), format!("'{}' is {}", self.name, self.node.kind())).expected(expected)
    }

    /// A refusal of what this value says.
    pub(super) fn bad(self, found: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.at(), found)
    }

    /// A string; a bare number or boolean is none (Compose's schema).
    pub(super) fn string(self, out: &mut Diagnostics) -> Option<&'a str> {
        match self.node.as_str() {
            Some(text) if self.node.kind() == "a string" => Some(text),
            Some(text) => {
                out.push(self.wrong(&format!("a string: \"{text}\" in quotes")));
                None
            }
            None => {
                out.push(self.wrong("a string"));
                None
            }
        }
    }

    /// Any scalar as its text: a string, a number or a boolean.
    pub(super) fn text(self, out: &mut Diagnostics) -> Option<&'a str> {
        let text = self.node.as_str();
        if text.is_none() {
            out.push(self.wrong("a string or a number"));
        }
        text
    }

    /// A scalar that says a `T`.
    pub(super) fn parse<T: FromStr<Err: Display>>(self, out: &mut Diagnostics) -> Option<T> {
        let text = self.text(out)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(e) => {
                out.push(self.bad(format!("'{}': {e}", self.name)));
                None
            }
        }
    }

    /// A scalar that says a `T`, whose own refusal says nothing to a reader.
    pub(super) fn parse_as<T: FromStr>(self, expected: &str, out: &mut Diagnostics) -> Option<T> {
        let text = self.text(out)?;
        let value = text.parse().ok();
        if value.is_none() {
            out.push(self.bad(format!("'{}' is '{text}'", self.name)).expected(expected));
        }
        value
    }

    /// A boolean, in quotes or not, in the spellings that Compose takes (compose-go, loader/interpolate.go).
    pub(super) fn boolean(self, out: &mut Diagnostics) -> Option<bool> {
        match self.text(out)?.to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(true),
            "false" | "n" | "no" | "off" => Some(false),
            other => {
                out.push(self.bad(format!("'{}' is '{other}'", self.name)).expected("true or false"));
                None
            }
        }
    }

    /// The entries of a list.
    pub(super) fn list(self, out: &mut Diagnostics) -> &'a [Node] {
        match &self.node.value {
            Value::Sequence(items) => items,
            Value::Scalar(_) | Value::Mapping(_) => {
                out.push(self.wrong("a list"));
                &[]
            }
        }
    }

    /// The entries of a mapping.
    pub(super) fn mapping(self, out: &mut Diagnostics) -> &'a [(Key, Node)] {
        match &self.node.value {
            Value::Mapping(entries) => entries,
            Value::Scalar(_) | Value::Sequence(_) => {
                out.push(self.wrong("a mapping"));
                &[]
            }
        }
    }

    /// The entries of a list, each as a field of this name.
    pub(super) fn entries(self, out: &mut Diagnostics) -> impl Iterator<Item = Self> + use<'a> {
        self.list(out).iter().map(move |node| Self { name: self.name, node })
    }

    /// A list of strings.
    pub(super) fn strings(self, out: &mut Diagnostics) -> Vec<(&'a str, At)> {
        let entries: Vec<Self> = self.entries(out).collect();
        entries.into_iter().filter_map(|f| Some((f.string(out)?, f.at()))).collect()
    }

    /// A string, or a list of strings.
    pub(super) fn string_or_list(self, out: &mut Diagnostics) -> Vec<(&'a str, At)> {
        match &self.node.value {
            Value::Scalar(_) => self.string(out).map(|s| (s, self.at())).into_iter().collect(),
            Value::Sequence(_) | Value::Mapping(_) => self.strings(out),
        }
    }
}
