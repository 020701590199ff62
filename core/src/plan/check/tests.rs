//! One tiny plan for each fault.

use std::collections::BTreeMap;

use super::*;
use crate::addr::{IpNet, MacAddr, Transport};
use crate::plan::{Address, BridgePort, File, Link, LinkKind, Listener, Parent, Peer, Route, Sysctl};
use crate::rules::{
    Backend, Base, Chain, Counters, Hook, MapKey, Policy, Rule, Ruleset, Table, Target, VerdictMap,
};
use crate::topology::{MacvlanMode, NodeName};

fn item(ns: &str, object: Object) -> Item {
    Item { ns: NsName::from(ns), object }
}

fn netns(ns: &str) -> Item {
    item(ns, Object::Namespace(Namespace::Network))
}

fn name(s: &str) -> IfName {
    s.parse().unwrap()
}

fn bridge(ns: &str, dev: &str) -> Item {
    item(
        ns,
        Object::Link(Link { name: name(dev), kind: LinkKind::Bridge, mac: None, mtu: None, master: None }),
    )
}

fn veth(ns: &str, dev: &str, master: Option<&str>, peer_ns: &str, peer: &str, mac: Option<MacAddr>) -> Item {
    let master = master.map(name);
    let peer = Peer { ns: NsName::from(peer_ns), name: name(peer), mac, mtu: None, master: None };
    item(ns, Object::Link(Link { name: name(dev), kind: LinkKind::Veth(peer), mac: None, mtu: None, master }))
}

fn address(ns: &str, dev: &str, net: &str) -> Item {
    item(ns, Object::Address(Address { link: name(dev), net: net.parse().unwrap(), nodad: false }))
}

fn route(ns: &str, to: &str, via: Option<&str>, dev: Option<&str>) -> Item {
    let to: IpNet = to.parse().unwrap();
    let via = via.map(|v| v.parse().unwrap());
    item(ns, Object::Route(Route { to, via, dev: dev.map(name), table: None, metric: None, source: None }))
}

fn process(node: &str) -> Process {
    let namespaces = NsKind::ALL.map(|kind| (kind, NsName::from(node))).into();
    Process {
        node: NodeName::from(node),
        container: None,
        namespaces,
        cap_add: vec![],
        cap_drop: vec![],
        privileged: false,
        program: None,
        user: None,
    }
}

fn node(ns: &str) -> Vec<Item> {
    let map = crate::plan::IdMap { inside: 0, outside: 0, count: 1 };
    let uts = Namespace::Uts { hostname: ns.to_owned(), domainname: None };
    let kinds = [Namespace::Network, Namespace::Mount(Default::default()), Namespace::Ipc { shm_size: None }];
    let kinds = kinds.into_iter().chain([Namespace::Pid, uts, Namespace::User { map }, Namespace::Cgroup]);
    let process = item(ns, Object::Process(process(ns)));
    kinds.map(|kind| item(ns, Object::Namespace(kind))).chain([process]).collect()
}

fn listener(ns: &str, address: Option<&str>) -> Item {
    let address = address.map(|a| a.parse().unwrap());
    item(
        ns,
        Object::Listener(Listener { node: NodeName::from(ns), transport: Transport::Tcp, address, port: 80 }),
    )
}

fn rules(table: &str, chains: Vec<Chain>) -> Item {
    let tables = vec![Table { name: table.to_owned(), maps: Vec::new(), chains }];
    let rules = Ruleset { family: crate::addr::Family::V4, backend: Backend::Iptables, tables };
    item("a", Object::Rules(rules.into()))
}

fn chain(name: &str, hook: Option<Hook>, jumps: &[&str]) -> Chain {
    let base = hook.map(|hook| Base { hook, priority: 0, nat: false, policy: Policy::Accept });
    let rules = jumps.iter().map(|to| Rule::new(vec![], Target::Jump((*to).to_owned()))).collect();
    Chain { name: name.to_owned(), base, counters: Counters::default(), rules }
}

