//! Packet filter rules, typed once: built by the planner, read from a host, run by the simulator, rendered last.
//!
//! One form holds both iptables and nft: a base chain carries its hook and priority, so that whoever runs the rules
//! need not know which tool wrote them. [`iptables`] reads and writes the text of `iptables-save`, [`nft`] that of
//! `nft list`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::addr::{Family, IfName, IpNet, PortRange};

pub mod iptables;
pub mod nft;

/// All rules of one family in one network namespace, written by one tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Which tool's rules.
    pub backend: Backend,
    /// The tables, in the order they are written.
    pub tables: Vec<Table>,
}

/// The tool whose text a ruleset is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// `iptables-restore`, `ip6tables-restore`: tables are fixed, and so are their hooks and priorities.
    #[default]
    Iptables,
    /// `nft -f`: tables, hooks and priorities are free.
    Nft,
}

/// A table: `filter`, `nat`, `raw`, `mangle`, `security`, or any name in nft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// nft's verdict maps, in the order they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<VerdictMap>,
    /// The base chains, then the user's, in the order they are written.
    pub chains: Vec<Chain>,
}

/// A map of nft from devices to verdicts: `type ifname : verdict` (man 8 nft, MAPS).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictMap {
    /// Its name.
    pub name: String,
    /// For each device what becomes of a packet.
    pub elements: BTreeMap<IfName, Target>,
}

/// The device of a packet that a [`VerdictMap`] is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapKey {
    /// `iifname`: the one it came in by.
    InInterface,
    /// `oifname`: the one it leaves by.
    OutInterface,
}

/// A chain and its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it is hooked in; none for a chain that is only jumped to.
    pub base: Option<Base>,
    /// What passed it when it was saved.
    pub counters: Counters,
    /// The rules in order.
    pub rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The hook.
    pub hook: Hook,
    /// The priority: lower runs first (uapi/linux/netfilter_ipv4.h).
    pub priority: i32,
    /// Whether it is a chain that translates addresses: consulted once per flow.
    pub nat: bool,
    /// What becomes of a packet that no rule decides.
    pub policy: Policy,
}

/// A netfilter hook of the IP families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// Every packet that came in, before routing.
    Prerouting,
    /// For this namespace's own sockets.
    Input,
    /// Routed through.
    Forward,
    /// From this namespace's own sockets.
    Output,
    /// Everything on its way out.
    Postrouting,
}

impl Hook {
    /// The name iptables gives the hook's base chains.
    #[must_use]
    pub const fn chain(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }
}

/// A base chain's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// Let it pass.
    Accept,
    /// Drop it.
    Drop,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One rule: every match must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The matches, in the order they are written.
    pub matches: Vec<Match>,
    /// What happens then; a rule without a target only counts.
    pub target: Option<Target>,
    /// What it counted, where the text says (`iptables-save -c`).
    pub counters: Option<Counters>,
}

impl Rule {
    /// A rule that counts nothing yet.
    #[must_use]
    pub const fn new(matches: Vec<Match>, target: Target) -> Self {
        Self { matches, target: Some(target), counters: None }
    }
}

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

/// What a rule does with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Let it pass this hook's chain.
    Accept,
    /// Drop it.
    Drop,
    /// Back to the chain that jumped here, or the policy.
    Return,
    /// On in another chain, and back.
    Jump(String),
    /// On in another chain, and not back.
    Goto(String),
    /// nft's `oifname vmap @MAP`: what the table's map says of the device, if it says anything.
    Vmap {
        /// Which device.
        key: MapKey,
        /// The map's name.
        map: String,
    },
    /// Drop it and say so (default: port unreachable).
    Reject(RejectWith),
    /// Rewrite the destination.
    Dnat(NatRange),
    /// Rewrite the source.
    Snat(NatRange),
    /// Rewrite the source to the device's address.
    Masquerade(PortMap),
    /// Rewrite the destination to this machine.
    Redirect(PortMap),
    /// `-j MARK --set-xmark`: clear the mask's bits, then flip the value's.
    Mark(MarkValue),
    /// `-j CT --notrack`, or by its old name `-j NOTRACK`: conntrack leaves the packet alone.
    NoTrack {
        /// Whether it was written by its old name.
        old_name: bool,
    },
    /// `-j LOG`, `-j CHECKSUM` and others that change nothing a rule could see: the packet goes on.
    Watch {
        /// The target's name.
        name: String,
        /// Its options, one word each, quoted as they were written.
        options: Vec<String>,
    },
    /// A target this program does not model, as written.
    Other {
        /// The target's name.
        name: String,
        /// Its options, one word each, quoted as they were written.
        options: Vec<String>,
    },
}

impl Target {
    /// The chain it goes on in.
    #[must_use]
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Return | Self::NoTrack { .. } | Self::Vmap { .. } => None,
            Self::Reject(_) | Self::Dnat(_) | Self::Snat(_) | Self::Masquerade(_) | Self::Redirect(_) => None,
            Self::Mark(_) | Self::Watch { .. } | Self::Other { .. } => None,
        }
    }
}

/// What REJECT answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectWith {
    /// A TCP RST.
    TcpReset,
    /// An ICMP destination-unreachable (type 3) with this code.
    Icmp {
        /// The code.
        code: u8,
    },
    /// An ICMPv6 destination-unreachable (type 1) with this code.
    Icmpv6 {
        /// The code.
        code: u8,
    },
}

/// Where NAT may translate to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatRange {
    /// The first and the last address; the packet's own where there is none.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The ports, and how one of them is chosen.
    pub ports: PortMap,
    /// `--persistent`.
    pub persistent: bool,
}

impl NatRange {
    /// One address and, maybe, one port.
    #[must_use]
    pub const fn to(addr: IpAddr, port: Option<u16>) -> Self {
        let ports = match port {
            Some(port) => Some(PortRange::single(port)),
            None => None,
        };
        let ports = PortMap { ports, random: false, random_fully: false };
        Self { addresses: Some((addr, addr)), ports, persistent: false }
    }
}

/// The ports NAT may translate to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMap {
    /// The ports; the packet's own, if free, where there are none.
    pub ports: Option<PortRange>,
    /// `--random`.
    pub random: bool,
    /// `--random-fully`.
    pub random_fully: bool,
}

impl Ruleset {
    /// The table of a name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }
}

impl Table {
    /// The chain of a name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|c| c.name == name)
    }

    /// The chains that a rule may go on in: where it jumps, or where its map's elements do.
    pub fn leads<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a str> {
        let named = if let Some(Target::Vmap { map, .. }) = &rule.target { Some(map) } else { None };
        let map = named.and_then(|name| self.maps.iter().find(|m| m.name == *name));
        let verdicts = map.into_iter().flat_map(|map| map.elements.values());
        rule.target.iter().chain(verdicts).filter_map(Target::chain)
    }
}
