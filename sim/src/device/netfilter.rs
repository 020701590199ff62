//! Bridged packets and the rules of the IP families (net/bridge/br_netfilter_hooks.c).
//!
//! Where `net.bridge.bridge-nf-call-iptables` is 1, a bridged IP packet passes PREROUTING, FORWARD and POSTROUTING as if
//! it were routed: it came in by the bridge and leaves by the bridge, and its ports are known to `physdev` alone.

use seatrial_core::rules::Hook;

use crate::arena::{DevId, NsId};
use crate::packet::Checksum;
use crate::skb::{Frame, NfBridge, Skb};
use crate::stack::neighbour::Then;
use crate::stack::route::Input;
use crate::trace::DropReason;
use crate::world::World;

impl World {
    /// PREROUTING, and whether the frame goes on after it: it may have been taken or dropped (`br_nf_pre_routing`).
    pub(crate) fn bridge_prerouting(&mut self, port: DevId, frame: &mut Frame<'_>) -> bool {
        let Some((bridge, ns)) = self.called_for(port, frame) else { return true };
        match frame {
            Frame::Ip(skb) => {
                let original = skb.packet.dst;
                self.bridge_hook(port, bridge, ns, skb)
                    && (skb.packet.dst == original || self.bridge_redirect(port, bridge, ns, skb))
            }
            Frame::Neighbour(spoken) => {
                let Some(mut skb) = spoken.seen() else { return true };
                let passes = self.bridge_hook(port, bridge, ns, &mut skb);
                spoken.meta = skb.meta;
                passes
            }
        }
    }

    fn bridge_hook(&mut self, port: DevId, bridge: DevId, ns: NsId, skb: &mut Skb) -> bool {
        if skb.packet.checksum == Checksum::BadIp {
            // `br_validate_ipv4`.
            let why = |_: &Self| "its IP header is not what was sent".to_owned();
            self.note_drop(ns, Some(port), skb, DropReason::NetfilterDrop, why);
            return false;
        }
        skb.meta.bridge = Some(NfBridge { input: port });
        self.hook(ns, Hook::Prerouting, skb, Some(bridge), None)
    }

    /// DNAT gave a bridged packet another destination: on the same bridge it stays bridged, and else it is for the
    /// bridge's own stack (`br_nf_pre_routing_finish`). Whether the bridge goes on with it at once.
    fn bridge_redirect(&mut self, port: DevId, bridge: DevId, ns: NsId, skb: &mut Skb) -> bool {
        let next_hop = match self.route_input(ns, bridge, skb) {
            Input::Forward(path) if path.dev == bridge => Some(path.next_hop(skb.packet.dst)),
            // What cannot be routed is found out in the stack; so is forwarding that is off.
            Input::Forward(_) | Input::Local | Input::Drop { .. } | Input::Unreachable { .. } => None,
        };
        let Some(next_hop) = next_hop else {
            skb.meta.dst = self.devices[bridge].mac;
            return true;
        };
        let src = skb.meta.src;
        self.neighbour_output(ns, bridge, next_hop, skb, Then::Bridge { port, src });
        false
    }

    /// FORWARD and POSTROUTING of a bridged frame that leaves by a port (`br_nf_forward`, `br_nf_post_routing`).
    pub(crate) fn bridge_forward(
        &mut self,
        bridge: DevId,
        from: Option<DevId>,
        out: DevId,
        frame: &mut Frame<'_>,
    ) -> bool {
        if from.is_none() || frame.meta().bridge.is_none() {
            return true;
        }
        match frame {
            Frame::Ip(skb) => self.bridge_hooks(bridge, out, skb),
            Frame::Neighbour(spoken) => {
                let Some(mut skb) = spoken.seen() else { return true };
                let passes = self.bridge_hooks(bridge, out, &mut skb);
                spoken.meta = skb.meta;
                passes
            }
        }
    }

    fn bridge_hooks(&mut self, bridge: DevId, out: DevId, skb: &mut Skb) -> bool {
        let ns = self.devices[bridge].ns;
        self.hook_bridged(ns, Hook::Forward, skb, Some(bridge), Some(bridge), Some(out))
            && self.hook_bridged(ns, Hook::Postrouting, skb, None, Some(bridge), Some(out))
    }

    /// The bridge and its namespace, where rules are called for a frame.
    fn called_for(&self, port: DevId, frame: &Frame<'_>) -> Option<(DevId, NsId)> {
        let bridge = self.bridge_of(port)?;
        let ns = self.devices[bridge].ns;
        let called = frame.meta().vlan.is_none() && self.stacks[ns].calls_rules(frame.family()?);
        called.then_some((bridge, ns))
    }
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
