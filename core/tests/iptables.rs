//! iptables-save text: what is read is written back, and what is wrong is named.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::path::Path;

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

/// Pairs of a rule as it may be given and as it is written.
fn spellings(file: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/rules").join(file);
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

#[test]
fn other_spellings_become_those_of_iptables_save() {
    for (family, file) in [(Family::V4, "spellings.v4.txt"), (Family::V6, "spellings.v6.txt")] {
        for (given, written) in spellings(file) {
            assert_eq!(rewrite(family, &given).unwrap_or_else(|e| panic!("{given}: {e}")), [written]);
        }
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
