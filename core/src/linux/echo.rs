//! Who answered an echo: that is not in the reply, so the stage hears the requests where they arrive.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::sock_filter;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, recvfrom, socket};

use super::Error;
use super::agent::words::{HEAD_BYTES, QUESTION, number};
use super::filter::{self, behind_ip, byte, byte_behind, ret, unless, word, word_behind};
use super::space::Space;

/// How many requests are remembered that nobody has asked for.
const REMEMBERED: usize = 4096;
/// The type of an echo request (RFC 792, RFC 4443, 4.1).
const REQUEST_V4: u32 = 8;
const REQUEST_V6: u32 = 128;
/// Where its payload begins.
const PAYLOAD: usize = 8;
/// How long an IPv4 header is at most, in bytes.
const IP_BYTES: usize = 60;
/// What is taken of a request: all that tells which one it is.
const TAKEN: u32 = (IP_BYTES + PAYLOAD + HEAD_BYTES) as u32;

/// The echo requests of agents that were delivered in a network namespace, by the number they carry.
#[derive(Debug)]
pub struct Echoes {
    v4: OwnedFd,
    /// None where the kernel has no IPv6.
    v6: Option<OwnedFd>,
    seen: RefCell<BTreeMap<u64, IpAddr>>,
}

impl Echoes {
    /// Listens in a network namespace from now on: raw sockets, which see what is delivered there, and what the
    /// namespace drops or forwards they do not (man 7 raw).
    ///
    /// # Errors
    /// Without the capability NET_RAW in the namespace.
    pub fn open(space: &Space) -> Result<Self, Error> {
        let failed = |errno: Errno| Error::new("open", "a raw ICMP socket", &errno.into());
        let opened = space.inside(|| {
            let v4 = raw(AddressFamily::Inet, SockProtocol::Icmp, &v4_filter())?;
            match raw(AddressFamily::Inet6, SockProtocol::IcmpV6, &v6_filter()) {
                Ok(v6) => Ok((v4, Some(v6))),
                Err(Errno::EAFNOSUPPORT) => Ok((v4, None)),
                Err(errno) => Err(errno),
            }
        });
        let opened = opened.map_err(|cause| Error::new("enter", "a network namespace", &cause))?;
        let (v4, v6) = opened.map_err(failed)?;
        Ok(Self { v4, v6, seen: RefCell::default() })
    }

    /// Whom the request of this number came from, if it was delivered here. It is told once.
    ///
    /// A reply leaves after the request was seen, so whoever has the reply need not wait.
    #[must_use]
    pub fn seen(&self, nonce: u64) -> Option<IpAddr> {
        let mut seen = self.seen.borrow_mut();
        for fd in std::iter::once(&self.v4).chain(&self.v6) {
            while let Some((nonce, from)) = next(fd) {
                seen.insert(nonce, from);
                if seen.len() > REMEMBERED {
                    seen.pop_first();
                }
            }
        }
        seen.remove(&nonce)
    }
}

fn raw(family: AddressFamily, protocol: SockProtocol, program: &[sock_filter]) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Raw, flags, protocol)?;
    filter::attach(&fd, program)?;
    Ok(fd)
}

/// The next request that waits.
fn next(fd: &OwnedFd) -> Option<(u64, IpAddr)> {
    let mut bytes = [0; TAKEN as usize];
    loop {
        let (length, from) = recvfrom::<SockaddrStorage>(fd.as_raw_fd(), &mut bytes).ok()?;
        let from = from?;
        let v4 = from.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let from = v4.or_else(|| from.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
        let message = bytes.get(..length).unwrap_or_default();
        // An IPv4 socket's have the IP header before them.
        let header = if from.is_ipv4() { usize::from(message.first()? & 0xf) * 4 } else { 0 };
        if let Some(nonce) = message.get(header + PAYLOAD..).and_then(number) {
            return Some((nonce, from));
        }
    }
}

/// Echo requests that ask a question: a person's ping does not fill the queue.
fn v4_filter() -> [sock_filter; 7] {
    [
        behind_ip(),
        byte_behind(0),
        unless(REQUEST_V4, 3),
        word_behind(8),
        unless(u32::from_be_bytes(QUESTION), 1),
        ret(TAKEN),
        ret(0),
    ]
}

/// The same, of a socket that is given no IP header.
fn v6_filter() -> [sock_filter; 6] {
    [byte(0), unless(REQUEST_V6, 3), word(8), unless(u32::from_be_bytes(QUESTION), 1), ret(TAKEN), ret(0)]
}
