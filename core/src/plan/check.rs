//! A second pair of eyes on any plan: it shares no code with the planner, and both executors run it first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::addr::{IfName, Transport};
use crate::plan::{Item, Namespace, NsName, Object, Plan, Process};
use crate::probe::NsKind;
use crate::topology::NodeName;

mod links;
mod rulesets;
mod sockets;

#[cfg(feature = "linux")]
pub(crate) use sockets::clash;

/// One thing that no kernel could make, or that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Fault {
    /// Which of the plan's items.
    pub item: usize,
    /// The object: `web: address 172.18.0.2/16 on eth0`.
    pub object: String,
    /// What is wrong with it.
    pub cause: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {}, {}: {}", self.item, self.object, self.cause)
    }
}

/// Checks that every object stands after what it needs, that names and addresses are unique where they must be, that
/// rules jump to chains that exist, and that no two sockets want one port.
///
/// # Errors
/// Every fault, in the order of the items.
pub fn check(plan: &Plan) -> Result<(), Vec<Fault>> {
    let mut seen = Seen::default();
    for (index, item) in plan.items.iter().enumerate() {
        seen.index = index;
        seen.item(item);
    }
    seen.segments();
    let mut faults = seen.faults;
    faults.sort_by_key(|fault| fault.item);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// What stands so far.
#[derive(Default)]
struct Seen {
    index: usize,
    namespaces: BTreeSet<(NsKind, NsName)>,
    links: BTreeMap<NsName, BTreeMap<IfName, links::Seen>>,
    processes: BTreeSet<NodeName>,
    /// Network namespaces that somebody is in.
    machines: BTreeSet<NsName>,
    /// Families whose rules stand, by namespace and backend.
    rules: BTreeSet<(NsName, String)>,
    files: BTreeSet<(NsName, String)>,
    sockets: BTreeMap<(NsName, Transport, u16), Vec<Option<IpAddr>>>,
    faults: Vec<Fault>,
}

impl Seen {
    fn fault(&mut self, object: impl fmt::Display, cause: impl Into<String>) {
        self.faults.push(Fault { item: self.index, object: object.to_string(), cause: cause.into() });
    }

    fn item(&mut self, item: &Item) {
        let ns = &item.ns;
        if let Object::Namespace(namespace) = &item.object {
            return self.namespace(ns, namespace);
        }
        let file = matches!(item.object, Object::File(_));
        let ipc = matches!(&item.object, Object::Sysctl(sysctl) if !sysctl.key.starts_with("net."));
        let needs = [(file, NsKind::Mount), (ipc, NsKind::Ipc)].into_iter().find(|(is, _)| *is);
        let needs = needs.map_or(NsKind::Network, |(_, kind)| kind);
        let process = matches!(item.object, Object::Process(_));
        if !process && !self.namespaces.contains(&(needs, ns.clone())) {
            return self.fault(labelled(item), format!("there is no {needs} namespace {ns} before it"));
        }
        self.object(item);
    }

    fn namespace(&mut self, ns: &NsName, namespace: &Namespace) {
        let kind = namespace.kind();
        if !self.namespaces.insert((kind, ns.clone())) {
            self.fault(format!("{kind} namespace {ns}"), "it is made twice");
        }
        if kind == NsKind::Network {
            let lo = (IfName::lo(), links::Seen::loopback());
            self.links.insert(ns.clone(), BTreeMap::from([lo]));
        }
    }

    fn object(&mut self, item: &Item) {
        let what = labelled(item);
        match &item.object {
            Object::Namespace(_) | Object::PolicyRule(_) => {}
            Object::Link(link) => self.link(&item.ns, link, &what),
            Object::BridgePort(port) => self.port(&item.ns, &port.link, &what),
            Object::Address(address) => self.address(&item.ns, address, &what),
            Object::Up(name) => self.up(&item.ns, name, &what),
            Object::Route(route) => self.route(&item.ns, route, &what),
            Object::Neighbour(neighbour) => _ = self.device(&item.ns, &neighbour.link, &what),
            Object::Sysctl(sysctl) => self.sysctl(&item.ns, &sysctl.key, &what),
            Object::Rules(ruleset) => self.ruleset(&item.ns, ruleset, &what),
            Object::Script(script) => self.script(&item.ns, script, &what),
            Object::File(file) => self.file(&item.ns, &file.path, &what),
            Object::Process(process) => self.process(process, &what),
            Object::Proxy(_) | Object::Reservation(_) | Object::Resolver(_) | Object::Listener(_) => {
                self.socket(item, &what);
            }
        }
    }

    fn file(&mut self, ns: &NsName, path: &str, what: &str) {
        if !path.starts_with('/') {
            self.fault(what, "its path is not absolute");
        }
        if !self.files.insert((ns.clone(), path.to_owned())) {
            self.fault(what, "the file is written twice");
        }
    }

    fn process(&mut self, process: &Process, what: &str) {
        if !self.processes.insert(process.node.clone()) {
            self.fault(what, "the node has two first processes");
        }
        self.machines.extend(process.namespaces.get(&NsKind::Network).cloned());
        for kind in NsKind::ALL {
            match process.namespaces.get(&kind) {
                None => self.fault(what, format!("its {kind} namespace is not said")),
                Some(ns) if !self.namespaces.contains(&(kind, ns.clone())) => {
                    self.fault(what, format!("there is no {kind} namespace {ns} before it"));
                }
                Some(_) => {}
            }
        }
    }

    fn sysctl(&mut self, ns: &NsName, key: &str, what: &str) {
        let parts: Vec<&str> = key.split('.').collect();
        if parts.len() < 2 || parts.iter().any(|p| p.is_empty()) {
            return self.fault(what, "its key is not words with dots between them");
        }
        let device = match parts.as_slice() {
            ["net", "ipv4" | "ipv6", "conf" | "neigh", device, _] => device.replace('/', "."),
            _ => return,
        };
        if matches!(device.as_str(), "all" | "default") {
            return;
        }
        match device.parse::<IfName>() {
            Ok(name) => _ = self.device(ns, &name, what),
            Err(e) => self.fault(what, e.to_string()),
        }
    }
}

/// An item in a few words, for a fault.
fn labelled(item: &Item) -> String {
    format!("{}: {}", item.ns, label(&item.object))
}

/// An object in a few words.
pub(crate) fn label(object: &Object) -> String {
    match object {
        Object::Namespace(namespace) => format!("{} namespace", namespace.kind()),
        Object::Link(link) => format!("link {}", link.name),
        Object::BridgePort(port) => format!("bridge port {}", port.link),
        Object::Address(address) => format!("address {} on {}", address.net, address.link),
        Object::Up(name) => format!("{name} up"),
        Object::Route(route) => format!("route to {}", route.to),
        Object::PolicyRule(rule) => format!("policy rule {}", rule.priority),
        Object::Neighbour(neighbour) => format!("neighbour {}", neighbour.address),
        Object::Sysctl(sysctl) => format!("sysctl {}", sysctl.key),
        Object::Rules(_) => "rules".to_owned(),
        Object::Script(_) => "text for nft".to_owned(),
        Object::File(file) => format!("file {}", file.path),
        Object::Process(process) => format!("process of {}", process.node),
        Object::Proxy(proxy) => format!("docker-proxy on {}/{}", proxy.listen, proxy.transport),
        Object::Reservation(held) => format!("reservation of {}/{}", held.listen, held.transport),
        Object::Resolver(_) => "resolver".to_owned(),
        Object::Listener(listener) => format!("listener on {}/{}", listener.port, listener.transport),
    }
}

#[cfg(test)]
mod tests;
