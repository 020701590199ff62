//! An outcome's text: `reaches web:80 from 203.0.113.50`.

use std::fmt;

use super::TextError;
use super::line::{Line, Word};
use crate::probe::{Outcome, Unreachable};

const OUTCOME: &str = "an outcome: reaches NODE[:PORT] [from IP], refused, closed, unreachable [(REASON)], dropped, \
                       no-route, unknown-name or depends [(RULE: WHAT)]";
const REASON: &str = "a reason: net, host, protocol, prohibited, too big or time exceeded";

pub(super) fn read(line: &mut Line<'_>) -> Result<Outcome, TextError> {
    let word = line.word(OUTCOME)?;
    match word.text {
        "reaches" => reaches(line),
        "refused" => Ok(Outcome::Refused),
        "closed" => Ok(Outcome::Closed),
        "dropped" => Ok(Outcome::Dropped),
        "no-route" => Ok(Outcome::NoRoute),
        "unknown-name" => Ok(Outcome::UnknownName),
        "unreachable" => {
            let reason = parenthesis(line)?.map(|inner| reason_of(inner.trim())).transpose()?;
            Ok(Outcome::Unreachable(reason))
        }
        "depends" => depends(line),
        _ => Err(word.error(OUTCOME)),
    }
}

fn reaches(line: &mut Line<'_>) -> Result<Outcome, TextError> {
    let (node, port) = line.word("who answers: NODE or NODE:PORT")?.split(':');
    let (node, port) = (node.node()?, port.map(Word::port).transpose()?);
    let from = if line.take("from") {
        Some(line.word("the source that was seen")?.parse("an address")?)
    } else {
        None
    };
    Ok(Outcome::Reaches { node, port, from })
}

fn depends(line: &mut Line<'_>) -> Result<Outcome, TextError> {
    let Some(inner) = parenthesis(line)? else {
        return Ok(Outcome::Depends { rule: String::new(), what: String::new() });
    };
    let (rule, what) =
        inner.text.rsplit_once(": ").ok_or_else(|| inner.error("RULE: WHAT, a colon between them"))?;
    Ok(Outcome::Depends { rule: rule.trim().to_owned(), what: what.trim().to_owned() })
}

/// What stands in parentheses up to the end of the line; none where nothing is left.
fn parenthesis<'a>(line: &mut Line<'a>) -> Result<Option<Word<'a>>, TextError> {
    let rest = line.take_rest();
    if rest.text.is_empty() {
        return Ok(None);
    }
    let inner = rest.text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
    let inner = inner.ok_or_else(|| rest.error("nothing more, or something in parentheses"))?;
    Ok(Some(Word { text: inner, start: rest.start + 1 }))
}

/// A reason that is all of a line.
pub(super) fn reason(line: &mut Line<'_>) -> Result<Unreachable, TextError> {
    reason_of(line.take_rest())
}

fn reason_of(word: Word<'_>) -> Result<Unreachable, TextError> {
    Unreachable::ALL.into_iter().find(|r| r.as_str() == word.text).ok_or_else(|| word.error(REASON))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reaches { node, port, from } => {
                write!(f, "reaches {node}")?;
                port.iter().try_for_each(|port| write!(f, ":{port}"))?;
                from.iter().try_for_each(|from| write!(f, " from {from}"))
            }
            Self::Refused => f.write_str("refused"),
            Self::Closed => f.write_str("closed"),
            Self::Unreachable(None) => f.write_str("unreachable"),
            Self::Unreachable(Some(reason)) => write!(f, "unreachable ({reason})"),
            Self::Dropped => f.write_str("dropped"),
            Self::NoRoute => f.write_str("no-route"),
            Self::UnknownName => f.write_str("unknown-name"),
            Self::Depends { rule, what } if rule.is_empty() && what.is_empty() => f.write_str("depends"),
            Self::Depends { rule, what } => write!(f, "depends ({rule}: {what})"),
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
