//! The conditions of rules, and whether a packet meets them: yes, no, or nobody knows.

use std::net::IpAddr;

use ipnet::IpNet;
use seatrial_core::addr::{Family, IfName, PortRange};
use seatrial_core::rules::{
    AddrType, AddrTypeMatch, AddressSide, ConntrackMatch, CtState, HopLimitMatch, IcmpType, IfPattern, Is,
    MarkValue, Match, MultiportMatch, MultiportSide, PhysDevMatch, PortsMatch, Protocol, TcpFlagsMatch,
};

use super::conntrack::Entry;
use super::conntrack::tuple::Direction;
use super::{BridgePorts, Scene};
use crate::packet::{Icmp, L4, Packet};
use crate::prefix::Prefix;

/// Modules that look for an extension header of IPv6, and match nothing without it, whatever they ask of it
/// (`rt_mt6` and its like). A packet here has none: fragments are put together before any rule sees them.
const EXTENSION_HEADERS: [&str; 4] = ["rt", "frag", "hbh", "dst"];

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Yes,
    No,
    /// It hangs on what this program does not model.
    Unknown,
}

impl From<bool> for Known {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What a rule sees of a packet.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub packet: &'a Packet,
    /// The packet's mark as the rules before have left it.
    pub mark: u32,
    /// Its state: INVALID where conntrack does not know it.
    pub state: CtState,
    /// Its entry and its direction.
    pub entry: Option<(&'a Entry, Direction)>,
    pub scene: &'a Scene<'a>,
}

/// One condition of a rule.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Source(Is<Prefix>),
    Destination(Is<Prefix>),
    /// One of several devices.
    Inputs(Is<Vec<Device>>),
    Input(Is<Device>),
    Output(Is<Device>),
    Protocol(Is<Protocol>),
    /// A packet here is never a fragment: they are put together before any rule sees them.
    Fragment(bool),
    Ports(Protocol, PortsMatch),
    TcpFlags(Is<TcpFlagsMatch>),
    Icmp(Is<IcmpType>),
    AddrType(AddrTypes),
    /// `--ctstate` and nothing else of conntrack.
    CtState(Is<u16>),
    Conntrack(Box<(ConntrackMatch, Is<u16>)>),
    State(Is<u16>),
    Mark(Is<MarkValue>),
    ConnMark(Is<MarkValue>),
    Multiport(Box<MultiportMatch>),
    PhysDev(Box<PhysDevMatch>),
    HopLimit(HopLimitMatch),
    Set(Is<(AddressSide, Vec<Prefix>)>),
    Never,
    Unknown,
}

/// A device's name in a rule, or how it begins, as a number ([`IfName::to_bits`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device {
    bits: u128,
    mask: u128,
}

/// `-m addrtype`, its types as bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddrTypes {
    source: Option<Is<u16>>,
    destination: Option<Is<u16>>,
    limit_in: bool,
    limit_out: bool,
}

impl Device {
    /// What is no name is no device's.
    const NOBODY: Self = Self { bits: 1, mask: 0 };

    fn new(pattern: &IfPattern) -> Self {
        let Some(name) = pattern.0.strip_suffix('+') else {
            let exactly = |name: IfName| Self { bits: name.to_bits(), mask: u128::MAX };
            return pattern.0.parse().map_or(Self::NOBODY, exactly);
        };
        let add = |Self { bits, mask }, (at, byte)| Self {
            bits: bits | u128::from(byte) << (8 * at),
            mask: mask | u128::from(u8::MAX) << (8 * at),
        };
        name.bytes().take(16).enumerate().fold(Self { bits: 0, mask: 0 }, add)
    }

    /// Whether the device is meant; without one the name is "".
    fn means(&self, device: Option<&IfName>) -> bool {
        device.map_or(0, IfName::to_bits) & self.mask == self.bits
    }
}

const fn bit(t: AddrType) -> u16 {
    1 << t as u16
}

fn types(of: &Is<Vec<AddrType>>) -> Is<u16> {
    Is { not: of.not, value: of.value.iter().fold(0, |bits, &t| bits | bit(t)) }
}

const fn state_bit(state: CtState) -> u16 {
    1 << state as u16
}

fn states(of: &Is<Vec<CtState>>) -> Is<u16> {
    Is { not: of.not, value: of.value.iter().fold(0, |bits, &s| bits | state_bit(s)) }
}

fn conntrack(of: &ConntrackMatch) -> Condition {
    match of {
        ConntrackMatch {
            state: Some(state),
            protocol: None,
            orig_source: None,
            orig_destination: None,
            orig_destination_port: None,
            original: None,
        } => Condition::CtState(states(state)),
        of => Condition::Conntrack(Box::new((of.clone(), of.state.as_ref().map_or(Is::not(0), states)))),
    }
}

