//! What a rule asks, in nft's words.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{AS_WRITTEN, statement, weight};
use crate::addr::{Family, IfName, IpNet, PortRange};
use crate::rules::{
    AddrType, AddrTypeMatch, AddressSide, ConntrackMatch, CtState, HopLimitMatch, IcmpType, Is, MapKey,
    MarkValue, Match, MultiportMatch, MultiportSide, PhysDevMatch, PortsMatch, Protocol, Rule, SetMatch,
    Target, TcpMatch,
};

/// A rule as one line: its matches, a counter as iptables keeps one (Docker has none where it asks a map), and what it
/// does.
///
/// # Errors
/// What has no words in nft, as iptables writes it.
pub fn rule(family: Family, rule: &Rule) -> Result<String, String> {
    let ip = match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let mut words = Vec::new();
    let mut comment = None;
    for m in &rule.matches {
        if let Match::Comment(text) = m {
            comment = Some(text);
        }
        // Ports are those of a protocol: where they are asked for, its name is in the question.
        let named = matches!(m, Match::Protocol(Is { not: false, value }) if asks_ports(rule, *value));
        if let Match::Multiport(ports) = m {
            words.extend(multiport(transport(rule), ports)?);
        } else if !named {
            words.extend(expression(ip, m)?);
        }
    }
    if !matches!(rule.target, Some(Target::Vmap { .. })) {
        words.push("counter".to_owned());
    }
    words.extend(rule.target.as_ref().map(statement::statement).transpose()?.flatten());
    words.extend(comment.map(|text| format!("comment \"{}\"", text.replace('"', "'"))));
    Ok(words.join(" "))
}

fn asks_ports(rule: &Rule, protocol: Protocol) -> bool {
    let some = |ports: &PortsMatch| ports.source.is_some() || ports.destination.is_some();
    rule.matches.iter().any(|m| match m {
        Match::Tcp(tcp) => protocol == Protocol::TCP && (some(&tcp.ports) || tcp.flags.is_some()),
        Match::Udp(ports) => protocol == Protocol::UDP && some(ports),
        Match::Sctp(ports) => protocol == Protocol::SCTP && some(ports),
        Match::Icmp(Is { value: IcmpType { kind: Some(_), .. }, .. }) => {
            [Protocol::ICMP, Protocol::ICMPV6].contains(&protocol)
        }
        Match::Source(_) | Match::Destination(_) | Match::InInterface(_) | Match::OutInterface(_) => false,
        Match::InInterfaces(_) => false,
        Match::Protocol(_) | Match::Fragment(_) | Match::Icmp(_) | Match::AddrType(_) => false,
        Match::Conntrack(_) | Match::State(_) | Match::Mark(_) | Match::ConnMark(_) => false,
        Match::Multiport(_) => transport(rule) != "th",
        Match::Comment(_) | Match::PhysDev(_) => false,
        Match::Set(_) | Match::Ttl(_) | Match::HopLimit(_) | Match::Other { .. } => false,
    })
}

/// The protocol that a rule asks for, by the name its ports have; of none, or of another, those of `th`.
fn transport(rule: &Rule) -> &'static str {
    let named = |m: &Match| {
        let Match::Protocol(Is { not: false, value }) = m else { return None };
        match *value {
            Protocol::TCP => Some("tcp"),
            Protocol::UDP => Some("udp"),
            Protocol::SCTP => Some("sctp"),
            Protocol(_) => None,
        }
    };
    rule.matches.iter().find_map(named).unwrap_or("th")
}

/// One match; several expressions where it asks several things.
fn expression(ip: &str, m: &Match) -> Result<Vec<String>, String> {
    let one = |text: String| Ok(vec![text]);
    match m {
        Match::Source(net) => one(is(&format!("{ip} saddr"), net.not, bare(net.value))),
        Match::Destination(net) => one(is(&format!("{ip} daddr"), net.not, bare(net.value))),
        Match::InInterface(device) => one(is("iifname", device.not, pattern(&device.value.0))),
        Match::OutInterface(device) => one(is("oifname", device.not, pattern(&device.value.0))),
        Match::Protocol(Is { value: Protocol(0), not: false }) => Ok(Vec::new()),
        Match::InInterfaces(names) => one(devices(names)),
        // An IPv6 header names the first of its extensions, and an IPv4 header the protocol itself.
        Match::Protocol(p) if ip == "ip" => one(is("ip protocol", p.not, protocol(p.value))),
        Match::Protocol(p) => one(is("meta l4proto", p.not, protocol(p.value))),
        Match::Fragment(Is { not, .. }) if ip == "ip" => {
            one(format!("ip frag-off & 0x1fff {} 0", if *not { "==" } else { "!=" }))
        }
        Match::Tcp(tcp) => tcp_words(tcp),
        Match::Udp(ports) => Ok(ports_words("udp", ports)),
        Match::Sctp(ports) => Ok(ports_words("sctp", ports)),
        Match::Icmp(kind) => Ok(icmp(ip, kind)),
        Match::AddrType(kinds) => address_types(kinds),
        Match::Conntrack(ct) => conntrack(ip, ct),
        Match::State(states) => one(is("ct state", states.not, list(&states.value, state))),
        Match::Mark(mark) => one(marked("meta mark", mark)),
        Match::ConnMark(mark) => one(marked("ct mark", mark)),
        Match::Multiport(ports) => multiport("th", ports),
        Match::PhysDev(device) => physdev(device),
        Match::Ttl(limit) => one(hop_limit("ip ttl", *limit)),
        Match::HopLimit(limit) => one(hop_limit("ip6 hoplimit", *limit)),
        Match::Comment(_) => Ok(Vec::new()),
        Match::Set(set) => networks(ip, set).map(|words| vec![words]).ok_or_else(|| as_written(m)),
        Match::Other { module, options } if module == AS_WRITTEN => one(options.join(" ")),
        Match::Fragment(_) | Match::Other { .. } => Err(as_written(m)),
    }
}

