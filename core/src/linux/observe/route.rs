//! Routes.
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than a plan has words for")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};

use crate::addr::{Family, IfName};
use crate::plan::{Object, Route};

/// The table that the kernel keeps for what is its own (`RT_TABLE_LOCAL`).
const LOCAL: u32 = 255;
/// The metric of IPv6's routes where nobody says otherwise (`IP6_RT_PRIO_USER`).
const METRIC_V6: u32 = 1024;

/// Reads a message; `device` knows a device by its number.
pub(super) fn object(
    message: &RouteMessage,
    device: impl Fn(u32) -> Option<IfName>,
) -> Result<Option<Object>, String> {
    let family = match message.header.address_family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        // Multicast routing tells its own among them.
        _ => return Ok(None),
    };
    let mut read = Read { table: u32::from(message.header.table), ..Read::default() };
    message.attributes.iter().for_each(|attribute| read.attribute(attribute));
    let ours = read.table == LOCAL && message.header.protocol == RouteProtocol::Kernel;
    // Copies for one packet's way, and what the kernel keeps of a device's addresses.
    if ours || message.header.flags.contains(RouteFlags::Cloned) {
        return Ok(None);
    }
    let any = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let length = message.header.destination_prefix_length;
    let to = IpNet::new(read.to.unwrap_or(any), length).map_err(|e| format!("route: {e}"))?;
    let other = read.other.or_else(|| unlike(message));
    match other {
        Some(what) => Err(format!("route to {to} in table {}: a plan has none with {what}", read.table)),
        None => Ok(Some(Object::Route(Route {
            to,
            via: read.via,
            dev: read.dev.and_then(device),
            table: Some(read.table).filter(|table| *table != u32::from(RouteHeader::RT_TABLE_MAIN)),
            metric: read.metric.filter(|metric| *metric != default_metric(family)),
            source: read.source,
        }))),
    }
}

/// The metric of a route that nobody gave one.
pub(super) const fn default_metric(family: Family) -> u32 {
    match family {
        Family::V4 => 0,
        Family::V6 => METRIC_V6,
    }
}

/// What a header says that a plan has no word for.
fn unlike(message: &RouteMessage) -> Option<&'static str> {
    let header = &message.header;
    if header.kind != RouteType::Unicast {
        Some("a type but unicast")
    } else if header.tos != 0 {
        Some("a type of service")
    } else if header.source_prefix_length != 0 {
        Some("a source")
    } else if header.flags.contains(RouteFlags::Onlink) {
        Some("a next hop that is on the link whatever its address")
    } else {
        None
    }
}

#[derive(Default)]
struct Read {
    table: u32,
    to: Option<IpAddr>,
    via: Option<IpAddr>,
    dev: Option<u32>,
    metric: Option<u32>,
    source: Option<IpAddr>,
    other: Option<&'static str>,
}

impl Read {
    fn attribute(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Table(table) => self.table = *table,
            RouteAttribute::Destination(to) => self.to = ip(to),
            RouteAttribute::Gateway(via) => self.via = ip(via),
            RouteAttribute::Oif(dev) => self.dev = Some(*dev),
            RouteAttribute::Priority(metric) => self.metric = Some(*metric),
            RouteAttribute::PrefSource(source) => self.source = ip(source),
            RouteAttribute::MultiPath(_) => self.other = Some("more than one next hop"),
            RouteAttribute::NhId(_) => self.other = Some("a next hop that is an object of its own"),
            RouteAttribute::Via(_) => self.other = Some("a next hop of another family"),
            RouteAttribute::Encap(_) => self.other = Some("an encapsulation"),
            RouteAttribute::Metrics(_) => self.other = Some("metrics of its own, as an MTU is"),
            _ => {}
        }
    }
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
