//! Sockets with the options that probes have.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SetSockOpt, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket,
    sockopt,
};
use nix::{setsockopt_impl, sockopt_impl};

use tokio::io::unix::AsyncFd;

use crate::addr::{Family, Transport};
use crate::linux::Error;
use crate::probe::ProbeOptions;

sockopt_impl!(
    /// Whether datagrams may be cut (man 7 ip, IP_MTU_DISCOVER).
    MtuDiscover, SetOnly, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, i32
);
sockopt_impl!(
    /// The same of IPv6 (man 7 ipv6, IPV6_MTU_DISCOVER).
    Ipv6MtuDiscover, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, i32
);

/// What a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speech {
    pub(super) family: Family,
    pub(super) kind: SockType,
    pub(super) protocol: SockProtocol,
}

impl Speech {
    /// Of a transport.
    pub(super) const fn of(transport: Transport, family: Family) -> Self {
        let (kind, protocol) = match transport {
            Transport::Tcp => (SockType::Stream, SockProtocol::Tcp),
            Transport::Udp => (SockType::Datagram, SockProtocol::Udp),
            Transport::Sctp => (SockType::Stream, SockProtocol::Sctp),
        };
        Self { family, kind, protocol }
    }

    /// A socket that waits for nothing.
    pub(super) fn open(self) -> nix::Result<OwnedFd> {
        let family = match self.family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        socket(family, self.kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, self.protocol)
    }

    /// Why there is no such socket.
    pub(super) fn refused(self, errno: Errno) -> Error {
        let error = failed("open", format!("a socket of IPv{}", self.family.number()), errno);
        match (errno, self.protocol) {
            (Errno::EAFNOSUPPORT, _) => error.missing("a kernel with CONFIG_IPV6"),
            (Errno::EPROTONOSUPPORT, SockProtocol::Sctp) => error.missing("a kernel with CONFIG_IP_SCTP"),
            (Errno::EPERM | Errno::EACCES, _) => error.help("the capability NET_RAW"),
            _ => error,
        }
    }
}

/// Sets what a probe's options ask for.
pub(super) fn set(fd: &OwnedFd, family: Family, options: &ProbeOptions) -> Result<(), Error> {
    let what = |name: &'static str| move |errno| failed("set", name, errno);
    match family {
        Family::V4 => option(fd, sockopt::Ipv4RecvErr, &true).map_err(what("IP_RECVERR"))?,
        Family::V6 => option(fd, sockopt::Ipv6RecvErr, &true).map_err(what("IPV6_RECVERR"))?,
    }
    if let Some(ttl) = options.ttl {
        let ttl = i32::from(ttl);
        match family {
            Family::V4 => option(fd, sockopt::Ipv4Ttl, &ttl).map_err(what("IP_TTL"))?,
            Family::V6 => option(fd, sockopt::Ipv6Ttl, &ttl).map_err(what("IPV6_UNICAST_HOPS"))?,
        }
    }
    if options.df {
        match family {
            Family::V4 => option(fd, MtuDiscover, &libc::IP_PMTUDISC_DO),
            Family::V6 => option(fd, Ipv6MtuDiscover, &libc::IPV6_PMTUDISC_DO),
        }
        .map_err(what("don't fragment"))?;
    }
    if let Some(mark) = options.mark {
        let rights = "the capability NET_ADMIN, or since Linux 5.17 NET_RAW";
        option(fd, sockopt::Mark, &mark).map_err(|errno| what("SO_MARK")(errno).help(rights))?;
    }
    Ok(())
}

/// Sets one option.
pub(super) fn option<O: SetSockOpt>(fd: &OwnedFd, option: O, value: &O::Val) -> nix::Result<()> {
    setsockopt(fd, option, value)
}

/// A descriptor that can be waited for.
pub(in crate::linux) fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and the same, until it is dropped; the `AsyncFd` owns it until then.
    Ok(unsafe { AsyncFd::register(fd)? })
}

/// Binds a socket to an address.
pub(super) fn bind_to(fd: &OwnedFd, address: IpAddr, port: u16) -> nix::Result<()> {
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, port)))
}

/// Any address of a family.
pub(super) const fn any(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// A system call's failure.
pub(super) fn failed(operation: &str, object: impl Into<String>, errno: Errno) -> Error {
    Error::new(operation, object, &io::Error::from(errno))
}
