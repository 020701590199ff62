//! Namespaces of other kinds, and the processes in them.

use std::collections::BTreeMap;
use std::io;

use nix::sys::utsname::uname;

use super::{First, Held, Seen, View, life, mounts, proc, socket};
use crate::addr::Transport;
use crate::linux::Error;
use crate::linux::net::Net;
use crate::linux::space::Space;
use crate::plan::{File, Listener, Namespace, NsName, Object, Process};
use crate::probe::NsKind;
use crate::topology::NodeName;

/// What UTS namespaces say that have no domain name.
const NO_DOMAIN: &str = "(none)";

/// All that is looked at, by the numbers of namespaces.
pub(super) struct Crowd<'a> {
    view: &'a View<'a>,
    names: BTreeMap<(NsKind, u64), NsName>,
    /// Each node's first process, and the numbers of its namespaces.
    nodes: Vec<(&'a First, BTreeMap<NsKind, u64>)>,
}

impl<'a> Crowd<'a> {
    /// Looks who is where.
    pub(super) fn of(view: &'a View<'a>) -> Result<Self, Error> {
        let mut names = BTreeMap::new();
        for (ns, space) in &view.spaces {
            let number = space.number().map_err(|e| Error::new("look at", format!("namespace {ns}"), &e))?;
            names.insert((space.kind(), number), ns.clone());
        }
        let mut nodes = Vec::new();
        for first in &view.nodes {
            nodes.push((first, proc::namespaces(first.pid).map_err(|e| failed(first, &e))?));
        }
        Ok(Self { view, names, nodes })
    }

    /// The namespaces, but for those of the network.
    pub(super) fn namespaces(&self, seen: &mut Seen) -> Result<(), Error> {
        for (ns, space) in &self.view.spaces {
            let kind = space.kind();
            let number = space.number().map_err(|e| Error::new("look at", format!("namespace {ns}"), &e))?;
            let inside = self.nodes.iter().find(|(_, spaces)| spaces.get(&kind) == Some(&number));
            let object = match kind {
                NsKind::Network => continue,
                NsKind::Pid => Some(Namespace::Pid),
                NsKind::Cgroup => Some(Namespace::Cgroup),
                NsKind::Uts => {
                    Some(names(space).map_err(|e| Error::new("look at", format!("uts namespace {ns}"), &e))?)
                }
                NsKind::Mount | NsKind::Ipc | NsKind::User => match inside {
                    Some((first, _)) => content(kind, first.pid).map_err(|e| failed(first, &e))?,
                    None => None,
                },
            };
            match object {
                Some(object) => seen.item(ns, Object::Namespace(object)),
                None => seen.unknown(ns, format!("{kind} namespace: what is in it is not told")),
            }
        }
        Ok(())
    }

    /// The files of each mount namespace.
    pub(super) fn files(&self, seen: &mut Seen) -> Result<(), Error> {
        for (first, spaces) in &self.nodes {
            let Some(ns) = self.name(NsKind::Mount, spaces) else { continue };
            for path in mounts::FILES {
                let text = proc::file(first.pid, path).map_err(|e| failed(first, &e))?;
                let file = text.map(|content| Object::File(File { path: path.to_owned(), content }));
                file.into_iter().for_each(|file| seen.item(ns, file));
            }
        }
        Ok(())
    }

    /// The first process of each node.
    pub(super) fn processes(&self, seen: &mut Seen) -> Result<(), Error> {
        let last = proc::last_capability().map_err(|e| Error::new("read", "capabilities", &e))?;
        for (first, spaces) in &self.nodes {
            let ns = NsName::from(&first.node);
            let mut namespaces = BTreeMap::new();
            for kind in NsKind::ALL {
                match self.name(kind, spaces) {
                    Some(name) => _ = namespaces.insert(kind, name.clone()),
                    None => seen.unknown(&ns, format!("its {kind} namespace is not looked at")),
                }
            }
            let status = proc::text(first.pid, "status").map_err(|e| failed(first, &e))?;
            let rights =
                first.container.as_ref().and_then(|_| life::rights(&status, last)).unwrap_or_default();
            let process = Process {
                node: first.node.clone(),
                container: first.container.clone(),
                namespaces,
                cap_add: rights.cap_add,
                cap_drop: rights.cap_drop,
                privileged: rights.privileged,
                user: None,
                program: None,
            };
            seen.item(&ns, Object::Process(process));
        }
        Ok(())
    }

    /// What is bound in each network namespace.
    pub(super) fn sockets(&self, nets: &[Net], seen: &mut Seen) -> Result<(), Error> {
        let nodes = self
            .nodes
            .iter()
            .filter_map(|(first, spaces)| Some((*spaces.get(&NsKind::Mount)?, first.node.clone())));
        let nodes: BTreeMap<u64, NodeName> = nodes.collect();
        let holders = proc::holders(&nodes).map_err(|e| Error::new("look for", "open sockets", &e))?;
        for net in nets {
            for transport in [Transport::Tcp, Transport::Udp, Transport::Sctp] {
                for message in net.bound(transport)? {
                    let socket::Bound { inode, address, port } = socket::bound(&message);
                    let ns = net.name();
                    match holders.get(&inode) {
                        Some(node) => {
                            let node = node.clone();
                            seen.item(ns, Object::Listener(Listener { node, transport, address, port }));
                        }
                        None => seen.held.push(Held { ns: ns.clone(), transport, address, port }),
                    }
                }
            }
        }
        Ok(())
    }

    fn name(&self, kind: NsKind, spaces: &BTreeMap<NsKind, u64>) -> Option<&NsName> {
        self.names.get(&(kind, *spaces.get(&kind)?))
    }
}

fn failed(first: &First, e: &io::Error) -> Error {
    Error::new("look at", format!("the process of {}", first.node), e)
}

/// What a namespace holds that a process is in.
fn content(kind: NsKind, pid: u32) -> io::Result<Option<Namespace>> {
    match kind {
        NsKind::Mount => Ok(Some(Namespace::Mount(mounts::root(&proc::text(pid, "mountinfo")?)))),
        NsKind::Ipc => {
            let shm = mounts::has_shm(&proc::text(pid, "mountinfo")?);
            let shm_size = if shm { Some(proc::size(pid, "/dev/shm")?) } else { None };
            Ok(Some(Namespace::Ipc { shm_size }))
        }
        NsKind::User => {
            let map = life::map(&proc::text(pid, "uid_map")?, &proc::own_ids()?);
            Ok(map.map(|map| Namespace::User { map }))
        }
        NsKind::Network | NsKind::Pid | NsKind::Uts | NsKind::Cgroup => Ok(None),
    }
}

/// The names that a UTS namespace has.
fn names(space: &Space) -> io::Result<Namespace> {
    let told = space.inside(uname)??;
    let domain = told.domainname().to_string_lossy().into_owned();
    Ok(Namespace::Uts {
        hostname: told.nodename().to_string_lossy().into_owned(),
        domainname: Some(domain).filter(|domain| !domain.is_empty() && domain != NO_DOMAIN),
    })
}
