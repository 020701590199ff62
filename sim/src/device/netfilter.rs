//! Bridged packets and the rules of the IP families (net/bridge/br_netfilter_hooks.c).
//!
//! Where `net.bridge.bridge-nf-call-iptables` is 1, a bridged IP packet passes PREROUTING, FORWARD and POSTROUTING as if
//! it were routed: it came in by the bridge and leaves by the bridge, and its ports are known to `physdev` alone.

use seatrial_core::rules::Hook;

use crate::arena::{DevId, NsId};
use crate::packet::{Body, Checksum, Frame};
use crate::skb::{Framed, NfBridge, Skb};
use crate::stack::neighbour::Then;
use crate::stack::route::Input;
use crate::trace::DropReason;
use crate::world::World;

impl World {
    /// PREROUTING, and what becomes of the frame after it; nothing where it is taken or dropped (`br_nf_pre_routing`).
    pub(crate) fn bridge_prerouting(&mut self, port: DevId, framed: Framed) -> Option<Framed> {
        let Some((bridge, ns, mut skb)) = self.called_for(port, &framed) else { return Some(framed) };
        if skb.packet.checksum == Checksum::BadIp {
            // `br_validate_ipv4`.
            let why = |_: &Self| "its IP header is not what was sent".to_owned();
            self.note_drop(ns, Some(port), &skb, DropReason::NetfilterDrop, why);
            return None;
        }
        let original = skb.packet.dst;
        skb.meta.bridge = Some(NfBridge { input: port });
        if !self.hook(ns, Hook::Prerouting, &mut skb, Some(bridge), None) {
            return None;
        }
        if skb.packet.dst == original {
            return Some(carry(skb, framed.frame));
        }
        self.bridge_redirect(port, bridge, ns, skb, framed.frame)
    }

    /// DNAT gave a bridged packet another destination: on the same bridge it stays bridged, and else it is for the
    /// bridge's own stack (`br_nf_pre_routing_finish`).
    fn bridge_redirect(
        &mut self,
        port: DevId,
        bridge: DevId,
        ns: NsId,
        skb: Skb,
        frame: Frame,
    ) -> Option<Framed> {
        let next_hop = match self.route_input(ns, bridge, &skb) {
            Input::Forward(path) if path.dev == bridge => Some(path.next_hop(skb.packet.dst)),
            // What cannot be routed is found out in the stack; so is forwarding that is off.
            Input::Forward(_) | Input::Local | Input::Drop { .. } | Input::Unreachable { .. } => None,
        };
        let Some(next_hop) = next_hop else {
            let mut framed = carry(skb, frame);
            framed.frame.dst = self.devices[bridge].mac;
            return Some(framed);
        };
        self.neighbour_output(ns, bridge, next_hop, skb, Then::Bridge { port, src: frame.src });
        None
    }

    /// FORWARD and POSTROUTING of a bridged frame that leaves by a port (`br_nf_forward`, `br_nf_post_routing`).
    pub(crate) fn bridge_forward(
        &mut self,
        bridge: DevId,
        from: Option<DevId>,
        out: DevId,
        framed: Framed,
    ) -> Option<Framed> {
        if from.is_none() || framed.meta.bridge.is_none() {
            return Some(framed);
        }
        let Some(mut skb) = framed.seen() else { return Some(framed) };
        let ns = self.devices[bridge].ns;
        let passes = self.hook_bridged(ns, Hook::Forward, &mut skb, Some(bridge), Some(bridge), Some(out))
            && self.hook_bridged(ns, Hook::Postrouting, &mut skb, None, Some(bridge), Some(out));
        passes.then(|| carry(skb, framed.frame))
    }

    /// The bridge, its namespace and the packet, where rules are called for it.
    fn called_for(&self, port: DevId, framed: &Framed) -> Option<(DevId, NsId, Skb)> {
        let bridge = self.bridge_of(port)?;
        let ns = self.devices[bridge].ns;
        let called = framed.meta.vlan.is_none() && self.stacks[ns].calls_rules(framed.family()?);
        Some((bridge, ns, framed.seen().filter(|_| called)?))
    }
}

/// The packet, rewritten, in the frame it came in; a neighbour message is never rewritten.
const fn carry(skb: Skb, frame: Frame) -> Framed {
    let body = match frame.body {
        Body::Ip(_) => Body::Ip(skb.packet),
        Body::Neighbour(_) => frame.body,
    };
    Framed { frame: Frame { body, ..frame }, meta: skb.meta }
}

#[cfg(test)]
mod tests {
    use crate::testbed::{Bed, ask, bridged, port};

