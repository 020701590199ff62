//! One Docker Engine: what it holds, and what holding it comes to.
//!
//! The state is what history made of it; the objects are a pure function of the state. Whatever changes, the
//! operations are the difference between two such lists, so that teardown is nowhere written by hand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::alloc::Ipam;
use super::bridge;
use super::container::{self, Ctr, Endpoint};
use super::ids::Seed;
use super::names::{self, resolv_conf};
use super::namespaces;
use super::network::{self, DEFAULT_BRIDGE, Net};
use super::publish::{Ports, Target};
use super::wire::{item, sysctl};
use super::{File, Item, Object, Proxy, Reservation, Resolver};
use crate::addr::{Family, IfName, IpNet};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::probe::NsKind;
use crate::topology::{
    Attachment, BridgeOptions, Container, Driver, ExtraHostTarget, Host, Listener, Network, NetworkMode,
    NodeName, Pool,
};

/// One Docker Engine.
#[derive(Debug, Clone)]
pub(super) struct Dockerd {
    pub(super) host: Host,
    ipam: Ipam,
    ports: Ports,
    /// By key; the default bridge under its own.
    networks: BTreeMap<String, Net>,
    /// Keys in the order the networks were made.
    made: Vec<String>,
    pub(super) containers: Vec<Ctr>,
}

impl Dockerd {
    /// Starts the Engine, makes its networks, starts its containers, each in order.
    pub(super) fn start(host: &Host, listeners: &[Listener], diagnostics: &mut Diagnostics) -> Self {
        let ula = IpNet::V6(ula(host));
        let local = host.machine.interfaces.values().flatten().map(IpNet::addr);
        let mut dockerd = Self {
            host: host.clone(),
            ipam: Ipam::new(&host.daemon.default_address_pools, (ula, 64)),
            ports: Ports::new(local),
            networks: BTreeMap::new(),
            made: Vec::new(),
            containers: Vec::new(),
        };
        for (transport, port) in &host.machine.ports_in_use {
            dockerd.ports.occupy(*transport, *port, None);
        }
        for l in listeners.iter().filter(|l| l.node == host.name) {
            dockerd.ports.occupy(l.transport, l.port, l.address);
        }
        for spec in std::iter::once(&default_bridge(host)).chain(&host.networks) {
            diagnostics.extend(dockerd.create_network(spec).err());
        }
        dockerd.containers = host.containers.iter().map(|c| created(host, c)).collect();
        for index in 0..dockerd.containers.len() {
            diagnostics.extend(dockerd.start_container(index).err());
        }
        dockerd
    }

    fn create_network(&mut self, spec: &Network) -> Result<(), Diagnostic> {
        if matches!(spec.driver, Driver::Host | Driver::None) {
            return Ok(());
        }
        let reserved = self.reserved();
        let net = network::create(spec, self.host.name.as_str(), &mut self.ipam, &reserved)?;
        for family in Family::ALL {
            net.subnet(family).and_then(|s| s.gateway).into_iter().for_each(|g| self.ports.add_local(g));
        }
        self.networks.insert(spec.key.clone(), net);
        self.made.push(spec.key.clone());
        Ok(())
    }

    /// What no predefined subnet may overlap: on-link routes and nameservers of the host (23.0).
    fn reserved(&self) -> Vec<IpNet> {
        let machine = &self.host.machine;
        let devices = machine.interfaces.iter().filter(|(name, _)| **name != IfName::lo());
        let links = devices.flat_map(|(_, nets)| nets.iter().map(IpNet::trunc));
        let routes =
            machine.routes.iter().filter(|r| r.via.is_none() && r.to.prefix_len() > 0).map(|r| r.to.trunc());
        let servers = resolv_conf::nameservers(&machine.resolv_conf).into_iter().map(IpNet::from);
        links.chain(routes).chain(servers).collect()
    }

    /// Starts a container that does not run.
    pub(super) fn start_container(&mut self, index: usize) -> Result<(), Diagnostic> {
        let Some(ctr) = self.containers.get(index).cloned() else { return Ok(()) };
        let mut ctr = Ctr { running: true, ..ctr };
        let joined = self.join_all(&mut ctr);
        let bound = joined.and_then(|()| self.publish(&mut ctr));
        match bound {
            Ok(()) => {
                if let Some(slot) = self.containers.get_mut(index) {
                    *slot = ctr;
                }
                Ok(())
            }
            Err(diagnostic) => {
                self.leave_all(&mut ctr);
                Err(diagnostic)
            }
        }
    }

