//! Bridged packets and the rules of the IP families (net/bridge/br_netfilter_hooks.c).
//!
//! Where `net.bridge.bridge-nf-call-iptables` is 1, a bridged IP packet passes PREROUTING, FORWARD and POSTROUTING as if
//! it were routed: it came in by the bridge and leaves by the bridge, and its ports are known to `physdev` alone.

use seatrial_core::rules::{AddrType, Hook};

use crate::arena::{DevId, NsId};
use crate::packet::{Body, Frame};
use crate::skb::{Framed, NfBridge, Skb};
use crate::stack::neighbour::Then;
use crate::stack::route::{Flow, Input};
use crate::world::World;

impl World {
    /// PREROUTING, and what becomes of the frame after it; nothing where it is taken or dropped (`br_nf_pre_routing`).
    pub(crate) fn bridge_prerouting(&mut self, port: DevId, framed: Framed) -> Option<Framed> {
        let Some((bridge, ns, mut skb)) = self.called_for(port, &framed) else { return Some(framed) };
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
            Input::Forward(_) | Input::Local => None,
            Input::Drop { .. } | Input::Unreachable { .. } => {
                let path = self.route(ns, &Flow::to(skb.packet.dst));
                match path.filter(|p| p.dev == bridge && p.kind == AddrType::Unicast) {
                    Some(path) => Some(path.next_hop(skb.packet.dst)),
                    None => {
                        self.note_drop(ns, Some(bridge), &skb, "IP_INNOROUTES", |_| {
                            format!("no route to {} for a bridged packet", skb.packet.dst)
                        });
                        return None;
                    }
                }
            }
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
        let bridged = from.is_some() && framed.meta.bridge.is_some();
        let Some(mut skb) = framed.skb().filter(|_| bridged) else { return Some(framed) };
        let ns = self.devices[bridge].ns;
        let passes = self.hook_bridged(ns, Hook::Forward, &mut skb, Some(bridge), Some(bridge), Some(out))
            && self.hook_bridged(ns, Hook::Postrouting, &mut skb, None, Some(bridge), Some(out));
        passes.then(|| carry(skb, framed.frame))
    }

    /// The bridge, its namespace and the packet, where rules are called for it.
    fn called_for(&self, port: DevId, framed: &Framed) -> Option<(DevId, NsId, Skb)> {
        let (bridge, skb) = (self.bridge_of(port)?, framed.skb()?);
        let ns = self.devices[bridge].ns;
        let called = framed.meta.vlan.is_none() && self.stacks[ns].calls_rules(skb.packet.family());
        called.then_some((bridge, ns, skb))
    }
}

/// The packet, rewritten, in the frame it came in.
const fn carry(skb: Skb, frame: Frame) -> Framed {
    Framed { frame: Frame { body: Body::Ip(skb.packet), ..frame }, meta: skb.meta }
}
