//! Addresses of devices: which are the namespace's own, and which one a packet is sent from.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use seatrial_core::addr::{Family, IfName, IpNet, MacAddr};
use seatrial_core::rules::AddrType;

use super::Stack;
use super::fib::{Flow, TABLE_LOCAL};
use super::sysctl::Conf;
use crate::arena::DevId;
use crate::netfilter::Routing;

/// A device's addresses and settings.
#[derive(Debug, Clone)]
pub(crate) struct Inet {
    /// In the order they were given; the first of a subnet is the primary one.
    pub(crate) addresses: Vec<IfAddr>,
    pub(crate) conf: Conf,
    /// Whether its addresses have brought routes.
    pub(crate) routed: bool,
}

/// An address of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IfAddr {
    pub(crate) net: IpNet,
    pub(crate) scope: Scope,
}

/// How far an address is valid (rtnetlink's scopes: narrower is greater).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Universe,
    Link,
    Host,
}

impl IfAddr {
    /// An address with the scope that the kernel and `ip address add` give it.
    pub(crate) fn new(net: IpNet) -> Self {
        let scope = match net.addr() {
            IpAddr::V4(a) if a.is_loopback() => Scope::Host,
            IpAddr::V6(a) if a.is_loopback() => Scope::Host,
            IpAddr::V6(a) if a.is_unicast_link_local() => Scope::Link,
            IpAddr::V4(_) | IpAddr::V6(_) => Scope::Universe,
        };
        Self { net, scope }
    }
}

/// What an address is that no table need be asked about: everybody's, or a group's.
pub(crate) const fn to_many(addr: IpAddr) -> Option<AddrType> {
    match addr {
        IpAddr::V4(a) if a.is_broadcast() || a.is_unspecified() => Some(AddrType::Broadcast),
        IpAddr::V4(a) if a.is_multicast() => Some(AddrType::Multicast),
        IpAddr::V6(a) if a.is_multicast() => Some(AddrType::Multicast),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The link-local address that a device gives itself (RFC 4291, appendix A).
pub(crate) fn link_local(mac: MacAddr) -> Option<IpNet> {
    let MacAddr([a, b, c, d, e, f]) = mac;
    let bytes = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    IpNet::new(IpAddr::V6(Ipv6Addr::from(bytes)), 64).ok()
}

impl Stack {
    /// Whether an address is this namespace's own (RTN_LOCAL).
    pub(crate) fn is_local(&self, addr: IpAddr) -> bool {
        self.addr_type(addr) == AddrType::Local
    }

    /// What an address is by the local table alone (`inet_addr_type_table`).
    pub(crate) fn addr_type(&self, addr: IpAddr) -> AddrType {
        if let Some(kind) = to_many(addr) {
            return kind;
        }
        self.fib.in_table(TABLE_LOCAL, &Flow::to(addr)).map_or(AddrType::Unicast, |entry| entry.kind)
    }

    /// The address that a packet out of `dev` to `to` is sent from, where its route names none.
    pub(crate) fn select_source(&self, dev: DevId, to: IpAddr) -> Option<IpAddr> {
        select(&self.inet, dev, to)
    }
}

/// An address on the device that is in the destination's subnet, else its first, else the first of any other device,
/// oldest first (`inet_select_addr`; RFC 6724 in short).
fn select(inet: &BTreeMap<DevId, Inet>, dev: DevId, to: IpAddr) -> Option<IpAddr> {
    let on = inet.get(&dev).and_then(|inet| {
        let near = inet.fitting(to).find(|a| a.net.contains(&to));
        near.or_else(|| inet.fitting(to).next())
    });
    let elsewhere = || inet.values().find_map(|inet| inet.fitting(to).next());
    on.or_else(elsewhere).map(|a| a.net.addr())
}

impl Inet {
    /// The addresses that a packet to `to` may be sent from.
    fn fitting(&self, to: IpAddr) -> impl Iterator<Item = &IfAddr> {
        let link_local = matches!(to, IpAddr::V6(a) if a.is_unicast_link_local() || a.is_multicast());
        let widest = if link_local { Scope::Link } else { Scope::Universe };
        self.addresses
            .iter()
            .filter(move |a| Family::of_net(a.net) == Family::of(to) && a.scope <= widest)
            .filter(move |a| Family::of(to) == Family::V4 || (a.scope == Scope::Link) == link_local)
    }
}

/// A namespace's addresses, as its rules ask for them.
pub(crate) struct View<'a> {
    pub(crate) inet: &'a BTreeMap<DevId, Inet>,
    pub(crate) links: &'a BTreeMap<IfName, DevId>,
    pub(crate) fib: &'a super::fib::Fib,
}

impl Routing for View<'_> {
    fn addr_type(&self, addr: IpAddr, dev: Option<&IfName>) -> AddrType {
        if let Some(kind) = to_many(addr) {
            return kind;
        }
        let dev = dev.and_then(|name| self.links.get(name).copied());
        match self.fib.in_table(TABLE_LOCAL, &Flow::to(addr)) {
            Some(entry) if dev.is_none() || entry.dev == dev => entry.kind,
            Some(_) | None => AddrType::Unicast,
        }
    }

    fn masquerade_source(&self, out: &IfName, to: IpAddr) -> Option<IpAddr> {
        self.links.get(out).and_then(|dev| select(self.inet, *dev, to))
    }

    fn redirect_address(&self, dev: &IfName, to: IpAddr) -> Option<IpAddr> {
        let inet = self.links.get(dev).and_then(|dev| self.inet.get(dev))?;
        let of_family = inet.addresses.iter().filter(|a| Family::of_net(a.net) == Family::of(to));
        let narrow = matches!(to, IpAddr::V6(a) if a.is_unicast_link_local());
        let fits = |a: &&IfAddr| Family::of(to) == Family::V4 || (a.scope == Scope::Link) == narrow;
        of_family.clone().find(fits).map(|a| a.net.addr())
    }
}

/// Whether a device has any address of a family.
pub(crate) fn has_address(inet: Option<&Inet>, family: Family) -> bool {
    inet.is_some_and(|inet| inet.addresses.iter().any(|a| Family::of_net(a.net) == family))
}
