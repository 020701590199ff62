//! Network objects are made, are there, and go away again.

use std::process::Command;

use nix::errno::Errno;
use nix::sched::unshare;
use seatrial_core::addr::IfName;
use seatrial_core::linux::Error;
use seatrial_core::linux::net::Net;
use seatrial_core::linux::space::{Space, flag};
use seatrial_core::plan::{
    Address, BridgePort, Link, LinkKind, Neighbour, NsName, Object, Parent, Peer, PolicyRule, Route,
};
use seatrial_core::probe::NsKind;
use seatrial_core::topology::{IpvlanFlag, IpvlanMode, MacvlanMode};
use serde_json::Value;

use crate::alone::alone;

mod announce;
mod conntrack;
mod fault;
mod plans;
mod speed;

/// A namespace and its socket.
pub(crate) struct Place {
    pub(crate) space: Space,
    pub(crate) net: Net,
}

impl Place {
    /// A new network namespace.
    pub(crate) fn new(name: &str) -> Self {
        let home = Space::current(NsKind::Network).unwrap();
        unshare(flag(NsKind::Network)).unwrap();
        let space = Space::current(NsKind::Network).unwrap();
        home.enter().unwrap();
        let net = Net::open(NsName::from(name), &space).unwrap();
        Self { space, net }
    }

    pub(crate) fn add(&self, object: Object) {
        self.net.add(&object, |_| None).unwrap();
    }

    /// Makes an object that another namespace has a part in.
    pub(crate) fn add_with(&self, object: Object, other: &Self) {
        self.net.add(&object, |ns| (ns == other.net.name()).then_some(&other.net)).unwrap();
    }

    pub(crate) fn try_add(&self, object: &Object) -> Error {
        self.net.add(object, |_| None).unwrap_err()
    }

    /// What a command says in there.
    pub(crate) fn run(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        let done = self.space.inside(|| command.args(words).output()).unwrap().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// What `ip -j` or `bridge -j` says in there.
    pub(crate) fn json(&self, line: &str) -> Value {
        let text = self.run(line);
        if text.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(&text).unwrap() }
    }

    /// One device, in detail.
    pub(crate) fn device(&self, name: &str) -> Value {
        self.json(&format!("ip -d -j addr show dev {name}"))[0].clone()
    }

    /// Names of all devices but the loopback.
    pub(crate) fn devices(&self) -> Vec<String> {
        let all = self.json("ip -j link");
        let names = all.as_array().unwrap().iter().map(|d| d["ifname"].as_str().unwrap().to_owned());
        names.filter(|name| name != "lo").collect()
    }
}

pub(crate) fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

pub(crate) fn link(device: &str, kind: LinkKind) -> Link {
    Link { name: name(device), kind, mac: None, mtu: None, master: None }
}

pub(crate) fn bridge(device: &str) -> Object {
    Object::Link(link(device, LinkKind::Bridge))
}

pub(crate) fn up(device: &str) -> Object {
    Object::Up(name(device))
}

pub(crate) fn address(device: &str, net: &str) -> Object {
    let net = net.parse().unwrap();
    Object::Address(Address { link: name(device), net, nodad: true })
}

pub(crate) fn peer(ns: &str, device: &str) -> Peer {
    Peer { ns: NsName::from(ns), name: name(device), mac: None, mtu: None, master: None }
}

pub(crate) fn route(to: &str) -> Route {
    let to = to.parse().unwrap();
    Route { to, via: None, dev: None, table: None, metric: None, source: None }
}

/// Two namespaces with a cable between them, up, with addresses: a has 10.0.0.1 on a0, b has 10.0.0.2 on b0.
pub(crate) fn cable() -> (Place, Place) {
    let (a, b) = (Place::new("a"), Place::new("b"));
    a.add_with(Object::Link(link("a0", LinkKind::Veth(peer("b", "b0")))), &b);
    a.add(address("a0", "10.0.0.1/24"));
    b.add(address("b0", "10.0.0.2/24"));
    a.add(up("a0"));
    b.add(up("b0"));
    (a, b)
}

#[test]
fn a_bridge_has_the_address_and_mtu_of_the_plan() {
    if !alone() {
        return;
    }
    let a = Place::new("a");
    let mac = Some("02:42:00:00:00:07".parse().unwrap());
    a.add(Object::Link(Link { mac, mtu: Some(1400), ..link("br0", LinkKind::Bridge) }));
    let device = a.device("br0");
    assert_eq!(device["linkinfo"]["info_kind"], "bridge");
    assert_eq!(device["address"], "02:42:00:00:00:07");
    assert_eq!(device["mtu"], 1400);
    assert_eq!(device["operstate"], "DOWN");
}

