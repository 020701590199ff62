//! Network devices: what each kind does with a frame it is given to send, or that reaches it.

use seatrial_core::addr::{IfName, MacAddr};
use seatrial_core::probe::Way;
use seatrial_core::topology::{IpvlanFlag, IpvlanMode, MacvlanMode};

use crate::arena::{DevId, NsId};
use crate::skb::{Frame, Skb};
use crate::trace::{DropReason, Event as Happened};
use crate::wire::Wire;
use crate::world::{Event, World};

pub(crate) mod bridge;
pub(crate) mod ipvlan;
pub(crate) mod macvlan;
pub(crate) mod netfilter;
pub(crate) mod veth;

/// The Ethernet MTU.
pub(crate) const MTU: u32 = 1500;
/// The loopback device's (drivers/net/loopback.c).
const LOOPBACK_MTU: u32 = 65536;
/// How many devices a frame may cross before the simulator calls it a loop; the kernel has no such limit.
const HOPS: u8 = 64;
/// How many frames may wait before more are dropped (net.core.netdev_max_backlog).
const BACKLOG: usize = 1000;
/// What it takes a frame to get from one device to the next, in microseconds.
const CROSSING_US: u64 = 1;

/// A network device.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) ns: NsId,
    pub(crate) name: IfName,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// Whether it still exists.
    pub(crate) alive: bool,
    pub(crate) kind: Kind,
    /// As a bridge's port.
    pub(crate) port: Option<Port>,
    /// The macvlan, ipvlan and VLAN devices on top of it.
    pub(crate) uppers: Vec<DevId>,
    /// The faults of its wire, where it has had any.
    pub(crate) wire: Option<Box<Wire>>,
}

/// What a bridge's port is set to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    pub(crate) bridge: DevId,
    pub(crate) hairpin: bool,
    pub(crate) isolated: bool,
}

/// What a device is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Loopback,
    Bridge(bridge::Bridge),
    Veth { peer: Option<DevId> },
    Macvlan { lower: DevId, mode: MacvlanMode },
    Ipvlan { lower: DevId, mode: IpvlanMode, flag: IpvlanFlag },
    Vlan { lower: DevId, id: u16 },
    Dummy,
}

impl Device {
    /// A device that is down.
    pub(crate) fn new(ns: NsId, name: IfName, kind: Kind) -> Self {
        let mtu = if matches!(kind, Kind::Loopback) { LOOPBACK_MTU } else { MTU };
        Self {
            ns,
            name,
            mac: MacAddr::ZERO,
            mtu,
            up: false,
            alive: true,
            kind,
            port: None,
            uppers: Vec::new(),
            wire: None,
        }
    }

    /// Whether it works.
    pub(crate) const fn runs(&self) -> bool {
        self.alive && self.up
    }

    /// Whether it sends without asking for neighbours (IFF_NOARP).
    pub(crate) const fn no_arp(&self) -> bool {
        match &self.kind {
            Kind::Loopback | Kind::Dummy => true,
            Kind::Ipvlan { mode: IpvlanMode::L3 | IpvlanMode::L3s, .. } => true,
            Kind::Ipvlan { mode: IpvlanMode::L2, .. } => false,
            Kind::Bridge(_) | Kind::Veth { .. } | Kind::Macvlan { .. } | Kind::Vlan { .. } => false,
        }
    }

    /// Whether it is `lo`.
    pub(crate) const fn is_loopback(&self) -> bool {
        matches!(self.kind, Kind::Loopback)
    }
}

impl World {
    /// Lets a device send a frame (`dev_queue_xmit`).
    pub(crate) fn transmit(&mut self, dev: DevId, mut frame: Frame<'_>) {
        frame.meta_mut().hops += 1;
        let device = &self.devices[dev];
        if !device.runs() {
            return self.drop_frame(dev, &frame, DropReason::DevReady, |w| {
                format!("{} is down", w.devices[dev].name)
            });
        }
        let why = match frame.meta().hops > HOPS {
            true => Some("the frame goes round in a loop"),
            false if self.clock.waiting() > BACKLOG => {
                Some("too many frames wait (net.core.netdev_max_backlog)")
            }
            false => None,
        };
        if let Some(why) = why {
            return self.drop_frame(dev, &frame, DropReason::CpuBacklog, |_| why.to_owned());
        }
        self.film(dev, Way::Out, &frame);
        if self.pass(dev, Way::Out, &mut frame) {
            self.put(dev, frame);
        }
    }

    /// Puts a frame on what the device is made of (`dev_hard_start_xmit`).
    pub(crate) fn put(&mut self, dev: DevId, mut frame: Frame<'_>) {
        match &self.devices[dev].kind {
            Kind::Loopback => {
                frame.meta_mut().routed = true;
                self.clock.after(CROSSING_US, Event::Receive(dev, frame.copy()));
            }
            Kind::Bridge(_) => self.bridge_transmit(dev, frame),
            Kind::Veth { peer } => {
                let peer = *peer;
                self.veth_transmit(dev, peer, frame);
            }
            Kind::Macvlan { lower, mode } => {
                let (lower, mode) = (*lower, *mode);
                self.macvlan_transmit(dev, lower, mode, frame);
            }
            Kind::Ipvlan { lower, mode, flag } => {
                let (lower, mode, flag) = (*lower, *mode, *flag);
                self.ipvlan_transmit(dev, lower, mode, flag, frame);
            }
            Kind::Vlan { lower, id } => {
                let lower = *lower;
                frame.meta_mut().vlan = Some(*id);
                self.transmit(lower, frame);
            }
            Kind::Dummy => self.drop_frame(dev, &frame, DropReason::NotSpecified, |w| {
                format!("{} is a dummy: it swallows what it is given", w.devices[dev].name)
            }),
        }
    }

