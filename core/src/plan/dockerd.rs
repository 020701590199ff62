//! One Docker Engine: its networks and containers, and what becomes of them as it is told.
//!
//! The state is what history made of it; the objects are a pure function of the state ([`super::objects`]). Whatever
//! changes, the operations are the difference between two such lists, so that teardown is nowhere written by hand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::alloc::Ipam;
use super::command::Command;
use super::container::{Ctr, Endpoint, State};
use super::filter;
use super::firewall::Firewall;
use super::ids::Seed;
use super::names::resolv_conf;
use super::namespaces::Lingering;
use super::network::defaults::with_defaults;
use super::network::docker0::docker0;
use super::network::{self, Net, known};
use super::publish::Ports;
use super::{NsName, PlanOp};
use crate::addr::{Family, IfName, IpNet};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::probe::NsKind;
use crate::rules::{Backend, Ruleset};
use crate::topology::{
    Attachment, Container, ContainerRef, DEFAULT_BRIDGE, Driver, Host, Listener, Network, NodeName,
};

/// One Docker Engine.
#[derive(Debug, Clone)]
pub(super) struct Dockerd {
    /// The machine it runs on, and what it was told.
    pub(super) host: Host,
    /// Who has which address.
    pub(super) ipam: Ipam,
    /// Who has which host port.
    pub(super) ports: Ports,
    /// The rules on the host.
    pub(super) firewall: Firewall,
    /// By key; the default bridge under its own.
    pub(super) networks: BTreeMap<String, Net>,
    /// Keys in the order the networks were made.
    pub(super) made: Vec<String>,
    /// In the order they were first started.
    pub(super) containers: Vec<Ctr>,
    /// Sockets that answer, of its nodes and others.
    listeners: BTreeMap<NodeName, Vec<Listener>>,
    /// Namespaces that outlived their containers.
    pub(super) lingering: Vec<Lingering>,
    /// What changes did beside making objects, since it was last asked for.
    pub(super) effects: Vec<PlanOp>,
}

impl Dockerd {
    /// Starts the Engine, makes its networks, starts its containers, each in order.
    pub(super) fn start(host: &Host, listeners: &[Listener], diagnostics: &mut Diagnostics) -> Self {
        let local = host.machine.interfaces.values().flatten().map(IpNet::addr);
        let mut dockerd = Self {
            host: host.clone(),
            ipam: Ipam::new(&host.daemon.default_address_pools, own_ipv6_pool(host)),
            ports: Ports::new(local),
            firewall: filter::start(host),
            networks: BTreeMap::new(),
            made: Vec::new(),
            containers: Vec::new(),
            listeners: BTreeMap::new(),
            lingering: Vec::new(),
            effects: Vec::new(),
        };
        for (transport, port) in &host.machine.ports_in_use {
            dockerd.ports.occupy(*transport, *port, None);
        }
        for listener in listeners {
            dockerd.listeners.entry(listener.node.clone()).or_default().push(listener.clone());
        }
        dockerd.occupy_ports();
        diagnostics.extend(filter::check_backend(host).err());
        diagnostics.extend(dockerd.create_network(&docker0(&host.daemon)).err());
        for spec in &host.networks {
            let spec = with_defaults(spec, &host.daemon.default_network_opts);
            let spec = spec.and_then(|spec| known(&spec, host.engine));
            diagnostics.extend(spec.and_then(|spec| dockerd.create_network(&spec)).err());
        }
        for spec in &host.containers {
            diagnostics.extend(dockerd.create_container(spec).err());
        }
        for index in 0..dockerd.containers.len() {
            diagnostics.extend(dockerd.start_container(index).err());
        }
        dockerd.effects.clear();
        dockerd
    }

    /// What listens on the machine itself, or in a container in its network namespace, has its port.
    fn occupy_ports(&mut self) {
        let in_host = |c: &&Container| self.owner(NsKind::Network, c) == self.host.name;
        let guests = self.host.containers.iter().filter(in_host).map(|c| &c.node);
        let nodes = guests.chain([&self.host.name]);
        let held: Vec<_> =
            nodes.flat_map(|n| self.listeners(n)).map(|l| (l.transport, l.port, l.address)).collect();
        for (transport, port, address) in held {
            self.ports.occupy(transport, port, address);
        }
    }

    /// The sockets of a node that answer.
    pub(super) fn listeners(&self, node: &NodeName) -> impl Iterator<Item = &Listener> {
        self.listeners.get(node).into_iter().flatten()
    }

    fn create_network(&mut self, spec: &Network) -> Result<(), Diagnostic> {
        if matches!(spec.driver, Driver::Host | Driver::None) {
            return Ok(());
        }
        let reserved = self.reserved();
        let net = network::create(spec, &self.host, &self.networks, &mut self.ipam, &reserved)?;
        for family in Family::ALL {
            let own = net.subnet(family).filter(|_| net.carries_gateway(family)).and_then(|s| s.gateway);
            own.into_iter().for_each(|g| self.ports.add_local(g));
        }
        self.filter_network(&net);
        self.made.push(spec.key.clone());
        self.networks.insert(spec.key.clone(), net);
        Ok(())
    }

