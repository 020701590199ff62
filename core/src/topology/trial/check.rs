//! Whether expectations and steps speak of what is there.

use std::net::IpAddr;

use super::Trial;
use super::entry::{Entry, Written};
use crate::addr::Family;
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::probe::{Ask, Change, Expectation, Outcome, Probe, Step};
use crate::topology::field;
use crate::topology::{Container, Host, NetworkMode, NodeName, Topology};

/// Reports what a trial's lines name and the topology does not have.
pub(super) fn trial(trial: &Trial, out: &mut Diagnostics) {
    for written in lines(&trial.expect) {
        Check { topology: &trial.topology, at: &written.at }.expectation(&written.line, out);
    }
    let mut last = 0;
    for written in lines(&trial.steps) {
        let check = Check { topology: &trial.topology, at: &written.at };
        match &written.line {
            Step::Expect(expectation) => check.expectation(expectation, out),
            Step::Change(change) => check.change(change, out),
            Step::WaitMs(_) => {}
            Step::AtMs(ms) if *ms < last => {
                out.push(check.wrong(&written.line.to_string(), "is before the step above"))
            }
            Step::AtMs(ms) => last = *ms,
        }
    }
    if trial.expect.is_empty() && trial.steps.is_empty() && out.0.is_empty() {
        let start = At::new(&trial.source, 0..0);
        out.push(Diagnostic::new(start, "nothing is expected").expected("expect or steps"));
    }
}

fn lines<T>(entries: &[Entry<T>]) -> impl Iterator<Item = &Written<T>> {
    entries.iter().flat_map(|e| &e.alternatives).flat_map(|a| &a.lines)
}

/// A refusal of a name that no node has.
pub(super) fn unknown_node(topology: &Topology, name: &str, at: &At) -> Option<Diagnostic> {
    let nodes = || nodes(topology).map(NodeName::as_str);
    if nodes().any(|node| node == name) {
        return None;
    }
    let replicas: Vec<_> =
        nodes().filter(|n| n.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))).collect();
    let expected = match (replicas.as_slice(), field::nearest(name, nodes())) {
        ([_, ..], _) => format!("one of its replicas: {}", replicas.join(", ")),
        ([], Some(near)) => format!("'{near}'"),
        ([], None) => format!("one of {}", nodes().collect::<Vec<_>>().join(", ")),
    };
    Some(Diagnostic::new(at.clone(), format!("there is no node '{name}'")).expected(expected))
}

fn nodes(topology: &Topology) -> impl Iterator<Item = &NodeName> {
    let hosts = topology.hosts.iter().map(|h| &h.name);
    let containers = topology.hosts.iter().flat_map(|h| h.containers.iter().map(|c| &c.node));
    hosts.chain(topology.lan.iter().map(|m| &m.name)).chain(containers)
}

/// No two machines have one address on one wire; `hosts` is where each Docker host's addresses are said.
pub(super) fn addresses(topology: &Topology, hosts: &[At], out: &mut Diagnostics) {
    let mut seen: Vec<(&str, IpAddr, &NodeName)> = Vec::new();
    let mut add =
        |device, address, node, at: &At| match seen.iter().find(|(d, a, _)| (*d, *a) == (device, address)) {
            Some((_, _, other)) => {
                let found = format!("{address} of '{node}' is the address of '{other}' too");
                out.push(Diagnostic::new(at.clone(), found).expected("another address"));
            }
            None => seen.push((device, address, node)),
        };
    for (host, at) in topology.hosts.iter().zip(hosts) {
        for (device, nets) in &host.machine.interfaces {
            nets.iter().for_each(|net| add(device.as_str(), net.addr(), &host.name, at));
        }
    }
    for machine in &topology.lan {
        machine.addresses.iter().for_each(|net| add("eth0", net.addr(), &machine.name, &machine.at));
    }
}

/// One line that is checked.
struct Check<'a> {
    topology: &'a Topology,
    at: &'a At,
}

