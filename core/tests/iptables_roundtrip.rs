//! Any ruleset survives being written and read, and any text of iptables-save being read and written.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use seatrial_core::addr::{Family, IpNet, PortRange};
use seatrial_core::rules::iptables::{base_chains, parse, save};
use seatrial_core::rules::{
    AddrType, AddrTypeMatch, AddressSide, Backend, Chain, ConntrackMatch, Counters, CtState, HopLimitMatch,
    IcmpType, IfPattern, Is, MarkValue, Match, MultiportMatch, MultiportSide, NatRange, PhysDevMatch, Policy,
    PortMap, PortsMatch, Protocol, RejectWith, Rule, Ruleset, SetMatch, Table, Target, TcpFlagsMatch,
    TcpMatch,
};

fn is<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Is<T>> {
    (any::<bool>(), value).prop_map(|(not, value)| Is { not, value })
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))).boxed(),
        Family::V6 => any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))).boxed(),
    }
}

/// Not every address: iptables does not write that.
fn net(family: Family) -> impl Strategy<Value = IpNet> {
    let bits = match family {
        Family::V4 => 32_u8,
        Family::V6 => 128,
    };
    (address(family), 1..=bits).prop_map(|(address, length)| IpNet::new(address, length).unwrap().trunc())
}

fn range() -> impl Strategy<Value = PortRange> {
    (any::<u16>(), 0..3_u16).prop_map(|(first, more)| {
        PortRange::new(first.min(u16::MAX - 3), first.min(u16::MAX - 3) + more).unwrap()
    })
}

fn interface() -> impl Strategy<Value = IfPattern> {
    "[a-z][a-z0-9.-]{0,12}\\+?".prop_map(IfPattern)
}

fn mark() -> impl Strategy<Value = MarkValue> {
    (any::<u32>(), prop_oneof![Just(u32::MAX), any::<u32>()])
        .prop_map(|(value, mask)| MarkValue { value, mask })
}

fn ports() -> impl Strategy<Value = PortsMatch> {
    (option::of(is(range())), option::of(is(range())))
        .prop_map(|(source, destination)| PortsMatch { source, destination })
}

fn tcp() -> impl Strategy<Value = TcpMatch> {
    let flags = (0..64_u8, 0..64_u8).prop_map(|(mask, set)| TcpFlagsMatch { mask, set });
    (ports(), option::of(is(flags)), option::of(is(1..=u8::MAX)))
        .prop_map(|(ports, flags, option)| TcpMatch { ports, flags, option })
}

const ADDR_TYPES: [AddrType; 4] =
    [AddrType::Unicast, AddrType::Local, AddrType::Broadcast, AddrType::Multicast];
const CT_STATES: [CtState; 5] =
    [CtState::Invalid, CtState::New, CtState::Related, CtState::Established, CtState::Untracked];

fn addrtype() -> impl Strategy<Value = AddrTypeMatch> {
    let types = || is(subsequence(ADDR_TYPES.to_vec(), 1..=4));
    (types(), option::of(types()), any::<bool>(), any::<bool>()).prop_map(
        |(source, destination, limit_iface_in, limit_iface_out)| AddrTypeMatch {
            source: Some(source),
            destination,
            limit_iface_in,
            limit_iface_out,
        },
    )
}

fn states() -> impl Strategy<Value = Is<Vec<CtState>>> {
    is(subsequence(CT_STATES.to_vec(), 1..=5))
}

fn conntrack(family: Family) -> impl Strategy<Value = ConntrackMatch> {
    (
        states(),
        option::of(is((1..=u8::MAX).prop_map(Protocol))),
        option::of(is(net(family))),
        option::of(is(net(family))),
        option::of(is(range())),
        option::of(any::<bool>()),
    )
        .prop_map(|(state, protocol, orig_source, orig_destination, orig_destination_port, original)| {
            ConntrackMatch {
                state: Some(state),
                protocol,
                orig_source,
                orig_destination,
                orig_destination_port,
                original,
            }
        })
}

fn physdev() -> impl Strategy<Value = PhysDevMatch> {
    (is(interface()), option::of(is(interface())), option::of(is(Just(()))), option::of(is(Just(()))))
        .prop_map(|(input, output, is_in, is_bridged)| PhysDevMatch {
            input: Some(input),
            output,
            is_in,
            is_out: is_in,
            is_bridged,
        })
}