    /// What no predefined subnet may overlap: on-link routes and nameservers of the host (since 23.0).
    fn reserved(&self) -> Vec<IpNet> {
        let machine = &self.host.machine;
        let devices = machine.interfaces.iter().filter(|(name, _)| **name != IfName::lo());
        let links = devices.flat_map(|(_, nets)| nets.iter().map(IpNet::trunc));
        let on_link = |r: &&crate::topology::RouteSpec| r.via.is_none() && r.to.prefix_len() > 0;
        let routes = machine.routes.iter().filter(on_link).map(|r| r.to.trunc());
        let servers = resolv_conf::nameservers(&machine.resolv_conf).into_iter().map(IpNet::from);
        links.chain(routes).chain(servers).collect()
    }

    fn create_container(&mut self, spec: &Container) -> Result<(), Diagnostic> {
        let mut ctr = self.new_container(spec, 0);
        let same_name = self.containers.iter().find(|c| c.spec.name == spec.name);
        let checked = match same_name {
            Some(other) => {
                let found = format!(
                    "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to remove \
                     (or rename) that container to be able to reuse that name.",
                    spec.name, other.id
                );
                Err(Diagnostic::new(spec.at.clone(), found).related(other.spec.at.clone(), "the first"))
            }
            None => self.check_options(spec),
        };
        if checked.is_err() {
            ctr.state = State::Refused;
        }
        self.containers.push(ctr);
        checked
    }

    /// A container as it is made, with the ids of those it joins.
    fn new_container(&self, spec: &Container, replaced: u32) -> Ctr {
        let mut ctr = Ctr::new(spec, &self.host.name, replaced);
        let donors = Ctr::joins(spec).into_iter().filter_map(|d| self.find(d));
        ctr.donors = donors.map(|c| (c.node().clone(), c.replaced)).collect();
        ctr
    }

    /// Starts a container, unless it runs.
    pub(super) fn start_container(&mut self, index: usize) -> Result<(), Diagnostic> {
        let Some(mut ctr) = self.containers.get(index).cloned() else { return Ok(()) };
        if ctr.is_running() {
            return Ok(());
        }
        let first = ctr.state == State::Created;
        if ctr.state == State::Refused || (first && self.follows_refused(&ctr.spec)) {
            ctr.state = State::Refused;
            self.set(index, ctr);
            return Ok(());
        }
        let mut attachments = ctr.attachments.clone();
        // The Engine joins them in the random order of a Go map; the names' order is one of those it may take.
        attachments.sort_by_key(|a| self.networks.get(&a.network).map(|n| n.spec.name.clone()));
        let started = self
            .check_donors(&ctr)
            .and_then(|()| self.link(&mut ctr))
            .and_then(|()| attachments.into_iter().try_for_each(|a| self.join(&mut ctr, a)));
        ctr.state = match (&started, first) {
            (Ok(()), _) => State::Running,
            (Err(_), true) => State::Refused,
            (Err(_), false) => State::Exited,
        };
        if started.is_ok() {
            self.enter(&mut ctr);
            self.announce(&ctr, 0);
            self.update_links(&ctr);
        } else {
            self.leave_all(&mut ctr);
        }
        self.set(index, ctr);
        started
    }

    /// Stops a container, and those whose processes live in its PID namespace: the kernel kills them with its init.
    pub(super) fn stop_container(&mut self, index: usize) {
        let Some(mut ctr) = self.containers.get(index).filter(|c| c.is_running()).cloned() else { return };
        self.linger(&ctr);
        let pid = self.own_kinds(&ctr).contains(&NsKind::Pid).then(|| ctr.ns(NsKind::Pid));
        self.leave_all(&mut ctr);
        ctr.state = State::Exited;
        ctr.resolver = false;
        ctr.rules.clear();
        self.set(index, ctr);
        self.vanish();
        for other in 0..self.containers.len() {
            let inside = |c: &Ctr| c.is_running() && Some(c.ns(NsKind::Pid)) == pid;
            if self.containers.get(other).is_some_and(inside) {
                self.stop_container(other);
            }
        }
    }

    /// Removes a container and makes it anew, with another id, as it was written; it is not started.
    pub(super) fn recreate_container(&mut self, index: usize) {
        self.freeze_files(index);
        self.stop_container(index);
        let Some(old) = self.containers.get(index) else { return };
        let ctr = self.new_container(&old.spec, old.replaced.saturating_add(1));
        self.set(index, ctr);
    }

    /// Connects a running or a stopped container to one more network.
    pub(super) fn connect(&mut self, index: usize, attachment: Attachment) -> Result<(), Diagnostic> {
        let Some(mut ctr) = self.containers.get(index).cloned() else { return Ok(()) };
        let mut joined = Ok(());
        if ctr.is_running() {
            let place = ctr.endpoints.len();
            joined = self.join(&mut ctr, attachment.clone());
            match &joined {
                Ok(()) => self.announce(&ctr, place),
                Err(_) => self.leave(&mut ctr, place),
            }
        }
        if joined.is_ok() {
            ctr.attachments.push(attachment);
        }
        self.set(index, ctr);
        joined
    }

