//! What one container and one published port add to iptables' tables (endpoint.go, port.go, link.go).

use std::net::IpAddr;

use super::tables::{Edit, from, not_from, to};
use super::{FamilyRules, Firewall, LinkRules, MIRROR, NetworkRules, PortRules};
use crate::addr::{Family, IpNet, PortRange, Transport};
use crate::engine::{DirectAccess, Filter};
use crate::rules::{Is, Match, NatRange, PortMap, PortsMatch, Protocol, Target, TcpMatch};
use crate::topology::GatewayMode;

impl Firewall {
    /// A published port leads to the container, and is open there (`setPerPortIptables`).
    pub(super) fn iptables_port(
        &self,
        port: &PortRules,
        network: &NetworkRules,
        config: &FamilyRules,
    ) -> Vec<Edit> {
        let family = Family::of(port.container.ip());
        // From an IPv6 address of the host to a container without one only docker-proxy leads.
        if Family::of(port.host.ip()) != family {
            return Vec::new();
        }
        let mut edits = Vec::new();
        if port.host.port() != 0 {
            edits.extend(self.loopback_guard(port));
            edits.extend(self.nat_edits(family, network, port));
        }
        edits.extend(self.port_guard(network, config, port));
        if config.mode != GatewayMode::NatUnprotected {
            let bridge = network.bridge.as_str();
            let mut open = vec![destination(port.container.ip()), not_from(bridge), to(bridge)];
            open.extend(destination_port(port.transport, port.container.port()));
            edits.push(match self.profile.filter() {
                // Nothing is dropped behind it.
                Filter::Forward => Edit::append("filter", "DOCKER", open, Target::Accept),
                Filter::Sets | Filter::Stages | Filter::Internal => {
                    Edit::insert("filter", "DOCKER", open, Target::Accept)
                }
            });
        }
        edits
    }

    /// Nobody outside the bridge may speak to a published port at the container's own address.
    fn port_guard(&self, network: &NetworkRules, config: &FamilyRules, port: &PortRules) -> Option<Edit> {
        match self.profile.direct_access() {
            DirectAccess::Open | DirectAccess::Dropped => return None,
            DirectAccess::PortsDropped => {}
        }
        let mut matches = vec![destination(port.container.ip()), not_from(network.bridge.as_str())];
        matches.extend(destination_port(port.transport, port.container.port()));
        (config.mode == GatewayMode::Nat).then(|| Edit::append("raw", "PREROUTING", matches, Target::Drop))
    }

    /// A port published on 127.0.0.1 is not for neighbours who route there (`filterPortMappedOnLoopback`); IPv6 has no such
    /// route.
    fn loopback_guard(&self, port: &PortRules) -> Vec<Edit> {
        if !port.host.ip().is_loopback() || port.host.is_ipv6() || !self.profile.guards_loopback() {
            return Vec::new();
        }
        let rule = |device, target| {
            let mut matches = vec![destination(port.host.ip()), device];
            matches.extend(destination_port(port.transport, port.host.port()));
            Edit::append("raw", "PREROUTING", matches, target)
        };
        let windows = self.mirrored.then(|| rule(from(MIRROR), Target::Accept));
        windows.into_iter().chain([rule(not_from("lo"), Target::Drop)]).collect()
    }

    fn nat_edits(&self, family: Family, network: &NetworkRules, port: &PortRules) -> Vec<Edit> {
        let container = port.container;
        let mut asked = Vec::new();
        if family == Family::V6 && self.profile.spares_link_local() {
            let link_local =
                ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
            asked.push(Match::Source(Is::not(IpNet::V6(link_local))));
        }
        asked.extend((!port.host.ip().is_unspecified()).then(|| destination(port.host.ip())));
        asked.extend((!self.hairpin).then(|| not_from(network.bridge.as_str())));
        asked.extend(destination_port(port.transport, port.host.port()));
        let to_container = Target::Dnat(NatRange::to(container.ip(), Some(container.port())));
        let mut edits = vec![Edit::append("nat", "DOCKER", asked, to_container)];
        if self.hairpin || self.profile.masquerades_own_port() {
            let mut itself =
                vec![Match::Source(Is::a(IpNet::from(container.ip()))), destination(container.ip())];
            itself.extend(destination_port(port.transport, container.port()));
            let masquerade = Target::Masquerade(PortMap::default());
            edits.push(Edit::append("nat", "POSTROUTING", itself, masquerade));
        }
        edits
    }
}

/// Between two linked containers, to the ports that are exposed and back.
pub(super) fn link(link: &LinkRules) -> Vec<Edit> {
    let bridge = link.bridge.as_str();
    let way = |source: IpAddr, target: IpAddr, port: [Match; 2]| {
        let mut matches = vec![Match::Source(Is::a(IpNet::from(source))), destination(target)];
        matches.extend([from(bridge), to(bridge)]);
        matches.extend(port);
        Edit::append("filter", "DOCKER", matches, Target::Accept)
    };
    let both = |&(transport, port): &(Transport, u16)| {
        [
            way(link.parent, link.child, destination_port(transport, port)),
            way(link.child, link.parent, source_port(transport, port)),
        ]
    };
    link.ports.iter().flat_map(both).collect()
}

/// Nobody outside the bridge may speak to a container's own address but the trusted interfaces (`filterDirectAccess`).
pub(super) fn guard(network: &NetworkRules, address: IpAddr) -> Vec<Edit> {
    let trusted = network.trusted.iter().map(|device| {
        Edit::append("raw", "PREROUTING", vec![destination(address), from(device.as_str())], Target::Accept)
    });
    let others = vec![destination(address), not_from(network.bridge.as_str())];
    trusted.chain([Edit::append("raw", "PREROUTING", others, Target::Drop)]).collect()
}

/// What Windows sends to a loopback address is not redirected.
pub(super) fn from_windows() -> Edit {
    let loopback = IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8));
    let matches = vec![Match::Destination(Is::a(loopback)), from(MIRROR)];
    Edit::append("nat", "DOCKER", matches, Target::Return)
}

pub(super) fn destination(address: IpAddr) -> Match {
    Match::Destination(Is::a(IpNet::from(address)))
}

/// `-p tcp -m tcp --dport PORT`.
pub(super) fn destination_port(transport: Transport, port: u16) -> [Match; 2] {
    let destination = Some(Is::a(PortRange::single(port)));
    with_ports(transport, PortsMatch { source: None, destination })
}

/// `-p tcp -m tcp --sport PORT`.
pub(super) fn source_port(transport: Transport, port: u16) -> [Match; 2] {
    let source = Some(Is::a(PortRange::single(port)));
    with_ports(transport, PortsMatch { source, destination: None })
}

fn with_ports(transport: Transport, ports: PortsMatch) -> [Match; 2] {
    let protocol = Match::Protocol(Is::a(Protocol(transport.number())));
    let ports = match transport {
        Transport::Tcp => Match::Tcp(TcpMatch { ports, ..TcpMatch::default() }),
        Transport::Udp => Match::Udp(ports),
        Transport::Sctp => Match::Sctp(ports),
    };
    [protocol, ports]
}
