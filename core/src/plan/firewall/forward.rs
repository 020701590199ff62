//! What one network adds until 27: its rules stand in FORWARD itself, before those of older networks
//! (libnetwork/drivers/bridge/setup_ip_tables.go).

use super::network::{STAGE_1, STAGE_2, replies, translate};
use super::tables::{Edit, from, not_to, to};
use super::{FamilyRules, Firewall, NetworkRules};
use crate::addr::{Family, IpNet};
use crate::rules::{Is, Match, Target};
use crate::topology::GatewayMode;

impl Firewall {
    /// The rules of one family of a network, in the order they are made.
    pub(super) fn forward_edits(&self, network: &NetworkRules, config: &FamilyRules) -> Vec<Edit> {
        let bridge = network.bridge.as_str();
        if network.internal {
            return self.closed_edits(bridge, network.icc, config.subnet.trunc());
        }
        let mut edits = self.translation_edits(network, config);
        edits.push(between(bridge, network.icc));
        edits.extend([
            Edit::insert("filter", "FORWARD", vec![from(bridge), not_to(bridge)], Target::Accept),
            Edit::insert("filter", "FORWARD", vec![to(bridge)], Target::Jump("DOCKER".to_owned())),
            Edit::insert("filter", "FORWARD", vec![to(bridge), replies()], Target::Accept),
        ]);
        edits
    }

    /// Source NAT, and the way past DNAT (`setupIPTablesInternal`).
    fn translation_edits(&self, network: &NetworkRules, config: &FamilyRules) -> Vec<Edit> {
        let bridge = network.bridge.as_str();
        let mut edits = Vec::new();
        if network.masquerade && config.mode != GatewayMode::Routed {
            let leaving = vec![Match::Source(Is::a(config.subnet.trunc())), not_to(bridge)];
            edits.push(Edit::insert("nat", "POSTROUTING", leaving, translate(config)));
            if !self.hairpin {
                edits.push(Edit::insert("nat", "DOCKER", vec![from(bridge)], Target::Return));
            }
        }
        if self.hairpin {
            edits.push(self.masquerade_host(bridge, config));
        }
        edits
    }

    /// Nothing passes between the bridge and elsewhere (`setupInternalNetworkRules`).
    fn closed_edits(&self, bridge: &str, icc: bool, subnet: IpNet) -> Vec<Edit> {
        let mut edits = self.drop_edits(STAGE_1, bridge, subnet);
        edits.push(between(bridge, icc));
        edits
    }

    /// Bridges are kept apart in every family there are rules for, whatever the network has itself (`setINC`).
    pub(super) fn apart_edits(&self, network: &NetworkRules) -> Vec<(Family, Vec<Edit>)> {
        if network.internal {
            return Vec::new();
        }
        let bridge = network.bridge.as_str();
        let edits = || {
            let jump = Target::Jump(STAGE_2.to_owned());
            vec![
                Edit::insert("filter", STAGE_1, vec![from(bridge), not_to(bridge)], jump),
                Edit::insert("filter", STAGE_2, vec![to(bridge)], Target::Drop),
            ]
        };
        self.enabled.iter().map(|family| (*family, edits())).collect()
    }

    /// The jumps that each new network brings to the head again, and those that the first of a family brings.
    pub(super) fn jump_from_forward(&mut self, network: &NetworkRules) {
        for (family, _) in self.parts(network) {
            let hairpin = self.hairpin;
            let tables = self.tables(family);
            if !network.internal {
                tables.jump_to_nat(family, hairpin);
            }
            tables.ensure_jump("filter", "FORWARD", STAGE_1);
        }
        for family in self.enabled.clone() {
            if self.profile.has_user_chain(family) {
                self.tables(family).ensure_jump("filter", "FORWARD", "DOCKER-USER");
            }
        }
    }
}

/// Whether containers of a network speak to each other.
fn between(bridge: &str, icc: bool) -> Edit {
    let matches = vec![from(bridge), to(bridge)];
    if icc {
        Edit::insert("filter", "FORWARD", matches, Target::Accept)
    } else {
        Edit::append("filter", "FORWARD", matches, Target::Drop)
    }
}
