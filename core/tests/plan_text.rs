//! A plan's text and its JSON.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use seatrial_core::addr::{Family, Transport};
use seatrial_core::plan::firewall::resolver;
use seatrial_core::plan::{
    Address, BridgePort, File, IdMap, Item, Link, LinkKind, Listener, MountRoot, Namespace, Neighbour,
    NsName, Object, Parent, Peer, Plan, PlanOp, PolicyRule, Process, Proxy, Reservation, Resolver, Route,
    Sysctl, Upstream, Zone,
};
use seatrial_core::probe::NsKind;
use seatrial_core::rules::Backend;
use seatrial_core::rules::iptables::parse;
use seatrial_core::topology::{IpvlanFlag, IpvlanMode, MacvlanMode, Mount, Program};

fn item(ns: &str, object: Object) -> Item {
    Item { ns: NsName::from(ns), object }
}

fn link(name: &str, kind: LinkKind) -> Object {
    Object::Link(Link { name: name.parse().unwrap(), kind, mac: None, mtu: None, master: None })
}

fn namespaces() -> Vec<Object> {
    let mounts = vec![
        Mount { source: Some("/srv/my data".to_owned()), target: "/data".to_owned(), read_only: true },
        Mount { source: None, target: "/cache".to_owned(), read_only: false },
    ];
    let tmpfs = vec!["/run".to_owned(), "/tmp:size=64m".to_owned()];
    vec![
        Namespace::Network,
        Namespace::Mount(MountRoot { read_only: true, tmpfs, mounts: mounts.clone(), rootfs: None }),
        Namespace::Mount(MountRoot {
            rootfs: Some("roots/nginx.tar".to_owned()),
            mounts: mounts[..1].to_vec(),
            ..MountRoot::default()
        }),
        Namespace::Ipc { shm_size: Some(64 << 20) },
        Namespace::Pid,
        Namespace::Uts { hostname: "web1".to_owned(), domainname: Some("corp.example".to_owned()) },
        Namespace::User { map: IdMap { inside: 0, outside: 100_000, count: 65_536 } },
        Namespace::Cgroup,
    ]
    .into_iter()
    .map(Object::Namespace)
    .collect()
}

fn links() -> Vec<Object> {
    let parent = Parent { ns: NsName::from("host"), name: "eth0".parse().unwrap() };
    let peer = Peer {
        ns: NsName::from("wire"),
        name: "web.eth0".parse().unwrap(),
        mac: Some("02:42:ac:11:00:02".parse().unwrap()),
        mtu: Some(1400),
        master: Some("eth0".parse().unwrap()),
    };
    let veth = Link {
        name: "eth0".parse().unwrap(),
        kind: LinkKind::Veth(peer),
        mac: Some("02:42:ac:11:00:03".parse().unwrap()),
        mtu: Some(1400),
        master: Some("br0".parse().unwrap()),
    };
    vec![
        link("br0", LinkKind::Bridge),
        Object::Link(veth),
        link("eth1", LinkKind::Macvlan { parent: parent.clone(), mode: MacvlanMode::Bridge }),
        link("eth2", LinkKind::Ipvlan { parent, mode: IpvlanMode::L3s, flag: IpvlanFlag::Private }),
        link("eth0.10", LinkKind::Vlan { parent: "eth0".parse().unwrap(), id: 10 }),
        link("dm0", LinkKind::Dummy),
        Object::BridgePort(BridgePort { link: "eth0".parse().unwrap(), hairpin: true, isolated: false }),
    ]
}

fn routing() -> Vec<Object> {
    let dev = || "eth0".parse().unwrap();
    let address =
        |net: &str, nodad| Object::Address(Address { link: dev(), net: net.parse().unwrap(), nodad });
    let route = |to: &str, via: &str| Route {
        to: to.parse().unwrap(),
        via: Some(via.parse().unwrap()),
        dev: Some(dev()),
        table: None,
        metric: None,
        source: None,
    };
    let full = Route {
        table: Some(100),
        metric: Some(5),
        source: Some("172.18.0.2".parse().unwrap()),
        ..route("10.0.0.0/8", "172.18.0.9")
    };
    let rule = PolicyRule {
        priority: 100,
        from: Some("172.18.0.0/16".parse().unwrap()),
        to: None,
        iif: Some("eth0".parse().unwrap()),
        fwmark: Some((1, 0xff)),
        table: 100,
    };
    let (address_of, mac) = ("172.18.0.9".parse().unwrap(), "02:42:ac:11:00:09".parse().unwrap());
    vec![
        address("172.18.0.2/16", false),
        address("fd00::2/64", true),
        Object::Up(dev()),
        Object::Route(route("0.0.0.0/0", "172.18.0.1")),
        Object::Route(route("::/0", "fd00::1")),
        Object::Route(full),
        Object::PolicyRule(rule),
        Object::Neighbour(Neighbour { link: dev(), address: address_of, mac }),
    ]
}

