//! The small values everything else is made of: interface names, MAC addresses, transports, port ranges.
//!
//! IP networks are [`ipnet::IpNet`]: an address with its prefix length, host bits kept.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use ipnet::IpNet;

/// Why a small value could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddrError {
    /// Not a name Linux takes for a network device.
    #[error("'{0}' is not an interface name: 1 to 15 bytes without '/', ':' or white space, not '.' or '..'")]
    IfName(String),
    /// Not six hexadecimal bytes.
    #[error("'{0}' is not a MAC address: six hexadecimal bytes, as in 02:42:ac:11:00:02")]
    MacAddr(String),
    /// Not a transport protocol that has ports.
    #[error("'{0}' is not a transport protocol: tcp, udp or sctp")]
    Transport(String),
    /// Not a port or a range of ports.
    #[error("'{0}' is not a port or a range of ports: 1 to 65535, as in 80 or 8000-8010")]
    PortRange(String),
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// 4 or 6.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    /// The family of an address.
    #[must_use]
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The family of a network.
    #[must_use]
    pub const fn of_net(net: IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

/// The name of a network device: 1 to 15 bytes (`dev_valid_name`, net/core/dev.c). The sixteenth is its length, so that
/// names are compared as one number, as the kernel does (`ifname_compare_aligned`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName([u8; IFNAMSIZ]);

/// The room of a device's name and what ends it (`IFNAMSIZ`, uapi/linux/if.h).
const IFNAMSIZ: usize = 16;

impl IfName {
    /// The loopback device.
    #[must_use]
    pub fn lo() -> Self {
        Self::of("lo")
    }

    /// The first Ethernet device: a host's way out, and a container's.
    #[must_use]
    pub fn eth0() -> Self {
        Self::of("eth0")
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let [bytes @ .., len] = &self.0;
        // It was text when it was made.
        bytes.get(..usize::from(*len)).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// The name as a number, its first byte the lowest and its length the highest.
    #[must_use]
    pub const fn to_bits(&self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// A name that is no longer than 15 bytes.
    fn of(name: &str) -> Self {
        let mut bytes = [0; IFNAMSIZ];
        let [room @ .., len] = &mut bytes;
        room.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        *len = u8::try_from(name.len()).unwrap_or(u8::MAX);
        Self(bytes)
    }
}

/// As text.
impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IfName").field(&self.as_str()).finish()
    }
}

impl FromStr for IfName {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, AddrError> {
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
        if s.is_empty() || s.len() >= IFNAMSIZ || s == "." || s == ".." || s.contains(bad) {
            return Err(AddrError::IfName(s.to_owned()));
        }
        Ok(Self::of(s))
    }
}

impl TryFrom<String> for IfName {
    type Error = AddrError;

    fn try_from(s: String) -> Result<Self, AddrError> {
        s.parse()
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An Ethernet hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// All zero: the address of a device that has none.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether the group bit is set (IEEE 802): multicast, broadcast included.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl FromStr for MacAddr {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, AddrError> {
        let bad = || AddrError::MacAddr(s.to_owned());
        let mut bytes = [0; 6];
        let mut parts = s.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = AddrError;

    fn try_from(s: String) -> Result<Self, AddrError> {
        s.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A protocol with ports that Docker can publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
    /// SCTP (RFC 9260).
    Sctp,
}

impl Transport {
    /// The lower-case name, as `iptables -p` and compose files write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The number in the IP header (IANA, Assigned Internet Protocol Numbers).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl FromStr for Transport {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, AddrError> {
        match s.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(AddrError::Transport(s.to_owned())),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One port or an inclusive range of them; the first is never above the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// A range of one port.
    #[must_use]
    pub const fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// A range, or nothing where `first` is above `last`.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// The lowest port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many ports there are; never 0.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }

    /// Every port, ascending.
    #[must_use]
    pub const fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// Whether `port` is in the range.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for PortRange {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, AddrError> {
        let bad = || AddrError::PortRange(s.to_owned());
        let port = |t: &str| match t.parse::<u16>() {
            Ok(p) if p > 0 && t.bytes().all(|b| b.is_ascii_digit()) => Ok(p),
            Ok(_) | Err(_) => Err(bad()),
        };
        let (first, last) = s.split_once('-').unwrap_or((s, s));
        Self::new(port(first)?, port(last)?).ok_or_else(bad)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_obey_linux() {
        assert!("br-0123456789ab".parse::<IfName>().is_ok());
        for bad in ["", ".", "..", "a/b", "a b", "eth0:1", "sixteen-bytes-xx"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mac_address_survives_display() {
        let mac: MacAddr = "02:42:AC:11:00:02".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for bad in ["02:42:ac:11:00", "02:42:ac:11:00:02:03", "2:42:ac:11:0:2", "zz:42:ac:11:00:02"] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_range_is_never_empty_or_backwards() {
        assert_eq!("8000-8002".parse::<PortRange>().unwrap().count(), 3);
        for bad in ["", "0", "65536", "9-8", "+80", "80-", "a"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }
}
