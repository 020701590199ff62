//! A whole Docker host, as it is found: its own network namespace and those of everybody on it.
//!
//! Nothing is changed. What a process is called the Engine says ([`Named`]); where it was not asked, or knows nothing of it,
//! the process's own name has to do.
//!
//! * `crowd`: who is there. `sockets`: what their sockets are for. `proxy`: what a docker-proxy was started with. `names`: what
//!   Docker's resolver knows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use super::{Seen, View, observe, order, socket};
use crate::addr::{IfName, Transport};
use crate::linux::Error;
use crate::linux::net::Net;
use crate::linux::space::Space;
use crate::plan::{LinkKind, NsName, Object, Plan, WIRE, bare, check, switch};
use crate::snapshot::{Snapshot, VERSION};
use crate::topology::NodeName;

mod crowd;
mod names;
mod proxy;
mod sockets;

use crowd::Crowd;
use sockets::Sockets;

/// A container, as its Engine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// What it is called here.
    pub node: NodeName,
    /// What Docker calls it.
    pub container: String,
    /// Its first process.
    pub pid: u32,
    /// Its networks.
    pub networks: Vec<Attached>,
}

/// A container's part in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The network.
    pub network: String,
    /// What others on it call the container.
    pub names: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Looks at this host.
///
/// # Errors
/// What could not be looked at: all of it needs the rights of root.
pub fn look(named: &[Named], engine: Option<String>) -> Result<Snapshot, Error> {
    let crowd = Crowd::look(named)?;
    let spaces: Vec<(NsName, &Space)> = crowd.spaces.iter().map(|(ns, space)| (ns.clone(), space)).collect();
    let view = View { spaces, wired: true, ..View::default() };
    let observed = observe(&view)?;
    let mut seen = Seen { items: observed.plan.items, held: Vec::new(), unknown: observed.unknown };
    let joined = joined(&seen, &crowd);
    apart(&joined, &mut seen);
    let outside = wires(&mut seen);
    for node in crowd.nodes.iter().filter(|node| joined.contains(&node.ns)) {
        seen.items.extend(node.items(&node.files()?));
    }
    let mut sockets = Sockets::of(&crowd);
    for (ns, space) in crowd.spaces.iter().filter(|(ns, _)| joined.contains(ns)) {
        let net = Net::open(ns.clone(), space)?;
        for transport in [Transport::Tcp, Transport::Udp, Transport::Sctp] {
            for message in net.bound(transport)? {
                sockets.serve(ns, transport, &socket::bound(&message), &mut seen);
            }
        }
    }
    once(&mut seen);
    sockets.resolvers(&mut seen);
    order::sort(&mut seen.items);
    Ok(Snapshot {
        seatrial_snapshot: VERSION,
        kernel: release().map_err(|e| Error::new("read", "the kernel's release", &e))?,
        engine,
        outside,
        unknown: seen.unknown.iter().map(ToString::to_string).collect(),
        plan: Plan { items: seen.items },
    })
}

/// The namespaces that take part: the host's, those of containers that the Engine knows, and whatever a cable or a share
/// of a device joins with one of them. Many a program is alone in one of its own.
fn joined(seen: &Seen, crowd: &Crowd) -> BTreeSet<NsName> {
    let known = |node: &&crowd::Node| node.node == NodeName::host() || node.networks.is_some();
    let known = crowd.nodes.iter().filter(known).map(|node| node.ns.clone());
    let mut joined: BTreeSet<NsName> = known.collect();
    let pairs: Vec<(&NsName, &NsName)> =
        seen.items.iter().filter_map(|item| Some((&item.ns, far(&item.object)?))).collect();
    loop {
        let more =
            pairs.iter().filter_map(|(near, far)| match (joined.contains(*near), joined.contains(*far)) {
                (true, false) => Some((*far).clone()),
                (false, true) => Some((*near).clone()),
                (true, true) | (false, false) => None,
            });
        let more: Vec<NsName> = more.filter(|ns| ns.as_str() != WIRE).collect();
        if more.is_empty() {
            return joined;
        }
        joined.extend(more);
    }
}

