use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::addr::{Family, IfName, Transport};
use crate::probe::{Ask, Fault, IdKind, NsKind, Pid, ProbeOptions, Target, Things, Way};
use crate::topology::NodeName;

const PROBES: [&str; 9] = [
    "laptop -> 203.0.113.10:8080/tcp",
    "web.2 -> db:5432/tcp6",
    "b/web -> [fd00::2]:53/udp",
    "db -> 203.0.113.50/icmp",
    "db -> [fe80::1]/icmp6",
    "web- -> a-b.example:1/sctp",
    "eve -> 172.18.0.2:80/tcp,from=10.0.0.9:40000,raw,ttl=1,size=0,df,mark=14",
    "eve -> [::1]:80/tcp,from=[fd00::9]:40000,raw",
    "web -> [::1]:80/tcp,from=fd00::9",
];

#[test]
fn a_probe_survives_display() {
    for text in PROBES {
        assert_eq!(text.parse::<Probe>().unwrap().to_string(), text);
    }
}

const FACTS: [&str; 26] = [
    "web hostname is web1",
    "web domainname is (none)",
    "web sees processes of no",
    "web sees no processes of processes",
    "web sees sockets of db",
    "web sees no ipc objects of db",
    "web sees files of db in /data",
    "web sees no files of db in /",
    "db sees pid of web as 1",
    "db sees pid of web as the same",
    "host sees pid of web as another",
    "host sees uid 0 of web as 100000",
    "web sees gid 0 of host as 65534",
    "web has own ipc",
    "web shares network with db",
    "web has devices lo, eth0",
    "web has a mount at /data",
    "web has no mount at /dev/shm",
    "web has 64m at /dev/shm",
    "web has 4097 at /",
    "web has sysctl net.ipv4.ip_default_ttl = 64",
    "web has sysctl net.ipv4.ip_local_port_range = 32768 60999",
    "web has no route to 192.0.2.1",
    "web routes 192.0.2.1 via 172.18.0.1 dev eth0",
    "web routes fd00::1 dev lan.a",
    "web cannot write in /data",
];

#[test]
fn a_fact_survives_display() {
    for text in FACTS {
        assert_eq!(text.parse::<Expectation>().unwrap().to_string(), text);
    }
}

#[test]
fn a_size_is_written_in_its_largest_unit() {
    for (text, written) in
        [("65536k", "64m"), ("1048576k", "1g"), ("1025k", "1025k"), ("0", "0"), ("4096", "4k")]
    {
        let fact: Fact = format!("has {text} at /dev/shm").parse().unwrap();
        assert_eq!(fact.to_string(), format!("has {written} at /dev/shm"));
    }
}

#[test]
fn devices_and_addresses_are_asserted_in_any_order() {
    let fact = |text: &str| text.parse::<Fact>().unwrap();
    for (so, expected) in [
        ("has devices lo, eth0", "has devices eth0, lo"),
        ("resolves db to 10.0.0.2, 10.0.0.3", "resolves db to 10.0.0.3, 10.0.0.2"),
    ] {
        assert!(fact(so).meets(&fact(expected)), "{so} / {expected}");
    }
    for (so, expected) in [
        ("has devices lo, eth0", "has devices lo"),
        ("resolves db to 10.0.0.2", "resolves web to 10.0.0.2"),
        ("sees no processes of db", "sees no sockets of db"),
        ("sees pid of db as the same", "sees pid of db as another"),
    ] {
        assert!(!fact(so).meets(&fact(expected)), "{so} / {expected}");
    }
}

#[test]
fn white_space_around_the_arrow_is_free() {
    let probe: Probe = "web- -> db:80/tcp".parse().unwrap();
    for text in ["web-->db:80/tcp", "web-   ->db:80/tcp", "web-->\tdb:80/tcp", "  web-  ->  db:80/tcp  "] {
        assert_eq!(text.parse::<Probe>().unwrap(), probe, "{text}");
    }
}

