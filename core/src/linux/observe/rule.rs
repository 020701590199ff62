//! Policy rules.
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than a plan has words for")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use crate::addr::Family;
use crate::plan::{Object, PolicyRule};

/// Reads a message. A rule of IPv6 that looks at no address is one of packets from `::/0`: by that its family is known.
pub(super) fn object(message: &RuleMessage) -> Result<Option<Object>, String> {
    let header = &message.header;
    let family = match header.family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        // Multicast routing has rules of its own.
        _ => return Ok(None),
    };
    let mut rule =
        PolicyRule { priority: 0, from: None, to: None, iif: None, fwmark: None, table: header.table.into() };
    let mut other = None;
    let (mut mark, mut mask) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Source(from) => rule.from = IpNet::new(*from, header.src_len).ok(),
            RuleAttribute::Destination(to) => rule.to = IpNet::new(*to, header.dst_len).ok(),
            RuleAttribute::FwMark(told) => mark = Some(*told),
            RuleAttribute::FwMask(told) => mask = Some(*told),
            RuleAttribute::Iifname(name) => match name.parse() {
                Ok(name) => rule.iif = Some(name),
                Err(_) => other = Some("such a device"),
            },
            RuleAttribute::Oifname(_) => other = Some("a device that packets leave by"),
            RuleAttribute::UidRange(_) => other = Some("users"),
            RuleAttribute::L3MDev(true) => other = Some("a VRF"),
            RuleAttribute::IpProtocol(_) => other = Some("a protocol"),
            RuleAttribute::SourcePortRange(_) | RuleAttribute::DestinationPortRange(_) => {
                other = Some("ports")
            }
            RuleAttribute::TunId(_) => other = Some("a tunnel's number"),
            // All ones is none (`~0`, fib_nl_fill_rule).
            RuleAttribute::SuppressPrefixLen(length) if *length != u32::MAX => other = Some("a suppressor"),
            RuleAttribute::SuppressIfGroup(group) if *group != u32::MAX => other = Some("a suppressor"),
            _ => {}
        }
    }
    rule.fwmark = mark.zip(mask.or(Some(u32::MAX))).filter(|both| *both != (0, 0));
    if family == Family::V6 && rule.from.is_none() && rule.to.is_none() {
        rule.from = everything(family);
    }
    if header.action != RuleAction::ToTable {
        other = Some("an action but to look into a table");
    } else if header.tos != 0 {
        other = Some("a type of service");
    } else if header.flags.contains(RuleFlags::Invert) {
        other = Some("a 'not'");
    }
    match other {
        Some(what) => Err(format!("policy rule {}: a plan has none with {what}", rule.priority)),
        None => Ok(Some(Object::PolicyRule(rule))),
    }
}

/// The network that all addresses of a family are in.
pub(super) fn everything(family: Family) -> Option<IpNet> {
    let any = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new(any, 0).ok()
}
