//! Joining and leaving networks: addresses, devices, and who publishes the ports (daemon/libnetwork/endpoint.go).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::PlanOp;
use super::container::{Ctr, Endpoint, Mode};
use super::dockerd::Dockerd;
use super::filter;
use super::gateway::{self, Gateways};
use super::ids::{Seed, short};
use super::network::Net;
use super::publish::{self, PortError, PortRefusal, Target};
use crate::addr::{Family, IfName, IpNet, MacAddr, Transport};
use crate::diagnostic::Diagnostic;
use crate::engine::{Hardware, Profile};
use crate::topology::{Attachment, Driver, GatewayMode};

impl Dockerd {
    /// Joins one network. A network that could not be made was reported already.
    pub(super) fn join(&mut self, ctr: &mut Ctr, mut attachment: Attachment) -> Result<(), Diagnostic> {
        if !self.host.engine.is_at_least(28, 0) {
            // Read past (26.1.5 observed).
            attachment.gw_priority = 0;
        }
        let Some(net) = self.networks.get(&attachment.network).cloned() else { return Ok(()) };
        self.check_join(ctr, &attachment, &net)?;
        let addresses = self.take_addresses(ctr, &attachment, &net)?;
        let endpoint = self.endpoint(ctr, attachment, &net, addresses);
        ctr.resolver |= !net.is_default();
        self.filter_endpoint(ctr, &endpoint, true);
        let before = self.gateways(ctr);
        ctr.endpoints.push(endpoint);
        let after = self.gateways(ctr);
        let new = ctr.endpoints.len() - 1;
        // Those that lose the role give their ports back before the new one takes them.
        let losers = [before.v4, before.v6].into_iter().flatten();
        for place in losers.filter(|_| after.v4 == Some(new) || after.v6 == Some(new)) {
            self.program(ctr, place, after, Moved::Joined)?;
        }
        self.program(ctr, new, after, Moved::Joined)
    }

    /// Leaves one network: ports, addresses and the device go, and another network may become the gateway.
    pub(super) fn leave(&mut self, ctr: &mut Ctr, place: usize) {
        self.revoke(ctr, place);
        if place >= ctr.endpoints.len() {
            return;
        }
        let endpoint = ctr.endpoints.remove(place);
        self.filter_endpoint(ctr, &endpoint, false);
        self.release_addresses(&endpoint);
        let after = self.gateways(ctr);
        for place in [after.v4, after.v6].into_iter().flatten() {
            // Docker logs a failure here and goes on.
            _ = self.program(ctr, place, after, Moved::Left);
        }
    }

    /// Leaves every network, the gateway first, as a stopping container does.
    pub(super) fn leave_all(&mut self, ctr: &mut Ctr) {
        while let Some(place) = gateway::order(&ctr.endpoints, &self.networks).first() {
            self.leave(ctr, *place);
        }
    }

    /// The endpoints that carry the default routes.
    pub(super) fn gateways(&self, ctr: &Ctr) -> Gateways {
        gateway::choose(&ctr.endpoints, &self.networks, self.host.engine.profile)
    }

    fn take_addresses(
        &mut self,
        ctr: &Ctr,
        attachment: &Attachment,
        net: &Net,
    ) -> Result<Vec<IpNet>, Diagnostic> {
        let mut addresses = Vec::new();
        // A container without IPv6 gets no such address since 26 (moby#47406).
        let no_v6 = ctr.wants_ipv6() == Some(false) && self.host.engine.is_at_least(26, 0);
        for (family, wanted) in [(Family::V4, attachment.ipv4_address), (Family::V6, attachment.ipv6_address)]
        {
            let Some(subnet) = net.subnet(family).filter(|_| family == Family::V4 || !no_v6) else {
                continue;
            };
            let wanted = wanted.or_else(|| self.by_hardware(attachment, net, family, &addresses));
            let failed = match self.ipam.request_address(subnet.pool, wanted) {
                Ok(Some(address)) => {
                    addresses.extend(subnet.with_prefix(address));
                    continue;
                }
                Ok(None) => {
                    let number = family.number();
                    let what = format!("no available IPv{number} addresses on this network's address pools");
                    let found = self.refused(attachment, &format!("{what}: {} ({})", net.spec.name, net.id));
                    found.related(
                        net.spec.at.clone(),
                        format!("the network's subnet is {}", subnet.pool.subnet),
                    )
                }
                Err(error) => self.name_holder(self.refused(attachment, &error.to_string()), net, wanted),
            };
            let pools =
                addresses.iter().map(IpNet::addr).filter_map(|a| Some((net.subnet(Family::of(a))?.pool, a)));
            pools.for_each(|(pool, address)| self.ipam.release_address(pool, address));
            return Err(failed);
        }
        Ok(addresses)
    }

