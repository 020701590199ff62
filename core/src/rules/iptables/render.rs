//! Rules as `iptables-save` and `iptables -S` write them.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::names;
use crate::addr::{IpNet, PortRange};
use crate::rules::{
    AddrTypeMatch, AddressSide, ConntrackMatch, CtState, HopLimitMatch, IcmpType, Is, MarkValue, Match,
    MultiportMatch, MultiportSide, NatRange, PhysDevMatch, Policy, PortMap, PortsMatch, Protocol, RejectWith,
    Rule, Ruleset, Target, TcpMatch, nft,
};

/// The whole text of `iptables-save`, without its comment lines; a rule's counters where it has them.
#[must_use]
pub fn save(ruleset: &Ruleset) -> String {
    let mut text = String::new();
    for table in &ruleset.tables {
        text += &format!("*{}\n", table.name);
        for chain in &table.chains {
            let policy = match chain.base.map(|b| b.policy) {
                Some(Policy::Accept) => "ACCEPT",
                Some(Policy::Drop) => "DROP",
                None => "-",
            };
            text +=
                &format!(":{} {policy} [{}:{}]\n", chain.name, chain.counters.packets, chain.counters.bytes);
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                text += &rule.counters.map(|c| format!("[{}:{}] ", c.packets, c.bytes)).unwrap_or_default();
                text += &format!("{}\n", rule.command(&chain.name));
            }
        }
        text += "COMMIT\n";
    }
    text
}

impl Rule {
    /// The rule as a line of `iptables -S`: `-A CHAIN …`.
    #[must_use]
    pub fn command(&self, chain: &str) -> String {
        let rule = self.to_string();
        if rule.is_empty() { format!("-A {chain}") } else { format!("-A {chain} {rule}") }
    }
}

/// What `iptables -S` writes after `-A CHAIN `.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let icmp6 =
            self.matches.iter().any(|m| matches!(m, Match::Protocol(p) if p.value == Protocol::ICMPV6));
        let mut words = Words(String::new());
        for m in &self.matches {
            words.add_match(m, icmp6);
        }
        if let Some(target) = &self.target {
            words.target(target);
        }
        f.pad(words.0.trim_start())
    }
}

/// Words with a space before each.
struct Words(String);

