//! Shares of a device that all have its MAC address, told apart by their IP addresses (drivers/net/ipvlan).

use std::net::IpAddr;

use seatrial_core::rules::{AddrType, Hook};
use seatrial_core::topology::{IpvlanFlag, IpvlanMode};

use super::Kind;
use crate::arena::DevId;
use crate::skb::Frame;
use crate::stack::fib::Flow;
use crate::trace::DropReason;
use crate::world::World;

impl World {
    /// A share sends a frame (`ipvlan_xmit_mode_l2`, `ipvlan_xmit_mode_l3`).
    pub(crate) fn ipvlan_transmit(
        &mut self,
        dev: DevId,
        lower: DevId,
        mode: IpvlanMode,
        flag: IpvlanFlag,
        frame: Frame<'_>,
    ) {
        match mode {
            IpvlanMode::L2 => self.ipvlan_switch(dev, lower, flag, frame),
            IpvlanMode::L3 | IpvlanMode::L3s => self.ipvlan_route(dev, lower, flag, frame),
        }
    }

    fn ipvlan_switch(&mut self, dev: DevId, lower: DevId, flag: IpvlanFlag, frame: Frame<'_>) {
        let (src, dst) = (frame.meta().src, frame.meta().dst);
        if dst.is_multicast() {
            self.ipvlan_multicast(lower, Some(dev), &frame);
        } else if flag != IpvlanFlag::Vepa && dst == src {
            return match self.ipvlan_by_address(lower, &frame) {
                Some(sibling) => self.ipvlan_to_sibling(dev, sibling, flag, &frame),
                // Not for a sibling, and yet this MAC: for the device itself, by its receiving side.
                None => self.cross(dev, lower, &frame),
            };
        }
        self.note_lower(dev, lower, &frame);
        self.transmit(lower, frame);
    }

    /// Layer 3: siblings by address, everything else by the routes and hooks of the device's own namespace.
    fn ipvlan_route(&mut self, dev: DevId, lower: DevId, flag: IpvlanFlag, frame: Frame<'_>) {
        if flag != IpvlanFlag::Vepa
            && let Some(sibling) = self.ipvlan_by_address(lower, &frame)
        {
            return self.ipvlan_to_sibling(dev, sibling, flag, &frame);
        }
        self.note_lower(dev, lower, &frame);
        let ns = self.devices[lower].ns;
        let other_ns = ns != self.devices[dev].ns;
        // Of layer 3 alone: no neighbour is asked for.
        let Frame::Ip(skb) = frame else { return };
        skb.scrub(other_ns);
        let mut flow = Flow::to(skb.packet.dst);
        (flow.src, flow.oif) = (Some(skb.packet.src), Some(lower));
        let path = self.route(ns, &flow).filter(|p| matches!(p.kind, AddrType::Unicast | AddrType::Local));
        match path {
            Some(path) => self.local_out(ns, skb, path),
            None => self.note_drop(ns, Some(lower), skb, DropReason::IpOutNoRoutes, |w| {
                format!(
                    "{} has no route to {} by {}",
                    w.stacks[ns].name, skb.packet.dst, w.devices[lower].name
                )
            }),
        }
    }

    fn ipvlan_to_sibling(&mut self, dev: DevId, sibling: DevId, flag: IpvlanFlag, frame: &Frame<'_>) {
        if flag == IpvlanFlag::Private {
            let why = |w: &Self| format!("{} is private: siblings do not meet", w.devices[dev].name);
            return self.drop_frame(dev, frame, DropReason::NotSpecified, why);
        }
        self.cross(dev, sibling, frame);
    }

    /// Whether a share of a device takes a frame that reached it (`ipvlan_handle_frame`).
    pub(crate) fn ipvlan_receive(&mut self, lower: DevId, mode: IpvlanMode, frame: &mut Frame<'_>) -> bool {
        match mode {
            IpvlanMode::L2 if frame.meta().dst.is_multicast() => {
                self.ipvlan_multicast(lower, None, frame);
                false
            }
            IpvlanMode::L2 | IpvlanMode::L3 => match self.ipvlan_by_address(lower, frame) {
                Some(child) if self.devices[child].runs() => {
                    self.cross(lower, child, frame);
                    true
                }
                Some(_) => true,
                None => false,
            },
            IpvlanMode::L3s => self.ipvlan_by_hooks(lower, frame),
        }
    }

    /// L3s: through the hooks of the device's own namespace, PREROUTING and INPUT, then to the share
    /// (`ipvlan_l3_rcv`, `ipvlan_nf_input`).
    fn ipvlan_by_hooks(&mut self, lower: DevId, frame: &mut Frame<'_>) -> bool {
        let child = self.ipvlan_by_address(lower, frame);
        let (Some(child), Frame::Ip(skb)) = (child, frame.again()) else { return false };
        let ns = self.devices[lower].ns;
        let passes = self.hook(ns, Hook::Prerouting, skb, Some(lower), None)
            && self.hook(ns, Hook::Input, skb, Some(lower), None);
        if passes {
            self.cross(lower, child, frame);
        }
        true
    }

    /// A broadcast: to every share but its sender; what a share sent goes on to the wire, never to the device's own stack.
    fn ipvlan_multicast(&mut self, lower: DevId, sender: Option<DevId>, frame: &Frame<'_>) {
        for at in 0..self.devices[lower].uppers.len() {
            let Some(child) = self.devices[lower].uppers.get(at).copied() else { continue };
            if Some(child) != sender && self.devices[child].runs() && self.is_ipvlan(child) {
                self.reach(sender.unwrap_or(lower), child, frame);
            }
        }
    }