/// `ip saddr { … }`; a set of ipset, which has a name, is none of nft's.
fn networks(ip: &str, set: &Is<SetMatch>) -> Option<String> {
    let networks = set.value.networks.as_ref().filter(|_| set.value.name.is_empty())?;
    let field = match set.value.side {
        AddressSide::Source => "saddr",
        AddressSide::Destination => "daddr",
    };
    let all: Vec<String> = networks.iter().map(|net| bare(*net)).collect();
    Some(is(&format!("{ip} {field}"), set.not, format!("{{ {} }}", all.join(", "))))
}

/// What has no words in nft, as iptables writes it.
fn as_written(m: &Match) -> String {
    Rule { matches: vec![m.clone()], target: None, counters: None }.to_string()
}

fn is(what: &str, not: bool, value: impl Display) -> String {
    format!("{what} {}{value}", if not { "!= " } else { "" })
}

fn pattern(name: &str) -> String {
    format!("\"{}\"", name.strip_suffix('+').map_or_else(|| name.to_owned(), |start| format!("{start}*")))
}

/// `iifname { "eth3", "br0" }`, in nft's order.
pub(in crate::rules) fn devices(names: &Is<BTreeSet<IfName>>) -> String {
    let mut sorted: Vec<&IfName> = names.value.iter().collect();
    sorted.sort_by_key(|name| weight(name));
    let quoted: Vec<String> = sorted.iter().map(|name| format!("\"{name}\"")).collect();
    is("iifname", names.not, format!("{{ {} }}", quoted.join(", ")))
}

/// `oifname vmap @MAP`.
pub(in crate::rules) fn vmap(key: MapKey, map: &str) -> String {
    let key = match key {
        MapKey::InInterface => "iifname",
        MapKey::OutInterface => "oifname",
    };
    format!("{key} vmap @{map}")
}

/// A network, or the one address it is.
fn bare(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// A protocol by the name nft prints (/etc/protocols).
pub(super) fn protocol(protocol: Protocol) -> String {
    match protocol {
        Protocol::ICMP => "icmp".to_owned(),
        Protocol::TCP => "tcp".to_owned(),
        Protocol::UDP => "udp".to_owned(),
        Protocol::ICMPV6 => "ipv6-icmp".to_owned(),
        Protocol::SCTP => "sctp".to_owned(),
        Protocol(number) => number.to_string(),
    }
}

fn list<T: Copy>(values: &[T], name: impl Fn(T) -> &'static str) -> String {
    values.iter().map(|value| name(*value)).collect::<Vec<_>>().join(",")
}

fn range(ports: PortRange) -> String {
    if ports.first() == ports.last() {
        ports.first().to_string()
    } else {
        format!("{}-{}", ports.first(), ports.last())
    }
}

fn ports_words(protocol: &str, ports: &PortsMatch) -> Vec<String> {
    let side = |name: &str, ports: Option<Is<PortRange>>| {
        ports.map(|p| is(&format!("{protocol} {name}"), p.not, range(p.value)))
    };
    side("sport", ports.source).into_iter().chain(side("dport", ports.destination)).collect()
}

fn tcp_words(tcp: &TcpMatch) -> Result<Vec<String>, String> {
    if tcp.option.is_some() {
        return Err(as_written(&Match::Tcp(tcp.clone())));
    }
    let mut words = ports_words("tcp", &tcp.ports);
    words.extend(tcp.flags.map(|flags| {
        let sign = if flags.not { "!=" } else { "==" };
        format!("tcp flags & {:#x} {sign} {:#x}", flags.value.mask, flags.value.set)
    }));
    Ok(words)
}

fn icmp(ip: &str, kind: &Is<IcmpType>) -> Vec<String> {
    let name = if ip == "ip" { "icmp" } else { "icmpv6" };
    let Some(number) = kind.value.kind else { return Vec::new() };
    match kind.value.code {
        Some(code) => {
            vec![is(&format!("{name} type . {name} code"), kind.not, format!("{{ {number} . {code} }}"))]
        }
        None => vec![is(&format!("{name} type"), kind.not, number)],
    }
}

fn address_types(kinds: &AddrTypeMatch) -> Result<Vec<String>, String> {
    let refuse = || as_written(&Match::AddrType(kinds.clone()));
    let device = match (kinds.limit_iface_in, kinds.limit_iface_out) {
        (false, false) => "",
        (true, false) => " . iif",
        (false, true) => " . oif",
        (true, true) => return Err(refuse()),
    };
    let side = |field: &str, types: &Option<Is<Vec<AddrType>>>| -> Result<Option<String>, String> {
        let Some(types) = types else { return Ok(None) };
        let names: Option<Vec<&str>> = types.value.iter().map(|kind| address_type(*kind)).collect();
        match names.ok_or_else(refuse)?.as_slice() {
            [one] => Ok(Some(is(&format!("fib {field}{device} type"), types.not, one))),
            many => Ok(Some(is(
                &format!("fib {field}{device} type"),
                types.not,
                format!("{{ {} }}", many.join(", ")),
            ))),
        }
    };
    Ok(side("saddr", &kinds.source)?.into_iter().chain(side("daddr", &kinds.destination)?).collect())
}

pub(super) const fn address_type(kind: AddrType) -> Option<&'static str> {
    match kind {
        AddrType::Unspec => Some("unspec"),
        AddrType::Unicast => Some("unicast"),
        AddrType::Local => Some("local"),
        AddrType::Broadcast => Some("broadcast"),
        AddrType::Anycast => Some("anycast"),
        AddrType::Multicast => Some("multicast"),
        AddrType::Blackhole => Some("blackhole"),
        AddrType::Unreachable => Some("unreachable"),
        AddrType::Prohibit => Some("prohibit"),
        AddrType::Throw => None,
    }
}

