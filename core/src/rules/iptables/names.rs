//! Names that iptables writes or takes for numbers. They are iptables' own and Debian's /etc/protocols, so that a text
//! reads the same on every machine.

use crate::addr::Family;
use crate::rules::{AddrType, CtState, IcmpType, Protocol};

/// The protocols iptables writes by name: the first name of a number is the one that is written.
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ggp", 3),
    ("ipencap", 4),
    ("st", 5),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("pup", 12),
    ("udp", 17),
    ("hmp", 20),
    ("xns-idp", 22),
    ("rdp", 27),
    ("iso-tp4", 29),
    ("dccp", 33),
    ("xtp", 36),
    ("ddp", 37),
    ("idpr-cmtp", 38),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("idrp", 45),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("skip", 57),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("icmp6", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("rspf", 73),
    ("vmtp", 81),
    ("eigrp", 88),
    ("ospf", 89),
    ("ax.25", 93),
    ("ipip", 94),
    ("etherip", 97),
    ("encap", 98),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("isis", 124),
    ("sctp", 132),
    ("fc", 133),
    ("mobility-header", 135),
    ("ipv6-mh", 135),
    ("mh", 135),
    ("udplite", 136),
    ("mpls-in-ip", 137),
    ("manet", 138),
    ("hip", 139),
    ("shim6", 140),
    ("wesp", 141),
    ("rohc", 142),
    ("ethernet", 143),
];

/// The name of a protocol, where iptables has one.
pub(super) fn protocol_name(protocol: Protocol) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, number)| *number == protocol.0).map(|(name, _)| *name)
}

/// The protocol of a lower-case name; `all` is 0.
pub(super) fn protocol(name: &str) -> Option<Protocol> {
    if name == "all" {
        return Some(Protocol(0));
    }
    PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| Protocol(*number))
}

/// The extension that `-p` loads by itself where one of its options follows.
pub(super) const fn implied_module(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::TCP => Some("tcp"),
        Protocol::UDP => Some("udp"),
        Protocol::SCTP => Some("sctp"),
        Protocol::ICMP => Some("icmp"),
        Protocol::ICMPV6 => Some("icmp6"),
        _ => None,
    }
}

