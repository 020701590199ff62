//! A switch: learns who is behind which port, and floods what it does not know (net/bridge).

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::addr::MacAddr;

use super::veth::VLAN_TAG;
use super::{Device, Kind};
use crate::arena::DevId;
use crate::clock::SECOND;
use crate::skb::Frame;
use crate::trace::{BridgeTo, DropReason, Event as Happened};
use crate::world::{Event, World};

/// How long a learned address is believed (BR_DEFAULT_AGEING_TIME).
const AGEING_US: u64 = 300 * SECOND;

/// A bridge's ports and forwarding database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bridge {
    /// The ports, oldest first.
    pub(crate) ports: Vec<DevId>,
    /// How many of them have a MAC address (local FDB entries).
    own: IndexMap<MacAddr, usize, FxBuildHasher>,
    /// Whether its MAC address was set, and so does not follow its ports' (B4).
    mac_set: bool,
    fdb: IndexMap<MacAddr, Learned, FxBuildHasher>,
}

/// Where a MAC address was seen, and when.
#[derive(Debug, Clone, Copy)]
struct Learned {
    port: DevId,
    at_us: u64,
}

impl Bridge {
    /// A bridge without ports.
    pub(crate) fn new(mac_set: bool) -> Self {
        Self { mac_set, ..Self::default() }
    }

    /// Notes that `mac` is behind `port`; an address that moves is believed at once.
    pub(crate) fn learn(&mut self, mac: MacAddr, port: DevId, now_us: u64) {
        self.fdb.insert(mac, Learned { port, at_us: now_us });
    }

    /// The port behind which `mac` was seen of late.
    fn find(&self, mac: MacAddr, now_us: u64) -> Option<DevId> {
        let learned = self.fdb.get(&mac)?;
        (now_us < learned.at_us.saturating_add(AGEING_US)).then_some(learned.port)
    }

    /// Who was learned behind which port.
    #[cfg(test)]
    pub(crate) fn learned(&self) -> impl Iterator<Item = (MacAddr, DevId)> {
        self.fdb.iter().map(|(mac, learned)| (*mac, learned.port))
    }

    /// Forgets a port and all that is behind it.
    pub(crate) fn forget(&mut self, port: DevId) {
        self.fdb.retain(|_, learned| learned.port != port);
    }
}

impl Device {
    fn bridge(&self) -> Option<&Bridge> {
        match &self.kind {
            Kind::Bridge(bridge) => Some(bridge),
            Kind::Loopback | Kind::Veth { .. } | Kind::Macvlan { .. } => None,
            Kind::Ipvlan { .. } | Kind::Vlan { .. } | Kind::Dummy => None,
        }
    }

    /// The bridge that it is, if it is one.
    pub(crate) fn bridge_mut(&mut self) -> Option<&mut Bridge> {
        match &mut self.kind {
            Kind::Bridge(bridge) => Some(bridge),
            Kind::Loopback | Kind::Veth { .. } | Kind::Macvlan { .. } => None,
            Kind::Ipvlan { .. } | Kind::Vlan { .. } | Kind::Dummy => None,
        }
    }
}

impl World {
    /// A frame came in by a port (`br_handle_frame`).
    pub(crate) fn bridge_receive(&mut self, port: DevId, mut frame: Frame<'_>) {
        let src = frame.meta().src;
        if src.is_multicast() || src == MacAddr::ZERO {
            let why = |_: &Self| format!("{src} cannot be a sender");
            return self.drop_frame(port, &frame, DropReason::MacInvalidSource, why);
        }
        if self.bridge_prerouting(port, &mut frame) {
            self.bridge_decide(port, frame);
        }
    }

