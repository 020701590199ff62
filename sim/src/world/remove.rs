//! Objects taken away, and put in place of others.

use seatrial_core::plan::{Item, Link, LinkKind, Listener, Namespace, NsName, Object, Proxy};
use seatrial_core::probe::NsKind;
use seatrial_core::topology::NodeName;

use crate::arena::{DevId, NsId};
use crate::device::Kind;
use crate::stack::socket::{Owner, Socket};
use crate::stack::sockets::Sockets;
use crate::world::World;
use crate::world::build::{Refusal, Unsupported, describe, held, listening, policy_rule};

const NOT_THERE: &str = "it is not there";

impl World {
    /// Takes one object away.
    pub(crate) fn remove(&mut self, item: &Item) -> Result<(), Unsupported> {
        let done = self.unmake(&item.ns, &item.object);
        done.map_err(|why| Unsupported { ns: item.ns.clone(), object: describe(&item.object), why })
    }

    /// Puts an object in place of the one of its name.
    pub(crate) fn replace(&mut self, item: &Item) -> Result<(), Unsupported> {
        match &item.object {
            // Written over.
            Object::File(_) | Object::Rules(_) | Object::Script(_) => self.add(item),
            Object::Sysctl(_) | Object::Process(_) => self.add(item),
            Object::Resolver(resolver) => {
                let ns = self.network(&item.ns).ok();
                let id = ns.and_then(|ns| {
                    self.resolvers.find(|r| r.ns == ns && self.stacks[ns].sockets.get(r.socket).is_some())
                });
                match id {
                    Some(id) if self.resolvers[id].config.udp_port == resolver.udp_port => {
                        self.resolvers[id].config = resolver.clone();
                        Ok(())
                    }
                    Some(_) => self.remove(item).and_then(|()| self.add(item)),
                    None => self.add(item),
                }
            }
            Object::BridgePort(_) | Object::Neighbour(_) => self.add(item),
            Object::Namespace(_) | Object::Link(_) | Object::Address(_) | Object::Up(_) => {
                self.cannot_replace(item)
            }
            Object::Route(_) | Object::PolicyRule(_) | Object::Proxy(_) => self.cannot_replace(item),
            Object::Reservation(_) | Object::Listener(_) => self.cannot_replace(item),
        }
    }

    fn cannot_replace(&self, item: &Item) -> Result<(), Unsupported> {
        let why = "such an object is removed and added, never replaced".to_owned();
        Err(Unsupported { ns: item.ns.clone(), object: describe(&item.object), why })
    }

    fn unmake(&mut self, ns: &NsName, object: &Object) -> Result<(), Refusal> {
        match object {
            Object::Namespace(namespace) => return self.unmake_namespace(ns, namespace),
            Object::File(file) => return there(self.places.unlink(ns, &file.path)),
            Object::Process(process) => return self.unmake_process(&process.node),
            Object::Link(_) | Object::BridgePort(_) | Object::Address(_) | Object::Up(_) => {}
            Object::Route(_) | Object::PolicyRule(_) | Object::Neighbour(_) | Object::Sysctl(_) => {}
            Object::Rules(_) | Object::Script(_) | Object::Proxy(_) | Object::Reservation(_) => {}
            Object::Resolver(_) | Object::Listener(_) => {}
        }
        let id = self.network(ns)?;
        match object {
            Object::Link(link) => self.unmake_link(id, link),
            Object::BridgePort(port) => {
                let dev = self.device(id, &port.link)?;
                let settings = self.devices[dev].port.as_mut().ok_or(NOT_THERE)?;
                (settings.hairpin, settings.isolated) = (false, false);
                Ok(())
            }
            Object::Address(address) => self.unmake_address(id, address),
            Object::Up(name) => self.set_up(id, name, false),
            Object::Route(route) => {
                let (table, entry) = self.route_entry(id, route)?;
                there(self.stacks[id].fib.remove(|t, e| t == table && *e == entry))
            }
            Object::PolicyRule(rule) => there(self.stacks[id].fib.remove_rule(&policy_rule(rule))),
            Object::Neighbour(neighbour) => {
                let dev = self.device(id, &neighbour.link)?;
                there(self.stacks[id].neighbours.swap_remove(&(dev, neighbour.address)).is_some())
            }
            // Without the object the setting is the kernel's own, 0 wherever the simulator looks at it.
            Object::Sysctl(sysctl) => self.set_sysctl(id, &sysctl.key, "0"),
            Object::Rules(rules) => {
                let empty = seatrial_core::rules::Ruleset { tables: Vec::new(), ..**rules };
                self.make_rules(id, &empty.into())
            }
            Object::Script(_) => self.make_script(id, &[]),
            Object::Proxy(proxy) => self.unmake_proxy(id, proxy),
            Object::Reservation(r) => {
                let socket = held(r.transport.into(), Owner::Reservation, r.listen);
                self.unbind(id, &socket)
            }
            Object::Resolver(_) => {
                let resolver =
                    self.resolvers.find(|r| r.ns == id && self.stacks[id].sockets.get(r.socket).is_some());
                let socket = resolver.map(|r| self.resolvers[r].socket).ok_or(NOT_THERE)?;
                self.forget_socket(id, socket);
                Ok(())
            }
            Object::Listener(listener) => self.unmake_listener(id, listener),
            Object::Namespace(_) | Object::File(_) | Object::Process(_) => Ok(()),
        }
    }

