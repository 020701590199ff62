//! Names that nft takes for numbers.

/// Protocols by names that nft does not print (/etc/protocols).
pub(super) const PROTOCOLS: [(&str, u8); 7] =
    [("icmpv6", 58), ("gre", 47), ("esp", 50), ("ah", 51), ("igmp", 2), ("udplite", 136), ("dccp", 33)];

/// Services (/etc/services); any other is told by its number.
pub(super) const SERVICES: [(&str, u16); 23] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("netbios-ns", 137),
    ("imap2", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("submission", 587),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("mdns", 5353),
];

/// Flags of TCP (RFC 9293).
pub(super) const TCP_FLAGS: [(&str, u32); 8] =
    [("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ecn", 64), ("cwr", 128)];

/// Types of ICMP (nftables, src/proto.c, `icmp_type_tbl`).
pub(super) const ICMP: [(&str, u8); 13] = [
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
    ("address-mask-request", 17),
    ("address-mask-reply", 18),
];

/// Types of ICMPv6 (nftables, src/proto.c, `icmp6_type_tbl`).
pub(super) const ICMPV6: [(&str, u8); 17] = [
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("mld-listener-reduction", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
    ("router-renumbering", 138),
    ("mld2-listener-report", 143),
];

/// What `reject with icmp …` answers (`icmp_code_tbl`).
pub(super) const ICMP_CODES: [(&str, u8); 7] = [
    ("net-unreachable", 0),
    ("host-unreachable", 1),
    ("prot-unreachable", 2),
    ("port-unreachable", 3),
    ("net-prohibited", 9),
    ("host-prohibited", 10),
    ("admin-prohibited", 13),
];

/// What `reject with icmpv6 …` answers (`icmpv6_code_tbl`).
pub(super) const ICMPV6_CODES: [(&str, u8); 6] = [
    ("no-route", 0),
    ("admin-prohibited", 1),
    ("addr-unreachable", 3),
    ("port-unreachable", 4),
    ("policy-fail", 5),
    ("reject-route", 6),
];

/// What `reject with icmpx …` answers in each family (`nft_icmp_code` of the kernel).
pub(super) const ICMPX_CODES: [(&str, u8, u8); 4] =
    [("no-route", 0, 0), ("port-unreachable", 3, 4), ("host-unreachable", 1, 3), ("admin-prohibited", 13, 1)];
