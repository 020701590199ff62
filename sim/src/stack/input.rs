//! A packet that came in: for a socket here, to be forwarded, or not believed (net/ipv4/ip_input.c).

use seatrial_core::addr::Family;
use seatrial_core::rules::{AddrType, Hook};

use super::icmp::Reason;
use super::route::Input;
use crate::arena::{DevId, NsId};
use crate::packet::L4;
use crate::skb::Skb;
use crate::world::World;

impl World {
    /// A packet came in by a device (`ip_rcv`, `ipv6_rcv`).
    pub(crate) fn ip_receive(&mut self, dev: DevId, mut skb: Skb, link_broadcast: bool) {
        let ns = self.devices[dev].ns;
        if skb.packet.family() == Family::V6 && self.stacks[ns].conf(dev).disable_ipv6 {
            return self.note_drop(ns, Some(dev), &skb, "IPV6DISABLED", |w| {
                format!("IPv6 is off on {}", w.devices[dev].name)
            });
        }
        // A bridged packet has passed PREROUTING on the bridge (`ip_sabotage_in`).
        if skb.meta.bridge.is_none() && !self.hook(ns, Hook::Prerouting, &mut skb, Some(dev), None) {
            return;
        }
        if skb.meta.routed {
            return self.local_deliver(ns, dev, skb);
        }
        match self.route_input(ns, dev, &skb) {
            Input::Local => self.local_deliver(ns, dev, skb),
            // Not for a machine that only heard it (`ip_forward`: pkt_type).
            Input::Forward(_) if link_broadcast => {}
            Input::Forward(path) => self.forward(ns, dev, skb, path),
            Input::Drop { reason, why } => self.note_drop(ns, Some(dev), &skb, reason, |_| why),
            Input::Unreachable { why } => {
                self.note_drop(ns, Some(dev), &skb, "IP_INNOROUTES", |_| why);
                self.icmp_error(ns, &skb, Reason::NoRoute);
            }
        }
    }

    /// To a socket of this namespace (`ip_local_deliver`).
    fn local_deliver(&mut self, ns: NsId, dev: DevId, mut skb: Skb) {
        skb.meta.routed = false;
        if !self.hook(ns, Hook::Input, &mut skb, Some(dev), None) {
            return;
        }
        let everyone = self.stacks[ns].addr_type(skb.packet.dst) != AddrType::Local;
        match skb.packet.l4 {
            L4::Tcp(tcp) if !everyone => self.tcp_input(ns, dev, skb, tcp),
            L4::Tcp(_) => {}
            L4::Udp(ports) | L4::Sctp(ports) => self.datagram_input(ns, dev, skb, ports, everyone),
            L4::Icmp(icmp) => self.icmp_input(ns, dev, skb, icmp, everyone),
            L4::Other(number) => {
                self.note_drop(ns, Some(dev), &skb, "IP_NOPROTO", |_| {
                    format!("no one speaks protocol {number}")
                });
                if !everyone {
                    self.icmp_error(ns, &skb, Reason::NoProtocol);
                }
            }
        }
    }
}