#[test]
fn a_veth_is_born_with_its_peer_in_another_namespace_and_both_are_ports() {
    if !alone() {
        return;
    }
    let (a, b) = (Place::new("a"), Place::new("b"));
    a.add(bridge("br0"));
    b.add(bridge("br1"));
    let peer = Peer {
        mac: Some("02:42:00:00:00:02".parse().unwrap()),
        mtu: Some(1300),
        master: Some(name("br1")),
        ..peer("b", "eth0")
    };
    let link = Link {
        mac: Some("02:42:00:00:00:01".parse().unwrap()),
        mtu: Some(1400),
        master: Some(name("br0")),
        ..link("eth0", LinkKind::Veth(peer))
    };
    a.add_with(Object::Link(link.clone()), &b);
    let (here, there) = (a.device("eth0"), b.device("eth0"));
    assert_eq!((&here["master"], &there["master"]), (&"br0".into(), &"br1".into()));
    assert_eq!((&here["mtu"], &there["mtu"]), (&1400.into(), &1300.into()));
    assert_eq!(here["address"], "02:42:00:00:00:01");
    assert_eq!(there["address"], "02:42:00:00:00:02");
    a.net.remove(&Object::Link(link)).unwrap();
    assert_eq!((a.devices(), b.devices()), (vec!["br0".to_owned()], vec!["br1".to_owned()]));
}

#[test]
fn nothing_is_left_of_a_veth_that_could_not_be_made() {
    if !alone() {
        return;
    }
    let (a, b) = (Place::new("a"), Place::new("b"));
    let peer = Peer { master: Some(name("nobr")), ..peer("b", "eth0") };
    let link = Object::Link(link("v0", LinkKind::Veth(peer.clone())));
    let error = a.net.add(&link, |_| Some(&b.net)).unwrap_err();
    assert_eq!(error.to_string(), "cannot make link v0 in a: there is no device nobr (ENODEV)");
    let error = a.net.add(&link, |_| None).unwrap_err();
    assert_eq!(error.to_string(), "cannot make link v0 in a: there is no network namespace b");
    // A device that takes no ports.
    let (c, d) = cable();
    let peer = Peer { ns: NsName::from("b"), master: Some(name("b0")), ..peer };
    let error =
        c.net.add(&Object::Link(self::link("v0", LinkKind::Veth(peer))), |_| Some(&d.net)).unwrap_err();
    assert_eq!(error.errno, Some(Errno::EOPNOTSUPP as i32));
    assert!(!error.missing, "{error}");
    assert_eq!((a.devices(), b.devices()), (vec![], vec![]));
    assert_eq!((c.devices(), d.devices()), (vec!["a0".to_owned()], vec!["b0".to_owned()]));
}

#[test]
fn a_macvlan_may_have_its_parent_in_another_namespace() {
    if !alone() {
        return;
    }
    let (a, b) = cable();
    let parent = Parent { ns: NsName::from("a"), name: name("a0") };
    let modes = [MacvlanMode::Bridge, MacvlanMode::Private, MacvlanMode::Vepa];
    for (number, mode) in modes.into_iter().enumerate() {
        // A name that is taken where the parent is.
        let device = if number == 0 { "a0".to_owned() } else { format!("m{number}") };
        let link = Link {
            mac: Some(format!("02:42:00:00:00:0{number}").parse().unwrap()),
            ..link(&device, LinkKind::Macvlan { parent: parent.clone(), mode })
        };
        b.add_with(Object::Link(link), &a);
        let made = b.device(&device);
        let word = ["bridge", "private", "vepa"][number];
        assert_eq!(made["linkinfo"]["info_data"]["mode"], word);
        assert_eq!(made["address"], format!("02:42:00:00:00:0{number}"));
    }
    assert_eq!(a.devices(), ["a0"]);
    b.net.remove(&Object::Link(link("a0", LinkKind::Macvlan { parent, mode: MacvlanMode::Bridge }))).unwrap();
    assert_eq!(b.devices(), ["b0", "m1", "m2"]);
    assert_eq!(a.devices(), ["a0"]);
}