/// The other namespace that a device leads to.
fn far(object: &Object) -> Option<&NsName> {
    let Object::Link(link) = object else { return None };
    match &link.kind {
        LinkKind::Veth(peer) => Some(&peer.ns),
        LinkKind::Macvlan { parent, .. } | LinkKind::Ipvlan { parent, .. } => Some(&parent.ns),
        LinkKind::Bridge | LinkKind::Vlan { .. } | LinkKind::Dummy => None,
    }
}

/// Leaves out all other namespaces, and says how many.
fn apart(joined: &BTreeSet<NsName>, seen: &mut Seen) {
    let others: BTreeSet<&NsName> =
        seen.items.iter().map(|item| &item.ns).filter(|ns| !joined.contains(*ns)).collect();
    let others = others.len();
    seen.items.retain(|item| joined.contains(&item.ns));
    seen.unknown.retain(|unknown| joined.contains(&unknown.ns));
    if others > 0 {
        let what = format!("{others} network namespaces that nothing joins with it");
        seen.unknown(&NsName::from(&NodeName::host()), what);
    }
}

fn release() -> io::Result<String> {
    Ok(nix::sys::utsname::uname()?.release().to_string_lossy().into_owned())
}

/// The switches that cables lead to which go nowhere else; the host's devices on them, that of the default route first.
fn wires(seen: &mut Seen) -> Vec<IfName> {
    let host = NsName::from(&NodeName::host());
    let mut plugs = BTreeMap::new();
    let mut outside = Vec::new();
    for item in &seen.items {
        let Object::Link(link) = &item.object else { continue };
        let LinkKind::Veth(peer) = &link.kind else { continue };
        if peer.ns.as_str() == WIRE {
            plugs.insert(peer.name.clone(), peer.master.clone());
            outside.extend((item.ns == host).then(|| (link.name.clone(), link.master.clone())));
        }
    }
    let first = seen.items.iter().find_map(|item| {
        let Object::Route(route) = &item.object else { return None };
        let default = item.ns == host && route.to.prefix_len() == 0 && route.table.is_none();
        route.dev.clone().filter(|_| default)
    });
    outside.sort_by_key(|(device, master)| first.as_ref() != Some(device) && first != *master);
    let switches: BTreeSet<IfName> = plugs.values().flatten().cloned().collect();
    seen.items.extend(bare());
    seen.items.extend(switches.into_iter().flat_map(switch));
    let wire = NsName::from(WIRE);
    plugs.into_keys().for_each(|end| seen.item(&wire, Object::Up(end)));
    outside.into_iter().map(|(device, _)| device).collect()
}

/// Where a socket is bound.
fn bound(object: &Object) -> Option<(Transport, Option<IpAddr>, u16)> {
    if let Object::Listener(listener) = object {
        return Some((listener.transport, listener.address, listener.port));
    }
    let proxy = if let Object::Proxy(proxy) = object { Some((proxy.transport, proxy.listen)) } else { None };
    let held =
        if let Object::Reservation(held) = object { Some((held.transport, held.listen)) } else { None };
    let (transport, listen) = proxy.or(held)?;
    Some((transport, Some(listen.ip()), listen.port()))
}

/// Several sockets may have one address and port (SO_REUSEPORT), or one of them all addresses (SO_REUSEADDR): the first
/// stands for them.
fn once(seen: &mut Seen) {
    let mut known: BTreeMap<(NsName, Transport, u16), Vec<Option<IpAddr>>> = BTreeMap::new();
    let mut twice = Vec::new();
    seen.items.retain(|item| {
        let Some((transport, address, port)) = bound(&item.object) else { return true };
        let others = known.entry((item.ns.clone(), transport, port)).or_default();
        let clash = others.iter().any(|other| check::clash(*other, address));
        if clash && !others.contains(&address) {
            let at = address.map_or_else(|| "any address".to_owned(), |address| address.to_string());
            twice.push((item.ns.clone(), format!("port {port}/{transport} of {at}: another socket has it")));
        }
        others.push(address);
        !clash
    });
    twice.into_iter().for_each(|(ns, what)| seen.unknown(&ns, what));
}