    /// Learns, then forwards, floods or takes up (`br_handle_frame_finish`).
    pub(crate) fn bridge_decide(&mut self, port: DevId, frame: Frame<'_>) {
        let Some(bridge) = self.bridge_of(port).filter(|b| self.devices[*b].runs()) else {
            let why = |w: &Self| format!("the bridge of {} is down", w.devices[port].name);
            return self.drop_frame(port, &frame, DropReason::DevReady, why);
        };
        let now_us = self.clock.now_us();
        let (src, dst) = (frame.meta().src, frame.meta().dst);
        if !self.is_own_mac(bridge, src)
            && let Some(fdb) = self.devices[bridge].bridge_mut()
        {
            fdb.learn(src, port, now_us);
        }
        if dst.is_multicast() {
            self.bridge_flood(bridge, Some(port), &frame);
            return self.bridge_up(bridge, port, frame);
        }
        if self.is_own_mac(bridge, dst) {
            self.note_bridged(bridge, Some(port), &frame, |_| BridgeTo::Local);
            return self.bridge_up(bridge, port, frame);
        }
        match self.devices[bridge].bridge().and_then(|b| b.find(dst, now_us)) {
            Some(out) => self.bridge_to_port(bridge, Some(port), out, frame),
            None => self.bridge_flood(bridge, Some(port), &frame),
        }
    }

    /// The bridge's own stack sends a frame (`br_dev_xmit`).
    pub(crate) fn bridge_transmit(&mut self, bridge: DevId, frame: Frame<'_>) {
        let now_us = self.clock.now_us();
        let dst = frame.meta().dst;
        match self.devices[bridge].bridge().and_then(|b| b.find(dst, now_us)).filter(|_| !dst.is_multicast())
        {
            Some(out) => self.bridge_to_port(bridge, None, out, frame),
            None => self.bridge_flood(bridge, None, &frame),
        }
    }

    /// To the one port its FDB names; one that may not have it swallows it (`br_forward`).
    fn bridge_to_port(&mut self, bridge: DevId, from: Option<DevId>, out: DevId, frame: Frame<'_>) {
        if let Some(why) = self.withheld(from, out) {
            return self.drop_frame(out, &frame, DropReason::NotSpecified, |_| why);
        }
        self.note_bridged(bridge, from, &frame, |w| BridgeTo::Port(w.devices[out].name.clone()));
        self.bridge_deliver(bridge, from, out, frame);
    }

    /// To every port that may have it (`br_flood`).
    fn bridge_flood(&mut self, bridge: DevId, from: Option<DevId>, frame: &Frame<'_>) {
        let ports = self.devices[bridge].bridge().map_or(0, |b| b.ports.len());
        self.note_bridged(bridge, from, frame, |_| BridgeTo::Flood);
        for at in 0..ports {
            let out = self.devices[bridge].bridge().and_then(|b| b.ports.get(at).copied());
            if let Some(out) = out.filter(|out| self.withheld(from, *out).is_none()) {
                let mut copy = frame.copy();
                let mut frame = copy.frame();
                frame.meta_mut().flooded = true;
                self.bridge_deliver(bridge, from, out, frame);
            }
        }
    }

    /// Out by a port, if the frame is not too long for it (`br_dev_queue_push_xmit`).
    fn bridge_deliver(&mut self, bridge: DevId, from: Option<DevId>, out: DevId, mut frame: Frame<'_>) {
        let mtu = self.devices[out].mtu;
        if frame.len() > mtu + VLAN_TAG {
            let why = move |w: &Self| format!("longer than the MTU of {}, {mtu}", w.devices[out].name);
            return self.drop_frame(out, &frame, DropReason::PktTooBig, why);
        }
        if self.bridge_forward(bridge, from, out, &mut frame) {
            self.transmit(out, frame);
        }
    }

    /// Up to the bridge's own addresses (`br_pass_frame_up`).
    fn bridge_up(&mut self, bridge: DevId, port: DevId, mut frame: Frame<'_>) {
        // Only its own address, or that of the very port it came in by, makes a frame this machine's.
        let meta = frame.meta_mut();
        meta.to_host = meta.dst == self.devices[bridge].mac || meta.dst == self.devices[port].mac;
        meta.flooded = false;
        self.clock.after(0, Event::Receive(bridge, frame.copy()));
    }

    /// Why a port may not have a frame that came in by `from`, if it may not (`should_deliver`).
    fn withheld(&self, from: Option<DevId>, out: DevId) -> Option<String> {
        let (device, port) = (&self.devices[out], self.devices[out].port?);
        let from_port = from.and_then(|f| self.devices[f].port);
        if from == Some(out) && !port.hairpin {
            return Some(format!(
                "it would leave by the port it came in, and {} is no hairpin port",
                device.name
            ));
        }
        if port.isolated && from_port.is_some_and(|p| p.isolated) {
            return Some(format!("{} is isolated from the port it came in by", device.name));
        }
        (!self.has_carrier(out)).then(|| format!("{} has no carrier", device.name))
    }

