//! A network namespace's protocols: addresses, routes, neighbours, hooks and sockets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::addr::{Family, IfName, IpNet};
use seatrial_core::plan::NsName;
use seatrial_core::rules::Ruleset;

use crate::arena::{DevId, NodeId};
use crate::netfilter::Netfilter;

pub(crate) mod address;
pub(crate) mod fib;
pub(crate) mod forward;
pub(crate) mod hook;
pub(crate) mod icmp;
pub(crate) mod input;
pub(crate) mod limit;
pub(crate) mod neighbour;
pub(crate) mod output;
pub(crate) mod route;
pub(crate) mod socket;
pub(crate) mod sockets;
pub(crate) mod sysctl;
pub(crate) mod tcp;
#[cfg(test)]
mod tests;
pub(crate) mod udp;

use address::Inet;
use fib::Fib;
use limit::Bucket;
use neighbour::Neighbour;

use sockets::Sockets;
use sysctl::{Conf, Settings};

/// A network namespace.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    pub(crate) name: NsName,
    /// Whether it still exists.
    pub(crate) alive: bool,
    /// Its `lo`.
    pub(crate) loopback: DevId,
    /// Its devices by name.
    pub(crate) links: BTreeMap<IfName, DevId>,
    /// Addresses and settings of each device, oldest device first.
    pub(crate) inet: BTreeMap<DevId, Inet>,
    pub(crate) fib: Fib,
    pub(crate) settings: Settings,
    pub(crate) neighbours: IndexMap<(DevId, IpAddr), Neighbour, FxBuildHasher>,
    pub(crate) sockets: Sockets,
    /// The rules as planned: by family and by the tool that wrote them.
    pub(crate) rulesets: Vec<Arc<Ruleset>>,
    /// The rules as they run; none where there never were any.
    pub(crate) netfilter: Option<Netfilter>,
    /// Who was told of errors here, and how often.
    pub(crate) told: BTreeMap<IpAddr, Bucket>,
    /// Who answers an echo here.
    pub(crate) node: Option<NodeId>,
}

impl Stack {
    /// A namespace with `lo`, down.
    pub(crate) fn new(name: NsName, loopback: DevId) -> Self {
        let mut stack = Self {
            name,
            alive: true,
            loopback,
            links: BTreeMap::new(),
            inet: BTreeMap::new(),
            fib: Fib::default(),
            settings: Settings::default(),
            neighbours: IndexMap::default(),
            sockets: Sockets::default(),
            rulesets: Vec::new(),
            netfilter: None,
            told: BTreeMap::new(),
            node: None,
        };
        stack.adopt(IfName::lo(), loopback);
        stack
    }

    /// Takes in a device, with the settings new devices get.
    pub(crate) fn adopt(&mut self, name: IfName, dev: DevId) {
        self.links.insert(name, dev);
        self.inet.insert(dev, Inet { addresses: Vec::new(), conf: self.settings.default, routed: false });
    }

    /// Forgets a device, and all that was on it.
    pub(crate) fn abandon(&mut self, dev: DevId) {
        self.links.retain(|_, d| *d != dev);
        self.inet.remove(&dev);
        self.neighbours.retain(|(d, _), _| *d != dev);
        self.fib.forget_device(dev);
    }

    /// Every address of a device.
    pub(crate) fn addresses_of(&self, dev: DevId) -> impl Iterator<Item = IpNet> {
        self.inet.get(&dev).into_iter().flat_map(|inet| inet.addresses.iter().map(|a| a.net))
    }

    /// What a device is set to; nothing for one that is gone.
    pub(crate) fn conf(&self, dev: DevId) -> &Conf {
        self.inet.get(&dev).map_or(&self.settings.default, |inet| &inet.conf)
    }

    /// Whether br_netfilter calls this namespace's rules for bridged packets.
    pub(crate) fn calls_rules(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.settings.bridge_calls_iptables,
            Family::V6 => self.settings.bridge_calls_ip6tables,
        }
    }
}
