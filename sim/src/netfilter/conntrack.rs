//! The conntrack table: flows by either of their tuples, in virtual time (net/netfilter/nf_conntrack_core.c).
//!
//! An entry is made by a flow's first packet and belongs to that packet alone until it is confirmed: only then is it in
//! the table. What is not in the table, or no longer, is kept for a second after, for packets that still carry it.

use std::collections::VecDeque;
use std::iter;
use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::addr::IfName;
use seatrial_core::rules::Protocol;

use crate::kernel::Kernel;
use crate::packet::{L4, Packet};
use crate::seed::Seed;

pub(super) mod entry;
pub(super) mod icmp;
pub(super) mod tcp;
mod timeouts;
pub(super) mod tuple;

pub(super) use entry::{Entry, State, Status};
pub(super) use timeouts::Timeouts;
use tuple::{Direction, Tuple};

/// Microseconds of a second.
pub(super) const SECOND_US: u64 = 1_000_000;
/// How long an entry that is not in the table outlives its packet.
const LIMBO_US: u64 = SECOND_US;
/// How long both ends of a UDP flow must talk before it is a stream.
const UDP_STREAM_FROM_US: u64 = 2 * SECOND_US;
/// `nf_conntrack_max` of a machine with more than 4 GiB.
const MAX: usize = 262_144;

/// Settings under net.netfilter, and whose they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    /// `nf_conntrack_max`: how many entries there may be; 0 is no bound.
    pub(crate) max: usize,
    /// `nf_conntrack_checksum`: whether a packet that comes in with a wrong checksum is INVALID.
    pub(crate) checksum: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) kernel: Kernel,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { max: MAX, checksum: true, timeouts: Timeouts::default(), kernel: Kernel::default() }
    }
}
/// How many places `early_drop` looks at for an entry to sacrifice.
const EARLY_DROP: usize = 8;

/// An entry, wherever it is; stale once the entry is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryId {
    slot: usize,
    sequence: u64,
}

/// Where a flow's source is looked up: address, port and protocol of its original direction.
type Source = (IpAddr, u16, Protocol);

/// The table of one namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    tuples: IndexMap<Tuple, (EntryId, Direction), FxBuildHasher>,
    /// Flows whose source NAT is settled: the newest of each source; it knows the next ([`Entry::older`]).
    sources: IndexMap<Source, EntryId, FxBuildHasher>,
    /// Entries outside the table, and since when.
    limbo: VecDeque<(u64, EntryId)>,
    sequence: u64,
    tuning: Tuning,
    /// Whether it sees no clash: a mistake for a checker to find.
    #[cfg(test)]
    pub(super) blind: bool,
}

/// What a packet is to conntrack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracked {
    Invalid,
    Untracked,
    /// A packet of this flow.
    Flow {
        id: EntryId,
        state: Progress,
        direction: Direction,
    },
    /// Nothing could be made of it for want of room: it is dropped.
    Full,
}

/// How far a flow is, seen from one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    New,
    Related,
    Established,
}

/// What confirming came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// Nothing was to be done.
    Already,
    /// The entry is in the table.
    New,
    /// Another packet made the same entry before: this is the one that counts.
    Merged(EntryId),
    /// Its tuple belongs to another flow.
    Clash,
}

impl Table {
    pub(super) const fn tune(&mut self, tuning: Tuning) {
        self.tuning = tuning;
    }

    pub(super) const fn timeouts(&self) -> Timeouts {
        self.tuning.timeouts
    }

    pub(super) const fn kernel(&self) -> Kernel {
        self.tuning.kernel
    }

    pub(super) const fn checks_sums(&self) -> bool {
        self.tuning.checksum
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.slots.get(id.slot)?.as_ref().filter(|e| e.sequence == id.sequence)
    }

