//! What the options of each modelled match mean.

use super::ParseError;
use super::extension::{Extension, Opt};
use super::lex::Word;
use super::{names, value};
use crate::addr::Family;
use crate::rules::{
    AddrTypeMatch, AddressSide, ConntrackMatch, HopLimitMatch, IcmpType, Is, Match, MultiportMatch,
    MultiportSide, PhysDevMatch, PortsMatch, Protocol, SetMatch, TcpFlagsMatch, TcpMatch,
};

/// The match that a module's options stand for.
pub(super) fn build(
    module: &Extension<'_>,
    family: Family,
    protocol: Option<Is<Protocol>>,
) -> Result<Match, ParseError> {
    require_protocol(module, family, protocol)?;
    if module.is_verbatim() {
        return Ok(Match::Other { module: module.name.text.clone(), options: module.words.clone() });
    }
    Ok(match module.name.text.as_str() {
        "tcp" => Match::Tcp(tcp(module)?),
        "udp" => Match::Udp(ports(module)?),
        "sctp" => Match::Sctp(ports(module)?),
        "icmp" => Match::Icmp(icmp(module, Family::V4, "--icmp-type")?),
        "icmp6" => Match::Icmp(icmp(module, Family::V6, "--icmpv6-type")?),
        "addrtype" => Match::AddrType(addrtype(module)?),
        "conntrack" => Match::Conntrack(conntrack(module, family)?),
        "state" => {
            let state = required(module, "--state")?;
            let known = names::CT_STATES.get(..5).unwrap_or_default();
            Match::State(state.is(value::list(state.value()?, known)?))
        }
        "mark" => Match::Mark(mark(module)?),
        "connmark" => Match::ConnMark(mark(module)?),
        "comment" => {
            let comment = module.plain("--comment")?.ok_or_else(|| missing(module, "--comment"))?;
            Match::Comment(comment.value()?.text.clone())
        }
        "multiport" => Match::Multiport(multiport(module)?),
        "physdev" => Match::PhysDev(physdev(module)?),
        "ttl" => Match::Ttl(hop_limit(module)?),
        "hl" => Match::HopLimit(hop_limit(module)?),
        "set" => match set(module)? {
            Some(set) => Match::Set(set),
            // Sets of ports, and of several things at once.
            None => Match::Other { module: module.name.text.clone(), options: module.words.clone() },
        },
        _ => Match::Other { module: module.name.text.clone(), options: module.words.clone() },
    })
}

/// The protocols a module needs `-p` to name.
fn require_protocol(
    module: &Extension<'_>,
    family: Family,
    protocol: Option<Is<Protocol>>,
) -> Result<(), ParseError> {
    let (needed, text): (&[u8], _) = match module.name.text.as_str() {
        "tcp" => (&[6], "'-p tcp' in the same rule"),
        "udp" => (&[17], "'-p udp' in the same rule"),
        "sctp" => (&[132], "'-p sctp' in the same rule"),
        "icmp" => (&[1], "'-p icmp' in the same rule"),
        "icmp6" => (&[58], "'-p ipv6-icmp' in the same rule"),
        "ttl" | "hl" => return only_in(module, family),
        "multiport" => (&[6, 17, 33, 132, 136], "'-p tcp', '-p udp' or another with ports in the same rule"),
        _ => return Ok(()),
    };
    let wrong_family =
        matches!((module.name.text.as_str(), family), ("icmp", Family::V6) | ("icmp6", Family::V4));
    if wrong_family {
        return Err(module.name.expected("a module of this family: icmp in iptables, icmp6 in ip6tables"));
    }
    match protocol {
        Some(Is { not: false, value }) if needed.contains(&value.0) => Ok(()),
        Some(_) | None => Err(module.name.expected(text)),
    }
}

/// `ttl` is IPv4's and `hl` is IPv6's.
fn only_in(module: &Extension<'_>, family: Family) -> Result<(), ParseError> {
    match (module.name.text.as_str(), family) {
        ("ttl", Family::V6) | ("hl", Family::V4) => {
            Err(module.name.expected("a module of this family: ttl in iptables, hl in ip6tables"))
        }
        (_, Family::V4 | Family::V6) => Ok(()),
    }
}

fn missing(module: &Extension<'_>, option: &str) -> ParseError {
    module.name.expected(format!("{option} behind the module"))
}

fn required<'e, 'a>(module: &'e Extension<'a>, option: &str) -> Result<&'e Opt<'a>, ParseError> {
    module.option(option).ok_or_else(|| missing(module, option))
}

