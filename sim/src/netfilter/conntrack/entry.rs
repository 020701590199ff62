//! A flow that conntrack knows, and how `conntrack -L` writes it.

use std::fmt;

use seatrial_core::addr::IfName;
use seatrial_core::rules::Protocol;
use serde::{Serialize, Serializer};

use super::EntryId;
use super::tcp::Tcp;
use super::tuple::{Direction, Tuple};

/// A flow (`struct nf_conn`).
#[derive(Debug, Clone)]
pub(in crate::netfilter) struct Entry {
    /// The original direction, and what its answers look like.
    pub original: Tuple,
    pub reply: Tuple,
    pub status: Status,
    pub mark: u32,
    pub protocol: State,
    /// Virtual microseconds: until it is confirmed how long it will live, then when it ends.
    pub timeout_us: u64,
    /// The device it is masqueraded out of.
    pub masquerade: Option<IfName>,
    /// The flow before it with the same source, of those whose source NAT is settled.
    pub older: Option<EntryId>,
    /// Which of all entries it is.
    pub sequence: u64,
}

/// What a protocol's tracker keeps.
#[derive(Debug, Clone, Copy)]
pub(in crate::netfilter) enum State {
    Tcp(Tcp),
    /// When a UDP flow with traffic both ways counts as a stream.
    Udp {
        stream_from_us: u64,
    },
    Other,
}

/// `enum ip_conntrack_status` (uapi/linux/netfilter/nf_conntrack_common.h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::netfilter) struct Status(u16);

impl Status {
    pub(in crate::netfilter) const SEEN_REPLY: Self = Self(1 << 1);
    pub(in crate::netfilter) const ASSURED: Self = Self(1 << 2);
    pub(in crate::netfilter) const CONFIRMED: Self = Self(1 << 3);
    pub(in crate::netfilter) const SRC_NAT: Self = Self(1 << 4);
    pub(in crate::netfilter) const DST_NAT: Self = Self(1 << 5);
    pub(in crate::netfilter) const SRC_NAT_DONE: Self = Self(1 << 7);
    pub(in crate::netfilter) const DST_NAT_DONE: Self = Self(1 << 8);
    /// Out of the table, while packets may still carry it.
    pub(in crate::netfilter) const DYING: Self = Self(1 << 9);
    /// Its original direction clashed and is not in the table (`IPS_NAT_CLASH`).
    pub(in crate::netfilter) const NAT_CLASH: Self = Self(1 << 12);

    pub(in crate::netfilter) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(in crate::netfilter) const fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Entry {
    pub(in crate::netfilter) const fn tuple(&self, direction: Direction) -> &Tuple {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    pub(in crate::netfilter) const fn has(&self, status: Status) -> bool {
        self.status.has(status)
    }

    /// Whether its source was translated (`--ctstate SNAT`).
    pub(in crate::netfilter) const fn source_translated(&self) -> bool {
        self.has(Status::SRC_NAT)
    }

    /// Whether its destination was (`--ctstate DNAT`).
    pub(in crate::netfilter) const fn destination_translated(&self) -> bool {
        self.has(Status::DST_NAT)
    }

    /// Lives this long from now on; an entry that is not confirmed, from then on (`nf_ct_refresh_acct`).
    pub(in crate::netfilter) const fn refresh(&mut self, timeout_us: u64, now_us: u64) {
        self.timeout_us = if self.has(Status::CONFIRMED) { now_us + timeout_us } else { timeout_us };
    }

    /// Writes the entry as `conntrack -L` does.
    pub(in crate::netfilter) fn text(&self, now_us: u64) -> String {
        Text { entry: self, now_us }.to_string()
    }
}

struct Text<'a> {
    entry: &'a Entry,
    now_us: u64,
}

/// An entry as it stood at one moment, if there was one. It is put into words only when somebody reads it.
#[derive(Clone, Default)]
pub struct Flow(Option<Box<(Entry, u64)>>);

impl Flow {
    pub(in crate::netfilter) fn at(entry: &Entry, now_us: u64) -> Self {
        Self(Some(Box::new((entry.clone(), now_us))))
    }
}

/// As `conntrack -L` writes it.
impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_deref().map_or(Ok(()), |(entry, now_us)| Text { entry, now_us: *now_us }.fmt(f))
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// Equal where they read the same.
impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Flow {}

impl Serialize for Flow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, now_us } = self;
        let left = if entry.has(Status::CONFIRMED) {
            entry.timeout_us.saturating_sub(*now_us)
        } else {
            entry.timeout_us
        };
        let number = entry.original.protocol;
        write!(f, "{:<8} {} {} ", protocol_name(number), number.0, left / 1_000_000)?;
        if let State::Tcp(tcp) = &entry.protocol {
            write!(f, "{} ", tcp.state_name())?;
        }
        write_tuple(f, &entry.original)?;
        if !entry.has(Status::SEEN_REPLY) {
            f.write_str("[UNREPLIED] ")?;
        }
        write_tuple(f, &entry.reply)?;
        if entry.has(Status::ASSURED) {
            f.write_str("[ASSURED] ")?;
        }
        write!(f, "mark={} use=1", entry.mark)
    }
}

/// A protocol's name in `conntrack -L` (libnetfilter_conntrack, `l4proto2str`).
const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::ICMP => "icmp",
        Protocol::TCP => "tcp",
        Protocol::UDP => "udp",
        Protocol::ICMPV6 => "icmpv6",
        Protocol::SCTP => "sctp",
        Protocol(_) => "unknown",
    }
}

fn write_tuple(f: &mut fmt::Formatter<'_>, tuple: &Tuple) -> fmt::Result {
    write!(f, "src={} dst={} ", tuple.src, tuple.dst)?;
    if tuple.is_icmp() {
        let (kind, code) = tuple.icmp();
        write!(f, "type={kind} code={code} id={} ", tuple.ports.src)
    } else if matches!(tuple.protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP) {
        write!(f, "sport={} dport={} ", tuple.ports.src, tuple.ports.dst)
    } else {
        Ok(())
    }
}