    pub(super) fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.slots.get_mut(id.slot)?.as_mut().filter(|e| e.sequence == id.sequence)
    }

    /// Every entry in the table that is alive, the oldest first.
    pub(super) fn alive(&self, now_us: u64) -> Vec<&Entry> {
        let in_table = |e: &&Entry| e.has(Status::CONFIRMED) && !e.has(Status::DYING);
        let mut all: Vec<&Entry> =
            self.slots.iter().flatten().filter(in_table).filter(|e| e.timeout_us > now_us).collect();
        all.sort_by_key(|e| e.sequence);
        all
    }

    /// Finds a flow by either of its tuples.
    pub(super) fn find(&mut self, tuple: &Tuple, now_us: u64) -> Option<(EntryId, Direction)> {
        let &(id, direction) = self.tuples.get(tuple)?;
        if self.get(id).is_some_and(|e| e.timeout_us > now_us) {
            return Some((id, direction));
        }
        self.kill(id, now_us);
        None
    }

    /// What a packet is: its entry, a new one if need be (`nf_conntrack_in`).
    pub(super) fn track(&mut self, packet: &Packet, now_us: u64, seed: &mut Seed) -> Tracked {
        match packet.l4 {
            L4::Icmp(icmp) => {
                if let Some(tracked) = self.track_icmp(packet, icmp, now_us) {
                    return tracked;
                }
            }
            L4::Tcp(tcp) if !tcp::flags_are_valid(tcp.flags) => return Tracked::Invalid,
            L4::Tcp(_) | L4::Udp(_) | L4::Sctp(_) | L4::Other(_) => {}
        }
        let Some(tuple) = Tuple::of(packet) else { return Tracked::Invalid };
        // A flow can be reopened once: then its old entry is gone.
        self.resolve(packet, &tuple, now_us, seed)
            .or_else(|| self.resolve(packet, &tuple, now_us, seed))
            .unwrap_or(Tracked::Invalid)
    }

    /// One try; none where the packet opens its flow anew.
    fn resolve(&mut self, packet: &Packet, tuple: &Tuple, now_us: u64, seed: &mut Seed) -> Option<Tracked> {
        let (id, direction) = match self.find(tuple, now_us) {
            Some(found) => found,
            None => match self.create(packet, tuple, now_us, seed) {
                Ok(id) => (id, Direction::Original),
                Err(why) => return Some(why),
            },
        };
        let timeouts = self.timeouts();
        let entry = self.get_mut(id)?;
        let state = match direction {
            Direction::Original if !entry.has(Status::SEEN_REPLY) => Progress::New,
            Direction::Original | Direction::Reply => Progress::Established,
        };
        let fate = follow(entry, packet, direction, &timeouts, now_us);
        match fate {
            tcp::Fate::Accept | tcp::Fate::Kill => {
                if direction == Direction::Reply {
                    entry.status.set(Status::SEEN_REPLY);
                }
            }
            tcp::Fate::Invalid | tcp::Fate::Reopen => {}
        }
        match fate {
            tcp::Fate::Accept => {}
            tcp::Fate::Kill => self.kill(id, now_us),
            tcp::Fate::Invalid => return Some(Tracked::Invalid),
            tcp::Fate::Reopen => {
                self.kill(id, now_us);
                return None;
            }
        }
        Some(Tracked::Flow { id, state, direction })
    }

    /// A new entry, not yet in the table (`init_conntrack`).
    fn create(
        &mut self,
        packet: &Packet,
        tuple: &Tuple,
        now_us: u64,
        seed: &mut Seed,
    ) -> Result<EntryId, Tracked> {
        self.empty_limbo(now_us);
        let reply = tuple.inverse().ok_or(Tracked::Invalid)?;
        let protocol = match packet.l4 {
            L4::Tcp(tcp) => State::Tcp(tcp::Tcp::new(&tcp, packet.size).ok_or(Tracked::Invalid)?),
            L4::Udp(_) => State::Udp { stream_from_us: now_us + UDP_STREAM_FROM_US },
            L4::Icmp(_) if !icmp::may_open(tuple) => return Err(Tracked::Invalid),
            L4::Icmp(_) | L4::Sctp(_) | L4::Other(_) => State::Other,
        };
        let max = self.tuning.max;
        if max > 0 && self.tuples.len() / 2 >= max && !self.make_room(now_us, seed) {
            return Err(Tracked::Full);
        }
        self.sequence += 1;
        let entry = Entry {
            original: *tuple,
            reply,
            status: Status::default(),
            mark: 0,
            protocol,
            timeout_us: 0,
            masquerade: None,
            older: None,
            sequence: self.sequence,
        };
        let id = self.put(entry);
        self.limbo.push_back((now_us, id));
        Ok(id)
    }

    fn put(&mut self, entry: Entry) -> EntryId {
        let sequence = entry.sequence;
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.slots.get_mut(slot)
        {
            *place = Some(entry);
            return EntryId { slot, sequence };
        }
        self.slots.push(Some(entry));
        EntryId { slot: self.slots.len() - 1, sequence }
    }

    /// Frees what no packet can carry any more.
    fn empty_limbo(&mut self, now_us: u64) {
        while let Some(&(since_us, id)) = self.limbo.front()
            && since_us + LIMBO_US < now_us
        {
            self.limbo.pop_front();
            let gone = |e: &Entry| !e.has(Status::CONFIRMED) || e.has(Status::DYING);
            if self.get(id).is_some_and(gone) {
                self.forget_source(id);
                if let Some(place) = self.slots.get_mut(id.slot) {
                    *place = None;
                    self.free.push(id.slot);
                }
            }
        }
    }

    /// Whether room was found by giving up what has ended, or a flow that nobody has answered (`early_drop`).
    fn make_room(&mut self, now_us: u64, seed: &mut Seed) -> bool {
        let ended = self.ids(|e| e.has(Status::CONFIRMED) && !e.has(Status::DYING) && e.timeout_us <= now_us);
        if !ended.is_empty() {
            ended.into_iter().for_each(|id| self.kill(id, now_us));
            return true;
        }
        let count = self.slots.len().max(1);
        // The remainder is below a usize.
        let start = (seed.next_u64() % count as u64) as usize;
        let victim = (start..start + EARLY_DROP.min(count)).find_map(|i| {
            let slot = i % count;
            let entry = self.slots.get(slot)?.as_ref()?;
            let spared =
                entry.has(Status::ASSURED) || entry.has(Status::DYING) || !entry.has(Status::CONFIRMED);
            (!spared).then_some(EntryId { slot, sequence: entry.sequence })
        });
        victim.inspect(|&id| self.kill(id, now_us)).is_some()
    }

    /// Puts a new entry into the table (`__nf_conntrack_confirm`).
    pub(super) fn confirm(&mut self, id: EntryId, direction: Direction, now_us: u64) -> Confirmed {
        let Some(entry) = self.get(id) else { return Confirmed::Already };
        // What answers a packet that was rejected carries its entry, and does not confirm it.
        if direction == Direction::Reply || entry.has(Status::CONFIRMED) || entry.has(Status::DYING) {
            return Confirmed::Already;
        }
        let (original, reply) = (entry.original, entry.reply);
        let taken = self.find(&original, now_us).or_else(|| self.find(&reply, now_us));
        #[cfg(test)]
        let taken = taken.filter(|_| !self.blind);
        if let Some((winner, _)) = taken {
            return self.resolve_clash(id, winner, now_us);
        }
        self.tuples.insert(original, (id, Direction::Original));
        self.tuples.insert(reply, (id, Direction::Reply));
        if let Some(entry) = self.get_mut(id) {
            entry.status.set(Status::CONFIRMED);
            entry.timeout_us += now_us;
        }
        Confirmed::New
    }

    /// Two packets of one UDP flow may race: the later one takes the earlier one's entry, or, where only the original
    /// tuples clash, its replies alone are known for a second (`nf_ct_resolve_clash`).
    fn resolve_clash(&mut self, id: EntryId, winner: EntryId, now_us: u64) -> Confirmed {
        let (Some(entry), Some(other)) = (self.get(id), self.get(winner)) else { return Confirmed::Clash };
        if entry.original.protocol != Protocol::UDP {
            return Confirmed::Clash;
        }
        if (entry.original, entry.reply) == (other.original, other.reply) {
            return Confirmed::Merged(winner);
        }
        let reply = entry.reply;
        if self.find(&reply, now_us).is_some() {
            return Confirmed::Clash;
        }
        self.tuples.insert(reply, (id, Direction::Reply));
        if let Some(entry) = self.get_mut(id) {
            entry.status.set(Status::CONFIRMED);
            entry.status.set(Status::NAT_CLASH);
            entry.timeout_us = now_us + SECOND_US;
        }
        Confirmed::New
    }

    /// Takes an entry out of the table; packets that carry it keep it (`nf_ct_kill`).
    pub(super) fn kill(&mut self, id: EntryId, now_us: u64) {
        let Some(entry) = self.get_mut(id) else { return };
        entry.status.set(Status::DYING);
        for tuple in [entry.original, entry.reply] {
            if self.tuples.get(&tuple).is_some_and(|(other, _)| *other == id) {
                self.tuples.swap_remove(&tuple);
            }
        }
        self.forget_source(id);
        self.limbo.push_back((now_us, id));
    }

    /// Notes that a flow's source NAT is settled.
    pub(super) fn settle_source(&mut self, id: EntryId) {
        let Some(source) = self.get(id).map(|e| source(&e.original)) else { return };
        let older = self.sources.insert(source, id);
        if let Some(entry) = self.get_mut(id) {
            entry.older = older.filter(|older| *older != id);
        }
    }

    fn forget_source(&mut self, id: EntryId) {
        let Some((source, older)) = self.get(id).map(|e| (source(&e.original), e.older)) else { return };
        let newer = self.flows_of(source).find(|newer| self.get(*newer).is_some_and(|e| e.older == Some(id)));
        if let Some(newer) = newer.and_then(|newer| self.get_mut(newer)) {
            newer.older = older;
        } else if self.sources.get(&source) == Some(&id) {
            match older {
                Some(older) => self.sources.insert(source, older),
                None => self.sources.swap_remove(&source),
            };
        }
    }

    /// The flows with a source, the newest first.
    fn flows_of(&self, source: Source) -> impl Iterator<Item = EntryId> {
        let newest = self.sources.get(&source).copied();
        iter::successors(newest, |id| self.get(*id)?.older)
    }

    /// The flows with this source, the newest first.
    pub(super) fn of_source(&self, tuple: &Tuple) -> impl Iterator<Item = &Entry> {
        self.flows_of(source(tuple)).filter_map(|id| self.get(id))
    }

    /// Whether another flow has this tuple; the very same flow, begun twice, does not count (`nf_conntrack_tuple_taken`).
    pub(super) fn is_taken(&mut self, tuple: &Tuple, but: EntryId, now_us: u64) -> bool {
        let Some((id, _)) = self.find(tuple, now_us) else { return false };
        #[cfg(test)]
        if self.blind {
            return false;
        }
        let same = |a: &Entry, b: &Entry| a.original == b.original;
        id != but && !self.get(id).zip(self.get(but)).is_some_and(|(a, b)| same(a, b))
    }

    /// A packet that carries this entry goes no further.
    pub(super) fn discard(&mut self, id: EntryId) {
        if self.get(id).is_some_and(|e| !e.has(Status::CONFIRMED)) {
            self.forget_source(id);
        }
    }

    /// Forgets every flow to or from an address.
    pub(super) fn flush(&mut self, addr: IpAddr, now_us: u64) {
        let of = |tuple: &Tuple| tuple.src == addr || tuple.dst == addr;
        let ids = self.ids(|e| of(&e.original) || of(&e.reply));
        ids.into_iter().for_each(|id| self.kill(id, now_us));
    }

    /// Forgets the flows of a protocol that were sent to a port.
    pub(super) fn flush_port(&mut self, protocol: Protocol, port: u16, now_us: u64) {
        let ids = self.ids(|e| e.original.protocol == protocol && e.original.ports.dst == port);
        ids.into_iter().for_each(|id| self.kill(id, now_us));
    }

    /// Forgets what was masqueraded out of a device, to one address of it or to any.
    pub(super) fn forget_masquerade(&mut self, dev: &IfName, addr: Option<IpAddr>, now_us: u64) {
        let ids = self.ids(|e| e.masquerade.as_ref() == Some(dev) && addr.is_none_or(|a| e.reply.dst == a));
        ids.into_iter().for_each(|id| self.kill(id, now_us));
    }

    fn ids(&self, of: impl Fn(&Entry) -> bool) -> Vec<EntryId> {
        let id = |(slot, entry): (usize, &Option<Entry>)| {
            let entry = entry.as_ref().filter(|e| of(e))?;
            Some(EntryId { slot, sequence: entry.sequence })
        };
        self.slots.iter().enumerate().filter_map(id).collect()
    }
}

