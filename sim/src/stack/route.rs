//! Where a packet goes, and which sources are believed (net/ipv4/route.c, net/ipv4/fib_frontend.c).

use std::net::IpAddr;

use seatrial_core::addr::{Family, IfName};
use seatrial_core::rules::AddrType;

use super::Stack;
use super::address::{has_address, to_many};
use super::fib::Flow;
use super::sysctl::Conf;
use crate::arena::{DevId, NsId};
use crate::packet::Packet;
use crate::skb::Skb;
use crate::trace::DropReason;
use crate::world::World;

/// A route as one packet takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) kind: AddrType,
    pub(crate) dev: DevId,
    pub(crate) via: Option<IpAddr>,
    /// The source the route prefers.
    pub(crate) source: Option<IpAddr>,
    /// The length of the route's prefix.
    pub(crate) prefix: u8,
}

/// What becomes of a packet that came in.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// It is for a socket here.
    Local,
    /// It goes on.
    Forward(Path),
    /// It is not believed, or not forwarded.
    Drop { reason: DropReason, why: String },
    /// There is no way, and its sender is told.
    Unreachable { why: String },
}

impl Path {
    /// Whom it is sent to on the link.
    pub(crate) fn next_hop(&self, dst: IpAddr) -> IpAddr {
        self.via.unwrap_or(dst)
    }
}

impl Conf {
    /// Whether loopback addresses may be seen on a device (OR of `all` and the device's).
    const fn localnet(&self, all: &Self) -> bool {
        self.route_localnet || all.route_localnet
    }
}

impl Stack {
    /// Whether packets of a family that came in by a device are forwarded: IPv4 by the device's own setting, IPv6 by
    /// that of `all`.
    pub(crate) const fn forwards(&self, conf: &Conf, family: Family) -> bool {
        match family {
            Family::V4 => conf.forwarding,
            Family::V6 => self.settings.all.forwarding_v6,
        }
    }

    /// Why a source is not believed, if it is not (`fib_validate_source`).
    fn doubted(
        &self,
        dev: DevId,
        conf: &Conf,
        packet: &Packet,
        dev_name: &IfName,
    ) -> Option<(DropReason, String)> {
        let all = &self.settings.all;
        let strictness = all.rp_filter.max(conf.rp_filter);
        let src = packet.src;
        let mark = if all.src_valid_mark || conf.src_valid_mark { packet.mark } else { 0 };
        let accept_local = all.accept_local || conf.accept_local;
        if self.is_local(src) && !accept_local {
            return Some((DropReason::IpLocalSource, format!("{src} is an address of {} itself", self.name)));
        }
        if strictness == 0 {
            return None;
        }
        let filtered = || {
            let why = format!("rp_filter={strictness} on {dev_name}: no route back to {src} by it");
            Some((DropReason::IpRpFilter, why))
        };
        let back = Flow { dst: src, src: Some(packet.dst), iif: None, oif: None, mark };
        match self.fib.lookup(&back) {
            None => filtered(),
            Some(entry) if entry.dev == Some(dev) || entry.kind == AddrType::Local => None,
            Some(_) if strictness == 1 || !has_address(self.inet.get(&dev), Family::V4) => filtered(),
            Some(_) => None,
        }
    }
}

impl World {
    /// The route of a flow that begins here, or goes through (`fib_lookup`).
    pub(crate) fn route(&self, ns: NsId, flow: &Flow<'_>) -> Option<Path> {
        let stack = &self.stacks[ns];
        let entry = stack.fib.lookup(flow)?;
        let local = entry.kind == AddrType::Local;
        let dev = if local { stack.loopback } else { entry.dev? };
        Some(Path {
            kind: entry.kind,
            dev,
            via: entry.via,
            source: entry.source,
            prefix: entry.to.prefix_len(),
        })
    }

