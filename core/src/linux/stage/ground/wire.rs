//! What the stage knows of devices without asking the kernel: whose they are, and what they are plugged into.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::{sleep, timeout};

use super::Ground;
use crate::addr::{IfName, MacAddr};
use crate::linux::Error;
use crate::plan::check::label;
use crate::plan::{Address, Item, Link, LinkKind, NsName, Object, Peer, PlanOp};
use crate::topology::NodeName;

/// How long the kernel may take for an address, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(1);

/// A device, in its namespace.
type End<'a> = (&'a NsName, &'a IfName);

impl Ground {
    /// Notes an object that stands from now on.
    pub(super) fn note(&mut self, ns: &NsName, object: &Object) {
        if matches!(object, Object::Link(_) | Object::Address(_)) {
            self.standing.push(Item { ns: ns.clone(), object: object.clone() });
        }
    }

    /// Forgets an object, and what goes with it.
    pub(super) fn forget(&mut self, ns: &NsName, object: &Object) {
        let device = |name: &IfName| matches!(object, Object::Link(link) if link.name == *name);
        self.standing.retain(|item| {
            let goes = matches!(&item.object, Object::Address(address) if device(&address.link));
            item.ns != *ns || !(goes || item.object == *object)
        });
    }

    /// Takes the devices of a namespace away. The kernel takes its time with those of one that is given up, and their
    /// names and hardware addresses are to be free at once.
    pub(super) fn clear(&mut self, ns: &NsName) -> Result<(), Error> {
        let (gone, rest): (Vec<Item>, Vec<Item>) =
            std::mem::take(&mut self.standing).into_iter().partition(|item| item.ns == *ns);
        self.standing = rest;
        let Some(net) = self.nets.get(ns) else { return Ok(()) };
        let links = gone.iter().rev().filter(|item| matches!(item.object, Object::Link(_)));
        // A cable goes with the namespace at its other end, when the kernel gets to that: it may be gone by now.
        let gone = |error: &Error| error.errno == Some(Errno::ENODEV as i32);
        links.into_iter().try_for_each(|item| match net.remove(&item.object) {
            Err(error) if gone(&error) => Ok(()),
            done => done,
        })
    }

    /// Waits until what operations touched carries packets: the kernel finishes devices and addresses of IPv6 when it
    /// has time. What stood before has been waited for.
    pub(super) async fn settle(&self, operations: &[PlanOp]) -> Result<(), Error> {
        let touched: BTreeSet<_> = operations.iter().filter_map(touched).collect();
        let is_touched = |item: &&Item| ends(item).iter().any(|end| touched.contains(end));
        let first = self.standing.iter().filter(is_touched);
        // A bridge runs when one of its ports does.
        let bridges: BTreeSet<_> = first.clone().filter_map(bridge).collect();
        let then = self.standing.iter().filter(
            |item| matches!(&item.object, Object::Link(link) if bridges.contains(&(&item.ns, &link.name))),
        );
        for Item { ns, object } in first.chain(then) {
            let settled = async {
                while !self.carries(ns, object)? {
                    sleep(TICK).await;
                }
                Ok(())
            };
            let late = |_| {
                let seconds = PATIENCE.as_secs();
                Error::words(
                    "use",
                    format!("{} in {ns}", label(object)),
                    format!("not ready after {seconds} s"),
                )
            };
            timeout(PATIENCE, settled).await.map_err(late)??;
        }
        Ok(())
    }

