//! Objects that no fixture plans are read back too.

use seatrial_core::linux::observe::differ::differ;
use seatrial_core::linux::observe::{View, observe};
use seatrial_core::linux::sysctl;
use seatrial_core::plan::{
    Address, BridgePort, Item, Link, LinkKind, Namespace, Neighbour, NsName, Object, Peer, Plan, PolicyRule,
    Route,
};

use crate::alone::alone;
use crate::net::Place;

fn objects() -> Vec<(&'static str, Object)> {
    let name = |text: &str| text.parse().unwrap();
    let net = |text: &str| Some(text.parse().unwrap());
    let peer = Peer { ns: NsName::from("b"), name: name("eth0"), mac: None, mtu: Some(1400), master: None };
    let bridge = Link { name: name("br0"), kind: LinkKind::Bridge, mac: None, mtu: Some(1400), master: None };
    let cable = Link {
        name: name("veth0"),
        kind: LinkKind::Veth(peer),
        mac: Some("02:00:00:00:00:05".parse().unwrap()),
        mtu: Some(1400),
        master: Some(name("br0")),
    };
    let route = Route {
        to: "10.9.0.0/16".parse().unwrap(),
        via: None,
        dev: Some(name("br0")),
        table: Some(1000),
        metric: Some(7),
        source: None,
    };
    let rule = PolicyRule {
        priority: 100,
        from: net("10.0.0.0/8"),
        to: None,
        iif: Some(name("br0")),
        fwmark: Some((1, 0xff)),
        table: 1000,
    };
    let v6 = PolicyRule {
        priority: 200,
        from: None,
        to: net("2001:db8::/32"),
        iif: None,
        fwmark: None,
        table: 254,
    };
    let address = |text: &str| {
        Object::Address(Address { link: name("br0"), net: text.parse().unwrap(), nodad: text.contains(':') })
    };
    vec![
        ("a", Object::Namespace(Namespace::Network)),
        ("b", Object::Namespace(Namespace::Network)),
        ("a", Object::Link(bridge)),
        ("a", Object::Link(cable)),
        ("a", Object::BridgePort(BridgePort { link: name("veth0"), hairpin: true, isolated: true })),
        ("a", address("10.0.0.2/24")),
        ("a", address("10.0.0.1/24")),
        ("a", address("2001:db8::2/64")),
        ("a", address("2001:db8::1/64")),
        ("a", Object::Up(name("br0"))),
        ("a", Object::Route(route)),
        ("a", Object::PolicyRule(rule)),
        ("a", Object::PolicyRule(v6)),
        (
            "a",
            Object::Neighbour(Neighbour {
                link: name("br0"),
                address: "10.0.0.9".parse().unwrap(),
                mac: "02:00:00:00:00:09".parse().unwrap(),
            }),
        ),
    ]
}

#[test]
fn what_no_fixture_plans_is_read_back_too_and_nothing_is_passed_over() {
    if !alone() {
        return;
    }
    let places = ["a", "b"].map(Place::new);
    let place = |ns: &str| places.iter().find(|place| place.net.name().as_str() == ns).unwrap();
    for place in &places {
        sysctl::reset(&place.space, place.net.name().as_str()).unwrap();
    }
    let mut plan = Plan::default();
    for (ns, object) in objects() {
        if !matches!(object, Object::Namespace(_)) {
            place(ns).net.add(&object, |ns| Some(&place(ns.as_str()).net)).unwrap();
        }
        plan.items.push(Item { ns: NsName::from(ns), object });
    }
    let view = || View {
        spaces: places.iter().map(|p| (p.net.name().clone(), &p.space)).collect(),
        ..View::default()
    };
    let seen = observe(&view()).unwrap();
    let apart = differ(&plan, &seen);
    assert!(apart.is_empty(), "{apart}");
    let order = |plan: &Plan| -> Vec<Object> {
        let addresses = plan.items.iter().map(|item| item.object.clone());
        addresses
            .filter(|o| matches!(o, Object::Address(a) if !a.net.to_string().starts_with("fe80")))
            .collect()
    };
    assert_eq!(order(&seen.plan), order(&plan));

    place("a").run("ip link add vx0 type vxlan id 1 dstport 4789");
    place("a").run("ip route add blackhole 10.8.0.0/16");
    place("b").run("iptables -A INPUT -j DROP");
    place("b").run("nft add table bridge mine");
    for table in ["known", "odd"] {
        place("b").run(&format!("nft add table ip {table}"));
        place("b").run(&format!("nft add chain ip {table} c"));
    }
    place("b").run("nft add rule ip known c iifname eth0 tcp dport 80 counter drop");
    place("b").run("nft add rule ip odd c limit rate 3/second accept");
    let apart = differ(&plan, &observe(&view()).unwrap());
    let added: Vec<String> = apart.added.iter().map(ToString::to_string).collect();
    assert!(added.len() == 2 && added[0].contains("-A INPUT -j DROP"), "{added:?}");
    assert!(added[1].contains("\t\tiifname \"eth0\" tcp dport 80 counter drop\n"), "{added:?}");
    assert!(added[1].contains("\t\tlimit rate 3/second accept\n"), "{added:?}");
    let unknown: String = apart.unknown.iter().map(|unknown| format!("? {unknown}\n")).collect();
    assert_eq!(
        unknown,
        "? a: device vx0: a plan has no device of kind vxlan\n\
         ? a: route to 10.8.0.0/16 in table 254: a plan has none with a type but unicast\n\
         ? b: table mine of nftables: no plan has one of family Bridge\n"
    );
}