    /// Whether a port is up and someone is at the other end.
    fn has_carrier(&self, dev: DevId) -> bool {
        let device = &self.devices[dev];
        device.runs()
            && match &device.kind {
                Kind::Veth { peer } => peer.is_some_and(|p| self.devices[p].runs()),
                Kind::Macvlan { lower, .. } | Kind::Ipvlan { lower, .. } | Kind::Vlan { lower, .. } => {
                    self.devices[*lower].runs()
                }
                Kind::Loopback | Kind::Bridge(_) | Kind::Dummy => true,
            }
    }

    pub(crate) fn bridge_of(&self, port: DevId) -> Option<DevId> {
        self.devices[port].port.map(|p| p.bridge)
    }

    /// Whether a MAC address is the bridge's or one of its ports' (a local FDB entry).
    fn is_own_mac(&self, bridge: DevId, mac: MacAddr) -> bool {
        let device = &self.devices[bridge];
        device.mac == mac || device.bridge().is_some_and(|b| b.own.contains_key(&mac))
    }

    fn note_bridged(
        &mut self,
        bridge: DevId,
        from: Option<DevId>,
        frame: &Frame<'_>,
        to: impl FnOnce(&Self) -> BridgeTo,
    ) {
        let Some(skb) = frame.skb() else { return };
        let ns = self.devices[bridge].ns;
        self.note(ns, Some(from.unwrap_or(bridge)), skb, |w| Happened::Bridge {
            bridge: w.devices[bridge].name.clone(),
            from: from.map(|f| w.devices[f].name.clone()),
            to: to(w),
        });
    }

    /// Makes a device a port of a bridge; a bridge without a MAC address of its own takes the lowest of its ports' (B4).
    pub(crate) fn enslave(&mut self, dev: DevId, bridge: DevId) {
        self.devices[dev].port = Some(super::Port { bridge, hairpin: false, isolated: false });
        let mac = self.devices[dev].mac;
        let device = &mut self.devices[bridge];
        let Some(fdb) = device.bridge_mut() else { return };
        fdb.ports.push(dev);
        *fdb.own.entry(mac).or_default() += 1;
        let (first, follows) = (fdb.ports.len() == 1, !fdb.mac_set);
        if follows && (first || mac < device.mac) {
            device.mac = mac;
        }
    }

    /// Takes a port off its bridge.
    pub(crate) fn release(&mut self, dev: DevId) {
        let Some(port) = self.devices[dev].port.take() else { return };
        let mac = self.devices[dev].mac;
        if let Some(fdb) = self.devices[port.bridge].bridge_mut() {
            fdb.ports.retain(|p| *p != dev);
            if let Some(count) = fdb.own.get_mut(&mac) {
                *count -= 1;
            }
            fdb.own.retain(|_, count| *count > 0);
            fdb.forget(dev);
        }
        self.settle_mac(port.bridge);
    }