    /// The share that has the address a frame is for: the target of a neighbour message (`ipvlan_addr_lookup`).
    fn ipvlan_by_address(&self, lower: DevId, frame: &Frame<'_>) -> Option<DevId> {
        let to: IpAddr = match frame {
            Frame::Ip(skb) => skb.packet.dst,
            Frame::Neighbour(spoken) => spoken.message.target,
        };
        let has = |child: &DevId| {
            let stack = &self.stacks[self.devices[*child].ns];
            stack.addresses_of(*child).any(|address| address.addr() == to)
        };
        let children = self.devices[lower].uppers.iter().copied();
        children.filter(|c| self.is_ipvlan(*c) && self.devices[*c].alive).find(has)
    }

    fn is_ipvlan(&self, dev: DevId) -> bool {
        matches!(self.devices[dev].kind, Kind::Ipvlan { .. })
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::plan::LinkKind;
    use seatrial_core::topology::{IpvlanFlag, IpvlanMode};

    use crate::testbed::{Bed, ask, parent};

    /// A host with two shares of its `eth0`, and another machine on the wire that has a route to them by it.
    fn shares(mode: IpvlanMode, flag: IpvlanFlag, red: &str, blue: &str) -> Bed {
        let bed = Bed::new().machine("lan", "203.0.113.50/24").machine("host", "203.0.113.10/24");
        let share = |bed: Bed, node: &str, address: &str| {
            let kind = LinkKind::Ipvlan { parent: parent("host", "eth0"), mode, flag };
            bed.share(node, kind, 0, address).route(node, "default dev eth0").listen(node, "80/tcp")
        };
        share(share(bed, "red", red), "blue", blue)
            .route("lan", "10.7.1.0/24 via 203.0.113.10")
            .listen("lan", "7000/tcp")
            .listen("host", "9000/tcp")
    }

    // What is expected below was measured on Linux 6.1.

    #[test]
    fn layer_2_shares_meet_each_other_and_the_wire_and_never_their_host() {
        let bed = shares(IpvlanMode::L2, IpvlanFlag::Bridge, "203.0.113.70/24", "203.0.113.71/24");
        let mut world = bed.world();
        for (line, outcome) in [
            ("red -> 203.0.113.71:80/tcp", "reaches blue:80 from 203.0.113.70"),
            ("lan -> 203.0.113.70:80/tcp", "reaches red:80 from 203.0.113.50"),
            ("red -> 203.0.113.50:7000/tcp", "reaches lan:7000 from 203.0.113.70"),
            ("red -> 203.0.113.10:9000/tcp", "unreachable (host)"),
            ("host -> 203.0.113.70:80/tcp", "unreachable (host)"),
        ] {
            assert_eq!(ask(&mut world, line), outcome, "{line}");
        }
    }

    #[test]
    fn private_shares_reach_the_wire_and_not_each_other() {
        let bed = shares(IpvlanMode::L2, IpvlanFlag::Private, "203.0.113.70/24", "203.0.113.71/24");
        let mut world = bed.world();
        assert_eq!(ask(&mut world, "red -> 203.0.113.71:80/tcp"), "unreachable (host)");
        assert_eq!(ask(&mut world, "lan -> 203.0.113.70:80/tcp"), "reaches red:80 from 203.0.113.50");
    }

    #[test]
    fn layer_3_shares_are_routed_and_have_no_neighbours() {
        for mode in [IpvlanMode::L3, IpvlanMode::L3s] {
            let mut world = shares(mode, IpvlanFlag::Bridge, "10.7.1.10/24", "10.7.1.11/24").world();
            for (line, outcome) in [
                ("red -> 10.7.1.11:80/tcp", "reaches blue:80 from 10.7.1.10"),
                ("red -> 10.7.1.99:80/tcp", "dropped"),
                ("lan -> 10.7.1.10:80/tcp", "reaches red:80 from 203.0.113.50"),
                ("red -> 203.0.113.10:9000/tcp", "dropped"),
            ] {
                assert_eq!(ask(&mut world, line), outcome, "{mode:?}: {line}");
            }
        }
    }

    /// What comes of a packet to or from a share in layer 3, where the host drops what passes one hook.
    fn filtered(mode: IpvlanMode, hook: &str, line: &str) -> String {
        let bed = shares(mode, IpvlanFlag::Bridge, "10.7.1.10/24", "10.7.1.11/24");
        ask(&mut bed.rules("host", &format!("*filter\n:{hook} DROP [0:0]\nCOMMIT\n")).world(), line)
    }

    #[test]
    fn layer_3_is_reached_around_the_hosts_rules_and_sends_by_its_output() {
        let to_red = "lan -> 10.7.1.10:80/tcp";
        assert_eq!(filtered(IpvlanMode::L3, "INPUT", to_red), "reaches red:80 from 203.0.113.50");
        assert_eq!(filtered(IpvlanMode::L3, "FORWARD", to_red), "reaches red:80 from 203.0.113.50");
        // The answer leaves by the host's OUTPUT (`ipvlan_process_v4_outbound`: `ip_local_out`).
        assert_eq!(filtered(IpvlanMode::L3, "OUTPUT", to_red), "dropped");
    }

    #[test]
    fn layer_3s_passes_the_hosts_input() {
        assert_eq!(filtered(IpvlanMode::L3s, "INPUT", "lan -> 10.7.1.10:80/tcp"), "dropped");
    }
}
