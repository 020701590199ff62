//! What whoever asks and whoever listens say to each other: a head of 16 bytes, and what the kind of it calls for.
//!
//! ```text
//!  0      4        8                16
//!  sea?   length   nonce            filled up to the length with zeros                      a question
//!  sea!   length   nonce            port (2), source that was seen (16), name of the node   an answer
//! ```
//!
//! Lengths count the head and are, as ports, big endian; an IPv4 source is written as an IPv6 address that maps it
//! (RFC 4291, 2.5.5.2). Zeros end the name.

use std::net::{IpAddr, Ipv6Addr};

use crate::probe::Outcome;
use crate::topology::NodeName;

/// How a question begins.
pub(in crate::linux) const QUESTION: [u8; 4] = *b"sea?";
/// How an answer begins.
const ANSWER: [u8; 4] = *b"sea!";
/// How long a question is that asks for no size, in bytes.
pub(super) const QUESTION_BYTES: u16 = 32;
/// How long a head is, and so every question at least.
pub(in crate::linux) const HEAD_BYTES: usize = 16;
/// How long an answer is at least.
const ANSWER_BYTES: usize = 64;
/// Where the name begins in an answer.
const NAME_AT: usize = HEAD_BYTES + 2 + 16;

/// What a listener says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of the question that it answers.
    pub(super) nonce: u64,
    /// Who answers.
    pub(super) node: NodeName,
    /// On which port.
    pub(super) port: u16,
    /// Where the question came from.
    pub(super) saw: IpAddr,
}

/// How the bytes of a connection begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// As far as they go they may become either.
    Unclear,
    /// With a question, whole.
    Question {
        /// Its number.
        nonce: u64,
        /// Its length.
        bytes: usize,
    },
    /// With a request of HTTP's.
    Http,
    /// With what nobody here answers.
    Other,
}

/// A question as long as is wanted, and never shorter than its head.
pub(super) fn question(nonce: u64, size: u16) -> Vec<u8> {
    message(QUESTION, nonce, usize::from(size).max(HEAD_BYTES))
}

/// The number of a question, as far as the head tells.
pub(in crate::linux) fn number(bytes: &[u8]) -> Option<u64> {
    head(QUESTION, bytes).map(|(nonce, _)| nonce)
}

/// The number of a question that is all there, as a datagram's is.
pub(super) fn asked(bytes: &[u8]) -> Option<u64> {
    head(QUESTION, bytes).filter(|(_, length)| *length <= bytes.len()).map(|(nonce, _)| nonce)
}

/// How a connection begins.
pub(super) fn start(bytes: &[u8]) -> Start {
    const METHODS: [&[u8]; 5] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS "];
    if METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Start::Http;
    }
    if let Some((nonce, length)) = head(QUESTION, bytes) {
        return if length <= bytes.len() { Start::Question { nonce, bytes: length } } else { Start::Unclear };
    }
    let may_be =
        |word: &[u8]| word.starts_with(bytes) || (bytes.starts_with(word) && bytes.len() < HEAD_BYTES);
    let unclear = may_be(&QUESTION) || METHODS.iter().any(|method| method.starts_with(bytes));
    if unclear { Start::Unclear } else { Start::Other }
}

impl Answer {
    /// As bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let name = self.node.as_str().as_bytes();
        let mut bytes = message(ANSWER, self.nonce, (NAME_AT + name.len()).max(ANSWER_BYTES));
        let saw = match self.saw {
            IpAddr::V4(saw) => saw.to_ipv6_mapped(),
            IpAddr::V6(saw) => saw,
        };
        bytes.splice(HEAD_BYTES..HEAD_BYTES + 2, self.port.to_be_bytes());
        bytes.splice(HEAD_BYTES + 2..NAME_AT, saw.octets());
        bytes.splice(NAME_AT..NAME_AT + name.len(), name.iter().copied());
        bytes
    }

    /// From bytes that begin with one, whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (nonce, length) = head(ANSWER, bytes)?;
        let body = bytes.get(HEAD_BYTES..length)?;
        let (port, rest) = body.split_first_chunk()?;
        let (saw, name) = rest.split_first_chunk::<16>()?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some(Self {
            nonce,
            node: NodeName::from(String::from_utf8(name.to_vec()).ok()?),
            port: u16::from_be_bytes(*port),
            saw: IpAddr::V6(Ipv6Addr::from(*saw)).to_canonical(),
        })
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self::Reaches { node: answer.node, port: Some(answer.port), from: Some(answer.saw) }
    }
}

fn message(kind: [u8; 4], nonce: u64, length: usize) -> Vec<u8> {
    let mut bytes = kind.to_vec();
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(nonce.to_be_bytes());
    bytes.resize(length, 0);
    bytes
}

/// The number and the length of a message of this kind; none where it is too long to be one of ours.
fn head(kind: [u8; 4], bytes: &[u8]) -> Option<(u64, usize)> {
    let rest = bytes.strip_prefix(&kind)?;
    let (length, rest) = rest.split_first_chunk()?;
    let nonce = rest.first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let ours = HEAD_BYTES..=usize::from(u16::MAX);
    ours.contains(&length).then(|| (u64::from_be_bytes(*nonce), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_who_where_and_from_whom() {
        for saw in ["203.0.113.50", "2001:db8::50"] {
            let answer = Answer { nonce: 7, node: "web".into(), port: 80, saw: saw.parse().unwrap() };
            let bytes = answer.to_bytes();
            assert_eq!(bytes.len(), 64);
            assert_eq!(Answer::read(&bytes), Some(answer));
            assert_eq!(Answer::read(&bytes[..63]), None);
        }
    }

    #[test]
    fn a_long_name_is_said_whole() {
        let node = NodeName::from("b/".repeat(100));
        let answer = Answer { nonce: 7, node, port: 80, saw: IpAddr::from([10, 0, 0, 1]) };
        assert_eq!(Answer::read(&answer.to_bytes()), Some(answer));
    }

    #[test]
    fn a_question_is_as_long_as_is_asked_and_holds_its_number() {
        for (size, bytes) in [(0, 16), (16, 16), (32, 32), (u16::MAX, 65_535)] {
            let question = question(0xfeed, size);
            assert_eq!((question.len(), asked(&question)), (bytes, Some(0xfeed)), "{size}");
            assert_eq!(start(&question), Start::Question { nonce: 0xfeed, bytes });
            assert_eq!(asked(&question[..bytes - 1]), None, "{size}");
        }
    }

    #[test]
    fn what_may_become_a_question_is_waited_for() {
        let whole = question(1, 20);
        for end in 0..20 {
            assert_eq!(start(&whole[..end]), Start::Unclear, "{end}");
        }
        assert_eq!(start(b"GE"), Start::Unclear);
        assert_eq!(start(b"GET / HTTP/1.1\r\n"), Start::Http);
        for other in
            [&b"\n"[..], b"sea!............", b"sea?\xff\xff\xff\xff........", b"sea?\0\0\0\x01........"]
        {
            assert_eq!(start(other), Start::Other, "{other:?}");
        }
    }
}