#[test]
fn a_node_may_be_called_as_a_change_is() {
    for text in
        ["stop -> db:80/tcp dropped", "cut->db/icmp dropped", "start hostname is x", "rule has own pid"]
    {
        assert!(matches!(text.parse::<Step>().unwrap(), Step::Expect(_)), "{text}");
    }
    for text in ["stop hostname", "connect has own", "rule sees \"iptables -A FORWARD -j DROP\"", "wait 1s"] {
        assert!(!matches!(text.parse::<Step>().unwrap(), Step::Expect(_)), "{text}");
    }
}

#[test]
fn a_device_is_what_follows_the_last_dot_or_a_vlan() {
    for (text, node, device) in [
        ("cut web.eth0", "web", "eth0"),
        ("cut web.2.eth0", "web.2", "eth0"),
        ("cut web.eth0.10", "web", "eth0.10"),
        ("cut b/web.2.eth0.10", "b/web.2", "eth0.10"),
        ("cut web:lan.a", "web", "lan.a"),
        ("cut web.x:0", "web.x", "0"),
    ] {
        let expected = Change::Fault(node.into(), device.parse().unwrap(), Fault::Cut(Way::Both));
        assert_eq!(text.parse::<Change>().unwrap(), expected, "{text}");
        assert_eq!(expected.to_string(), text);
    }
}

#[test]
fn a_fault_has_its_values_then_the_way_then_the_device() {
    for (text, fault) in [
        ("heal web.eth0", Fault::Heal),
        ("cut web.eth0", Fault::Cut(Way::Both)),
        ("cut in web.eth0", Fault::Cut(Way::In)),
        ("loss 10% out web.eth0", Fault::Loss(Way::Out, 10)),
        ("delay 100ms web.eth0", Fault::Delay(Way::Both, 100, 0)),
        ("delay 2s 20ms in web.eth0", Fault::Delay(Way::In, 2000, 20)),
        ("reorder 25% web.eth0", Fault::Reorder(Way::Both, 25)),
        ("duplicate 10% web.eth0", Fault::Duplicate(Way::Both, 10)),
        ("corrupt 1% web.eth0", Fault::Corrupt(Way::Both, 1)),
        ("rate 1mbit web.eth0", Fault::Rate(Way::Both, 1_000_000)),
        ("rate 1500kbit out web.eth0", Fault::Rate(Way::Out, 1_500_000)),
        ("mtu 1400 web.eth0", Fault::Mtu(1400)),
        ("flap 2s web.eth0", Fault::Flap(2000)),
    ] {
        let expected = Change::Fault("web".into(), "eth0".parse().unwrap(), fault);
        assert_eq!(text.parse::<Change>().unwrap(), expected, "{text}");
        assert_eq!(expected.to_string(), text);
    }
    // A node may begin with a digit.
    let change = "delay 2s 2nd.eth0".parse::<Change>().unwrap();
    assert_eq!(
        change,
        Change::Fault("2nd".into(), "eth0".parse().unwrap(), Fault::Delay(Way::Both, 2000, 0))
    );
}

#[test]
fn times_have_units() {
    for (text, ms) in [("500ms", 500), ("31s", 31_000), ("2m", 120_000), ("0s", 0)] {
        assert_eq!(format!("wait {text}").parse::<Step>().unwrap(), Step::WaitMs(ms));
        assert_eq!(Step::AtMs(ms).to_string(), format!("at: {text}"));
    }
}

