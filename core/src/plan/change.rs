//! Changes while a topology runs: what is asked of the Engine, and the operations that it comes to.
//!
//! Nothing is undone by hand: the operations are the difference between the objects before and after.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::command::Command;
use super::dockerd::{self, Dockerd};
use super::planner::{Planner, script};
use super::wire::sysctl_device_of;
use super::{Item, LinkKind, Namespace, NsName, Object, PlanOp};
use crate::addr::IfName;
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::probe::{Change, NsKind};
use crate::topology::{Attachment, DEFAULT_BRIDGE, NetworkMode, NodeName};

/// Why a change is not planned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The node is no container.
    #[error("{0} is no container: only containers are started, stopped, replaced and connected")]
    NoContainer(NodeName),
    /// Its host is switched off.
    #[error("{0} is off: 'start {0}' comes first")]
    Off(NodeName),
    /// Docker would refuse it; in its own words.
    #[error("{}", .0.found)]
    Docker(Box<Diagnostic>),
    /// It is no command that can be run there.
    #[error("{0}")]
    Command(String),
}

impl From<Diagnostic> for Refused {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Docker(Box::new(diagnostic))
    }
}

impl Planner {
    /// Plans a change and goes on from there. A change of the wire alone changes no object.
    ///
    /// # Errors
    /// What Docker would refuse, or what no node can do.
    pub fn change(&mut self, change: &Change) -> Result<Vec<PlanOp>, Refused> {
        match change {
            Change::Stop(node) if self.is_host(node) => self.power(node, false),
            Change::Start(node) if self.is_host(node) => self.power(node, true),
            Change::Stop(node) => self.on(node, |engine, index| {
                engine.stop_container(index);
                Ok(())
            }),
            Change::Start(node) => self.on(node, start),
            Change::Replace(node) => {
                let mut ops = self.on(node, |engine, index| {
                    engine.recreate_container(index);
                    Ok(())
                })?;
                ops.extend(self.on(node, start)?);
                Ok(ops)
            }
            Change::Connect(node, network) => self.on(node, |engine, index| connect(engine, index, network)),
            Change::Disconnect(node, network) => {
                self.on(node, |engine, index| disconnect(engine, index, network))
            }
            Change::Rule(node, command) => self.rule(node, command),
            Change::Fault(..) => Ok(Vec::new()),
        }
    }

    fn is_host(&self, node: &NodeName) -> bool {
        self.engines.iter().any(|e| e.host.name == *node)
    }

    /// Switches a host off, or on again. What it had in memory is gone then; its Engine starts from what is on its disk,
    /// and so do all its containers, as if each had `restart: always`.
    fn power(&mut self, host: &NodeName, on: bool) -> Result<Vec<PlanOp>, Refused> {
        let before = self.plan().items;
        if on && self.off.remove(host) {
            let mut refused = Diagnostics::default();
            for engine in self.engines.iter_mut().filter(|e| e.host.name == *host) {
                *engine = Dockerd::start(&engine.host.clone(), &self.topology.listeners, &mut refused);
            }
            refused.into_result(()).map_err(|all| Refused::Command(all.to_string()))?;
            self.scripts.extend(self.topology.hosts.iter().filter(|h| h.name == *host).filter_map(script));
        } else if !on {
            self.off.insert(host.clone());
            self.forget_scripts();
        }
        Ok(difference(&before, &self.plan().items))
    }

    /// Runs a command of iptables or of nft where a node is.
    fn rule(&mut self, node: &NodeName, text: &str) -> Result<Vec<PlanOp>, Refused> {
        if let Some(command) = text.strip_prefix("nft ") {
            return self.nft(node, command);
        }
        let before = self.plan().items;
        let command = Command::read(text).map_err(Refused::Command)?;
        let of = |e: &&Dockerd| e.host.name == *node || e.index(node).is_some();
        if let Some(off) = self.engines.iter().find(of).filter(|e| self.off.contains(&e.host.name)) {
            return Err(Refused::Off(off.host.name.clone()));
        }
        let place = self.engines.iter().position(|e| e.host.name == *node || e.index(node).is_some());
        let engine = place.and_then(|place| self.engines.get_mut(place));
        let done = match engine {
            Some(engine) => {
                let ctr = engine.index(node).and_then(|index| engine.containers.get(index));
                if ctr.is_some_and(|c| !c.is_running()) {
                    return Err(Refused::Command(format!("{node} does not run")));
                }
                let ns = ctr.map_or_else(|| NsName::from(node), |c| c.ns(NsKind::Network));
                engine.run(&ns, &command)
            }
            None if !self.topology.lan.iter().any(|l| l.name == *node) => {
                Err(format!("there is no node {node}"))
            }
            None => {
                let rules = self.rules.entry(node.clone()).or_default();
                let standing = rules.iter().find(|r| r.family == command.family);
                command.run(standing).map(|after| dockerd::replace(rules, after))
            }
        };
        done.map_err(Refused::Command)?;
        Ok(difference(&before, &self.plan().items))
    }

