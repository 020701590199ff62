//! Where a packet goes: policy rules, tables, the longest prefix; and which sources are believed (net/ipv4/fib_*.c).

use std::collections::BTreeMap;
use std::net::IpAddr;

use seatrial_core::addr::{Family, IfName, IpNet};
use seatrial_core::rules::AddrType;

use super::Stack;
use super::address::has_address;
use super::sysctl::Conf;
use crate::arena::{DevId, NsId};
use crate::packet::Packet;
use crate::prefix::Prefix;
use crate::skb::Skb;
use crate::trace::DropReason;
use crate::world::World;

/// The table of the namespace's own addresses (RT_TABLE_LOCAL).
pub(crate) const TABLE_LOCAL: u32 = 255;
/// The table that routes go to that name none (RT_TABLE_MAIN).
pub(crate) const TABLE_MAIN: u32 = 254;
const TABLE_DEFAULT: u32 = 253;

/// Routes and policy rules of a namespace, of both families.
#[derive(Debug, Clone)]
pub(crate) struct Fib {
    /// By priority; those of one priority in the order they came.
    rules: Vec<PolicyRule>,
    tables: BTreeMap<u32, Vec<(Prefix, Entry)>>,
}

/// A policy rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyRule {
    pub(crate) priority: u32,
    pub(crate) from: Option<IpNet>,
    pub(crate) to: Option<IpNet>,
    pub(crate) iif: Option<IfName>,
    pub(crate) fwmark: Option<(u32, u32)>,
    pub(crate) table: u32,
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) to: IpNet,
    pub(crate) kind: AddrType,
    pub(crate) dev: Option<DevId>,
    pub(crate) via: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) metric: u32,
    /// Whether the kernel made it, of an address.
    pub(crate) of_address: bool,
}

/// What a route is looked up by (struct flowi).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow<'a> {
    pub(crate) dst: IpAddr,
    pub(crate) src: Option<IpAddr>,
    pub(crate) iif: Option<&'a IfName>,
    pub(crate) oif: Option<DevId>,
    pub(crate) mark: u32,
}

/// A route as one packet takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) kind: AddrType,
    pub(crate) dev: DevId,
    pub(crate) via: Option<IpAddr>,
    /// The source the route prefers.
    pub(crate) source: Option<IpAddr>,
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

impl<'a> Flow<'a> {
    /// Anything to this address.
    pub(crate) const fn to(dst: IpAddr) -> Self {
        Self { dst, src: None, iif: None, oif: None, mark: 0 }
    }

    /// As this packet goes.
    pub(crate) const fn of(packet: &Packet) -> Self {
        Self { dst: packet.dst, src: Some(packet.src), iif: None, oif: None, mark: packet.mark }
    }

    /// In by this device.
    const fn by(self, iif: &'a IfName) -> Self {
        Self { iif: Some(iif), ..self }
    }
}

impl Path {
    /// Whom it is sent to on the link.
    pub(crate) fn next_hop(&self, dst: IpAddr) -> IpAddr {
        self.via.unwrap_or(dst)
    }
}

impl Default for Fib {
    /// The rules that every namespace has (man 8 ip-rule).
    fn default() -> Self {
        let rule =
            |priority, table| PolicyRule { priority, from: None, to: None, iif: None, fwmark: None, table };
        let rules = vec![rule(0, TABLE_LOCAL), rule(32766, TABLE_MAIN), rule(32767, TABLE_DEFAULT)];
        Self { rules, tables: BTreeMap::new() }
    }
}

impl PolicyRule {
    fn matches(&self, flow: &Flow<'_>) -> bool {
        self.from.is_none_or(|net| flow.src.is_some_and(|src| net.contains(&src)))
            && self.to.is_none_or(|net| net.contains(&flow.dst))
            && self.iif.as_ref().is_none_or(|iif| flow.iif == Some(iif))
            && self.fwmark.is_none_or(|(value, mask)| flow.mark & mask == value & mask)
    }
}

impl Fib {
    /// The best route of all tables, in the order of the rules.
    pub(crate) fn lookup(&self, flow: &Flow<'_>) -> Option<Entry> {
        self.rules.iter().filter(|rule| rule.matches(flow)).find_map(|rule| self.in_table(rule.table, flow))
    }