/// Each bad line: what is marked in it, what is found there, and a part of what is expected.
const BAD: [(&str, &str, &str, &str); 54] = [
    ("", "", "unexpected end of the line", "a probe"),
    ("web", "", "unexpected end of the line", "a fact"),
    ("web db:80/tcp refused", "db:80/tcp", "unexpected 'db:80/tcp'", "a fact"),
    ("w$b -> db:80/tcp refused", "w$b", "unexpected 'w$b'", "a node"),
    ("two words -> db:80/tcp refused", "words", "unexpected 'words'", "a fact"),
    ("-> db:80/tcp refused", "", "nothing here", "a node"),
    ("web ->", "", "unexpected end of the line", "a target"),
    ("web -> db:80 refused", "db:80", "'db:80' without a protocol", "db/icmp"),
    ("web -> db/tcp refused", "db/tcp", "'db/tcp' without a port", "TARGET:PORT/PROTO"),
    ("web -> db:0/tcp refused", "0", "unexpected '0'", "1 to 65535"),
    ("web -> db:+1/tcp refused", "+1", "unexpected '+1'", "1 to 65535"),
    ("web -> db:99999/tcp refused", "99999", "unexpected '99999'", "1 to 65535"),
    ("web -> db:80/tpc refused", "tpc", "unexpected 'tpc'", "tcp, udp, sctp or icmp"),
    ("web -> db:80/tcp46 refused", "tcp46", "unexpected 'tcp46'", "tcp, udp, sctp or icmp"),
    ("web -> db:80/icmp refused", "80", "port '80' with icmp", "an echo has no port"),
    ("web -> fd00::2:80/tcp refused", "fd00::2:80", "unexpected 'fd00::2:80'", "in brackets"),
    ("web -> [fd00::2:80/tcp refused", "[fd00::2:80", "unexpected '[fd00::2:80'", "in brackets"),
    ("web -> [10.0.0.1]:80/tcp refused", "10.0.0.1", "unexpected '10.0.0.1'", "an IPv6 address"),
    ("web -> [::1]80/tcp refused", "80", "unexpected '80'", "a colon and a port"),
    ("web -> 10.0.0.256:80/tcp refused", "10.0.0.256", "unexpected '10.0.0.256'", "an address or a name"),
    ("web -> 10.0.0.1:80/tcp6 refused", "tcp6", "'tcp6' for an IPv4 address", "tcp or tcp4"),
    ("web -> db:80/tcp,fast refused", "fast", "unexpected 'fast'", "ttl=N"),
    ("web -> db:80/tcp,df,df refused", "df", "'df' a second time", "each option once"),
    ("web -> db:80/tcp,ttl=0 refused", "0", "unexpected '0'", "1 to 255"),
    (
        "web -> 10.0.0.1:80/tcp,from=::1 refused",
        "from=::1",
        "unexpected 'from=::1'",
        "the target's own family",
    ),
    (
        "web -> 10.0.0.1/icmp,from=10.0.0.2:9 x",
        "from=10.0.0.2:9",
        "unexpected 'from=10.0.0.2:9'",
        "an echo has no port",
    ),
    ("web -> db:80/tcp", "", "unexpected end of the line", "an outcome: reaches"),
    ("web -> db:80/tcp reached db", "reached", "unexpected 'reached'", "an outcome: reaches"),
    ("web -> db:80/tcp reaches db:x", "x", "unexpected 'x'", "1 to 65535"),
    ("web -> db:80/tcp reaches db:80 from me", "me", "unexpected 'me'", "an address"),
    ("web -> db:80/tcp reaches db:80 via me", "via me", "unexpected 'via me'", "the end of the line"),
    ("web -> db:80/tcp unreachable (port)", "port", "unexpected 'port'", "a reason: net"),
    ("web -> db:80/tcp unreachable host", "host", "unexpected 'host'", "in parentheses"),
    ("web -> db:80/tcp depends (uid)", "uid", "unexpected 'uid'", "RULE: WHAT"),
    ("web has own net", "net", "unexpected 'net'", "a namespace: network"),
    ("web resolves db to 10.0.0.2, x", "x", "unexpected 'x'", "an address"),
    ("web sees process of db", "process", "unexpected 'process'", "processes, sockets, ipc objects"),
    ("web sees no pid of db", "pid", "unexpected 'pid'", "ipc objects or files"),
    ("web sees ipc of db", "of", "unexpected 'of'", "'objects'"),
    ("web sees files of db", "", "unexpected end of the line", "'in'"),
    ("web sees files of db in data", "data", "unexpected 'data'", "an absolute path"),
    ("web sees pid of db as 0", "0", "unexpected '0'", "a number, the same, or another"),
    ("web sees uid root of db as 0", "root", "unexpected 'root'", "a uid, 0 to"),
    ("web has devices", "", "unexpected end of the line", "a device"),
    ("web has devices lo, eth/0", "eth/0", "unexpected 'eth/0'", "a device"),
    ("web has no eth0", "eth0", "unexpected 'eth0'", "mount or route"),
    ("web has 64mm at /dev/shm", "64mm", "unexpected '64mm'", "as in 64m"),
    ("web has 16777216t at /", "16777216t", "unexpected '16777216t'", "as in 64m"),
    ("web has a mount at /x/", "/x/", "unexpected '/x/'", "an absolute path"),
    ("web has all", "all", "unexpected 'all'", "own NS, devices NAME"),
    ("web routes 10.0.0.1 via eth0", "eth0", "unexpected 'eth0'", "an address"),
    ("web routes 10.0.0.1 eth0", "eth0", "unexpected 'eth0'", "'dev'"),
    ("web cannot writes in /", "writes", "unexpected 'writes'", "'write'"),
    ("web writes /", "/", "unexpected '/'", "'in'"),
];

