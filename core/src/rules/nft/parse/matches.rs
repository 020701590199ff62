//! What a rule asks, read back.

use std::net::IpAddr;

use super::devices;
use crate::addr::{Family, IpNet, PortRange};
use crate::rules::iptables::ParseError;
use crate::rules::nft::expression::{address_type, protocol, state};
use crate::rules::nft::words::{Reader, Word, unquoted};
use crate::rules::{
    AddrType, AddrTypeMatch, ConntrackMatch, CtState, IfPattern, Is, MapKey, MarkValue, Match, PortsMatch,
    Protocol, Rule, Target, TcpMatch,
};

/// Reads a match, from its first word on; a question to a map is what the rule does.
pub(super) fn read<'a>(
    word: Word<'a>,
    reader: &mut Reader<'a>,
    family: Family,
    rule: &mut Rule,
) -> Result<(), ParseError> {
    let ip = if family == Family::V4 { "ip" } else { "ip6" };
    match word.text {
        "iifname" | "oifname" => return read_device(word, reader, rule),
        "tcp" | "udp" | "sctp" => rule.matches.extend(read_ports(word, reader)?),
        "fib" => rule.matches.push(read_address_type(reader)?),
        "ct" => {
            reader.expect("state")?;
            let not = reader.not();
            let states =
                reader.one_of("states of conntrack", |text| text.split(',').map(state_of).collect())?;
            let state = Some(Is { not, value: states });
            rule.matches.push(Match::Conntrack(ConntrackMatch { state, ..ConntrackMatch::default() }));
        }
        "meta" => rule.matches.push(read_meta(reader)?),
        "comment" => {
            let text = reader.one_of("a comment in quotes", |text| unquoted(text).map(str::to_owned))?;
            rule.matches.push(Match::Comment(text));
        }
        text if text == ip => rule.matches.push(read_header(reader)?),
        _ => return Err(word.expected("a match or a statement that a plan has")),
    }
    Ok(())
}

fn read_device<'a>(word: Word<'a>, reader: &mut Reader<'a>, rule: &mut Rule) -> Result<(), ParseError> {
    let comes = word.text == "iifname";
    if reader.peek() == "vmap" {
        reader.expect("vmap")?;
        let map = reader.one_of("a map", |text| text.strip_prefix('@').map(str::to_owned))?;
        let key = if comes { MapKey::InInterface } else { MapKey::OutInterface };
        rule.target = Some(Target::Vmap { key, map });
        return Ok(());
    }
    let not = reader.not();
    if comes && reader.peek() == "{" {
        rule.matches.push(Match::InInterfaces(Is { not, value: devices(reader)? }));
        return Ok(());
    }
    let name = reader.one_of("a device in quotes", |text| {
        let name = unquoted(text)?;
        Some(name.strip_suffix('*').map_or_else(|| name.to_owned(), |start| format!("{start}+")))
    })?;
    let is = Is { not, value: IfPattern(name) };
    rule.matches.push(if comes { Match::InInterface(is) } else { Match::OutInterface(is) });
    Ok(())
}

/// Ports are those of a protocol.
fn read_ports<'a>(word: Word<'a>, reader: &mut Reader<'a>) -> Result<[Match; 2], ParseError> {
    let source = reader.one_of("sport or dport", |text| match text {
        "sport" => Some(true),
        "dport" => Some(false),
        _ => None,
    })?;
    let not = reader.not();
    let range = reader.one_of("a port or a range of them", |text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        PortRange::new(first.parse().ok()?, last.parse().ok()?)
    })?;
    let range = Some(Is { not, value: range });
    let ports = match source {
        true => PortsMatch { source: range, destination: None },
        false => PortsMatch { source: None, destination: range },
    };
    let (protocol, ports) = match word.text {
        "tcp" => (Protocol::TCP, Match::Tcp(TcpMatch { ports, ..TcpMatch::default() })),
        "udp" => (Protocol::UDP, Match::Udp(ports)),
        _ => (Protocol::SCTP, Match::Sctp(ports)),
    };
    Ok([Match::Protocol(Is::a(protocol)), ports])
}

fn read_address_type(reader: &mut Reader<'_>) -> Result<Match, ParseError> {
    let source = reader.one_of("saddr or daddr", |text| match text {
        "saddr" => Some(true),
        "daddr" => Some(false),
        _ => None,
    })?;
    reader.expect("type")?;
    let not = reader.not();
    let kind = reader.one_of("a type of address", |text| {
        let kinds = [
            AddrType::Unspec,
            AddrType::Unicast,
            AddrType::Local,
            AddrType::Broadcast,
            AddrType::Anycast,
            AddrType::Multicast,
            AddrType::Blackhole,
            AddrType::Unreachable,
            AddrType::Prohibit,
        ];
        kinds.into_iter().find(|kind| address_type(*kind) == Some(text))
    })?;
    let types = Some(Is { not, value: vec![kind] });
    Ok(Match::AddrType(match source {
        true => AddrTypeMatch { source: types, ..AddrTypeMatch::default() },
        false => AddrTypeMatch { destination: types, ..AddrTypeMatch::default() },
    }))
}

fn state_of(name: &str) -> Option<CtState> {
    let states = [CtState::Invalid, CtState::New, CtState::Related, CtState::Established, CtState::Untracked];
    states.into_iter().find(|known| state(*known) == name)
}

/// `l4proto ipv6-icmp`, `mark 0x0000000e`, `mark & 0x00000003 == 0x00000002`.
fn read_meta(reader: &mut Reader<'_>) -> Result<Match, ParseError> {
    let marks = reader.one_of("l4proto or mark", |text| match text {
        "l4proto" => Some(false),
        "mark" => Some(true),
        _ => None,
    })?;
    let number = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    if !marks {
        let not = reader.not();
        return Ok(Match::Protocol(Is { not, value: reader.one_of("a protocol", protocol_of)? }));
    }
    let mut mask = u32::MAX;
    let not = if reader.peek() == "&" {
        reader.expect("&")?;
        mask = reader.one_of("a mask", number)?;
        reader.one_of("== or !=", |text| ["==", "!="].contains(&text).then_some(text == "!="))?
    } else {
        reader.not()
    };
    let value = reader.one_of("a mark", number)?;
    Ok(Match::Mark(Is { not, value: MarkValue { value, mask } }))
}

/// `saddr 172.18.0.0/16`, `daddr != ::1`, `protocol icmp`.
fn read_header(reader: &mut Reader<'_>) -> Result<Match, ParseError> {
    let field = reader.one_of("saddr, daddr or protocol", |text| {
        ["saddr", "daddr", "protocol"].into_iter().find(|known| *known == text)
    })?;
    let not = reader.not();
    if field == "protocol" {
        return Ok(Match::Protocol(Is { not, value: reader.one_of("a protocol", protocol_of)? }));
    }
    let net = |text: &str| text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)));
    let is = Is { not, value: reader.one_of("an address or a network", net)? };
    Ok(if field == "saddr" { Match::Source(is) } else { Match::Destination(is) })
}

fn protocol_of(name: &str) -> Option<Protocol> {
    let known = [Protocol::ICMP, Protocol::TCP, Protocol::UDP, Protocol::ICMPV6, Protocol::SCTP];
    known.into_iter().find(|p| protocol(*p) == name).or_else(|| name.parse().ok().map(Protocol))
}