fn conntrack(ip: &str, ct: &ConntrackMatch) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    if let Some(states) = &ct.state {
        let translated: Vec<CtState> =
            states.value.iter().copied().filter(|s| matches!(s, CtState::Snat | CtState::Dnat)).collect();
        match (translated.len(), states.value.len()) {
            (0, _) => words.push(is("ct state", states.not, list(&states.value, state))),
            (all, whole) if all == whole => words.push(is("ct status", states.not, list(&translated, state))),
            // States and translations in one question are either, and nft asks both.
            _ => return Err(as_written(&Match::Conntrack(ct.clone()))),
        }
    }
    words.extend(ct.protocol.map(|p| is("ct original protocol", p.not, p.value.0)));
    words.extend(ct.orig_source.map(|net| is(&format!("ct original {ip} saddr"), net.not, net.value)));
    words.extend(ct.orig_destination.map(|net| is(&format!("ct original {ip} daddr"), net.not, net.value)));
    words.extend(ct.orig_destination_port.map(|p| is("ct original proto-dst", p.not, range(p.value))));
    words.extend(
        ct.original.map(|original| format!("ct direction {}", if original { "original" } else { "reply" })),
    );
    Ok(words)
}

pub(super) const fn state(state: CtState) -> &'static str {
    match state {
        CtState::Invalid => "invalid",
        CtState::New => "new",
        CtState::Related => "related",
        CtState::Established => "established",
        CtState::Untracked => "untracked",
        CtState::Snat => "snat",
        CtState::Dnat => "dnat",
    }
}

fn marked(what: &str, mark: &Is<MarkValue>) -> String {
    let MarkValue { value, mask } = mark.value;
    let sign = if mark.not { "!=" } else { "==" };
    match mask {
        u32::MAX => is(what, mark.not, format!("{value:#010x}")),
        mask => format!("{what} & {mask:#010x} {sign} {value:#010x}"),
    }
}

fn multiport(of: &str, ports: &MultiportMatch) -> Result<Vec<String>, String> {
    let set: Vec<String> = ports.ports.value.iter().map(|p| range(*p)).collect();
    let set = format!("{{ {} }}", set.join(", "));
    match ports.which {
        MultiportSide::Source => Ok(vec![is(&format!("{of} sport"), ports.ports.not, set)]),
        MultiportSide::Destination => Ok(vec![is(&format!("{of} dport"), ports.ports.not, set)]),
        // Neither port is in the set: two questions. Either is: a choice, which no rule of nft has.
        MultiportSide::Either if ports.ports.not => {
            Ok(vec![is(&format!("{of} sport"), true, &set), is(&format!("{of} dport"), true, &set)])
        }
        MultiportSide::Either => Err(as_written(&Match::Multiport(ports.clone()))),
    }
}

/// Bridge ports are known to nft's `bridge` family alone (man 8 nft, `meta ibrname`).
fn hop_limit(field: &str, limit: HopLimitMatch) -> String {
    match limit {
        HopLimitMatch::Exactly(n) => is(field, n.not, n.value),
        HopLimitMatch::Below(n) => format!("{field} < {n}"),
        HopLimitMatch::Above(n) => format!("{field} > {n}"),
    }
}

fn physdev(device: &PhysDevMatch) -> Result<Vec<String>, String> {
    Err(as_written(&Match::PhysDev(device.clone())))
}