#[test]
fn a_bad_expectation_says_where_what_and_what_instead() {
    for (text, marked, found, expected) in BAD {
        let error = text.parse::<Expectation>().unwrap_err();
        assert_eq!(text.get(error.span.clone()), Some(marked), "{text}: {error}");
        assert_eq!(error.found, found, "{text}");
        assert!(error.expected.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_bad_step_says_where_what_and_what_instead() {
    for (text, marked, expected) in [
        ("stop", "", "a node"),
        ("connect web", "", "a network"),
        ("cut web", "web", "web.eth0"),
        ("cut web.10", "web.10", "web.eth0"),
        ("cut web.an-overlong-device", "an-overlong-device", "1 to 15 bytes"),
        ("loss 10 web.eth0", "10", "0% to 100%"),
        ("loss 101% web.eth0", "101%", "0% to 100%"),
        ("cut in", "", "web.eth0"),
        ("cut up web.eth0", "up", "web.eth0"),
        ("delay web.eth0", "web.eth0", "31s"),
        ("delay 10ms 20ms web.eth0", "20ms", "no longer than the delay"),
        ("delay 10ms 5 web.eth0", "5", "31s"),
        ("duplicate web.eth0", "web.eth0", "0% to 100%"),
        ("rate 1mb web.eth0", "1mb", "1mbit"),
        ("rate 0bit web.eth0", "0bit", "from 1bit"),
        ("mtu 576 web.eth0", "576", "from 1280"),
        ("mtu 1400 in web.eth0", "in", "web.eth0"),
        ("flap 0s web.eth0", "0s", "above 0s"),
        ("heal all", "all", "web.eth0"),
        ("rule host iptables -L", "iptables -L", "in double quotes"),
        ("rule host \"iptables -L", "\"iptables -L", "in double quotes"),
        ("rule host \"x\" y", "y", "the end of the line"),
        ("wait 31", "31", "31s"),
        ("wait 1h", "1h", "31s"),
        ("at: soon", "soon", "31s"),
        ("stop web now", "now", "the end of the line"),
    ] {
        let error = text.parse::<Step>().unwrap_err();
        assert_eq!(text.get(error.span.clone()), Some(marked), "{text}: {error}");
        assert!(error.expected.contains(expected), "{text}: {error}");
    }
}

#[test]
fn an_expectation_asserts_only_what_it_says() {
    let outcome = |text: &str| text.parse::<Outcome>().unwrap();
    for (was, expected) in [
        ("reaches web:80 from 10.0.0.1", "reaches web"),
        ("reaches web:80 from 10.0.0.1", "reaches web:80"),
        ("unreachable (host)", "unreachable"),
        ("depends (-m owner: the uid)", "depends"),
        ("dropped", "dropped"),
    ] {
        assert!(outcome(was).meets(&outcome(expected)), "{was} / {expected}");
    }
    for (was, expected) in [
        ("reaches web:81", "reaches web:80"),
        ("reaches web:80", "reaches web:80 from 10.0.0.1"),
        ("unreachable", "unreachable (host)"),
        ("refused", "dropped"),
        ("dropped", "unreachable"),
    ] {
        assert!(!outcome(was).meets(&outcome(expected)), "{was} / {expected}");
    }
}

fn node() -> impl Strategy<Value = NodeName> {
    "([a-z]{1,3}/)?[a-zA-Z0-9._-]{1,8}".prop_map(NodeName::from)
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))).boxed(),
        Family::V6 => any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))).boxed(),
    }
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    select(Family::ALL.to_vec()).prop_flat_map(address)
}

