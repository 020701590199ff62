//! Whose words they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::addr::Transport;
use seatrial_core::plan::{Item, LinkKind, NsName, Object, Plan, Process, Zone};
use seatrial_core::probe::NsKind;
use seatrial_core::rules::{Match, Rule, Ruleset, Target};
use seatrial_core::topology::NodeName;

/// The words of every container that may be like another.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    /// By their network namespace.
    by_ns: BTreeMap<NsName, NodeName>,
    owners: IndexMap<String, NodeName, FxBuildHasher>,
    ports: BTreeMap<(Transport, u16), NodeName>,
    /// Words that mean something in its own namespace alone: several may have the same.
    local: BTreeMap<NodeName, Vec<String>>,
    /// Those that are like no other.
    alone: BTreeSet<NodeName>,
}

impl Words {
    /// Collects them.
    pub(super) fn of(plan: &Plan) -> Self {
        let mut words = Self::default();
        let mut users: BTreeMap<(NsKind, &NsName), usize> = BTreeMap::new();
        for process in plan.items.iter().filter_map(process) {
            process.namespaces.iter().for_each(|(kind, ns)| *users.entry((*kind, ns)).or_default() += 1);
        }
        plan.items.iter().filter_map(process).for_each(|process| words.add_process(process, &users));
        plan.items.iter().for_each(|item| words.add_device(item));
        plan.items.iter().for_each(|item| words.add_resolver(item));
        zones(plan).into_iter().for_each(|zone| words.add_names(zone));
        plan.items.iter().for_each(|item| words.add_ports(item));
        words.part_ports(plan);
        words
    }

    /// The containers that may be like others.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.by_ns.values().filter(|node| !self.alone.contains(*node))
    }

    /// Whose a network namespace is.
    pub(super) fn owner_of_ns(&self, ns: &NsName) -> Option<&NodeName> {
        self.by_ns.get(ns).filter(|node| !self.alone.contains(*node))
    }

    /// Whose a word is.
    pub(super) fn owner(&self, word: &str) -> Option<&NodeName> {
        self.owners.get(word).filter(|node| !self.alone.contains(*node))
    }

    /// Whether a word is somebody's.
    pub(super) fn is_of(&self, word: &str, node: &NodeName) -> bool {
        self.owner(word) == Some(node)
            || self.local.get(node).is_some_and(|words| words.iter().any(|local| local == word))
    }

    /// Whose a published port is.
    pub(super) fn publisher(&self, transport: Transport, port: u16) -> Option<&NodeName> {
        self.ports.get(&(transport, port)).filter(|node| !self.alone.contains(*node))
    }

    /// The published ports, and whose they are.
    pub(super) fn published(&self) -> impl Iterator<Item = ((Transport, u16), &NodeName)> {
        self.ports.iter().map(|(port, node)| (*port, node))
    }

    /// Everyone whose words are in a text.
    pub(super) fn owners_in(&self, text: &str) -> BTreeSet<&NodeName> {
        let mut found = BTreeSet::new();
        replace(text, &mut |word| {
            found.extend(self.owner(word));
            None
        });
        found
    }

    /// Takes one out: it is like no other.
    pub(super) fn set_apart(&mut self, node: &NodeName) {
        self.alone.insert(node.clone());
    }

    fn add_process(&mut self, process: &Process, users: &BTreeMap<(NsKind, &NsName), usize>) {
        let Some(container) = &process.container else { return };
        let shared = |kind: NsKind, ns| users.get(&(kind, ns)).is_some_and(|users| *users > 1);
        let Some(network) = process.namespaces.get(&NsKind::Network) else { return };
        if shared(NsKind::Network, network) {
            return;
        }
        self.by_ns.insert(network.clone(), process.node.clone());
        let own = process.namespaces.iter().filter(|(kind, ns)| !shared(**kind, ns));
        let names: Vec<String> = own.map(|(_, ns)| ns.to_string()).collect();
        let service = super::super::machines::service(&process.node).to_owned();
        let node = process.node.clone();
        for word in names.into_iter().chain([node.to_string(), container.clone(), service]) {
            self.add(word, &node);
        }
    }

    /// Two that have the same word are alone.
    fn add(&mut self, word: String, node: &NodeName) {
        if let Some(other) = self.owners.insert(word, node.clone())
            && other != *node
        {
            self.alone.extend([other, node.clone()]);
        }
    }

    /// Devices and addresses in its namespace, and the other end of its cables.
    fn add_device(&mut self, item: &Item) {
        let mine = self.by_ns.get(&item.ns).cloned();
        if let (Object::Address(address), Some(node)) = (&item.object, &mine)
            && !address.net.addr().is_loopback()
        {
            self.add(address.net.addr().to_string(), node);
        }
        let Object::Link(link) = &item.object else { return };
        let macs = |macs: [Option<_>; 2]| macs.into_iter().flatten().map(|mac| format!("{mac}"));
        match &link.kind {
            LinkKind::Veth(peer) => {
                let (near, far) = (mine, self.by_ns.get(&peer.ns).cloned());
                let outer = if near.is_some() { &peer.name } else { &link.name };
                if let (Some(node), None) | (None, Some(node)) = (&near, &far) {
                    self.add(outer.to_string(), node);
                    macs([link.mac, peer.mac]).for_each(|mac| self.add(mac, node));
                }
                if let (Some(one), Some(other)) = (near, far) {
                    self.alone.extend([one, other]);
                }
            }
            LinkKind::Bridge | LinkKind::Dummy => {}
            LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. } | LinkKind::Vlan { .. } => {
                if let Some(node) = &mine {
                    macs([link.mac, None]).for_each(|mac| self.add(mac, node));
                }
            }
        }
    }

    /// A resolver's own ports.
    fn add_resolver(&mut self, item: &Item) {
        let Object::Resolver(resolver) = &item.object else { return };
        if let Some(node) = self.by_ns.get(&item.ns).cloned() {
            let ports = [resolver.udp_port, resolver.tcp_port];
            self.local.entry(node).or_default().extend(ports.map(|port| port.to_string()));
        }
    }

    /// Names that lead to it alone; who shares a name with others has a place among them, and is alone.
    fn add_names(&mut self, zone: &Zone) {
        for (name, addresses) in &zone.names {
            let of = |address: &IpAddr| self.owners.get(&address.to_string()).cloned();
            let owners: BTreeSet<NodeName> = addresses.iter().filter_map(of).collect();
            if let [node] = owners.iter().collect::<Vec<_>>()[..] {
                self.add(name.clone(), node);
            } else {
                self.alone.extend(owners);
            }
        }
    }

    fn add_ports(&mut self, item: &Item) {
        match &item.object {
            Object::Proxy(proxy) => {
                let owner = self.owners.get(&proxy.connect.ip().to_string()).cloned();
                self.add_port(proxy.transport, proxy.listen.port(), owner);
            }
            Object::Rules(rules) => self.add_translated(rules),
            Object::Script(script) => script.rulesets.iter().for_each(|rules| self.add_translated(rules)),
            Object::Namespace(_) | Object::Link(_) | Object::BridgePort(_) | Object::Address(_) => {}
            Object::Up(_) | Object::Route(_) | Object::PolicyRule(_) | Object::Neighbour(_) => {}
            Object::Sysctl(_) | Object::File(_) | Object::Process(_) | Object::Reservation(_) => {}
            Object::Resolver(_) | Object::Listener(_) => {}
        }
    }

    fn add_translated(&mut self, rules: &Ruleset) {
        for rule in rules.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules) {
            if let Some((transport, port, to)) = translated(rule) {
                let owner = self.owners.get(&to.to_string()).cloned();
                self.add_port(transport, port, owner);
            }
        }
    }

    fn add_port(&mut self, transport: Transport, port: u16, owner: Option<NodeName>) {
        let Some(node) = owner else { return };
        if let Some(other) = self.ports.insert((transport, port), node.clone())
            && other != node
        {
            self.alone.extend([other, node]);
        }
    }

    /// A published port is a word as well, where it is nothing else: no other's, no listener's.
    fn part_ports(&mut self, plan: &Plan) {
        for ((_, port), node) in self.ports.clone() {
            self.add(port.to_string(), &node);
        }
        for item in &plan.items {
            let Object::Listener(listener) = &item.object else { continue };
            if let Some(node) = self.owners.get(&listener.port.to_string()) {
                self.alone.insert(node.clone());
            }
        }
    }
}