    /// Changes the Engine that has the node, and takes the difference.
    fn on(
        &mut self,
        node: &NodeName,
        change: impl FnOnce(&mut Dockerd, usize) -> Result<(), Refused>,
    ) -> Result<Vec<PlanOp>, Refused> {
        let before = self.plan().items;
        let engine = self.engines.iter_mut().find_map(|e| e.index(node).map(|index| (e, index)));
        let Some((engine, index)) = engine else { return Err(Refused::NoContainer(node.clone())) };
        if self.off.contains(&engine.host.name) {
            return Err(Refused::Off(engine.host.name.clone()));
        }
        engine.effects.clear();
        change(engine, index)?;
        let effects = std::mem::take(&mut engine.effects);
        self.forget_scripts();
        let mut ops = difference(&before, &self.plan().items);
        ops.extend(effects);
        Ok(ops)
    }
}

fn start(engine: &mut Dockerd, index: usize) -> Result<(), Refused> {
    Ok(engine.start_container(index)?)
}

fn connect(engine: &mut Dockerd, index: usize, network: &str) -> Result<(), Refused> {
    let refuse = |found: &str| Err(Refused::from(Diagnostic::new(At::nowhere("connect"), found)));
    let Some(ctr) = engine.containers.get(index) else { return Ok(()) };
    match &ctr.spec.network {
        NetworkMode::Host | NetworkMode::Container(_) => {
            return refuse(
                "container sharing network namespace with another container or host cannot be connected to any \
                 other network",
            );
        }
        NetworkMode::None => {
            return refuse(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            );
        }
        NetworkMode::DefaultBridge(_) | NetworkMode::Networks(_) => {}
    }
    let Some(key) = key(engine, network) else { return refuse(&format!("network {network} not found")) };
    if ctr.attachments.iter().any(|a| a.network == key) {
        let found = format!("endpoint with name {} already exists in network {network}", ctr.spec.name);
        return refuse(&found);
    }
    Ok(engine.connect(index, Attachment::plain(&key, At::nowhere("connect")))?)
}

fn disconnect(engine: &mut Dockerd, index: usize, network: &str) -> Result<(), Refused> {
    let refuse = |found: String| Err(Refused::from(Diagnostic::new(At::nowhere("disconnect"), found)));
    let Some(ctr) = engine.containers.get(index) else { return Ok(()) };
    if matches!(ctr.spec.network, NetworkMode::Host) {
        let found =
            "cannot disconnect container from host network - container was created in host network mode";
        return refuse(found.to_owned());
    }
    match key(engine, network).filter(|key| ctr.attachments.iter().any(|a| a.network == *key)) {
        Some(key) => {
            engine.disconnect(index, &key);
            Ok(())
        }
        None => refuse(format!("container {} is not connected to network {network}", ctr.id)),
    }
}

/// A network by its key in the file or by Docker's name.
fn key(engine: &Dockerd, network: &str) -> Option<String> {
    let by_key = engine.networks.contains_key(network).then(|| network.to_owned());
    let named = || engine.networks.values().find(|n| n.spec.name == network).map(|n| n.spec.key.clone());
    by_key.or_else(named).or_else(|| (network == "docker0").then(|| DEFAULT_BRIDGE.to_owned()))
}

