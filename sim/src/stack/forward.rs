//! A packet that only passes through: TTL, MTU, FORWARD (net/ipv4/ip_forward.c, net/ipv6/ip6_output.c).

use std::net::IpAddr;

use seatrial_core::addr::Family;
use seatrial_core::rules::Hook;

use super::icmp::Reason;
use super::route::Path;
use crate::arena::{DevId, NsId};
use crate::skb::Skb;
use crate::trace::DropReason;
use crate::world::World;

impl World {
    /// On to another device. TTL and MTU are checked before the TTL falls, and FORWARD sees it fallen (F9).
    pub(crate) fn forward(&mut self, ns: NsId, dev: DevId, skb: &mut Skb, path: Path) {
        if skb.packet.ttl <= 1 {
            let why = |w: &Self| format!("its TTL ran out in {}", w.stacks[ns].name);
            self.note_drop(ns, Some(dev), skb, DropReason::IpInHdr, why);
            return self.icmp_error(ns, skb, Reason::TimeExceeded);
        }
        if let IpAddr::V6(src) = skb.packet.src
            && src.is_unicast_link_local()
        {
            let why = |_: &Self| format!("{src} is not valid beyond its link");
            self.note_drop(ns, Some(dev), skb, DropReason::IpInAddrErrors, why);
            return self.icmp_error(ns, skb, Reason::BeyondScope);
        }
        let mtu = self.devices[path.dev].mtu;
        let whole = skb.packet.df || skb.packet.family() == Family::V6;
        if skb.wire_len() > mtu && whole {
            let why = |w: &Self| format!("longer than the MTU of {}, {mtu}", w.devices[path.dev].name);
            self.note_drop(ns, Some(dev), skb, DropReason::PktTooBig, why);
            return self.icmp_error(ns, skb, Reason::TooBig { mtu });
        }
        self.note_passage(ns, dev, skb, &path);
        skb.packet.ttl -= 1;
        #[cfg(test)]
        if self.planted == Some(crate::properties::Bug::Undying) {
            skb.packet.ttl += 1;
        }
        if self.hook(ns, Hook::Forward, skb, Some(dev), Some(path.dev)) {
            self.ip_output(ns, skb, Some(dev), path);
        }
    }
}