    fn settle_mac(&mut self, bridge: DevId) {
        let lowest = match self.devices[bridge].bridge() {
            Some(fdb) if !fdb.mac_set => fdb.ports.iter().map(|p| self.devices[*p].mac).min(),
            Some(_) | None => None,
        };
        if let Some(mac) = lowest {
            self.devices[bridge].mac = mac;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Id as _;
    use crate::testbed::{Bed, ask, bridged, inject, mac, port, reached};

    /// Whom a frame of a's reaches: to a MAC address of `02:00:00:00:00:NN`.
    fn sent(bed: &Bed, dst: u8) -> Vec<String> {
        let mut world = bed.world();
        // b has spoken, so that its port is known.
        inject(&mut world, "b", mac(2), MacAddr::BROADCAST, "10.0.0.255");
        reached(&inject(&mut world, "a", mac(1), mac(dst), "10.0.0.254"))
    }

    // Where the kernel is cited: Linux 6.18, frames sent by AF_PACKET and looked for on every device.

    #[test]
    fn b3_unknown_unicast_floods_but_does_not_go_up() {
        // Linux: b and c see it as OTHERHOST, the bridge's own device does not see it.
        assert_eq!(sent(&bridged(), 0x99), ["b", "c"]);
    }

    #[test]
    fn b3_a_broadcast_floods_and_goes_up() {
        let mut world = bridged().world();
        let hops = inject(&mut world, "a", mac(1), MacAddr::BROADCAST, "10.0.0.254");
        assert_eq!(reached(&hops), ["b", "c", "h"]);
    }

    #[test]
    fn b3_a_known_address_is_sent_to_its_port_alone() {
        assert_eq!(sent(&bridged(), 2), ["b"]);
    }

    #[test]
    fn b3_the_bridges_own_address_and_that_of_the_ingress_port_go_up() {
        assert_eq!(sent(&bridged(), 0xb0), ["h"]);
        assert_eq!(sent(&bridged(), 0x81), ["h"]);
        // Linux: that of another port goes up as OTHERHOST, and so to nobody.
        assert_eq!(sent(&bridged(), 0x82), Vec::<String>::new());
    }

    #[test]
    fn b2_a_frame_with_an_impossible_source_is_dropped() {
        for src in [MacAddr::ZERO, MacAddr([3, 0, 0, 0, 0, 1])] {
            let hops = inject(&mut bridged().world(), "a", src, MacAddr::BROADCAST, "10.0.0.255");
            assert_eq!(reached(&hops), Vec::<String>::new());
            assert!(
                hops.iter()
                    .any(|h| matches!(h.event, Happened::Drop { reason: DropReason::MacInvalidSource, .. }))
            );
        }
    }

    #[test]
    fn b3_a_frame_does_not_leave_by_the_port_it_came_in_unless_that_is_a_hairpin() {
        let to_itself = |bed: &Bed| {
            let mut world = bed.world();
            inject(&mut world, "a", mac(1), MacAddr::BROADCAST, "10.0.0.255");
            reached(&inject(&mut world, "a", mac(0x77), mac(1), "10.0.0.2"))
        };
        assert_eq!(to_itself(&bridged()), Vec::<String>::new());
        let hairpin = bridged().with("h", port("p1", true, false));
        assert_eq!(to_itself(&hairpin), ["a"]);
        // And a flood comes back to its sender as well.
        assert_eq!(sent(&hairpin, 0x99), ["a", "b", "c"]);
    }

    #[test]
    fn b7_isolated_ports_meet_others_and_the_bridge_but_not_each_other() {
        let isolated = ["p1", "p2"].iter().fold(bridged(), |bed, p| bed.with("h", port(p, false, true)));
        assert_eq!(sent(&isolated, 2), Vec::<String>::new());
        assert_eq!(sent(&isolated, 0x99), ["c"]);
        assert_eq!(sent(&isolated, 0xb0), ["h"]);
    }

    #[test]
    fn b6_a_cable_whose_other_end_is_down_carries_nothing() {
        let mut world = bridged().world();
        let ns = world.spaces[&seatrial_core::plan::NsName::from("b")];
        world.set_up(ns, &crate::testbed::name("eth0"), false).unwrap();
        assert_eq!(ask(&mut world, "a -> 10.0.0.2/icmp"), "unreachable (host)");
    }

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn b1_b3_a_learned_address_is_forgotten_after_300_seconds() {
        let mut bridge = Bridge::default();
        let port = DevId::from_position(7);
        bridge.learn(MAC, port, 1000);
        assert_eq!(bridge.find(MAC, 1000 + AGEING_US - 1), Some(port));
        assert_eq!(bridge.find(MAC, 1000 + AGEING_US), None);
    }

    #[test]
    fn b2_an_address_that_roams_is_believed_at_once() {
        let mut bridge = Bridge::default();
        let (old, new) = (DevId::from_position(1), DevId::from_position(2));
        bridge.learn(MAC, old, 0);
        bridge.learn(MAC, new, 1);
        assert_eq!(bridge.find(MAC, 2), Some(new));
        bridge.forget(new);
        assert_eq!(bridge.find(MAC, 2), None);
    }
}
