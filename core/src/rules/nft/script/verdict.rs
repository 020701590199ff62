//! What a rule does (man 8 nft, STATEMENTS).

use std::net::{IpAddr, SocketAddr};

use super::value::number;
use crate::addr::{Family, PortRange};
use crate::rules::iptables::ParseError;
use crate::rules::nft::words::{Reader, Word};
use crate::rules::nft::{AS_WRITTEN, names};
use crate::rules::{MarkValue, NatRange, PortMap, RejectWith, Target};

/// A statement.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    Does(Target),
    /// It is for packets of the other family.
    Elsewhere,
}

/// Statements that are kept as they are written: what becomes of a packet there is not known.
const UNKNOWN: [&str; 6] = ["queue", "flow", "tproxy", "synproxy", "fwd", "dup"];

/// Reads a statement, from its first word on; none of another word.
pub(super) fn read<'a>(
    word: Word<'a>,
    reader: &mut Reader<'a>,
    family: Family,
) -> Result<Option<Verdict>, ParseError> {
    let target = match word.text {
        "accept" => Target::Accept,
        "drop" => Target::Drop,
        "return" => Target::Return,
        "jump" => Target::Jump(reader.name()?.to_owned()),
        "goto" => Target::Goto(reader.name()?.to_owned()),
        "reject" => return reject(reader, family).map(Some),
        "masquerade" => Target::Masquerade(port_map(reader)?),
        "redirect" => Target::Redirect(port_map(reader)?),
        "dnat" | "snat" => return translate(word, reader, family).map(Some),
        "notrack" => Target::NoTrack { old_name: false },
        "meta" => match marks(&mut reader.clone()) {
            Some(value) => {
                (0..3).for_each(|_| _ = reader.next());
                Target::Mark(MarkValue { value, mask: u32::MAX })
            }
            None => return Ok(None),
        },
        "ct" if is_set(&mut reader.clone()) => as_written(word, reader),
        text if UNKNOWN.contains(&text) => as_written(word, reader),
        _ => return Ok(None),
    };
    Ok(Some(Verdict::Does(target)))
}

fn as_written<'a>(word: Word<'a>, reader: &mut Reader<'a>) -> Target {
    let mut options = vec![word.text.to_owned()];
    while let Some(word) = reader.next() {
        options.push(word.text.to_owned());
    }
    Target::Other { name: AS_WRITTEN.to_owned(), options }
}

/// `mark set 0x1`; what is computed has another meaning for each packet.
fn marks(reader: &mut Reader<'_>) -> Option<u32> {
    let words: Vec<&str> = std::iter::from_fn(|| reader.next()).take(4).map(|word| word.text).collect();
    match words.as_slice() {
        ["mark", "set", value, rest @ ..]
            if !["&", "|", "^"].iter().any(|sign| rest.first() == Some(sign)) =>
        {
            number(value)
        }
        _ => None,
    }
}

/// `ct mark set …`, `ct helper set …`.
fn is_set(reader: &mut Reader<'_>) -> bool {
    reader.next();
    reader.peek() == "set"
}

/// `reject`, `reject with tcp reset`, `reject with icmpx admin-prohibited`, `reject with icmp type host-unreachable`.
fn reject(reader: &mut Reader<'_>, family: Family) -> Result<Verdict, ParseError> {
    let here = |v4: u8, v6: u8| match family {
        Family::V4 => RejectWith::Icmp { code: v4 },
        Family::V6 => RejectWith::Icmpv6 { code: v6 },
    };
    if !reader.take("with") {
        return Ok(Verdict::Does(Target::Reject(here(3, 4))));
    }
    let with = reader.word()?;
    if with.text == "tcp" {
        reader.expect("reset")?;
        return Ok(Verdict::Does(Target::Reject(RejectWith::TcpReset)));
    }
    reader.take("type");
    let named = |known: &[(&str, u8)], text: &str| {
        known.iter().find(|(name, _)| *name == text).map(|(_, code)| *code).or_else(|| text.parse().ok())
    };
    let (of, with) = match with.text {
        "icmp" => {
            let code = reader.one_of("a code of ICMP", |text| named(&names::ICMP_CODES, text))?;
            (Some(Family::V4), RejectWith::Icmp { code })
        }
        "icmpv6" => {
            let code = reader.one_of("a code of ICMPv6", |text| named(&names::ICMPV6_CODES, text))?;
            (Some(Family::V6), RejectWith::Icmpv6 { code })
        }
        "icmpx" => {
            let known = |text: &str| names::ICMPX_CODES.iter().find(|(name, ..)| *name == text).copied();
            let (_, v4, v6) = reader.one_of("a code of icmpx", known)?;
            (None, here(v4, v6))
        }
        _ => return Err(with.expected("tcp reset, icmp, icmpv6 or icmpx")),
    };
    let elsewhere = of.is_some_and(|of| of != family);
    Ok(if elsewhere { Verdict::Elsewhere } else { Verdict::Does(Target::Reject(with)) })
}