impl Words {
    fn word(&mut self, word: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, " {word}");
    }

    /// `[!] OPTION VALUE`.
    fn option<T>(&mut self, name: &str, is: Is<T>, value: impl fmt::Display) {
        self.flag(name, &is);
        self.word(value);
    }

    /// `[!] OPTION`.
    fn flag<T>(&mut self, name: &str, is: &Is<T>) {
        if is.not {
            self.word("!");
        }
        self.word(name);
    }

    fn module(&mut self, name: &str) {
        self.word("-m");
        self.word(name);
    }

    fn add_match(&mut self, m: &Match, icmp6: bool) {
        match m {
            Match::Source(net) => self.option("-s", *net, net.value),
            Match::Destination(net) => self.option("-d", *net, net.value),
            Match::InInterface(name) => self.option("-i", Is { not: name.not, value: () }, &name.value.0),
            Match::OutInterface(name) => self.option("-o", Is { not: name.not, value: () }, &name.value.0),
            // iptables has no words for it: nft's.
            Match::InInterfaces(names) => self.word(nft::devices(names)),
            Match::Protocol(protocol) => self.option("-p", *protocol, protocol.value),
            Match::Fragment(fragment) => self.flag("-f", fragment),
            Match::Tcp(tcp) => self.tcp(tcp),
            Match::Udp(ports) => self.ports("udp", ports),
            Match::Sctp(ports) => self.ports("sctp", ports),
            Match::Icmp(icmp) if icmp6 => {
                self.module("icmp6");
                self.option("--icmpv6-type", *icmp, icmp.value);
            }
            Match::Icmp(icmp) => {
                self.module("icmp");
                self.option("--icmp-type", *icmp, icmp.value);
            }
            Match::AddrType(addrtype) => self.addrtype(addrtype),
            Match::Conntrack(conntrack) => self.conntrack(conntrack),
            Match::State(states) => {
                self.module("state");
                self.states("--state", states);
            }
            Match::Mark(mark) => {
                self.module("mark");
                self.option("--mark", *mark, mark.value);
            }
            Match::ConnMark(mark) => {
                self.module("connmark");
                self.option("--mark", *mark, mark.value);
            }
            Match::Comment(comment) => {
                self.module("comment");
                self.word("--comment");
                self.word(quote(comment));
            }
            Match::Multiport(multiport) => self.multiport(multiport),
            Match::PhysDev(physdev) => self.physdev(physdev),
            Match::Set(set) => {
                let side = match set.value.side {
                    AddressSide::Source => "src",
                    AddressSide::Destination => "dst",
                };
                self.module("set");
                self.option("--match-set", Is { not: set.not, value: () }, &set.value.name);
                self.word(side);
            }
            Match::Ttl(limit) => self.hop_limit("ttl", *limit),
            Match::HopLimit(limit) => self.hop_limit("hl", *limit),
            Match::Other { module, options } => {
                self.module(module);
                options.iter().for_each(|o| self.word(o));
            }
        }
    }

    fn ports(&mut self, module: &str, ports: &PortsMatch) {
        self.module(module);
        if let Some(range) = ports.source {
            self.option("--sport", range, Range(range.value, ':'));
        }
        if let Some(range) = ports.destination {
            self.option("--dport", range, Range(range.value, ':'));
        }
    }

    fn tcp(&mut self, tcp: &TcpMatch) {
        self.ports("tcp", &tcp.ports);
        if let Some(option) = tcp.option {
            self.option("--tcp-option", option, option.value);
        }
        if let Some(flags) = tcp.flags {
            self.option("--tcp-flags", flags, tcp_flags(flags.value.mask));
            self.word(tcp_flags(flags.value.set));
        }
    }

    fn addrtype(&mut self, m: &AddrTypeMatch) {
        self.module("addrtype");
        for (name, types) in [("--src-type", &m.source), ("--dst-type", &m.destination)] {
            if let Some(types) = types {
                self.option(name, Is { not: types.not, value: () }, list(&types.value, names::ADDR_TYPES));
            }
        }
        if m.limit_iface_in {
            self.word("--limit-iface-in");
        }
        if m.limit_iface_out {
            self.word("--limit-iface-out");
        }
    }

    fn states(&mut self, option: &str, states: &Is<Vec<CtState>>) {
        self.option(option, Is { not: states.not, value: () }, list(&states.value, names::CT_STATES));
    }

    /// In the order of `conntrack_dump` (libxt_conntrack.c).
    fn conntrack(&mut self, m: &ConntrackMatch) {
        self.module("conntrack");
        if let Some(states) = &m.state {
            self.states("--ctstate", states);
        }
        if let Some(protocol) = m.protocol {
            self.option("--ctproto", protocol, protocol.value.0);
        }
        if let Some(net) = m.orig_source {
            self.option("--ctorigsrc", net, bare(net.value));
        }
        if let Some(net) = m.orig_destination {
            self.option("--ctorigdst", net, bare(net.value));
        }
        if let Some(ports) = m.orig_destination_port {
            self.option("--ctorigdstport", ports, Range(ports.value, ':'));
        }
        if let Some(original) = m.original {
            self.word("--ctdir");
            self.word(if original { "ORIGINAL" } else { "REPLY" });
        }
    }

    fn multiport(&mut self, m: &MultiportMatch) {
        self.module("multiport");
        let option = match m.which {
            MultiportSide::Source => "--sports",
            MultiportSide::Destination => "--dports",
            MultiportSide::Either => "--ports",
        };
        let ports: Vec<_> = m.ports.value.iter().map(|p| Range(*p, ':').to_string()).collect();
        self.option(option, Is { not: m.ports.not, value: () }, ports.join(","));
    }

    /// In the order of `physdev_save` (libxt_physdev.c).
    fn physdev(&mut self, m: &PhysDevMatch) {
        self.module("physdev");
        m.is_in.iter().for_each(|is| self.flag("--physdev-is-in", is));
        if let Some(device) = &m.input {
            self.option("--physdev-in", Is { not: device.not, value: () }, &device.value.0);
        }
        m.is_out.iter().for_each(|is| self.flag("--physdev-is-out", is));
        if let Some(device) = &m.output {
            self.option("--physdev-out", Is { not: device.not, value: () }, &device.value.0);
        }
        m.is_bridged.iter().for_each(|is| self.flag("--physdev-is-bridged", is));
    }

    fn hop_limit(&mut self, module: &str, limit: HopLimitMatch) {
        self.module(module);
        match limit {
            HopLimitMatch::Exactly(is) => self.option(&format!("--{module}-eq"), is, is.value),
            HopLimitMatch::Below(n) => self.option(&format!("--{module}-lt"), Is::a(n), n),
            HopLimitMatch::Above(n) => self.option(&format!("--{module}-gt"), Is::a(n), n),
        }
    }

    fn target(&mut self, target: &Target) {
        let (flag, name) = match target {
            // iptables has no words for it: nft's.
            Target::Vmap { key, map } => return self.word(nft::vmap(*key, map)),
            Target::Goto(chain) => ("-g", chain.as_str()),
            Target::Jump(name) | Target::Watch { name, .. } | Target::Other { name, .. } => {
                ("-j", name.as_str())
            }
            Target::Accept => ("-j", "ACCEPT"),
            Target::Drop => ("-j", "DROP"),
            Target::Return => ("-j", "RETURN"),
            Target::Reject(_) => ("-j", "REJECT"),
            Target::Dnat(_) => ("-j", "DNAT"),
            Target::Snat(_) => ("-j", "SNAT"),
            Target::Masquerade(_) => ("-j", "MASQUERADE"),
            Target::Redirect(_) => ("-j", "REDIRECT"),
            Target::Mark(_) => ("-j", "MARK"),
            Target::NoTrack { old_name: false } => ("-j", "CT"),
            Target::NoTrack { old_name: true } => ("-j", "NOTRACK"),
        };
        self.word(flag);
        self.word(name);
        self.target_options(target);
    }

    fn target_options(&mut self, target: &Target) {
        match target {
            Target::Reject(with) => {
                self.word("--reject-with");
                self.word(reject(*with));
            }
            Target::Dnat(range) => self.nat("--to-destination", range),
            Target::Snat(range) => self.nat("--to-source", range),
            Target::Masquerade(ports) | Target::Redirect(ports) => {
                if let Some(range) = ports.ports {
                    self.word("--to-ports");
                    self.word(Range(range, '-'));
                }
                self.random(ports);
            }
            Target::Mark(mark) => {
                self.word("--set-xmark");
                self.word(format!("{:#x}/{:#x}", mark.value, mark.mask));
            }
            Target::NoTrack { old_name: false } => self.word("--notrack"),
            Target::Watch { options, .. } | Target::Other { options, .. } => {
                options.iter().for_each(|o| self.word(o));
            }
            Target::NoTrack { old_name: true }
            | Target::Accept
            | Target::Drop
            | Target::Return
            | Target::Jump(_)
            | Target::Goto(_)
            | Target::Vmap { .. } => {}
        }
    }

    fn nat(&mut self, option: &str, range: &NatRange) {
        self.word(option);
        self.word(nat_to(range));
        self.random(&range.ports);
        if range.persistent {
            self.word("--persistent");
        }
    }

    fn random(&mut self, ports: &PortMap) {
        if ports.random {
            self.word("--random");
        }
        if ports.random_fully {
            self.word("--random-fully");
        }
    }
}

