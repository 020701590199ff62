//! Checks that several readers share.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::diagnostic::{At, Diagnostic, Diagnostics, MAX_DIAGNOSTICS};
use crate::topology::field::nearest;
use crate::topology::yaml::{Key, Node, Value};

/// The known word that is spelled most like `word`; none once there is more wrong than anybody is shown.
pub(super) fn suggest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    out: &Diagnostics,
) -> Option<&'a str> {
    if out.0.len() > 2 * MAX_DIAGNOSTICS { None } else { nearest(word, known) }
}

/// The keys of a mapping; none where it is none.
pub(super) fn keys_of(node: Option<&Node>) -> impl Iterator<Item = &str> {
    let entries = match node.map(|n| &n.value) {
        Some(Value::Mapping(entries)) => entries.as_slice(),
        Some(Value::Scalar(_) | Value::Sequence(_)) | None => &[],
    };
    entries.iter().map(|(key, _)| key.name.as_str())
}

/// Refuses a key that Compose takes for no name of a service or a network.
pub(super) fn name(what: &str, key: &Key, out: &mut Diagnostics) {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if key.name.is_empty() || !key.name.chars().all(part) {
        let found = format!("'{}' is no name of a {what}", key.name);
        out.push(Diagnostic::new(key.at.clone(), found).expected("letters, digits, '.', '_' and '-'"));
    }
}

/// Refuses what stands twice; `words` say what is wrong and what was expected.
pub(super) fn twice<'a, T: Ord + Display>(
    all: impl IntoIterator<Item = (T, &'a At)>,
    out: &mut Diagnostics,
    words: impl Fn(&T) -> (String, String),
) {
    let mut first = BTreeMap::new();
    for (value, at) in all {
        match first.get(&value) {
            Some(before) => {
                let (found, expected) = words(&value);
                let diagnostic = Diagnostic::new(at.clone(), found).expected(expected);
                out.push(diagnostic.related(At::clone(before), "first"));
            }
            None => _ = first.insert(value, at.clone()),
        }
    }
}
