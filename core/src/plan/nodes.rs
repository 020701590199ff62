//! Nodes and their listeners: a name means one node, and no two sockets of a namespace want one port.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::dockerd::Dockerd;
use super::wire::WIRE;
use crate::addr::Family;
use crate::diagnostic::{At, Diagnostic};
use crate::probe::NsKind;
use crate::topology::{Listener, NodeName, Topology};

/// What no plan can be made of, whatever Docker would say.
pub(super) fn check(topology: &Topology, engines: &[Dockerd]) -> Vec<Diagnostic> {
    let mut wrong = names(topology);
    wrong.extend(listeners(&topology.listeners, engines));
    wrong
}

/// Two nodes of one name would have the same namespaces.
fn names(topology: &Topology) -> Vec<Diagnostic> {
    let lan = topology.lan.iter().map(|l| (&l.name, &l.at));
    let containers = topology.hosts.iter().flat_map(|h| h.containers.iter().map(|c| (&c.node, &c.at)));
    let nowhere = At::nowhere("host");
    let hosts = topology.hosts.iter().map(|h| (&h.name, &nowhere));
    let mut first: BTreeMap<&NodeName, &At> = hosts.collect();
    let mut wrong = Vec::new();
    for (name, at) in lan.chain(containers) {
        let taken = first.insert(name, at);
        if name.as_str() == WIRE {
            let found = format!("'{WIRE}' is the name of the switch between the machines");
            wrong.push(Diagnostic::new(at.clone(), found).expected("another name"));
        } else if let Some(other) = taken {
            let found = format!("two nodes are called '{name}'");
            wrong.push(Diagnostic::new(at.clone(), found).related(other.clone(), "the first"));
        }
    }
    wrong
}

/// Two listeners of one namespace on one port: the kernel would refuse the second.
fn listeners(listeners: &[Listener], engines: &[Dockerd]) -> Vec<Diagnostic> {
    let owners = owners(engines);
    let mut placed: BTreeMap<&NodeName, Vec<&Listener>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for listener in listeners {
        let here = placed.entry(owners.get(&listener.node).unwrap_or(&listener.node)).or_default();
        let clash = here.iter().copied().find(|first| clashes(first, listener));
        here.push(listener);
        let Some(first) = clash else { continue };
        let found = format!(
            "{} cannot listen on {}/{}: address already in use",
            listener.node, listener.port, listener.transport
        );
        let label = format!("{} listens here", first.node);
        wrong.push(Diagnostic::new(listener.at.clone(), found).related(first.at.clone(), label));
    }
    wrong
}

/// The node whose network namespace each container is in; of two containers of one name, the first's.
fn owners(engines: &[Dockerd]) -> BTreeMap<&NodeName, NodeName> {
    let mut owners = BTreeMap::new();
    for engine in engines {
        for spec in &engine.host.containers {
            owners.entry(&spec.node).or_insert_with(|| engine.owner(NsKind::Network, spec));
        }
    }
    owners
}

/// Whether the kernel would answer EADDRINUSE (man 2 bind).
fn clashes(a: &Listener, b: &Listener) -> bool {
    let same = |a: IpAddr, b: IpAddr| {
        a == b || (Family::of(a) == Family::of(b) && (a.is_unspecified() || b.is_unspecified()))
    };
    let overlap = match (a.address, b.address) {
        (Some(a), Some(b)) => same(a, b),
        (None, _) | (_, None) => true,
    };
    a.transport == b.transport && a.port == b.port && overlap
}