#[test]
fn a_kernel_without_a_device_type_is_told_what_it_lacks() {
    if !alone() {
        return;
    }
    let (a, _b) = cable();
    let parent = Parent { ns: NsName::from("a"), name: name("a0") };
    let (mode, flag) = (IpvlanMode::L3, IpvlanFlag::Private);
    let kinds = [
        ("ipvlan", "IPVLAN", LinkKind::Ipvlan { parent, mode, flag }),
        ("vlan", "VLAN_8021Q", LinkKind::Vlan { parent: name("a0"), id: 7 }),
        ("dummy", "DUMMY", LinkKind::Dummy),
    ];
    for (word, option, kind) in kinds {
        let link = Object::Link(link(word, kind));
        match a.net.add(&link, |_| None) {
            Ok(()) => assert_eq!(a.device(word)["linkinfo"]["info_kind"], word),
            Err(error) => {
                let start =
                    format!("cannot make link {word} in a: Unknown device type (EOPNOTSUPP); a kernel");
                assert!(error.to_string().starts_with(&start), "{error}");
                assert!(error.to_string().contains(&format!("CONFIG_{option} ")), "{error}");
                assert!(error.missing);
                assert_eq!(error.errno, Some(Errno::EOPNOTSUPP as i32));
            }
        }
    }
}

#[test]
fn a_port_is_set_and_is_new_again_when_its_settings_go() {
    if !alone() {
        return;
    }
    let (a, b) = (Place::new("a"), Place::new("b"));
    a.add(bridge("br0"));
    let link = Link { master: Some(name("br0")), ..link("v0", LinkKind::Veth(peer("b", "eth0"))) };
    a.add_with(Object::Link(link), &b);
    let port = || a.json("bridge -d -j link show dev v0")[0].clone();
    let object = Object::BridgePort(BridgePort { link: name("v0"), hairpin: true, isolated: true });
    a.add(object.clone());
    assert_eq!((&port()["hairpin"], &port()["isolated"]), (&true.into(), &true.into()));
    let other = Object::BridgePort(BridgePort { link: name("v0"), hairpin: true, isolated: false });
    a.net.replace(&other).unwrap();
    assert_eq!((&port()["hairpin"], &port()["isolated"]), (&true.into(), &false.into()));
    a.net.remove(&object).unwrap();
    assert_eq!((&port()["hairpin"], &port()["isolated"]), (&false.into(), &false.into()));
}

#[test]
fn an_address_comes_and_goes() {
    if !alone() {
        return;
    }
    let a = Place::new("a");
    a.add(bridge("br0"));
    a.add(up("br0"));
    a.add(address("br0", "10.1.2.3/16"));
    a.add(address("br0", "fd00::3/64"));
    let all = a.device("br0")["addr_info"].clone();
    let v4 = all.as_array().unwrap().iter().find(|x| x["local"] == "10.1.2.3").unwrap();
    assert_eq!((&v4["prefixlen"], &v4["broadcast"]), (&16.into(), &"10.1.255.255".into()));
    assert_eq!(v4["scope"], "global");
    let v6 = all.as_array().unwrap().iter().find(|x| x["local"] == "fd00::3").unwrap();
    assert_eq!((&v6["prefixlen"], &v6["nodad"]), (&64.into(), &true.into()));
    assert_eq!(a.try_add(&address("br0", "10.1.2.3/16")).errno, Some(Errno::EEXIST as i32));
    a.net.remove(&address("br0", "10.1.2.3/16")).unwrap();
    a.net.remove(&address("br0", "fd00::3/64")).unwrap();
    assert!(!a.run("ip addr show dev br0").contains("global"));
    let error = a.net.remove(&address("br0", "10.1.2.3/16")).unwrap_err();
    assert_eq!(error.errno, Some(Errno::EADDRNOTAVAIL as i32));
    assert!(error.to_string().starts_with("cannot take away address 10.1.2.3/16 on br0 in a: "), "{error}");
}

#[test]
fn a_device_goes_up_and_down() {
    if !alone() {
        return;
    }
    let a = Place::new("a");
    let is_up = || a.run("ip -o link show dev lo").contains(",UP");
    assert!(!is_up());
    a.add(up("lo"));
    assert!(is_up());
    a.net.remove(&up("lo")).unwrap();
    assert!(!is_up());
    assert_eq!(a.try_add(&up("nodev")).errno, Some(Errno::ENODEV as i32));
}

