//! A step's text: `cut web.eth0`, `wait 31s`, `rule host "iptables -A …"`, or an expectation.

use std::fmt;

use super::TextError;
use super::line::{Line, Word};
use crate::addr::IfName;
use crate::probe::{Change, Step};
use crate::topology::NodeName;

const CHANGE: &str = "a change: stop, start or replace NODE, connect or disconnect NODE NET, rule NODE \"…\", cut or \
                      heal NODE.DEV, or loss N% NODE.DEV";
const STEP: &str =
    "a step: a probe, a fact, stop, start, replace, connect, disconnect, rule, cut, heal, loss, wait or at";
const TIME: &str = "a time, as in 31s, 500ms or 2m";
const DEVICE: &str = "a node's device, as in web.eth0";

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
        "stop" | "start" | "replace" | "connect" | "disconnect" | "rule" | "cut" | "heal" | "loss" => {
            change(line).map(Step::Change)
        }
        "" => Err(line.missing(STEP)),
        _ => Err(line.word(STEP)?.error(STEP)),
    }
}

/// A probe has an arrow. A fact has four words at least, a change three at most: `rule` alone has more, and its third
/// starts with a quote.
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
        "cut" => device(line).map(|(node, device)| Change::Cut(node, device)),
        "heal" => device(line).map(|(node, device)| Change::Heal(node, device)),
        "loss" => {
            let percent = percent(line.word("a share of packets, as in 10%")?)?;
            device(line).map(|(node, device)| Change::Loss(node, device, percent))
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

fn percent(word: Word<'_>) -> Result<u8, TextError> {
    let expected = "a share of packets from 0% to 100%";
    let (number, after) = word.split('%');
    match after {
        Some(after) if after.text.is_empty() => {
            number.number(0..=100, expected).map_err(|_| word.error(expected))
        }
        Some(_) | None => Err(word.error(expected)),
    }
}

fn device(line: &mut Line<'_>) -> Result<(NodeName, IfName), TextError> {
    let word = line.word(DEVICE)?;
    let (node, device) = split_device(word).ok_or_else(|| word.error(DEVICE))?;
    let name = device.text.parse::<IfName>().map_err(|e| device.error(e.to_string()))?;
    Ok((node.node()?, name))
}

/// See the module's account of `NODE.DEV`.
fn split_device(word: Word<'_>) -> Option<(Word<'_>, Word<'_>)> {
    let at = match word.text.find(':') {
        Some(colon) => colon,
        None => {
            let dot = word.text.rfind('.')?;
            let (before, last) = word.text.split_at(dot);
            let vlan = last.len() > 1 && last.bytes().skip(1).all(|b| b.is_ascii_digit());
            if vlan { before.rfind('.')? } else { dot }
        }
    };
    let (node, device) = (word.text.get(..at)?, word.text.get(at + 1..)?);
    Some((Word { text: node, ..word }, Word { text: device, start: word.start + at + 1 }))
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

fn milliseconds(word: Word<'_>) -> Result<u64, TextError> {
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
struct Time(u64);

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

/// A node's device, with a dot where that reads back, with a colon otherwise.
struct Device<'a>(&'a NodeName, &'a IfName);

impl fmt::Display for Device<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(node, device) = self;
        let dotted = format!("{node}.{device}");
        let back = split_device(Word { text: &dotted, start: 0 });
        match back {
            Some((n, d)) if n.text == node.as_str() && d.text == device.as_str() => f.write_str(&dotted),
            Some(_) | None => write!(f, "{node}:{device}"),
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
            Self::Cut(node, device) => write!(f, "cut {}", Device(node, device)),
            Self::Heal(node, device) => write!(f, "heal {}", Device(node, device)),
            Self::Loss(node, device, percent) => write!(f, "loss {percent}% {}", Device(node, device)),
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
