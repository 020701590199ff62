//! What a rule asks for: values, and the matches that they come to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{Ipv4Subnets, Ipv6Subnets};

use super::key::Key;
use crate::addr::{Family, IpNet, PortRange};
use crate::rules::iptables::ParseError;
use crate::rules::nft::expression::{address_type, protocol, state};
use crate::rules::nft::names;
use crate::rules::nft::words::{Reader, Word, unquoted};
use crate::rules::{
    AddrType, AddrTypeMatch, AddressSide, ConntrackMatch, CtState, HopLimitMatch, IcmpType, IfPattern, Is,
    MarkValue, Match, MultiportMatch, MultiportSide, PortsMatch, Protocol, SetMatch, TcpFlagsMatch, TcpMatch,
};

/// How a value is held against what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Is,
    /// `==`: of bits all of them, where `Is` means any.
    Exactly,
    Not,
    /// `<` and `<=`: the first that is too much.
    Below {
        inclusive: bool,
    },
    /// `>` and `>=`.
    Above {
        inclusive: bool,
    },
    /// `& MASK ==`, `& MASK !=`.
    Masked {
        mask: u32,
        not: bool,
    },
}

/// Alternatives, each of several matches.
type Alternatives = Option<Vec<Vec<Match>>>;

/// Reads a sign, or takes `==` for granted; none where something is computed first.
pub(super) fn sign(asked: Key, reader: &mut Reader<'_>) -> Result<Option<Sign>, ParseError> {
    let sign = match reader.peek() {
        "!=" => Sign::Not,
        "==" => Sign::Exactly,
        "<" => Sign::Below { inclusive: false },
        "<=" => Sign::Below { inclusive: true },
        ">" => Sign::Above { inclusive: false },
        ">=" => Sign::Above { inclusive: true },
        "&" => {
            reader.next();
            let mask = if asked == Key::TcpFlags {
                flags(reader)?
            } else if [Key::Mark, Key::ConnMark].contains(&asked) {
                reader.one_of("a mask", number)?
            } else {
                return Ok(None);
            };
            let not =
                reader.one_of("== or !=", |text| ["==", "!="].contains(&text).then_some(text == "!="))?;
            return Ok(Some(Sign::Masked { mask, not }));
        }
        "." | "|" | "^" | "<<" | ">>" | "map" => return Ok(None),
        "" => return reader.word().map(|_| None),
        _ => return Ok(Some(Sign::Is)),
    };
    reader.next();
    Ok(Some(sign))
}

/// `syn`, `(fin | syn)`, `0x17`.
fn flags(reader: &mut Reader<'_>) -> Result<u32, ParseError> {
    let several = reader.take("(");
    let mut all = reader.one_of("flags of TCP", flag)?;
    while reader.take("|") || reader.take(",") {
        all |= reader.one_of("flags of TCP", flag)?;
    }
    if several {
        reader.expect(")")?;
    }
    Ok(all)
}

fn flag(name: &str) -> Option<u32> {
    names::TCP_FLAGS.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit).or_else(|| number(name))
}

/// A number as nft takes it.
pub(super) fn number(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}

/// A device's name, in quotes or not.
pub(super) fn name(text: &str) -> &str {
    unquoted(text).unwrap_or(text)
}

/// Whether values are held as one number against bits of which there may be several: nft masks where no sign is written,
/// and compares the whole where one is, and in a set of several (nft 1.0.6: `cmp neq 0x0a` for `!= new,established`).
pub(super) fn is_whole(asked: Key, sign: Sign, values: usize, in_set: bool) -> bool {
    let signed = matches!(sign, Sign::Exactly | Sign::Not);
    match asked {
        Key::Status | Key::TcpFlags => signed || in_set && values > 1,
        // A packet has one state.
        Key::State => signed && !in_set && values > 1,
        Key::Address(_) | Key::Protocol | Key::Ports(..) | Key::Icmp(_) | Key::Input | Key::Output => false,
        Key::Direction | Key::Original(_) | Key::OriginalPort | Key::Mark | Key::ConnMark => false,
        Key::Family | Key::AddrType(..) | Key::HopLimit => false,
    }
}