fn prefix(is: &Is<IpNet>) -> Is<Prefix> {
    Is { not: is.not, value: is.value.into() }
}

fn device(is: &Is<IfPattern>) -> Is<Device> {
    Is { not: is.not, value: Device::new(&is.value) }
}

impl Condition {
    /// Adds the conditions a match stands for: none for a comment, up to three for `-m tcp`.
    pub(super) fn add(all: &mut Vec<Self>, of: &Match) {
        let condition = match of {
            Match::Source(is) => Self::Source(prefix(is)),
            Match::Destination(is) => Self::Destination(prefix(is)),
            Match::InInterface(is) => Self::Input(device(is)),
            Match::OutInterface(is) => Self::Output(device(is)),
            Match::InInterfaces(is) => {
                let exact = |name: &IfName| Device::new(&IfPattern(name.as_str().to_owned()));
                Self::Inputs(Is { not: is.not, value: is.value.iter().map(exact).collect() })
            }
            // Protocol 0 is any.
            Match::Protocol(is) if is.value.0 == 0 => return,
            Match::Protocol(is) => Self::Protocol(*is),
            Match::Fragment(is) => Self::Fragment(is.not),
            Match::Tcp(tcp) => {
                all.extend(tcp.flags.map(Self::TcpFlags));
                // A packet here carries no TCP options, a real one does.
                all.extend(tcp.option.map(|_| Self::Unknown));
                Self::Ports(Protocol::TCP, tcp.ports)
            }
            Match::Udp(ports) => Self::Ports(Protocol::UDP, *ports),
            Match::Sctp(ports) => Self::Ports(Protocol::SCTP, *ports),
            Match::Icmp(is) => Self::Icmp(*is),
            Match::AddrType(m) => Self::AddrType(AddrTypes::new(m)),
            Match::Conntrack(m) => conntrack(m),
            Match::State(is) => Self::State(states(is)),
            Match::Mark(is) => Self::Mark(*is),
            Match::ConnMark(is) => Self::ConnMark(*is),
            Match::Comment(_) => return,
            Match::Multiport(m) => Self::Multiport(Box::new(m.clone())),
            Match::PhysDev(m) => Self::PhysDev(Box::new(m.clone())),
            Match::Ttl(limit) | Match::HopLimit(limit) => Self::HopLimit(*limit),
            Match::Set(set) => match &set.value.networks {
                Some(networks) => {
                    let networks = networks.iter().map(|network| Prefix::from(*network)).collect();
                    Self::Set(Is { not: set.not, value: (set.value.side, networks) })
                }
                None => Self::Unknown,
            },
            Match::Other { module, .. } if EXTENSION_HEADERS.contains(&module.as_str()) => Self::Never,
            Match::Other { .. } => Self::Unknown,
        };
        all.push(condition);
    }

    /// Whether a match asks for conntrack (`nf_ct_netns_get` in its `checkentry`).
    pub(super) fn needs_conntrack(of: &Match) -> bool {
        match of {
            Match::Conntrack(_) | Match::State(_) | Match::ConnMark(_) => true,
            // Their modules take conntrack as well.
            Match::Other { module, .. } => {
                matches!(module.as_str(), "connbytes" | "connlabel" | "connlimit" | "helper" | "cluster")
            }
            Match::Source(_)
            | Match::Destination(_)
            | Match::InInterface(_)
            | Match::OutInterface(_)
            | Match::InInterfaces(_)
            | Match::Protocol(_)
            | Match::Fragment(_)
            | Match::Tcp(_)
            | Match::Udp(_)
            | Match::Sctp(_)
            | Match::Icmp(_)
            | Match::AddrType(_)
            | Match::Mark(_)
            | Match::Comment(_)
            | Match::Multiport(_)
            | Match::PhysDev(_)
            | Match::Ttl(_)
            | Match::Set(_)
            | Match::HopLimit(_) => false,
        }
    }

    /// The only destination that meets it, if there is only one.
    pub(super) const fn only_destination(&self) -> Option<IpAddr> {
        let Self::Destination(Is { value, not: false }) = self else { return None };
        value.only()
    }

    /// The only destination port that meets it, if there is only one.
    pub(super) fn only_port(&self) -> Option<(Protocol, u16)> {
        let Self::Ports(protocol, PortsMatch { destination: Some(is), .. }) = self else { return None };
        (!is.not && is.value.count() == 1).then_some((*protocol, is.value.first()))
    }