    /// The best route of one table: the longest prefix, then the lowest metric, then the oldest.
    pub(crate) fn in_table(&self, table: u32, flow: &Flow<'_>) -> Option<Entry> {
        let fits = |(to, e): &&(Prefix, Entry)| {
            to.contains(flow.dst) && (flow.oif.is_none() || e.dev.is_none() || e.dev == flow.oif)
        };
        self.tables.get(&table)?.iter().find(fits).map(|(_, entry)| *entry)
    }

    /// Adds a route; the tables are kept in the order they are looked through.
    pub(crate) fn add(&mut self, table: u32, entry: Entry) {
        let entries = self.tables.entry(table).or_default();
        let key = |e: &Entry| (std::cmp::Reverse(e.to.prefix_len()), e.metric);
        let at = entries.partition_point(|(_, e)| key(e) <= key(&entry));
        entries.insert(at, (entry.to.into(), entry));
    }

    /// Takes away the routes that `is` holds of.
    pub(crate) fn remove(&mut self, mut is: impl FnMut(u32, &Entry) -> bool) -> bool {
        let count = |tables: &BTreeMap<u32, Vec<_>>| tables.values().map(Vec::len).sum::<usize>();
        let before = count(&self.tables);
        self.tables.iter_mut().for_each(|(table, entries)| entries.retain(|(_, e)| !is(*table, e)));
        count(&self.tables) < before
    }

    /// Adds a policy rule behind those of its priority.
    pub(crate) fn add_rule(&mut self, rule: PolicyRule) {
        let at = self.rules.partition_point(|r| r.priority <= rule.priority);
        self.rules.insert(at, rule);
    }

    /// Takes a policy rule away.
    pub(crate) fn remove_rule(&mut self, rule: &PolicyRule) -> bool {
        let at = self.rules.iter().position(|r| r == rule);
        at.map(|at| self.rules.remove(at)).is_some()
    }

    /// Takes away every route by a device.
    pub(crate) fn forget_device(&mut self, dev: DevId) {
        self.remove(|_, entry| entry.dev == Some(dev));
    }
}

impl Conf {
    /// Whether loopback addresses may be seen on a device (OR of `all` and the device's).
    fn localnet(self, all: Self) -> bool {
        self.route_localnet || all.route_localnet
    }
}

impl Stack {
    /// Whether packets of a family that came in by a device are forwarded: IPv4 by the device's own setting, IPv6 by
    /// that of `all`.
    pub(crate) fn forwards(&self, dev: DevId, family: Family) -> bool {
        match family {
            Family::V4 => self.conf(dev).forwarding,
            Family::V6 => self.settings.all.forwarding_v6,
        }
    }

    /// Why a source is not believed, if it is not (`fib_validate_source`).
    fn doubted(&self, dev: DevId, packet: &Packet, dev_name: &IfName) -> Option<(DropReason, String)> {
        let (all, conf) = (self.settings.all, self.conf(dev));
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
        Some(Path { kind: entry.kind, dev, via: entry.via, source: entry.source })
    }

