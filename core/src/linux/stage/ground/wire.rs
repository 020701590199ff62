//! What the stage knows of devices without asking the kernel: whose they are, and what they are plugged into.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Ground;
use crate::addr::{IfName, MacAddr};
use crate::linux::Error;
use crate::plan::check::label;
use crate::plan::{Item, Link, LinkKind, NsName, Object, Peer};
use crate::topology::NodeName;

/// How long the kernel may take for an address, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(1);

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
        links.into_iter().try_for_each(|item| net.remove(&item.object))
    }

    /// Waits until what stands carries packets: the kernel finishes devices and addresses of IPv6 when it has time.
    pub(super) async fn settle(&self) -> Result<(), Error> {
        for Item { ns, object } in &self.standing {
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

    /// The cables that lead to a switch elsewhere.
    fn plugged(&self) -> impl Iterator<Item = (&NsName, &Link, &Peer)> {
        self.standing.iter().filter_map(|item| {
            let Object::Link(link) = &item.object else { return None };
            let LinkKind::Veth(peer) = &link.kind else { return None };
            peer.master.is_some().then_some((&item.ns, link, peer))
        })
    }

    fn has(&self, ns: &NsName, device: &IfName, target: IpAddr) -> bool {
        self.standing.iter().any(|item| {
            item.ns == *ns
                && matches!(&item.object, Object::Address(a) if a.link == *device && a.net.addr() == target)
        })
    }
}