    fn carries(&self, ns: &NsName, object: &Object) -> Result<bool, Error> {
        let net = self.net(ns)?;
        if let Object::Address(address) = object {
            // Another may still be asked for: whether it is somebody else's is seen in its time.
            return Ok(!address.nodad || net.takes(address)?);
        }
        let Object::Link(link) = object else { return Ok(true) };
        let peer = match &link.kind {
            LinkKind::Veth(peer) => self.nets.get(&peer.ns).map_or(Ok(true), |net| net.runs(&peer.name))?,
            LinkKind::Bridge | LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. } => true,
            LinkKind::Vlan { .. } | LinkKind::Dummy => true,
        };
        Ok(peer && net.runs(&link.name)?)
    }

    /// Whom a crafted frame for an address is sent to: the machine on the same wire that has it, and else the Docker
    /// host, who may be talked into passing it on.
    pub(super) fn via(&self, ns: &NsName, target: IpAddr) -> Option<MacAddr> {
        let (_, _, wire) = self.plugged().find(|(of, ..)| *of == ns)?;
        let others: Vec<(&NsName, &Link)> = self
            .plugged()
            .filter(|(of, _, peer)| *of != ns && peer.ns == wire.ns && peer.master == wire.master)
            .map(|(of, link, _)| (of, link))
            .collect();
        let has = |(of, link): &&(&NsName, &Link)| self.has(of, &link.name, target);
        let host = |(of, _): &&(&NsName, &Link)| of.as_str() == NodeName::host().as_str();
        let to = others.iter().find(has).or_else(|| others.iter().find(host)).or_else(|| others.first())?;
        to.1.mac
    }

    /// Whether a cable leads to another stage.
    pub(super) fn leads_out(&self, link: &Link) -> bool {
        let LinkKind::Veth(peer) = &link.kind else { return false };
        self.beyond.is_some() && !self.nets.contains_key(&peer.ns)
    }

    /// Devices and addresses, those of other stages behind this one's.
    fn all(&self) -> impl Iterator<Item = &Item> {
        self.standing.iter().chain(self.beyond.iter().flatten())
    }

    /// The cables that lead to a switch elsewhere.
    fn plugged(&self) -> impl Iterator<Item = (&NsName, &Link, &Peer)> {
        self.all().filter_map(|item| {
            let Object::Link(link) = &item.object else { return None };
            let LinkKind::Veth(peer) = &link.kind else { return None };
            peer.master.is_some().then_some((&item.ns, link, peer))
        })
    }

    fn has(&self, ns: &NsName, device: &IfName, target: IpAddr) -> bool {
        self.all().any(|item| {
            item.ns == *ns
                && matches!(&item.object, Object::Address(a) if a.link == *device && a.net.addr() == target)
        })
    }
}

/// The device that an operation makes, sets up or gives an address.
const fn touched(operation: &PlanOp) -> Option<End<'_>> {
    let PlanOp::Add(Item { ns, object }) = operation else { return None };
    match object {
        Object::Link(link) => Some((ns, &link.name)),
        Object::Address(address) => Some((ns, &address.link)),
        Object::Up(link) => Some((ns, link)),
        Object::BridgePort(_) | Object::Route(_) | Object::PolicyRule(_) | Object::Neighbour(_) => None,
        Object::Namespace(_) | Object::Sysctl(_) | Object::Rules(_) | Object::Script(_) => None,
        Object::File(_) => None,
        Object::Process(_) | Object::Proxy(_) | Object::Reservation(_) => None,
        Object::Resolver(_) | Object::Listener(_) => None,
    }
}

/// The bridge that a veth leads to.
fn bridge(item: &Item) -> Option<End<'_>> {
    let Object::Link(Link { kind: LinkKind::Veth(peer), .. }) = &item.object else { return None };
    Some((&peer.ns, peer.master.as_ref()?))
}

/// The devices that a link or an address is of: a veth is two.
fn ends(item: &Item) -> Vec<End<'_>> {
    let mut ends = Vec::new();
    if let Object::Link(Link { kind: LinkKind::Veth(peer), .. }) = &item.object {
        ends.push((&peer.ns, &peer.name));
    }
    if let Object::Link(Link { name, .. }) | Object::Address(Address { link: name, .. }) = &item.object {
        ends.push((&item.ns, name));
    }
    ends
}