fn hop_limit() -> impl Strategy<Value = HopLimitMatch> {
    prop_oneof![
        is(any::<u8>()).prop_map(HopLimitMatch::Exactly),
        any::<u8>().prop_map(HopLimitMatch::Below),
        any::<u8>().prop_map(HopLimitMatch::Above),
    ]
}

/// Words of a module nobody models: an option, and values that cannot be taken for one.
fn words() -> impl Strategy<Value = Vec<String>> {
    let value = prop_oneof!["[a-zA-Z0-9.,:/]{1,8}", "\"[a-z :]{0,6}\""];
    (select(vec!["--limit", "--hitcount", "--name"]), vec(value, 0..3))
        .prop_map(|(option, values)| [option.to_owned()].into_iter().chain(values).collect())
}

/// Matches that need no protocol.
fn general(family: Family) -> impl Strategy<Value = Match> {
    prop_oneof![
        addrtype().prop_map(Match::AddrType),
        conntrack(family).prop_map(Match::Conntrack),
        states().prop_map(Match::State),
        is(mark()).prop_map(Match::Mark),
        is(mark()).prop_map(Match::ConnMark),
        "[ -~äöü]{0,12}".prop_map(Match::Comment),
        physdev().prop_map(Match::PhysDev),
        hop_limit().prop_map(move |limit| match family {
            Family::V4 => Match::Ttl(limit),
            Family::V6 => Match::HopLimit(limit),
        }),
        is(set()).prop_map(Match::Set),
        (select(vec!["limit", "recent", "time"]), words())
            .prop_map(|(module, options)| Match::Other { module: module.to_owned(), options }),
    ]
}

/// A set of networks; what is in it is not written.
fn set() -> impl Strategy<Value = SetMatch> {
    let side = select(vec![AddressSide::Source, AddressSide::Destination]);
    ("[a-z][a-z0-9-]{0,30}", side).prop_map(|(name, side)| SetMatch { name, side, networks: None })
}

/// A protocol with one of its own matches, or without.
fn protocol(family: Family) -> BoxedStrategy<Vec<Match>> {
    let icmp = match family {
        Family::V4 => Protocol::ICMP,
        Family::V6 => Protocol::ICMPV6,
    };
    let with = |protocol, m: BoxedStrategy<Match>| {
        option::of(m)
            .prop_map(move |m| [Match::Protocol(Is::a(protocol))].into_iter().chain(m).collect::<Vec<_>>())
    };
    let icmp_type =
        (any::<u8>(), option::of(any::<u8>())).prop_map(|(kind, code)| IcmpType { kind: Some(kind), code });
    let multiport = (
        select(vec![MultiportSide::Source, MultiportSide::Destination, MultiportSide::Either]),
        is(vec(range(), 1..7)),
    )
        .prop_map(|(which, ports)| Match::Multiport(MultiportMatch { which, ports }));
    prop_oneof![
        Just(Vec::new()),
        is((1..=u8::MAX).prop_map(Protocol)).prop_map(|p| vec![Match::Protocol(p)]),
        with(Protocol::TCP, tcp().prop_map(Match::Tcp).boxed()),
        with(Protocol::TCP, multiport.boxed()),
        with(Protocol::UDP, ports().prop_map(Match::Udp).boxed()),
        with(Protocol::SCTP, ports().prop_map(Match::Sctp).boxed()),
        with(icmp, is(icmp_type).prop_map(Match::Icmp).boxed()),
    ]
    .boxed()
}

fn port_map() -> impl Strategy<Value = PortMap> {
    (option::of(range()), any::<bool>()).prop_map(|(ports, random)| PortMap {
        ports,
        random,
        random_fully: false,
    })
}

fn nat_range(family: Family) -> impl Strategy<Value = NatRange> {
    (address(family), address(family), port_map(), any::<bool>()).prop_map(
        |(first, last, ports, persistent)| NatRange { addresses: Some((first, last)), ports, persistent },
    )
}