/// ICMP types by name (iptables -p icmp -h): name, type, code.
const ICMP: &[(&str, u8, Option<u8>)] = &[
    ("echo-reply", 0, None),
    ("pong", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("source-route-failed", 3, Some(5)),
    ("network-unknown", 3, Some(6)),
    ("host-unknown", 3, Some(7)),
    ("network-prohibited", 3, Some(9)),
    ("host-prohibited", 3, Some(10)),
    ("tos-network-unreachable", 3, Some(11)),
    ("tos-host-unreachable", 3, Some(12)),
    ("communication-prohibited", 3, Some(13)),
    ("host-precedence-violation", 3, Some(14)),
    ("precedence-cutoff", 3, Some(15)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("network-redirect", 5, Some(0)),
    ("host-redirect", 5, Some(1)),
    ("tos-network-redirect", 5, Some(2)),
    ("tos-host-redirect", 5, Some(3)),
    ("echo-request", 8, None),
    ("ping", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-exceeded", 11, None),
    ("ttl-zero-during-transit", 11, Some(0)),
    ("ttl-zero-during-reassembly", 11, Some(1)),
    ("parameter-problem", 12, None),
    ("ip-header-bad", 12, Some(0)),
    ("required-option-missing", 12, Some(1)),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
    ("address-mask-request", 17, None),
    ("address-mask-reply", 18, None),
];

/// ICMPv6 types by name (ip6tables -p icmpv6 -h).
const ICMPV6: &[(&str, u8, Option<u8>)] = &[
    ("destination-unreachable", 1, None),
    ("no-route", 1, Some(0)),
    ("communication-prohibited", 1, Some(1)),
    ("beyond-scope", 1, Some(2)),
    ("address-unreachable", 1, Some(3)),
    ("port-unreachable", 1, Some(4)),
    ("failed-policy", 1, Some(5)),
    ("reject-route", 1, Some(6)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("ttl-exceeded", 3, None),
    ("ttl-zero-during-transit", 3, Some(0)),
    ("ttl-zero-during-reassembly", 3, Some(1)),
    ("parameter-problem", 4, None),
    ("bad-header", 4, Some(0)),
    ("unknown-header-type", 4, Some(1)),
    ("unknown-option", 4, Some(2)),
    ("echo-request", 128, None),
    ("ping", 128, None),
    ("echo-reply", 129, None),
    ("pong", 129, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
    ("redirect", 137, None),
];

/// The ICMP type of a name, in the family the module belongs to.
pub(super) fn icmp_type(family: Family, name: &str) -> Option<IcmpType> {
    let name = name.to_ascii_lowercase();
    let table = match family {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    };
    table
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|&(_, kind, code)| IcmpType { kind: Some(kind), code })
}

/// What REJECT answers, by name: (name, code); for ICMPv4 the type is 3, for ICMPv6 1.
const REJECTS: &[(&str, u8)] = &[
    ("icmp-net-unreachable", 0),
    ("icmp-host-unreachable", 1),
    ("icmp-proto-unreachable", 2),
    ("icmp-port-unreachable", 3),
    ("icmp-net-prohibited", 9),
    ("icmp-host-prohibited", 10),
    ("icmp-admin-prohibited", 13),
];

/// As `REJECTS`, for ip6tables.
const REJECTS_V6: &[(&str, u8)] = &[
    ("icmp6-no-route", 0),
    ("icmp6-adm-prohibited", 1),
    ("icmp6-addr-unreachable", 3),
    ("icmp6-port-unreachable", 4),
    ("icmp6-policy-fail", 5),
    ("icmp6-reject-route", 6),
];

/// Short forms iptables takes, and what it writes for them.
const REJECT_ALIASES: &[(&str, &str)] = &[
    ("net-unreach", "icmp-net-unreachable"),
    ("host-unreach", "icmp-host-unreachable"),
    ("proto-unreach", "icmp-proto-unreachable"),
    ("port-unreach", "icmp-port-unreachable"),
    ("net-prohib", "icmp-net-prohibited"),
    ("host-prohib", "icmp-host-prohibited"),
    ("admin-prohib", "icmp-admin-prohibited"),
];

/// As `REJECT_ALIASES`, for ip6tables.
const REJECT_ALIASES_V6: &[(&str, &str)] = &[
    ("no-route", "icmp6-no-route"),
    ("adm-prohibited", "icmp6-adm-prohibited"),
    ("addr-unreach", "icmp6-addr-unreachable"),
    ("port-unreach", "icmp6-port-unreachable"),
    ("policy-fail", "icmp6-policy-fail"),
    ("reject-route", "icmp6-reject-route"),
];

/// The names and codes of a family's REJECT.
pub(super) const fn rejects(family: Family) -> &'static [(&'static str, u8)] {
    match family {
        Family::V4 => REJECTS,
        Family::V6 => REJECTS_V6,
    }
}

/// The code of one of REJECT's names.
pub(super) fn reject_code(family: Family, name: &str) -> Option<u8> {
    let aliases = match family {
        Family::V4 => REJECT_ALIASES,
        Family::V6 => REJECT_ALIASES_V6,
    };
    let full = aliases.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| full);
    rejects(family).iter().find(|(known, _)| *known == full).map(|(_, code)| *code)
}

/// The address types by name, in the order iptables writes them.
pub(super) const ADDR_TYPES: &[(&str, AddrType)] = &[
    ("UNSPEC", AddrType::Unspec),
    ("UNICAST", AddrType::Unicast),
    ("LOCAL", AddrType::Local),
    ("BROADCAST", AddrType::Broadcast),
    ("ANYCAST", AddrType::Anycast),
    ("MULTICAST", AddrType::Multicast),
    ("BLACKHOLE", AddrType::Blackhole),
    ("UNREACHABLE", AddrType::Unreachable),
    ("PROHIBIT", AddrType::Prohibit),
    ("THROW", AddrType::Throw),
];

/// Conntrack's states by name, in the order iptables writes them.
pub(super) const CT_STATES: &[(&str, CtState)] = &[
    ("INVALID", CtState::Invalid),
    ("NEW", CtState::New),
    ("RELATED", CtState::Related),
    ("ESTABLISHED", CtState::Established),
    ("UNTRACKED", CtState::Untracked),
    ("SNAT", CtState::Snat),
    ("DNAT", CtState::Dnat),
];

/// TCP's flags by name, in the order iptables writes them, with their bits (RFC 9293).
pub(super) const TCP_FLAGS: &[(&str, u8)] =
    &[("FIN", 0x01), ("SYN", 0x02), ("RST", 0x04), ("PSH", 0x08), ("ACK", 0x10), ("URG", 0x20)];