    /// Lets a frame reach a device a moment from now, on the other side of a cable or a share.
    pub(crate) fn cross(&mut self, from: DevId, to: DevId, frame: &Frame<'_>) {
        if let Some(skb) = frame.skb() {
            let ns = self.devices[from].ns;
            self.note(ns, Some(from), skb, |w| {
                let other = &w.devices[to];
                Happened::Cross { ns: w.stacks[other.ns].name.clone(), device: other.name.clone() }
            });
        }
        self.reach(from, to, frame);
    }

    /// The same, unnoticed.
    pub(crate) fn reach(&mut self, from: DevId, to: DevId, frame: &Frame<'_>) {
        let other_ns = self.devices[from].ns != self.devices[to].ns;
        let mut framed = frame.copy();
        framed.scrub(other_ns);
        self.clock.after(CROSSING_US, Event::Receive(to, framed));
    }

    /// A frame reached a device, by its wire.
    pub(crate) fn receive(&mut self, dev: DevId, mut frame: Frame<'_>) {
        if self.pass(dev, Way::In, &mut frame) {
            self.arrive(dev, frame);
        }
    }

    /// A frame is at a device (`__netif_receive_skb_core`): to whatever sits on top of it, or to its stack.
    pub(crate) fn arrive(&mut self, dev: DevId, mut frame: Frame<'_>) {
        if !self.devices[dev].runs() {
            return self.drop_frame(dev, &frame, DropReason::DevReady, |w| {
                format!("{} is down", w.devices[dev].name)
            });
        }
        self.film(dev, Way::In, &frame);
        if self.tapped(dev, &frame) {
            return;
        }
        if let Some(upper) = self.vlan_of(dev, frame.meta().vlan) {
            // One device up, and a device is made after what it sits on.
            frame.meta_mut().vlan = None;
            return self.receive(upper, frame);
        }
        if self.devices[dev].port.is_some() && !frame.meta().to_host {
            return self.bridge_receive(dev, frame);
        }
        if self.shared(dev, &mut frame) {
            return;
        }
        if frame.meta().vlan.is_some() {
            let why = |w: &Self| format!("{} has no VLAN device for its tag", w.devices[dev].name);
            return self.drop_frame(dev, &frame, DropReason::UnhandledProto, why);
        }
        self.take_up(dev, frame);
    }

    /// To the device's own stack, if the frame is for it (`eth_type_trans`, `ip_rcv`, `arp_rcv`).
    fn take_up(&mut self, dev: DevId, frame: Frame<'_>) {
        let device = &self.devices[dev];
        let meta = frame.meta();
        let dst = meta.dst;
        let mine = meta.to_host || device.is_loopback() || dst == device.mac || dst.is_multicast();
        match frame {
            Frame::Neighbour(spoken) if mine => self.neighbour_receive(dev, spoken),
            Frame::Ip(skb) if mine => self.ip_receive(dev, skb, dst.is_multicast()),
            Frame::Ip(skb) => self.ignored(dev, skb),
            Frame::Neighbour(_) => {}
        }
    }

    /// Another machine's frame: every switch that floods makes some, so that it is worth a word only at the end.
    fn ignored(&mut self, dev: DevId, skb: &Skb) {
        self.aside(dev, skb, DropReason::OtherHost, |w| {
            format!("{} is not the MAC address of {}", skb.meta.dst, w.devices[dev].name)
        });
    }

    fn vlan_of(&self, dev: DevId, tag: Option<u16>) -> Option<DevId> {
        let tag = tag?;
        let is = |upper: &&DevId| match self.devices[**upper].kind {
            Kind::Vlan { id, .. } => id == tag && self.devices[**upper].alive,
            Kind::Loopback | Kind::Bridge(_) | Kind::Veth { .. } => false,
            Kind::Macvlan { .. } | Kind::Ipvlan { .. } | Kind::Dummy => false,
        };
        self.devices[dev].uppers.iter().find(is).copied()
    }

    /// Whether a device's macvlans or ipvlans take a frame (`rx_handler`); a device has only one kind of them.
    fn shared(&mut self, dev: DevId, frame: &mut Frame<'_>) -> bool {
        let kinds = self.devices[dev].uppers.iter().map(|upper| &self.devices[*upper].kind);
        let mut shares = kinds.filter(|k| matches!(k, Kind::Macvlan { .. } | Kind::Ipvlan { .. }));
        match shares.next() {
            Some(Kind::Macvlan { .. }) => self.macvlan_receive(dev, frame),
            Some(Kind::Ipvlan { mode, .. }) => {
                let mode = *mode;
                self.ipvlan_receive(dev, mode, frame)
            }
            Some(Kind::Loopback | Kind::Bridge(_) | Kind::Veth { .. } | Kind::Vlan { .. } | Kind::Dummy)
            | None => false,
        }
    }

    /// Notes that a frame went no further; of those that carry no packet nothing is noted.
    pub(crate) fn drop_frame(
        &mut self,
        dev: DevId,
        frame: &Frame<'_>,
        reason: DropReason,
        why: impl FnOnce(&Self) -> String,
    ) {
        if let Some(skb) = frame.skb() {
            let ns = self.devices[dev].ns;
            self.note_drop(ns, Some(dev), skb, reason, why);
        }
    }
}
