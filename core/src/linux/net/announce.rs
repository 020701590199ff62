//! An address announced to everyone on a link, as the Engine does it (libnetwork/internal/l2disco).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{ArpEthIpv4Packet, ArpOperation, Icmpv6Type, PacketBuilder};
use nix::errno::Errno;

use super::Net;
use super::socket::Refusal;
use crate::addr::{IfName, MacAddr};
use crate::linux::{Error, frame};

/// Everyone who speaks IPv6 on the link (RFC 4291), and the MAC address of that group (RFC 2464).
const ALL_NODES: (Ipv6Addr, MacAddr) =
    (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), MacAddr([0x33, 0x33, 0, 0, 0, 1]));

/// The hop limit of neighbour discovery: what came through a router has less (RFC 4861).
const HOPS: u8 = 255;

/// Option 2, the target's MAC address, one unit of eight bytes long (RFC 4861, 4.6.1).
const TARGET: [u8; 2] = [2, 1];

impl Net {
    /// Sends one gratuitous ARP request, or one unsolicited neighbour advertisement that overrides.
    ///
    /// # Errors
    /// As the kernel says of the device or of the socket.
    pub fn announce(&self, link: &IfName, address: IpAddr) -> Result<(), Error> {
        let send = || {
            let (index, mac) = (self.socket.index(link)?, self.mac(link)?);
            let frame = match address {
                IpAddr::V4(own) => request(mac, own),
                IpAddr::V6(own) => advertisement(mac, own)?,
            };
            let sent = self.space.inside(|| frame::send(index, &frame))?;
            sent.map_err(|e| Refusal::from(e).lacks(Errno::EAFNOSUPPORT, "a kernel with CONFIG_PACKET"))
        };
        send().map_err(|refusal| self.error("announce", format!("{address} on {link}"), refusal))
    }
}

/// A broadcast request for one's own address, that nobody is to answer.
fn request(mac: MacAddr, own: Ipv4Addr) -> Vec<u8> {
    let arp = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: mac.0,
        sender_ipv4: own.octets(),
        target_mac: [0; 6],
        target_ipv4: own.octets(),
    };
    let mut frame = Vec::new();
    let built = PacketBuilder::ethernet2(mac.0, MacAddr::BROADCAST.0).arp(arp.into());
    // Writing to a Vec cannot fail.
    let _ = built.write(&mut frame);
    frame
}

fn advertisement(mac: MacAddr, own: Ipv6Addr) -> Result<Vec<u8>, Refusal> {
    let (group, group_mac) = ALL_NODES;
    let header = NeighborAdvertisementHeader { router: false, solicited: false, r#override: true };
    let payload = [&own.octets()[..], &TARGET, &mac.0].concat();
    let mut frame = Vec::new();
    let built = PacketBuilder::ethernet2(mac.0, group_mac.0)
        .ipv6(own.octets(), group.octets(), HOPS)
        .icmpv6(Icmpv6Type::NeighborAdvertisement(header));
    built.write(&mut frame, &payload).map_err(|e| Refusal::words(e.to_string()))?;
    Ok(frame)
}
