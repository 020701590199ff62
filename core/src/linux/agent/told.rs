//! What comes back about a packet that did not arrive: ICMP errors by their type and code (man 7 ip, IP_RECVERR), and
//! error numbers where there is no more.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

use crate::addr::Family;
use crate::probe::{Outcome, Unreachable};

/// How much of the packet that an error quotes is looked at, in bytes.
const QUOTE_BYTES: usize = 64;

/// An error that waited in a socket's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// What it means.
    pub(super) outcome: Outcome,
    /// What it quotes of the packet, from the header of the socket's own protocol on where that is ICMP, and from the
    /// payload on otherwise.
    pub(super) quote: Vec<u8>,
}

/// The next error in the socket's queue; none where there is none, or the kernel is too old to queue it (TCP's: 5.17).
pub(super) fn next(fd: &OwnedFd) -> Option<Told> {
    loop {
        if let Some(told) = one(fd).ok()? {
            return Some(told);
        }
    }
}

/// One message of the queue; `None` for one that says nothing.
#[expect(clippy::wildcard_enum_match_arm, reason = "control messages are the kernel's")]
fn one(fd: &OwnedFd) -> nix::Result<Option<Told>> {
    let mut quote = [0; QUOTE_BYTES];
    let mut control = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut parts = [IoSliceMut::new(&mut quote)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let outcome = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            meaning(&error)
        }
        _ => None,
    });
    let bytes = message.bytes;
    Ok(outcome.map(|outcome| Told { outcome, quote: quote.get(..bytes).unwrap_or_default().to_vec() }))
}

fn meaning(error: &libc::sock_extended_err) -> Option<Outcome> {
    let by = |family| Some(of_icmp(family, error.ee_type, error.ee_code));
    match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => by(Family::V4),
        libc::SO_EE_ORIGIN_ICMP6 => by(Family::V6),
        libc::SO_EE_ORIGIN_LOCAL => {
            i32::try_from(error.ee_errno).ok().and_then(|n| of_errno(Errno::from_raw(n)))
        }
        _ => None,
    }
}

/// What a type and a code mean (RFC 792, RFC 1812, RFC 4443).
pub(super) const fn of_icmp(family: Family, kind: u8, code: u8) -> Outcome {
    let reason = match (family, kind, code) {
        (Family::V4, 3, 3) | (Family::V6, 1, 4) => return Outcome::Refused,
        (Family::V4, 3, 2) | (Family::V6, 4, _) => Unreachable::Protocol,
        (Family::V4, 3, 4) | (Family::V6, 2, _) => Unreachable::TooBig,
        (Family::V4, 3, 9 | 10 | 13) | (Family::V6, 1, 1 | 5 | 6) => Unreachable::Prohibited,
        (Family::V4, 3, 1 | 5 | 7 | 8 | 12) | (Family::V6, 1, 3) => Unreachable::Host,
        (Family::V4, 11, _) | (Family::V6, 3, _) => Unreachable::TimeExceeded,
        (Family::V4 | Family::V6, _, _) => Unreachable::Net,
    };
    Outcome::Unreachable(Some(reason))
}

/// What a socket's pending error means, as far as its number tells (`icmp_err_convert`, `tab_unreach`); none where it
/// is no such error.
#[expect(clippy::wildcard_enum_match_arm, reason = "error numbers are the kernel's")]
pub(super) const fn of_errno(errno: Errno) -> Option<Outcome> {
    let reason = match errno {
        Errno::ECONNREFUSED => return Some(Outcome::Refused),
        Errno::ETIMEDOUT => return Some(Outcome::Dropped),
        Errno::ENOPROTOOPT | Errno::EPROTO => Unreachable::Protocol,
        Errno::EMSGSIZE => Unreachable::TooBig,
        Errno::EACCES => Unreachable::Prohibited,
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::EOPNOTSUPP => Unreachable::Host,
        Errno::ENETUNREACH | Errno::ENONET => Unreachable::Net,
        _ => return None,
    };
    Some(Outcome::Unreachable(Some(reason)))
}
