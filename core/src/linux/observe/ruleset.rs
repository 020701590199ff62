//! The text of `iptables-save` and `ip6tables-save`.

use super::Seen;
use crate::addr::Family;
use crate::plan::{NsName, Object};
use crate::rules::iptables::parse;

/// What the tool says of rules that it does not show: another tool's.
const SILENT: [&str; 2] = ["# Warning: ", "# Table "];

/// Reads what the tool has written of a namespace.
pub(super) fn read(ns: &NsName, family: Family, text: &str, seen: &mut Seen) {
    let silent = text.lines().filter(|line| SILENT.iter().any(|word| line.starts_with(word)));
    for line in silent {
        seen.unknown(ns, format!("rules of IPv{}: {}", family.number(), line.trim_start_matches("# ")));
    }
    match parse(text, family) {
        Ok(rules) if rules.tables.is_empty() => {}
        Ok(rules) => seen.item(ns, Object::Rules(rules)),
        Err(error) => seen.unknown(ns, format!("rules of IPv{}: {error}", family.number())),
    }
}
