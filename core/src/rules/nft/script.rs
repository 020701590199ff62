//! What a person writes for nft: a text for `nft -f`, and the tables that come of it (man 8 nft).
//!
//! A table of family `inet` is taken apart into one for IPv4 and one for IPv6, as the kernel meets it. A rule that asks for
//! one of several where a rule here asks for one (`icmp type { … }`, `ct state vmap { … }`) becomes as many rules. What a
//! rule asks and does beyond that is kept as it was written: a packet that meets it hangs on what nobody knows.
//!
//! * `document`: commands and blocks, one after the other. `rule`: a rule's statements. `key`, `value`: what is asked, and
//!   what of it. `verdict`: what is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::addr::{Family, IfName};
use crate::rules::iptables::ParseError;
use crate::rules::{Backend, Ruleset, Table};

mod document;
mod draft;
mod key;
mod rule;
mod value;
mod verdict;

use document::Document;
use draft::{Draft, Scope};

/// A text for `nft -f`, and the rules that it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The text.
    pub text: String,
    /// The tables of each family, each with its own family before its name: `inet filter`.
    pub rulesets: Vec<Arc<Ruleset>>,
    /// Devices that must be there when the text is read: `iif`, `oif`.
    pub devices: BTreeSet<IfName>,
}

impl Script {
    /// Reads a text.
    ///
    /// # Errors
    /// The first word that nft would not take, or that has no meaning here.
    pub fn read(text: &str) -> Result<Self, ParseError> {
        let document = Document::read(text)?;
        let mut devices = BTreeSet::new();
        let mut rulesets = Vec::new();
        for family in Family::ALL {
            let tables = document.tables(family, &mut devices)?;
            if !tables.is_empty() {
                rulesets.push(Arc::new(Ruleset { family, backend: Backend::Nft, tables }));
            }
        }
        Ok(Self { text: text.to_owned(), rulesets, devices })
    }

    /// The text with one command more, as nft would take it after those before.
    ///
    /// # Errors
    /// As [`Self::read`]; the line is counted from the text's first.
    pub fn and(&self, command: &str) -> Result<Self, ParseError> {
        let end = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        Self::read(&format!("{}{end}{command}\n", self.text))
    }

    /// The tables' families and names, as `nft list tables` has them.
    #[must_use]
    pub fn tables(&self) -> BTreeSet<&str> {
        self.rulesets.iter().flat_map(|rules| &rules.tables).map(|table| table.name.as_str()).collect()
    }

    /// Commands before the text that take away what it makes, where it has been read before.
    #[must_use]
    pub fn room(&self) -> String {
        // Only a table that is there can be deleted.
        self.tables().iter().map(|table| format!("table {table}\ndelete table {table}\n")).collect()
    }

    /// A table that another tool writes: iptables, whose tables of nft have these names, or Docker.
    #[must_use]
    pub fn taken(&self) -> Option<&str> {
        let taken = |name: &str| {
            let table = name.strip_prefix("ip ").or_else(|| name.strip_prefix("ip6 "));
            table.is_some_and(|t| {
                ["filter", "nat", "mangle", "raw", "security"].contains(&t) || t.starts_with("docker-")
            })
        };
        self.tables().into_iter().find(|name| taken(name))
    }
}

/// Reads the tables of a family, as `nft list` prints them.
///
/// # Errors
/// The first word that nft would not take, or a table of another family.
pub fn parse(text: &str, family: Family) -> Result<Vec<Table>, ParseError> {
    let document = Document::read(text)?;
    document.only(if family == Family::V4 { Scope::Ip } else { Scope::Ip6 })?;
    let mut tables = document.tables(family, &mut BTreeSet::new())?;
    for table in &mut tables {
        table.name =
            table.name.split_once(' ').map_or_else(|| table.name.clone(), |(_, name)| name.to_owned());
    }
    Ok(tables)
}
