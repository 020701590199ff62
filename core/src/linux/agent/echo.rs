//! Echo requests: by a ping socket where this process may have one, and otherwise by a raw one (man 7 icmp), as ping(8)
//! does.

use std::os::fd::OwnedFd;

use nix::sys::socket::{SockProtocol, SockType};

use super::ask::{Failure, Question, exchange, within};
use super::socket::Speech;
use super::told::Told;
use super::words;
use crate::addr::Family;
use crate::linux::Error;
use crate::probe::Outcome;
use crate::topology::NodeName;

/// Bytes of the header of an echo (RFC 792, RFC 4443, 4.1).
const HEADER_BYTES: usize = 8;

/// Asks for an echo. Who answers is not in one: `reaches` names this node, and the stage says who saw the request.
pub(super) async fn echo(question: Question, node: &NodeName) -> Result<Outcome, Error> {
    within(by_echo(question, node)).await
}

async fn by_echo(question: Question, node: &NodeName) -> Result<Outcome, Failure> {
    let (fd, raw) = open(&question)?;
    question.connect(&fd)?;
    let family = question.family();
    let id = identifier(question.nonce);
    let request = request(family, id, &question.to_bytes());
    let take = |bytes: &[u8]| {
        let message = if raw && family == Family::V4 { behind_ip(bytes)? } else { bytes };
        let reply = message.first() == Some(&kinds(family).1);
        let mine = words::asked(message.get(HEADER_BYTES..)?) == Some(question.nonce);
        let reaches = || Outcome::Reaches { node: node.clone(), port: None, from: None };
        (reply && mine).then(reaches)
    };
    // A raw socket is told of every echo to this address; a ping socket has an identifier of its own.
    let mine = |told: &Told| !raw || told.quote.get(4..6) == Some(&id.to_be_bytes());
    exchange(question, fd, &request, take, mine).await
}

/// The socket, and whether it is a raw one.
fn open(question: &Question) -> Result<(OwnedFd, bool), Failure> {
    let family = question.family();
    let protocol = match family {
        Family::V4 => SockProtocol::Icmp,
        Family::V6 => SockProtocol::IcmpV6,
    };
    let ping = Speech { family, kind: SockType::Datagram, protocol };
    let raw = Speech { kind: SockType::Raw, ..ping };
    let (fd, raw) = match ping.open() {
        Ok(fd) => (fd, false),
        // Outside net.ipv4.ping_group_range, or a kernel without such sockets.
        Err(_) => (raw.open().map_err(|errno| raw.refused(errno))?, true),
    };
    Ok((question.prepare(fd)?, raw))
}

/// Requests and replies (RFC 792, RFC 4443).
const fn kinds(family: Family) -> (u8, u8) {
    match family {
        Family::V4 => (8, 0),
        Family::V6 => (128, 129),
    }
}

/// Tells echoes of one raw socket from those of another.
pub(super) const fn identifier(nonce: u64) -> u16 {
    let [.., high, low] = nonce.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// An echo request with sequence number 1. A ping socket puts its own identifier in; the kernel sums up all but what a
/// raw IPv4 socket sends.
fn request(family: Family, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kinds(family).0, 0, 0, 0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(1u16.to_be_bytes());
    bytes.extend(payload);
    let sum = checksum(&bytes).to_be_bytes();
    bytes.splice(2..4, sum);
    bytes
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// What follows an IPv4 header.
fn behind_ip(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(bytes.first()? & 0xf) * 4;
    bytes.get(length..)
}
