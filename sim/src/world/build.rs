//! A plan becomes a world: every object made, in order, and a plan that has what nobody here understands refused.

use std::net::IpAddr;
use std::sync::Arc;

use seatrial_core::addr::{Family, IfName};
use seatrial_core::plan::{
    Item, Listener, Namespace, Neighbour, NsName, Object, Plan, PlanOp, PolicyRule, Process, Proxy,
    Reservation, Resolver, Route,
};
use seatrial_core::probe::{Fault, NsKind};
use seatrial_core::rules::{AddrType, Protocol, Ruleset};
use seatrial_core::topology::NodeName;
use thiserror::Error;

use crate::arena::{DevId, Id as _, NodeId, NsId};
use crate::device::{Device, Kind};
use crate::kernel::Kernel;
use crate::namespaces::machine;
use crate::netfilter::Netfilter;
use crate::proxy::ProxyState;
use crate::resolver::ResolverState;
use crate::stack::Stack;
use crate::stack::fib::{self, Entry, Flow, TABLE_MAIN};
use crate::stack::neighbour;
use crate::stack::socket::{Owner, Socket, Sort};
use crate::world::World;

mod link;
mod script;

/// An object that cannot be made, or an operation that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot simulate {object} in {ns}: {why}")]
pub struct Unsupported {
    /// Where.
    pub ns: NsName,
    /// What.
    pub object: String,
    /// Why not.
    pub why: String,
}

/// What went wrong with an object, in words.
pub(crate) type Refusal = String;

impl World {
    /// Makes every object of a plan, on Linux 6.12. The same plan and seed make the same world, on every machine.
    ///
    /// # Errors
    /// The first object that the simulator does not understand, or that has nothing to stand on.
    pub fn build(plan: &Plan, seed: u64) -> Result<Self, Unsupported> {
        Self::build_on(Kernel::default(), plan, seed)
    }

    /// As [`World::build`], on another Linux.
    ///
    /// # Errors
    /// As [`World::build`].
    pub fn build_on(kernel: Kernel, plan: &Plan, seed: u64) -> Result<Self, Unsupported> {
        let mut world = Self::empty(kernel, seed);
        plan.items.iter().try_for_each(|item| world.add(item))?;
        Ok(world)
    }

    /// Carries a change out, operation by operation.
    ///
    /// # Errors
    /// The first operation that cannot be done; those before it are done.
    pub fn apply(&mut self, operations: &[PlanOp]) -> Result<(), Unsupported> {
        let now_us = self.now_us();
        for operation in operations {
            match operation {
                PlanOp::Add(item) => self.add(item)?,
                PlanOp::Remove(item) => self.remove(item)?,
                PlanOp::Replace(item) => self.replace(item)?,
                PlanOp::FlushConntrack { ns, address } => {
                    let id = self.ns_for(ns, || format!("conntrack's entries of {address}"))?;
                    self.stacks[id].netfilter.iter_mut().for_each(|n| n.flush(*address, now_us));
                }
                PlanOp::FlushConntrackPort { ns, transport, port } => {
                    let id = self.ns_for(ns, || format!("conntrack's entries of port {port}/{transport}"))?;
                    let protocol = Protocol(transport.number());
                    self.stacks[id].netfilter.iter_mut().for_each(|n| n.flush_port(protocol, *port, now_us));
                }
                PlanOp::Announce { ns, link, address } => {
                    let refuse = |why| Unsupported {
                        ns: ns.clone(),
                        object: format!("an announcement of {address}"),
                        why,
                    };
                    let id = self.ns_for(ns, || format!("an announcement of {address}"))?;
                    let dev = self.device(id, link).map_err(refuse)?;
                    self.announce(dev, *address);
                }
            }
        }
        Ok(())
    }

    /// Does something to the wire of a node's device.
    ///
    /// # Errors
    /// Where the node or its device is not there, or the fault makes no sense without another.
    pub fn fault(&mut self, node: &NodeName, device: &IfName, fault: Fault) -> Result<(), Unsupported> {
        let ns = self.places.space(node, NsKind::Network).cloned().unwrap_or_else(|| NsName::from(node));
        let object = || format!("a fault of {device}");
        let id = self.ns_for(&ns, object)?;
        let refuse = |why| Unsupported { ns: ns.clone(), object: object(), why };
        let dev = self.device(id, device).map_err(refuse)?;
        self.disturb(dev, fault).map_err(refuse)
    }