    /// On the default bridge an IPv6 address ends in the hardware address where the subnet leaves room for it; since 28 it
    /// is one of the pool's like all others (moby#48319: `DeferIPv6Alloc`).
    fn by_hardware(
        &self,
        attachment: &Attachment,
        net: &Net,
        family: Family,
        addresses: &[IpNet],
    ) -> Option<IpAddr> {
        let subnet = net.subnet(family)?.pool.subnet;
        let has_room = subnet.prefix_len() <= 80;
        let IpAddr::V6(base) = subnet.network() else { return None };
        if !net.is_default() || !has_room || self.host.engine.is_at_least(28, 0) {
            return None;
        }
        let MacAddr([a, b, c, d, e, f]) = attachment.mac_address.unwrap_or_else(|| self.mac("", addresses));
        let mac = u128::from_be_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f]);
        Some(Ipv6Addr::from_bits(base.to_bits() | mac).into())
    }

    /// Adds who has an address already.
    fn name_holder(&self, diagnostic: Diagnostic, net: &Net, wanted: Option<IpAddr>) -> Diagnostic {
        let Some(wanted) = wanted else { return diagnostic };
        let has = |e: &&Endpoint| {
            e.attachment.network == net.spec.key && e.addresses.iter().any(|a| a.addr() == wanted)
        };
        let holder = self.containers.iter().find_map(|c| c.endpoints.iter().find(has).map(|e| (c, e)));
        if let Some((ctr, endpoint)) = holder {
            let label = format!("{} has {wanted}", ctr.spec.name);
            return diagnostic.related(endpoint.attachment.at.clone(), label);
        }
        let gateway = Family::ALL.iter().any(|f| net.subnet(*f).is_some_and(|s| s.gateway == Some(wanted)));
        if gateway {
            return diagnostic.related(net.spec.at.clone(), format!("{wanted} is the network's gateway"));
        }
        diagnostic.related(net.spec.at.clone(), format!("{wanted} is reserved in this network"))
    }

    fn release_addresses(&mut self, endpoint: &Endpoint) {
        let Some(net) = self.networks.get(&endpoint.attachment.network) else { return };
        for address in endpoint.addresses.iter().map(IpNet::addr) {
            if let Some(subnet) = net.subnet(Family::of(address)) {
                self.ipam.release_address(subnet.pool, address);
            }
        }
    }

    /// The endpoint's devices: their names and hardware addresses.
    fn endpoint(&self, ctr: &mut Ctr, attachment: Attachment, net: &Net, addresses: Vec<IpNet>) -> Endpoint {
        let join = ctr.next_join(&net.id);
        let prefix = match &net.spec.driver {
            Driver::Bridge(o) => o.iface_prefix.as_deref().unwrap_or("eth"),
            Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None => "eth",
        };
        let device = device(&attachment, prefix, &ctr.endpoints);
        let mac = attachment.mac_address.unwrap_or_else(|| self.mac(&join, &addresses));
        let veth = |salt: u32| Seed::of(&["veth", &join, &salt.to_string()]).if_name("veth", 7);
        let taken = |name: &IfName| {
            let mut all = self.containers.iter().flat_map(|c| &c.endpoints).chain(&ctr.endpoints);
            all.any(|e| e.veth == *name)
        };
        Endpoint {
            device,
            mac,
            veth: (0..).map(veth).find(|name| !taken(name)).unwrap_or_else(IfName::lo),
            veth_mac: Seed::of(&["veth mac", &join]).mac(),
            addresses,
            mode: Mode::default(),
            bindings: Vec::new(),
            attachment,
        }
    }

    /// A hardware address that nobody named.
    fn mac(&self, join: &str, addresses: &[IpNet]) -> MacAddr {
        let of_address = addresses.iter().find_map(|net| match net.addr() {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        });
        match (self.host.engine.profile.hardware(), of_address) {
            (Hardware::OfAddress, Some([a, b, c, d])) => MacAddr([0x02, 0x42, a, b, c, d]),
            (Hardware::OfAddress, None) | (Hardware::Random, _) => Seed::of(&["mac", join]).mac(),
        }
    }

    /// Tells an endpoint's network which default routes it carries: it publishes ports, or takes them back.
    fn program(
        &mut self,
        ctr: &mut Ctr,
        place: usize,
        gateways: Gateways,
        moved: Moved,
    ) -> Result<(), Diagnostic> {
        let v4 = gateways.v4 == Some(place);
        // Without an IPv6 gateway the IPv4 one may serve IPv6 by proxy.
        let v6 = gateways.v6 == Some(place) || (gateways.v6.is_none() && v4);
        let routed = self.host.engine.profile.publishes_on_every_routed_network();
        self.set_mode(ctr, place, Mode { routed, v4, v6 }, moved)
    }

    fn set_mode(&mut self, ctr: &mut Ctr, place: usize, mode: Mode, moved: Moved) -> Result<(), Diagnostic> {
        let Some(endpoint) = ctr.endpoints.get_mut(place).filter(|e| e.mode != mode) else { return Ok(()) };
        let Some(net) = self.networks.get(&endpoint.attachment.network) else { return Ok(()) };
        let Driver::Bridge(options) = &net.spec.driver else { return Ok(()) };
        let profile = self.host.engine.profile;
        let had = std::mem::replace(&mut endpoint.mode, mode);
        let part =
            |family| Part::of(profile, net.gateway_mode(family) == GatewayMode::Routed, family, had, mode);
        let [v4, v6] = Family::ALL.map(part);
        let (kept, dropped) = std::mem::take(&mut endpoint.bindings)
            .into_iter()
            .partition(|b| if b.host.is_ipv4() { v4.keeps } else { v6.keeps });
        endpoint.bindings = kept;
        self.ports.release(&dropped);
        filter::unpublish(&mut self.firewall, net, &dropped);
        let proxied = endpoint.address(Family::V4).filter(|_| self.host.daemon.userland_proxy && mode.v4);
        let target = Target {
            v4: endpoint.address(Family::V4).filter(|_| v4.adds),
            v6: endpoint.address(Family::V6).or(proxied).filter(|_| v6.adds),
            routed_v4: v4.routed,
            routed_v6: v6.routed,
            default_ip: options.host_binding.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        // Until 24 an internal network that a container is left with publishes its ports, to docker-proxy alone (20.10.24
        // observed).
        let published = !net.spec.internal || (moved == Moved::Left && !self.host.engine.is_at_least(25, 0));
        let ports = if published { &ctr.spec.ports } else { &[][..] };
        let bound = self.ports.bind(&publish::requests(ports, &target));
        let bound = bound.map_err(|r| self.port_refused(&ctr.spec.name, &join_id(net, &ctr.id), *r))?;
        filter::publish(&mut self.firewall, net, &bound);
        endpoint.bindings.extend(bound);
        self.flush(ctr, place);
        Ok(())
    }

    /// Takes back what an endpoint's network did for it.
    fn revoke(&mut self, ctr: &mut Ctr, place: usize) {
        let Some(endpoint) = ctr.endpoints.get(place).filter(|e| e.mode != Mode::default()) else { return };
        self.ports.release(&endpoint.bindings);
        if let Some(net) = self.networks.get(&endpoint.attachment.network) {
            filter::unpublish(&mut self.firewall, net, &endpoint.bindings);
        }
        self.flush(ctr, place);
        if let Some(endpoint) = ctr.endpoints.get_mut(place) {
            endpoint.bindings.clear();
            endpoint.mode = Mode::default();
        }
    }

    /// Conntrack forgets the endpoint, and flows to its UDP ports (moby#8795, #44688, #44742).
    fn flush(&mut self, ctr: &Ctr, place: usize) {
        let Some(endpoint) = ctr.endpoints.get(place) else { return };
        let ns = super::NsName::from(&self.host.name);
        for address in endpoint.addresses.iter().map(IpNet::addr) {
            self.effects.push(PlanOp::FlushConntrack { ns: ns.clone(), address });
        }
        if !self.host.engine.flushes_udp_ports() {
            return;
        }
        let by_container_port = self.host.engine.flushes_udp_by_container_port();
        for binding in endpoint.bindings.iter().filter(|b| b.transport == Transport::Udp) {
            let port = if by_container_port { binding.container.port() } else { binding.host.port() };
            let op = PlanOp::FlushConntrackPort { ns: ns.clone(), transport: Transport::Udp, port };
            if port != 0 && !self.effects.contains(&op) {
                self.effects.push(op);
            }
        }
    }

    fn refused(&self, attachment: &Attachment, why: &str) -> Diagnostic {
        Diagnostic::new(attachment.at.clone(), self.set_up_failed(why))
    }

    /// A container's network could not be set up: what the Engine says, and what it says before since 28.
    pub(super) fn set_up_failed(&self, why: &str) -> String {
        let since_28 = self.host.engine.is_at_least(28, 0);
        let before = if since_28 { "failed to set up container networking: " } else { "" };
        format!("{before}{why}")
    }

    /// A refusal to bind a port, in Docker's words, with who has it.
    fn port_refused(&self, container: &str, endpoint: &str, refusal: PortRefusal) -> Diagnostic {
        let PortRefusal { request, error } = refusal;
        let why = match &error {
            PortError::Allocated { .. } | PortError::AllAllocated => error.to_string(),
            PortError::InUse { host } | PortError::NoSuchAddress { host } => match self.host.engine.profile {
                Profile::V20_10 | Profile::V23 | Profile::V27 => {
                    let number = Family::of(host.ip()).number();
                    let transport = request.transport();
                    format!("Error starting userland proxy: listen {transport}{number} {host}: bind: {error}")
                }
                Profile::V28_0_0 | Profile::V28_0 | Profile::V28_2 => {
                    format!("failed to bind host port for {host}:{}: {error}", request.target())
                }
                Profile::V29 => {
                    format!("failed to bind host port {host}/{}: {error}", request.transport())
                }
            },
        };
        let found = self.set_up_failed(&format!(
            "driver failed programming external connectivity on endpoint {container} ({endpoint}): {why}"
        ));
        let diagnostic = Diagnostic::new(request.at().clone(), found);
        let holder = |port: u16, ip: Option<IpAddr>| {
            let all = self.containers.iter().flat_map(|c| c.endpoints.iter().map(move |e| (c, e)));
            let mut bindings = all.flat_map(|(c, e)| e.bindings.iter().map(move |b| (c, b)));
            bindings.find(|(_, b)| {
                b.transport == request.transport()
                    && b.host.port() == port
                    && ip.is_none_or(|ip| b.host.ip() == ip)
            })
        };
        match error {
            PortError::Allocated { ip, port } => match holder(port, Some(ip)) {
                Some((ctr, binding)) => {
                    diagnostic.related(binding.at.clone(), format!("{} publishes it", ctr.spec.name))
                }
                None => diagnostic.expected("host ports that no other entry of this container has"),
            },
            PortError::AllAllocated => diagnostic.expected("a range with a free port"),
            PortError::InUse { .. } => diagnostic.expected("a port that no process of the host holds"),
            PortError::NoSuchAddress { .. } => diagnostic.expected("an address of the host"),
        }
    }
}