/// The one fault of a plan, as text.
fn fault(items: Vec<Item>) -> String {
    let faults = check(&Plan { items }).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

#[test]
fn a_map_that_is_asked_is_in_the_table_and_leads_to_its_chains() {
    let asks = |elements: &[(&str, &str)]| {
        let mut forward = chain("FORWARD", Some(Hook::Forward), &[]);
        let target = Target::Vmap { key: MapKey::OutInterface, map: "in".to_owned() };
        forward.rules.push(Rule::new(vec![], target));
        let jump = |(device, to): &(&str, &str)| (name(device), Target::Jump((*to).to_owned()));
        let elements = elements.iter().map(jump).collect();
        let maps = vec![VerdictMap { name: "in".to_owned(), elements }];
        let tables = vec![Table { name: "bridges".to_owned(), maps, chains: vec![forward] }];
        Ruleset { family: crate::addr::Family::V4, backend: Backend::Nft, tables }
    };
    let faults = |rules: Ruleset| {
        let mut items = node("a");
        items.push(item("a", Object::Rules(rules.into())));
        fault(items)
    };
    let nowhere = faults(asks(&[("br0", "in__br0")]));
    assert!(nowhere.contains("FORWARD jumps to in__br0, which bridges does not have"), "{nowhere}");
    let mut none = asks(&[]);
    none.tables[0].maps.clear();
    let none = faults(none);
    assert!(none.contains("FORWARD asks the map in, which bridges does not have"), "{none}");
}

#[test]
fn a_sound_plan_has_no_fault() {
    let mut items = node("a");
    items.extend([
        netns("b"),
        bridge("b", "br0"),
        veth("b", "veth0", Some("br0"), "a", "eth0", None),
        item("b", Object::BridgePort(BridgePort { link: name("veth0"), hairpin: true, isolated: false })),
        address("b", "br0", "10.0.0.1/24"),
        address("a", "eth0", "10.0.0.2/24"),
        item("a", Object::Up(name("eth0"))),
        route("a", "0.0.0.0/0", Some("10.0.0.1"), None),
        item("a", Object::Sysctl(Sysctl { key: "net.ipv4.conf.eth0.rp_filter".into(), value: "1".into() })),
        item("a", Object::File(File { path: "/etc/hosts".into(), content: String::new() })),
        rules("filter", vec![chain("FORWARD", Some(Hook::Forward), &["A"]), chain("A", None, &[])]),
        listener("a", Some("127.0.0.1")),
        listener("a", Some("10.0.0.2")),
    ]);
    check(&Plan { items }).unwrap();
}

#[test]
fn an_object_stands_after_what_it_needs() {
    assert!(
        fault(vec![item("a", Object::Up(name("lo"))), netns("a")])
            .contains("no network namespace a before it")
    );
    assert!(fault(vec![netns("a"), address("a", "eth0", "10.0.0.1/24")]).contains("no device eth0 in a"));
    assert!(
        fault(vec![netns("a"), veth("a", "v", None, "b", "eth0", None)]).contains("no network namespace b")
    );
    assert!(
        fault(vec![netns("a"), netns("b"), veth("a", "v", Some("br0"), "b", "e", None)])
            .contains("master br0")
    );
}

#[test]
fn names_are_unique() {
    assert!(fault(vec![netns("a"), netns("a")]).contains("made twice"));
    assert!(fault(vec![netns("a"), bridge("a", "br0"), bridge("a", "br0")]).contains("two devices br0"));
    let twice = item("a", Object::Up(name("lo")));
    assert!(fault(vec![netns("a"), twice.clone(), twice]).contains("up already"));
}

/// Two machines on a bridge of `s`, with hardware addresses that end so.
fn two_on_a_bridge(s: Vec<Item>, macs: [u8; 2], net_b: &str) -> Vec<Item> {
    let ends = [("v1", "a", macs[0]), ("v2", "b", macs[1])];
    let links =
        ends.map(|(v, ns, mac)| veth("s", v, Some("br0"), ns, "eth0", Some(MacAddr([2, 0, 0, 0, 0, mac]))));
    let addresses = [address("a", "eth0", "10.0.0.2/24"), address("b", "eth0", net_b)];
    let base = s.into_iter().chain([netns("a"), netns("b"), bridge("s", "br0")]);
    base.chain(links).chain(addresses).collect()
}

#[test]
fn an_address_is_given_once_on_a_machines_bridge_and_watched_over_by_nobody_between_machines() {
    check(&Plan { items: two_on_a_bridge(node("s"), [1, 2], "10.0.0.3/24") }).unwrap();
    let fault = fault(two_on_a_bridge(node("s"), [1, 2], "10.0.0.2/24"));
    assert!(fault.contains("10.0.0.2/24 is on eth0 of a too"), "{fault}");
    check(&Plan { items: two_on_a_bridge(vec![netns("s")], [1, 2], "10.0.0.2/24") }).unwrap();
}

#[test]
fn a_link_local_address_may_be_written_twice() {
    let twice = [address("a", "eth0", "169.254.1.1/16"), address("b", "eth0", "169.254.1.1/16")];
    let items = two_on_a_bridge(node("s"), [1, 2], "10.0.0.3/24").into_iter().chain(twice);
    check(&Plan { items: items.collect() }).unwrap();
}

#[test]
fn a_bridge_takes_equal_hardware_addresses() {
    check(&Plan { items: two_on_a_bridge(node("s"), [1, 1], "10.0.0.3/24") }).unwrap();
}

#[test]
fn macvlans_of_one_parent_have_neither_an_address_nor_a_hardware_address_in_common() {
    let macvlan = |ns: &str, mac| {
        let parent = Parent { ns: NsName::from("a"), name: name("eth0") };
        let kind = LinkKind::Macvlan { parent, mode: MacvlanMode::Bridge };
        let mac = Some(MacAddr([2, 0, 0, 0, 0, mac]));
        item(ns, Object::Link(Link { name: name("eth0"), kind, mac, mtu: None, master: None }))
    };
    let with = |mac, net_d: &str| {
        let base = node("a").into_iter().chain([netns("b"), netns("c"), netns("d")]);
        let links = [veth("b", "v", None, "a", "eth0", None), macvlan("c", 1), macvlan("d", mac)];
        let addresses = [address("c", "eth0", "10.0.0.2/24"), address("d", "eth0", net_d)];
        base.chain(links).chain(addresses).collect::<Vec<_>>()
    };
    check(&Plan { items: with(2, "10.0.0.3/24") }).unwrap();
    assert!(fault(with(2, "10.0.0.2/24")).contains("10.0.0.2/24 is on eth0 of c too"));
    // Linux 6.18: RTNETLINK answers: Address already in use.
    assert!(fault(with(1, "10.0.0.3/24")).contains("02:00:00:00:00:01 is on eth0 of c too"));
}

#[test]
fn one_device_has_an_address_once() {
    let with = |more| {
        let base =
            vec![netns("a"), bridge("a", "br0"), bridge("a", "br1"), address("a", "br0", "10.0.0.1/24")];
        base.into_iter().chain([more]).collect::<Vec<_>>()
    };
    assert!(fault(with(address("a", "br0", "10.0.0.1/24"))).contains("it has this address already"));
    // Linux 6.18 takes both.
    check(&Plan { items: with(address("a", "br1", "10.0.0.1/24")) }).unwrap();
    check(&Plan { items: with(address("a", "br0", "10.0.0.1/25")) }).unwrap();
}

#[test]
fn a_next_hop_is_on_a_network_of_the_namespace() {
    let base = || vec![netns("a"), bridge("a", "br0"), address("a", "br0", "10.0.0.1/24")];
    let with = |r| base().into_iter().chain([r]).collect::<Vec<_>>();
    check(&Plan { items: with(route("a", "0.0.0.0/0", Some("10.0.0.9"), None)) }).unwrap();
    check(&Plan { items: with(route("a", "::/0", Some("fe80::1"), Some("br0"))) }).unwrap();
    assert!(fault(with(route("a", "0.0.0.0/0", Some("10.1.0.9"), None))).contains("on no network of a"));
    assert!(fault(with(route("a", "0.0.0.0/0", Some("fe80::1"), None))).contains("other family"));
    assert!(fault(with(route("a", "10.2.0.1/16", None, Some("br0")))).contains("bits beyond its prefix"));
    assert!(fault(with(route("a", "10.2.0.0/16", None, None))).contains("neither a next hop nor a device"));
}

#[test]
fn rules_jump_to_chains_that_exist_and_never_back() {
    let plan = |chains| vec![netns("a"), rules("filter", chains)];
    assert!(fault(plan(vec![chain("A", None, &["B"])])).contains("jumps to B"));
    assert!(fault(plan(vec![chain("A", None, &["B"]), chain("B", None, &["A"])])).contains("leads back"));
    let base = chain("FORWARD", Some(Hook::Forward), &[]);
    assert!(fault(plan(vec![base, chain("A", None, &["FORWARD"])])).contains("base chain FORWARD"));
    assert!(fault(plan(vec![chain("A", None, &[]), chain("A", None, &[])])).contains("stands twice"));
    assert!(
        fault(plan(vec![chain("PREROUTING", Some(Hook::Prerouting), &[])]))
            .contains("no base chain PREROUTING")
    );
    assert!(fault(vec![netns("a"), rules("nope", vec![])]).contains("no table nope"));
}

#[test]
fn no_two_sockets_hold_one_port() {
    let with = |a, b| node("a").into_iter().chain([listener("a", a), listener("a", b)]).collect::<Vec<_>>();
    check(&Plan { items: with(Some("0.0.0.0"), Some("::")) }).unwrap();
    for (a, b) in
        [(None, None), (None, Some("::1")), (Some("0.0.0.0"), Some("127.0.0.1")), (Some("::1"), Some("::1"))]
    {
        assert!(fault(with(a, b)).contains("holds this port"), "{a:?} {b:?}");
    }
}

#[test]
fn a_process_names_a_namespace_of_every_kind() {
    let with = |process: Process| {
        let all = node("a").into_iter().filter(|i| !matches!(i.object, Object::Process(_)));
        all.chain([item("a", Object::Process(process))]).collect::<Vec<_>>()
    };
    assert!(
        fault(with(Process { namespaces: without(NsKind::Uts), ..process("a") }))
            .contains("uts namespace is not")
    );
    let elsewhere = without(NsKind::Ipc).into_iter().chain([(NsKind::Ipc, NsName::from("b"))]).collect();
    assert!(fault(with(Process { namespaces: elsewhere, ..process("a") })).contains("no ipc namespace b"));
}

fn without(kind: NsKind) -> BTreeMap<NsKind, NsName> {
    process("a").namespaces.into_iter().filter(|(k, _)| *k != kind).collect()
}

#[test]
fn files_and_settings_are_well_formed() {
    let file = |path: &str| item("a", Object::File(File { path: path.into(), content: String::new() }));
    let mount = || item("a", Object::Namespace(Namespace::Mount(Default::default())));
    assert!(fault(vec![mount(), file("etc/hosts")]).contains("not absolute"));
    assert!(fault(vec![mount(), file("/a"), file("/a")]).contains("written twice"));
    let sysctl = |key: &str| item("a", Object::Sysctl(Sysctl { key: key.into(), value: "1".into() }));
    assert!(fault(vec![netns("a"), sysctl("net..x")]).contains("words with dots"));
    assert!(fault(vec![netns("a"), sysctl("net.ipv4.conf.eth9.rp_filter")]).contains("no device eth9"));
    check(&Plan { items: vec![netns("a"), sysctl("net.ipv4.conf.all.rp_filter")] }).unwrap();
}
