//! What a rule asks of a packet.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::addr::{IfName, IpNet, PortRange};

/// A value, or everything but it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Is<T> {
    /// Whether a `!` stands before it.
    pub not: bool,
    /// The value.
    pub value: T,
}

impl<T> Is<T> {
    /// The value itself.
    pub const fn a(value: T) -> Self {
        Self { not: false, value }
    }

    /// Everything but the value.
    pub const fn not(value: T) -> Self {
        Self { not: true, value }
    }
}

/// A device name in a rule, as written: `eth0`, or `br-+` for all that begin so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IfPattern(pub String);

impl IfPattern {
    /// Whether the device is meant; a packet without a device there has the name "".
    #[must_use]
    pub fn matches(&self, device: &str) -> bool {
        match self.0.strip_suffix('+') {
            Some(prefix) => device.starts_with(prefix),
            None => self.0 == device,
        }
    }
}

/// An IP protocol by number; 0 is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP (RFC 792).
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);
}

/// A condition on a packet (man 8 iptables-extensions).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// `-s`.
    Source(Is<IpNet>),
    /// `-d`.
    Destination(Is<IpNet>),
    /// `-i`.
    InInterface(Is<IfPattern>),
    /// `-o`.
    OutInterface(Is<IfPattern>),
    /// nft's `iifname { … }`: one of several.
    InInterfaces(Is<BTreeSet<IfName>>),
    /// `-p`.
    Protocol(Is<Protocol>),
    /// `-f`: a fragment that is not the first.
    Fragment(Is<()>),
    /// `-m tcp`.
    Tcp(TcpMatch),
    /// `-m udp`.
    Udp(PortsMatch),
    /// `-m sctp`, ports only.
    Sctp(PortsMatch),
    /// `-m icmp --icmp-type`, `-m icmp6 --icmpv6-type`.
    Icmp(Is<IcmpType>),
    /// `-m addrtype`.
    AddrType(AddrTypeMatch),
    /// `-m conntrack`.
    Conntrack(ConntrackMatch),
    /// `-m state --state`: the old form of conntrack's states.
    State(Is<Vec<CtState>>),
    /// `-m mark`.
    Mark(Is<MarkValue>),
    /// `-m connmark`.
    ConnMark(Is<MarkValue>),
    /// `-m comment`.
    Comment(String),
    /// `-m multiport`.
    Multiport(MultiportMatch),
    /// `-m physdev`.
    PhysDev(PhysDevMatch),
    /// `-m set`: one of several networks.
    Set(Is<SetMatch>),
    /// `-m ttl`, of IPv4.
    Ttl(HopLimitMatch),
    /// `-m hl`, of IPv6.
    HopLimit(HopLimitMatch),
    /// A match this program does not model, as written: `-m MODULE` with its options.
    Other {
        /// The module's name.
        module: String,
        /// Everything after it, one word each, quoted as it was written.
        options: Vec<String>,
    },
}

/// Options of `-m tcp`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpMatch {
    /// `--sport`, `--dport`.
    pub ports: PortsMatch,
    /// `--tcp-flags MASK COMP`; `--syn` is `FIN,SYN,RST,ACK SYN`.
    pub flags: Option<Is<TcpFlagsMatch>>,
    /// `--tcp-option`.
    pub option: Option<Is<u8>>,
}

/// `--sport` and `--dport`; 0 is a port here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsMatch {
    /// `--sport`.
    pub source: Option<Is<PortRange>>,
    /// `--dport`.
    pub destination: Option<Is<PortRange>>,
}

/// `--tcp-flags`: of the flags in `mask` exactly those in `set` are set (bits as in RFC 9293: FIN 1, SYN 2, RST 4, …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpFlagsMatch {
    /// The flags that are looked at.
    pub mask: u8,
    /// Those of them that must be set.
    pub set: u8,
}

/// An ICMP type, and a code where one is asked for; `any` matches all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpType {
    /// The type; none for `any`.
    pub kind: Option<u8>,
    /// The code.
    pub code: Option<u8>,
}

/// What an address is to this namespace (`enum` in uapi/linux/rtnetlink.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AddrType {
    /// Nothing known.
    Unspec,
    /// An ordinary address.
    Unicast,
    /// One of the namespace's own.
    Local,
    /// A broadcast address.
    Broadcast,
    /// An anycast address.
    Anycast,
    /// A multicast address.
    Multicast,
    /// Dropped by a route.
    Blackhole,
    /// Refused by a route.
    Unreachable,
    /// Forbidden by a route.
    Prohibit,
    /// Left to another table.
    Throw,
}

/// Options of `-m addrtype`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddrTypeMatch {
    /// `--src-type`.
    pub source: Option<Is<Vec<AddrType>>>,
    /// `--dst-type`.
    pub destination: Option<Is<Vec<AddrType>>>,
    /// `--limit-iface-in`.
    pub limit_iface_in: bool,
    /// `--limit-iface-out`.
    pub limit_iface_out: bool,
}

/// A packet's state in conntrack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CtState {
    /// No entry could be made.
    Invalid,
    /// No reply seen yet.
    New,
    /// Belongs to a flow of another entry.
    Related,
    /// A reply was seen.
    Established,
    /// `-j CT --notrack`.
    Untracked,
    /// The source was translated.
    Snat,
    /// The destination was translated.
    Dnat,
}

/// Options of `-m conntrack`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackMatch {
    /// `--ctstate`.
    pub state: Option<Is<Vec<CtState>>>,
    /// `--ctproto`.
    pub protocol: Option<Is<Protocol>>,
    /// `--ctorigsrc`.
    pub orig_source: Option<Is<IpNet>>,
    /// `--ctorigdst`.
    pub orig_destination: Option<Is<IpNet>>,
    /// `--ctorigdstport`.
    pub orig_destination_port: Option<Is<PortRange>>,
    /// `--ctdir`: true for ORIGINAL.
    pub original: Option<bool>,
}

/// VALUE/MASK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkValue {
    /// The value.
    pub value: u32,
    /// The bits that are looked at; all where the text names none.
    pub mask: u32,
}

/// Options of `-m multiport`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiportMatch {
    /// Which ports are looked at.
    pub which: MultiportSide,
    /// The ports.
    pub ports: Is<Vec<PortRange>>,
}

/// Which ports `-m multiport` looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MultiportSide {
    /// `--sports`.
    Source,
    /// `--dports`.
    Destination,
    /// `--ports`.
    Either,
}

/// A set of networks that a packet's address is looked up in (man 8 ipset, `hash:net`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMatch {
    /// Its name.
    pub name: String,
    /// Whose address.
    pub side: AddressSide,
    /// What is in it; none where nobody says: `iptables-save` does not.
    pub networks: Option<BTreeSet<IpNet>>,
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressSide {
    /// `src`.
    Source,
    /// `dst`.
    Destination,
}

/// Options of `-m ttl` and `-m hl`: how many routers more a packet may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HopLimitMatch {
    /// `--ttl-eq`.
    Exactly(Is<u8>),
    /// `--ttl-lt`.
    Below(u8),
    /// `--ttl-gt`.
    Above(u8),
}

/// Options of `-m physdev`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhysDevMatch {
    /// `--physdev-in`.
    pub input: Option<Is<IfPattern>>,
    /// `--physdev-out`.
    pub output: Option<Is<IfPattern>>,
    /// `--physdev-is-in`.
    pub is_in: Option<Is<()>>,
    /// `--physdev-is-out`.
    pub is_out: Option<Is<()>>,
    /// `--physdev-is-bridged`.
    pub is_bridged: Option<Is<()>>,
}
