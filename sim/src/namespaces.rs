//! Namespaces other than the network's, as objects: who runs in which, and what is seen from inside (man 7 namespaces).

use std::collections::BTreeMap;

use seatrial_core::addr::Family;
use seatrial_core::plan::{Namespace, NsName, Process};
use seatrial_core::probe::{Fact, NsKind};
use seatrial_core::topology::NodeName;
use thiserror::Error;

use crate::world::World;

/// Namespaces of every kind, the processes in them, and the files they see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespaces {
    spaces: BTreeMap<(NsKind, NsName), Namespace>,
    processes: BTreeMap<NodeName, Process>,
    /// In the order they were started: a process's number in a namespace is its place among those that are seen there.
    started: Vec<NodeName>,
    files: BTreeMap<(NsName, String), String>,
}

/// Why a fact is not so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unmet {
    /// Nobody of that name runs.
    #[error("no process of {0} runs")]
    NoNode(NodeName),
    /// It is otherwise.
    #[error("{0}")]
    Otherwise(String),
}

impl Namespaces {
    /// Makes a namespace.
    pub(crate) fn make(&mut self, name: NsName, namespace: Namespace) {
        self.spaces.insert((namespace.kind(), name), namespace);
    }

    /// Takes a namespace away, with the files of a mount namespace.
    pub(crate) fn unmake(&mut self, name: &NsName, kind: NsKind) -> bool {
        if kind == NsKind::Mount {
            self.files.retain(|(mount, _), _| mount != name);
        }
        self.spaces.remove(&(kind, name.clone())).is_some()
    }

    /// Whether there is such a namespace.
    pub(crate) fn has(&self, name: &NsName, kind: NsKind) -> bool {
        self.spaces.contains_key(&(kind, name.clone()))
    }

    /// Starts a process.
    pub(crate) fn start(&mut self, process: Process) {
        self.started.retain(|node| *node != process.node);
        self.started.push(process.node.clone());
        self.processes.insert(process.node.clone(), process);
    }

    /// Ends a process; whether it ran.
    pub(crate) fn end(&mut self, node: &NodeName) -> bool {
        self.started.retain(|n| n != node);
        self.processes.remove(node).is_some()
    }

    /// Writes a file.
    pub(crate) fn write(&mut self, mount: NsName, path: String, content: String) {
        self.files.insert((mount, path), content);
    }

    /// Takes a file away; whether it was there.
    pub(crate) fn unlink(&mut self, mount: &NsName, path: &str) -> bool {
        self.files.remove(&(mount.clone(), path.to_owned())).is_some()
    }

    /// What a file holds.
    pub(crate) fn file(&self, mount: &NsName, path: &str) -> Option<&str> {
        self.files.get(&(mount.clone(), path.to_owned())).map(String::as_str)
    }

    /// The namespace of a kind that a node's process is in.
    pub(crate) fn space(&self, node: &NodeName, kind: NsKind) -> Option<&NsName> {
        self.processes.get(node)?.namespaces.get(&kind)
    }

    /// Whether a node's process runs.
    pub(crate) fn runs(&self, node: &NodeName) -> bool {
        self.processes.contains_key(node)
    }

    /// What `hostname` prints.
    fn hostname(&self, node: &NodeName) -> Option<&str> {
        let uts = self.space(node, NsKind::Uts)?;
        match self.spaces.get(&(NsKind::Uts, uts.clone()))? {
            Namespace::Uts { hostname, .. } => Some(hostname),
            Namespace::Network | Namespace::Mount(_) | Namespace::Ipc { .. } => None,
            Namespace::Pid | Namespace::User { .. } | Namespace::Cgroup => None,
        }
    }

    /// The PID namespaces that a node's process has a number in: its own, and that of the machine it runs on.
    fn pid_spaces(&self, node: &NodeName) -> Vec<&NsName> {
        let own = self.space(node, NsKind::Pid);
        let container = self.processes.get(node).is_some_and(|p| p.container.is_some());
        let machine = container.then(|| self.space(&machine(node), NsKind::Pid)).flatten();
        let mut spaces: Vec<&NsName> = own.into_iter().chain(machine).collect();
        spaces.dedup();
        spaces
    }

    /// The nodes whose processes a node sees, itself among them, in the order they were started.
    fn sees(&self, node: &NodeName) -> Vec<&NodeName> {
        let Some(own) = self.space(node, NsKind::Pid) else { return Vec::new() };
        self.started.iter().filter(|other| self.pid_spaces(other).contains(&own)).collect()
    }

    /// The nodes that are in one namespace of a kind with a node, itself left out.
    fn shares(&self, node: &NodeName, kind: NsKind) -> Vec<&NodeName> {
        let own = self.space(node, kind);
        self.started.iter().filter(|other| *other != node && self.space(other, kind) == own).collect()
    }
}

/// The machine that a node runs on, by its name: `b` of `b/web`, and else the first host.
pub(crate) fn machine(node: &NodeName) -> NodeName {
    node.as_str().split_once('/').map_or_else(NodeName::host, |(machine, _)| machine.into())
}

impl World {
    /// Whether something that is no packet holds of a node. Resolving sends packets, and takes its time.
    ///
    /// # Errors
    /// What is so instead.
    pub fn fact(&mut self, node: &NodeName, fact: &Fact) -> Result<(), Unmet> {
        let known = |n: &NodeName| self.places.runs(n).then_some(()).ok_or_else(|| Unmet::NoNode(n.clone()));
        known(node)?;
        let places = &self.places;
        let holds =
            |holds: bool, otherwise: String| if holds { Ok(()) } else { Err(Unmet::Otherwise(otherwise)) };
        match fact {
            Fact::Hostname(name) => {
                let is = places.hostname(node).unwrap_or("");
                holds(is == name, format!("{node} hostname is {is}"))
            }
            Fact::SeesProcesses(other) => {
                known(other)?;
                holds(
                    places.sees(node).contains(&other),
                    format!("{node} sees processes of {}", list(&places.sees(node))),
                )
            }
            Fact::SeesNoProcesses(other) => {
                known(other)?;
                holds(
                    !places.sees(node).contains(&other),
                    format!("{node} sees processes of {}", list(&places.sees(node))),
                )
            }
            Fact::HasOwn(kind) => {
                let with = places.shares(node, *kind);
                holds(with.is_empty(), format!("{node} shares {kind} with {}", list(&with)))
            }
            Fact::Shares(kind, other) => {
                known(other)?;
                let with = places.shares(node, *kind);
                let otherwise = if with.is_empty() {
                    format!("{node} has own {kind}")
                } else {
                    format!("{node} shares {kind} with {}", list(&with))
                };
                holds(with.contains(&other), otherwise)
            }
            Fact::Resolves(name, expected) => {
                let mut found = self.lookup_all(node, name);
                let mut expected = expected.clone();
                found.sort();
                expected.sort();
                let text = if found.is_empty() { "nothing".to_owned() } else { join(&found) };
                holds(found == expected, format!("{node} resolves {name} to {text}"))
            }
        }
    }

    fn lookup_all(&mut self, node: &NodeName, name: &str) -> Vec<std::net::IpAddr> {
        self.concluded = None;
        let ids = self.nodes.find(|n| n == node).zip(self.ns_of(node));
        ids.map(|(node, ns)| self.resolve(node, ns, name, None::<Family>)).unwrap_or_default()
    }
}

fn list(nodes: &[&NodeName]) -> String {
    if nodes.is_empty() { "nobody".to_owned() } else { join(nodes) }
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
