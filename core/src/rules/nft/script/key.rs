//! What of a packet a rule asks (man 8 nft, EXPRESSIONS).

use crate::addr::Family;
use crate::rules::iptables::ParseError;
use crate::rules::nft::words::{Reader, Word};
use crate::rules::{AddressSide, Protocol};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// `ip saddr`, `ip6 daddr`.
    Address(AddressSide),
    /// `meta l4proto`, `ip protocol`, `ip6 nexthdr`.
    Protocol,
    /// `tcp dport`, `th sport`.
    Ports(Option<Protocol>, AddressSide),
    /// `tcp flags`.
    TcpFlags,
    /// `icmp type`, `icmpv6 type`.
    Icmp(Protocol),
    /// `iifname`, `iif`.
    Input,
    /// `oifname`, `oif`.
    Output,
    /// `ct state`.
    State,
    /// `ct status`.
    Status,
    /// `ct direction`.
    Direction,
    /// `ct original ip saddr`.
    Original(AddressSide),
    /// `ct original proto-dst`.
    OriginalPort,
    /// `ct mark`.
    ConnMark,
    /// `meta mark`.
    Mark,
    /// `meta nfproto`, `meta protocol`.
    Family,
    /// `fib daddr type`, with the device where one is named: true for `iif`.
    AddrType(AddressSide, Option<bool>),
    /// `ip ttl`, `ip6 hoplimit`.
    HopLimit,
}

impl Key {
    /// Whether several values may stand without brackets.
    pub(super) const fn has_lists(self) -> bool {
        matches!(self, Self::State | Self::Status | Self::TcpFlags)
    }
}

/// What the words of a question come to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Key(Key),
    /// No packet of this family has it.
    Elsewhere,
    /// It is not modelled; what of it has been read is to be read again.
    Unknown,
}

/// Reads what is asked, from its first word on.
pub(super) fn read<'a>(word: Word<'a>, reader: &mut Reader<'a>, family: Family) -> Result<Asked, ParseError> {
    let key = match word.text {
        "ip" | "ip6" => {
            let own = if word.text == "ip" { Family::V4 } else { Family::V6 };
            match header(reader.next().map_or("", |field| field.text)) {
                _ if own != family => return Ok(Asked::Elsewhere),
                Some(key) => key,
                None => return Ok(Asked::Unknown),
            }
        }
        "tcp" if reader.take("flags") => Key::TcpFlags,
        "tcp" => return ports(Some(Protocol::TCP), reader),
        "udp" => return ports(Some(Protocol::UDP), reader),
        "sctp" => return ports(Some(Protocol::SCTP), reader),
        "th" => return ports(None, reader),
        "icmp" | "icmpv6" if reader.take("type") => match (word.text, family) {
            ("icmp", Family::V4) => Key::Icmp(Protocol::ICMP),
            ("icmpv6", Family::V6) => Key::Icmp(Protocol::ICMPV6),
            (_, _) => return Ok(Asked::Elsewhere),
        },
        "iifname" | "iif" => Key::Input,
        "oifname" | "oif" => Key::Output,
        "ct" => return conntrack(reader, family),
        "fib" => return fib(reader),
        "mark" => Key::Mark,
        "meta" => match reader.next().map_or("", |field| field.text) {
            "l4proto" => Key::Protocol,
            "mark" => Key::Mark,
            "nfproto" | "protocol" => Key::Family,
            "iifname" | "iif" => Key::Input,
            "oifname" | "oif" => Key::Output,
            _ => return Ok(Asked::Unknown),
        },
        _ => return Ok(Asked::Unknown),
    };
    Ok(Asked::Key(key))
}

fn header(field: &str) -> Option<Key> {
    match field {
        "saddr" => Some(Key::Address(AddressSide::Source)),
        "daddr" => Some(Key::Address(AddressSide::Destination)),
        "protocol" | "nexthdr" => Some(Key::Protocol),
        "ttl" | "hoplimit" => Some(Key::HopLimit),
        _ => None,
    }
}

fn ports(of: Option<Protocol>, reader: &mut Reader<'_>) -> Result<Asked, ParseError> {
    Ok(match reader.next().map_or("", |field| field.text) {
        "sport" => Asked::Key(Key::Ports(of, AddressSide::Source)),
        "dport" => Asked::Key(Key::Ports(of, AddressSide::Destination)),
        _ => Asked::Unknown,
    })
}

fn conntrack(reader: &mut Reader<'_>, family: Family) -> Result<Asked, ParseError> {
    Ok(Asked::Key(match reader.next().map_or("", |field| field.text) {
        "state" => Key::State,
        "status" => Key::Status,
        "direction" => Key::Direction,
        "mark" => Key::ConnMark,
        "original" => match reader.next().map_or("", |field| field.text) {
            "proto-dst" => Key::OriginalPort,
            ip @ ("ip" | "ip6") => {
                let own = if ip == "ip" { Family::V4 } else { Family::V6 };
                match header(reader.next().map_or("", |field| field.text)) {
                    _ if own != family => return Ok(Asked::Elsewhere),
                    Some(Key::Address(side)) => Key::Original(side),
                    Some(_) | None => return Ok(Asked::Unknown),
                }
            }
            _ => return Ok(Asked::Unknown),
        },
        _ => return Ok(Asked::Unknown),
    }))
}

/// `fib daddr type`, `fib saddr . iif type`; whether there is a route back (`oif missing`) is not modelled.
fn fib(reader: &mut Reader<'_>) -> Result<Asked, ParseError> {
    let side = match reader.next().map_or("", |field| field.text) {
        "saddr" => AddressSide::Source,
        "daddr" => AddressSide::Destination,
        _ => return Ok(Asked::Unknown),
    };
    let mut device = None;
    if reader.take(".") {
        device = match reader.next().map_or("", |field| field.text) {
            "iif" => Some(true),
            "oif" => Some(false),
            _ => return Ok(Asked::Unknown),
        };
    }
    Ok(if reader.take("type") { Asked::Key(Key::AddrType(side, device)) } else { Asked::Unknown })
}