    /// Whether the packet meets the condition.
    pub(super) fn holds(&self, view: &View<'_>) -> Known {
        let packet = view.packet;
        match self {
            Self::Source(is) => invert(is, is.value.contains(packet.src)),
            Self::Destination(is) => invert(is, is.value.contains(packet.dst)),
            Self::Input(is) => invert(is, is.value.means(view.scene.input)),
            Self::Output(is) => invert(is, is.value.means(view.scene.output)),
            Self::Inputs(is) => invert(is, is.value.iter().any(|device| device.means(view.scene.input))),
            Self::Protocol(is) => invert(is, is.value == packet.protocol()),
            Self::Fragment(not) => (*not).into(),
            Self::Ports(protocol, ports) => {
                (packet.protocol() == *protocol && ports_hold(packet, ports)).into()
            }
            Self::TcpFlags(is) => flags_hold(packet, is).into(),
            Self::Icmp(is) => icmp_holds(packet, is).into(),
            Self::AddrType(types) => types.hold(view).into(),
            Self::CtState(is) => invert(is, is.value & state_bits(view) != 0),
            Self::Conntrack(m) => conntrack_holds(view, &m.0, m.1).into(),
            Self::State(is) => invert(is, is.value & state_bit(view.state) != 0),
            Self::Mark(is) => invert(is, view.mark & is.value.mask == is.value.value),
            Self::ConnMark(is) => match view.entry {
                Some((entry, _)) => invert(is, entry.mark & is.value.mask == is.value.value),
                None => Known::No,
            },
            Self::Multiport(m) => multiport_holds(packet, m).into(),
            Self::PhysDev(m) => physdev_holds(view.scene.bridged, m).into(),
            Self::HopLimit(HopLimitMatch::Exactly(is)) => invert(is, is.value == packet.ttl),
            Self::HopLimit(HopLimitMatch::Below(limit)) => (packet.ttl < *limit).into(),
            Self::HopLimit(HopLimitMatch::Above(limit)) => (packet.ttl > *limit).into(),
            Self::Set(Is { not, value: (side, networks) }) => {
                let address = match side {
                    AddressSide::Source => packet.src,
                    AddressSide::Destination => packet.dst,
                };
                (networks.iter().any(|network| network.contains(address)) != *not).into()
            }
            Self::Never => Known::No,
            Self::Unknown => Known::Unknown,
        }
    }
}

fn invert<T>(is: &Is<T>, holds: bool) -> Known {
    (holds != is.not).into()
}

fn is_or_absent<T>(is: Option<&Is<T>>, holds: impl FnOnce(&T) -> bool) -> bool {
    is.is_none_or(|is| holds(&is.value) != is.not)
}

fn ports_hold(packet: &Packet, wanted: &PortsMatch) -> bool {
    packet.ports().is_some_and(|ports| {
        is_or_absent(wanted.source.as_ref(), |range| range.contains(ports.src))
            && is_or_absent(wanted.destination.as_ref(), |range| range.contains(ports.dst))
    })
}

fn flags_hold(packet: &Packet, is: &Is<TcpFlagsMatch>) -> bool {
    match packet.l4 {
        L4::Tcp(tcp) => (tcp.flags.0 & is.value.mask == is.value.set) != is.not,
        L4::Udp(_) | L4::Sctp(_) | L4::Icmp(_) | L4::Other(_) => false,
    }
}

/// An ICMP message's type and code, in its family's numbers.
pub(super) const fn type_and_code(icmp: Icmp, family: Family) -> (u8, u8) {
    match (icmp, family) {
        (Icmp::Echo { reply: false, .. }, Family::V4) => (8, 0),
        (Icmp::Echo { reply: true, .. }, Family::V4) => (0, 0),
        (Icmp::Echo { reply: false, .. }, Family::V6) => (128, 0),
        (Icmp::Echo { reply: true, .. }, Family::V6) => (129, 0),
        (Icmp::Error { kind, code, .. } | Icmp::Other { kind, code }, _) => (kind, code),
    }
}

fn icmp_holds(packet: &Packet, is: &Is<IcmpType>) -> bool {
    let L4::Icmp(icmp) = packet.l4 else { return false };
    let (kind, code) = type_and_code(icmp, packet.family());
    let wanted = is.value;
    (wanted.kind.is_none_or(|k| k == kind) && wanted.code.is_none_or(|c| c == code)) != is.not
}

fn multiport_holds(packet: &Packet, m: &MultiportMatch) -> bool {
    let Some(ports) = packet.ports() else { return false };
    let named = |port: u16| m.ports.value.iter().any(|range: &PortRange| range.contains(port));
    let holds = match m.which {
        MultiportSide::Source => named(ports.src),
        MultiportSide::Destination => named(ports.dst),
        MultiportSide::Either => named(ports.src) || named(ports.dst),
    };
    holds != m.ports.not
}