    fn join_all(&mut self, ctr: &mut Ctr) -> Result<(), Diagnostic> {
        let mut attachments: Vec<Attachment> = match &ctr.spec.network {
            NetworkMode::DefaultBridge(attachment) => vec![(**attachment).clone()],
            NetworkMode::Networks(attachments) => attachments.clone(),
            NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => Vec::new(),
        };
        // The Engine joins them in the random order of a Go map; the names' order is one of those it may take.
        attachments.sort_by_key(|a| self.networks.get(&a.network).map(|n| n.spec.name.clone()));
        attachments.into_iter().try_for_each(|attachment| self.join(ctr, attachment))
    }

    /// Takes addresses on one network. A network that could not be made was reported already.
    fn join(&mut self, ctr: &mut Ctr, attachment: Attachment) -> Result<(), Diagnostic> {
        let Some(net) = self.networks.get(&attachment.network) else { return Ok(()) };
        let refuse = |why: String| {
            let found = format!("failed to set up container networking: {why}");
            Diagnostic::new(attachment.at.clone(), found)
        };
        let mut addresses = Vec::new();
        for (family, wanted) in [(Family::V4, attachment.ipv4_address), (Family::V6, attachment.ipv6_address)]
        {
            let Some(subnet) = net.subnet(family) else { continue };
            match self.ipam.request_address(subnet.pool, wanted) {
                Ok(Some(address)) => addresses.extend(subnet.with_prefix(address)),
                Ok(None) => return Err(refuse(no_address(family, net))),
                Err(error) => return Err(refuse(error.to_string())),
            }
        }
        let prefix = match &net.spec.driver {
            Driver::Bridge(o) => o.iface_prefix.as_deref().unwrap_or("eth"),
            Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None => "eth",
        };
        let seed = |what: &str| Seed::of(&[what, &net.id, &ctr.id]);
        let mac = attachment.mac_address.or(ctr.spec.mac_address).unwrap_or_else(|| seed("mac").mac());
        let endpoint = Endpoint {
            device: device(&attachment, prefix, &ctr.endpoints),
            mac,
            veth: seed("veth").if_name("veth", 7),
            veth_mac: seed("veth").mac(),
            addresses,
            attachment,
        };
        ctr.endpoints.push(endpoint);
        Ok(())
    }

    fn leave_all(&mut self, ctr: &mut Ctr) {
        self.ports.release(&ctr.bindings);
        for endpoint in &ctr.endpoints {
            let Some(net) = self.networks.get(&endpoint.attachment.network) else { continue };
            for address in endpoint.addresses.iter().map(IpNet::addr) {
                if let Some(subnet) = net.subnet(Family::of(address)) {
                    self.ipam.release_address(subnet.pool, address);
                }
            }
        }
        ctr.endpoints.clear();
        ctr.bindings.clear();
    }

    /// Binds host ports on the network that is the container's gateway.
    fn publish(&mut self, ctr: &mut Ctr) -> Result<(), Diagnostic> {
        let Some((endpoint, net)) = self.gateway(ctr, Family::V4) else { return Ok(()) };
        let Driver::Bridge(options) = &net.spec.driver else { return Ok(()) };
        let proxied = self.host.daemon.userland_proxy.then(|| endpoint.address(Family::V4)).flatten();
        let target = Target {
            v4: endpoint.address(Family::V4),
            v6: endpoint.address(Family::V6).or(proxied),
            routed_v4: false,
            routed_v6: false,
            default_ip: options.host_binding.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
        };
        let requests = super::publish::requests(&ctr.spec.ports, &target);
        ctr.bindings = self.ports.bind(&requests).map_err(|refusal| {
            let found = format!("failed to set up container networking: {}", refusal.error);
            Diagnostic::new(refusal.request.at().clone(), found)
        })?;
        Ok(())
    }

