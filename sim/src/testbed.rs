//! Small plans, made by hand for tests, and one-line questions about them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use seatrial_core::addr::{Family, IfName, MacAddr};
use seatrial_core::plan::{
    Address, BridgePort, File, IdMap, Item, Link, LinkKind, Listener, MountRoot, Namespace, NsName, Object,
    Parent, Peer, Plan, Process, Proxy, Resolver, Route, Sysctl, Zone,
};
use seatrial_core::probe::{Fault, NsKind, Way};
use seatrial_core::rules::iptables;
use seatrial_core::topology::{NodeName, RouteSpec};

use crate::packet::{L4, Ports};
use crate::skb::{Meta, Skb};
use crate::stack::output::packet;
use crate::trace::{DropReason, Event, Hop};
use crate::world::{Answer, World};

/// A plan in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bed {
    items: Vec<Item>,
    ports: u8,
}

pub(crate) fn name(s: &str) -> IfName {
    s.parse().unwrap()
}

/// `02:00:00:00:00:NN`.
pub(crate) const fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

impl Bed {
    /// Nothing but `wire`, with a switch `sw`.
    pub(crate) fn new() -> Self {
        let bed = Self::default().with("wire", Object::Namespace(Namespace::Network));
        bed.sysctl("wire", "net.ipv6.conf.default.disable_ipv6=1").switch("wire", "sw")
    }

    /// One more object.
    pub(crate) fn with(mut self, ns: &str, object: Object) -> Self {
        self.items.push(Item { ns: NsName::from(ns), object });
        self
    }

    /// A bridge, up.
    pub(crate) fn switch(self, ns: &str, device: &str) -> Self {
        let link = Link {
            name: name(device),
            kind: LinkKind::Bridge,
            mac: Some(mac(0xb0)),
            mtu: None,
            master: None,
        };
        self.with(ns, Object::Link(link)).with(ns, Object::Up(name(device)))
    }

    /// A machine with namespaces of its own, and no device but `lo`.
    pub(crate) fn node(self, node: &str) -> Self {
        self.process(node, None, &[])
    }

    /// A container on `host`: a namespace of every kind, but for those that are another's.
    pub(crate) fn process(mut self, node: &str, container: Option<&str>, shared: &[(NsKind, &str)]) -> Self {
        let map = IdMap { inside: 0, outside: 0, count: u32::MAX };
        let all = [
            Namespace::User { map },
            Namespace::Network,
            Namespace::Mount(MountRoot::default()),
            Namespace::Ipc { shm_size: None },
            Namespace::Pid,
            Namespace::Uts { hostname: node.to_owned(), domainname: None },
            Namespace::Cgroup,
        ];
        let owner = |kind: NsKind| shared.iter().find(|(k, _)| *k == kind).map_or(node, |(_, owner)| owner);
        let namespaces: BTreeMap<NsKind, NsName> =
            NsKind::ALL.into_iter().map(|kind| (kind, NsName::from(owner(kind)))).collect();
        for namespace in all {
            if owner(namespace.kind()) == node {
                self = self.with(node, Object::Namespace(namespace));
            }
        }
        if owner(NsKind::Network) == node {
            self = self.with(node, Object::Up(IfName::lo()));
        }
        let process = Process {
            node: node.into(),
            container: container.map(str::to_owned),
            namespaces,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            privileged: false,
            program: None,
            user: None,
        };
        self.with(node, Object::Process(process))
    }

    /// A cable from a node into a bridge of another namespace, and addresses on the node's end, which is up. Its MAC
    /// addresses count up from `02:00:00:00:00:01` and `02:00:00:00:00:81`; its port is called `p1`, `p2` and so on.
    pub(crate) fn plug(mut self, node: &str, device: &str, at: (&str, &str), addresses: &[&str]) -> Self {
        self.ports += 1;
        let port = name(&format!("p{}", self.ports));
        let peer = Peer {
            ns: NsName::from(at.0),
            name: port.clone(),
            mac: Some(mac(0x80 + self.ports)),
            mtu: None,
            master: Some(name(at.1)),
        };
        let kind = LinkKind::Veth(peer);
        let link = Link { name: name(device), kind, mac: Some(mac(self.ports)), mtu: None, master: None };
        self = self.with(node, Object::Link(link)).with(at.0, Object::Up(port));
        self.addresses(node, device, addresses).with(node, Object::Up(name(device)))
    }

