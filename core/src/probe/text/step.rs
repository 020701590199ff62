//! A step's text: `cut web.eth0`, `wait 31s`, `rule host "iptables -A …"`, or an expectation.

use std::fmt;

use super::TextError;
use super::fault;
use super::line::{Line, Word};
use crate::probe::{Change, Step};
use crate::topology::NodeName;

const CHANGE: &str = "a change: stop, start or replace NODE, connect or disconnect NODE NET, rule NODE \"…\", or a \
                      fault of NODE.DEV: heal, cut, loss, delay, reorder, duplicate, corrupt, rate, mtu or flap";
const STEP: &str = "a step: a probe, a fact, stop, start, replace, connect, disconnect, rule, heal, cut, loss, delay, \
                    reorder, duplicate, corrupt, rate, mtu, flap, wait or at";
pub(super) const TIME: &str = "a time, as in 31s, 500ms or 2m";

pub(super) fn read(line: &mut Line<'_>) -> Result<Step, TextError> {
    let word = line.rest().text.split_whitespace().next().unwrap_or_default();
    match word {
        _ if is_expectation(line) => super::expectation(line).map(Step::Expect),
        "wait" => {
            line.keyword(word)?;
            Ok(Step::WaitMs(milliseconds(line.word(TIME)?)?))
        }
        "at:" => {
            line.keyword(word)?;
            Ok(Step::AtMs(milliseconds(line.word(TIME)?)?))
        }
        "stop" | "start" | "replace" | "connect" | "disconnect" | "rule" => change(line).map(Step::Change),
        _ if fault::KINDS.contains(&word) => change(line).map(Step::Change),
        "" => Err(line.missing(STEP)),
        _ => Err(line.word(STEP)?.error(STEP)),
    }
}

/// A probe has an arrow. A fact has four words at least, a change whose second is a word of facts three at most: `rule`
/// alone has more, and its third starts with a quote.
fn is_expectation(line: &Line<'_>) -> bool {
    let mut words = line.rest().text.split_whitespace().skip(1);
    let fact = words.next().is_some_and(super::fact::starts);
    let third = words.next().is_some_and(|w| !w.starts_with('"'));
    line.has_arrow() || (fact && third && words.next().is_some())
}

pub(super) fn change(line: &mut Line<'_>) -> Result<Change, TextError> {
    let word = line.word(CHANGE)?;
    match word.text {
        "stop" => Ok(Change::Stop(node(line)?)),
        "start" => Ok(Change::Start(node(line)?)),
        "replace" => Ok(Change::Replace(node(line)?)),
        "connect" => Ok(Change::Connect(node(line)?, network(line)?)),
        "disconnect" => Ok(Change::Disconnect(node(line)?, network(line)?)),
        "rule" => Ok(Change::Rule(node(line)?, quoted(line)?)),
        _ if fault::KINDS.contains(&word.text) => {
            fault::read(line, word.text).map(|(node, device, fault)| Change::Fault(node, device, fault))
        }
        _ => Err(word.error(CHANGE)),
    }
}

fn node(line: &mut Line<'_>) -> Result<NodeName, TextError> {
    line.word("a node")?.node()
}

fn network(line: &mut Line<'_>) -> Result<String, TextError> {
    Ok(line.word("a network: its key in the compose file, or bridge")?.text.to_owned())
}

/// A command in double quotes; `\"` and `\\` stand for `"` and `\`.
fn quoted(line: &mut Line<'_>) -> Result<String, TextError> {
    let expected = "a command in double quotes, as in \"iptables -A FORWARD -j DROP\"";
    let word = line.take_rest();
    if word.text.is_empty() {
        return Err(line.missing(expected));
    }
    let bad = || word.error(expected);
    let inner = word.text.strip_prefix('"').ok_or_else(bad)?;
    let (mut out, mut chars) = (String::new(), inner.chars());
    loop {
        match chars.next().ok_or_else(bad)? {
            '"' => break,
            '\\' => out.push(chars.next().filter(|c| matches!(c, '"' | '\\')).ok_or_else(bad)?),
            c => out.push(c),
        }
    }
    let after = chars.as_str();
    let end = Word { text: after, start: word.start + word.text.len() - after.len() };
    if after.is_empty() { Ok(out) } else { Err(end.trim().error("the end of the line")) }
}

pub(super) fn milliseconds(word: Word<'_>) -> Result<u64, TextError> {
    let digits = word.text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(word.error(TIME)),
    };
    let number = number.parse::<u64>().ok();
    number.and_then(|n| n.checked_mul(factor)).ok_or_else(|| word.error(TIME))
}

/// A time in the largest unit that holds it whole.
pub(super) struct Time(pub(super) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop(node) => write!(f, "stop {node}"),
            Self::Start(node) => write!(f, "start {node}"),
            Self::Replace(node) => write!(f, "replace {node}"),
            Self::Connect(node, network) => write!(f, "connect {node} {network}"),
            Self::Disconnect(node, network) => write!(f, "disconnect {node} {network}"),
            Self::Rule(node, command) => {
                write!(f, "rule {node} \"{}\"", command.replace('\\', r"\\").replace('"', "\\\""))
            }
            Self::Fault(node, device, fault) => write!(f, "{fault} {}", fault::Device(node, device)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expect(expectation) => expectation.fmt(f),
            Self::Change(change) => change.fmt(f),
            Self::WaitMs(ms) => write!(f, "wait {}", Time(*ms)),
            Self::AtMs(ms) => write!(f, "at: {}", Time(*ms)),
        }
    }
}