/// What the values come to; none where that is not known.
pub(super) fn matches(
    asked: Key,
    sign: Sign,
    values: &[Word<'_>],
    family: Family,
) -> Result<Alternatives, ParseError> {
    let not = match (sign, asked) {
        (Sign::Is | Sign::Exactly, _) => false,
        (Sign::Not, _) => true,
        (_, Key::TcpFlags | Key::Mark | Key::ConnMark) => return masked(asked, sign, values),
        (_, Key::Ports(..) | Key::HopLimit) => return compared(asked, sign, values, family),
        (_, _) => return Ok(None),
    };
    let all = |of: Vec<Match>| Ok(Some(vec![of]));
    match asked {
        Key::Address(side) => all(vec![addresses(side, not, values, family)?]),
        Key::Protocol => {
            each(values, not, |word| Ok(vec![Match::Protocol(Is { not, value: protocol_of(word)? })]))
        }
        Key::Ports(of, side) => {
            let mut ranges = values.iter().map(port).collect::<Result<Vec<_>, _>>()?;
            ranges.sort_by_key(|range| (range.first(), range.last()));
            ranges.dedup();
            all(ports(of, side, not, ranges))
        }
        Key::TcpFlags => masked(asked, sign, values),
        Key::Icmp(of) => icmp(of, not, values),
        Key::Input | Key::Output => devices(asked == Key::Input, not, values),
        Key::State => {
            let states = values.iter().map(state_of).collect::<Result<Vec<_>, _>>()?;
            let state = Some(Is { not, value: states });
            all(vec![Match::Conntrack(ConntrackMatch { state, ..ConntrackMatch::default() })])
        }
        Key::Status => Ok(status(not, values).map(|of| vec![vec![of]])),
        Key::Direction => Ok(direction(not, values).map(|of| vec![vec![of]])),
        Key::Original(side) => original(side, not, values),
        Key::OriginalPort => each(values, not, |word| {
            let orig_destination_port = Some(Is { not, value: port(word)? });
            Ok(vec![Match::Conntrack(ConntrackMatch { orig_destination_port, ..ConntrackMatch::default() })])
        }),
        Key::Mark | Key::ConnMark => each(values, not, |word| {
            let value = number(word.text).ok_or_else(|| word.expected("a mark"))?;
            Ok(vec![mark(asked, Is { not, value: MarkValue { value, mask: u32::MAX } })])
        }),
        Key::Family => {
            Ok(Some(if is_family(values, family)? == not { Vec::new() } else { vec![Vec::new()] }))
        }
        Key::AddrType(side, device) => {
            let mut kinds = values.iter().map(kind_of).collect::<Result<Vec<_>, _>>()?;
            kinds.sort_unstable();
            all(vec![address_types(side, device, Is { not, value: kinds })])
        }
        Key::HopLimit => each(values, not, |word| {
            let value = word.text.parse().map_err(|_| word.expected("a number of hops"))?;
            Ok(vec![hops(family, HopLimitMatch::Exactly(Is { not, value }))])
        }),
    }
}

/// A set has no order: nft lists another than was written.
fn in_order<T: std::fmt::Debug>(all: &mut [T]) {
    all.sort_by_cached_key(|one| format!("{one:?}"));
}

/// Each value an alternative; or none of them.
fn each<'w, 'a: 'w>(
    values: &'w [Word<'a>],
    not: bool,
    of: impl Fn(&'w Word<'a>) -> Result<Vec<Match>, ParseError>,
) -> Result<Alternatives, ParseError> {
    let mut each = values.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    in_order(&mut each);
    Ok(Some(if not { vec![each.concat()] } else { each }))
}