    fn unmake_namespace(&mut self, ns: &NsName, namespace: &Namespace) -> Result<(), Refusal> {
        if namespace.kind() == NsKind::Network {
            let id = self.network(ns)?;
            let devices: Vec<DevId> = self.stacks[id].inet.keys().copied().collect();
            devices.into_iter().for_each(|dev| self.unmake_device(dev));
            self.stacks[id].alive = false;
            self.stacks[id].sockets = Sockets::default();
            self.spaces.swap_remove(ns);
        }
        there(self.places.unmake(ns, namespace.kind()))
    }

    fn unmake_process(&mut self, node: &NodeName) -> Result<(), Refusal> {
        let ns = self.ns_of(node);
        there(self.places.end(node))?;
        let id = self.number(node);
        if let (Some(ns), Some(id)) = (ns, id) {
            self.stacks[ns].sockets.remove_all(|socket| socket.owner == Owner::Listener(id));
        }
        if let Some(ns) = ns.filter(|ns| self.stacks[*ns].node == id) {
            self.stacks[ns].node = None;
        }
        Ok(())
    }

    fn unmake_link(&mut self, ns: NsId, link: &Link) -> Result<(), Refusal> {
        let dev = self.device(ns, &link.name)?;
        let same = match (&link.kind, &self.devices[dev].kind) {
            (LinkKind::Bridge, Kind::Bridge(_)) | (LinkKind::Veth(_), Kind::Veth { .. }) => true,
            (LinkKind::Macvlan { .. }, Kind::Macvlan { .. })
            | (LinkKind::Ipvlan { .. }, Kind::Ipvlan { .. }) => true,
            (LinkKind::Vlan { .. }, Kind::Vlan { .. }) | (LinkKind::Dummy, Kind::Dummy) => true,
            (_, _) => false,
        };
        if !same {
            return Err(format!("{} is a device of another kind", link.name));
        }
        self.unmake_device(dev);
        Ok(())
    }

    /// Takes a device away, with the other end of its cable, what is on top of it, and all that names it.
    fn unmake_device(&mut self, dev: DevId) {
        if !self.devices[dev].alive {
            return;
        }
        let now_us = self.now_us();
        self.devices[dev].alive = false;
        self.devices[dev].up = false;
        self.release(dev);
        let (ns, name) = (self.devices[dev].ns, self.devices[dev].name.clone());
        self.stacks[ns].netfilter.iter_mut().for_each(|n| n.forget_masquerade(&name, None, now_us));
        self.stacks[ns].abandon(dev);
        let mut others = std::mem::take(&mut self.devices[dev].uppers);
        match &self.devices[dev].kind {
            Kind::Veth { peer } => others.extend(peer),
            Kind::Bridge(bridge) => {
                for port in bridge.ports.clone() {
                    self.devices[port].port = None;
                }
            }
            Kind::Macvlan { lower, .. } | Kind::Ipvlan { lower, .. } | Kind::Vlan { lower, .. } => {
                let lower = *lower;
                self.devices[lower].uppers.retain(|upper| *upper != dev);
            }
            Kind::Loopback | Kind::Dummy => {}
        }
        // Each is dead after its turn, so that a cable's two ends do not go on for ever.
        others.into_iter().for_each(|other| self.unmake_device(other));
    }

    fn unmake_address(&mut self, ns: NsId, address: &seatrial_core::plan::Address) -> Result<(), Refusal> {
        let (dev, now_us) = (self.device(ns, &address.link)?, self.now_us());
        let inet = self.stacks[ns].inet.get_mut(&dev).ok_or(NOT_THERE)?;
        let at = inet.addresses.iter().position(|a| a.net == address.net).ok_or(NOT_THERE)?;
        inet.addresses.remove(at);
        let gone = address.net.addr();
        self.stacks[ns].fib.remove(|_, e| e.source == Some(gone) && !e.of_address);
        self.stacks[ns]
            .netfilter
            .iter_mut()
            .for_each(|n| n.forget_masquerade(&address.link, Some(gone), now_us));
        self.refresh(ns, dev);
        Ok(())
    }

    fn unmake_proxy(&mut self, ns: NsId, proxy: &Proxy) -> Result<(), Refusal> {
        let listens = |p: &crate::proxy::ProxyState| {
            p.ns == ns && p.config == *proxy && self.stacks[ns].sockets.get(p.listening).is_some()
        };
        let id = self.proxies.find(listens).ok_or(NOT_THERE)?;
        let sockets: Vec<_> = self.proxies[id].sockets().collect();
        sockets.into_iter().for_each(|sock| self.forget_socket(ns, sock));
        Ok(())
    }

    fn unmake_listener(&mut self, ns: NsId, listener: &Listener) -> Result<(), Refusal> {
        let node = self.number(&listener.node).ok_or(NOT_THERE)?;
        self.unbind(ns, &listening(node, listener))
    }

    /// Closes the socket that is bound as this one.
    fn unbind(&mut self, ns: NsId, like: &Socket) -> Result<(), Refusal> {
        let bound = self.stacks[ns].sockets.bound(like).ok_or(NOT_THERE)?;
        self.forget_socket(ns, bound);
        Ok(())
    }
}

fn there(done: bool) -> Result<(), Refusal> {
    if done { Ok(()) } else { Err(NOT_THERE.to_owned()) }
}
