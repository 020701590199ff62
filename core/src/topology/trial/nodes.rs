//! Names of those who take part: no two are alike, and those of a further host carry its name.

use std::collections::BTreeMap;

use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::yaml::Key;
use crate::topology::{ContainerRef, Host, IpcMode, NetworkMode, NodeName, PidMode, Topology};

/// Names that no machine and no service of the first host can have: the host's own, and that of the wire between.
const TAKEN: [&str; 2] = ["host", "wire"];

/// Whether a key can be the name of a machine.
pub(super) fn machine(key: &Key, out: &mut Diagnostics) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if key.name.is_empty() || !key.name.chars().all(good) {
        let wrong = Diagnostic::new(key.at.clone(), format!("'{}' as a machine's name", key.name));
        out.push(wrong.expected("letters, digits, '.', '-' and '_'"));
        return false;
    }
    true
}

/// Reports names that stand twice or are taken.
pub(super) fn check(topology: &Topology, out: &mut Diagnostics) {
    let hosts = topology.hosts.iter();
    let services = hosts.flat_map(|h| h.containers.iter().map(|c| (&c.node, "a service", &c.at)));
    let machines = topology.lan.iter().map(|m| (&m.name, "a machine", &m.at));
    let mut seen: BTreeMap<&NodeName, (&str, &At)> = BTreeMap::new();
    for (name, what, at) in services.chain(machines) {
        let further = topology.hosts.iter().skip(1).any(|h| h.name == *name);
        if TAKEN.contains(&name.as_str()) || further {
            let found = format!("{what} called '{name}', which is the name of {}", owner(name.as_str()));
            out.push(Diagnostic::new(at.clone(), found).expected("another name"));
        } else if let Some((other, first)) = seen.get(name) {
            let found = format!("{what} called '{name}', as {other} is");
            let wrong = Diagnostic::new(at.clone(), found).expected("another name");
            out.push(wrong.related((*first).clone(), "first"));
        } else {
            seen.insert(name, (what, at));
        }
    }
}

fn owner(name: &str) -> &'static str {
    match name {
        "host" => "the first Docker host",
        "wire" => "the wire between the machines",
        _ => "a Docker host",
    }
}

/// Puts the name of a further host before those of its containers.
pub(super) fn qualify(host: &mut Host) {
    if host.name == NodeName::host() {
        return;
    }
    let own: Vec<NodeName> = host.containers.iter().map(|c| c.node.clone()).collect();
    let prefix = host.name.clone();
    let full = |node: &mut NodeName| {
        if own.contains(node) {
            *node = NodeName::from(format!("{prefix}/{node}"));
        }
    };
    let refer = |target: &mut ContainerRef| full(&mut target.node);
    for container in &mut host.containers {
        if let NetworkMode::Container(target) = &mut container.network {
            refer(target);
        }
        if let Some(IpcMode::Container(target)) = &mut container.ipc {
            refer(target);
        }
        if let PidMode::Container(target) = &mut container.pid {
            refer(target);
        }
        container.links.iter_mut().for_each(|link| refer(&mut link.target));
        full(&mut container.node);
    }
}