#[test]
fn a_route_is_what_ip_route_would_have_made() {
    if !alone() {
        return;
    }
    let (a, _b) = cable();
    a.add(address("a0", "fd00::1/64"));
    let (via, via6) = (Some("10.0.0.2".parse().unwrap()), Some("fd00::2".parse().unwrap()));
    let (source, dev) = (Some("10.0.0.1".parse().unwrap()), Some(name("a0")));
    let routes = [
        (Route { via, ..route("0.0.0.0/0") }, "default via 10.0.0.2 dev a0"),
        (Route { dev: dev.clone(), ..route("10.7.0.0/16") }, "10.7.0.0/16 dev a0 scope link"),
        (
            Route { via, source, metric: Some(5), ..route("10.8.0.0/16") },
            "10.8.0.0/16 via 10.0.0.2 dev a0 src 10.0.0.1 metric 5",
        ),
        (
            Route { via, table: Some(1000), ..route("10.9.0.0/16") },
            "10.9.0.0/16 via 10.0.0.2 dev a0 table 1000",
        ),
        (
            Route { via, table: Some(100), dev: dev.clone(), ..route("0.0.0.0/0") },
            "default via 10.0.0.2 dev a0 table 100",
        ),
        (Route { via: via6, ..route("::/0") }, "default via fd00::2 dev a0 metric 1024"),
        (Route { dev, metric: Some(7), ..route("fd07::/64") }, "fd07::/64 dev a0 metric 7"),
    ];
    let shown = || a.run("ip route show table all");
    for (route, text) in routes {
        let here = || shown().lines().filter(|line| line.trim_end().starts_with(text)).count();
        let object = Object::Route(route);
        a.add(object.clone());
        assert_eq!(here(), 1, "{text} is not in\n{}", shown());
        assert_eq!(a.try_add(&object).errno, Some(Errno::EEXIST as i32));
        a.net.remove(&object).unwrap();
        assert_eq!(here(), 0, "{text} is still in\n{}", shown());
    }
}

#[test]
fn a_policy_rule_comes_and_goes() {
    if !alone() {
        return;
    }
    let a = Place::new("a");
    let any = PolicyRule { priority: 0, from: None, to: None, iif: None, fwmark: None, table: 1000 };
    let net = |text: &str| Some(text.parse().unwrap());
    let rules = [
        (PolicyRule { priority: 100, ..any.clone() }, "ip", "100: from all lookup 1000"),
        (
            PolicyRule {
                priority: 7,
                from: net("10.0.0.0/8"),
                to: net("10.1.0.0/16"),
                table: 50,
                ..any.clone()
            },
            "ip",
            "7: from 10.0.0.0/8 to 10.1.0.0/16 lookup 50",
        ),
        (
            PolicyRule { priority: 8, iif: Some(name("lo")), fwmark: Some((1, 0xff)), ..any.clone() },
            "ip",
            "8: from all fwmark 0x1/0xff iif lo lookup 1000",
        ),
        (PolicyRule { priority: 9, from: net("fd00::/8"), ..any }, "ip -6", "9: from fd00::/8 lookup 1000"),
    ];
    for (rule, ip, text) in rules {
        let here = || {
            let lines = a.run(&format!("{ip} rule"));
            lines.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == text)
        };
        let object = Object::PolicyRule(rule);
        a.add(object.clone());
        assert!(here(), "{text}: {}", a.run("ip rule"));
        assert_eq!(a.try_add(&object).errno, Some(Errno::EEXIST as i32));
        a.net.remove(&object).unwrap();
        assert!(!here(), "{text}");
    }
}

#[test]
fn a_neighbour_is_permanent() {
    if !alone() {
        return;
    }
    let (a, _b) = cable();
    for address in ["10.0.0.9", "fd00::9"] {
        let neighbour = |mac: &str| {
            let (link, address) = (name("a0"), address.parse().unwrap());
            Object::Neighbour(Neighbour { link, address, mac: mac.parse().unwrap() })
        };
        let shown = || a.run(&format!("ip neigh show {address} dev a0"));
        a.add(neighbour("02:42:00:00:00:09"));
        assert_eq!(shown().trim(), format!("{address} lladdr 02:42:00:00:00:09 PERMANENT"));
        assert_eq!(a.try_add(&neighbour("02:42:00:00:00:08")).errno, Some(Errno::EEXIST as i32));
        a.net.replace(&neighbour("02:42:00:00:00:08")).unwrap();
        assert_eq!(shown().trim(), format!("{address} lladdr 02:42:00:00:00:08 PERMANENT"));
        a.net.remove(&neighbour("02:42:00:00:00:08")).unwrap();
        assert!(!shown().contains("PERMANENT"));
    }
}
