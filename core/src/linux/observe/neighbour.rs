//! Permanent neighbours.
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than a plan has words for")]

use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use crate::addr::{IfName, MacAddr};
use crate::plan::{Neighbour, Object};

/// Reads a message; `device` knows a device by its number. What the kernel has learnt, and forgets, is nothing that
/// anybody planned.
pub(super) fn object(
    message: &NeighbourMessage,
    device: impl Fn(u32) -> Option<IfName>,
) -> Result<Option<Object>, String> {
    if message.header.state != NeighbourState::Permanent {
        return Ok(None);
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(&bytes[..]).ok().map(MacAddr);
            }
            _ => {}
        }
    }
    let (Some(address), Some(link)) = (address, device(message.header.ifindex)) else { return Ok(None) };
    let mac =
        mac.ok_or_else(|| format!("neighbour {address} on {link}: a plan has none without a MAC address"))?;
    Ok(Some(Object::Neighbour(Neighbour { link, address, mac })))
}