fn settings() -> Vec<Object> {
    let sysctl =
        |key: &str, value: &str| Object::Sysctl(Sysctl { key: key.to_owned(), value: value.to_owned() });
    let file =
        |path: &str, content: &str| Object::File(File { path: path.to_owned(), content: content.to_owned() });
    let text =
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -m comment --comment \"it's mine\" -j ACCEPT\nCOMMIT\n";
    vec![
        sysctl("net.ipv4.ping_group_range", "0 2147483647"),
        sysctl("net.ipv6.conf.eth0/10.disable_ipv6", "1"),
        sysctl("kernel.domainname", "corp.example"),
        sysctl("kernel.shmmax", "1024"),
        Object::Rules(parse(text, Family::V4).unwrap().into()),
        Object::Rules(parse("*filter\nCOMMIT\n", Family::V6).unwrap().into()),
        Object::Rules(resolver(Backend::Iptables, 33855, 54377).into()),
        file("/etc/hosts", "127.0.0.1\tlocalhost\n"),
        file("/etc/resolv.conf", ""),
        file("/etc/hostname", "it's web1"),
    ]
}

fn processes() -> Vec<Object> {
    let namespaces: BTreeMap<_, _> = NsKind::ALL.into_iter().map(|k| (k, NsName::from("web"))).collect();
    let container = Process {
        node: "web".into(),
        container: Some("shop-web-1".to_owned()),
        namespaces,
        cap_add: vec!["NET_ADMIN".to_owned()],
        cap_drop: vec!["MKNOD".to_owned()],
        privileged: false,
        program: None,
        user: Some("1000:100".to_owned()),
    };
    let machine = Process {
        container: None,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        user: None,
        ..container.clone()
    };
    let words = |all: &[&str]| all.iter().map(|&word| word.to_owned()).collect();
    let program = Program {
        command: words(&["nginx", "-g", "daemon off;"]),
        environment: vec![("A".to_owned(), "it's".to_owned())],
        working_dir: None,
    };
    let runs = Process { program: Some(program), ..machine.clone() };
    vec![Object::Process(container), Object::Process(machine), Object::Process(runs)]
}

fn sockets() -> Vec<Object> {
    let proxy = |listen: &str, connect: &str| {
        let [listen, connect] = [listen, connect].map(|a| a.parse().unwrap());
        Object::Proxy(Proxy { transport: Transport::Tcp, listen, connect, answers_by_route: false })
    };
    let names =
        BTreeMap::from([("db".to_owned(), vec!["172.18.0.3".parse().unwrap(), "fd00::3".parse().unwrap()])]);
    let reverse = BTreeMap::from([
        ("172.18.0.3".parse().unwrap(), "db.shop_default".to_owned()),
        ("fd00::3".parse().unwrap(), "db.shop_default".to_owned()),
    ]);
    let upstream = vec![
        Upstream { address: "203.0.113.1".parse().unwrap(), from_host: true },
        Upstream { address: "192.0.2.53".parse().unwrap(), from_host: false },
    ];
    let listener = |address: Option<&str>, transport| {
        let address = address.map(|a| a.parse().unwrap());
        Object::Listener(Listener { node: "web".into(), transport, address, port: 80 })
    };
    vec![
        proxy("0.0.0.0:8080", "172.18.0.2:80"),
        proxy("[::]:8080", "[fd00::2]:80"),
        Object::Reservation(Reservation {
            transport: Transport::Udp,
            listen: "203.0.113.10:53".parse().unwrap(),
        }),
        Object::Resolver(Resolver {
            udp_port: 54377,
            tcp_port: 33855,
            zone: Arc::new(Zone { names, networks: BTreeSet::new(), reverse }),
            upstream,
        }),
        listener(None, Transport::Tcp),
        listener(Some("127.0.0.1"), Transport::Udp),
        listener(Some("::1"), Transport::Sctp),
    ]
}

/// A plan in which every object stands, in every form its text can take.
fn every_object() -> Plan {
    let own = [namespaces(), links(), routing(), settings(), processes(), sockets()].concat();
    let further = item("b/web", Object::Namespace(Namespace::Network));
    Plan { items: own.into_iter().map(|o| item("web", o)).chain([further]).collect() }
}

#[test]
fn each_object_is_made_by_one_command() {
    insta::assert_snapshot!(every_object());
}

#[test]
fn each_object_is_taken_away_and_replaced() {
    let mut text = String::new();
    for item in every_object().items {
        writeln!(text, "{}", PlanOp::Remove(item)).unwrap();
    }
    let web = || NsName::from("web");
    let link = || "eth0".parse().unwrap();
    let ops = [
        PlanOp::Replace(item("web", settings().remove(7))),
        PlanOp::Replace(item("web", sockets().remove(0))),
        PlanOp::FlushConntrack { ns: web(), address: "172.18.0.2".parse().unwrap() },
        PlanOp::FlushConntrackPort { ns: web(), transport: Transport::Udp, port: 53 },
        PlanOp::Announce { ns: web(), link: link(), address: "172.18.0.2".parse().unwrap() },
        PlanOp::Announce { ns: web(), link: link(), address: "fd00::2".parse().unwrap() },
    ];
    for op in ops {
        writeln!(text, "{op}").unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_plan_survives_json() {
    let plan = every_object();
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}