/// What resolvers know, each once: a plan has one zone for all who see the same.
pub(super) fn zones(plan: &Plan) -> Vec<&Arc<Zone>> {
    let mut zones: Vec<&Arc<Zone>> = Vec::new();
    for item in &plan.items {
        if let Object::Resolver(resolver) = &item.object
            && !zones.iter().any(|zone| Arc::ptr_eq(zone, &resolver.zone))
        {
            zones.push(&resolver.zone);
        }
    }
    zones
}

fn process(item: &Item) -> Option<&Process> {
    if let Object::Process(process) = &item.object { Some(process) } else { None }
}

/// The port that a rule translates, and whom it leads to.
pub(super) fn translated(rule: &Rule) -> Option<(Transport, u16, IpAddr)> {
    let Some(Target::Dnat(range)) = &rule.target else { return None };
    let (first, last) = range.addresses?;
    let (transport, port) = destination_port(rule)?;
    (first == last).then_some((transport, port, first))
}

/// The only port that a rule is for.
pub(super) fn destination_port(rule: &Rule) -> Option<(Transport, u16)> {
    let (transport, ports) = rule.matches.iter().find_map(|m| {
        let tcp = if let Match::Tcp(tcp) = m { Some((Transport::Tcp, tcp.ports)) } else { None };
        let udp = if let Match::Udp(ports) = m { Some((Transport::Udp, *ports)) } else { None };
        let sctp = if let Match::Sctp(ports) = m { Some((Transport::Sctp, *ports)) } else { None };
        tcp.or(udp).or(sctp)
    })?;
    let port = ports.destination.filter(|is| !is.not && is.value.count() == 1)?.value.first();
    Some((transport, port))
}

/// A text with some of its words replaced. A word of `address:port` is two.
pub(in crate::questions) fn replace(text: &str, with: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let part = |c: char| c.is_alphanumeric() || "_.:-~".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| part(c) != part(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if !part(first) {
            out += word;
        } else if let Some(new) = with(word) {
            out += &new;
        } else if let Some((address, port)) = endpoint(word) {
            out += &with(address).unwrap_or_else(|| address.to_owned());
            out.push(':');
            out += &with(port).unwrap_or_else(|| port.to_owned());
        } else {
            out += word;
        }
    }
    out
}

/// `172.17.0.2:80`, or the `:80` of `[::1]:80`.
fn endpoint(word: &str) -> Option<(&str, &str)> {
    let (address, port) = word.rsplit_once(':')?;
    let both = port.parse::<u16>().is_ok() && (address.is_empty() || address.parse::<IpAddr>().is_ok());
    both.then_some((address, port))
}
