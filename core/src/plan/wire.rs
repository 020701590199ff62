//! The world around: one switch for each of the hosts' devices, and the machines plugged into them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::ids::Seed;
use super::{
    Address, File, IdMap, Item, Link, LinkKind, MountRoot, Namespace, NsName, Object, Peer, Process, Route,
    Sysctl,
};
use crate::addr::{IfName, IpNet, MacAddr};
use crate::probe::NsKind;
use crate::topology::{Host, LanMachine, NodeName, RouteSpec, Topology};

/// The namespace of the switches.
pub(crate) const WIRE: &str = "wire";

/// The wire and every machine on it, before any Engine starts.
pub(super) fn items(topology: &Topology) -> Vec<Item> {
    let mut cables = Cables::default();
    let mut items = switches(topology);
    for host in &topology.hosts {
        items.extend(machine(&host.name, &host_files(host)));
        items.extend(forwarding(host));
        for (device, addresses) in &host.machine.interfaces {
            items.extend(cables.plug(&host.name, device, device, addresses));
        }
        items.extend(routes(&host.name, &host.machine.routes));
    }
    for lan in &topology.lan {
        items.extend(machine(&lan.name, &lan_files(lan)));
        items.extend(cables.plug(&lan.name, &IfName::eth0(), &IfName::eth0(), &lan.addresses));
        items.extend(routes(&lan.name, &lan.routes));
    }
    items.extend(cables.plugged.into_iter().map(|end| item(WIRE, Object::Up(end))));
    items
}

/// An object in a namespace.
pub(super) fn item(ns: &str, object: Object) -> Item {
    Item { ns: NsName::from(ns), object }
}

/// A setting in a namespace.
pub(super) fn sysctl(ns: &str, key: impl Into<String>, value: impl Into<String>) -> Item {
    item(ns, Object::Sysctl(Sysctl { key: key.into(), value: value.into() }))
}

/// The device a setting is for, as in `net.ipv4.conf.eth0.rp_filter`.
pub(super) fn sysctl_device_of(key: &str) -> Option<IfName> {
    let parts: Vec<&str> = key.split('.').collect();
    let ["net", "ipv4" | "ipv6" | "mpls", "conf" | "neigh", device, _] = parts.as_slice() else {
        return None;
    };
    let name = device.replace('/', ".").parse::<IfName>().ok();
    name.filter(|n| !matches!(n.as_str(), "all" | "default" | "lo"))
}

/// A device's part of a sysctl's key: a dot in its name is written as a slash.
pub(super) fn sysctl_device(device: &IfName) -> String {
    device.as_str().replace('.', "/")
}

/// One bridge for each device of a host, and eth0's for the machines. They speak no IPv6 of their own.
fn switches(topology: &Topology) -> Vec<Item> {
    let devices: BTreeSet<IfName> = topology
        .hosts
        .iter()
        .flat_map(|h| h.machine.interfaces.keys().filter(|name| **name != IfName::lo()).cloned())
        .chain([IfName::eth0()])
        .collect();
    let mut items = Vec::from(bare());
    items.extend(devices.into_iter().flat_map(switch));
    items
}

/// The switch that a device is plugged into, and that has its name.
pub(crate) fn switch(device: IfName) -> [Item; 2] {
    let mac = Some(Seed::of(&["switch", device.as_str()]).mac());
    let link = Link { name: device.clone(), kind: LinkKind::Bridge, mac, mtu: None, master: None };
    [item(WIRE, Object::Link(link)), item(WIRE, Object::Up(device))]
}

/// The wire, with nothing plugged in.
pub(crate) fn bare() -> [Item; 2] {
    let quiet = sysctl(WIRE, "net.ipv6.conf.default.disable_ipv6", "1");
    [item(WIRE, Object::Namespace(Namespace::Network)), quiet]
}

/// The switch that a device of a namespace leads to which nobody planned: of the host's own it has the device's name.
#[cfg(feature = "linux")]
pub(crate) fn switch_of(ns: &NsName, device: &IfName) -> IfName {
    if ns.as_str() == NodeName::host().as_str() {
        return device.clone();
    }
    Seed::of(&["switch", ns.as_str(), device.as_str()]).if_name("s", 12)
}

/// The end in the wire of such a device's cable.
#[cfg(feature = "linux")]
pub(crate) fn plugged(ns: &NsName, device: &IfName) -> Peer {
    let end = Seed::of(&["cable", ns.as_str(), device.as_str()]);
    let name = format!("{ns}.{device}").parse().unwrap_or_else(|_| end.if_name("w", 12));
    let master = Some(switch_of(ns, device));
    Peer { ns: NsName::from(WIRE), name, mac: Some(end.mac()), mtu: None, master }
}

/// A machine that is plugged into a switch which stands already.
pub(crate) fn stranger(lan: &LanMachine, switch: &IfName) -> Vec<Item> {
    let mut cables = Cables::default();
    let mut items = machine(&lan.name, &lan_files(lan));
    items.extend(cables.plug(&lan.name, &IfName::eth0(), switch, &lan.addresses));
    items.extend(routes(&lan.name, &lan.routes));
    items.extend(cables.plugged.into_iter().map(|end| item(WIRE, Object::Up(end))));
    items
}

