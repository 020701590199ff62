//! A fact's text: `has own ipc`.

use std::fmt;

use super::TextError;
use super::line::Line;
use crate::probe::{Fact, NsKind};

pub(super) const FACT: &str = "a fact: hostname is NAME, sees [no] processes of NODE, has own NS, shares NS with NODE, or \
                    resolves NAME to ADDRESS";
const KIND: &str = "a namespace: network, mount, ipc, pid, uts, user or cgroup";

/// Whether a line's second word starts a fact.
pub(super) fn starts(word: &str) -> bool {
    matches!(word, "hostname" | "sees" | "has" | "shares" | "resolves")
}

pub(super) fn read(line: &mut Line<'_>) -> Result<Fact, TextError> {
    let word = line.word(FACT)?;
    match word.text {
        "hostname" => {
            line.keyword("is")?;
            Ok(Fact::Hostname(line.word("a host name")?.text.to_owned()))
        }
        "sees" => {
            let no = line.take("no");
            line.keyword("processes")?;
            line.keyword("of")?;
            let node = line.word("a node")?.node()?;
            Ok(if no { Fact::SeesNoProcesses(node) } else { Fact::SeesProcesses(node) })
        }
        "has" => {
            line.keyword("own")?;
            Ok(Fact::HasOwn(kind(line)?))
        }
        "shares" => {
            let kind = kind(line)?;
            line.keyword("with")?;
            Ok(Fact::Shares(kind, line.word("a node")?.node()?))
        }
        "resolves" => resolves(line),
        _ => Err(word.error(FACT)),
    }
}

fn kind(line: &mut Line<'_>) -> Result<NsKind, TextError> {
    let word = line.word(KIND)?;
    NsKind::ALL.into_iter().find(|k| k.as_str() == word.text).ok_or_else(|| word.error(KIND))
}

fn resolves(line: &mut Line<'_>) -> Result<Fact, TextError> {
    let name = line.word("a name")?.text.to_owned();
    line.keyword("to")?;
    let rest = line.rest();
    line.word("addresses, with commas between them, or nothing")?;
    line.take_rest();
    let addresses = match rest.text {
        "nothing" => Vec::new(),
        _ => rest.pieces(',').map(|word| word.trim().parse("an address")).collect::<Result<_, _>>()?,
    };
    Ok(Fact::Resolves(name, addresses))
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname(name) => write!(f, "hostname is {name}"),
            Self::SeesProcesses(node) => write!(f, "sees processes of {node}"),
            Self::SeesNoProcesses(node) => write!(f, "sees no processes of {node}"),
            Self::HasOwn(kind) => write!(f, "has own {kind}"),
            Self::Shares(kind, node) => write!(f, "shares {kind} with {node}"),
            Self::Resolves(name, addresses) => {
                write!(f, "resolves {name} to ")?;
                match addresses.split_first() {
                    None => f.write_str("nothing"),
                    Some((first, rest)) => {
                        first.fmt(f)?;
                        rest.iter().try_for_each(|address| write!(f, ", {address}"))
                    }
                }
            }
        }
    }
}
