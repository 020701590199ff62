//! The text of `iptables-save` and `ip6tables-save`, read and written.
//!
//! Written, it is what iptables 1.8 prints, to the byte: `save(&parse(text)) == text` for any text it printed, comment
//! lines aside. Read, it may be anything `iptables-restore` takes: long options, options in any order, lists of
//! addresses, modules loaded by `-p` alone, the old `-m state`, names of ICMP types. Names that only a machine could
//! resolve (services, hosts) are refused. A match or a target that is not modelled is kept as it was written.
//!
//! * `lex`: a line's words. `grammar`: which module takes which options. `rule`, `extension`: one rule's words in order.
//! * `matches`, `targets`, `value`: what they mean. `names`: tables of names and numbers.
//! * `parse`: tables and chains. `render`: all of it back to text.

use thiserror::Error;

use super::{Base, Hook, Policy};

mod extension;
mod grammar;
mod lex;
mod matches;
mod names;
mod parse;
mod render;
mod rule;
mod targets;
mod value;

pub use parse::empty_table;
pub use parse::parse;
pub use render::save;

/// Why a text is no set of rules, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: found {found}, expected {expected}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub expected: String,
}

/// A text that is no mark.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a mark: VALUE or VALUE/MASK, numbers of 32 bits, as in 0x1/0xff")]
pub struct MarkError(String);

/// A table of iptables: its name, its priority and the hooks it has chains at (`valid_hooks` in net/ipv4/netfilter).
struct TableKind {
    name: &'static str,
    priority: i32,
    hooks: &'static [Hook],
}

/// The tables in the order `iptables-save` writes them (iptables/nft.h, `enum nft_table_type`).
const TABLES: [TableKind; 5] = [
    TableKind {
        name: "mangle",
        priority: -150,
        hooks: &[Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting],
    },
    TableKind { name: "security", priority: 50, hooks: &[Hook::Input, Hook::Forward, Hook::Output] },
    TableKind { name: "raw", priority: -300, hooks: &[Hook::Prerouting, Hook::Output] },
    TableKind { name: "filter", priority: 0, hooks: &[Hook::Input, Hook::Forward, Hook::Output] },
    TableKind {
        name: "nat",
        priority: -100,
        hooks: &[Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting],
    },
];

/// Where a table stands in what `iptables-save` writes; none for a name that is no table of iptables.
#[must_use]
pub fn table_order(table: &str) -> Option<usize> {
    TABLES.iter().position(|t| t.name == table)
}

/// The base chains of a table, in the order of their hooks, all with policy ACCEPT; none for an unknown table.
#[must_use]
pub fn base_chains(table: &str) -> Vec<Base> {
    let chains = |kind: &TableKind| {
        let nat = kind.name == "nat";
        let priority = |hook| match hook {
            // Source NAT comes last (`NF_IP_PRI_NAT_SRC`).
            Hook::Input | Hook::Postrouting if nat => 100,
            Hook::Prerouting | Hook::Input | Hook::Forward | Hook::Output | Hook::Postrouting => {
                kind.priority
            }
        };
        kind.hooks
            .iter()
            .map(|&hook| Base { hook, priority: priority(hook), nat, policy: Policy::Accept })
            .collect()
    };
    TABLES.iter().find(|t| t.name == table).map(chains).unwrap_or_default()
}