    /// Addresses on a device.
    pub(crate) fn addresses(self, ns: &str, device: &str, addresses: &[&str]) -> Self {
        addresses.iter().fold(self, |bed, net| {
            let address = Address { link: name(device), net: net.parse().unwrap(), nodad: true };
            bed.with(ns, Object::Address(address))
        })
    }

    /// A node on the switch, with one address on `eth0`.
    pub(crate) fn machine(self, node: &str, address: &str) -> Self {
        self.node(node).plug(node, "eth0", ("wire", "sw"), &[address])
    }

    /// A device on top of another's, of a namespace of its own, with an address, up.
    pub(crate) fn share(self, node: &str, kind: LinkKind, last: u8, address: &str) -> Self {
        let shared = matches!(kind, LinkKind::Ipvlan { .. });
        let mac = (!shared).then_some(mac(last));
        let link = Link { name: name("eth0"), kind, mac, mtu: None, master: None };
        let bed = self.node(node).with(node, Object::Link(link)).addresses(node, "eth0", &[address]);
        bed.with(node, Object::Up(name("eth0")))
    }

    /// A route as `ip route add` writes it.
    pub(crate) fn route(self, ns: &str, route: &str) -> Self {
        let RouteSpec { to, via, dev } = route.parse().unwrap();
        self.with(ns, Object::Route(Route { to, via, dev, table: None, metric: None, source: None }))
    }

    /// A sysctl as `sysctl -w` writes it.
    pub(crate) fn sysctl(self, ns: &str, setting: &str) -> Self {
        let (key, value) = setting.split_once('=').unwrap();
        self.with(ns, Object::Sysctl(Sysctl { key: key.to_owned(), value: value.to_owned() }))
    }

    /// Rules as iptables-restore reads them.
    pub(crate) fn rules(self, ns: &str, text: &str) -> Self {
        self.with(ns, Object::Rules(iptables::parse(text, Family::V4).unwrap().into()))
    }

    /// A listener of a node on every address.
    pub(crate) fn listen(self, node: &str, port: &str) -> Self {
        self.listen_on(node, node, None, port)
    }

    /// A listener of a node in a namespace, on one address.
    pub(crate) fn listen_on(self, ns: &str, node: &str, address: Option<&str>, port: &str) -> Self {
        let (port, transport) = port.split_once('/').unwrap();
        let listener = Listener {
            node: node.into(),
            transport: transport.parse().unwrap(),
            address: address.map(|a| a.parse().unwrap()),
            port: port.parse().unwrap(),
        };
        self.with(ns, Object::Listener(listener))
    }

    /// A docker-proxy.
    pub(crate) fn proxy(self, ns: &str, transport: &str, listen: &str, connect: &str) -> Self {
        self.any_proxy(ns, transport, listen, connect, false)
    }

    /// A docker-proxy; one before 28.0 answers by route.
    pub(crate) fn any_proxy(
        self,
        ns: &str,
        transport: &str,
        listen: &str,
        connect: &str,
        answers_by_route: bool,
    ) -> Self {
        let proxy = Proxy {
            transport: transport.parse().unwrap(),
            listen: listen.parse().unwrap(),
            connect: connect.parse().unwrap(),
            answers_by_route,
        };
        self.with(ns, Object::Proxy(proxy))
    }

    /// A file that a node sees.
    pub(crate) fn file(self, node: &str, path: &str, content: &str) -> Self {
        self.with(node, Object::File(File { path: path.to_owned(), content: content.to_owned() }))
    }

    /// A resolver on 127.0.0.11, port 53, without the NAT that a container has.
    pub(crate) fn resolver(self, ns: &str, zone: &[(&str, &[&str])]) -> Self {
        let addresses = |a: &[&str]| a.iter().map(|a| a.parse::<IpAddr>().unwrap()).collect();
        let names = zone.iter().map(|(n, a)| ((*n).to_owned(), addresses(a))).collect();
        let zone = Arc::new(Zone { names, ..Zone::default() });
        let resolver = Resolver { udp_port: 53, tcp_port: 53, zone, upstream: Vec::new() };
        self.with(ns, Object::Resolver(resolver))
    }

    /// The plan.
    pub(crate) fn plan(&self) -> Plan {
        Plan { items: self.items.clone() }
    }

    /// A world of it, from one seed.
    pub(crate) fn world(&self) -> World {
        self.seeded(1)
    }

    /// A world of it, from a seed.
    pub(crate) fn seeded(&self, seed: u64) -> World {
        World::build(&self.plan(), seed).unwrap()
    }
}

