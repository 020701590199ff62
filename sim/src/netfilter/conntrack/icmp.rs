//! ICMP in conntrack: queries are flows, errors belong to the flow they speak of
//! (nf_conntrack_proto_icmp.c, nf_conntrack_proto_icmpv6.c).

use seatrial_core::addr::Family;
use seatrial_core::rules::Protocol;

use super::tuple::{Direction, Tuple};
use super::{EntryId, Progress, Table, Tracked};
use crate::netfilter::condition::type_and_code;
use crate::packet::{Icmp, Packet, Quoted};

/// Whether a message may begin a flow: a query, never an answer (`valid_new`).
pub(super) const fn may_open(tuple: &Tuple) -> bool {
    let (kind, _) = tuple.icmp();
    match tuple.protocol {
        Protocol::ICMP => matches!(kind, 8 | 13 | 15 | 17),
        Protocol::ICMPV6 => matches!(kind, 128 | 139),
        Protocol(_) => false,
    }
}

/// Whether conntrack leaves an ICMPv6 message alone: neighbour discovery and multicast listeners (`noct_valid_new`).
const fn is_left_alone(kind: u8) -> bool {
    matches!(kind, 130..=136 | 143 | 151 | 152)
}

impl Table {
    /// What an ICMP message is without a flow of its own; none for one that is tracked like any packet.
    pub(super) fn track_icmp(&mut self, packet: &Packet, icmp: Icmp, now_us: u64) -> Option<Tracked> {
        let family = packet.family();
        let (kind, _) = type_and_code(icmp, family);
        if family == Family::V6 && is_left_alone(kind) {
            return Some(Tracked::Untracked);
        }
        let Icmp::Error { quoted, .. } = icmp else { return None };
        Some(self.track_error(packet, &quoted, now_us).unwrap_or(Tracked::Invalid))
    }

    /// An error is RELATED to the flow it quotes, if it goes to where the quoted packet came from
    /// (`nf_conntrack_inet_error`).
    fn track_error(&mut self, packet: &Packet, quoted: &Quoted, now_us: u64) -> Option<Tracked> {
        let (id, direction) = self.find_quoted(quoted, now_us)?;
        let sent_to = self.get(id)?.tuple(direction).dst;
        (sent_to == packet.dst).then_some(Tracked::Flow { id, state: Progress::Related, direction })
    }

    /// The flow of which a quoted packet would be answered so, and the direction of that answer.
    fn find_quoted(&mut self, quoted: &Quoted, now_us: u64) -> Option<(EntryId, Direction)> {
        [false, true].into_iter().find_map(|reply| {
            let answer = Tuple::of_quoted(quoted, reply).inverse()?;
            self.find(&answer, now_us)
        })
    }
}
