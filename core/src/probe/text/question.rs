//! A probe's text: `laptop -> 203.0.113.10:8080/tcp,ttl=3`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::TextError;
use super::line::{Line, Word};
use crate::addr::{Family, Transport};
use crate::probe::{Ask, Probe, ProbeOptions, Target};

const ARROW: &str = "'->' and a target, as in web -> db:5432/tcp";
const TARGET: &str = "a target, as in 203.0.113.10:8080/tcp, [fd00::2]:53/udp or db/icmp";
const PROTO: &str = "a protocol: tcp, udp, sctp or icmp, with 4 or 6 after it if need be";
const OPTION: &str = "an option: from=IP[:PORT], raw, ttl=N, size=N, df or mark=N";

pub(super) fn read(line: &mut Line<'_>) -> Result<Probe, TextError> {
    if !line.has_arrow() {
        line.word("a node")?;
        return Err(line.peek().map_or_else(|| line.missing(ARROW), |word| word.error(ARROW)));
    }
    let from = line.before_arrow().node()?;
    let word = line.word(TARGET)?;
    let (place, rest) = word.split('/');
    let Some(rest) = rest else {
        return Err(TextError { found: format!("'{}' without a protocol", word.text), ..word.error(TARGET) });
    };
    let (host, port) = host_port(place)?;
    let mut words = rest.pieces(',');
    let proto = words.next().unwrap_or(rest);
    let (transport, family) = protocol(proto)?;
    let target = target(host)?;
    let ask = ask(word, port, transport)?;
    agrees(&target, family, proto)?;
    let options = options(words, &target, family, ask)?;
    Ok(Probe { from, target, ask, family, options })
}

/// The host's part of a target, and the port's: `[v6]:PORT`, `v4:PORT`, `name:PORT`.
fn host_port<'a>(place: Word<'a>) -> Result<(Word<'a>, Option<Word<'a>>), TextError> {
    let brackets = "an IPv6 address in brackets, as in [fd00::2]:80/tcp";
    if place.text.starts_with('[') {
        let (host, after) = place.split(']');
        let after = after.ok_or_else(|| place.error(brackets))?;
        return match after.text.strip_prefix(':') {
            Some(port) => Ok((host, Some(Word { text: port, start: after.start + 1 }))),
            None if after.text.is_empty() => Ok((host, None)),
            None => Err(after.error("a colon and a port, or a slash and a protocol")),
        };
    }
    if place.text.matches(':').count() > 1 {
        return Err(place.error(brackets));
    }
    Ok(place.split(':'))
}

fn target(host: Word<'_>) -> Result<Target, TextError> {
    if let Some(inner) = host.text.strip_prefix('[') {
        let inner = Word { text: inner, start: host.start + 1 };
        return Ok(Target::Address(IpAddr::V6(inner.parse::<Ipv6Addr>("an IPv6 address")?)));
    }
    if let Ok(address) = host.text.parse::<IpAddr>() {
        return Ok(Target::Address(address));
    }
    name(host).map(Target::Name)
}

/// A name that a resolver can be asked for; digits and dots alone were meant as an address.
fn name(word: Word<'_>) -> Result<String, TextError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let address = word.text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if address || !word.text.chars().all(good) {
        return Err(word.error("an address or a name"));
    }
    Ok(word.text.to_owned())
}

fn protocol(word: Word<'_>) -> Result<(Option<Transport>, Option<Family>), TextError> {
    let family = match word.text.chars().last() {
        Some('4') => Some(Family::V4),
        Some('6') => Some(Family::V6),
        Some(_) | None => None,
    };
    let transport = match word.text.trim_end_matches(['4', '6']) {
        "tcp" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        "sctp" => Some(Transport::Sctp),
        "icmp" => None,
        _ => return Err(word.error(PROTO)),
    };
    if word.text.len() > transport.map_or("icmp", Transport::as_str).len() + 1 {
        return Err(word.error(PROTO));
    }
    Ok((transport, family))
}

fn ask(word: Word<'_>, port: Option<Word<'_>>, transport: Option<Transport>) -> Result<Ask, TextError> {
    match (transport, port) {
        (Some(transport), Some(port)) => Ok(Ask::Port(transport, port.port()?)),
        (None, None) => Ok(Ask::Echo),
        (Some(_), None) => {
            let found = format!("'{}' without a port", word.text);
            Err(TextError { found, ..word.error("TARGET:PORT/PROTO") })
        }
        (None, Some(port)) => {
            let found = format!("port '{}' with icmp", port.text);
            Err(TextError { found, ..port.error("TARGET/icmp: an echo has no port") })
        }
    }
}

