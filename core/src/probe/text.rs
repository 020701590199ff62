//! The one-line language of probes, outcomes, facts, changes and steps: each type's `FromStr` and `Display`.
//!
//! ```text
//! PROBE    NODE -> TARGET[:PORT]/PROTO[,OPTION…]      TARGET an address, [IPv6] or a name; white space around -> at will
//!          PROTO tcp udp sctp icmp, each with 4 or 6 if need be
//!          OPTION from=IP[:PORT] raw ttl=N size=N df mark=N
//! OUTCOME  reaches NODE[:PORT] [from IP] | refused | closed | unreachable [(REASON)] | dropped | no-route
//!          | unknown-name | depends [(RULE: WHAT)]
//!          REASON net host protocol prohibited "too big" "time exceeded"
//! FACT     hostname is NAME | domainname is NAME
//!          | sees [no] THINGS of NODE | sees [no] files of NODE in PATH     THINGS processes sockets "ipc objects"
//!          | sees pid of NODE as N | sees pid of NODE as the same | sees pid of NODE as another
//!          | sees uid N of NODE as N | sees gid N of NODE as N
//!          | has own NS | shares NS with NODE
//!          | has devices DEV[, DEV…] | has a mount at PATH | has no mount at PATH | has SIZE at PATH
//!          | has sysctl KEY = VALUE
//!          | has no route to ADDRESS | routes ADDRESS [via ADDRESS] dev DEV
//!          | writes in PATH | cannot write in PATH
//!          | resolves NAME to ADDRESS[, ADDRESS…] | resolves NAME to nothing
//!          SIZE bytes, or a number with k, m, g or t       PATH absolute, without `.`, `..` and `/` at its end
//! CHANGE   stop NODE | start NODE | replace NODE | connect NODE NET | disconnect NODE NET | rule NODE "COMMAND"
//!          | FAULT [in | out] NODE.DEV | mtu N NODE.DEV | flap TIME NODE.DEV | heal NODE.DEV
//! FAULT    cut | loss N% | delay TIME [TIME] | reorder N% | duplicate N% | corrupt N% | rate RATE
//!          RATE a number and bit, kbit, mbit or gbit
//! EXPECT   PROBE OUTCOME | NODE FACT
//! STEP     EXPECT | CHANGE | wait TIME | at: TIME          TIME a number and ms, s or m
//! ```
//!
//! A node's name is letters, digits, `_`, `-`, `.`, and `/` after a host's name. It holds no `>`, so the first `->` of a
//! line is the arrow, even in `web-->db:80/tcp`. A node may be called as a change is (`stop -> db:80/tcp dropped`,
//! `stop hostname is x`): a change never has an arrow after its first word, and no fact is as short as a change.
//!
//! In `NODE.DEV` the device is what follows the last dot, or, where that is a number, the last two parts:
//! `web.2.eth0` is eth0 of `web.2`, and `web.eth0.10` is VLAN 10 of web's eth0. A device with a dot elsewhere in its
//! name, or with nothing but digits, is written after a colon, which neither name can hold: `web:lan.a`.
//!
//! In `depends (RULE: WHAT)` the last `: ` separates the two.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;

use self::line::Line;
use super::{Change, Expectation, Fact, Outcome, Probe, Step, Unreachable};

mod fact;
mod fault;
mod line;
mod outcome;
mod question;
mod step;

/// What is wrong with a line, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{found} (expected {expected})")]
pub struct TextError {
    /// Where: bytes of the line; empty, at its end, where something is missing.
    pub span: Range<usize>,
    /// What stands there: a lower-case fragment.
    pub found: String,
    /// What was expected there.
    pub expected: String,
}

/// `FromStr` by a reader that must take the whole line.
macro_rules! read_line {
    ($($type:ty: $read:path,)*) => {$(
        impl FromStr for $type {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                let mut line = Line::new(text);
                let value = $read(&mut line)?;
                line.end()?;
                Ok(value)
            }
        }
    )*};
}

read_line! {
    Probe: question::read,
    Outcome: outcome::read,
    Unreachable: outcome::reason,
    Fact: fact::read,
    Expectation: expectation,
    Change: step::change,
    Step: step::read,
}

const EXPECTATION: &str = "a probe, as in web -> db:5432/tcp, or a fact, as in web hostname is web1";

/// A probe with its outcome, or a node with its fact.
fn expectation(line: &mut Line<'_>) -> Result<Expectation, TextError> {
    if line.has_arrow() {
        return Ok(Expectation::Probe(question::read(line)?, outcome::read(line)?));
    }
    let node = line.word(EXPECTATION)?.node()?;
    match line.peek() {
        Some(word) if !fact::starts(word.text) => {
            Err(word.error(format!("'->' and a target, or {}", fact::FACT)))
        }
        Some(_) | None => Ok(Expectation::Fact(node, fact::read(line)?)),
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(probe, outcome) => write!(f, "{probe} {outcome}"),
            Self::Fact(node, fact) => write!(f, "{node} {fact}"),
        }
    }
}

#[cfg(test)]
mod tests;