    fn ns_for(&self, ns: &NsName, object: impl FnOnce() -> String) -> Result<NsId, Unsupported> {
        let missing = || Unsupported {
            ns: ns.clone(),
            object: object(),
            why: "there is no such network namespace".to_owned(),
        };
        self.spaces.get(ns).copied().filter(|id| self.stacks[*id].alive).ok_or_else(missing)
    }

    /// Makes one object.
    pub(crate) fn add(&mut self, item: &Item) -> Result<(), Unsupported> {
        let done = self.make(&item.ns, &item.object);
        done.map_err(|why| Unsupported { ns: item.ns.clone(), object: describe(&item.object), why })
    }

    fn make(&mut self, ns: &NsName, object: &Object) -> Result<(), Refusal> {
        // These belong to other namespaces than the network's.
        match object {
            Object::Namespace(namespace) => return self.make_namespace(ns, namespace),
            Object::File(file) => {
                self.in_mount(ns)?;
                self.places.write(ns.clone(), file.path.clone(), file.content.clone());
                return Ok(());
            }
            Object::Process(process) => return self.make_process(process),
            Object::Link(_) | Object::BridgePort(_) | Object::Address(_) | Object::Up(_) => {}
            Object::Route(_) | Object::PolicyRule(_) | Object::Neighbour(_) | Object::Sysctl(_) => {}
            Object::Rules(_) | Object::Script(_) | Object::Proxy(_) | Object::Reservation(_) => {}
            Object::Resolver(_) | Object::Listener(_) => {}
        }
        let id = self.network(ns)?;
        match object {
            Object::Link(link) => self.make_link(id, link),
            Object::BridgePort(port) => self.set_port(id, port),
            Object::Address(address) => self.make_address(id, address),
            Object::Up(name) => self.set_up(id, name, true),
            Object::Route(route) => self.make_route(id, route),
            Object::PolicyRule(rule) => {
                self.stacks[id].fib.add_rule(policy_rule(rule));
                Ok(())
            }
            Object::Neighbour(neighbour) => self.make_neighbour(id, neighbour),
            Object::Sysctl(sysctl) => self.set_sysctl(id, &sysctl.key, &sysctl.value),
            Object::Rules(rules) => self.make_rules(id, rules),
            Object::Script(script) => self.make_script(id, &script.rulesets),
            Object::Proxy(proxy) => self.make_proxy(id, proxy),
            Object::Reservation(held) => self.make_reservation(id, held),
            Object::Resolver(resolver) => self.make_resolver(id, resolver),
            Object::Listener(listener) => self.make_listener(id, listener),
            Object::Namespace(_) | Object::File(_) | Object::Process(_) => Ok(()),
        }
    }

    pub(crate) fn network(&self, ns: &NsName) -> Result<NsId, Refusal> {
        let id = self.spaces.get(ns).copied().filter(|id| self.stacks[*id].alive);
        id.ok_or_else(|| "there is no such network namespace".to_owned())
    }

    fn in_mount(&self, ns: &NsName) -> Result<(), Refusal> {
        let there = self.places.has(ns, NsKind::Mount);
        if there { Ok(()) } else { Err("there is no such mount namespace".to_owned()) }
    }

    fn make_namespace(&mut self, ns: &NsName, namespace: &Namespace) -> Result<(), Refusal> {
        if self.places.has(ns, namespace.kind()) {
            return Err("it is there already".to_owned());
        }
        self.places.make(ns.clone(), namespace.clone());
        if namespace.kind() == NsKind::Network {
            // `lo` is made with the namespace, and knows which one only then.
            let id = self.stacks.next_id();
            let loopback = self.devices.push(Device::new(id, IfName::lo(), Kind::Loopback));
            let mut stack = Stack::new(ns.clone(), loopback);
            stack.settings.follow(self.kernel);
            let id = self.stacks.push(stack);
            self.spaces.insert(ns.clone(), id);
        }
        Ok(())
    }