/// Two machines on one switch: a is 10.0.0.1, b is 10.0.0.2.
pub(crate) fn pair() -> Bed {
    Bed::new().machine("a", "10.0.0.1/24").machine("b", "10.0.0.2/24")
}

/// A fault of so many percent of wrong bits.
pub(crate) const fn corrupt(percent: u8) -> Fault {
    Fault::Corrupt(Way::Both, percent)
}

/// A router r between a, 10.0.0.1, and b, 10.0.1.2: r is .254 on both sides, and forwards.
pub(crate) fn routed() -> Bed {
    Bed::new()
        .switch("wire", "sw2")
        .machine("a", "10.0.0.1/24")
        .node("b")
        .plug("b", "eth0", ("wire", "sw2"), &["10.0.1.2/24"])
        .machine("r", "10.0.0.254/24")
        .plug("r", "eth1", ("wire", "sw2"), &["10.0.1.254/24"])
        .sysctl("r", "net.ipv4.ip_forward=1")
        .route("a", "default via 10.0.0.254")
        .route("b", "default via 10.0.1.254")
}

/// A machine's device, for others to stand on.
pub(crate) fn parent(ns: &str, device: &str) -> Parent {
    Parent { ns: NsName::from(ns), name: name(device) }
}

/// A bridge `br`, 10.0.0.254, of a host h, and on it a, b and c: 10.0.0.1, .2 and .3 by the ports p1, p2 and p3.
pub(crate) fn bridged() -> Bed {
    let bed = Bed::new().node("h").switch("h", "br").addresses("h", "br", &["10.0.0.254/24"]);
    ["a", "b", "c"].into_iter().zip(1..).fold(bed, |bed, (node, last)| {
        bed.node(node).plug(node, "eth0", ("h", "br"), &[&format!("10.0.0.{last}/24")])
    })
}

/// Settings of a bridge's port.
pub(crate) fn port(link: &str, hairpin: bool, isolated: bool) -> Object {
    Object::BridgePort(BridgePort { link: name(link), hairpin, isolated })
}

/// Lets a node send a datagram in a frame of its own making; the hops that come of it.
pub(crate) fn inject(world: &mut World, node: &str, src: MacAddr, dst: MacAddr, to: &str) -> Vec<Hop> {
    let ns = world.spaces[&NsName::from(node)];
    let dev = world.stacks[ns].links[&name("eth0")];
    let ports = Ports { src: 40000, dst: 9 };
    let from = world.stacks[ns].addresses_of(dev).next().unwrap().addr();
    let mut skb = Skb { packet: packet(from, to.parse().unwrap(), 64, L4::Udp(ports)), meta: Meta::new(1) };
    (world.hops, world.flights) = (Some(Vec::new()), 1);
    world.transmit(dev, skb.framed(src, dst));
    world.advance_ms(1);
    world.hops.take().unwrap()
}

/// The namespaces, other than the sender's, whose stack or device a frame came to, in the order of their names.
pub(crate) fn reached(hops: &[Hop]) -> Vec<String> {
    let by_cable = hops.iter().filter(|hop| hop.flight == 1).filter_map(|hop| {
        if let Event::Cross { ns, .. } = &hop.event {
            return (ns.as_str() != "h").then(|| ns.to_string());
        }
        let to_host =
            matches!(hop.event, Event::Drop { reason: DropReason::NoSocket, .. }) && hop.ns.as_str() == "h";
        to_host.then(|| "h".to_owned())
    });
    by_cable.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// The answer to a probe, written as in a trial.
pub(crate) fn probe(world: &mut World, line: &str) -> Answer {
    world.probe(&line.parse().unwrap())
}

/// The outcome of a probe, written as in a trial.
pub(crate) fn ask(world: &mut World, line: &str) -> String {
    probe(world, line).outcome.to_string()
}

/// The reason and the words of the drop that a trace ends with.
pub(crate) fn dropped(answer: &Answer) -> (&'static str, String, String) {
    match answer.trace.hops.last().map(|hop| (&hop.event, hop.ns.to_string())) {
        Some((Event::Drop { reason, why }, ns)) => (reason.as_str(), why.clone(), ns),
        other => panic!("the trace ends with {other:?}"),
    }
}

/// Whether a fact, written as in a trial, holds.
pub(crate) fn fact(world: &mut World, node: &str, line: &str) -> Result<(), String> {
    world.fact(&NodeName::from(node), &line.parse().unwrap()).map_err(|e| e.to_string())
}