fn ask() -> impl Strategy<Value = Ask> {
    let transport = select(vec![Transport::Tcp, Transport::Udp, Transport::Sctp]);
    prop_oneof![Just(Ask::Echo), (transport, 1..=u16::MAX).prop_map(|(t, port)| Ask::Port(t, port))]
}

fn options(family: Family, ask: Ask) -> impl Strategy<Value = ProbeOptions> {
    let port = if ask == Ask::Echo { Just(None).boxed() } else { of(1..=u16::MAX).boxed() };
    let source = of((address(family), port));
    (source, any::<bool>(), of(1..=u8::MAX), of(0..=65507u16), any::<bool>(), of(any::<u32>()))
        .prop_map(|(source, raw, ttl, size, df, mark)| ProbeOptions { source, raw, ttl, size, df, mark })
}

fn probe() -> impl Strategy<Value = Probe> {
    (select(Family::ALL.to_vec()), ask(), any::<bool>(), any::<bool>())
        .prop_flat_map(|(family, ask, named, suffix)| {
            let name = "[a-z][a-z0-9._-]{0,9}".prop_map(Target::Name).boxed();
            let target = if named { name } else { address(family).prop_map(Target::Address).boxed() };
            (node(), target, Just(ask), Just(suffix.then_some(family)), options(family, ask))
        })
        .prop_map(|(from, target, ask, family, options)| Probe { from, target, ask, family, options })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let plain = vec![
        Outcome::Refused,
        Outcome::Closed,
        Outcome::Dropped,
        Outcome::NoRoute,
        Outcome::UnknownName,
        Outcome::Depends { rule: String::new(), what: String::new() },
    ];
    prop_oneof![
        select(plain),
        (node(), of(1..=u16::MAX), of(any_address())).prop_map(|(node, port, from)| Outcome::Reaches {
            node,
            port,
            from
        }),
        of(select(Unreachable::ALL.to_vec())).prop_map(Outcome::Unreachable),
        ("-m [a-z:()]{1,9}( --x [a-z: ]{0,5}x)?", "[a-z(][a-z ]{0,9}[a-z)]")
            .prop_map(|(rule, what)| Outcome::Depends { rule, what }),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "(/[a-zA-Z0-9_-][!-.0-~]{0,5}){1,3}"]
}

fn device() -> impl Strategy<Value = IfName> {
    "[a-z0-9.@-]{1,15}".prop_filter_map("a name", |s| s.parse::<IfName>().ok())
}

fn things() -> impl Strategy<Value = Things> {
    let plain = select(vec![Things::Processes, Things::Sockets, Things::IpcObjects]);
    prop_oneof![plain, path().prop_map(Things::Files)]
}

fn space_fact() -> impl Strategy<Value = Fact> {
    let kind = || select(NsKind::ALL.to_vec());
    let pid = prop_oneof![(1..=u32::MAX).prop_map(Pid::Is), Just(Pid::TheSame), Just(Pid::Another)];
    let id = || 0..u32::MAX;
    prop_oneof![
        "[!-~]{1,9}".prop_map(Fact::Hostname),
        "[!-~]{1,9}".prop_map(Fact::Domainname),
        (things(), node()).prop_map(|(things, node)| Fact::Sees(things, node)),
        (things(), node()).prop_map(|(things, node)| Fact::SeesNo(things, node)),
        (node(), pid).prop_map(|(node, pid)| Fact::SeesPid(node, pid)),
        (select(IdKind::ALL.to_vec()), id(), node(), id())
            .prop_map(|(kind, id, node, seen)| Fact::SeesId(kind, id, node, seen)),
        kind().prop_map(Fact::HasOwn),
        (kind(), node()).prop_map(|(kind, node)| Fact::Shares(kind, node)),
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        space_fact(),
        vec(device(), 1..3).prop_map(Fact::HasDevices),
        path().prop_map(Fact::HasMount),
        path().prop_map(Fact::HasNoMount),
        (any::<u64>(), path()).prop_map(|(bytes, path)| Fact::HasSize(bytes, path)),
        (0..1024u64, 0..4u32, path()).prop_map(|(n, unit, path)| Fact::HasSize(n << (10 * unit), path)),
        ("[a-z_]{1,9}\\.[a-z0-9_-]{1,9}", "[0-9]{1,9}( [0-9]{1,9})?")
            .prop_map(|(key, value)| Fact::HasSysctl(key, value)),
        any_address().prop_map(Fact::HasNoRoute),
        (any_address(), of(any_address()), device()).prop_map(|(to, via, dev)| Fact::Routes(to, via, dev)),
        path().prop_map(Fact::Writes),
        path().prop_map(Fact::CannotWrite),
        ("[a-z.]{1,9}", vec(any_address(), 0..3)).prop_map(|(name, to)| Fact::Resolves(name, to)),
    ]
}