    fn make_process(&mut self, process: &Process) -> Result<(), Refusal> {
        for kind in NsKind::ALL {
            let space =
                process.namespaces.get(&kind).ok_or_else(|| format!("it names no {kind} namespace"))?;
            if !self.places.has(space, kind) {
                return Err(format!("there is no {kind} namespace {space}"));
            }
        }
        self.places.start(process.clone());
        let node = self.node(&process.node);
        let Some(ns) = self.ns_of(&process.node) else { return Ok(()) };
        let owner = self.stacks[ns].name.as_str() == process.node.as_str();
        if owner || self.stacks[ns].node.is_none() {
            self.stacks[ns].node = Some(node);
        }
        Ok(())
    }

    /// A node's number, a new one if it has none.
    fn node(&mut self, name: &NodeName) -> NodeId {
        let known = self.number(name);
        known.unwrap_or_else(|| {
            let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
            self.nodes.insert(name.clone());
            NodeId::from_position(next)
        })
    }

    /// A device by name.
    pub(crate) fn device(&self, ns: NsId, name: &IfName) -> Result<DevId, Refusal> {
        self.stacks[ns].links.get(name).copied().ok_or_else(|| format!("there is no device {name}"))
    }

    fn make_route(&mut self, ns: NsId, route: &Route) -> Result<(), Refusal> {
        let (table, entry) = self.route_entry(ns, route)?;
        if !self.devices[entry.dev.ok_or("it names no device")?].up {
            return Err("its device is down".to_owned());
        }
        self.stacks[ns].fib.add(table, entry);
        Ok(())
    }

    /// A route as it is kept; one without a device leaves by that of its next hop.
    pub(crate) fn route_entry(&self, ns: NsId, route: &Route) -> Result<(u32, Entry), Refusal> {
        let dev = match (&route.dev, route.via) {
            (Some(name), _) => self.device(ns, name)?,
            (None, Some(via)) => {
                let path =
                    self.route(ns, &Flow::to(via)).filter(|p| p.via.is_none() && p.kind == AddrType::Unicast);
                path.ok_or_else(|| format!("the next hop {via} is on no link"))?.dev
            }
            (None, None) => return Err("it names neither a device nor a next hop".to_owned()),
        };
        let metric = match Family::of_net(route.to) {
            Family::V4 => 0,
            Family::V6 => 1024,
        };
        let entry = Entry {
            to: route.to.trunc(),
            kind: AddrType::Unicast,
            dev: Some(dev),
            via: route.via,
            source: route.source,
            metric: route.metric.unwrap_or(metric),
            of_address: false,
        };
        Ok((route.table.unwrap_or(TABLE_MAIN), entry))
    }

    fn make_neighbour(&mut self, ns: NsId, neighbour: &Neighbour) -> Result<(), Refusal> {
        let dev = self.device(ns, &neighbour.link)?;
        let entry = neighbour::Neighbour::permanent(neighbour.mac);
        self.stacks[ns].neighbours.insert((dev, neighbour.address), entry);
        Ok(())
    }

    /// Sets a setting, with what it brings about.
    pub(crate) fn set_sysctl(&mut self, ns: NsId, key: &str, value: &str) -> Result<(), Refusal> {
        self.stacks[ns].set_sysctl(key, value)?;
        if key.ends_with(".disable_ipv6") {
            self.refresh_all(ns);
        }
        Ok(())
    }

    /// Rules in place of those of their family and tool; conntrack goes on.
    pub(crate) fn make_rules(&mut self, ns: NsId, rules: &Arc<Ruleset>) -> Result<(), Refusal> {
        let stack = &mut self.stacks[ns];
        let mut rulesets = stack.rulesets.clone();
        let same = |r: &&mut Arc<Ruleset>| {
            (r.family, r.backend) == (rules.family, rules.backend) && !script::is_of_script(r)
        };
        match rulesets.iter_mut().find(same) {
            Some(before) => *before = Arc::clone(rules),
            None => rulesets.push(Arc::clone(rules)),
        }
        match &mut stack.netfilter {
            Some(netfilter) => netfilter.replace(&rulesets, rules.family).map_err(|e| e.to_string())?,
            None => stack.netfilter = Some(Netfilter::build(&rulesets).map_err(|e| e.to_string())?),
        }
        stack.rulesets = rulesets;
        stack.tune();
        Ok(())
    }

