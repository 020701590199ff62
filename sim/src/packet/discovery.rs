//! Neighbour discovery: what a neighbour message is in IPv6 (RFC 4861, 4.3 and 4.4).

use std::net::{IpAddr, Ipv6Addr};

use seatrial_core::addr::MacAddr;

use super::{Checksum, Icmp, L4, NeighbourMessage, Packet, Payload};

/// The hop limit that it must have (RFC 4861, 7.1).
pub(crate) const LINK_HOPS: u8 = 255;
/// The address it is about, and the option with the sender's hardware address, in bytes.
const BODY: u16 = 24;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::from_bits(0xff02 << 112 | 1);

/// A solicitation (135) or an advertisement (136).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Discovery {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) src: Ipv6Addr,
    pub(crate) dst: Ipv6Addr,
    /// The address it asks for, or tells of.
    pub(crate) about: Ipv6Addr,
}

impl NeighbourMessage {
    /// What it is in a frame to `dst`; nothing where it is ARP.
    pub(crate) const fn discovery(&self, dst: MacAddr) -> Option<Discovery> {
        let (IpAddr::V6(src), IpAddr::V6(target)) = (self.sender, self.target) else { return None };
        let unsolicited = src.to_bits() == target.to_bits();
        Some(match self.request {
            true => {
                let dst = if dst.is_multicast() { solicited_node(target) } else { target };
                Discovery { kind: 135, flags: 0, src, dst, about: target }
            }
            false if unsolicited => Discovery { kind: 136, flags: OVERRIDE, src, dst: ALL_NODES, about: src },
            false => Discovery { kind: 136, flags: SOLICITED | OVERRIDE, src, dst: target, about: src },
        })
    }
}

impl Packet {
    /// Whether it is a message of neighbour discovery.
    pub(crate) const fn is_discovery(&self) -> bool {
        matches!((self.src, self.l4), (IpAddr::V6(_), L4::Icmp(Icmp::Other { kind: 135 | 136, .. })))
    }
}

impl Discovery {
    /// As rules see it.
    pub(crate) const fn packet(&self) -> Packet {
        Packet {
            src: IpAddr::V6(self.src),
            dst: IpAddr::V6(self.dst),
            ttl: LINK_HOPS,
            df: false,
            mark: 0,
            size: BODY,
            l4: L4::Icmp(Icmp::Other { kind: self.kind, code: 0 }),
            payload: Payload::Empty,
            checksum: Checksum::Good,
        }
    }
}

/// The group in which whoever has the address listens (RFC 4291, 2.7.1).
const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits((0xff02 << 112) | 0x1_ff00_0000 | (address.to_bits() & 0xff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_an_address_is_asked_for_in_the_group_of_its_last_three_bytes() {
        let group = solicited_node("fd07:1::a2:b3c4".parse().unwrap());
        assert_eq!(group.to_string(), "ff02::1:ffa2:b3c4");
    }
}