/// Why another endpoint may be the gateway now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// The container joined a network.
    Joined,
    /// It left one.
    Left,
}

/// What becomes of an endpoint's published ports of one family when its mode changes.
#[derive(Debug, Clone, Copy)]
struct Part {
    routed: bool,
    keeps: bool,
    adds: bool,
}

impl Part {
    /// 28 revokes everything and programs again; 29 takes back only what went, and publishes routed ports on every
    /// routed network.
    fn of(profile: Profile, routed: bool, family: Family, had: Mode, wants: Mode) -> Self {
        let role = |mode: Mode| match (routed && profile.publishes_on_every_routed_network(), family) {
            (true, _) => mode.routed,
            (false, Family::V4) => mode.v4,
            (false, Family::V6) => mode.v6,
        };
        let keeps = profile.keeps_bindings() && role(wants);
        let had = profile.keeps_bindings() && role(had);
        Self { routed, keeps, adds: role(wants) && !had }
    }
}

/// An endpoint's id, in short.
fn join_id(net: &Net, container: &str) -> String {
    short(&Seed::of(&["endpoint", &net.id, container]).id())
}

/// `interface_name`, or the prefix with the lowest number that is free.
fn device(attachment: &Attachment, prefix: &str, taken: &[Endpoint]) -> IfName {
    let free = |name: &IfName| !taken.iter().any(|e| e.device == *name);
    let numbered = || (0..).map_while(|n| format!("{prefix}{n}").parse::<IfName>().ok()).find(free);
    attachment.interface_name.clone().or_else(numbered).unwrap_or_else(IfName::eth0)
}

/// Multicast is no hardware address of a device (net/ethernet/eth.c: `is_valid_ether_addr`).
pub(super) fn is_unicast(mac: MacAddr) -> bool {
    !mac.is_multicast() && mac != MacAddr::ZERO
}
