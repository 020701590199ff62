//! Addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use nix::errno::Errno;

use super::Net;
use super::socket::Refusal;
use crate::addr::Family;
use crate::linux::Error;
use crate::plan::Address;

/// What a kernel lacks that has no IPv6 at all.
pub(super) const IPV6: &str = "a kernel with CONFIG_IPV6, booted without ipv6.disable=1";

impl Net {
    pub(super) fn make_address(&self, address: &Address) -> Result<(), Refusal> {
        let mut message = self.address(address)?;
        if address.nodad {
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes.extend(broadcast(address.net));
        let done = self.socket.ask(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL);
        match Family::of_net(address.net) {
            Family::V4 => done.map(drop),
            Family::V6 => done.map(drop).map_err(|refusal| refusal.lacks(Errno::EOPNOTSUPP, IPV6)),
        }
    }

    pub(super) fn unmake_address(&self, address: &Address) -> Result<(), Refusal> {
        let message = self.address(address)?;
        self.socket.ask(RouteNetlinkMessage::DelAddress(message), 0).map(drop)
    }

    /// Whether the kernel takes what comes for an address, where its device can carry anything. Of IPv6 it makes the local
    /// route when it has time (`addrconf_dad_work`, net/ipv6/addrconf.c), also where nobody need be asked whether the
    /// address is his; until then what comes is lost.
    ///
    /// # Errors
    /// As the kernel says; where there is no such device.
    pub fn takes(&self, address: &Address) -> Result<bool, Error> {
        let own = address.net.addr();
        let takes = || -> Result<bool, Refusal> {
            Ok(own.is_ipv4() || !self.carries(&address.link)? || self.is_local(own)?)
        };
        takes().map_err(|refusal| self.error("look for", format!("the local route of {own}"), refusal))
    }

    fn address(&self, address: &Address) -> Result<AddressMessage, Refusal> {
        let own = address.net.addr();
        let mut message = AddressMessage::default();
        message.header.family = own.into();
        message.header.prefix_len = address.net.prefix_len();
        message.header.index = self.socket.index(&address.link)?;
        if own.is_loopback() {
            // As `ip address` does (`default_scope`, ip/ipaddress.c).
            message.header.scope = AddressScope::Host;
        }
        message.attributes = vec![AddressAttribute::Local(own), AddressAttribute::Address(own)];
        Ok(message)
    }
}

/// The broadcast address, which Docker sets and `ip address add` does only for `brd +`. No packet is the wiser: the
/// kernel makes the route for it either way (`fib_add_ifaddr`, net/ipv4/fib_frontend.c).
fn broadcast(net: IpNet) -> Option<AddressAttribute> {
    match net.broadcast() {
        IpAddr::V4(last) if net.prefix_len() < 31 => Some(AddressAttribute::Broadcast(last)),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
