//! iptables-save text: what is read is written back, and what is wrong is named.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use seatrial_core::addr::Family;
use seatrial_core::rules::iptables::{ParseError, parse, save};

/// The rules of INPUT that a line stands for, as they are written back.
fn rewrite(family: Family, line: &str) -> Result<Vec<String>, ParseError> {
    let table = if line.contains("-j DNAT") || line.contains("-j REDIRECT") || line.contains("-j MASQ") {
        "nat"
    } else {
        "filter"
    };
    let text = format!("*{table}\n:X - [0:0]\n{line}\nCOMMIT\n");
    let ruleset = parse(&text, family)?;
    let chains = ruleset.tables.first().unwrap().chains.iter();
    Ok(chains.flat_map(|c| c.rules.iter().map(|r| r.command(&c.name))).collect())
}

#[test]
fn other_spellings_become_those_of_iptables_save() {
    // Each pair was seen on iptables 1.8.9, nf_tables and legacy alike.
    for (given, written) in [
        ("-A INPUT -f -s 1.2.3.4 -p 2", "-A INPUT -s 1.2.3.4/32 -p igmp -f"),
        ("-A INPUT ! -f -s 1.2.3.0/255.255.255.0 -p 47", "-A INPUT -s 1.2.3.0/24 -p gre ! -f"),
        ("-A INPUT -s 0/0 -d 1.2.3.4/24 -p all -j X", "-A INPUT -d 1.2.3.0/24 -j X"),
        ("-A INPUT -s 10.1", "-A INPUT -s 10.1.0.0/32"),
        ("-A INPUT -i + -j ACCEPT", "-A INPUT -j ACCEPT"),
        ("-A INPUT ! -i +", "-A INPUT ! -i +"),
        ("-A INPUT -p 0x6 --dport 0x50", "-A INPUT -p tcp -m tcp --dport 80"),
        (
            "-A INPUT --match tcp --protocol TCP --destination-port 80 --jump ACCEPT --source 1.1.1.1 --in-interface eth0",
            "-A INPUT -s 1.1.1.1/32 -i eth0 -p tcp -m tcp --dport 80 -j ACCEPT",
        ),
        (
            "-A INPUT -m addrtype --limit-iface-in --dst-type local,BROADCAST ! --src-type UNICAST",
            "-A INPUT -m addrtype ! --src-type UNICAST --dst-type LOCAL,BROADCAST --limit-iface-in",
        ),
        (
            "-A INPUT -p tcp -m multiport --source-ports 80,100:200 -j REJECT",
            "-A INPUT -p tcp -m multiport --sports 80,100:200 -j REJECT --reject-with icmp-port-unreachable",
        ),
        (
            "-A INPUT -p tcp -j REJECT --reject-with tcp-rst",
            "-A INPUT -p tcp -j REJECT --reject-with tcp-reset",
        ),
        (
            "-A INPUT -p tcp ! --syn -j ACCEPT",
            "-A INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT",
        ),
        (
            "-A INPUT -p tcp --tcp-flags ALL NONE -j DROP",
            "-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j DROP",
        ),
        (
            "-A INPUT -p tcp -m tcp --tcp-option 5 --dport 1:70 ! --sport :80 -j DROP",
            "-A INPUT -p tcp -m tcp ! --sport 0:80 --dport 1:70 --tcp-option 5 -j DROP",
        ),
        ("-A INPUT -p tcp -m tcp --dport 0:65535 -j DROP", "-A INPUT -p tcp -m tcp -j DROP"),
        ("-A INPUT -p icmp ! --icmp-type echo-request", "-A INPUT -p icmp -m icmp ! --icmp-type 8"),
        ("-A INPUT -p icmp --icmp-type port-unreachable", "-A INPUT -p icmp -m icmp --icmp-type 3/3"),
        ("-A INPUT -p icmp -m icmp --icmp-type any", "-A INPUT -p icmp -m icmp --icmp-type any"),
        (
            "-A INPUT -m conntrack --ctdir reply --ctstate SNAT,RELATED,ESTABLISHED --ctorigdst 1.2.3.4 --ctorigdstport 80 --ctproto tcp -j ACCEPT",
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,SNAT --ctproto 6 --ctorigdst 1.2.3.4 --ctorigdstport 80 --ctdir REPLY -j ACCEPT",
        ),
        ("-A INPUT -m state ! --state NEW,UNTRACKED", "-A INPUT -m state ! --state NEW,UNTRACKED"),
        (
            "-A INPUT -m connmark --mark 16 -m mark ! --mark 1/255",
            "-A INPUT -m connmark --mark 0x10 -m mark ! --mark 0x1/0xff",
        ),
        (
            r#"-A INPUT -m comment --comment foo -m comment --comment "a b \"c\" d\\x" -m comment --comment "it's" -m comment --comment a:b"#,
            r#"-A INPUT -m comment --comment foo -m comment --comment "a b \"c\" d\\x" -m comment --comment "it\'s" -m comment --comment "a:b""#,
        ),
        ("-A INPUT -j ACCEPT -m comment --comment -j", "-A INPUT -m comment --comment -j -j ACCEPT"),
        (r#"-A INPUT -m comment --comment "" -j ACCEPT"#, r#"-A INPUT -m comment --comment "" -j ACCEPT"#),
        (
            "-A FORWARD -m physdev --physdev-is-out --physdev-is-bridged --physdev-in e+ ! --physdev-out eth1 --physdev-is-in",
            "-A FORWARD -m physdev --physdev-is-in --physdev-in e+ --physdev-is-out ! --physdev-out eth1 --physdev-is-bridged",
        ),
        ("-A INPUT -p sctp --dport 80", "-A INPUT -p sctp -m sctp --dport 80"),
        (
            "-A INPUT -p sctp -m sctp --dport 80 --chunk-types any INIT",
            "-A INPUT -p sctp -m sctp --dport 80 --chunk-types any INIT",
        ),
        (
            r#"-A INPUT -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] " --log-level 7"#,
            r#"-A INPUT -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] " --log-level 7"#,
        ),
        (
            "-A INPUT -m set ! --match-set foo src,dst -p udp --dport 53 -g X",
            "-A INPUT -p udp -m set ! --match-set foo src,dst -m udp --dport 53 -g X",
        ),
        ("-A INPUT -j MARK --set-mark 1/3", "-A INPUT -j MARK --set-xmark 0x1/0x3"),
        ("-A INPUT -j MARK --or-mark 0x4000", "-A INPUT -j MARK --set-xmark 0x4000/0x4000"),
        ("-A INPUT -j MARK --and-mark 0xff", "-A INPUT -j MARK --set-xmark 0x0/0xffffff00"),
        ("-A INPUT -j CT --notrack", "-A INPUT -j CT --notrack"),
        ("-A INPUT -j NOTRACK", "-A INPUT -j NOTRACK"),
        ("-A INPUT -j CT --zone 5", "-A INPUT -j CT --zone 5"),
        (
            "-A PREROUTING -p tcp -j REDIRECT --to-port 8080",
            "-A PREROUTING -p tcp -j REDIRECT --to-ports 8080",
        ),
        ("-A PREROUTING -p tcp -j DNAT --to :80", "-A PREROUTING -p tcp -j DNAT --to-destination :80"),
        (
            "-A PREROUTING -p tcp -j DNAT --persistent --to 1.2.3.4-1.2.3.8:80-90 --random",
            "-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4-1.2.3.8:80-90 --random --persistent",
        ),
        (
            "-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4:80-90/8000",
            "-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4:80-90/8000",
        ),
        (
            "-A POSTROUTING -p tcp -s 10.0.0.0/8 -j MASQUERADE --to-ports 1000-2000 --random",
            "-A POSTROUTING -s 10.0.0.0/8 -p tcp -j MASQUERADE --to-ports 1000-2000 --random",
        ),
    ] {
        assert_eq!(rewrite(Family::V4, given).unwrap_or_else(|e| panic!("{given}: {e}")), [written]);
    }
}

#[test]
fn ip6tables_has_names_of_its_own() {
    for (given, written) in [
        (
            "-A INPUT -p icmpv6 --icmpv6-type router-advertisement -j ACCEPT",
            "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 134 -j ACCEPT",
        ),
        (
            "-A INPUT -p 59 -s FE80::1/10 -j REJECT",
            "-A INPUT -s fe80::/10 -p ipv6-nonxt -j REJECT --reject-with icmp6-port-unreachable",
        ),
        (
            "-A PREROUTING -p tcp -j DNAT --to [fd00::1]:80",
            "-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1]:80",
        ),
        (
            "-A PREROUTING -p tcp -j DNAT --to [fd00::1-fd00::2]:80-90",
            "-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1-fd00::2]:80-90",
        ),
        (
            "-A PREROUTING -p tcp -j DNAT --to fd00::1-fd00::2",
            "-A PREROUTING -p tcp -j DNAT --to-destination fd00::1-fd00::2",
        ),
    ] {
        assert_eq!(rewrite(Family::V6, given).unwrap_or_else(|e| panic!("{given}: {e}")), [written]);
    }
}

#[test]
fn a_list_of_addresses_is_a_rule_for_each_pair() {
    assert_eq!(
        rewrite(Family::V4, "-A INPUT -s 10.0.0.1,10.0.0.2 -d 10.1.0.1,10.1.0.2 -g X").unwrap(),
        [
            "-A INPUT -s 10.0.0.1/32 -d 10.1.0.1/32 -g X",
            "-A INPUT -s 10.0.0.1/32 -d 10.1.0.2/32 -g X",
            "-A INPUT -s 10.0.0.2/32 -d 10.1.0.1/32 -g X",
            "-A INPUT -s 10.0.0.2/32 -d 10.1.0.2/32 -g X",
        ]
    );
}

#[test]
fn a_base_chain_gets_its_hook_from_table_and_name() {
    let ruleset =
        parse("*nat\nCOMMIT\n*raw\nCOMMIT\n*filter\n:FORWARD DROP [3:4]\nCOMMIT\n", Family::V4).unwrap();
    let bases: Vec<_> = ruleset
        .tables
        .iter()
        .flat_map(|t| t.chains.iter().map(|c| (t.name.as_str(), c.base.unwrap())))
        .map(|(table, base)| {
            format!("{table} {} {} {} {:?}", base.hook.chain(), base.priority, base.nat, base.policy)
        })
        .collect();
    assert_eq!(
        bases,
        [
            "nat PREROUTING -100 true Accept",
            "nat INPUT 100 true Accept",
            "nat OUTPUT -100 true Accept",
            "nat POSTROUTING 100 true Accept",
            "raw PREROUTING -300 false Accept",
            "raw OUTPUT -300 false Accept",
            "filter INPUT 0 false Accept",
            "filter FORWARD 0 false Drop",
            "filter OUTPUT 0 false Accept",
        ]
    );
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (line, column, found, expected) in [
        ("-A INPUT -p tcp --dport http", 25, "'http'", "a port number"),
        ("-A INPUT -s localhost", 13, "'localhost'", "an IPv4 address"),
        ("-A INPUT -s 10.0.0.0/255.0.255.0", 13, "'10.0.0.0/255.0.255.0'", "without holes"),
        ("-A INPUT -s ! 1.2.3.4", 10, "'-s'", "an address behind the option"),
        ("-A INPUT ! -s 0/0", 15, "'0/0'", "not every address"),
        ("-A INPUT -p tcp -p udp", 17, "'-p'", "only once"),
        ("-A INPUT -p tcp --dport 80 --dport 81", 28, "'--dport'", "only once"),
        ("-A INPUT -j NOSUCH", 13, "'NOSUCH'", "':NOSUCH - [0:0]'"),
        ("-A NOSUCH -j ACCEPT", 4, "'NOSUCH'", "declares above"),
        ("-A INPUT -p tcp --dport 80:70", 25, "'80:70'", "lower port"),
        ("-A INPUT -j ACCEPT -j DROP", 20, "'-j'", "one -j or -g"),
        ("-A INPUT -m conntrack --ctstate NONE", 33, "'NONE'", "INVALID, NEW, RELATED"),
        ("-A INPUT -p icmp --icmp-type 300", 30, "'300'", "an ICMP type"),
        ("-A INPUT -m tcp --dport 80", 13, "'tcp'", "'-p tcp'"),
        ("-A INPUT -j ACCEPT trailing", 20, "'trailing'", "an option"),
        ("-A INPUT -p tcp --dprot 80", 17, "'--dprot'", "an option"),
        ("-A INPUT -p tcp -m tcp --dprot 80", 24, "'--dprot'", "--sport, --dport"),
        ("-A INPUT -i lo -o eth0", 16, "'-o'", "no -o in INPUT"),
        ("-A OUTPUT -i lo", 11, "'-i'", "no -i in OUTPUT"),
        ("-A INPUT -p tcp !", 17, "'!'", "an option after '!'"),
        ("-A INPUT -p", 10, "'-p'", "a protocol behind the option"),
        ("-A INPUT -j REJECT --reject-with nothing", 34, "'nothing'", "icmp-port-unreachable"),
        ("-D INPUT -j ACCEPT", 1, "'-D'", "a rule"),
        (":X ACCEPT [0:0]", 1, "':X'", "built-in chain"),
        (":INPUT REJECT [0:0]", 8, "'REJECT'", "ACCEPT or DROP"),
        (":Y - [0]", 6, "'[0]'", "[PACKETS:BYTES]"),
        ("*nat", 1, "'*nat'", "COMMIT before"),
    ] {
        let error = rewrite(Family::V4, line).expect_err(line);
        assert_eq!((error.line, error.column, error.found.as_str()), (3, column, found), "{line}: {error}");
        assert!(error.expected.contains(expected), "{line}: {error}");
    }
}

#[test]
fn a_text_needs_a_table_and_its_end() {
    let no_table = parse("-A INPUT -j ACCEPT\n", Family::V4).unwrap_err();
    assert_eq!((no_table.line, no_table.column), (1, 1));
    let no_commit = parse("*filter\n:INPUT ACCEPT [0:0]\n", Family::V4).unwrap_err();
    assert_eq!(
        no_commit.to_string(),
        "line 3, column 1: found the end of the text, expected COMMIT at the end of table filter"
    );
    assert!(parse("*nosuch\nCOMMIT\n", Family::V4).is_err());
    assert!(parse("*filter\nCOMMIT\n*filter\nCOMMIT\n", Family::V4).is_err());
}

#[test]
fn counters_are_kept_where_the_text_has_them() {
    let text = "*filter\n:INPUT DROP [1:2]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n[5:6] -A INPUT -j ACCEPT\n-A INPUT -j DROP\nCOMMIT\n";
    assert_eq!(save(&parse(text, Family::V4).unwrap()), text);
}
