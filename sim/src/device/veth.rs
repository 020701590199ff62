//! A virtual cable: what goes in at one end comes out at the other (drivers/net/veth.c).

use crate::arena::DevId;
use crate::skb::Frame;
use crate::trace::DropReason;
use crate::world::World;

/// What an Ethernet header and a VLAN tag add to the MTU (`is_skb_forwardable`).
pub(crate) const VLAN_TAG: u32 = 4;

impl World {
    /// Sends a frame to the other end, if that is there and up.
    pub(crate) fn veth_transmit(&mut self, dev: DevId, peer: Option<DevId>, frame: Frame<'_>) {
        let Some(peer) = peer.filter(|p| self.devices[*p].runs()) else {
            let why = |w: &Self| format!("the other end of {} is down or gone", w.devices[dev].name);
            return self.drop_frame(dev, &frame, DropReason::NotSpecified, why);
        };
        let mtu = self.devices[peer].mtu;
        if frame.len() > mtu + VLAN_TAG {
            let why = move |w: &Self| format!("longer than the MTU of {}, {mtu}", w.devices[peer].name);
            return self.drop_frame(peer, &frame, DropReason::PktTooBig, why);
        }
        self.cross(dev, peer, &frame);
    }
}