impl AddrTypes {
    fn new(of: &AddrTypeMatch) -> Self {
        Self {
            source: of.source.as_ref().map(types),
            destination: of.destination.as_ref().map(types),
            limit_in: of.limit_iface_in,
            limit_out: of.limit_iface_out,
        }
    }

    /// `addrtype_mt_v1` and `addrtype_mt6` (net/netfilter/xt_addrtype.c).
    fn hold(&self, view: &View<'_>) -> bool {
        let dev = match (self.limit_in, self.limit_out) {
            (true, _) => view.scene.input,
            (false, true) => view.scene.output,
            (false, false) => None,
        };
        let is = |addr, bits: &u16| match view.packet.family() {
            Family::V4 => bit(view.scene.routing.addr_type(addr, dev)) & bits != 0,
            Family::V6 => is_type6(view, addr, dev, *bits),
        };
        is_or_absent(self.source.as_ref(), |bits| is(view.packet.src, bits))
            && is_or_absent(self.destination.as_ref(), |bits| is(view.packet.dst, bits))
    }
}

/// `match_type6`: in IPv6 the form of the address decides, and all wanted kinds of form must hold; the routing table
/// is asked only for LOCAL, ANYCAST and UNREACHABLE.
fn is_type6(view: &View<'_>, addr: IpAddr, dev: Option<&IfName>, bits: u16) -> bool {
    let wants = |t| bits & bit(t) != 0;
    let unicast = !addr.is_multicast() && !addr.is_unspecified();
    if wants(AddrType::Multicast) && !addr.is_multicast()
        || wants(AddrType::Unicast) && !unicast
        || wants(AddrType::Unspec) && !addr.is_unspecified()
    {
        return false;
    }
    let asked = bits & (bit(AddrType::Local) | bit(AddrType::Anycast) | bit(AddrType::Unreachable));
    asked == 0 || bit(view.scene.routing.addr_type(addr, dev)) & asked != 0
}

/// What `--ctstate` may name of a packet, as bits.
fn state_bits(view: &View<'_>) -> u16 {
    let mut bits = state_bit(view.state);
    if let Some((entry, _)) = view.entry {
        bits |= if entry.source_translated() { state_bit(CtState::Snat) } else { 0 };
        bits |= if entry.destination_translated() { state_bit(CtState::Dnat) } else { 0 };
    }
    bits
}

/// `conntrack_mt` (net/netfilter/xt_conntrack.c).
fn conntrack_holds(view: &View<'_>, m: &ConntrackMatch, states: Is<u16>) -> bool {
    if m.state.is_some() && (states.value & state_bits(view) != 0) == states.not {
        return false;
    }
    // Without an entry nothing but the state is looked at.
    let Some((entry, direction)) = view.entry else { return m.state.is_some() };
    let original = entry.original;
    m.original.is_none_or(|wanted| wanted == (direction == Direction::Original))
        && is_or_absent(m.protocol.as_ref(), |p| *p == original.protocol)
        && is_or_absent(m.orig_source.as_ref(), |net| net.contains(&original.src))
        && is_or_absent(m.orig_destination.as_ref(), |net| net.contains(&original.dst))
        && is_or_absent(m.orig_destination_port.as_ref(), |range| range.contains(original.ports.dst))
}

/// `physdev_mt` (net/netfilter/xt_physdev.c).
fn physdev_holds(bridged: Option<BridgePorts<'_>>, m: &PhysDevMatch) -> bool {
    let Some(ports) = bridged else {
        // What did not come over a bridge matches only where every option is inverted.
        let inverted = |is: Option<bool>| is.unwrap_or(true);
        return inverted(m.is_bridged.map(|is| is.not))
            && inverted(m.is_in.map(|is| is.not))
            && inverted(m.is_out.map(|is| is.not))
            && inverted(m.input.as_ref().map(|is| is.not))
            && inverted(m.output.as_ref().map(|is| is.not));
    };
    let flag = |is: Option<Is<()>>, holds: bool| is.is_none_or(|is| holds != is.not);
    flag(m.is_bridged, ports.output.is_some())
        && flag(m.is_in, ports.input.is_some())
        && flag(m.is_out, ports.output.is_some())
        && m.input.as_ref().is_none_or(|is| {
            // The kernel compares only where there is a port.
            ports.input.is_none_or(|name| is.value.matches(name.as_str()) != is.not)
        })
        && m.output
            .as_ref()
            .is_none_or(|is| ports.output.is_some_and(|name| is.value.matches(name.as_str()) != is.not))
}
