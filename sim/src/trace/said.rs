//! What is said of a hop and put into words only when somebody reads it: most traces are read by nobody.

use std::fmt;
use std::net::IpAddr;

use seatrial_core::addr::{Family, IfName};
use serde::{Serialize, Serializer};

use crate::packet::endpoint;
use crate::stack::socket::Sort;

/// A route, as `ip route get` says it: `203.0.113.50 dev eth0 src 203.0.113.10` of a packet that begins here,
/// `172.18.0.2 from 203.0.113.50 dev docker0` of one that is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    pub(crate) dst: IpAddr,
    pub(crate) src: IpAddr,
    /// Whether the packet is passed on.
    pub(crate) passes: bool,
    /// Whether the destination is this machine's own.
    pub(crate) local: bool,
    pub(crate) via: Option<IpAddr>,
    pub(crate) dev: IfName,
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dst, src, passes, local, via, dev } = self;
        if *local {
            f.write_str("local ")?;
        }
        write!(f, "{dst}")?;
        if *passes {
            write!(f, " from {src}")?;
        }
        if let Some(via) = via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {dev}")?;
        if *passes { Ok(()) } else { write!(f, " src {src}") }
    }
}

/// As text.
impl Serialize for Course {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A socket: `listener tcp 0.0.0.0:80`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Whose it is.
    pub(crate) what: &'static str,
    pub(crate) sort: Sort,
    pub(crate) address: Option<IpAddr>,
    pub(crate) family: Option<Family>,
    pub(crate) port: u16,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, sort, address, family, port } = self;
        let any = match family {
            Some(Family::V4) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            Some(Family::V6) | None => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        write!(f, "{what} {}", sort.as_str())?;
        match sort {
            Sort::Echo => Ok(()),
            Sort::Tcp | Sort::Udp | Sort::Sctp => {
                write!(f, " {}", endpoint(address.unwrap_or(any), Some(*port)))
            }
        }
    }
}

/// As text.
impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
