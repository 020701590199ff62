//! What one network adds to iptables' tables (network.go).

use super::tables::{Edit, from, not_from, not_to, to};
use super::{FamilyRules, Firewall, NetworkRules};
use crate::addr::{Family, IpNet};
use crate::engine::Filter;
use crate::rules::{
    AddrType, AddrTypeMatch, ConntrackMatch, CtState, Is, Match, NatRange, PortMap, Protocol, Target,
};
use crate::topology::GatewayMode;

pub(super) const STAGE_1: &str = "DOCKER-ISOLATION-STAGE-1";
pub(super) const STAGE_2: &str = "DOCKER-ISOLATION-STAGE-2";

impl Firewall {
    /// The rules of one family of a network, in the order they are made.
    pub(super) fn iptables_network(&self, network: &NetworkRules, config: &FamilyRules) -> Vec<Edit> {
        let bridge = network.bridge.as_str();
        if network.internal || config.mode == GatewayMode::Isolated {
            return self.internal_edits(bridge, network.icc, config.subnet.trunc());
        }
        let mut edits = self.outgoing_edits(network, config);
        edits.extend(self.isolation_edits(bridge, config));
        // What nobody published: behind the ACCEPT of each published port, which is inserted.
        let unpublished =
            if config.mode == GatewayMode::NatUnprotected { Target::Accept } else { Target::Drop };
        edits.push(Edit::append("filter", "DOCKER", vec![not_from(bridge), to(bridge)], unpublished));
        match self.profile.filter() {
            // One set of all subnets leads there.
            Filter::Forward | Filter::Sets => {}
            Filter::Stages | Filter::Internal => edits.extend([
                Edit::append("filter", "DOCKER-CT", vec![to(bridge), replies()], Target::Accept),
                Edit::append("filter", "DOCKER-BRIDGE", vec![to(bridge)], Target::Jump("DOCKER".to_owned())),
            ]),
        }
        edits
    }

    /// Where a network's own rules of what is forwarded stand.
    const fn forward_chain(&self) -> &'static str {
        match self.profile.filter() {
            Filter::Forward | Filter::Sets => "FORWARD",
            Filter::Stages | Filter::Internal => "DOCKER-FORWARD",
        }
    }

    /// Nothing passes between the bridge and elsewhere (`setupInternalNetworkRules`).
    fn internal_edits(&self, bridge: &str, icc: bool, subnet: IpNet) -> Vec<Edit> {
        let chain = match self.profile.filter() {
            Filter::Forward | Filter::Sets | Filter::Stages => STAGE_1,
            Filter::Internal => "DOCKER-INTERNAL",
        };
        let between = if icc { Target::Accept } else { Target::Drop };
        let mut edits = self.drop_edits(chain, bridge, subnet);
        edits.push(Edit::append("filter", self.forward_chain(), vec![from(bridge), to(bridge)], between));
        edits
    }

    /// What comes from or goes to other addresses than an internal network's is dropped.
    pub(super) fn drop_edits(&self, chain: &'static str, bridge: &str, subnet: IpNet) -> Vec<Edit> {
        let source = Match::Source(Is::not(subnet));
        let destination = Match::Destination(Is::not(subnet));
        // Neighbours speak from and to link-local and multicast addresses in IPv6: on the bridge itself all may pass.
        let (out, inn) = if self.profile.internal_spares_bridge(Family::of_net(subnet)) {
            (vec![destination, from(bridge), not_to(bridge)], vec![source, not_from(bridge), to(bridge)])
        } else {
            (vec![destination, from(bridge)], vec![source, to(bridge)])
        };
        vec![
            Edit::insert("filter", chain, out, Target::Drop),
            Edit::insert("filter", chain, inn, Target::Drop),
        ]
    }

    /// Where docker-proxy does not run, the host's own packets to containers come from an address they can answer.
    pub(super) fn masquerade_host(&self, bridge: &str, config: &FamilyRules) -> Edit {
        let source = Some(Is::a(vec![AddrType::Local]));
        let local = Match::AddrType(AddrTypeMatch { source, ..AddrTypeMatch::default() });
        Edit::insert("nat", "POSTROUTING", vec![to(bridge), local], translate(config))
    }

    /// Source NAT, and what may leave (`setupNonInternalNetworkRules`).
    fn outgoing_edits(&self, network: &NetworkRules, config: &FamilyRules) -> Vec<Edit> {
        let bridge = network.bridge.as_str();
        let routed = config.mode == GatewayMode::Routed;
        let mut edits = Vec::new();
        if let Some(mark) = self.accept_mark {
            // One rule for all networks: it goes with the first that is removed, as in dockerd.
            let marked = vec![Match::Mark(Is::a(mark))];
            edits.push(Edit::insert("filter", "DOCKER-FORWARD", marked, Target::Accept));
        }
        if network.masquerade && !routed {
            let leaving = vec![Match::Source(Is::a(config.subnet.trunc())), not_to(bridge)];
            edits.push(Edit::insert("nat", "POSTROUTING", leaving, translate(config)));
        }
        let own_way = network.masquerade && !self.hairpin && self.profile.skips_dnat_between_networks();
        if own_way || (routed && self.profile.skips_dnat_where_routed()) {
            edits.push(Edit::insert("nat", "DOCKER", vec![from(bridge)], Target::Return));
        }
        if self.hairpin {
            edits.push(self.masquerade_host(bridge, config));
        }
        if !network.icc {
            let between = vec![from(bridge), to(bridge)];
            edits.push(Edit::append("filter", self.forward_chain(), between, Target::Drop));
        }
        if routed {
            let icmp = match Family::of_net(config.subnet) {
                Family::V4 => Protocol::ICMP,
                Family::V6 => Protocol::ICMPV6,
            };
            let icmp = vec![to(bridge), Match::Protocol(Is::a(icmp))];
            edits.push(Edit::append("filter", "DOCKER", icmp, Target::Accept));
        }
        let outgoing = if network.icc { vec![from(bridge)] } else { vec![from(bridge), not_to(bridge)] };
        edits.push(Edit::append("filter", self.forward_chain(), outgoing, Target::Accept));
        edits
    }

    /// Bridges are cut off from each other in two stages until 28 (`setINC`); a routed one takes part in one way.
    fn isolation_edits(&self, bridge: &str, config: &FamilyRules) -> Vec<Edit> {
        match self.profile.filter() {
            Filter::Internal => return Vec::new(),
            Filter::Forward | Filter::Sets | Filter::Stages => {}
        }
        let mut edits = Vec::new();
        if config.mode == GatewayMode::Routed {
            edits.push(Edit::insert("filter", STAGE_1, vec![to(bridge)], Target::Return));
            edits.push(Edit::insert("filter", STAGE_1, vec![from(bridge), replies()], Target::Accept));
        }
        edits.push(Edit::append(
            "filter",
            STAGE_1,
            vec![from(bridge), not_to(bridge)],
            Target::Jump(STAGE_2.to_owned()),
        ));
        edits.push(Edit::insert("filter", STAGE_2, vec![to(bridge)], Target::Drop));
        edits
    }
}

/// MASQUERADE, or SNAT to the address that is named.
pub(super) fn translate(config: &FamilyRules) -> Target {
    match config.snat {
        Some(address) => Target::Snat(NatRange::to(address, None)),
        None => Target::Masquerade(PortMap::default()),
    }
}

/// `-m conntrack --ctstate RELATED,ESTABLISHED`.
pub(super) fn replies() -> Match {
    let state = Some(Is::a(vec![CtState::Related, CtState::Established]));
    Match::Conntrack(ConntrackMatch { state, ..ConntrackMatch::default() })
}