    fn make_proxy(&mut self, ns: NsId, proxy: &Proxy) -> Result<(), Refusal> {
        let id = self.proxies.next_id();
        let socket = held(proxy.transport.into(), Owner::ProxyFront(id), proxy.listen);
        let listening = self.open(ns, socket);
        self.proxies.push(ProxyState::new(ns, proxy.clone(), listening));
        Ok(())
    }

    fn make_reservation(&mut self, ns: NsId, reservation: &Reservation) -> Result<(), Refusal> {
        self.open(ns, held(reservation.transport.into(), Owner::Reservation, reservation.listen));
        Ok(())
    }

    fn make_resolver(&mut self, ns: NsId, resolver: &Resolver) -> Result<(), Refusal> {
        let id = self.resolvers.next_id();
        let address = IpAddr::from([127, 0, 0, 11]);
        let socket = Socket::bound(Sort::Udp, Owner::Resolver(id), Some(address), resolver.udp_port);
        let socket = self.open(ns, socket);
        self.resolvers.push(ResolverState::new(ns, resolver.clone(), socket));
        Ok(())
    }

    fn make_listener(&mut self, ns: NsId, listener: &Listener) -> Result<(), Refusal> {
        let node = self.node(&listener.node);
        let socket = listening(node, listener);
        self.open(ns, socket);
        Ok(())
    }

    /// The namespace of the machine that a container's is on.
    pub(crate) fn machine_of(&self, ns: NsId) -> NsId {
        let node: NodeName = self.stacks[ns].name.as_str().into();
        self.spaces.get(&NsName::from(&machine(&node))).copied().unwrap_or(ns)
    }
}

/// A listener's socket: dual-stack where it is bound to no address, or to the IPv6 one that means any (bindv6only=0).
pub(crate) fn listening(node: NodeId, listener: &Listener) -> Socket {
    let any = listener.address.is_none_or(|a| a.is_unspecified());
    let address = listener.address.filter(|_| !any);
    let mut socket = Socket::bound(listener.transport.into(), Owner::Listener(node), address, listener.port);
    if any && let Some(IpAddr::V4(_)) = listener.address {
        socket.family = Some(Family::V4);
    }
    socket
}

/// A socket of Docker's on the host: of one family alone (IPV6_V6ONLY).
pub(crate) fn held(sort: Sort, owner: Owner, listen: std::net::SocketAddr) -> Socket {
    let address = Some(listen.ip()).filter(|a| !a.is_unspecified());
    let mut socket = Socket::bound(sort, owner, address, listen.port());
    socket.family = Some(Family::of(listen.ip()));
    socket
}

pub(crate) fn policy_rule(rule: &PolicyRule) -> fib::PolicyRule {
    fib::PolicyRule {
        priority: rule.priority,
        from: rule.from,
        to: rule.to,
        iif: rule.iif.clone(),
        fwmark: rule.fwmark,
        table: rule.table,
    }
}

/// An object by its name, for a message.
pub(crate) fn describe(object: &Object) -> String {
    match object {
        Object::Namespace(n) => format!("a {} namespace", n.kind()),
        Object::Link(link) => format!("device {}", link.name),
        Object::BridgePort(port) => format!("the bridge port {}", port.link),
        Object::Address(a) => format!("address {} on {}", a.net, a.link),
        Object::Up(name) => format!("{name} up"),
        Object::Route(r) => format!("a route to {}", r.to),
        Object::PolicyRule(r) => format!("policy rule {}", r.priority),
        Object::Neighbour(n) => format!("neighbour {}", n.address),
        Object::Sysctl(s) => format!("{}={}", s.key, s.value),
        Object::Rules(r) => format!("{:?} rules for {:?}", r.backend, r.family),
        Object::Script(_) => "a text for nft".to_owned(),
        Object::File(f) => format!("file {}", f.path),
        Object::Process(p) => format!("the process of {}", p.node),
        Object::Proxy(p) => format!("docker-proxy {}/{}", p.listen, p.transport),
        Object::Reservation(r) => format!("held port {}/{}", r.listen, r.transport),
        Object::Resolver(_) => "the resolver on 127.0.0.11".to_owned(),
        Object::Listener(l) => format!("listener {}/{} of {}", l.port, l.transport, l.node),
    }
}
