//! Which rules of a long chain a packet may match at all, found without looking at the others.
//!
//! Docker writes a rule for each published port and one for each container: what most of them ask for is a destination,
//! and a packet has one. Rules are still tried one by one, in their order; only those are passed over that ask for
//! another destination than the packet's.

use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::rules::Protocol;

use super::condition::Condition;
use crate::packet::Packet;

/// A chain with fewer rules is quicker walked as it is.
const LONG: usize = 16;

/// The rules of a chain by what they ask for, each list in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Those that ask for neither.
    any: Vec<usize>,
    destinations: ByKey<IpAddr>,
    ports: ByKey<(Protocol, u16)>,
    both: ByKey<(IpAddr, Protocol, u16)>,
}

type ByKey<K> = IndexMap<K, Vec<usize>, FxBuildHasher>;

impl Index {
    /// Of a chain's rules, given by their conditions; none of a short chain.
    pub(super) fn of<'a>(rules: impl ExactSizeIterator<Item = &'a [Condition]>) -> Option<Self> {
        if rules.len() < LONG {
            return None;
        }
        let mut index = Self::default();
        for (number, conditions) in rules.enumerate() {
            let destination = conditions.iter().find_map(Condition::only_destination);
            let port = conditions.iter().find_map(Condition::only_port);
            let rules = match (destination, port) {
                (Some(addr), Some((protocol, port))) => index.both.entry((addr, protocol, port)).or_default(),
                (Some(addr), None) => index.destinations.entry(addr).or_default(),
                (None, Some(port)) => index.ports.entry(port).or_default(),
                (None, None) => &mut index.any,
            };
            rules.push(number);
        }
        Some(index)
    }

    /// The first rule from this one on that the packet may match.
    pub(super) fn next(&self, from: usize, packet: &Packet) -> Option<usize> {
        let port = packet.ports().map(|ports| (packet.protocol(), ports.dst));
        let both = port.and_then(|(protocol, port)| self.both.get(&(packet.dst, protocol, port)));
        let lists = [
            Some(&self.any),
            self.destinations.get(&packet.dst),
            port.and_then(|port| self.ports.get(&port)),
            both,
        ];
        let first = |rules: &Vec<usize>| rules.get(rules.partition_point(|rule| *rule < from)).copied();
        lists.into_iter().flatten().filter_map(first).min()
    }
}
