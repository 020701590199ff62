//! Parents of macvlan and ipvlan networks: a device of the host, a VLAN of one, or a dummy where none is named.

use std::collections::BTreeSet;

use super::network::Net;
use super::wire::item;
use super::{Item, Link, LinkKind, NsName, Object, Parent};
use crate::addr::IfName;
use crate::topology::{Driver, Host, IpvlanFlag};

/// The parents that stand: those of the host, and those Docker made, each once.
#[derive(Debug)]
pub(super) struct Parents<'a> {
    host: &'a Host,
    standing: BTreeSet<&'a IfName>,
}

impl<'a> Parents<'a> {
    /// The host's own devices.
    pub(super) fn new(host: &'a Host) -> Self {
        Self { host, standing: host.machine.interfaces.keys().collect() }
    }

    /// The parent of a network, up, unless it stands already.
    pub(super) fn items(&mut self, net: &'a Net) -> Vec<Item> {
        let named = match &net.spec.driver {
            Driver::Macvlan(o) => o.parent.is_some(),
            Driver::Ipvlan(o) => o.parent.is_some(),
            Driver::Bridge(_) | Driver::Host | Driver::None => return Vec::new(),
        };
        let name = &net.device;
        if !self.standing.insert(name) {
            return Vec::new();
        }
        let vlan = name.as_str().split_once('.').and_then(|(master, id)| {
            Some(LinkKind::Vlan { parent: master.parse().ok()?, id: id.parse().ok()? })
        });
        let kind = vlan.filter(|_| named).unwrap_or(LinkKind::Dummy);
        let host = self.host.name.as_str();
        let link = Link { name: name.clone(), kind, mac: None, mtu: None, master: None };
        vec![item(host, Object::Link(link)), item(host, Object::Up(name.clone()))]
    }
}

/// What a container's device on such a network is.
pub(super) fn link_kind(host: &Host, net: &Net) -> Option<LinkKind> {
    let parent = Parent { ns: NsName::from(&host.name), name: net.device.clone() };
    // 20.10.24 takes any `ipvlan_flag`, and reads past it.
    let has_flags = host.engine.is_at_least(23, 0);
    match &net.spec.driver {
        Driver::Macvlan(o) => Some(LinkKind::Macvlan { parent, mode: o.mode }),
        Driver::Ipvlan(o) => {
            let flag = if has_flags { o.flag } else { IpvlanFlag::Bridge };
            Some(LinkKind::Ipvlan { parent, mode: o.mode, flag })
        }
        Driver::Bridge(_) | Driver::Host | Driver::None => None,
    }
}