    /// The endpoint that carries the default route of a family.
    fn gateway<'a>(&'a self, ctr: &'a Ctr, family: Family) -> Option<(&'a Endpoint, &'a Net)> {
        ctr.endpoints.iter().find_map(|e| {
            let net = self.networks.get(&e.attachment.network)?;
            (!net.spec.internal && e.address(family).is_some()).then_some((e, net))
        })
    }

    /// Everything the Engine has made, in order.
    pub(super) fn items(&self, listeners: &[Listener]) -> Vec<Item> {
        let host = self.host.name.as_str();
        let mut items = Vec::new();
        if self.host.daemon.ip_forward && !self.host.machine.boot_ip_forward {
            items.push(sysctl(host, "net.ipv4.ip_forward", "1"));
        }
        for net in self.made.iter().filter_map(|key| self.networks.get(key)) {
            if let Driver::Bridge(options) = &net.spec.driver {
                items.extend(bridge::network_items(host, net, options, self.host.daemon.userland_proxy));
            }
        }
        for ctr in self.containers.iter().filter(|c| c.running) {
            items.extend(self.container_items(ctr));
            let own = listeners.iter().filter(|l| l.node == *ctr.node());
            items.extend(own.map(|l| listener(&self.netns(ctr), l)));
        }
        items
    }

    /// The node whose network namespace a container is in.
    fn netns(&self, ctr: &Ctr) -> NodeName {
        let owners = namespaces::owners(ctr, &self.host.name, &self.host.daemon);
        owners.get(&NsKind::Network).cloned().unwrap_or_else(|| ctr.node().clone())
    }

    fn container_items(&self, ctr: &Ctr) -> Vec<Item> {
        let owners = namespaces::owners(ctr, &self.host.name, &self.host.daemon);
        let mut items = namespaces::items(ctr, &ctr.hostname(), &owners, &self.host.daemon);
        if self.netns(ctr) == *ctr.node() {
            items.extend(self.network_items(ctr));
        }
        items.extend(self.files(ctr));
        items.push(namespaces::process(ctr, &owners));
        items.extend(ctr.bindings.iter().filter(|b| b.is_nat()).map(|b| {
            let (transport, listen) = (b.transport, b.host);
            let object = if self.host.daemon.userland_proxy {
                Object::Proxy(Proxy { transport, listen, connect: b.container })
            } else {
                Object::Reservation(Reservation { transport, listen })
            };
            item(self.host.name.as_str(), object)
        }));
        items
    }

    /// What is in the container's own network namespace, and the cables to it.
    fn network_items(&self, ctr: &Ctr) -> Vec<Item> {
        let (host, netns, proxy) =
            (self.host.name.as_str(), ctr.node().as_str(), self.host.daemon.userland_proxy);
        let mut items = vec![
            item(netns, Object::Up(IfName::lo())),
            sysctl(netns, "net.ipv4.ip_unprivileged_port_start", "0"),
            sysctl(netns, "net.ipv4.ping_group_range", "0 2147483647"),
        ];
        for endpoint in &ctr.endpoints {
            let Some(net) = self.networks.get(&endpoint.attachment.network) else { continue };
            items.extend(bridge::endpoint_items(host, netns, net, endpoint, proxy));
            items.extend(container::endpoint_items(netns, endpoint));
        }
        for family in Family::ALL {
            let route = self.gateway(ctr, family);
            items.extend(route.and_then(|(e, net)| container::default_route(netns, net, e, family)));
        }
        items.extend(self.resolver(ctr).map(|r| item(netns, Object::Resolver(r))));
        items
    }

    fn has_resolver(&self, ctr: &Ctr) -> bool {
        let user = |e: &Endpoint| e.attachment.network != DEFAULT_BRIDGE;
        ctr.endpoints.iter().any(user)
    }

    fn resolver(&self, ctr: &Ctr) -> Option<Resolver> {
        let upstream = self.has_resolver(ctr).then(|| self.resolv_conf(ctr).upstream)?;
        let (zone, reverse) = names::zone(ctr, &self.networks, &self.containers);
        let port = |what: &str| Seed::of(&["resolver", what, &ctr.id]).port(32768, 28232);
        Some(Resolver { udp_port: port("udp"), tcp_port: port("tcp"), zone, reverse, upstream })
    }

    fn resolv_conf(&self, ctr: &Ctr) -> resolv_conf::ResolvConf {
        let daemon = &self.host.daemon;
        let overrides = resolv_conf::Overrides {
            nameservers: if ctr.spec.dns.is_empty() { &daemon.dns } else { &ctr.spec.dns },
            search: if ctr.spec.dns_search.is_empty() { &daemon.dns_search } else { &ctr.spec.dns_search },
            options: if ctr.spec.dns_opt.is_empty() { &daemon.dns_opts } else { &ctr.spec.dns_opt },
        };
        let kind = match &ctr.spec.network {
            NetworkMode::Host => resolv_conf::Use::Host,
            NetworkMode::Networks(_) if self.has_resolver(ctr) => resolv_conf::Use::Internal,
            NetworkMode::DefaultBridge(_)
            | NetworkMode::Networks(_)
            | NetworkMode::None
            | NetworkMode::Container(_) => resolv_conf::Use::Legacy {
                ipv6: ctr.endpoints.iter().any(|e| e.address(Family::V6).is_some()),
            },
        };
        resolv_conf::resolv_conf(&self.host.machine.resolv_conf, overrides, kind)
    }

    fn files(&self, ctr: &Ctr) -> Vec<Item> {
        let hosts = match &ctr.spec.network {
            NetworkMode::Host => self.host.machine.hosts_file.clone(),
            NetworkMode::DefaultBridge(_)
            | NetworkMode::Networks(_)
            | NetworkMode::None
            | NetworkMode::Container(_) => names::hosts(ctr, &self.extra_hosts(ctr), &[]),
        };
        let files = [
            ("/etc/hostname", format!("{}\n", ctr.hostname())),
            ("/etc/hosts", hosts),
            ("/etc/resolv.conf", self.resolv_conf(ctr).text),
        ];
        let file = |(path, content): (&str, String)| Object::File(File { path: path.to_owned(), content });
        files.into_iter().map(|f| item(ctr.node().as_str(), file(f))).collect()
    }

    fn extra_hosts(&self, ctr: &Ctr) -> Vec<names::HostsLine> {
        let gateways = || -> Vec<IpAddr> {
            let docker0 = self.networks.get(DEFAULT_BRIDGE);
            let own = Family::ALL.map(|f| docker0.and_then(|n| n.subnet(f)).and_then(|s| s.gateway));
            let named = &self.host.daemon.host_gateway_ips;
            if named.is_empty() { own.into_iter().flatten().collect() } else { named.clone() }
        };
        let lines = ctr.spec.extra_hosts.iter().flat_map(|extra| {
            let addresses = match extra.target {
                ExtraHostTarget::Address(address) => vec![address],
                ExtraHostTarget::HostGateway => gateways(),
            };
            addresses.into_iter().map(|a| (a, extra.name.clone()))
        });
        lines.collect()
    }
}

