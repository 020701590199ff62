//! Namespaces other than the network's, as objects: who runs in which, and what is seen from inside (man 7 namespaces).

use std::collections::BTreeMap;
use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::addr::{Family, IfName};
use seatrial_core::plan::{IdMap, Namespace, NsName, Process};
use seatrial_core::probe::{Fact, NsKind, Pid, Things};
use seatrial_core::topology::NodeName;
use thiserror::Error;

use crate::stack::fib::Flow;
use crate::world::World;

mod mounts;

/// What an id is to somebody who has no number for it (man 5 proc, /proc/sys/kernel/overflowuid).
const OVERFLOW_ID: u32 = 65_534;

/// Namespaces of every kind, the processes in them, and the files they see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespaces {
    spaces: BTreeMap<NsKind, IndexMap<NsName, Namespace, FxBuildHasher>>,
    processes: IndexMap<NodeName, Process, FxBuildHasher>,
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
        self.spaces.entry(namespace.kind()).or_default().insert(name, namespace);
    }

    /// Takes a namespace away, with the files of a mount namespace.
    pub(crate) fn unmake(&mut self, name: &NsName, kind: NsKind) -> bool {
        if kind == NsKind::Mount {
            self.files.retain(|(mount, _), _| mount != name);
        }
        self.spaces.get_mut(&kind).is_some_and(|spaces| spaces.swap_remove(name).is_some())
    }

    /// Whether there is such a namespace.
    pub(crate) fn has(&self, name: &NsName, kind: NsKind) -> bool {
        self.find(kind, name).is_some()
    }

    fn find(&self, kind: NsKind, name: &NsName) -> Option<&Namespace> {
        self.spaces.get(&kind)?.get(name)
    }

    /// Starts a process.
    pub(crate) fn start(&mut self, process: Process) {
        let node = process.node.clone();
        if self.processes.insert(node.clone(), process).is_some() {
            self.started.retain(|started| *started != node);
        }
        self.started.push(node);
    }

    /// Ends a process; whether it ran.
    pub(crate) fn end(&mut self, node: &NodeName) -> bool {
        self.started.retain(|n| n != node);
        self.processes.swap_remove(node).is_some()
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

    /// The names of a node's UTS namespace, as /proc/sys/kernel has them.
    fn names(&self, node: &NodeName) -> Option<(&str, &str)> {
        let uts = self.space(node, NsKind::Uts)?;
        match self.find(NsKind::Uts, uts)? {
            Namespace::Uts { hostname, domainname } => {
                Some((hostname, domainname.as_deref().unwrap_or("(none)")))
            }
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

    /// Whether a node's processes have a number in another's PID namespace.
    fn sees_processes(&self, node: &NodeName, other: &NodeName) -> bool {
        self.space(node, NsKind::Pid).is_some_and(|own| self.pid_spaces(other).contains(&own))
    }

    /// The number that a node's first process has in a PID namespace, where Linux promises one: 1 for the process it
    /// was made for (man 7 `pid_namespaces`). Any other is what is free when it starts, and never 1.
    fn is_init(&self, node: &NodeName, pid: &NsName) -> bool {
        self.started.iter().find(|n| self.space(n, NsKind::Pid) == Some(pid)) == Some(node)
    }

    /// What an id of a node's is outside all user namespaces; none where it has no such id.
    fn outside(&self, node: &NodeName, id: u32) -> Option<u32> {
        let map = self.id_map(node)?;
        let place = id.checked_sub(map.inside).filter(|place| *place < map.count)?;
        map.outside.checked_add(place)
    }

    /// What an id from outside is to a node.
    fn inside(&self, node: &NodeName, id: u32) -> u32 {
        let map = self.id_map(node);
        let place = map.and_then(|map| Some((map, id.checked_sub(map.outside).filter(|p| *p < map.count)?)));
        place.and_then(|(map, place)| map.inside.checked_add(place)).unwrap_or(OVERFLOW_ID)
    }

    fn id_map(&self, node: &NodeName) -> Option<IdMap> {
        let user = self.space(node, NsKind::User)?;
        match self.find(NsKind::User, user)? {
            Namespace::User { map } => Some(*map),
            Namespace::Network | Namespace::Mount(_) | Namespace::Ipc { .. } => None,
            Namespace::Pid | Namespace::Uts { .. } | Namespace::Cgroup => None,
        }
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
        for known in [Some(node), fact.other()].into_iter().flatten() {
            if !self.places.runs(known) {
                return Err(Unmet::NoNode(known.clone()));
            }
        }
        let so = self.observe(node, fact)?;
        if so.meets(fact) { Ok(()) } else { Err(Unmet::Otherwise(format!("{node} {so}"))) }
    }

    /// What is so, in the form in which it was asked.
    fn observe(&mut self, node: &NodeName, asked: &Fact) -> Result<Fact, Unmet> {
        let places = &self.places;
        match asked {
            Fact::Hostname(_) => {
                Ok(Fact::Hostname(places.names(node).map_or("", |(hostname, _)| hostname).to_owned()))
            }
            Fact::Domainname(_) => {
                Ok(Fact::Domainname(places.names(node).map_or("", |(_, domain)| domain).to_owned()))
            }
            Fact::Sees(things, other) | Fact::SeesNo(things, other) => {
                let sees = places.sees(node, things, other)?;
                let (things, other) = (things.clone(), other.clone());
                Ok(if sees { Fact::Sees(things, other) } else { Fact::SeesNo(things, other) })
            }
            Fact::SeesPid(other, pid) => places.observe_pid(node, other, *pid),
            Fact::SeesId(kind, id, other, _) => {
                let outside = places.outside(other, *id);
                let outside =
                    outside.ok_or_else(|| Unmet::Otherwise(format!("{other} has no {kind} {id}")))?;
                Ok(Fact::SeesId(*kind, *id, other.clone(), places.inside(node, outside)))
            }
            Fact::HasOwn(kind) => {
                let with = places.shares(node, *kind);
                Ok(with.first().map_or(Fact::HasOwn(*kind), |first| Fact::Shares(*kind, (*first).clone())))
            }
            Fact::Shares(kind, other) => {
                let with = places.shares(node, *kind);
                let found = with.iter().find(|n| **n == other).or_else(|| with.first());
                Ok(found.map_or(Fact::HasOwn(*kind), |first| Fact::Shares(*kind, (*first).clone())))
            }
            Fact::HasMount(path) | Fact::HasNoMount(path) => Ok(match places.is_mounted(node, path)? {
                true => Fact::HasMount(path.clone()),
                false => Fact::HasNoMount(path.clone()),
            }),
            Fact::HasSize(_, path) => places.observe_size(node, path),
            Fact::Writes(path) | Fact::CannotWrite(path) => Ok(match places.writes(node, path) {
                true => Fact::Writes(path.clone()),
                false => Fact::CannotWrite(path.clone()),
            }),
            Fact::HasSysctl(key, _) => {
                let value = self.ns_of(node).and_then(|ns| self.stacks[ns].sysctl(key));
                let value = value
                    .ok_or_else(|| Unmet::Otherwise(format!("{node}: the simulator has no setting {key}")))?;
                Ok(Fact::HasSysctl(key.clone(), value))
            }
            Fact::HasDevices(_) => Ok(Fact::HasDevices(self.device_names(node))),
            Fact::HasNoRoute(to) | Fact::Routes(to, ..) => Ok(self.first_hop(node, *to)),
            Fact::Resolves(name, _) => Ok(Fact::Resolves(name.clone(), self.lookup_all(node, name))),
        }
    }

    fn device_names(&self, node: &NodeName) -> Vec<IfName> {
        let ns = self.ns_of(node);
        ns.map(|ns| self.stacks[ns].links.keys().cloned().collect()).unwrap_or_default()
    }

    /// What `ip route get` tells.
    fn first_hop(&self, node: &NodeName, to: IpAddr) -> Fact {
        let path = self.ns_of(node).and_then(|ns| self.route(ns, &Flow::to(to)));
        match path {
            Some(path) => Fact::Routes(to, path.via, self.devices[path.dev].name.clone()),
            None => Fact::HasNoRoute(to),
        }
    }

    fn lookup_all(&mut self, node: &NodeName, name: &str) -> Vec<IpAddr> {
        self.concluded = None;
        let ids = self.number(node).zip(self.ns_of(node));
        let mut found =
            ids.map(|(node, ns)| self.resolve(node, ns, name, None::<Family>)).unwrap_or_default();
        found.sort();
        found
    }
}

impl Namespaces {
    /// Whether a node would find what another makes.
    fn sees(&self, node: &NodeName, things: &Things, other: &NodeName) -> Result<bool, Unmet> {
        let same = |kind| self.space(node, kind) == self.space(other, kind);
        match things {
            Things::Processes => Ok(self.sees_processes(node, other)),
            Things::Sockets => Ok(same(NsKind::Network)),
            Things::IpcObjects => Ok(same(NsKind::Ipc)),
            Things::Files(path) if !self.writes(other, path) => {
                Err(Unmet::Otherwise(format!("{other} {}", Fact::CannotWrite(path.clone()))))
            }
            Things::Files(path) => Ok(self.place(node, path) == self.place(other, path)),
        }
    }

    /// The number of a node's process as another has it, as far as Linux promises it.
    fn observe_pid(&self, node: &NodeName, other: &NodeName, asked: Pid) -> Result<Fact, Unmet> {
        let so = |pid| Ok(Fact::SeesPid(other.clone(), pid));
        let unknown = || {
            let what = format!("which pid {node} sees of {other} depends on what else runs");
            Err(Unmet::Otherwise(what))
        };
        let spaces = self.space(node, NsKind::Pid).zip(self.space(other, NsKind::Pid));
        let Some((seen_from, own)) = spaces.filter(|_| self.sees_processes(node, other)) else {
            return Ok(Fact::SeesNo(Things::Processes, other.clone()));
        };
        match (seen_from == own, self.is_init(other, own), asked) {
            (true, true, Pid::Is(_)) => so(Pid::Is(1)),
            (true, _, Pid::TheSame | Pid::Another) | (true, false, Pid::Is(1)) => so(Pid::TheSame),
            // From outside: there 1 is the machine's own first process.
            (false, true, Pid::TheSame | Pid::Another | Pid::Is(1)) => so(Pid::Another),
            (_, _, Pid::Is(_)) | (false, false, Pid::TheSame | Pid::Another) => unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{Bed, fact};

    /// A host with base, and with guest in base's PID namespace.
    fn shared() -> World {
        let bed = Bed::new().node("host").process("base", Some("base"), &[]);
        bed.process("guest", Some("guest"), &[(NsKind::Pid, "base")]).world()
    }

    #[test]
    fn a_pid_is_told_only_where_linux_promises_it() {
        let mut world = shared();
        for (node, line, instead) in [
            ("guest", "sees pid of base as 1", None),
            ("base", "sees pid of guest as the same", None),
            ("host", "sees pid of base as another", None),
            ("base", "sees pid of base as 7", Some("base sees pid of base as 1")),
            ("base", "sees pid of guest as 1", Some("base sees pid of guest as the same")),
            ("host", "sees pid of base as 1", Some("host sees pid of base as another")),
            (
                "base",
                "sees pid of guest as 7",
                Some("which pid base sees of guest depends on what else runs"),
            ),
            (
                "host",
                "sees pid of guest as another",
                Some("which pid host sees of guest depends on what else runs"),
            ),
            ("base", "sees pid of host as 1", Some("base sees no processes of host")),
        ] {
            assert_eq!(fact(&mut world, node, line).err().as_deref(), instead, "{node} {line}");
        }
    }

    #[test]
    fn what_is_so_instead_is_said_as_a_fact() {
        let mut world = shared();
        for (node, line, instead) in [
            ("base", "hostname is x", "base hostname is base"),
            ("base", "domainname is x", "base domainname is (none)"),
            ("base", "sees ipc objects of guest", "base sees no ipc objects of guest"),
            ("base", "sees no sockets of base", "base sees sockets of base"),
            ("base", "has own pid", "base shares pid with guest"),
            ("base", "shares ipc with guest", "base has own ipc"),
            ("base", "has devices eth0", "base has devices lo"),
            ("base", "routes 192.0.2.1 dev eth0", "base has no route to 192.0.2.1"),
            ("base", "has no route to 127.0.0.1", "base routes 127.0.0.1 dev lo"),
            ("base", "has a mount at /dev/shm", "base has no mount at /dev/shm"),
            ("base", "has 1m at /dev", "base has 64m at /dev"),
            ("base", "sees uid 7 of guest as 8", "base sees uid 7 of guest as 7"),
            ("base", "cannot write in /", "base writes in /"),
            ("base", "sees files of guest in /proc", "guest cannot write in /proc"),
            ("base", "has a mount at /proc/acpi", "what is mounted at /proc/acpi depends on the kernel"),
            ("base", "has 1m at /", "how much base has at / depends on the machine"),
            ("base", "sees sockets of nobody", "no process of nobody runs"),
        ] {
            assert_eq!(fact(&mut world, node, line), Err(instead.to_owned()), "{node} {line}");
        }
    }
}
