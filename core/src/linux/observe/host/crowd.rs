//! Who is on a host: its processes, the network namespaces they are in, and what they have open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::{Attached, Named, RESOLVER, proxy};
use crate::addr::Transport;
use crate::linux::Error;
use crate::linux::observe::proc;
use crate::linux::observe::socket::Bound;
use crate::linux::observe::{Seen, Unknown};
use crate::linux::space::Space;
use crate::plan::{Item, Listener, NsName, Object, Proxy, Reservation, Resolver, Upstream, Zone, machine};
use crate::probe::NsKind;
use crate::topology::NodeName;

/// A process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// The numbers of its network namespace and of its mount namespace.
    net: u64,
    mount: u64,
    /// Its name, as the kernel keeps it: 15 bytes of it.
    name: String,
}

/// A node: the host, or a container.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) node: NodeName,
    pub(super) process: Process,
    /// Docker's name for it; none for the host.
    container: Option<String>,
    /// The network namespace it is in.
    pub(super) ns: NsName,
}

/// Everybody.
#[derive(Debug)]
pub(super) struct Crowd {
    /// The network namespaces, the host's first.
    pub(super) spaces: Vec<(NsName, Space)>,
    /// The nodes, the host first.
    pub(super) nodes: Vec<Node>,
    /// The processes that hold sockets, by the sockets' numbers.
    holders: BTreeMap<u64, Process>,
    proxies: Vec<Proxy>,
    /// The ports of Docker's resolvers: of UDP and of TCP.
    resolvers: std::cell::RefCell<BTreeMap<NsName, [Option<u16>; 2]>>,
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
        let mut crowd = Self {
            spaces: Vec::new(),
            nodes: Vec::new(),
            holders: holders(&all),
            proxies: all.iter().filter_map(|process| proxy::of(process.pid)).collect(),
            resolvers: std::cell::RefCell::default(),
        };
        let host = NodeName::host();
        crowd.add(host.clone(), None, own.clone(), &BTreeMap::new())?;
        let mut spaces = BTreeMap::from([(own.net, NsName::from(&host))]);
        for one in named {
            let Some(process) = all.iter().find(|process| process.pid == one.pid) else { continue };
            crowd.add(one.node.clone(), Some(one.container.clone()), process.clone(), &spaces)?;
            spaces.entry(process.net).or_insert_with(|| NsName::from(&one.node));
        }
        for process in &all {
            if !spaces.contains_key(&process.net) {
                let name = crowd.free(&process.name, process.pid);
                crowd.add(name.clone(), Some(name.to_string()), process.clone(), &spaces)?;
                spaces.insert(process.net, NsName::from(&name));
            }
        }
        Ok(crowd)
    }

    fn add(
        &mut self,
        node: NodeName,
        container: Option<String>,
        process: Process,
        spaces: &BTreeMap<u64, NsName>,
    ) -> Result<(), Error> {
        let ns = spaces.get(&process.net).cloned();
        let ns = match ns {
            Some(ns) => ns,
            None => {
                let ns = NsName::from(&node);
                let space = Space::open(NsKind::Network, &process.pid.to_string());
                let space =
                    space.map_err(|e| Error::new("open", format!("the network namespace of {node}"), &e))?;
                self.spaces.push((ns.clone(), space));
                ns
            }
        };
        self.nodes.push(Node { node, process, container, ns });
        Ok(())
    }

    /// A name for somebody whom no Engine knows.
    fn free(&self, name: &str, pid: u32) -> NodeName {
        let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
        let plain = if plain.is_empty() { "process".to_owned() } else { plain.to_ascii_lowercase() };
        let taken = |name: &str| self.nodes.iter().any(|node| node.node.as_str() == name) || name == "lan";
        if taken(&plain) { format!("{plain}-{pid}").into() } else { plain.into() }
    }

    /// Notes who serves a socket.
    pub(super) fn serve(&self, ns: &NsName, transport: Transport, bound: &Bound, seen: &mut Seen) {
        let Bound { inode, address, port } = *bound;
        let holder = self.holders.get(&inode);
        let name = holder.map_or("", |holder| holder.name.as_str());
        if *ns == NsName::from(&NodeName::host()) && name == proxy::NAME {
            let of = |proxy: &&Proxy| proxy.transport == transport && is_bound(proxy.listen, address, port);
            let proxies = self.proxies.iter().find(of).cloned();
            return proxies.into_iter().for_each(|proxy| seen.item(ns, Object::Proxy(proxy)));
        }
        if name == "dockerd" && address == Some(RESOLVER) {
            let mut resolvers = self.resolvers.borrow_mut();
            let ports = resolvers.entry(ns.clone()).or_default();
            ports[usize::from(transport == Transport::Tcp)] = Some(port);
            return;
        }
        if name == "dockerd" && self.is_held(port) {
            let any = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
            let listen = SocketAddr::new(address.unwrap_or(any), port);
            return seen.item(ns, Object::Reservation(Reservation { transport, listen }));
        }
        match self.owner(ns, holder) {
            Some(node) => {
                let node = node.node.clone();
                seen.item(ns, Object::Listener(Listener { node, transport, address, port }));
            }
            None => seen.unknown(ns, format!("port {port}/{transport}: nobody is known to have it open")),
        }
    }

    /// Whether the daemon holds a port without serving it: what it serves itself are its API and its metrics.
    fn is_held(&self, port: u16) -> bool {
        !matches!(port, 2375 | 2376 | 2377 | 7946 | 9323)
    }

    /// The node whose process has a socket open: one that shares its mounts, and else the first in the namespace.
    fn owner(&self, ns: &NsName, holder: Option<&Process>) -> Option<&Node> {
        let here = || self.nodes.iter().filter(|node| node.ns == *ns);
        let mounts = holder.and_then(|holder| here().find(|node| node.process.mount == holder.mount));
        mounts.or_else(|| here().next())
    }

    /// Docker's resolvers, and what they know.
    pub(super) fn resolvers(&self, named: &[Named], unknown: &mut Vec<Unknown>) -> Vec<Item> {
        let mut items = Vec::new();
        for (ns, ports) in self.resolvers.borrow().iter() {
            let [Some(udp_port), Some(tcp_port)] = *ports else {
                let what = "Docker's resolver listens for one of TCP and UDP alone".to_owned();
                unknown.push(Unknown { ns: ns.clone(), what });
                continue;
            };
            let node = self.nodes.iter().find(|node| node.ns == *ns);
            let own = node.and_then(|node| named.iter().find(|one| one.node == node.node));
            if own.is_none() {
                let what = "what Docker's resolver knows: the Engine was not asked".to_owned();
                unknown.push(Unknown { ns: ns.clone(), what });
            }
            let zone = Arc::new(own.map(|own| zone(own, named)).unwrap_or_default());
            let conf = node.and_then(|node| proc::file(node.process.pid, "/etc/resolv.conf").ok().flatten());
            let upstream = upstream(conf.as_deref().unwrap_or_default());
            let resolver = Resolver { udp_port, tcp_port, zone, upstream };
            items.push(Item { ns: ns.clone(), object: Object::Resolver(resolver) });
        }
        items
    }
}