/// A listener in a namespace.
pub(super) fn listener(netns: &NodeName, l: &Listener) -> Item {
    let object =
        super::Listener { node: l.node.clone(), transport: l.transport, address: l.address, port: l.port };
    item(netns.as_str(), Object::Listener(object))
}

fn created(host: &Host, spec: &Container) -> Ctr {
    let id = Seed::of(&["container", host.name.as_str(), &spec.name]).id();
    Ctr { spec: spec.clone(), id, running: false, endpoints: Vec::new(), bindings: Vec::new() }
}

fn no_address(family: Family, net: &Net) -> String {
    let number = family.number();
    format!(
        "no available IPv{number} addresses on this network's address pools: {} ({})",
        net.spec.name, net.id
    )
}

/// `interface_name`, or the prefix with the lowest number that is free.
fn device(attachment: &Attachment, prefix: &str, taken: &[Endpoint]) -> IfName {
    let free = |name: &IfName| !taken.iter().any(|e| e.device == *name);
    let numbered = || (0..).map_while(|n| format!("{prefix}{n}").parse::<IfName>().ok()).find(free);
    attachment.interface_name.clone().or_else(numbered).unwrap_or_else(IfName::eth0)
}

/// `fd` and 40 bits from the host's id, a /48 (daemon/libnetwork: deriveULABaseNetwork).
fn ula(host: &Host) -> ipnet::Ipv6Net {
    let id = Seed::of(&["host", host.name.as_str()]).mac().0;
    let [_, a, b, c, d, e] = id;
    let pair = |x, y| u16::from_be_bytes([x, y]);
    let base = std::net::Ipv6Addr::new(pair(0xfd, a), pair(b, c), pair(d, e), 0, 0, 0, 0, 0);
    ipnet::Ipv6Net::new(base, 48).unwrap_or_default()
}

/// The default bridge as a network like any other.
fn default_bridge(host: &Host) -> Network {
    let daemon = &host.daemon;
    let at = At::nowhere("daemon.json");
    let pool = |subnet: Option<IpNet>, range: Option<IpNet>| {
        let subnet = subnet.or(range)?;
        let gateway = Some(subnet.addr()).filter(|a| *a != subnet.network());
        Some(Pool {
            subnet: Some(subnet.trunc()),
            ip_range: range,
            gateway,
            aux_addresses: BTreeMap::new(),
            at: at.clone(),
        })
    };
    let pools = [pool(daemon.bip, daemon.fixed_cidr), pool(daemon.bip6, daemon.fixed_cidr_v6)];
    let options = BridgeOptions {
        name: "docker0".parse().ok(),
        masquerade: daemon.ip_masq,
        icc: daemon.icc,
        host_binding: daemon.ip,
        mtu: daemon.mtu,
        ..BridgeOptions::default()
    };
    Network {
        key: DEFAULT_BRIDGE.to_owned(),
        name: DEFAULT_BRIDGE.to_owned(),
        driver: Driver::Bridge(options),
        ipv4: true,
        ipv6: daemon.ipv6,
        internal: false,
        attachable: false,
        external: false,
        pools: pools.into_iter().flatten().collect(),
        at,
    }
}
