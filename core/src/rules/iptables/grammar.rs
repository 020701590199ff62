//! Which match and which target takes which options, and how many words each takes.

/// An option of a module that this program knows.
#[derive(Debug)]
pub(super) struct Known {
    /// Its names, the one iptables writes first.
    pub names: &'static [&'static str],
    /// How many words follow it.
    pub words: usize,
    /// Whether it is modelled; one that is not makes the whole module be kept as written.
    pub modelled: bool,
}

const fn option(names: &'static [&'static str], words: usize) -> Known {
    Known { names, words, modelled: true }
}

const fn verbatim(names: &'static [&'static str], words: usize) -> Known {
    Known { names, words, modelled: false }
}

const SPORT: Known = option(&["--sport", "--source-port"], 1);
const DPORT: Known = option(&["--dport", "--destination-port"], 1);

const TCP: &[Known] =
    &[SPORT, DPORT, option(&["--tcp-option"], 1), option(&["--tcp-flags"], 2), option(&["--syn"], 0)];
const UDP: &[Known] = &[SPORT, DPORT];
const SCTP: &[Known] = &[SPORT, DPORT, verbatim(&["--chunk-types"], 2)];
const ICMP: &[Known] = &[option(&["--icmp-type"], 1)];
const ICMP6: &[Known] = &[option(&["--icmpv6-type"], 1)];
const ADDRTYPE: &[Known] = &[
    option(&["--src-type"], 1),
    option(&["--dst-type"], 1),
    option(&["--limit-iface-in"], 0),
    option(&["--limit-iface-out"], 0),
];
const CONNTRACK: &[Known] = &[
    option(&["--ctstate"], 1),
    option(&["--ctproto"], 1),
    option(&["--ctorigsrc"], 1),
    option(&["--ctorigdst"], 1),
    verbatim(&["--ctreplsrc"], 1),
    verbatim(&["--ctrepldst"], 1),
    verbatim(&["--ctorigsrcport"], 1),
    option(&["--ctorigdstport"], 1),
    verbatim(&["--ctreplsrcport"], 1),
    verbatim(&["--ctrepldstport"], 1),
    verbatim(&["--ctstatus"], 1),
    verbatim(&["--ctexpire"], 1),
    option(&["--ctdir"], 1),
];
const STATE: &[Known] = &[option(&["--state"], 1)];
const MARK_MATCH: &[Known] = &[option(&["--mark"], 1)];
const COMMENT: &[Known] = &[option(&["--comment"], 1)];
const MULTIPORT: &[Known] = &[
    option(&["--sports", "--source-ports"], 1),
    option(&["--dports", "--destination-ports"], 1),
    option(&["--ports"], 1),
];
const PHYSDEV: &[Known] = &[
    option(&["--physdev-is-in"], 0),
    option(&["--physdev-in"], 1),
    option(&["--physdev-is-out"], 0),
    option(&["--physdev-out"], 1),
    option(&["--physdev-is-bridged"], 0),
];
const TTL: &[Known] =
    &[option(&["--ttl-eq", "--ttl"], 1), option(&["--ttl-lt"], 1), option(&["--ttl-gt"], 1)];
const SET: &[Known] = &[
    option(&["--match-set"], 2),
    verbatim(&["--return-nomatch"], 0),
    verbatim(&["--update-counters"], 0),
    verbatim(&["--update-subcounters"], 0),
    verbatim(&["--packets-eq"], 1),
    verbatim(&["--packets-lt"], 1),
    verbatim(&["--packets-gt"], 1),
    verbatim(&["--bytes-eq"], 1),
    verbatim(&["--bytes-lt"], 1),
    verbatim(&["--bytes-gt"], 1),
];
const HL: &[Known] = &[option(&["--hl-eq", "--hl"], 1), option(&["--hl-lt"], 1), option(&["--hl-gt"], 1)];

/// The options of a match; nothing for one that is kept as written.
pub(super) fn of_match(module: &str) -> Option<&'static [Known]> {
    Some(match module {
        "tcp" => TCP,
        "udp" => UDP,
        "sctp" => SCTP,
        "icmp" => ICMP,
        "icmp6" => ICMP6,
        "addrtype" => ADDRTYPE,
        "conntrack" => CONNTRACK,
        "state" => STATE,
        "mark" | "connmark" => MARK_MATCH,
        "comment" => COMMENT,
        "multiport" => MULTIPORT,
        "physdev" => PHYSDEV,
        "ttl" => TTL,
        "hl" => HL,
        "set" => SET,
        _ => return None,
    })
}

