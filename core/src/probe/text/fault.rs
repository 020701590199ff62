//! A fault's text: `cut in web.eth0`, `delay 100ms 20ms web.eth0`, `rate 1mbit out web.eth0`.
//!
//! A word, its values, the way where it is only one of both, and the device.

use std::fmt;

use super::TextError;
use super::line::{Line, Word};
use super::step::{TIME, Time, milliseconds};
use crate::addr::IfName;
use crate::probe::{Fault, Way};
use crate::topology::NodeName;

/// The words that faults begin with.
pub(super) const KINDS: [&str; 10] =
    ["heal", "cut", "loss", "delay", "reorder", "duplicate", "corrupt", "rate", "mtu", "flap"];

const DEVICE: &str = "a node's device, as in web.eth0";
const WAY_OR_DEVICE: &str =
    "a node's device, as in web.eth0, with in or out before it where only one way is meant";
const SHARE: &str = "a share of packets from 0% to 100%";
const RATE: &str = "a rate from 1bit to 100gbit, as in 1mbit or 64kbit";
/// Units of a rate, powers of 1000 (man 8 tc).
const UNITS: [(&str, u64); 4] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
const FASTEST: u64 = 100 * 1_000_000_000;

/// Reads what follows a word of [`KINDS`].
pub(super) fn read(line: &mut Line<'_>, kind: &str) -> Result<(NodeName, IfName, Fault), TextError> {
    let fault = match kind {
        "heal" => Fault::Heal,
        "loss" => share(line).and_then(|share| Ok(Fault::Loss(way(line)?, share)))?,
        "reorder" => share(line).and_then(|share| Ok(Fault::Reorder(way(line)?, share)))?,
        "duplicate" => share(line).and_then(|share| Ok(Fault::Duplicate(way(line)?, share)))?,
        "corrupt" => share(line).and_then(|share| Ok(Fault::Corrupt(way(line)?, share)))?,
        "delay" => {
            let (delay_ms, jitter_ms) = delay(line)?;
            Fault::Delay(way(line)?, delay_ms, jitter_ms)
        }
        "rate" => rate(line.word(RATE)?).and_then(|rate| Ok(Fault::Rate(way(line)?, rate)))?,
        "mtu" => {
            let expected = "an MTU from 1280, the least that IPv6 has, to 65535";
            Fault::Mtu(line.word(expected)?.number(1280..=65535, expected)?)
        }
        "flap" => {
            let word = line.word(TIME)?;
            match milliseconds(word)? {
                0 => return Err(word.error("a time above 0s")),
                ms => Fault::Flap(ms),
            }
        }
        _ => Fault::Cut(way(line)?),
    };
    let (node, device) = device(line)?;
    Ok((node, device, fault))
}

fn way(line: &mut Line<'_>) -> Result<Way, TextError> {
    line.peek().ok_or_else(|| line.missing(WAY_OR_DEVICE))?;
    Ok(match () {
        () if line.take("in") => Way::In,
        () if line.take("out") => Way::Out,
        () => Way::Both,
    })
}

/// A time, and another where the next word begins with a digit and is no device.
fn delay(line: &mut Line<'_>) -> Result<(u64, u64), TextError> {
    let delay_ms = milliseconds(line.word(TIME)?)?;
    let is_time =
        |w: &Word<'_>| w.text.starts_with(|c: char| c.is_ascii_digit()) && split_device(*w).is_none();
    let Some(second) = line.peek().filter(is_time) else { return Ok((delay_ms, 0)) };
    let jitter_ms = milliseconds(line.word(TIME)?)?;
    if jitter_ms > delay_ms {
        return Err(second.error("a jitter that is no longer than the delay"));
    }
    Ok((delay_ms, jitter_ms))
}

fn share(line: &mut Line<'_>) -> Result<u8, TextError> {
    let word = line.word("a share of packets, as in 10%")?;
    let (number, after) = word.split('%');
    match after {
        Some(after) if after.text.is_empty() => number.number(0..=100, SHARE).map_err(|_| word.error(SHARE)),
        Some(_) | None => Err(word.error(SHARE)),
    }
}

/// Bits per second.
fn rate(word: Word<'_>) -> Result<u64, TextError> {
    let digits = word.text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let rate = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    rate.filter(|rate| (1..=FASTEST).contains(rate)).ok_or_else(|| word.error(RATE))
}

fn device(line: &mut Line<'_>) -> Result<(NodeName, IfName), TextError> {
    let word = line.word(DEVICE)?;
    let (node, device) = split_device(word).ok_or_else(|| word.error(DEVICE))?;
    let name = device.text.parse::<IfName>().map_err(|e| device.error(e.to_string()))?;
    Ok((node.node()?, name))
}

/// The device is what follows a colon, or the last dot; where that is a number, the last two parts.
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

/// A node's device, with a dot where that reads back, with a colon otherwise.
pub(super) struct Device<'a>(pub(super) &'a NodeName, pub(super) &'a IfName);

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

/// A way and the space behind it; both ways have no word.
struct Toward(Way);

impl fmt::Display for Toward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Way::In => f.write_str(" in"),
            Way::Out => f.write_str(" out"),
            Way::Both => Ok(()),
        }
    }
}

/// A rate in the largest unit that holds it whole.
struct Rate(u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor));
        let (unit, factor) = whole.copied().unwrap_or(("bit", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// Without the device.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Heal => f.write_str("heal"),
            Self::Cut(way) => write!(f, "cut{}", Toward(way)),
            Self::Loss(way, share) => write!(f, "loss {share}%{}", Toward(way)),
            Self::Delay(way, ms, 0) => write!(f, "delay {}{}", Time(ms), Toward(way)),
            Self::Delay(way, ms, jitter_ms) => {
                write!(f, "delay {} {}{}", Time(ms), Time(jitter_ms), Toward(way))
            }
            Self::Reorder(way, share) => write!(f, "reorder {share}%{}", Toward(way)),
            Self::Duplicate(way, share) => write!(f, "duplicate {share}%{}", Toward(way)),
            Self::Corrupt(way, share) => write!(f, "corrupt {share}%{}", Toward(way)),
            Self::Rate(way, rate) => write!(f, "rate {}{}", Rate(rate), Toward(way)),
            Self::Mtu(mtu) => write!(f, "mtu {mtu}"),
            Self::Flap(ms) => write!(f, "flap {}", Time(ms)),
        }
    }
}
