//! A packet on its way through the kernel, and what the kernel keeps beside it (struct sk_buff).

use std::net::IpAddr;

use seatrial_core::addr::{Family, MacAddr};

use crate::arena::DevId;
use crate::netfilter::CtInfo;
use crate::packet::{Body, Frame, Packet};

/// An IP packet inside a namespace. It is moved, never copied unseen: that costs as much as a look at a rule.
#[derive(Debug, Clone)]
pub(crate) struct Skb {
    pub(crate) packet: Packet,
    pub(crate) meta: Meta,
}

/// A frame on a device.
#[derive(Debug, Clone)]
pub(crate) struct Framed {
    pub(crate) frame: Frame,
    pub(crate) meta: Meta,
}

/// What is not part of the packet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meta {
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
    /// A frame that carries it.
    pub(crate) const fn framed(self, src: MacAddr, dst: MacAddr) -> Framed {
        Framed { frame: Frame { src, dst, body: Body::Ip(self.packet) }, meta: self.meta }
    }

    /// The longest piece of it on a wire, in bytes.
    pub(crate) fn wire_len(&self) -> u32 {
        self.meta.wire_len(&self.packet)
    }
}

impl Meta {
    /// A fresh packet of this number.
    pub(crate) fn new(flight: u32) -> Self {
        Self { flight, ..Self::default() }
    }

    /// What is left on the other side of a cable (`skb_scrub_packet`).
    pub(crate) const fn scrubbed(self) -> Self {
        Self { ct: CtInfo::NONE, bridge: None, to_host: false, routed: false, ..self }
    }

    fn wire_len(&self, packet: &Packet) -> u32 {
        self.piece.map_or(packet.len(), |piece| piece.min(packet.len()))
    }
}

impl Framed {
    /// Taken off this namespace and into another: the mark stays behind.
    pub(crate) fn scrubbed(mut self, other_ns: bool) -> Self {
        self.meta = self.meta.scrubbed();
        if let (true, Body::Ip(packet)) = (other_ns, &mut self.frame.body) {
            packet.mark = 0;
        }
        self
    }

    /// The packet in it, to look at.
    pub(crate) const fn packet(&self) -> Option<&Packet> {
        match &self.frame.body {
            Body::Ip(packet) => Some(packet),
            Body::Neighbour(_) => None,
        }
    }

    /// The packet in it, if it is one.
    pub(crate) const fn skb(&self) -> Option<Skb> {
        match self.frame.body {
            Body::Ip(packet) => Some(Skb { packet, meta: self.meta }),
            Body::Neighbour(_) => None,
        }
    }

    /// The family whose rules it may meet; none of ARP's.
    pub(crate) const fn family(&self) -> Option<Family> {
        match &self.frame.body {
            Body::Ip(packet) => Some(packet.family()),
            Body::Neighbour(message) => match message.sender {
                IpAddr::V4(_) => None,
                IpAddr::V6(_) => Some(Family::V6),
            },
        }
    }

    /// What the rules of the IP families see of it.
    pub(crate) fn seen(&self) -> Option<Skb> {
        let packet = match &self.frame.body {
            Body::Ip(packet) => *packet,
            Body::Neighbour(message) => message.discovery(self.frame.dst)?.packet(),
        };
        Some(Skb { packet, meta: self.meta })
    }

    /// Its length without the Ethernet header, in bytes.
    pub(crate) fn len(&self) -> u32 {
        match &self.frame.body {
            Body::Ip(packet) => self.meta.wire_len(packet),
            // ARP for IPv4 over Ethernet (RFC 826); a neighbour solicitation is 72 (RFC 4861).
            Body::Neighbour(_) => 28,
        }
    }
}