    /// What becomes of a packet that came in by a device (`ip_route_input_slow`, `ip6_route_input`).
    pub(crate) fn route_input(&self, ns: NsId, dev: DevId, skb: &Skb) -> Input {
        let (stack, packet) = (&self.stacks[ns], &skb.packet);
        let name = &self.devices[dev].name;
        let conf = stack.conf(dev);
        if dev != stack.loopback
            && let Some((reason, why)) = martian(conf.localnet(&stack.settings.all), packet, name)
        {
            return Input::Drop { reason, why };
        }
        if to_many(packet.dst).is_some() {
            return Input::Local;
        }
        let forwards = stack.forwards(conf, packet.family());
        let off = || {
            let key = if packet.family() == Family::V4 { "ipv4.conf" } else { "ipv6.conf" };
            format!("{} is not {}'s, and net.{key}.{name}.forwarding is 0", packet.dst, stack.name)
        };
        // Where DNAT leads there: the kernel looks for such an address on that device alone (`rt6_need_strict`).
        let elsewhere = packet.family() == Family::V6 && packet.dst.is_loopback() && dev != stack.loopback;
        let Some(path) = self.route(ns, &Flow::of(packet).by(name)).filter(|_| !elsewhere) else {
            let why = format!("{} has no route to {}", stack.name, packet.dst);
            return match (forwards, packet.family()) {
                (true, _) | (false, Family::V6) => Input::Unreachable { why },
                (false, Family::V4) => Input::Drop { reason: DropReason::IpInAddrErrors, why: off() },
            };
        };
        let doubted =
            || (packet.family() == Family::V4).then(|| stack.doubted(dev, conf, packet, name)).flatten();
        if path.kind == AddrType::Broadcast {
            return Input::Local;
        }
        if path.kind == AddrType::Local {
            return doubted().map_or(Input::Local, |(reason, why)| Input::Drop { reason, why });
        }
        if !forwards {
            return Input::Drop { reason: DropReason::IpInAddrErrors, why: off() };
        }
        if path.kind != AddrType::Unicast {
            let why = format!("{} is no address to forward to", packet.dst);
            return Input::Drop { reason: DropReason::IpInvalidDest, why };
        }
        doubted().map_or(Input::Forward(path), |(reason, why)| Input::Drop { reason, why })
    }
}

/// IPv4 addresses that no packet from outside may have (F5); IPv6's are looked at before PREROUTING (V2).
fn martian(localnet: bool, packet: &Packet, name: &IfName) -> Option<(DropReason, String)> {
    let (src, dst) = (packet.src, packet.dst);
    match (src, dst) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            let everyone = d.is_broadcast() || (s.is_unspecified() && d.is_unspecified());
            if s.is_multicast() || s.is_broadcast() || (s.octets()[0] == 0 && !everyone) {
                return Some((DropReason::IpInvalidSource, format!("{src} cannot be a sender")));
            }
            if d.octets()[0] == 0 && !everyone {
                return Some((DropReason::IpInvalidDest, format!("{dst} cannot be a receiver")));
            }
            let loopback = [dst, src].into_iter().find(|a| a.is_loopback()).filter(|_| !localnet);
            loopback.map(|a| {
                (
                    DropReason::IpLocalnet,
                    format!("{a} is a loopback address, and {name} has route_localnet=0"),
                )
            })
        }
        (IpAddr::V6(_), IpAddr::V6(_)) | (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::plan::{self, Object};

    use crate::testbed::{ask, name, pair};

    #[test]
    fn a_mark_has_a_part_in_the_way_back_only_where_src_valid_mark_is_on() {
        let mark =
            "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n";
        let rule =
            plan::PolicyRule { priority: 9, from: None, to: None, iif: None, fwmark: Some((1, 1)), table: 9 };
        let to = "10.0.0.0/24".parse().unwrap();
        let dev = Some(name("eth1"));
        let route = plan::Route { to, via: None, dev, table: Some(9), metric: None, source: None };
        for (setting, outcome) in [(0, "reaches b from 10.0.0.1"), (1, "dropped")] {
            let bed = pair().plug("b", "eth1", ("wire", "sw"), &["10.9.0.1/24"]).rules("b", mark);
            let bed = bed.with("b", Object::Route(route.clone())).with("b", Object::PolicyRule(rule.clone()));
            let bed = bed.sysctl("b", "net.ipv4.conf.eth0.rp_filter=1");
            let bed = bed.sysctl("b", &format!("net.ipv4.conf.all.src_valid_mark={setting}"));
            assert_eq!(ask(&mut bed.world(), "a -> 10.0.0.2/icmp"), outcome, "{setting}");
        }
    }
}
