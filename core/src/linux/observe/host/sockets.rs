//! What the sockets of a host are there for: who has them open tells.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::crowd::{Crowd, Node, Process};
use super::{names, proxy};
use crate::addr::Transport;
use crate::linux::observe::socket::Bound;
use crate::linux::observe::{Seen, proc};
use crate::linux::resolver::ADDRESS;
use crate::plan::{Listener, NsName, Object, Proxy, Reservation, Resolver};
use crate::topology::NodeName;

/// What the Engine's process is called.
const DAEMON: &str = "dockerd";
/// The ports that the daemon serves itself: its API, and Swarm's and the metrics' (docs.docker.com: dockerd, swarm).
const SERVED: [u16; 5] = [2375, 2376, 2377, 7946, 9323];

/// Whose sockets are whose.
pub(super) struct Sockets<'a> {
    crowd: &'a Crowd,
    /// The processes that hold sockets, by the sockets' numbers.
    holders: BTreeMap<u64, &'a Process>,
    proxies: Vec<Proxy>,
    /// The ports of Docker's resolvers: of UDP and of TCP.
    resolvers: BTreeMap<NsName, [Option<u16>; 2]>,
}

impl<'a> Sockets<'a> {
    /// Looks what everybody has open.
    pub(super) fn of(crowd: &'a Crowd) -> Self {
        let proxies = crowd.processes.iter().filter_map(|process| proxy::of(process.pid)).collect();
        Self { crowd, holders: holders(&crowd.processes), proxies, resolvers: BTreeMap::new() }
    }

    /// Notes what a socket is there for.
    pub(super) fn serve(&mut self, ns: &NsName, transport: Transport, bound: &Bound, seen: &mut Seen) {
        let Bound { inode, address, port } = *bound;
        let holder = self.holders.get(&inode).copied();
        let name = holder.map_or("", |holder| holder.name.as_str());
        if name == DAEMON && address == Some(ADDRESS.into()) {
            let ports = self.resolvers.entry(ns.clone()).or_default();
            ports[usize::from(transport == Transport::Tcp)] = Some(port);
        } else if name == proxy::NAME && *ns == NsName::from(&NodeName::host()) {
            let of = |proxy: &&Proxy| proxy.transport == transport && is_bound(proxy.listen, address, port);
            let proxy = self.proxies.iter().find(of).cloned();
            proxy.into_iter().for_each(|proxy| seen.item(ns, Object::Proxy(proxy)));
        } else if name == DAEMON && !SERVED.contains(&port) {
            let listen = SocketAddr::new(address.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), port);
            seen.item(ns, Object::Reservation(Reservation { transport, listen }));
        } else if let Some(node) = self.owner(ns, holder) {
            let node = node.node.clone();
            seen.item(ns, Object::Listener(Listener { node, transport, address, port }));
        } else {
            seen.unknown(ns, format!("port {port}/{transport}: nobody is known to have it open"));
        }
    }

    /// The node whose process has a socket open: one that shares its mounts, and else the first in the namespace.
    fn owner(&self, ns: &NsName, holder: Option<&Process>) -> Option<&'a Node> {
        let here = || self.crowd.nodes.iter().filter(|node| node.ns == *ns);
        let mounts = holder.and_then(|holder| here().find(|node| node.process.mount == holder.mount));
        mounts.or_else(|| here().next())
    }

    /// Docker's resolvers, and what they know.
    pub(super) fn resolvers(&self, seen: &mut Seen) {
        for (ns, ports) in &self.resolvers {
            let [Some(udp_port), Some(tcp_port)] = *ports else {
                seen.unknown(ns, "Docker's resolver listens for one of TCP and UDP alone".to_owned());
                continue;
            };
            let node = self.crowd.nodes.iter().find(|node| node.ns == *ns);
            let networks = node.and_then(|node| node.networks.as_ref());
            if networks.is_none() {
                seen.unknown(ns, "what Docker's resolver knows: the Engine was not asked".to_owned());
            }
            let zone = Arc::new(networks.map(|own| names::zone(own, &self.crowd.nodes)).unwrap_or_default());
            let conf = node.and_then(|node| proc::file(node.process.pid, "/etc/resolv.conf").ok().flatten());
            let upstream = names::upstream(conf.as_deref().unwrap_or_default()).unwrap_or_else(|| {
                seen.unknown(ns, "whom Docker's resolver asks: it is not noted in resolv.conf".to_owned());
                Vec::new()
            });
            seen.item(ns, Object::Resolver(Resolver { udp_port, tcp_port, zone, upstream }));
        }
    }
}

/// Whether a proxy's socket is this one; one of all addresses of both families is told without any.
fn is_bound(listen: SocketAddr, address: Option<IpAddr>, port: u16) -> bool {
    listen.port() == port && address.is_none_or(|address| address == listen.ip())
}

/// Who has sockets open; of several who share one, the proxy that serves it, and else the first.
fn holders(all: &[Process]) -> BTreeMap<u64, &Process> {
    let mut holders: BTreeMap<u64, &Process> = BTreeMap::new();
    for process in all {
        // Whatever cannot be looked at has ended meanwhile.
        for open in fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten().flatten() {
            let Some(number) = fs::read_link(open.path()).ok().and_then(|link| proc::socket(&link)) else {
                continue;
            };
            if process.name == proxy::NAME || !holders.contains_key(&number) {
                holders.insert(number, process);
            }
        }
    }
    holders
}