/// An address has but one family.
fn agrees(target: &Target, family: Option<Family>, proto: Word<'_>) -> Result<(), TextError> {
    match (target, family) {
        (Target::Address(address), Some(family)) if Family::of(*address) != family => {
            let bare = proto.text.trim_end_matches(['4', '6']);
            let number = Family::of(*address).number();
            let found = format!("'{}' for an IPv{number} address", proto.text);
            Err(TextError { found, ..proto.error(format!("{bare} or {bare}{number}")) })
        }
        (Target::Address(_) | Target::Name(_), _) => Ok(()),
    }
}

fn options<'a>(
    words: impl Iterator<Item = Word<'a>>,
    target: &Target,
    family: Option<Family>,
    ask: Ask,
) -> Result<ProbeOptions, TextError> {
    let family = match target {
        Target::Address(address) => Some(Family::of(*address)),
        Target::Name(_) => family,
    };
    let mut options = ProbeOptions::default();
    for word in words {
        let before = options;
        option(&mut options, word)?;
        if before == options {
            let found = format!("'{}' a second time", word.text);
            return Err(TextError { found, ..word.error("each option once") });
        }
        if let (Some((source, port)), None) = (options.source, before.source) {
            if family.is_some_and(|family| family != Family::of(source)) {
                return Err(word.error("a source of the target's own family"));
            }
            if port.is_some() && ask == Ask::Echo {
                return Err(word.error("from=IP: an echo has no port"));
            }
        }
    }
    Ok(options)
}

fn option(options: &mut ProbeOptions, word: Word<'_>) -> Result<(), TextError> {
    let (key, value) = word.split('=');
    let twice = |set: bool| if set { Err(word.error("each option once")) } else { Ok(()) };
    match (key.text, value) {
        ("raw", None) => options.raw = true,
        ("df", None) => options.df = true,
        ("from", Some(value)) => {
            twice(options.source.is_some())?;
            options.source = Some(source(value)?);
        }
        ("ttl", Some(value)) => {
            twice(options.ttl.is_some())?;
            options.ttl = Some(value.number(1..=u8::MAX, "a hop limit, 1 to 255")?);
        }
        ("size", Some(value)) => {
            twice(options.size.is_some())?;
            options.size = Some(value.number(0..=65507, "bytes of payload, 0 to 65507")?);
        }
        ("mark", Some(value)) => {
            twice(options.mark.is_some())?;
            options.mark = Some(mark(value)?);
        }
        _ => return Err(word.error(OPTION)),
    }
    Ok(())
}

fn source(word: Word<'_>) -> Result<(IpAddr, Option<u16>), TextError> {
    if let Ok(address) = word.text.parse::<IpAddr>() {
        return Ok((address, None));
    }
    let socket = word.parse::<SocketAddr>("an address, as in from=203.0.113.50 or from=[fd00::50]:4000")?;
    if socket.port() == 0 {
        Err(word.error("a port above 0"))
    } else {
        Ok((socket.ip(), Some(socket.port())))
    }
}

fn mark(word: Word<'_>) -> Result<u32, TextError> {
    let expected = "a mark of 32 bits, as in 1 or 0xe";
    match word.text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).map_err(|_| word.error(expected)),
        None => word.number(0..=u32::MAX, expected),
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.target)?;
        match self.ask {
            Ask::Port(transport, port) => write!(f, ":{port}/{transport}")?,
            Ask::Echo => f.write_str("/icmp")?,
        }
        self.family.iter().try_for_each(|family| write!(f, "{}", family.number()))?;
        self.options.fmt(f)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ProbeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some((address, Some(port))) => write!(f, ",from={}", SocketAddr::new(address, port))?,
            Some((address, None)) => write!(f, ",from={address}")?,
            None => {}
        }
        if self.raw {
            f.write_str(",raw")?;
        }
        self.ttl.iter().try_for_each(|n| write!(f, ",ttl={n}"))?;
        self.size.iter().try_for_each(|n| write!(f, ",size={n}"))?;
        if self.df {
            f.write_str(",df")?;
        }
        self.mark.iter().try_for_each(|n| write!(f, ",mark={n}"))
    }
}