/// What tells an object from others: two with one name cannot stand at once. The last part counts settings that are
/// made twice.
type Name = (NsName, &'static str, String, usize);

fn names(items: &[Item]) -> Vec<Name> {
    let mut seen: BTreeMap<(NsName, &str, String), usize> = BTreeMap::new();
    let name = |item: &Item| {
        let (kind, name) = name(&item.object);
        let key = (item.ns.clone(), kind, name);
        let count = seen.entry(key.clone()).or_default();
        *count += 1;
        (key.0, key.1, key.2, *count)
    };
    items.iter().map(name).collect()
}

fn name(object: &Object) -> (&'static str, String) {
    match object {
        Object::Namespace(n) => ("namespace", n.kind().to_string()),
        Object::Link(l) => ("link", l.name.to_string()),
        Object::BridgePort(p) => ("bridge port", p.link.to_string()),
        Object::Address(a) => ("address", format!("{} {}", a.link, a.net)),
        Object::Up(link) => ("up", link.to_string()),
        Object::Route(r) => {
            ("route", format!("{} {:?} {:?} {:?} {:?}", r.to, r.table, r.metric, r.dev, r.via))
        }
        Object::PolicyRule(r) => ("policy rule", format!("{r:?}")),
        Object::Neighbour(n) => ("neighbour", format!("{} {}", n.link, n.address)),
        Object::Sysctl(s) => ("sysctl", s.key.clone()),
        Object::Rules(r) => ("rules", format!("{:?} {:?}", r.family, r.backend)),
        Object::Script(_) => ("script", String::new()),
        Object::File(f) => ("file", f.path.clone()),
        Object::Process(p) => ("process", p.node.to_string()),
        Object::Proxy(p) => ("proxy", format!("{} {}", p.listen, p.transport)),
        Object::Reservation(r) => ("reservation", format!("{} {}", r.listen, r.transport)),
        Object::Resolver(_) => ("resolver", String::new()),
        Object::Listener(l) => ("listener", format!("{} {:?} {} {}", l.node, l.address, l.port, l.transport)),
    }
}

/// The operations that lead from one list of objects to another: what goes, from the last made to the first; then
/// what comes or takes another's place, in the order of making.
pub(super) fn difference(before: &[Item], after: &[Item]) -> Vec<PlanOp> {
    let (old_names, new_names) = (names(before), names(after));
    let old: BTreeMap<&Name, &Item> = old_names.iter().zip(before).collect();
    let new: BTreeMap<&Name, &Item> = new_names.iter().zip(after).collect();
    let stays = |name: &Name| match (old.get(name), new.get(name)) {
        (Some(old), Some(new)) => old == new || is_replaced(&old.object),
        (Some(_) | None, _) => false,
    };
    let gone: Vec<&Item> =
        old_names.iter().zip(before).filter(|(name, _)| !stays(name)).map(|(_, item)| item).collect();
    let roots = Roots::of(&gone);
    let removed = gone.iter().rev().filter(|item| !roots.take(item));
    let mut ops: Vec<PlanOp> = removed.map(|item| PlanOp::Remove((*item).clone())).collect();
    for (name, item) in new_names.iter().zip(after) {
        match old.get(name) {
            Some(old) if *old == item => {}
            Some(old) if is_replaced(&old.object) => ops.push(PlanOp::Replace(item.clone())),
            Some(_) | None => ops.push(PlanOp::Add(item.clone())),
        }
    }
    ops
}

/// Whether another of the same name takes the object's place; others go and come.
const fn is_replaced(object: &Object) -> bool {
    match object {
        Object::File(_) | Object::Rules(_) | Object::Script(_) | Object::Resolver(_) | Object::Sysctl(_) => {
            true
        }
        Object::Namespace(_)
        | Object::Link(_)
        | Object::BridgePort(_)
        | Object::Address(_)
        | Object::Up(_)
        | Object::Route(_)
        | Object::PolicyRule(_)
        | Object::Neighbour(_)
        | Object::Process(_)
        | Object::Proxy(_)
        | Object::Reservation(_)
        | Object::Listener(_) => false,
    }
}

/// Objects that take others with them when they go.
#[derive(Debug, Default)]
struct Roots {
    namespaces: BTreeSet<(NsName, NsKind)>,
    /// Both ends of a cable.
    devices: BTreeSet<(NsName, IfName)>,
    processes: BTreeSet<NodeName>,
}

impl Roots {
    fn of(gone: &[&Item]) -> Self {
        let mut roots = Self::default();
        for item in gone {
            match &item.object {
                Object::Namespace(n) => _ = roots.namespaces.insert((item.ns.clone(), Namespace::kind(n))),
                Object::Link(l) => {
                    roots.devices.insert((item.ns.clone(), l.name.clone()));
                    if let LinkKind::Veth(peer) = &l.kind {
                        roots.devices.insert((peer.ns.clone(), peer.name.clone()));
                    }
                }
                Object::Process(p) => _ = roots.processes.insert(p.node.clone()),
                Object::BridgePort(_)
                | Object::Address(_)
                | Object::Up(_)
                | Object::Route(_)
                | Object::PolicyRule(_)
                | Object::Neighbour(_)
                | Object::Sysctl(_)
                | Object::Rules(_)
                | Object::Script(_)
                | Object::File(_)
                | Object::Proxy(_)
                | Object::Reservation(_)
                | Object::Resolver(_)
                | Object::Listener(_) => {}
            }
        }
        roots
    }

    /// Whether an object goes by itself when these go.
    fn take(&self, item: &Item) -> bool {
        let ns = |kind| self.namespaces.contains(&(item.ns.clone(), kind));
        let device = |name: &IfName| self.devices.contains(&(item.ns.clone(), name.clone()));
        let network = ns(NsKind::Network);
        match &item.object {
            Object::Namespace(_) | Object::Process(_) | Object::Proxy(_) | Object::Reservation(_) => false,
            Object::Link(_) | Object::PolicyRule(_) | Object::Rules(_) | Object::Script(_) => network,
            Object::Resolver(_) => network,
            Object::BridgePort(p) => network || device(&p.link),
            Object::Address(a) => network || device(&a.link),
            Object::Up(link) => network || device(link),
            Object::Route(r) => network || r.dev.as_ref().is_some_and(device),
            Object::Neighbour(n) => network || device(&n.link),
            // A device's settings go with it: net.ipv4.conf.DEVICE.…
            Object::Sysctl(s) => network || sysctl_device_of(&s.key).is_some_and(|d| device(&d)),
            Object::File(_) => ns(NsKind::Mount),
            Object::Listener(l) => network || self.processes.contains(&l.node),
        }
    }
}