impl Node {
    pub(super) fn failed(&self, e: &io::Error) -> Error {
        Error::new("look at", format!("the files of {}", self.node), e)
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

fn is_bound(listen: SocketAddr, address: Option<IpAddr>, port: u16) -> bool {
    let same =
        |address: IpAddr| address == listen.ip() || address.is_unspecified() && listen.ip().is_unspecified();
    listen.port() == port && address.is_none_or(same)
}

/// What others on a container's networks are called, as the resolver tells it.
fn zone(own: &Named, named: &[Named]) -> Zone {
    let mut zone = Zone::default();
    for Attached { network, .. } in &own.networks {
        zone.networks.insert(network.clone());
        let members = named.iter().flat_map(|one| one.networks.iter().map(move |on| (one, on)));
        for (one, on) in members.filter(|(_, on)| on.network == *network) {
            for name in &on.names {
                let name = name.to_lowercase();
                for key in [name.clone(), format!("{name}.{network}")] {
                    let addresses = zone.names.entry(key).or_default();
                    let new = on.addresses.iter().filter(|address| !addresses.contains(address));
                    let new: Vec<IpAddr> = new.copied().collect();
                    addresses.extend(new);
                }
            }
            for address in &on.addresses {
                zone.reverse.entry(*address).or_insert_with(|| format!("{}.{network}", one.container));
            }
        }
    }
    zone
}

/// Whom a resolver asks, as the Engine notes it in the container's resolv.conf: `# ExtServers: [host(192.0.2.53)]`.
fn upstream(conf: &str) -> Vec<Upstream> {
    let noted = conf.lines().find_map(|line| line.strip_prefix("# ExtServers: [")?.strip_suffix(']'));
    let servers = noted.unwrap_or_default().split(' ').filter_map(|server| {
        let inner = server.strip_prefix("host(").and_then(|server| server.strip_suffix(')'));
        Some(Upstream { address: inner.unwrap_or(server).parse().ok()?, from_host: inner.is_some() })
    });
    servers.collect()
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

/// Who has sockets open; of several who share one, the proxy that serves it, and else the first.
fn holders(all: &[Process]) -> BTreeMap<u64, Process> {
    let mut holders: BTreeMap<u64, Process> = BTreeMap::new();
    for process in all {
        for open in fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten().flatten() {
            let Some(number) = fs::read_link(open.path()).ok().and_then(|link| proc::socket(&link)) else {
                continue;
            };
            if process.name == proxy::NAME || !holders.contains_key(&number) {
                holders.insert(number, process.clone());
            }
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_engine_notes_them() {
        let conf = "nameserver 127.0.0.11\n# ExtServers: [host(192.0.2.53) 198.51.100.1]\n";
        let expected = [("192.0.2.53", true), ("198.51.100.1", false)];
        let expected =
            expected.map(|(address, from_host)| Upstream { address: address.parse().unwrap(), from_host });
        assert_eq!(upstream(conf), expected);
        assert_eq!(upstream("nameserver 127.0.0.11\n"), []);
    }
}
