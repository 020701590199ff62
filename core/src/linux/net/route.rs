//! Routes and policy rules, as `ip route` and `ip rule` ask for them.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::Net;
use super::socket::Refusal;
use crate::addr::{Family, IpNet};
use crate::plan::{PolicyRule, Route};

const RULES: &str = "a kernel with CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES";

impl Net {
    pub(super) fn make_route(&self, route: &Route) -> Result<(), Refusal> {
        let mut message = self.route(route)?;
        message.header.protocol = RouteProtocol::Boot;
        message.header.kind = RouteType::Unicast;
        message.header.scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
        self.socket.ask(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Of any protocol and type.
    pub(super) fn unmake_route(&self, route: &Route) -> Result<(), Refusal> {
        let mut message = self.route(route)?;
        message.header.scope = RouteScope::NoWhere;
        self.socket.ask(RouteNetlinkMessage::DelRoute(message), 0).map(drop)
    }

    fn route(&self, route: &Route) -> Result<RouteMessage, Refusal> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(Family::of_net(route.to));
        message.header.destination_prefix_length = route.to.prefix_len();
        let device = route.dev.as_ref().map(|dev| self.socket.index(dev)).transpose()?;
        let to = (route.to.prefix_len() > 0).then(|| RouteAttribute::Destination(route.to.network().into()));
        // A table above 255 has room only in the attribute.
        let table = route.table.unwrap_or_else(|| RouteHeader::RT_TABLE_MAIN.into());
        message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        let attributes = [
            Some(RouteAttribute::Table(table)),
            to,
            route.via.map(|via| RouteAttribute::Gateway(via.into())),
            device.map(RouteAttribute::Oif),
            route.metric.map(RouteAttribute::Priority),
            route.source.map(|source| RouteAttribute::PrefSource(source.into())),
        ];
        message.attributes = attributes.into_iter().flatten().collect();
        Ok(message)
    }

    /// Whether what is for an address is for this namespace.
    pub(super) fn is_local(&self, address: IpAddr) -> Result<bool, Refusal> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(Family::of(address));
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.attributes = vec![RouteAttribute::Destination(address.into())];
        let told = match self.socket.ask(RouteNetlinkMessage::GetRoute(message), 0) {
            Err(refusal) if refusal.is(Errno::ENETUNREACH) || refusal.is(Errno::EHOSTUNREACH) => {
                return Ok(false);
            }
            told => told?,
        };
        let local = |answer: &RouteNetlinkMessage| matches!(answer, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Local);
        Ok(told.iter().any(local))
    }

    pub(super) fn make_rule(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let done = self.socket.ask(RouteNetlinkMessage::NewRule(policy(rule)), NLM_F_CREATE | NLM_F_EXCL);
        let lacks = |r: Refusal| r.lacks(Errno::EAFNOSUPPORT, RULES).lacks(Errno::EOPNOTSUPP, RULES);
        done.map(drop).map_err(lacks)
    }

    pub(super) fn unmake_rule(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        self.socket.ask(RouteNetlinkMessage::DelRule(policy(rule)), 0).map(drop)
    }
}

/// Of IPv6 where one of its networks is.
fn policy(rule: &PolicyRule) -> RuleMessage {
    let v6 = [rule.from, rule.to].iter().flatten().any(|net| Family::of_net(*net) == Family::V6);
    let length = |net: Option<IpNet>| net.map_or(0, |net| net.prefix_len());
    let address = |net: Option<IpNet>| net.filter(|net| net.prefix_len() > 0).map(|net| net.network());
    let mut message = RuleMessage::default();
    message.header.family = family(if v6 { Family::V6 } else { Family::V4 });
    message.header.src_len = length(rule.from);
    message.header.dst_len = length(rule.to);
    message.header.table = u8::try_from(rule.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.header.action = RuleAction::ToTable;
    let (mark, mask) = rule.fwmark.unzip();
    let attributes = [
        Some(RuleAttribute::Priority(rule.priority)),
        Some(RuleAttribute::Table(rule.table)),
        address(rule.from).map(RuleAttribute::Source),
        address(rule.to).map(RuleAttribute::Destination),
        rule.iif.as_ref().map(|iif| RuleAttribute::Iifname(iif.as_str().to_owned())),
        mark.map(RuleAttribute::FwMark),
        mask.map(RuleAttribute::FwMask),
    ];
    message.attributes = attributes.into_iter().flatten().collect();
    message
}

const fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}
