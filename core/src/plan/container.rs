//! A container: what the user wrote, and what it holds while it runs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::ids::{Seed, short};
use super::publish::Binding;
use super::{File, NsName};
use crate::addr::{Family, IfName, IpNet, MacAddr};
use crate::probe::NsKind;
use crate::rules::Ruleset;
use crate::topology::{Attachment, Container, ContainerRef, IpcMode, NetworkMode, NodeName, PidMode};

mod check;
mod remapped;

pub(super) use remapped::last_donor;

/// A container and what it holds while it runs.
#[derive(Debug, Clone)]
pub(super) struct Ctr {
    /// What the user wrote.
    pub(super) spec: Container,
    /// 64 hexadecimal digits.
    pub(super) id: String,
    /// How often it was made anew: another id each time.
    pub(super) replaced: u32,
    /// Where it stands.
    pub(super) state: State,
    /// The namespaces it runs in; those of its last run while it is stopped.
    pub(super) namespaces: BTreeMap<NsKind, NsName>,
    /// The containers it was made to join, and how often each had been made anew by then.
    pub(super) donors: BTreeMap<NodeName, u32>,
    /// Rules that were written by hand in its own network namespace.
    pub(super) rules: Vec<Ruleset>,
    /// The files it shared with a container that was removed: they stay as they were then.
    pub(super) files: Option<Vec<File>>,
    /// The networks it joins when it starts; live connections come and go here.
    pub(super) attachments: Vec<Attachment>,
    /// Its endpoints, in the order they were joined; none while it is stopped.
    pub(super) endpoints: Vec<Endpoint>,
    /// Addresses of linked containers on the default bridge, as its hosts file has them, by place in `links`.
    pub(super) linked: BTreeMap<usize, Vec<IpAddr>>,
    /// Whether the resolver on 127.0.0.11 was started; it stays until the container stops.
    pub(super) resolver: bool,
    /// How often it joined a network: a new cable, and new hardware addresses, each time.
    joined: BTreeMap<String, u32>,
}

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Made, not started yet.
    Created,
    /// Runs.
    Running,
    /// Ran once.
    Exited,
    /// Docker would not start it.
    Refused,
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
    /// What the network does for it as a gateway.
    pub(super) mode: Mode,
    /// Ports published by way of this network, in the order they were bound.
    pub(super) bindings: Vec<Binding>,
}

/// What a network does for an endpoint (daemon/libnetwork/drivers/bridge: `portBindingMode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mode {
    /// Publishes routed ports.
    pub(super) routed: bool,
    /// Publishes on the host's IPv4 addresses.
    pub(super) v4: bool,
    /// Publishes on the host's IPv6 addresses.
    pub(super) v6: bool,
}

impl Endpoint {
    /// Its address of a family.
    pub(super) fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().map(IpNet::addr).find(|a| Family::of(*a) == family)
    }
}

impl Ctr {
    /// What its settings say of IPv6 on all its devices, where they say something.
    pub(super) fn wants_ipv6(&self) -> Option<bool> {
        self.spec.sysctls.get("net.ipv6.conf.all.disable_ipv6").map(|value| value == "0")
    }

    /// A container that is made and not started.
    pub(super) fn new(spec: &Container, host: &NodeName, replaced: u32) -> Self {
        let mut attachments = match &spec.network {
            NetworkMode::DefaultBridge(attachment) => vec![(**attachment).clone()],
            NetworkMode::Networks(attachments) => attachments.clone(),
            NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => Vec::new(),
        };
        // Compose gives the service's hardware address to the first network by name.
        if let Some(first) = attachments.iter_mut().min_by(|a, b| a.network.cmp(&b.network)) {
            first.mac_address = first.mac_address.or(spec.mac_address);
        }
        let id = Seed::of(&["container", host.as_str(), &spec.name, &replaced.to_string()]).id();
        Self {
            spec: spec.clone(),
            id,
            replaced,
            state: State::Created,
            namespaces: BTreeMap::new(),
            donors: BTreeMap::new(),
            rules: Vec::new(),
            files: None,
            attachments,
            endpoints: Vec::new(),
            linked: BTreeMap::new(),
            resolver: false,
            joined: BTreeMap::new(),
        }
    }

    /// The node's name.
    pub(super) const fn node(&self) -> &NodeName {
        &self.spec.node
    }

    /// The namespace of a kind that it runs in.
    pub(super) fn ns(&self, kind: NsKind) -> NsName {
        self.namespaces.get(&kind).cloned().unwrap_or_else(|| NsName::from(&self.spec.node))
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// What its own hostname would be: as written, or its short id.
    pub(super) fn hostname(&self) -> String {
        self.spec.hostname.clone().unwrap_or_else(|| short(&self.id))
    }

    /// The endpoint on a network.
    pub(super) fn endpoint(&self, network: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.attachment.network == network)
    }

    /// The containers whose namespaces it is to join.
    pub(super) fn joins(spec: &Container) -> Vec<&ContainerRef> {
        let network = match &spec.network {
            NetworkMode::Container(donor) => Some(donor),
            NetworkMode::DefaultBridge(_)
            | NetworkMode::Networks(_)
            | NetworkMode::Host
            | NetworkMode::None => None,
        };
        let ipc = match &spec.ipc {
            Some(IpcMode::Container(donor)) => Some(donor),
            Some(IpcMode::None | IpcMode::Private | IpcMode::Shareable | IpcMode::Host) | None => None,
        };
        let pid = match &spec.pid {
            PidMode::Container(donor) => Some(donor),
            PidMode::Private | PidMode::Host => None,
        };
        [network, ipc, pid].into_iter().flatten().collect()
    }

    /// A seed for what is random at each join of a network.
    pub(super) fn next_join(&mut self, network: &str) -> String {
        let joined = self.joined.entry(network.to_owned()).or_default();
        *joined += 1;
        format!("{} {network} {joined}", self.id)
    }
}
