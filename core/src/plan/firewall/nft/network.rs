//! What one network adds (network.go).

use super::super::tables::{from, not_from, not_to};
use super::super::{FamilyRules, Firewall, NetworkRules};
use super::{Edit, FORWARD_IN, FORWARD_OUT, Group, POSTROUTING_IN, POSTROUTING_OUT, chain_of, replies};
use crate::addr::Family;
use crate::rules::{AddrType, AddrTypeMatch, Is, Match, NatRange, PortMap, Protocol, Target};
use crate::topology::GatewayMode;

impl Firewall {
    /// The chains of one family of a network and their rules, in the order they are made.
    pub(in crate::plan::firewall) fn nft_network(
        &self,
        network: &NetworkRules,
        family: Family,
        config: &FamilyRules,
    ) -> Vec<Edit> {
        let into = chain_of(FORWARD_IN, &network.bridge);
        let out = chain_of(FORWARD_OUT, &network.bridge);
        let mut edits = vec![
            Edit::Chains(network.bridge.clone()),
            Edit::rule(&into, Group::Initial, vec![replies()], Target::Accept),
            Edit::rule(&out, Group::Initial, vec![replies()], Target::Accept),
        ];
        if network.internal || config.mode == GatewayMode::Isolated {
            edits.extend(internal(network, &into, &out));
        } else {
            edits.extend(self.accepted(network, family, config, &into));
            edits.push(Edit::rule(&out, Group::Initial, Vec::new(), Target::Accept).says("OUTGOING"));
            edits.extend(self.translated(network, config));
        }
        edits
    }

    /// What may come to the bridge from elsewhere, and from itself.
    fn accepted(
        &self,
        network: &NetworkRules,
        family: Family,
        config: &FamilyRules,
        into: &str,
    ) -> Vec<Edit> {
        let mut edits = Vec::new();
        if config.mode == GatewayMode::Routed {
            let icmp = match family {
                Family::V4 => Protocol::ICMP,
                Family::V6 => Protocol::ICMPV6,
            };
            let icmp = vec![Match::Protocol(Is::a(icmp))];
            edits.push(Edit::rule(into, Group::Initial, icmp, Target::Accept).says("ICMP"));
        }
        if let Some(mark) = self.accept_mark {
            let marked = vec![Match::Mark(Is::a(mark))];
            edits.push(Edit::rule(into, Group::FwMark, marked, Target::Accept).says("ALLOW FW MARK"));
        }
        let own = vec![from(network.bridge.as_str())];
        edits.push(Edit::rule(into, Group::Icc, own, between(network)).says("ICC"));
        let (last, comment) = match config.mode {
            GatewayMode::NatUnprotected => (Target::Accept, "UNPROTECTED"),
            GatewayMode::Nat | GatewayMode::Routed | GatewayMode::Isolated => {
                (Target::Drop, "UNPUBLISHED PORT DROP")
            }
        };
        edits.push(Edit::rule(into, Group::Final, Vec::new(), last).says(comment));
        edits
    }

    /// Source NAT.
    fn translated(&self, network: &NetworkRules, config: &FamilyRules) -> Vec<Edit> {
        let bridge = &network.bridge;
        let (translate, comment) = match config.snat {
            Some(address) => (Target::Snat(NatRange::to(address, None)), "SNAT"),
            None => (Target::Masquerade(PortMap::default()), "MASQUERADE"),
        };
        let mut edits = Vec::new();
        if network.masquerade && config.mode != GatewayMode::Routed {
            let leaving = vec![not_to(bridge.as_str()), Match::Source(Is::a(config.subnet.trunc()))];
            let chain = chain_of(POSTROUTING_OUT, bridge);
            edits.push(Edit::rule(chain, Group::Initial, leaving, translate.clone()).says(comment));
        }
        if self.hairpin {
            let source = Some(Is::a(vec![AddrType::Local]));
            let local = vec![Match::AddrType(AddrTypeMatch { source, ..AddrTypeMatch::default() })];
            let chain = chain_of(POSTROUTING_IN, bridge);
            let comment = format!("{comment} FROM HOST");
            edits.push(Edit::rule(chain, Group::Initial, local, translate).says(&comment));
        }
        edits
    }
}

/// Nothing passes between the bridge and elsewhere.
fn internal(network: &NetworkRules, into: &str, out: &str) -> Vec<Edit> {
    let bridge = network.bridge.as_str();
    vec![
        Edit::rule(into, Group::Initial, vec![not_from(bridge)], Target::Drop)
            .says("INTERNAL NETWORK INGRESS"),
        Edit::rule(out, Group::Initial, vec![not_to(bridge)], Target::Drop).says("INTERNAL NETWORK EGRESS"),
        Edit::rule(into, Group::Icc, Vec::new(), between(network)).says("ICC"),
    ]
}

/// Whether containers on the bridge may speak to each other.
const fn between(network: &NetworkRules) -> Target {
    if network.icc { Target::Accept } else { Target::Drop }
}
