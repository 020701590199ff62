//! Addresses.
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than a plan has words for")]

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};

use crate::addr::IfName;
use crate::plan::{Address, Object};

/// Reads a message; `device` knows a device by its number.
pub(super) fn object(
    message: &AddressMessage,
    device: impl Fn(u32) -> Option<IfName>,
) -> Result<Option<Object>, String> {
    let (mut local, mut other, mut flags) = (None, None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Flags(told) => flags = *told,
            _ => {}
        }
    }
    // IPv6 has the one, IPv4 both; they differ where a device leads to one other machine.
    let Some(address) = local.or(other) else { return Ok(None) };
    // Gone between two lists: so are its addresses.
    let Some(link) = device(message.header.index) else { return Ok(None) };
    if other.is_some_and(|other| other != address) {
        return Err(format!("address {address} on {link}: a plan has none with a peer"));
    }
    let net =
        IpNet::new(address, message.header.prefix_len).map_err(|e| format!("address {address}: {e}"))?;
    Ok(Some(Object::Address(Address { link, net, nodad: flags.contains(AddressFlags::Nodad) })))
}
