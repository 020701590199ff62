//! What rtnetlink tells of network namespaces, as objects of a plan.

use std::collections::BTreeMap;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressMessage;

use super::device::{Device, Far, Kind, device};
use super::{Seen, address, neighbour, route, rule};
use crate::addr::IfName;
use crate::linux::net::Told;
use crate::plan::{BridgePort, Link, LinkKind, NsName, Object, Parent, Peer, plugged};

/// The objects of all namespaces, and what no plan could have. Ends of one cable, and devices and their parents, are
/// brought together where both namespaces are among them; what leads elsewhere is `wired`, where that is wanted.
pub(super) fn objects(told: &[(NsName, Told)], wired: bool, seen: &mut Seen) {
    let mut all = BTreeMap::new();
    for (ns, told) in told {
        let mut devices = BTreeMap::new();
        for message in &told.links {
            match device(message) {
                Ok(device) => _ = devices.insert(device.index, device),
                Err(name) => seen.unknown(ns, format!("device '{name}': a plan has no such name")),
            }
        }
        all.insert(ns, Place { devices, others: &told.others });
    }
    for (ns, told) in told {
        let Some(place) = all.get(ns) else { continue };
        for device in place.devices.values() {
            seen.device(ns, device, &all, wired);
        }
        let name = |index: u32| place.devices.get(&index).map(|device| device.name.clone());
        // Of its addresses IPv6 tells the widest first, and of those of a scope the one that came last (ipv6_link_dev_addr).
        let (mut v6, v4): (Vec<_>, Vec<_>) =
            told.addresses.iter().partition(|message| message.header.family == AddressFamily::Inet6);
        v6.reverse();
        v6.sort_by_key(|message| u8::from(message.header.scope));
        let addresses: Vec<&AddressMessage> = v4.into_iter().chain(v6).collect();
        seen.each(ns, &addresses, |message| address::object(message, name));
        seen.each(ns, &told.routes, |message| route::object(message, name));
        seen.each(ns, &told.rules, rule::object);
        seen.each(ns, &told.neighbours, |message| neighbour::object(message, name));
    }
}

/// The devices of a namespace, and the others it knows.
struct Place<'a> {
    devices: BTreeMap<u32, Device>,
    others: &'a BTreeMap<i32, NsName>,
}

impl Seen {
    /// Each message is an object, or nothing that matters, or something that a plan has no word for.
    fn each<M>(&mut self, ns: &NsName, messages: &[M], read: impl Fn(&M) -> Result<Option<Object>, String>) {
        for message in messages {
            match read(message) {
                Ok(object) => object.into_iter().for_each(|object| self.item(ns, object)),
                Err(what) => self.unknown(ns, what),
            }
        }
    }

    fn device(&mut self, ns: &NsName, device: &Device, all: &BTreeMap<&NsName, Place<'_>>, wired: bool) {
        match link(ns, device, all) {
            Ok(link) => link.into_iter().for_each(|link| self.item(ns, Object::Link(link))),
            Err(why) if wired => {
                if !device.kind.is_cable() {
                    let taken = "it is taken for a cable to a switch of its own";
                    self.unknown(ns, format!("device {}: {why}; {taken}", device.name));
                }
                let kind = LinkKind::Veth(plugged(ns, &device.name));
                let master = master(ns, device, all).unwrap_or(None);
                let Device { name, mac, mtu, .. } = device.clone();
                self.item(ns, Object::Link(Link { name, kind, mac, mtu, master }));
            }
            Err(why) => self.unknown(ns, format!("device {}: {why}", device.name)),
        }
        // A port with both settings off is as it was born.
        if let Some((hairpin, isolated)) = device.port.filter(|(hairpin, isolated)| *hairpin || *isolated) {
            let port = BridgePort { link: device.name.clone(), hairpin, isolated };
            self.item(ns, Object::BridgePort(port));
        }
        if device.up {
            self.item(ns, Object::Up(device.name.clone()));
        }
    }
}

/// A device as a plan has it; none of `lo`, and of the end of a cable that is told with the other end: that of the
/// namespace and the name that come first.
fn link(ns: &NsName, device: &Device, all: &BTreeMap<&NsName, Place<'_>>) -> Result<Option<Link>, String> {
    let kind = match &device.kind {
        Kind::Loopback => return Ok(None),
        Kind::Other(kind) => return Err(format!("a plan has no device of kind {kind}")),
        Kind::Bridge => LinkKind::Bridge,
        Kind::Dummy => LinkKind::Dummy,
        Kind::Veth => {
            let (there, end) = far(ns, device, all)?;
            if (there, &end.name) < (ns, &device.name) {
                return Ok(None);
            }
            let master = master(there, end, all)?;
            LinkKind::Veth(Peer {
                ns: there.clone(),
                name: end.name.clone(),
                mac: end.mac,
                mtu: end.mtu,
                master,
            })
        }
        Kind::Macvlan(mode) => LinkKind::Macvlan { parent: parent(ns, device, all)?, mode: *mode },
        Kind::Ipvlan(mode, flag) => {
            LinkKind::Ipvlan { parent: parent(ns, device, all)?, mode: *mode, flag: *flag }
        }
        Kind::Vlan(id) => match far(ns, device, all)? {
            (there, parent) if there == ns => LinkKind::Vlan { parent: parent.name.clone(), id: *id },
            (there, _) => return Err(format!("its parent is in another namespace, {there}")),
        },
    };
    let master = master(ns, device, all)?;
    Ok(Some(Link { name: device.name.clone(), kind, mac: device.mac, mtu: device.mtu, master }))
}

fn master(
    ns: &NsName,
    device: &Device,
    all: &BTreeMap<&NsName, Place<'_>>,
) -> Result<Option<IfName>, String> {
    let Some(index) = device.master else { return Ok(None) };
    let master = all.get(ns).and_then(|place| place.devices.get(&index));
    match master {
        Some(master) if master.kind == Kind::Bridge => Ok(Some(master.name.clone())),
        Some(master) => Err(format!("it belongs to {}, which is no bridge", master.name)),
        None => Err("it belongs to a device that was not there".to_owned()),
    }
}

fn parent(ns: &NsName, device: &Device, all: &BTreeMap<&NsName, Place<'_>>) -> Result<Parent, String> {
    let (there, parent) = far(ns, device, all)?;
    Ok(Parent { ns: there.clone(), name: parent.name.clone() })
}

/// Where a device's other end or parent is, and that device.
fn far<'a>(
    ns: &'a NsName,
    device: &Device,
    all: &'a BTreeMap<&NsName, Place<'_>>,
) -> Result<(&'a NsName, &'a Device), String> {
    let unseen = || "its other end or its parent is in a namespace that is not looked at".to_owned();
    let Far { ns: number, index } = device.far.ok_or_else(unseen)?;
    let place = all.get(ns).ok_or_else(unseen)?;
    let there = match number {
        Some(number) => place.others.get(&number).ok_or_else(unseen)?,
        None => ns,
    };
    let device = all.get(there).and_then(|place| place.devices.get(&index)).ok_or_else(unseen)?;
    Ok((there, device))
}