    /// Rules of h, and whether they are called for bridged packets, and whether h forwards.
    fn ruled(rules: &str, called: u8, forwards: u8) -> Bed {
        let bed = bridged().rules("h", rules).listen("b", "80/tcp").listen("h", "81/tcp");
        let bed = bed.sysctl("h", &format!("net.bridge.bridge-nf-call-iptables={called}"));
        let bed = bed.sysctl("h", &format!("net.ipv4.ip_forward={forwards}"));
        ["a", "b"].into_iter().fold(bed, |bed, node| bed.route(node, "default via 10.0.0.254"))
    }

    fn nat(rules: &str) -> String {
        format!("*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{rules}\nCOMMIT\n")
    }

    fn filter(rule: &str) -> String {
        format!("*filter\n:FORWARD ACCEPT [0:0]\n{rule}\nCOMMIT\n")
    }

    const DNAT: &str = "-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80";

    // Every row was asked of Linux 6.18.

    #[test]
    fn n13_a_neighbour_behind_dnat_answers_only_where_bridged_packets_are_seen() {
        for (called, forwards, outcome) in [
            (0, 0, "dropped"),
            // The answer goes straight to a, and is not undone: a knows no connection to 10.0.0.2.
            (0, 1, "dropped"),
            (1, 1, "reaches b:80 from 10.0.0.1"),
            // Against X3 of the source: a changed destination is routed, and that needs forwarding.
            (1, 0, "dropped"),
        ] {
            let mut world = ruled(&nat(DNAT), called, forwards).world();
            assert_eq!(
                ask(&mut world, "a -> 10.0.0.254:8080/tcp"),
                outcome,
                "called {called}, forwards {forwards}"
            );
        }
    }

    #[test]
    fn x3_a_bridged_packet_whose_port_alone_changes_stays_bridged_and_needs_no_forwarding() {
        let ask = |called| ask(&mut ruled(&nat(DNAT), called, 0).world(), "a -> 10.0.0.2:8080/tcp");
        assert_eq!((ask(0), ask(1)), ("refused".to_owned(), "reaches b:80 from 10.0.0.1".to_owned()));
    }

    #[test]
    fn x3_a_bridged_packet_for_the_bridges_own_address_goes_up() {
        let dnat = "-A PREROUTING -p tcp -m tcp --dport 8081 -j DNAT --to-destination 10.0.0.254:81";
        let mut world = ruled(&nat(dnat), 1, 1).world();
        assert_eq!(ask(&mut world, "a -> 10.0.0.2:8081/tcp"), "reaches h:81 from 10.0.0.1");
    }

    #[test]
    fn n12_a_container_reaches_itself_by_dnat_with_a_hairpin_and_masquerade() {
        let hairpin = |rules: &str| ruled(rules, 1, 1).with("h", port("p2", true, false));
        let both = nat(&format!("{DNAT}\n-A POSTROUTING -s 10.0.0.2/32 -d 10.0.0.2/32 -j MASQUERADE"));
        assert_eq!(ask(&mut ruled(&both, 1, 1).world(), "b -> 10.0.0.254:8080/tcp"), "dropped");
        assert_eq!(ask(&mut hairpin(&nat(DNAT)).world(), "b -> 10.0.0.254:8080/tcp"), "dropped");
        let outcome = ask(&mut hairpin(&both).world(), "b -> 10.0.0.254:8080/tcp");
        assert_eq!(outcome, "reaches b:80 from 10.0.0.254");
    }

    #[test]
    fn x1_x2_x5_a_bridged_packet_passes_forward_from_the_bridge_to_the_bridge() {
        for (rule, outcome) in [
            ("-A FORWARD -i br -o br -j DROP", "dropped"),
            ("-A FORWARD -i br -o br -p tcp -j REJECT --reject-with tcp-reset", "refused"),
            ("-A FORWARD -i br -o br -j REJECT", "refused"),
            ("-A FORWARD -m physdev --physdev-in p1 --physdev-out p2 -j DROP", "dropped"),
            ("-A FORWARD -m physdev --physdev-in p2 -j DROP", "dropped"),
            ("-A FORWARD -m physdev --physdev-in p3 -j DROP", "reaches b:80 from 10.0.0.1"),
        ] {
            assert_eq!(
                ask(&mut ruled(&filter(rule), 1, 1).world(), "a -> 10.0.0.2:80/tcp"),
                outcome,
                "{rule}"
            );
            let unseen = ask(&mut ruled(&filter(rule), 0, 1).world(), "a -> 10.0.0.2:80/tcp");
            assert_eq!(unseen, "reaches b:80 from 10.0.0.1", "{rule}");
        }
    }

    #[test]
    fn x4_a_masquerade_that_is_too_wide_catches_neighbours() {
        let rules = nat("-A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE");
        let outcome = ask(&mut ruled(&rules, 1, 1).world(), "a -> 10.0.0.2:80/tcp");
        assert_eq!(outcome, "reaches b:80 from 10.0.0.254");
    }
}