/// `172.18.0.0/16`, `10.0.0.1-10.0.0.9`, in whole networks.
fn networks(word: &Word<'_>, family: Family) -> Result<Vec<IpNet>, ParseError> {
    let wrong = || word.expected(format!("an address, a network or a range of IPv{}", family.number()));
    let of: Vec<IpNet> = match word.text.split_once('-') {
        Some((first, last)) => match (first.parse(), last.parse()) {
            (Ok(IpAddr::V4(first)), Ok(IpAddr::V4(last))) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
            }
            (Ok(IpAddr::V6(first)), Ok(IpAddr::V6(last))) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
            }
            (_, _) => return Err(wrong()),
        },
        None => {
            let net = word.text.parse::<IpNet>().or_else(|_| word.text.parse::<IpAddr>().map(IpNet::from));
            vec![net.map_err(|_| wrong())?.trunc()]
        }
    };
    match of.iter().all(|net| Family::of_net(*net) == family) {
        true => Ok(of),
        false => Err(wrong()),
    }
}

fn addresses(side: AddressSide, not: bool, values: &[Word<'_>], family: Family) -> Result<Match, ParseError> {
    let mut all = BTreeSet::new();
    for word in values {
        all.extend(networks(word, family)?);
    }
    let only = all.first().copied().filter(|_| all.len() == 1);
    Ok(match (only, side) {
        (Some(value), AddressSide::Source) => Match::Source(Is { not, value }),
        (Some(value), AddressSide::Destination) => Match::Destination(Is { not, value }),
        (None, side) => {
            Match::Set(Is { not, value: SetMatch { name: String::new(), side, networks: Some(all) } })
        }
    })
}

fn protocol_of(word: &Word<'_>) -> Result<Protocol, ParseError> {
    let known = [Protocol::ICMP, Protocol::TCP, Protocol::UDP, Protocol::ICMPV6, Protocol::SCTP];
    let named = known.into_iter().find(|p| protocol(*p) == word.text);
    let also =
        names::PROTOCOLS.iter().find(|(name, _)| *name == word.text).map(|(_, number)| Protocol(*number));
    let number = || word.text.parse().ok().map(Protocol);
    named.or(also).or_else(number).ok_or_else(|| word.expected("a protocol"))
}

fn port(word: &Word<'_>) -> Result<PortRange, ParseError> {
    let one = |text: &str| {
        let text = unquoted(text).unwrap_or(text);
        let named = names::SERVICES.iter().find(|(name, _)| *name == text).map(|(_, port)| *port);
        named.or_else(|| text.parse().ok())
    };
    let whole = one(word.text).map(PortRange::single);
    let range = || {
        let (first, last) = word.text.split_once('-')?;
        PortRange::new(one(first)?, one(last)?)
    };
    whole.or_else(range).ok_or_else(|| word.expected("a port or a range of them, by number"))
}

/// Ports are those of a protocol.
fn ports(of: Option<Protocol>, side: AddressSide, not: bool, ranges: Vec<PortRange>) -> Vec<Match> {
    let mut all: Vec<Match> = of.map(|of| Match::Protocol(Is::a(of))).into_iter().collect();
    let only = if let [only] = ranges.as_slice() { Some(Is { not, value: *only }) } else { None };
    let one = match side {
        AddressSide::Source => PortsMatch { source: only, destination: None },
        AddressSide::Destination => PortsMatch { source: None, destination: only },
    };
    all.push(match (of, only) {
        (Some(Protocol::TCP), Some(_)) => Match::Tcp(TcpMatch { ports: one, ..TcpMatch::default() }),
        (Some(Protocol::UDP), Some(_)) => Match::Udp(one),
        (Some(Protocol::SCTP), Some(_)) => Match::Sctp(one),
        (_, _) => {
            let which = match side {
                AddressSide::Source => MultiportSide::Source,
                AddressSide::Destination => MultiportSide::Destination,
            };
            Match::Multiport(MultiportMatch { which, ports: Is { not, value: ranges } })
        }
    });
    all
}

/// `> 1024`, `ttl < 5`.
fn compared(asked: Key, sign: Sign, values: &[Word<'_>], family: Family) -> Result<Alternatives, ParseError> {
    let [word] = values else { return Ok(None) };
    let value = number(word.text).and_then(|value| u16::try_from(value).ok());
    let value = value.ok_or_else(|| word.expected("a number"))?;
    // The last below, or the first above.
    let bound = match sign {
        Sign::Below { inclusive: false } => value.checked_sub(1),
        Sign::Above { inclusive: false } => value.checked_add(1),
        Sign::Below { inclusive: true } | Sign::Above { inclusive: true } => Some(value),
        Sign::Is | Sign::Exactly | Sign::Not | Sign::Masked { .. } => return Ok(None),
    };
    let bound = bound.ok_or_else(|| word.expected("what something is below or above"))?;
    let below = matches!(sign, Sign::Below { .. });
    if let Key::Ports(of, side) = asked {
        let range = if below { PortRange::new(0, bound) } else { PortRange::new(bound, u16::MAX) };
        return Ok(range.map(|range| vec![ports(of, side, false, vec![range])]));
    }
    let limit =
        u8::try_from(bound).ok().and_then(|n| if below { n.checked_add(1) } else { n.checked_sub(1) });
    let limit = limit.ok_or_else(|| word.expected("a number of hops"))?;
    let of = if below { HopLimitMatch::Below(limit) } else { HopLimitMatch::Above(limit) };
    Ok(Some(vec![vec![hops(family, of)]]))
}

const fn hops(family: Family, limit: HopLimitMatch) -> Match {
    match family {
        Family::V4 => Match::Ttl(limit),
        Family::V6 => Match::HopLimit(limit),
    }
}

/// Bits of a mark or of TCP's flags.
fn masked(asked: Key, sign: Sign, values: &[Word<'_>]) -> Result<Alternatives, ParseError> {
    if asked != Key::TcpFlags {
        let (Sign::Masked { mask, not }, [word]) = (sign, values) else { return Ok(None) };
        let value = number(word.text).ok_or_else(|| word.expected("a mark"))?;
        return Ok(Some(vec![vec![mark(asked, Is { not, value: MarkValue { value, mask } })]]));
    }
    let bits = |words: &[Word<'_>]| {
        words
            .iter()
            .try_fold(0, |all, word| Ok(all | flag(word.text).ok_or_else(|| word.expected("flags of TCP"))?))
    };
    let slash = values.iter().position(|word| word.text == "/");
    let (set, rest) = values.split_at(slash.unwrap_or(values.len()));
    let set = bits(set)?;
    let (mask, not) = match (sign, rest) {
        (Sign::Masked { mask, not }, []) => (mask, not),
        // `syn / fin,syn,rst,ack`.
        (Sign::Is | Sign::Not, [_, mask @ ..]) => (bits(mask)?, sign == Sign::Not),
        // One flag, whatever the others are; of several any would do.
        (Sign::Is, []) if set.count_ones() == 1 => (set, false),
        (_, _) => return Ok(None),
    };
    let (Ok(mask), Ok(set)) = (u8::try_from(mask), u8::try_from(set)) else { return Ok(None) };
    let flags = Some(Is { not, value: TcpFlagsMatch { mask, set } });
    let of = Match::Tcp(TcpMatch { flags, ..TcpMatch::default() });
    Ok(Some(vec![vec![Match::Protocol(Is::a(Protocol::TCP)), of]]))
}

fn mark(asked: Key, is: Is<MarkValue>) -> Match {
    if asked == Key::Mark { Match::Mark(is) } else { Match::ConnMark(is) }
}

fn icmp(of: Protocol, not: bool, values: &[Word<'_>]) -> Result<Alternatives, ParseError> {
    let known = if of == Protocol::ICMP { names::ICMP.as_slice() } else { names::ICMPV6.as_slice() };
    let kinds = each(values, not, |word| {
        let named = known.iter().find(|(name, _)| *name == word.text).map(|(_, kind)| *kind);
        let kind = named.or_else(|| word.text.parse().ok()).ok_or_else(|| word.expected("a type of ICMP"))?;
        Ok(vec![Match::Icmp(Is { not, value: IcmpType { kind: Some(kind), code: None } })])
    })?;
    let with = |matches: Vec<Match>| [vec![Match::Protocol(Is::a(of))], matches].concat();
    Ok(kinds.map(|all| all.into_iter().map(with).collect()))
}

/// A device by its name, or by how it begins.
pub(super) fn device<'a>(word: Word<'a>) -> Result<&'a str, ParseError> {
    let name = name(word.text);
    let is = !name.is_empty() && name.len() < 16 && !name.contains(['/', ' ']);
    if is { Ok(name) } else { Err(word.expected("a device")) }
}

fn devices(comes: bool, not: bool, values: &[Word<'_>]) -> Result<Alternatives, ParseError> {
    let names = values.iter().map(|word| device(*word)).collect::<Result<Vec<_>, _>>()?;
    if comes && names.len() > 1 && names.iter().all(|name| !name.ends_with('*')) {
        let exact: Option<_> = names.iter().map(|name| name.parse().ok()).collect();
        return Ok(exact.map(|value| vec![vec![Match::InInterfaces(Is { not, value })]]));
    }
    let pattern = |name: &str| {
        let name = name.strip_suffix('*').map_or_else(|| name.to_owned(), |start| format!("{start}+"));
        let is = Is { not, value: IfPattern(name) };
        vec![if comes { Match::InInterface(is) } else { Match::OutInterface(is) }]
    };
    let mut all: Vec<Vec<Match>> = names.into_iter().map(pattern).collect();
    in_order(&mut all);
    Ok(Some(if not { vec![all.concat()] } else { all }))
}

fn state_of(word: &Word<'_>) -> Result<CtState, ParseError> {
    let states = [CtState::Invalid, CtState::New, CtState::Related, CtState::Established, CtState::Untracked];
    let known = states.into_iter().find(|known| state(*known) == word.text);
    known.ok_or_else(|| word.expected("a state of conntrack"))
}

fn status(not: bool, values: &[Word<'_>]) -> Option<Match> {
    let [only] = values else { return None };
    let state = [CtState::Snat, CtState::Dnat].into_iter().find(|known| state(*known) == only.text)?;
    let state = Some(Is { not, value: vec![state] });
    Some(Match::Conntrack(ConntrackMatch { state, ..ConntrackMatch::default() }))
}

fn direction(not: bool, values: &[Word<'_>]) -> Option<Match> {
    let [only] = values else { return None };
    let original = match only.text {
        "original" => !not,
        "reply" => not,
        _ => return None,
    };
    Some(Match::Conntrack(ConntrackMatch { original: Some(original), ..ConntrackMatch::default() }))
}

fn original(side: AddressSide, not: bool, values: &[Word<'_>]) -> Result<Alternatives, ParseError> {
    each(values, not, |word| {
        let net = word.text.parse::<IpNet>().or_else(|_| word.text.parse::<IpAddr>().map(IpNet::from));
        let is = Some(Is { not, value: net.map_err(|_| word.expected("an address or a network"))? });
        Ok(vec![Match::Conntrack(match side {
            AddressSide::Source => ConntrackMatch { orig_source: is, ..ConntrackMatch::default() },
            AddressSide::Destination => ConntrackMatch { orig_destination: is, ..ConntrackMatch::default() },
        })])
    })
}

/// Whether one of these is the family.
fn is_family(values: &[Word<'_>], family: Family) -> Result<bool, ParseError> {
    let names = match family {
        Family::V4 => ["ipv4", "ip", "0x0800"],
        Family::V6 => ["ipv6", "ip6", "0x86dd"],
    };
    let known = ["ipv4", "ip", "0x0800", "ipv6", "ip6", "0x86dd", "arp", "vlan"];
    match values.iter().find(|word| !known.contains(&word.text)) {
        Some(other) => Err(other.expected("ipv4 or ipv6")),
        None => Ok(values.iter().any(|word| names.contains(&word.text))),
    }
}

fn kind_of(word: &Word<'_>) -> Result<AddrType, ParseError> {
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
    let known = kinds.into_iter().find(|kind| address_type(*kind) == Some(word.text));
    known.ok_or_else(|| word.expected("a type of address"))
}

fn address_types(side: AddressSide, device: Option<bool>, is: Is<Vec<AddrType>>) -> Match {
    let (limit_iface_in, limit_iface_out) = (device == Some(true), device == Some(false));
    let (source, destination) = match side {
        AddressSide::Source => (Some(is), None),
        AddressSide::Destination => (None, Some(is)),
    };
    Match::AddrType(AddrTypeMatch { source, destination, limit_iface_in, limit_iface_out })
}