fn expectation() -> impl Strategy<Value = Expectation> {
    prop_oneof![
        (probe(), outcome()).prop_map(|(probe, outcome)| Expectation::Probe(probe, outcome)),
        (node(), fact()).prop_map(|(node, fact)| Expectation::Fact(node, fact)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let device = || (node(), device());
    prop_oneof![
        node().prop_map(Change::Stop),
        node().prop_map(Change::Start),
        node().prop_map(Change::Replace),
        (node(), "[a-z0-9_-]{1,9}").prop_map(|(node, net)| Change::Connect(node, net)),
        (node(), "[a-z0-9_-]{1,9}").prop_map(|(node, net)| Change::Disconnect(node, net)),
        (node(), "[ -~]{0,20}").prop_map(|(node, command)| Change::Rule(node, command)),
        (device(), fault()).prop_map(|((node, device), fault)| Change::Fault(node, device, fault)),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let way = || select(vec![Way::In, Way::Out, Way::Both]);
    let share = || (way(), 0..=100u8);
    let delay = (any::<u32>(), any::<u32>()).prop_map(|(a, b)| (u64::from(a.max(b)), u64::from(a.min(b))));
    let rate = prop_oneof![1..=100_000_000_000u64, (1..100u64).prop_map(|n| n * 1_000_000)];
    prop_oneof![
        Just(Fault::Heal),
        way().prop_map(Fault::Cut),
        share().prop_map(|(way, share)| Fault::Loss(way, share)),
        (way(), delay).prop_map(|(way, (delay_ms, jitter_ms))| Fault::Delay(way, delay_ms, jitter_ms)),
        share().prop_map(|(way, share)| Fault::Reorder(way, share)),
        share().prop_map(|(way, share)| Fault::Duplicate(way, share)),
        share().prop_map(|(way, share)| Fault::Corrupt(way, share)),
        (way(), rate).prop_map(|(way, rate)| Fault::Rate(way, rate)),
        (1280..=65535u32).prop_map(Fault::Mtu),
        (1..=u64::from(u32::MAX)).prop_map(Fault::Flap),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let keyword = || {
        select(vec!["stop", "connect", "rule", "cut", "wait", "loss", "delay", "flap"])
            .prop_map(NodeName::from)
    };
    prop_oneof![
        expectation().prop_map(Step::Expect),
        (keyword(), fact()).prop_map(|(node, fact)| Step::Expect(Expectation::Fact(node, fact))),
        change().prop_map(Step::Change),
        any::<u32>().prop_map(|ms| Step::WaitMs(ms.into())),
        any::<u32>().prop_map(|ms| Step::AtMs(ms.into())),
    ]
}

proptest! {
    #[test]
    fn reading_undoes_writing(step in step()) {
        let text = step.to_string();
        prop_assert_eq!(text.parse::<Step>().map_err(|e| format!("{text}: {e}")), Ok(step));
    }

    #[test]
    fn each_part_reads_alone_as_well(probe in probe(), outcome in outcome(), fact in fact(), change in change()) {
        prop_assert_eq!(probe.to_string().parse::<Probe>().unwrap(), probe);
        prop_assert_eq!(outcome.to_string().parse::<Outcome>().unwrap(), outcome);
        prop_assert_eq!(fact.to_string().parse::<Fact>().unwrap(), fact);
        prop_assert_eq!(change.to_string().parse::<Change>().unwrap(), change);
    }

    #[test]
    fn no_text_makes_the_reader_panic_or_point_outside(text in "[ -~é]{0,40}") {
        for error in [text.parse::<Step>().err(), text.parse::<Expectation>().err()].into_iter().flatten() {
            prop_assert!(text.get(error.span).is_some());
        }
    }
}