    /// What becomes of a packet that came in by a device (`ip_route_input_slow`, `ip6_route_input`).
    pub(crate) fn route_input(&self, ns: NsId, dev: DevId, skb: &Skb) -> Input {
        let (stack, packet) = (&self.stacks[ns], &skb.packet);
        let name = &self.devices[dev].name;
        if let Some((reason, why)) = martian(stack, dev, packet, name) {
            return Input::Drop { reason, why };
        }
        let local_table = stack.addr_type(packet.dst);
        if matches!(local_table, AddrType::Broadcast | AddrType::Multicast) {
            return Input::Local;
        }
        let forwards = stack.forwards(dev, packet.family());
        let off = || {
            let key = if packet.family() == Family::V4 { "ipv4.conf" } else { "ipv6.conf" };
            format!("{} is not {}'s, and net.{key}.{name}.forwarding is 0", packet.dst, stack.name)
        };
        let Some(path) = self.route(ns, &Flow::of(packet).by(name)) else {
            let why = format!("{} has no route to {}", stack.name, packet.dst);
            return match (forwards, packet.family()) {
                (true, _) | (false, Family::V6) => Input::Unreachable { why },
                (false, Family::V4) => Input::Drop { reason: DropReason::IpInAddrErrors, why: off() },
            };
        };
        let doubted = || (packet.family() == Family::V4).then(|| stack.doubted(dev, packet, name)).flatten();
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

/// Addresses that no packet from outside may have (F5, V2).
fn martian(stack: &Stack, dev: DevId, packet: &Packet, name: &IfName) -> Option<(DropReason, String)> {
    let (src, dst) = (packet.src, packet.dst);
    if name.as_str() == "lo" {
        return None;
    }
    match (src, dst) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            let everyone = d.is_broadcast() || (s.is_unspecified() && d.is_unspecified());
            if s.is_multicast() || s.is_broadcast() || (s.octets()[0] == 0 && !everyone) {
                return Some((DropReason::IpInvalidSource, format!("{src} cannot be a sender")));
            }
            if d.octets()[0] == 0 && !everyone {
                return Some((DropReason::IpInvalidDest, format!("{dst} cannot be a receiver")));
            }
            let localnet = stack.conf(dev).localnet(stack.settings.all);
            let loopback = [dst, src].into_iter().find(|a| a.is_loopback()).filter(|_| !localnet);
            loopback.map(|a| {
                (
                    DropReason::IpLocalnet,
                    format!("{a} is a loopback address, and {name} has route_localnet=0"),
                )
            })
        }
        (IpAddr::V6(s), IpAddr::V6(d)) if s.is_loopback() || d.is_loopback() || s.is_multicast() => {
            Some((DropReason::IpInAddrErrors, format!("{src} to {dst} cannot come in by {name}")))
        }
        (IpAddr::V6(_), IpAddr::V6(_)) | (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::plan::{self, Object};

    use super::*;
    use crate::arena::Id as _;
    use crate::testbed::{ask, name, pair};

    fn entry(to: &str, dev: u32, metric: u32) -> Entry {
        Entry {
            to: to.parse().unwrap(),
            kind: AddrType::Unicast,
            dev: Some(DevId::from_position(dev)),
            via: None,
            source: None,
            metric,
            of_address: false,
        }
    }

    fn fib(entries: &[Entry]) -> Fib {
        let mut fib = Fib::default();
        entries.iter().for_each(|e| fib.add(TABLE_MAIN, *e));
        fib
    }

    fn dev_to(fib: &Fib, flow: Flow<'_>) -> Option<u32> {
        fib.lookup(&flow).and_then(|e| e.dev).map(DevId::position)
    }

    #[test]
    fn f1_the_longest_prefix_wins_then_the_lowest_metric_then_the_oldest() {
        let fib = fib(&[
            entry("0.0.0.0/0", 1, 0),
            entry("10.0.0.0/8", 2, 5),
            entry("10.1.0.0/16", 3, 7),
            entry("10.1.0.0/16", 4, 6),
            entry("10.1.0.0/16", 5, 6),
        ]);
        let to = |a: &str| dev_to(&fib, Flow::to(a.parse().unwrap()));
        assert_eq!(to("10.1.2.3"), Some(4));
        assert_eq!(to("10.2.2.3"), Some(2));
        assert_eq!(to("192.0.2.1"), Some(1));
        assert_eq!(to("2001:db8::1"), None);
    }

    #[test]
    fn f1_a_rule_whose_table_has_no_route_hands_on_to_the_next() {
        let mut fib = fib(&[entry("0.0.0.0/0", 1, 0)]);
        fib.add(100, entry("10.0.0.0/8", 2, 0));
        let from = Some("192.0.2.0/24".parse().unwrap());
        fib.add_rule(PolicyRule { priority: 100, from, to: None, iif: None, fwmark: None, table: 100 });
        let flow = |src: &str, dst: &str| Flow { src: src.parse().ok(), ..Flow::to(dst.parse().unwrap()) };
        assert_eq!(dev_to(&fib, flow("192.0.2.7", "10.0.0.1")), Some(2));
        assert_eq!(dev_to(&fib, flow("192.0.2.7", "11.0.0.1")), Some(1));
        assert_eq!(dev_to(&fib, flow("198.51.100.7", "10.0.0.1")), Some(1));
    }

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

    #[test]
    fn a_bound_device_leaves_only_its_own_routes() {
        let fib = fib(&[entry("10.0.0.0/8", 1, 0), entry("0.0.0.0/0", 2, 0)]);
        let flow = Flow { oif: Some(DevId::from_position(2)), ..Flow::to("10.0.0.1".parse().unwrap()) };
        assert_eq!(dev_to(&fib, flow), Some(2));
    }
}
