//! A tuple that no other flow has: the own one, one its source has already, or one found by search (`get_unique_tuple`).

use seatrial_core::addr::PortRange;
use seatrial_core::rules::Protocol;

use super::{Manip, Range, address};
use crate::kernel::Kernel;
use crate::netfilter::conntrack::tcp;
use crate::netfilter::conntrack::tuple::{Direction, Tuple};
use crate::netfilter::conntrack::{EntryId, State, Status, Table};
use crate::seed::Seed;

/// How many ports a search tries at first (`NF_NAT_MAX_ATTEMPTS`), and with how many left it evicts what has ended.
const ATTEMPTS: u32 = 128;
const HARDER: u32 = ATTEMPTS / 4;
/// A search gives up below this many.
const FEWEST_ATTEMPTS: u32 = 16;

/// The tuple a flow's packets get. It may belong to another flow after all, where the search finds nothing: then
/// confirming drops the packet.
pub(super) fn unique_tuple(
    table: &mut Table,
    id: EntryId,
    current: &Tuple,
    range: &Range,
    manip: Manip,
    now_us: u64,
    seed: &mut Seed,
) -> Tuple {
    let mut taken = |tuple: &Tuple| is_taken(table, tuple, id, now_us);
    if manip == Manip::Source && !range.random {
        if in_range(current, range) {
            if !taken(current) {
                return *current;
            }
        } else if let Some(mapped) = mapping_of_source(table, current, range)
            && !is_taken(table, &mapped, id, now_us)
        {
            return mapped;
        }
    }
    let mut tuple = *current;
    address::choose(&mut tuple, range, manip);
    if !range.random {
        let fits = match range.ports {
            Some(ports) => {
                port_in_range(&tuple, manip, ports)
                    && (ports.count() == 1 || !is_taken(table, &tuple, id, now_us))
            }
            None => !is_taken(table, &tuple, id, now_us),
        };
        if fits {
            return tuple;
        }
    }
    search(table, id, tuple, range, manip, now_us, seed)
}

/// Whether the answers to this tuple would be another flow's (`nf_nat_used_tuple`).
fn is_taken(table: &mut Table, tuple: &Tuple, id: EntryId, now_us: u64) -> bool {
    tuple.inverse().is_some_and(|reply| table.is_taken(&reply, id, now_us))
}

/// Whether a source may stay as it is (`nf_in_range`).
fn in_range(tuple: &Tuple, range: &Range) -> bool {
    range.addresses.is_none_or(|(first, last)| first <= tuple.src && tuple.src <= last)
        && range.ports.is_none_or(|ports| port_in_range(tuple, Manip::Source, ports))
}

/// `l4proto_in_range`.
const fn port_in_range(tuple: &Tuple, manip: Manip, ports: PortRange) -> bool {
    match (tuple.protocol, manip) {
        (Protocol::ICMP | Protocol::ICMPV6, _) => ports.contains(tuple.ports.src),
        (Protocol::TCP | Protocol::UDP | Protocol::SCTP, Manip::Source) => ports.contains(tuple.ports.src),
        (Protocol::TCP | Protocol::UDP | Protocol::SCTP, Manip::Destination) => {
            ports.contains(tuple.ports.dst)
        }
        (Protocol(_), _) => true,
    }
}

/// What this source is translated to for other destinations, if the range allows it (`find_appropriate_src`).
fn mapping_of_source(table: &Table, current: &Tuple, range: &Range) -> Option<Tuple> {
    table.of_source(current).find_map(|entry| {
        let mut mapped = entry.reply.inverse()?;
        mapped.dst = current.dst;
        mapped.ports.dst = current.ports.dst;
        in_range(&mapped, range).then_some(mapped)
    })
}

/// The ports a search goes through: the first and how many (`nf_nat_l4proto_unique_tuple`).
fn searched(tuple: &Tuple, range: &Range, manip: Manip) -> Option<(u16, u32)> {
    let ports = range.ports.map(|ports| (ports.first(), ports.count()));
    match (tuple.protocol, manip) {
        (Protocol::ICMP | Protocol::ICMPV6, _) => Some(ports.unwrap_or((0, 1 << 16))),
        (Protocol::TCP | Protocol::UDP | Protocol::SCTP, Manip::Destination) => ports,
        (Protocol::TCP | Protocol::UDP | Protocol::SCTP, Manip::Source) => {
            Some(ports.unwrap_or(match tuple.ports.src {
                ..512 => (1, 511),
                512..1024 => (600, 424),
                1024.. => (1024, 64512),
            }))
        }
        (Protocol(_), _) => None,
    }
}

fn set_port(tuple: &mut Tuple, manip: Manip, port: u16) {
    if manip == Manip::Source || tuple.is_icmp() {
        tuple.ports.src = port;
    } else {
        tuple.ports.dst = port;
    }
}

fn search(
    table: &mut Table,
    id: EntryId,
    mut tuple: Tuple,
    range: &Range,
    manip: Manip,
    now_us: u64,
    seed: &mut Seed,
) -> Tuple {
    let Some((first, count)) = searched(&tuple, range, manip) else { return tuple };
    let starts_anywhere = range.random || manip == Manip::Source || table.kernel() == Kernel::V6_1;
    let mut offset = if starts_anywhere { seed.next_u16() } else { 0 };
    let mut attempts = count.min(ATTEMPTS);
    loop {
        for left in (1..=attempts).rev() {
            // The remainder is below the count of ports.
            let port = u32::from(first) + u32::from(offset) % count;
            set_port(&mut tuple, manip, port as u16);
            if !is_taken_for_good(table, &tuple, id, left, now_us) {
                return tuple;
            }
            offset = offset.wrapping_add(1);
        }
        if attempts >= count || attempts < FEWEST_ATTEMPTS {
            return tuple;
        }
        attempts /= 2;
        offset = seed.next_u16();
    }
}

/// As [`is_taken`]; near the end of a search a TCP connection that is over but for its lingering makes room for a newer
/// one (`nf_nat_used_tuple_harder`).
fn is_taken_for_good(table: &mut Table, tuple: &Tuple, id: EntryId, left: u32, now_us: u64) -> bool {
    let end_of = |table: &Table, id| match table.get(id).map(|e| e.protocol) {
        Some(State::Tcp(connection)) => Some((connection.state, connection.original_end())),
        Some(State::Udp { .. } | State::Other) | None => None,
    };
    let Some((tcp::State::SynSent, new_end)) = end_of(table, id) else {
        return is_taken(table, tuple, id, now_us);
    };
    if left > HARDER || table.kernel() == Kernel::V6_1 {
        return is_taken(table, tuple, id, now_us);
    }
    let Some(reply) = tuple.inverse() else { return true };
    let Some((other, direction)) = table.find(&reply, now_us) else { return false };
    let Some((state, old_end)) = end_of(table, other) else { return true };
    let advanced = (new_end.wrapping_sub(old_end) as i32) > 0;
    let evicted = direction == Direction::Reply
        && state >= tcp::State::TimeWait
        && table.get(other).is_some_and(|e| e.has(Status::SRC_NAT))
        && advanced;
    if evicted {
        table.kill(other, now_us);
    }
    !evicted
}
