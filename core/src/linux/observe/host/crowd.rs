//! Who is on a host: its processes, and the network namespaces they are in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use super::{Attached, Named};
use crate::linux::Error;
use crate::linux::observe::mounts::FILES;
use crate::linux::observe::proc;
use crate::linux::space::Space;
use crate::plan::{Item, NsName, Object, WIRE, machine};
use crate::probe::NsKind;
use crate::topology::NodeName;

/// A process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// The numbers of its network namespace and of its mount namespace.
    net: u64,
    pub(super) mount: u64,
    /// Its name, as the kernel keeps it: 15 bytes of it.
    pub(super) name: String,
}

/// A node: the host, or a container.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) node: NodeName,
    pub(super) process: Process,
    /// Docker's name for it, or its own where no Engine knows it; none for the host.
    container: Option<String>,
    /// Its networks; none where no Engine knows it.
    pub(super) networks: Option<Vec<Attached>>,
    /// The network namespace it is in.
    pub(super) ns: NsName,
}

/// Everybody.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// The network namespaces, the host's first.
    pub(super) spaces: Vec<(NsName, Space)>,
    /// The nodes, the host first.
    pub(super) nodes: Vec<Node>,
    /// All processes, in the order of their numbers.
    pub(super) processes: Vec<Process>,
    /// The namespaces by the numbers that the kernel tells them by.
    numbers: BTreeMap<u64, NsName>,
}

impl Crowd {
    /// Looks who is there.
    ///
    /// # Errors
    /// Where /proc cannot be read, or a namespace cannot be opened.
    pub(super) fn look(named: &[Named]) -> Result<Self, Error> {
        let failed = |e: io::Error| Error::new("look for", "processes", &e);
        let own = process("self").map_err(failed)?;
        let all = processes().map_err(failed)?;
        let mut crowd = Self { processes: all.clone(), ..Self::default() };
        crowd.add(NodeName::host(), own, None, None)?;
        for one in named {
            if let Some(process) = all.iter().find(|process| process.pid == one.pid) {
                let node = crowd.free(one.node.as_str(), one.pid);
                crowd.add(node, process.clone(), Some(&one.container), Some(one.networks.clone()))?;
            }
        }
        for process in all {
            if !crowd.numbers.contains_key(&process.net) {
                let node = crowd.free(&plain(&process.name), process.pid);
                let name = node.to_string();
                crowd.add(node, process, Some(&name), None)?;
            }
        }
        Ok(crowd)
    }

    /// Adds a node, and its namespace where nobody before is in it; nothing of one that has ended meanwhile.
    fn add(
        &mut self,
        node: NodeName,
        process: Process,
        container: Option<&str>,
        networks: Option<Vec<Attached>>,
    ) -> Result<(), Error> {
        let ns = self.numbers.get(&process.net).cloned();
        let ns = match ns {
            Some(ns) => ns,
            None => match Space::open(NsKind::Network, &process.pid.to_string()) {
                Ok(space) => {
                    let ns = NsName::from(&node);
                    self.spaces.push((ns.clone(), space));
                    self.numbers.insert(process.net, ns.clone());
                    ns
                }
                Err(e) if has_ended(&e) => return Ok(()),
                Err(e) => return Err(Error::new("open", format!("the network namespace of {node}"), &e)),
            },
        };
        let container = container.map(str::to_owned);
        self.nodes.push(Node { node, process, container, networks, ns });
        Ok(())
    }

    /// A name that nobody has yet: not the machine's on the LAN either, nor the wire's.
    fn free(&self, name: &str, pid: u32) -> NodeName {
        let taken = self.nodes.iter().any(|node| node.node.as_str() == name) || ["lan", WIRE].contains(&name);
        if taken { format!("{name}-{pid}").into() } else { name.into() }
    }
}

/// Whether a process is gone that was there a moment ago.
pub(super) fn has_ended(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// A process's name, as a node may have it.
fn plain(name: &str) -> String {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    if plain.is_empty() { "process".to_owned() } else { plain.to_ascii_lowercase() }
}

impl Node {
    /// The files that say what names mean, and who is asked; none of one that has ended meanwhile.
    pub(super) fn files(&self) -> Result<Vec<(&'static str, String)>, Error> {
        let mut files = Vec::new();
        for path in FILES {
            match proc::file(self.process.pid, path) {
                Ok(text) => files.extend(text.map(|text| (path, text))),
                Err(e) if has_ended(&e) => return Ok(Vec::new()),
                Err(e) => return Err(Error::new("read", format!("{path} of {}", self.node), &e)),
            }
        }
        Ok(files)
    }

    /// What Docker calls it.
    pub(super) fn called(&self) -> &str {
        self.container.as_deref().unwrap_or(self.node.as_str())
    }

    /// Its process and namespaces; what they hold beside the network is not looked at, but for these files.
    pub(super) fn items(&self, files: &[(&'static str, String)]) -> Vec<Item> {
        let mut items = machine(&self.node, files);
        // The network is looked at by itself.
        let network = |object: &Object| {
            let Object::Namespace(namespace) = object else { return matches!(object, Object::Up(_)) };
            namespace.kind() == NsKind::Network
        };
        items.retain(|item| !network(&item.object));
        for item in &mut items {
            if let Object::Process(process) = &mut item.object {
                process.container.clone_from(&self.container);
                process.namespaces.insert(NsKind::Network, self.ns.clone());
            }
        }
        items
    }
}

/// All processes, in the order of their numbers; one that has ended meanwhile is none.
fn processes() -> io::Result<Vec<Process>> {
    let names = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pids: BTreeSet<u32> = names.filter_map(|name| name.parse().ok()).collect();
    Ok(pids.into_iter().filter_map(|pid| process(&pid.to_string()).ok()).collect())
}

fn process(pid: &str) -> io::Result<Process> {
    let folder = Path::new("/proc").join(pid);
    let number = |kind: &str| Ok::<u64, io::Error>(fs::metadata(folder.join("ns").join(kind))?.ino());
    let own = fs::read_link(&folder).ok().and_then(|link| link.to_str()?.parse().ok());
    Ok(Process {
        pid: own.or_else(|| pid.parse().ok()).ok_or(io::ErrorKind::NotFound)?,
        net: number("net")?,
        mount: number("mnt")?,
        name: fs::read_to_string(folder.join("comm"))?.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_has_the_processs_number_behind_it() {
        let mut crowd = Crowd::default();
        for (pid, name, expected) in [(7, "web", "web"), (8, "web", "web-8"), (9, "lan", "lan-9")] {
            let node = crowd.free(name, pid);
            assert_eq!(node.as_str(), expected);
            let process = Process { pid, net: 1, mount: 1, name: name.to_owned() };
            let ns = NsName::from(&node);
            crowd.nodes.push(Node { node, process, container: None, networks: None, ns });
        }
        assert_eq!((plain("Web Content").as_str(), plain("(sd-pam)").as_str()), ("webcontent", "sd-pam"));
        assert_eq!(plain("()"), "process");
    }
}