/// `dnat to 172.18.0.2:80`, `dnat ip to …`, `snat to 203.0.113.10`.
fn translate<'a>(word: Word<'a>, reader: &mut Reader<'a>, family: Family) -> Result<Verdict, ParseError> {
    let own = if family == Family::V4 { "ip" } else { "ip6" };
    if ["ip", "ip6"].contains(&reader.peek()) {
        let of = reader.word()?;
        if of.text != own {
            return Ok(Verdict::Elsewhere);
        }
    }
    let mut ahead = reader.clone();
    ahead.expect("to")?;
    let (addresses, ports) = match ahead.next().and_then(|to| range(to.text)) {
        Some(range) => range,
        // A map: each packet its own.
        None => return Ok(Verdict::Does(as_written(word, reader))),
    };
    *reader = ahead;
    if addresses.is_some_and(|(first, _)| Family::of(first) != family) {
        return Ok(Verdict::Elsewhere);
    }
    let (mut how, persistent) = chosen(reader);
    how.ports = ports;
    let range = NatRange { addresses, ports: how, persistent };
    Ok(Verdict::Does(if word.text == "dnat" { Target::Dnat(range) } else { Target::Snat(range) }))
}

type Range = (Option<(IpAddr, IpAddr)>, Option<PortRange>);

/// `172.18.0.2`, `172.18.0.2:80`, `[fd00::2]:80`, `172.18.0.2-172.18.0.9`, `:53`.
fn range(text: &str) -> Option<Range> {
    if let Some(ports) = text.strip_prefix(':') {
        return Some((None, Some(port_range(ports)?)));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((Some((address, address)), None));
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some((Some((socket.ip(), socket.ip())), Some(PortRange::single(socket.port()))));
    }
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    if let Some((first, last)) = text.split_once('-')
        && let (Some(first), Some(last)) = (bare(first), bare(last))
    {
        return Some((Some((first, last)), None));
    }
    let (addresses, ports) = text.rsplit_once(':')?;
    let (first, last) = addresses.split_once('-').unwrap_or((addresses, addresses));
    Some((Some((bare(first)?, bare(last)?)), Some(port_range(ports)?)))
}

fn port_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    PortRange::new(first.parse().ok()?, last.parse().ok()?)
}

/// `to :80 random`.
fn port_map(reader: &mut Reader<'_>) -> Result<PortMap, ParseError> {
    let mut ports = None;
    if reader.take("to") {
        let port = |text: &str| port_range(text.strip_prefix(':').unwrap_or(text));
        ports = Some(reader.one_of("a port, as in :80", port)?);
    }
    Ok(PortMap { ports, ..chosen(reader).0 })
}

/// How one of several is chosen.
fn chosen(reader: &mut Reader<'_>) -> (PortMap, bool) {
    let (mut how, mut persistent) = (PortMap::default(), false);
    loop {
        match reader.peek() {
            "random" => how.random = true,
            "fully-random" => how.random_fully = true,
            "persistent" => persistent = true,
            "," => {}
            _ => return (how, persistent),
        }
        reader.next();
    }
}
