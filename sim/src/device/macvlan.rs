//! Shares of a device, each with a MAC address of its own (drivers/net/macvlan.c).
//!
//! The device's own stack and its shares never meet: what a share sends leaves by the wire, and a switch does not
//! send a frame back where it came from.

use seatrial_core::addr::MacAddr;
use seatrial_core::topology::MacvlanMode;

use super::Kind;
use crate::arena::DevId;
use crate::skb::Frame;
use crate::trace::Event as Happened;
use crate::world::World;

impl World {
    /// A share sends a frame: to its siblings, if they are in bridge mode as it is, and to the world.
    pub(crate) fn macvlan_transmit(&mut self, dev: DevId, lower: DevId, mode: MacvlanMode, frame: Frame<'_>) {
        if mode == MacvlanMode::Bridge {
            let dst = frame.meta().dst;
            if dst.is_multicast() {
                self.macvlan_broadcast(lower, Some(dev), &[MacvlanMode::Bridge], &frame);
            } else if let Some(sibling) = self.macvlan_by_mac(lower, dst)
                && self.macvlan_mode(sibling) == Some(MacvlanMode::Bridge)
            {
                return self.cross(dev, sibling, &frame);
            }
        }
        self.note_lower(dev, lower, &frame);
        self.transmit(lower, frame);
    }

    /// Whether a share of a device takes a frame that reached it (`macvlan_handle_frame`).
    pub(crate) fn macvlan_receive(&mut self, lower: DevId, frame: &Frame<'_>) -> bool {
        let (src, dst) = (frame.meta().src, frame.meta().dst);
        let sender = self.macvlan_by_mac(lower, src).and_then(|s| Some((s, self.macvlan_mode(s)?)));
        if dst.is_multicast() {
            return self.macvlan_multicast(lower, sender, frame);
        }
        let only = self.macvlans(lower).next().filter(|(_, mode)| *mode == MacvlanMode::Passthru);
        match only.map(|(child, _)| child).or_else(|| self.macvlan_by_mac(lower, dst)) {
            Some(child) if self.devices[child].runs() => {
                self.cross(lower, child, frame);
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
        frame: &Frame<'_>,
    ) -> bool {
        use MacvlanMode::{Bridge, Passthru, Private, Vepa};
        match sender {
            None => self.macvlan_broadcast(lower, None, &[Private, Vepa, Passthru, Bridge], frame),
            Some((sender, Vepa)) => self.macvlan_broadcast(lower, Some(sender), &[Vepa, Bridge], frame),
            Some((sender, Bridge)) => self.macvlan_broadcast(lower, Some(sender), &[Vepa], frame),
            Some((sender, Private | Passthru)) => {
                self.cross(lower, sender, frame);
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
        frame: &Frame<'_>,
    ) {
        for at in 0..self.devices[lower].uppers.len() {
            let Some(child) = self.devices[lower].uppers.get(at).copied() else { continue };
            let meant = self.macvlan_mode(child).is_some_and(|m| modes.contains(&m));
            if meant && Some(child) != sender && self.devices[child].runs() {
                self.reach(sender.unwrap_or(lower), child, frame);
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
    pub(crate) fn note_lower(&mut self, dev: DevId, lower: DevId, frame: &Frame<'_>) {
        let Some(skb) = frame.skb() else { return };
        let ns = self.devices[dev].ns;
        self.note(ns, Some(dev), skb, |w| {
            let below = &w.devices[lower];
            Happened::Cross { ns: w.stacks[below.ns].name.clone(), device: below.name.clone() }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{Bed, ask, parent, port};
    use seatrial_core::plan::LinkKind;

    /// h, 10.0.0.10, and lan, 10.0.0.50, on one switch; on h's eth0 c and d in bridge mode, e private, f vepa: .61 to .64.
    fn shared() -> Bed {
        let bed = Bed::new().machine("h", "10.0.0.10/24").machine("lan", "10.0.0.50/24");
        let modes = [MacvlanMode::Bridge, MacvlanMode::Bridge, MacvlanMode::Private, MacvlanMode::Vepa];
        let bed =
            ["c", "d", "e", "f"].into_iter().zip(modes).zip(61..).fold(bed, |bed, ((node, mode), last)| {
                let kind = LinkKind::Macvlan { parent: parent("h", "eth0"), mode };
                bed.share(node, kind, last, &format!("10.0.0.{last}/24"))
            });
        ["h", "lan", "c", "d", "e", "f"].into_iter().fold(bed, |bed, node| bed.listen(node, "80/tcp"))
    }

    fn meet(bed: &Bed, pairs: &[(&str, u8, &str)]) {
        for (from, last, outcome) in pairs {
            let got = ask(&mut bed.world(), &format!("{from} -> 10.0.0.{last}:80/tcp"));
            assert_eq!(got.split(' ').next(), outcome.split(' ').next(), "{from} -> .{last}: {got}");
        }
    }

    // Linux 6.18: each of these was asked there, with macvlans on a veth whose other end is a bridge's port.

    #[test]
    fn siblings_in_bridge_mode_meet_inside_the_parent() {
        meet(&shared(), &[("c", 62, "reaches"), ("d", 61, "reaches")]);
    }

    #[test]
    fn every_mode_reaches_the_wire_and_is_reached_from_it() {
        meet(&shared(), &[("lan", 61, "reaches"), ("c", 50, "reaches"), ("e", 50, "reaches")]);
        meet(&shared(), &[("lan", 63, "reaches"), ("f", 50, "reaches"), ("lan", 64, "reaches")]);
    }

    #[test]
    fn a_parent_and_its_macvlans_do_not_meet() {
        meet(&shared(), &[("h", 61, "unreachable"), ("c", 10, "unreachable")]);
    }

    #[test]
    fn private_and_vepa_meet_no_sibling() {
        meet(&shared(), &[("c", 63, "unreachable"), ("e", 61, "unreachable")]);
        meet(&shared(), &[("f", 61, "unreachable"), ("c", 64, "unreachable")]);
    }

    #[test]
    fn a_switch_that_reflects_lets_all_but_private_meet() {
        let bed = shared().with("wire", port("p1", true, false));
        meet(&bed, &[("h", 61, "reaches"), ("c", 10, "reaches"), ("f", 61, "reaches"), ("c", 64, "reaches")]);
        meet(&bed, &[("c", 63, "unreachable"), ("e", 61, "unreachable")]);
    }
}