fn ports(module: &Extension<'_>) -> Result<PortsMatch, ParseError> {
    let range = |name| {
        let Some(option) = module.option(name) else { return Ok(None) };
        let word = option.value()?;
        let range = option.is(value::match_ports(word, &word.text)?);
        // Every port is no condition: iptables does not write it.
        let all = !range.not && range.value.first() == 0 && range.value.last() == u16::MAX;
        Ok((!all).then_some(range))
    };
    Ok(PortsMatch { source: range("--sport")?, destination: range("--dport")? })
}

fn tcp(module: &Extension<'_>) -> Result<TcpMatch, ParseError> {
    let flags = match (module.option("--tcp-flags"), module.option("--syn")) {
        (Some(_), Some(syn)) => return Err(syn.word.expected("either --syn or --tcp-flags")),
        (Some(flags), None) => match flags.values.as_slice() {
            [mask, set] => Some(flags.is(TcpFlagsMatch { mask: tcp_flags(mask)?, set: tcp_flags(set)? })),
            _ => return Err(flags.word.expected("a mask and the flags to be set behind the option")),
        },
        // FIN, SYN, RST, ACK of which SYN alone is set.
        (None, Some(syn)) => Some(syn.is(TcpFlagsMatch { mask: 0x17, set: 0x02 })),
        (None, None) => None,
    };
    let option = module
        .option("--tcp-option")
        .map(|o| {
            let word = o.value()?;
            let number = value::number(&word.text).and_then(|n| u8::try_from(n).ok()).filter(|n| *n > 0);
            number.map(|n| o.is(n)).ok_or_else(|| word.expected("the number of a TCP option, 1 to 255"))
        })
        .transpose()?;
    Ok(TcpMatch { ports: ports(module)?, flags, option })
}

/// A list of flags, `ALL` or `NONE`, as bits.
fn tcp_flags(word: &Word<'_>) -> Result<u8, ParseError> {
    word.text.split(',').try_fold(0, |bits, name| {
        let upper = name.to_ascii_uppercase();
        let bit = match upper.as_str() {
            "ALL" => Some(0x3f),
            "NONE" => Some(0),
            _ => names::TCP_FLAGS.iter().find(|(known, _)| *known == upper).map(|(_, bit)| *bit),
        };
        bit.map(|bit| bits | bit)
            .ok_or_else(|| word.expected("a list of FIN, SYN, RST, PSH, ACK, URG, or ALL or NONE"))
    })
}

fn icmp(module: &Extension<'_>, family: Family, option: &str) -> Result<Is<IcmpType>, ParseError> {
    let Some(option) = module.option(option) else { return Err(missing(module, option)) };
    let word = option.value()?;
    if word.text == "any" && family == Family::V4 {
        return Ok(option.is(IcmpType { kind: None, code: None }));
    }
    let number = |text| value::number(text).and_then(|n| u8::try_from(n).ok());
    let (kind, code) = word.text.split_once('/').map_or((word.text.as_str(), None), |(k, c)| (k, Some(c)));
    let numbered = || {
        let code = code.map(|c| number(c).ok_or(())).transpose().ok()?;
        Some(IcmpType { kind: Some(number(kind)?), code })
    };
    let icmp = numbered().or_else(|| names::icmp_type(family, &word.text));
    icmp.map(|t| option.is(t))
        .ok_or_else(|| word.expected("an ICMP type: TYPE, TYPE/CODE or a name, as in 8, 3/4, echo-request"))
}

fn addrtype(module: &Extension<'_>) -> Result<AddrTypeMatch, ParseError> {
    let types = |name| {
        let option = module.option(name);
        option.map(|o| Ok(o.is(value::list(o.value()?, names::ADDR_TYPES)?))).transpose()
    };
    let (source, destination) = (types("--src-type")?, types("--dst-type")?);
    if source.is_none() && destination.is_none() {
        return Err(module.name.expected("--src-type or --dst-type behind the module"));
    }
    Ok(AddrTypeMatch {
        source,
        destination,
        limit_iface_in: module.flag("--limit-iface-in")?,
        limit_iface_out: module.flag("--limit-iface-out")?,
    })
}