/// A machine: its own namespace of every kind, loopback, files, and the process that stands for it.
pub(crate) fn machine(name: &NodeName, files: &[(&str, String)]) -> Vec<Item> {
    let ns = name.as_str();
    let whole = IdMap { inside: 0, outside: 0, count: u32::MAX };
    let namespaces = [
        Namespace::User { map: whole },
        Namespace::Network,
        Namespace::Mount(MountRoot::default()),
        Namespace::Ipc { shm_size: Some(super::namespaces::SHM_BYTES) },
        Namespace::Pid,
        Namespace::Uts { hostname: ns.to_owned(), domainname: None },
        Namespace::Cgroup,
    ];
    let mut items: Vec<Item> = namespaces.into_iter().map(|n| item(ns, Object::Namespace(n))).collect();
    items.push(item(ns, Object::Up(IfName::lo())));
    for (path, content) in files {
        items.push(item(ns, Object::File(File { path: (*path).to_owned(), content: content.clone() })));
    }
    let namespaces: BTreeMap<NsKind, NsName> = NsKind::ALL.into_iter().map(|k| (k, name.into())).collect();
    items.push(item(
        ns,
        Object::Process(Process {
            node: name.clone(),
            container: None,
            namespaces,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            privileged: false,
            program: None,
            user: None,
        }),
    ));
    items
}

fn host_files(host: &Host) -> [(&'static str, String); 3] {
    [
        ("/etc/hostname", format!("{}\n", host.name)),
        ("/etc/hosts", host.machine.hosts_file.clone()),
        ("/etc/resolv.conf", host.machine.resolv_conf.clone()),
    ]
}

fn lan_files(lan: &LanMachine) -> [(&'static str, String); 3] {
    let own: String = lan.addresses.iter().map(|a| format!("{}\t{}\n", a.addr(), lan.name)).collect();
    [
        ("/etc/hostname", format!("{}\n", lan.name)),
        ("/etc/hosts", format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{own}")),
        ("/etc/resolv.conf", String::new()),
    ]
}

/// What a machine's settings were before Docker came.
fn forwarding(host: &Host) -> Vec<Item> {
    let ns = host.name.as_str();
    let forward = if host.machine.boot_ip_forward { "1" } else { "0" };
    let mut settings = BTreeMap::from([("net.ipv4.ip_forward".to_owned(), forward.to_owned())]);
    settings.extend(host.machine.sysctls.clone());
    settings.into_iter().map(|(key, value)| sysctl(ns, key, value)).collect()
}

fn routes(name: &NodeName, routes: &[RouteSpec]) -> Vec<Item> {
    let route = |r: &RouteSpec| Route {
        to: r.to,
        via: r.via,
        dev: r.dev.clone().or_else(|| r.via.is_none().then(IfName::eth0)),
        table: None,
        metric: None,
        source: None,
    };
    routes.iter().map(|r| item(name.as_str(), Object::Route(route(r)))).collect()
}

/// The cables into the switches, each end of its own name.
#[derive(Default)]
struct Cables {
    plugged: Vec<IfName>,
}

impl Cables {
    fn plug(&mut self, node: &NodeName, device: &IfName, switch: &IfName, addresses: &[IpNet]) -> Vec<Item> {
        let ns = node.as_str();
        let addresses = addresses.iter().map(|net| item(ns, Object::Address(address(device, *net))));
        if *device == IfName::lo() {
            return addresses.collect();
        }
        let peer = Peer {
            ns: NsName::from(WIRE),
            name: self.name(node, device),
            mac: Some(Seed::of(&["cable", ns, device.as_str()]).mac()),
            mtu: None,
            master: Some(switch.clone()),
        };
        let mac = Some(machine_mac(node, device));
        let link = Link { name: device.clone(), kind: LinkKind::Veth(peer), mac, mtu: None, master: None };
        let mut items = vec![item(ns, Object::Link(link))];
        items.extend(addresses);
        items.push(item(ns, Object::Up(device.clone())));
        items
    }

    /// `laptop.eth0`, or digits instead of the node where that is no name or is taken.
    fn name(&mut self, node: &NodeName, device: &IfName) -> IfName {
        let plain = format!("{node}.{device}").parse::<IfName>().ok().filter(|n| !self.plugged.contains(n));
        let digits =
            |n: u32| Seed::of(&["cable", node.as_str(), device.as_str(), &n.to_string()]).if_name("w", 12);
        let name = plain.or_else(|| (0..).map(digits).find(|n| !self.plugged.contains(n)));
        let name = name.unwrap_or_else(|| device.clone());
        self.plugged.push(name.clone());
        name
    }
}

/// The hardware address of a machine's device.
pub(super) fn machine_mac(node: &NodeName, device: &IfName) -> MacAddr {
    Seed::of(&["machine", node.as_str(), device.as_str()]).mac()
}

/// An address, given at once: nothing else on a planned wire can have it.
pub(super) fn address(device: &IfName, net: IpNet) -> Address {
    Address { link: device.clone(), net, nodad: matches!(net.addr(), IpAddr::V6(_)) }
}
