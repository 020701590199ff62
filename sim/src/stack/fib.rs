//! Routes as they are looked up: policy rules, tables, the longest prefix (net/ipv4/fib_*.c).

use std::net::IpAddr;
use std::ops::BitAnd;

use seatrial_core::addr::{IfName, IpNet};
use seatrial_core::rules::AddrType;

use crate::arena::DevId;
use crate::packet::Packet;

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
    /// A few, by number.
    tables: Vec<(u32, Table)>,
}

/// A table, by family.
#[derive(Debug, Clone, Default)]
struct Table {
    v4: Routes<u32>,
    v6: Routes<u128>,
}

/// Routes of one family, in the order they are looked through: the longest prefix, then the lowest metric, then the
/// oldest. Their prefixes stand apart: packets are held against many of them.
#[derive(Debug, Clone, Default)]
struct Routes<B> {
    /// Bits and mask.
    prefixes: Vec<(B, B)>,
    entries: Vec<Entry>,
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
    pub(crate) const fn by(self, iif: &'a IfName) -> Self {
        Self { iif: Some(iif), ..self }
    }
}

impl Default for Fib {
    /// The rules that every namespace has (man 8 ip-rule).
    fn default() -> Self {
        let rule =
            |priority, table| PolicyRule { priority, from: None, to: None, iif: None, fwmark: None, table };
        let rules = vec![rule(0, TABLE_LOCAL), rule(32766, TABLE_MAIN), rule(32767, TABLE_DEFAULT)];
        Self { rules, tables: Vec::new() }
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
    pub(crate) fn lookup(&self, flow: &Flow<'_>) -> Option<&Entry> {
        self.rules.iter().filter(|rule| rule.matches(flow)).find_map(|rule| self.in_table(rule.table, flow))
    }

    /// The best route of one table.
    pub(crate) fn in_table(&self, table: u32, flow: &Flow<'_>) -> Option<&Entry> {
        let (_, table) = self.tables.iter().find(|(number, _)| *number == table)?;
        match flow.dst {
            IpAddr::V4(dst) => table.v4.find(dst.to_bits(), flow.oif),
            IpAddr::V6(dst) => table.v6.find(dst.to_bits(), flow.oif),
        }
    }

    /// Adds a route.
    pub(crate) fn add(&mut self, table: u32, entry: Entry) {
        let at = self.tables.partition_point(|(number, _)| *number < table);
        if self.tables.get(at).is_none_or(|(number, _)| *number != table) {
            self.tables.insert(at, (table, Table::default()));
        }
        let Some((_, table)) = self.tables.get_mut(at) else { return };
        match entry.to {
            IpNet::V4(to) => table.v4.add((to.network().to_bits(), to.netmask().to_bits()), entry),
            IpNet::V6(to) => table.v6.add((to.network().to_bits(), to.netmask().to_bits()), entry),
        }
    }

    /// Takes away the routes that `is` holds of.
    pub(crate) fn remove(&mut self, mut is: impl FnMut(u32, &Entry) -> bool) -> bool {
        let mut removed = false;
        for (number, table) in &mut self.tables {
            removed |= table.v4.remove(|entry| is(*number, entry));
            removed |= table.v6.remove(|entry| is(*number, entry));
        }
        removed
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

impl<B: Copy + PartialEq + BitAnd<Output = B>> Routes<B> {
    /// The best route to an address, by a device if one is named.
    fn find(&self, dst: B, oif: Option<DevId>) -> Option<&Entry> {
        let candidates =
            self.prefixes.iter().zip(&self.entries).filter(|((bits, mask), _)| dst & *mask == *bits);
        let mut entries = candidates.map(|(_, entry)| entry);
        entries.find(|entry| oif.is_none() || entry.dev.is_none() || entry.dev == oif)
    }

    fn add(&mut self, prefix: (B, B), entry: Entry) {
        let key = |e: &Entry| (std::cmp::Reverse(e.to.prefix_len()), e.metric);
        let at = self.entries.partition_point(|e| key(e) <= key(&entry));
        self.prefixes.insert(at, prefix);
        self.entries.insert(at, entry);
    }

    /// Whether `is` held of any.
    fn remove(&mut self, mut is: impl FnMut(&Entry) -> bool) -> bool {
        let before = self.entries.len();
        let kept: Vec<bool> = self.entries.iter().map(|entry| !is(entry)).collect();
        let mut keep = kept.iter().copied();
        self.entries.retain(|_| keep.next().unwrap_or(true));
        let mut keep = kept.iter().copied();
        self.prefixes.retain(|_| keep.next().unwrap_or(true));
        self.entries.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Id as _;

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
    fn a_bound_device_leaves_only_its_own_routes() {
        let fib = fib(&[entry("10.0.0.0/8", 1, 0), entry("0.0.0.0/0", 2, 0)]);
        let flow = Flow { oif: Some(DevId::from_position(2)), ..Flow::to("10.0.0.1".parse().unwrap()) };
        assert_eq!(dev_to(&fib, flow), Some(2));
    }
}