fn conntrack(module: &Extension<'_>, family: Family) -> Result<ConntrackMatch, ParseError> {
    if module.options.is_empty() {
        return Err(module.name.expected("an option of conntrack, as in --ctstate"));
    }
    let net = |name| {
        let option = module.option(name);
        option.map(|o| Ok(o.is(value::net(family, o.value()?, &o.value()?.text)?))).transpose()
    };
    let state = module.option("--ctstate");
    let protocol = module.option("--ctproto");
    let port = module.option("--ctorigdstport");
    let original = module.plain("--ctdir")?.map(|option| {
        let word = option.value()?;
        match word.text.to_ascii_uppercase().as_str() {
            "ORIGINAL" => Ok(true),
            "REPLY" => Ok(false),
            _ => Err(word.expected("ORIGINAL or REPLY")),
        }
    });
    Ok(ConntrackMatch {
        state: state.map(|o| Ok(o.is(value::list(o.value()?, names::CT_STATES)?))).transpose()?,
        protocol: protocol.map(|o| Ok(o.is(value::protocol(o.value()?)?))).transpose()?,
        orig_source: net("--ctorigsrc")?,
        orig_destination: net("--ctorigdst")?,
        orig_destination_port: port
            .map(|o| Ok(o.is(value::match_ports(o.value()?, &o.value()?.text)?)))
            .transpose()?,
        original: original.transpose()?,
    })
}

fn mark(module: &Extension<'_>) -> Result<Is<crate::rules::MarkValue>, ParseError> {
    let mark = required(module, "--mark")?;
    Ok(mark.is(value::mark(mark.value()?)?))
}

fn multiport(module: &Extension<'_>) -> Result<MultiportMatch, ParseError> {
    let (option, which) = match module.options.as_slice() {
        [option] => match option.known.names.first() {
            Some(&"--sports") => (option, MultiportSide::Source),
            Some(&"--dports") => (option, MultiportSide::Destination),
            Some(_) | None => (option, MultiportSide::Either),
        },
        _ => return Err(module.name.expected("one of --sports, --dports, --ports behind the module")),
    };
    let word = option.value()?;
    let ports: Vec<_> =
        word.text.split(',').map(|t| value::match_ports(word, t)).collect::<Result<_, _>>()?;
    // A range takes two of the module's places (XT_MULTI_PORTS).
    let places: usize = ports.iter().map(|p| if p.count() == 1 { 1 } else { 2 }).sum();
    if places > 15 {
        return Err(word.expected("at most 15 ports, a range counted twice"));
    }
    Ok(MultiportMatch { which, ports: option.is(ports) })
}

/// A set of networks that one address is looked up in.
fn set(module: &Extension<'_>) -> Result<Option<Is<SetMatch>>, ParseError> {
    let option = required(module, "--match-set")?;
    let [name, side] = option.values.as_slice() else {
        return Err(option.word.expected("a set and what is looked up in it behind the option"));
    };
    let side = match side.text.as_str() {
        "src" => AddressSide::Source,
        "dst" => AddressSide::Destination,
        _ => return Ok(None),
    };
    Ok(Some(option.is(SetMatch { name: name.text.clone(), side, networks: None })))
}

fn hop_limit(module: &Extension<'_>) -> Result<HopLimitMatch, ParseError> {
    let [option] = module.options.as_slice() else {
        return Err(module.name.expected("one option behind the module, as in --ttl-eq or --hl-eq"));
    };
    let word = option.value()?;
    let number = value::number(&word.text).and_then(|n| u8::try_from(n).ok());
    let number = number.ok_or_else(|| word.expected("a number of hops, 0 to 255"))?;
    match option.known.names.first() {
        Some(&"--ttl-lt" | &"--hl-lt") if !option.not => Ok(HopLimitMatch::Below(number)),
        Some(&"--ttl-gt" | &"--hl-gt") if !option.not => Ok(HopLimitMatch::Above(number)),
        Some(&"--ttl-eq" | &"--hl-eq") => Ok(HopLimitMatch::Exactly(option.is(number))),
        Some(_) | None => Err(option.word.expected("an option that can be negated after '!'")),
    }
}

fn physdev(module: &Extension<'_>) -> Result<PhysDevMatch, ParseError> {
    if module.options.is_empty() {
        return Err(module.name.expected("an option of physdev, as in --physdev-in"));
    }
    let device = |name| {
        let option = module.option(name);
        option.map(|o| Ok(o.is(value::interface(o.value()?)?))).transpose()
    };
    let flag = |name| module.option(name).map(|o| o.is(()));
    Ok(PhysDevMatch {
        input: device("--physdev-in")?,
        output: device("--physdev-out")?,
        is_in: flag("--physdev-is-in"),
        is_out: flag("--physdev-is-out"),
        is_bridged: flag("--physdev-is-bridged"),
    })
}
