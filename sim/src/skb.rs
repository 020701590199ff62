//! A packet on its way through the kernel, and what the kernel keeps beside it (struct sk_buff).
//!
//! It is handed on by reference from the wire to the socket, and copied only where it waits or goes two ways: that costs
//! as much as a look at a rule.

use std::net::IpAddr;

use seatrial_core::addr::{Family, MacAddr};

use crate::arena::DevId;
use crate::netfilter::CtInfo;
use crate::packet::{NeighbourMessage, Packet};

/// An IP packet.
#[derive(Debug, Clone)]
pub(crate) struct Skb {
    pub(crate) packet: Packet,
    pub(crate) meta: Meta,
}

/// A neighbour message.
#[derive(Debug, Clone)]
pub(crate) struct Spoken {
    pub(crate) message: NeighbourMessage,
    pub(crate) meta: Meta,
}

/// A frame that waits.
#[derive(Debug, Clone)]
pub(crate) enum Framed {
    Ip(Skb),
    Neighbour(Spoken),
}

/// A frame on a device.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    Ip(&'a mut Skb),
    Neighbour(&'a mut Spoken),
}

/// What is not part of the packet: its Ethernet header, and what the kernel notes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    /// The MAC address it is sent from.
    pub(crate) src: MacAddr,
    /// The MAC address it is sent to.
    pub(crate) dst: MacAddr,
    /// The packet's number in the trace.
    pub(crate) flight: u32,
    /// Its conntrack entry, within one namespace.
    pub(crate) ct: CtInfo,
    /// The VLAN tag of its frame.
    pub(crate) vlan: Option<u16>,
    /// What br_netfilter notes.
    pub(crate) bridge: Option<NfBridge>,
    /// The bridge took it up: it is for this machine whatever its MAC address says.
    pub(crate) to_host: bool,
    /// It went out by `lo` and need not be routed again.
    pub(crate) routed: bool,
    /// It travels in pieces no longer than this.
    pub(crate) piece: Option<u32>,
    /// Devices crossed.
    pub(crate) hops: u8,
    /// A switch sent it to every port.
    pub(crate) flooded: bool,
}

/// What br_netfilter notes of a bridged packet (struct nf_bridge_info).
#[derive(Debug, Clone, Copy)]
pub(crate) struct NfBridge {
    /// The port it came in by.
    pub(crate) input: DevId,
}

impl Skb {
    /// The frame that carries it, from one MAC address to another.
    pub(crate) const fn framed(&mut self, src: MacAddr, dst: MacAddr) -> Frame<'_> {
        (self.meta.src, self.meta.dst) = (src, dst);
        Frame::Ip(self)
    }

    /// Taken off this device, and with it perhaps off this namespace: then the mark stays behind (`skb_scrub_packet`).
    pub(crate) const fn scrub(&mut self, other_ns: bool) {
        self.meta.scrub();
        if other_ns {
            self.packet.mark = 0;
        }
    }

    /// The longest piece of it on a wire, in bytes.
    pub(crate) fn wire_len(&self) -> u32 {
        let len = self.packet.len();
        self.meta.piece.map_or(len, |piece| piece.min(len))
    }
}

impl Meta {
    /// A fresh packet of this number.
    pub(crate) const fn new(flight: u32) -> Self {
        Self {
            src: MacAddr::ZERO,
            dst: MacAddr::ZERO,
            flight,
            ct: CtInfo::NONE,
            vlan: None,
            bridge: None,
            to_host: false,
            routed: false,
            piece: None,
            hops: 0,
            flooded: false,
        }
    }

    /// Leaves behind what does not pass a cable (`skb_scrub_packet`).
    const fn scrub(&mut self) {
        (self.ct, self.bridge, self.to_host, self.routed) = (CtInfo::NONE, None, false, false);
    }
}

impl Spoken {
    /// What the rules of the IP families see of it; nothing of ARP.
    pub(crate) fn seen(&self) -> Option<Skb> {
        let packet = self.message.discovery(self.meta.dst)?.packet();
        Some(Skb { packet, meta: self.meta })
    }
}

impl Framed {
    /// To be handed on.
    pub(crate) const fn frame(&mut self) -> Frame<'_> {
        match self {
            Self::Ip(skb) => Frame::Ip(skb),
            Self::Neighbour(spoken) => Frame::Neighbour(spoken),
        }
    }

    pub(crate) const fn meta(&self) -> &Meta {
        match self {
            Self::Ip(skb) => &skb.meta,
            Self::Neighbour(spoken) => &spoken.meta,
        }
    }

    /// As [`Skb::scrub`].
    pub(crate) const fn scrub(&mut self, other_ns: bool) {
        match self {
            Self::Ip(skb) => skb.scrub(other_ns),
            Self::Neighbour(spoken) => spoken.meta.scrub(),
        }
    }
}

impl Frame<'_> {
    /// The same, to be handed on and come back to.
    pub(crate) const fn again(&mut self) -> Frame<'_> {
        match self {
            Self::Ip(skb) => Frame::Ip(skb),
            Self::Neighbour(spoken) => Frame::Neighbour(spoken),
        }
    }

    /// A copy of it, to wait.
    pub(crate) fn copy(&self) -> Framed {
        match self {
            Self::Ip(skb) => Framed::Ip((*skb).clone()),
            Self::Neighbour(spoken) => Framed::Neighbour((*spoken).clone()),
        }
    }

    pub(crate) const fn meta(&self) -> &Meta {
        match self {
            Self::Ip(skb) => &skb.meta,
            Self::Neighbour(spoken) => &spoken.meta,
        }
    }

    pub(crate) const fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Ip(skb) => &mut skb.meta,
            Self::Neighbour(spoken) => &mut spoken.meta,
        }
    }

    /// The packet in it, if it is one.
    pub(crate) const fn skb(&self) -> Option<&Skb> {
        match self {
            Self::Ip(skb) => Some(skb),
            Self::Neighbour(_) => None,
        }
    }

    /// The family whose rules it may meet; none of ARP's.
    pub(crate) const fn family(&self) -> Option<Family> {
        match self {
            Self::Ip(skb) => Some(skb.packet.family()),
            Self::Neighbour(spoken) => match spoken.message.sender {
                IpAddr::V4(_) => None,
                IpAddr::V6(_) => Some(Family::V6),
            },
        }
    }

    /// Its length without the Ethernet header, in bytes.
    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::Ip(skb) => skb.wire_len(),
            // ARP for IPv4 over Ethernet (RFC 826); a neighbour solicitation is 72 (RFC 4861).
            Self::Neighbour(_) => 28,
        }
    }
}
