//! Shares of a device, each with a MAC address of its own (drivers/net/macvlan.c).
//!
//! The device's own stack and its shares never meet: what a share sends leaves by the wire, and a switch does not
//! send a frame back where it came from.

use seatrial_core::addr::MacAddr;
use seatrial_core::topology::MacvlanMode;

use super::Kind;
use crate::arena::DevId;
use crate::skb::Framed;
use crate::trace::Event as Happened;
use crate::world::{Event, World};

impl World {
    /// A share sends a frame: to its siblings, if they are in bridge mode as it is, and to the world.
    pub(crate) fn macvlan_transmit(&mut self, dev: DevId, lower: DevId, mode: MacvlanMode, framed: Framed) {
        if mode == MacvlanMode::Bridge {
            let dst = framed.frame.dst;
            if dst.is_multicast() {
                self.macvlan_broadcast(lower, Some(dev), &[MacvlanMode::Bridge], &framed);
            } else if let Some(sibling) = self.macvlan_by_mac(lower, dst)
                && self.macvlan_mode(sibling) == Some(MacvlanMode::Bridge)
            {
                return self.cross(dev, sibling, framed);
            }
        }
        self.note_lower(dev, lower, &framed);
        self.transmit(lower, framed);
    }

    /// Whether a share of a device takes a frame that reached it (`macvlan_handle_frame`).
    pub(crate) fn macvlan_receive(&mut self, lower: DevId, framed: &Framed) -> bool {
        let sender =
            self.macvlan_by_mac(lower, framed.frame.src).and_then(|s| Some((s, self.macvlan_mode(s)?)));
        if framed.frame.dst.is_multicast() {
            return self.macvlan_multicast(lower, sender, framed);
        }
        let only = self.macvlans(lower).next().filter(|(_, mode)| *mode == MacvlanMode::Passthru);
        match only.map(|(child, _)| child).or_else(|| self.macvlan_by_mac(lower, framed.frame.dst)) {
            Some(child) if self.devices[child].runs() => {
                self.cross(lower, child, *framed);
                true
            }
            Some(_) => true,
            None => false,
        }
    }

    /// A broadcast from outside is for every share; one of a share's own comes back from a switch that reflects.
    fn macvlan_multicast(
        &mut self,
        lower: DevId,
        sender: Option<(DevId, MacvlanMode)>,
        framed: &Framed,
    ) -> bool {
        use MacvlanMode::{Bridge, Passthru, Private, Vepa};
        match sender {
            None => self.macvlan_broadcast(lower, None, &[Private, Vepa, Passthru, Bridge], framed),
            Some((sender, Vepa)) => self.macvlan_broadcast(lower, Some(sender), &[Vepa, Bridge], framed),
            Some((sender, Bridge)) => self.macvlan_broadcast(lower, Some(sender), &[Vepa], framed),
            Some((sender, Private | Passthru)) => {
                self.cross(lower, sender, *framed);
                return true;
            }
        }
        false
    }

    fn macvlan_broadcast(
        &mut self,
        lower: DevId,
        sender: Option<DevId>,
        modes: &[MacvlanMode],
        framed: &Framed,
    ) {
        for at in 0..self.devices[lower].uppers.len() {
            let Some(child) = self.devices[lower].uppers.get(at).copied() else { continue };
            let meant = self.macvlan_mode(child).is_some_and(|m| modes.contains(&m));
            if meant && Some(child) != sender && self.devices[child].runs() {
                let other_ns = self.devices[child].ns != self.devices[sender.unwrap_or(lower)].ns;
                self.clock.after(super::CROSSING_US, Event::Receive(child, framed.scrubbed(other_ns)));
            }
        }
    }

    fn macvlans(&self, lower: DevId) -> impl Iterator<Item = (DevId, MacvlanMode)> {
        let alive = self.devices[lower].uppers.iter().filter(|d| self.devices[**d].alive);
        alive.filter_map(|child| Some((*child, self.macvlan_mode(*child)?)))
    }

    fn macvlan_by_mac(&self, lower: DevId, mac: MacAddr) -> Option<DevId> {
        self.macvlans(lower).map(|(child, _)| child).find(|child| self.devices[*child].mac == mac)
    }

    fn macvlan_mode(&self, dev: DevId) -> Option<MacvlanMode> {
        match &self.devices[dev].kind {
            Kind::Macvlan { mode, .. } => Some(*mode),
            Kind::Loopback | Kind::Bridge(_) | Kind::Veth { .. } => None,
            Kind::Ipvlan { .. } | Kind::Vlan { .. } | Kind::Dummy => None,
        }
    }

    /// Notes that a share hands a frame to the device below it.
    pub(crate) fn note_lower(&mut self, dev: DevId, lower: DevId, framed: &Framed) {
        let Some(skb) = framed.skb() else { return };
        let ns = self.devices[dev].ns;
        self.note(ns, Some(dev), &skb, |w| {
            let below = &w.devices[lower];
            Happened::Cross { ns: w.stacks[below.ns].name.clone(), device: below.name.clone() }
        });
    }
}
