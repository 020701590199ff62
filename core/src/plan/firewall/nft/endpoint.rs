//! What one container and one published port add (endpoint.go, port.go, link.go).

use std::net::IpAddr;

use super::super::endpoint::{destination, destination_port, source_port};
use super::super::tables::not_from;
use super::super::{FamilyRules, Firewall, LinkRules, NetworkRules, PortRules};
use super::{Edit, FORWARD_IN, Group, NAT, POSTROUTING_IN, RAW, chain_of};
use crate::addr::{Family, IpNet, Transport};
use crate::rules::{Is, Match, NatRange, PortMap, Target};
use crate::topology::GatewayMode;

impl Firewall {
    /// A published port is open at the container, and leads there (`setPerPortRules`).
    pub(in crate::plan::firewall) fn nft_port(&self, port: &PortRules, config: &FamilyRules) -> Vec<Edit> {
        let container = port.container;
        let mut edits = Vec::new();
        if config.mode != GatewayMode::NatUnprotected {
            let mut open = vec![destination(container.ip())];
            open.extend(destination_port(port.transport, container.port()));
            let chain = chain_of(FORWARD_IN, &port.bridge);
            edits.push(Edit::rule(chain, Group::Ports, open, Target::Accept));
        }
        // From an IPv6 address of the host to a container without one only docker-proxy leads.
        let translated = port.host.port() != 0 && port.host.is_ipv4() == container.is_ipv4();
        if translated {
            edits.push(self.nft_translation(port));
            edits.extend(self.hairpin.then(|| to_itself(port)));
            edits.extend(loopback_guard(port));
        }
        edits
    }

    fn nft_translation(&self, port: &PortRules) -> Edit {
        let container = port.container;
        let mut asked = Vec::new();
        asked.extend((!self.hairpin).then(|| not_from(port.bridge.as_str())));
        if Family::of(container.ip()) == Family::V6 {
            let link_local =
                ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
            asked.push(Match::Source(Is::not(IpNet::V6(link_local))));
        }
        asked.extend((!port.host.ip().is_unspecified()).then(|| destination(port.host.ip())));
        asked.extend(destination_port(port.transport, port.host.port()));
        let to_container = Target::Dnat(NatRange::to(container.ip(), Some(container.port())));
        Edit::rule(NAT, Group::Initial, asked, to_container).says("DNAT")
    }
}

/// Without docker-proxy a container that asks for its own published port is answered by way of the bridge.
fn to_itself(port: &PortRules) -> Edit {
    let address = port.container.ip();
    let mut asked = vec![source(address), destination(address)];
    asked.extend(destination_port(port.transport, port.container.port()));
    let chain = chain_of(POSTROUTING_IN, &port.bridge);
    let masquerade = Target::Masquerade(PortMap::default());
    Edit::rule(chain, Group::Initial, asked, masquerade).says("MASQ TO OWN PORT")
}

/// A port published on 127.0.0.1 is not for neighbours who route there (`filterPortMappedOnLoopback`); IPv6 has no such
/// route.
fn loopback_guard(port: &PortRules) -> Option<Edit> {
    let loopback = port.host.ip().is_loopback() && port.host.is_ipv4();
    let mut asked = vec![not_from("lo"), destination(port.host.ip())];
    asked.extend(destination_port(port.transport, port.host.port()));
    loopback.then(|| Edit::rule(RAW, Group::Ports, asked, Target::Drop).says("DROP REMOTE LOOPBACK"))
}

/// Nobody outside the bridge may speak to a container's own address but the trusted interfaces (`filterDirectAccess`).
pub(in crate::plan::firewall) fn guard(network: &NetworkRules, address: IpAddr) -> Vec<Edit> {
    let outside = match network.trusted.as_slice() {
        [] => not_from(network.bridge.as_str()),
        trusted => {
            let bridge = [network.bridge.clone()];
            Match::InInterfaces(Is::not(bridge.into_iter().chain(trusted.iter().cloned()).collect()))
        }
    };
    let direct = vec![destination(address), outside];
    vec![Edit::rule(RAW, Group::Ports, direct, Target::Drop).says("DROP DIRECT ACCESS")]
}

/// Between two linked containers, to the ports that are exposed and back; their addresses say which bridge.
pub(in crate::plan::firewall) fn link(link: &LinkRules) -> Vec<Edit> {
    let chain = chain_of(FORWARD_IN, &link.bridge);
    let rule = |addresses: [Match; 2], port: [Match; 2]| {
        let matches = addresses.into_iter().chain(port).collect();
        Edit::rule(&chain, Group::Links, matches, Target::Accept)
    };
    let both = |&(transport, port): &(Transport, u16)| {
        let there = [source(link.parent), destination(link.child)];
        let back = [destination(link.parent), source(link.child)];
        [rule(there, destination_port(transport, port)), rule(back, source_port(transport, port))]
    };
    link.ports.iter().flat_map(both).collect()
}

fn source(address: IpAddr) -> Match {
    Match::Source(Is::a(IpNet::from(address)))
}