/// A range of ports with a separator: `80`, `80:90`, `80-90`.
struct Range(PortRange, char);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(range, separator) = self;
        write!(f, "{}", range.first())?;
        if range.count() > 1 { write!(f, "{separator}{}", range.last()) } else { Ok(()) }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match names::protocol_name(*self) {
            Some(name) => f.pad(name),
            None => self.0.fmt(f),
        }
    }
}

/// As `--mark` takes it: the mask only where it leaves bits out.
impl fmt::Display for MarkValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask == u32::MAX { Ok(()) } else { write!(f, "/{:#x}", self.mask) }
    }
}

/// As `--icmp-type` takes it: `8`, `3/4`, `any`.
impl fmt::Display for IcmpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.code) {
            (None, _) => f.write_str("any"),
            (Some(kind), None) => write!(f, "{kind}"),
            (Some(kind), Some(code)) => write!(f, "{kind}/{code}"),
        }
    }
}

/// The names of values, with commas between.
fn list<T: PartialEq>(values: &[T], known: &[(&str, T)]) -> String {
    let name = |value: &T| known.iter().find(|(_, k)| k == value).map_or("", |(name, _)| name);
    values.iter().map(name).collect::<Vec<_>>().join(",")
}

fn tcp_flags(bits: u8) -> String {
    let names: Vec<_> =
        names::TCP_FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name).collect();
    if names.is_empty() { "NONE".to_owned() } else { names.join(",") }
}

/// A network without its prefix where that says nothing.
fn bare(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

fn reject(with: RejectWith) -> &'static str {
    let (family, code) = match with {
        RejectWith::TcpReset => return "tcp-reset",
        RejectWith::Icmp { code } => (crate::addr::Family::V4, code),
        RejectWith::Icmpv6 { code } => (crate::addr::Family::V6, code),
    };
    let known = names::rejects(family);
    known.iter().find(|(_, c)| *c == code).or(known.first()).map_or("", |(name, _)| name)
}

/// `ADDRESS[-ADDRESS][:PORT[-PORT]]`, an IPv6 address with a port in brackets.
fn nat_to(range: &NatRange) -> String {
    let addresses = match range.addresses {
        None => String::new(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    };
    match (range.ports.ports, range.addresses) {
        (None, _) => addresses,
        (Some(ports), Some((IpAddr::V6(_), _))) => format!("[{addresses}]:{}", Range(ports, '-')),
        (Some(ports), Some((IpAddr::V4(_), _)) | None) => format!("{addresses}:{}", Range(ports, '-')),
    }
}

/// A string as `xtables_save_string` writes it: bare if it is a plain word, else quoted with escapes.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '\'') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