impl Check<'_> {
    /// What is wrong with a word of the line.
    fn wrong(&self, word: &str, why: &str) -> Diagnostic {
        Diagnostic::new(self.place(word), format!("'{word}' {why}"))
    }

    /// Where a word stands in the line, alone; the line where it does not.
    fn place(&self, word: &str) -> At {
        let text = self.at.text();
        let ends = |c: Option<char>| {
            c.is_none_or(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.' | '/'))
        };
        let alone = |at: &usize| {
            let (before, after) = (text.get(..*at), text.get(at + word.len()..));
            ends(before.and_then(|b| b.chars().last())) && ends(after.and_then(|a| a.chars().next()))
        };
        let found = text.match_indices(word).map(|(at, _)| at).find(alone);
        match found {
            Some(start) => {
                let start = self.at.span.start + start;
                At::new(&self.at.source, start..start + word.len())
            }
            None => self.at.clone(),
        }
    }

    fn node(&self, node: &NodeName, out: &mut Diagnostics) -> bool {
        let wrong = unknown_node(self.topology, node.as_str(), &self.place(node.as_str()));
        let known = wrong.is_none();
        out.extend(wrong);
        known
    }

    fn expectation(&self, expectation: &Expectation, out: &mut Diagnostics) {
        match expectation {
            Expectation::Probe(probe, outcome) => {
                self.probe(probe, out);
                self.outcome(probe, outcome, out);
            }
            Expectation::Fact(node, fact) => {
                self.node(node, out);
                if let Some(other) = fact.other() {
                    self.node(other, out);
                }
            }
        }
    }

    fn probe(&self, probe: &Probe, out: &mut Diagnostics) {
        let known = self.node(&probe.from, out);
        if known && probe.options.raw && !self.topology.lan.iter().any(|m| m.name == probe.from) {
            out.push(self.wrong(
                "raw",
                "is for a machine of the LAN: a container or a host sends what its kernel makes",
            ));
        }
    }

    fn outcome(&self, probe: &Probe, outcome: &Outcome, out: &mut Diagnostics) {
        let Outcome::Reaches { node, port, from } = outcome else { return };
        if !self.node(node, out) {
            return;
        }
        match (probe.ask, *port) {
            (Ask::Echo, Some(port)) => {
                out.push(
                    self.wrong(&port.to_string(), "is a port, and an echo has none").expected("reaches NODE"),
                );
            }
            (Ask::Port(transport, _), Some(port)) => {
                let own = || self.topology.listeners.iter().filter(|l| l.node == *node);
                if !own().any(|l| (l.transport, l.port) == (transport, port)) {
                    let listens: Vec<_> = own().map(|l| format!("{}/{}", l.port, l.transport)).collect();
                    let why = format!("has no listener on {port}/{transport}");
                    let wrong = self.wrong(node.as_str(), &why);
                    out.push(match listens.as_slice() {
                        [] => wrong.expected(format!("listen: {{ {node}: [{port}/{transport}] }}")),
                        [..] => wrong.expected(format!("a port that it listens on: {}", listens.join(", "))),
                    });
                }
            }
            (Ask::Echo | Ask::Port(..), None) => {}
        }
        if let (Some(from), Some(family)) = (from, probe.family)
            && Family::of(*from) != family
        {
            out.push(
                self.wrong(&from.to_string(), &format!("is no source of an IPv{} probe", family.number())),
            );
        }
    }

    fn change(&self, change: &Change, out: &mut Diagnostics) {
        match change {
            Change::Stop(node) | Change::Start(node)
                if self.topology.hosts.iter().any(|h| h.name == *node) => {}
            Change::Stop(node) | Change::Start(node) | Change::Replace(node) => _ = self.container(node, out),
            Change::Connect(node, network) | Change::Disconnect(node, network) => {
                if let Some((host, container)) = self.container(node, out) {
                    self.network(host, container, network, out);
                }
            }
            Change::Rule(node, command) => {
                self.node(node, out);
                let tool = command.split_whitespace().next().unwrap_or_default();
                if !matches!(tool, "iptables" | "ip6tables" | "nft") {
                    let wrong = Diagnostic::new(self.at.clone(), format!("'{tool}' as a command"));
                    out.push(wrong.expected("iptables, ip6tables or nft"));
                }
            }
            Change::Fault(node, ..) => _ = self.node(node, out),
        }
    }

    /// The container of a node, and its host.
    fn container(&self, node: &NodeName, out: &mut Diagnostics) -> Option<(&Host, &Container)> {
        if !self.node(node, out) {
            return None;
        }
        let mut all = self.topology.hosts.iter().flat_map(|h| h.containers.iter().map(move |c| (h, c)));
        let found = all.find(|(_, c)| c.node == *node);
        if found.is_none() {
            out.push(self.wrong(node.as_str(), "is no container"));
        }
        found
    }

    fn network(&self, host: &Host, container: &Container, network: &str, out: &mut Diagnostics) {
        let known = || host.networks.iter().map(|n| n.key.as_str()).chain(["bridge"]);
        if !known().any(|key| key == network) {
            let expected = match field::nearest(network, known()) {
                Some(near) => format!("'{near}'"),
                None => format!("one of {}", known().collect::<Vec<_>>().join(", ")),
            };
            out.push(self.wrong(network, "is no network of the project").expected(expected));
        }
        // The Engine's own words (daemon/container_operations.go).
        let refusal = match container.network {
            NetworkMode::Host => "cannot connect container to host network",
            NetworkMode::None => {
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            }
            NetworkMode::Container(_) => {
                "container sharing network namespace with another container or host cannot be connected to any other \
                 network"
            }
            NetworkMode::DefaultBridge(_) | NetworkMode::Networks(_) => return,
        };
        out.push(Diagnostic::new(self.at.clone(), refusal));
    }
}
