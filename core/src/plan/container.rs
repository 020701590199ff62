//! A container: its endpoints while it runs, and the objects they come to.

use std::net::IpAddr;

use super::network::Net;
use super::publish::Binding;
use super::wire::{address, item, sysctl, sysctl_device};
use super::{Item, Object, Route};
use crate::addr::{Family, IfName, IpNet, MacAddr};
use crate::topology::{Attachment, Container, NodeName};

/// A container and what it holds while it runs.
#[derive(Debug, Clone)]
pub(super) struct Ctr {
    /// What the user wrote.
    pub(super) spec: Container,
    /// 64 hexadecimal digits.
    pub(super) id: String,
    /// Whether it runs.
    pub(super) running: bool,
    /// Its endpoints, in the order they were joined; none while it is stopped.
    pub(super) endpoints: Vec<Endpoint>,
    /// Its published ports, in the order they were bound.
    pub(super) bindings: Vec<Binding>,
}

/// One container on one network.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// What the user wrote.
    pub(super) attachment: Attachment,
    /// The device in the container.
    pub(super) device: IfName,
    /// Its hardware address.
    pub(super) mac: MacAddr,
    /// The other end of the cable, on the host.
    pub(super) veth: IfName,
    /// That end's hardware address.
    pub(super) veth_mac: MacAddr,
    /// Its addresses with their prefix length, IPv4 first.
    pub(super) addresses: Vec<IpNet>,
}

impl Endpoint {
    /// Its address of a family.
    pub(super) fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().map(IpNet::addr).find(|a| Family::of(*a) == family)
    }
}

impl Ctr {
    /// The node's name.
    pub(super) fn node(&self) -> &NodeName {
        &self.spec.node
    }

    /// What `hostname` prints in it, unless it shares another's.
    pub(super) fn hostname(&self) -> String {
        self.spec.hostname.clone().unwrap_or_else(|| super::ids::short(&self.id))
    }
}

/// What an endpoint comes to inside the container's network namespace.
pub(super) fn endpoint_items(netns: &str, endpoint: &Endpoint) -> Vec<Item> {
    let device = &endpoint.device;
    let mut items = Vec::new();
    if endpoint.address(Family::V6).is_none() {
        let key = format!("net.ipv6.conf.{}.disable_ipv6", sysctl_device(device));
        items.push(sysctl(netns, key, "1"));
    }
    items.extend(endpoint.addresses.iter().map(|net| item(netns, Object::Address(address(device, *net)))));
    items.push(item(netns, Object::Up(device.clone())));
    items
}

/// The default route of a family by way of an endpoint's network.
pub(super) fn default_route(netns: &str, net: &Net, endpoint: &Endpoint, family: Family) -> Option<Item> {
    let to = match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
        Family::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
    };
    let via = net.subnet(family)?.gateway?;
    let route = Route {
        to,
        via: Some(via),
        dev: Some(endpoint.device.clone()),
        table: None,
        metric: None,
        source: None,
    };
    Some(item(netns, Object::Route(route)))
}
