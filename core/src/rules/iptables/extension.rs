//! A match or a target as it was given: its name and the options behind it, not yet understood.

use super::ParseError;
use super::grammar::Known;
use super::lex::Word;
use crate::rules::Is;

/// A match or a target with the options that were given to it.
pub(super) struct Extension<'a> {
    /// Its name.
    pub name: Word<'a>,
    /// The options it can have; nothing for one that is kept as written.
    pub known: Option<&'static [Known]>,
    /// The options it has.
    pub options: Vec<Opt<'a>>,
    /// Everything after the name, as written.
    pub words: Vec<String>,
}

/// An option with its values, as many as it takes.
pub(super) struct Opt<'a> {
    /// Whether a `!` stands before it.
    pub not: bool,
    /// The option as written.
    pub word: Word<'a>,
    /// What it is.
    pub known: &'static Known,
    /// Its values.
    pub values: Vec<Word<'a>>,
}

impl<'a> Extension<'a> {
    pub(super) fn new(name: Word<'a>, known: Option<&'static [Known]>) -> Self {
        Self { name, known, options: Vec::new(), words: Vec::new() }
    }

    /// The option that iptables writes as `name`.
    pub(super) fn option(&self, name: &str) -> Option<&Opt<'a>> {
        self.options.iter().find(|o| o.known.names.first() == Some(&name))
    }

    /// The option, which cannot be negated.
    pub(super) fn plain(&self, name: &str) -> Result<Option<&Opt<'a>>, ParseError> {
        match self.option(name) {
            Some(option) if option.not => {
                Err(option.word.expected("an option that can be negated after '!'"))
            }
            option => Ok(option),
        }
    }

    /// Whether an option without values was given.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ParseError> {
        Ok(self.plain(name)?.is_some())
    }

    /// Whether it can only be kept as written.
    pub(super) fn is_verbatim(&self) -> bool {
        self.known.is_none() || self.options.iter().any(|o| !o.known.modelled)
    }
}

impl<'a> Opt<'a> {
    /// The option's first value.
    pub(super) fn value(&self) -> Result<&Word<'a>, ParseError> {
        self.values.first().ok_or_else(|| self.word.expected("a value behind the option"))
    }

    /// A value under the option's `!`.
    pub(super) fn is<T>(&self, value: T) -> Is<T> {
        Is { not: self.not, value }
    }
}