fn target(family: Family) -> impl Strategy<Value = Target> {
    let reject = match family {
        Family::V4 => select(vec![0, 1, 2, 3, 9, 10, 13]).prop_map(|code| RejectWith::Icmp { code }).boxed(),
        Family::V6 => select(vec![0, 1, 3, 4, 5, 6]).prop_map(|code| RejectWith::Icmpv6 { code }).boxed(),
    };
    let reject = prop_oneof![Just(RejectWith::TcpReset), reject];
    prop_oneof![
        Just(Target::Accept),
        Just(Target::Drop),
        Just(Target::Return),
        Just(Target::Jump("own".to_owned())),
        Just(Target::Goto("own".to_owned())),
        any::<bool>().prop_map(|old_name| Target::NoTrack { old_name }),
        reject.prop_map(Target::Reject),
        nat_range(family).prop_map(Target::Dnat),
        nat_range(family).prop_map(Target::Snat),
        port_map().prop_map(Target::Masquerade),
        port_map().prop_map(Target::Redirect),
        mark().prop_map(Target::Mark),
        words().prop_map(|options| Target::Watch { name: "LOG".to_owned(), options }),
        words().prop_map(|options| Target::Other { name: "TPROXY".to_owned(), options }),
    ]
}

fn counters() -> impl Strategy<Value = Counters> {
    (any::<u64>(), any::<u64>()).prop_map(|(packets, bytes)| Counters { packets, bytes })
}

/// A rule of FORWARD, where both devices are known.
fn rule(family: Family) -> impl Strategy<Value = Rule> {
    (
        option::of(is(net(family)).prop_map(Match::Source)),
        option::of(is(net(family)).prop_map(Match::Destination)),
        option::of(is(interface()).prop_map(Match::InInterface)),
        option::of(is(interface()).prop_map(Match::OutInterface)),
        protocol(family),
        vec(general(family), 0..3),
        option::of(target(family)),
        option::of(counters()),
    )
        .prop_map(|(source, destination, input, output, protocol, general, target, counters)| {
            let first = [source, destination, input, output].into_iter().flatten();
            Rule { matches: first.chain(protocol).chain(general).collect(), target, counters }
        })
}

fn ruleset() -> impl Strategy<Value = Ruleset> {
    let of =
        |family| (vec(rule(family), 0..6), vec(rule(family), 0..3), counters(), any::<bool>(), Just(family));
    prop_oneof![of(Family::V4), of(Family::V6)].prop_map(|(forward, own, counters, drop, family)| {
        let chain = |name: &str, base, rules| Chain { name: name.to_owned(), base, counters, rules };
        let mut rules = Some(forward);
        let mut chains: Vec<_> = base_chains("filter")
            .into_iter()
            .map(|mut base| {
                let name = base.hook.chain();
                let forward = if name == "FORWARD" { rules.take() } else { None };
                base.policy = if drop { Policy::Drop } else { Policy::Accept };
                chain(name, Some(base), forward.unwrap_or_default())
            })
            .collect();
        chains.push(chain("own", None, own));
        let tables = vec![Table { name: "filter".to_owned(), maps: Vec::new(), chains }];
        Ruleset { family, backend: Backend::Iptables, tables }
    })
}

proptest! {
    #[test]
    fn a_ruleset_survives_being_written_and_read(ruleset in ruleset()) {
        let text = save(&ruleset);
        prop_assert_eq!(parse(&text, ruleset.family).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?, ruleset);
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(line in "(-A (INPUT|X)|:X -|\\[1:2\\])( (-[a-z]|--[a-z]{2,9}|!|[a-z0-9./:\"]{1,6})){0,9}") {
        let text = format!("*filter\n:X - [0:0]\n{line}\nCOMMIT\n");
        let _ = parse(&text, Family::V4);
    }
}

/// Every text of iptables-save under `folder`, however deep.
fn saves(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|p| p.is_dir());
    let name = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
    let texts = files.into_iter().filter(|f| name(f).contains("tables-save"));
    texts.chain(folders.iter().flat_map(|f| saves(f))).collect()
}

#[test]
fn a_text_of_iptables_save_survives_being_read_and_written() {
    let files = saves(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures"));
    assert!(files.len() > 20);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let v6 = file.file_name().unwrap().to_string_lossy().contains("ip6tables");
        let family = if v6 { Family::V6 } else { Family::V4 };
        let rules: String = text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let read = parse(&text, family).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert_eq!(save(&read), rules, "{}", file.display());
    }
}