const RANDOM: Known = option(&["--random"], 0);
const RANDOM_FULLY: Known = option(&["--random-fully"], 0);
const PERSISTENT: Known = option(&["--persistent"], 0);
const TO_PORTS: Known = option(&["--to-ports"], 1);

const REJECT: &[Known] = &[option(&["--reject-with"], 1)];
const DNAT: &[Known] = &[option(&["--to-destination"], 1), RANDOM, PERSISTENT];
const SNAT: &[Known] = &[option(&["--to-source"], 1), RANDOM, RANDOM_FULLY, PERSISTENT];
const MASQUERADE: &[Known] = &[TO_PORTS, RANDOM, RANDOM_FULLY];
const REDIRECT: &[Known] = &[TO_PORTS, RANDOM];
const MARK: &[Known] = &[
    option(&["--set-xmark"], 1),
    option(&["--set-mark"], 1),
    option(&["--and-mark"], 1),
    option(&["--or-mark"], 1),
    option(&["--xor-mark"], 1),
];
const CT: &[Known] = &[
    option(&["--notrack"], 0),
    verbatim(&["--helper"], 1),
    verbatim(&["--timeout"], 1),
    verbatim(&["--ctevents"], 1),
    verbatim(&["--expevents"], 1),
    verbatim(&["--zone-orig"], 1),
    verbatim(&["--zone-reply"], 1),
    verbatim(&["--zone"], 1),
];

/// The options of a target; nothing for one that is kept as written.
pub(super) fn of_target(target: &str) -> Option<&'static [Known]> {
    Some(match target {
        "ACCEPT" | "DROP" | "RETURN" | "NOTRACK" => &[],
        "REJECT" => REJECT,
        "DNAT" => DNAT,
        "SNAT" => SNAT,
        "MASQUERADE" => MASQUERADE,
        "REDIRECT" => REDIRECT,
        "MARK" => MARK,
        "CT" => CT,
        _ => return None,
    })
}

/// Targets that change nothing a rule could see: they log, trace, count, or fill in a checksum.
const WATCHERS: &[&str] =
    &["AUDIT", "CHECKSUM", "IDLETIMER", "LED", "LOG", "NFLOG", "RATEEST", "TRACE", "ULOG"];

/// Every other target of man 8 iptables-extensions, kept as written.
const OTHERS: &[&str] = &[
    "CLASSIFY",
    "CLUSTERIP",
    "CONNMARK",
    "CONNSECMARK",
    "DNPT",
    "DSCP",
    "ECN",
    "HL",
    "HMARK",
    "NETMAP",
    "NFQUEUE",
    "QUEUE",
    "SECMARK",
    "SET",
    "SNPT",
    "SYNPROXY",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TPROXY",
    "TTL",
];

/// The targets of xtables-addons, kept as written.
const ADDONS: &[&str] = &[
    "ACCOUNT", "CHAOS", "DELUDE", "DHCPMAC", "DNETMAP", "ECHO", "IPMARK", "LOGMARK", "PROTO", "SYSRQ",
    "TARPIT",
];

/// Whether a target lets the packet go on as it was.
pub(super) fn is_watcher(target: &str) -> bool {
    WATCHERS.contains(&target)
}

/// Whether a name is a target of iptables, and not the name of a chain.
pub(super) fn is_target(name: &str) -> bool {
    of_target(name).is_some() || is_watcher(name) || OTHERS.contains(&name) || ADDONS.contains(&name)
}

/// The option a word names: by one of its names, or by the only one that begins so.
pub(super) fn find(options: &'static [Known], word: &str) -> Option<&'static Known> {
    let exact = options.iter().find(|o| o.names.contains(&word));
    exact.or_else(|| {
        let mut candidates = options.iter().filter(|o| {
            word.len() > 2 && word.starts_with("--") && o.names.iter().any(|n| n.starts_with(word))
        });
        let first = candidates.next();
        first.filter(|_| candidates.next().is_none())
    })
}

/// The options' names, for a message.
pub(super) fn list(options: &[Known]) -> String {
    let names: Vec<_> = options.iter().filter_map(|o| o.names.first().copied()).collect();
    if names.is_empty() { "no option".to_owned() } else { names.join(", ") }
}