    /// A command of iptables is run in a network namespace: the host's, or a container's own.
    pub(super) fn run(&mut self, ns: &NsName, command: &Command) -> Result<(), String> {
        let family = command.family;
        let of = |rules: &[Ruleset]| {
            rules.iter().find(|r| r.family == family && r.backend == Backend::Iptables).cloned()
        };
        if *ns == NsName::from(&self.host.name) {
            let after = command.run(of(&self.firewall.rulesets()).as_ref())?;
            self.firewall.take(&after);
            return Ok(());
        }
        let owner = |c: &&Ctr| self.own_kinds(c).contains(&NsKind::Network) && c.ns(NsKind::Network) == *ns;
        let owner = self.containers.iter().find(owner).map(|c| (c.node().clone(), of(&self.own_rules(c))));
        let Some((node, before)) = owner else {
            return Err(format!("nobody keeps the rules of {ns} any more"));
        };
        let after = command.run(before.as_ref())?;
        let owner = self.containers.iter_mut().find(|c| *c.node() == node);
        owner.into_iter().for_each(|c| replace(&mut c.rules, after.clone()));
        Ok(())
    }

    /// Takes a container off a network.
    pub(super) fn disconnect(&mut self, index: usize, network: &str) {
        let Some(mut ctr) = self.containers.get(index).cloned() else { return };
        if let Some(place) = ctr.endpoints.iter().position(|e| e.attachment.network == network) {
            self.leave(&mut ctr, place);
        }
        ctr.attachments.retain(|a| a.network != network);
        self.set(index, ctr);
    }

    /// The addresses of endpoints from `place` on are announced on their links.
    fn announce(&mut self, ctr: &Ctr, place: usize) {
        let ns = ctr.ns(NsKind::Network);
        let speaks_arp =
            |e: &&Endpoint| self.networks.get(&e.attachment.network).is_some_and(Net::has_neighbours);
        let new = ctr.endpoints.iter().skip(place).filter(speaks_arp);
        for endpoint in new {
            for address in endpoint.addresses.iter().map(IpNet::addr) {
                let (ns, link) = (ns.clone(), endpoint.device.clone());
                self.effects.push(PlanOp::Announce { ns, link, address });
            }
        }
    }

    fn set(&mut self, index: usize, ctr: Ctr) {
        if let Some(slot) = self.containers.get_mut(index) {
            *slot = ctr;
        }
    }

    /// The place of a node's container.
    pub(super) fn index(&self, node: &NodeName) -> Option<usize> {
        self.containers.iter().position(|c| c.node() == node)
    }

    /// The container that is meant.
    pub(super) fn find(&self, container: &ContainerRef) -> Option<&Ctr> {
        self.containers.iter().find(|c| *c.node() == container.node)
    }

    /// The default bridge's addresses: what `host-gateway` stands for.
    pub(super) fn host_gateways(&self) -> Vec<IpAddr> {
        let Host { daemon, engine, .. } = &self.host;
        let mapped = |ip| match ip {
            IpAddr::V4(v4) if engine.maps_host_gateway_ip() => v4.to_ipv6_mapped().into(),
            IpAddr::V4(_) | IpAddr::V6(_) => ip,
        };
        let one = daemon.host_gateway_ip.map(mapped);
        let named: Vec<IpAddr> = one.into_iter().chain(daemon.host_gateway_ips.iter().copied()).collect();
        if !named.is_empty() {
            return named;
        }
        let docker0 = self.networks.get(DEFAULT_BRIDGE);
        let own = Family::ALL.map(|f| docker0.and_then(|n| n.subnet(f)).and_then(|s| s.gateway));
        own.into_iter().flatten().collect()
    }
}

/// Puts rules in the place of those of their family.
pub(super) fn replace(all: &mut Vec<Ruleset>, rules: Ruleset) {
    all.retain(|r| r.family != rules.family);
    all.push(rules);
}

/// The pool that an Engine has by itself: `fd` and 40 bits from the host's id, a /48 (daemon/libnetwork:
/// `deriveULABaseNetwork`).
fn own_ipv6_pool(host: &Host) -> Option<(IpNet, u8)> {
    let [_, a, b, c, d, e] = Seed::of(&["host", host.name.as_str()]).mac().0;
    let pair = |x, y| u16::from_be_bytes([x, y]);
    let base = std::net::Ipv6Addr::new(pair(0xfd, a), pair(b, c), pair(d, e), 0, 0, 0, 0, 0);
    let pool = ipnet::Ipv6Net::new(base, 48).ok()?;
    host.engine.profile.gives_ipv6_subnets().then_some((IpNet::V6(pool), 64))
}