const fn source(tuple: &Tuple) -> Source {
    (tuple.src, tuple.ports.src, tuple.protocol)
}

/// Lets the protocol's tracker see the packet.
fn follow(
    entry: &mut Entry,
    packet: &Packet,
    direction: Direction,
    timeouts: &Timeouts,
    now_us: u64,
) -> tcp::Fate {
    let timeout_s = match (packet.l4, entry.protocol) {
        (L4::Tcp(header), State::Tcp(_)) => {
            return tcp::track(entry, &header, packet.size, direction, timeouts, now_us);
        }
        (L4::Udp(_), State::Udp { stream_from_us }) => {
            // A stream only where both ends still talk after two seconds.
            let stream = entry.has(Status::SEEN_REPLY) && now_us > stream_from_us;
            if stream && !entry.has(Status::NAT_CLASH) {
                entry.status.set(Status::ASSURED);
            }
            if stream { timeouts.udp_stream } else { timeouts.udp }
        }
        (L4::Icmp(_), _) if packet.src.is_ipv4() => timeouts.icmp,
        (L4::Icmp(_), _) => timeouts.icmpv6,
        (L4::Sctp(_), _) => timeouts.sctp_cookie_wait,
        (L4::Tcp(_) | L4::Udp(_) | L4::Other(_), _) => timeouts.generic,
    };
    entry.refresh(u64::from(timeout_s) * SECOND_US, now_us);
    tcp::Fate::Accept
}
