//! How conntrack follows a TCP connection (net/netfilter/nf_conntrack_proto_tcp.c).
//!
//! Departs from Linux: a packet here has no window and no options, so every window is [`WINDOW`], nothing is scaled and
//! nothing acknowledged selectively. Stacks that never send beyond that window see no difference.

use super::SECOND_US;
use super::entry::{Entry, State as ProtocolState, Status};
use super::timeouts::Timeouts;
use super::tuple::Direction;
use crate::packet::{self, TcpFlags};

mod table;
mod window;

use table::{Class, Next};
use window::{Fit, Side};

/// The window that every packet is taken to offer, unscaled.
const WINDOW: u32 = 65535;
/// `nf_conntrack_tcp_max_retrans`.
pub(crate) const MAX_RETRANSMISSIONS: u8 = 3;

/// A connection's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::netfilter) enum State {
    None,
    SynSent,
    SynRecv,
    Established,
    FinWait,
    CloseWait,
    LastAck,
    TimeWait,
    Close,
    SynSent2,
}

/// What is kept of a connection (`struct ip_ct_tcp`).
#[derive(Debug, Clone, Copy)]
pub(in crate::netfilter) struct Tcp {
    pub state: State,
    original: Side,
    reply: Side,
    retransmissions: u8,
    last: Last,
    challenge_ack_expected: bool,
    simultaneous_open: bool,
}

/// The packet before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    class: Class,
    direction: Direction,
    seq: u32,
    ack: u32,
    end: u32,
    /// 0 before the first packet whose window was looked at.
    window: u32,
}

/// A packet as the tracker sees it.
#[derive(Debug, Clone, Copy)]
struct Segment {
    class: Class,
    direction: Direction,
    syn: bool,
    /// Whether ACK is set.
    acks: bool,
    rst: bool,
    seq: u32,
    ack: u32,
    end: u32,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It belongs to the flow.
    Accept,
    /// It belongs to the flow, and ends it at once.
    Kill,
    /// It is INVALID.
    Invalid,
    /// It opens the flow anew: the entry goes, and the packet is looked up again.
    Reopen,
}

impl Segment {
    fn new(tcp: &packet::Tcp, size: u16, direction: Direction) -> Self {
        let has = |flag| tcp.flags.has(flag);
        let (syn, fin) = (has(TcpFlags::SYN), has(TcpFlags::FIN));
        let end = tcp.seq.wrapping_add(u32::from(size) + u32::from(syn) + u32::from(fin));
        let (acks, rst) = (has(TcpFlags::ACK), has(TcpFlags::RST));
        Self { class: Class::of(tcp.flags), direction, syn, acks, rst, seq: tcp.seq, ack: tcp.ack, end }
    }
}

impl Tcp {
    /// The state as `conntrack -L` writes it.
    pub(super) const fn state_name(&self) -> &'static str {
        match self.state {
            State::None => "NONE",
            State::SynSent => "SYN_SENT",
            State::SynRecv => "SYN_RECV",
            State::Established => "ESTABLISHED",
            State::FinWait => "FIN_WAIT",
            State::CloseWait => "CLOSE_WAIT",
            State::LastAck => "LAST_ACK",
            State::TimeWait => "TIME_WAIT",
            State::Close => "CLOSE",
            State::SynSent2 => "SYN_SENT2",
        }
    }

    /// A connection that begins with this packet, or is picked up in its middle; none where it cannot (`tcp_new`).
    pub(super) fn new(tcp: &packet::Tcp, size: u16) -> Option<Self> {
        let segment = Segment::new(tcp, size, Direction::Original);
        let (original, reply) = match table::next(Direction::Original, segment.class, State::None) {
            Next::State(State::SynSent) => (Side::opening(segment.end), Side::default()),
            Next::State(_) => (Side::picked_up(segment.end), Side::liberal()),
            Next::Ignore | Next::Invalid => return None,
        };
        let direction = Direction::Original;
        let last = Last { class: Class::None, direction, seq: 0, ack: 0, end: 0, window: 0 };
        Some(Self {
            state: State::None,
            original,
            reply,
            retransmissions: 0,
            last,
            challenge_ack_expected: false,
            simultaneous_open: false,
        })
    }

    /// Where the original direction's data ends.
    pub(in crate::netfilter) const fn original_end(&self) -> u32 {
        self.original.end
    }

    /// Whether the connection is over but for its lingering (`tcp_can_early_drop`).
    const fn is_closing(&self) -> bool {
        matches!(
            self.state,
            State::FinWait | State::LastAck | State::TimeWait | State::Close | State::CloseWait
        )
    }

    fn sides(&mut self, direction: Direction) -> (&mut Side, &mut Side) {
        match direction {
            Direction::Original => (&mut self.original, &mut self.reply),
            Direction::Reply => (&mut self.reply, &mut self.original),
        }
    }

    /// What the state becomes, if the window allows; or what the packet's fate is at once.
    fn step(&mut self, segment: &Segment, status: Status) -> Result<Step, Fate> {
        let old = self.state;
        match table::next(segment.direction, segment.class, old) {
            Next::Invalid => Err(Fate::Invalid),
            Next::State(State::SynSent) if old >= State::TimeWait => {
                let aborted = self.last.direction == segment.direction && self.last.class == Class::Rst;
                if self.original.closed_first || self.reply.closed_first || aborted {
                    return Err(Fate::Reopen);
                }
                self.ignore(segment, old)
            }
            Next::Ignore => self.ignore(segment, old),
            Next::State(State::TimeWait) if self.is_challenge_ack(segment, old) => {
                self.challenge_ack_expected = false;
                Err(Fate::Accept)
            }
            Next::State(State::SynSent2) => {
                self.simultaneous_open = true;
                Ok(Step::to(State::SynSent2))
            }
            Next::State(State::SynRecv) => {
                let opened = segment.direction == Direction::Reply
                    && segment.class == Class::Ack
                    && self.simultaneous_open;
                Ok(Step::to(if opened { State::Established } else { State::SynRecv }))
            }
            Next::State(State::Close) if segment.class == Class::Rst => self.reset(segment, status),
            Next::State(state) => Ok(Step::to(state)),
        }
    }

    /// RFC 5961: an ACK that answers a stray SYN does not acknowledge the last FIN.
    fn is_challenge_ack(&self, segment: &Segment, old: State) -> bool {
        old == State::LastAck
            && segment.class == Class::Ack
            && self.last.direction != segment.direction
            && self.last.class == Class::Syn
            && self.challenge_ack_expected
    }

    /// A packet that may show that the ends are in step and conntrack is not: it passes, and is remembered.
    fn ignore(&mut self, segment: &Segment, old: State) -> Result<Step, Fate> {
        if segment.class == Class::SynAck
            && self.last.class == Class::Syn
            && self.last.direction != segment.direction
            && segment.ack == self.last.end
        {
            // It acknowledges a SYN that was ignored: from here on conntrack is in step again.
            self.challenge_ack_expected = false;
            let opener = Side::opening(self.last.end);
            let (sender, receiver) = self.sides(segment.direction);
            sender.reset();
            *receiver = opener;
            return Ok(Step { from: Some(State::SynSent), ..Step::to(State::SynRecv) });
        }
        let ack = if old == State::SynSent
            && segment.class == Class::Ack
            && segment.direction == Direction::Reply
        {
            segment.ack
        } else {
            self.last.ack
        };
        let Segment { class, direction, seq, end, .. } = *segment;
        self.last = Last { class, direction, seq, ack, end, window: WINDOW };
        if class == Class::Syn && direction == Direction::Original {
            self.challenge_ack_expected = old == State::LastAck;
        }
        Err(Fate::Accept)
    }

    /// A reset: it must fit what the other side has acknowledged.
    fn reset(&mut self, segment: &Segment, status: Status) -> Result<Step, Fate> {
        let close = Step::to(State::Close);
        if self.is_closing() {
            return Ok(Step { checked: false, ..close });
        }
        let established = self.state == State::Established && status.has(Status::ASSURED);
        let mut next = close;
        let last = self.last;
        let (_, receiver) = self.sides(segment.direction);
        if let Some(max_ack) = receiver.max_ack.filter(|_| last.class != Class::Syn) {
            if segment.seq == 0 && !established {
                return Ok(close);
            }
            if window::before(segment.seq, max_ack) {
                return Err(Fate::Invalid);
            }
            let train =
                last.class == Class::Ack && last.direction == segment.direction && segment.seq == last.end;
            if !established || segment.seq == max_ack || train {
                return Ok(close);
            }
            // Not exactly what is expected: the connection stays, for a challenge ACK.
            next = Step::to(self.state);
        }
        let seen_reply = status.has(Status::SEEN_REPLY);
        let half_open = seen_reply && last.class == Class::Syn
            || !status.has(Status::ASSURED) && last.class == Class::Ack;
        let answers_challenge = self.state == State::SynSent
            && last.class == Class::Ack
            && last.direction == Direction::Reply
            && segment.seq == last.ack;
        let checked = !(half_open && segment.ack == last.end || answers_challenge);
        Ok(Step { checked, ..next })
    }

    /// Goes over to a state; the answer is how long the entry lives now, in seconds.
    fn enter(&mut self, old: State, new: State, segment: &Segment, timeouts: &Timeouts) -> u32 {
        self.last.class = segment.class;
        self.last.direction = segment.direction;
        self.state = new;
        if old != new && new == State::FinWait {
            self.sides(segment.direction).0.closed_first = true;
        }
        self.timeout_s(segment, timeouts)
    }

    const fn timeout_s(&self, segment: &Segment, timeouts: &Timeouts) -> u32 {
        let Timeouts { retransmission, unacknowledged, .. } = *timeouts;
        let usual = timeouts.of(self.state);
        if self.retransmissions >= MAX_RETRANSMISSIONS && usual > retransmission {
            retransmission
        } else if segment.rst {
            timeouts.of(State::Close)
        } else if (self.original.unacknowledged || self.reply.unacknowledged) && usual > unacknowledged {
            unacknowledged
        } else if self.last.window == 0 && usual > retransmission {
            retransmission
        } else {
            usual
        }
    }
}

/// What a packet leads to.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// The state it is taken to come from, where that is not the connection's own.
    from: Option<State>,
    /// The state it leads to.
    to: State,
    /// Whether the window is looked at.
    checked: bool,
}

impl Step {
    const fn to(to: State) -> Self {
        Self { from: None, to, checked: true }
    }
}

/// Whether conntrack takes a packet with these flags at all (`tcp_valid_flags`; PSH, ECE and CWR are not looked at).
pub(super) const fn flags_are_valid(flags: TcpFlags) -> bool {
    const URG: u8 = 0x20;
    const SYN_URG: u8 = TcpFlags::SYN.0 | URG;
    const SYN_ACK: u8 = TcpFlags::SYN.0 | TcpFlags::ACK.0;
    const RST_ACK: u8 = TcpFlags::RST.0 | TcpFlags::ACK.0;
    const FIN_ACK: u8 = TcpFlags::FIN.0 | TcpFlags::ACK.0;
    const FIN_ACK_URG: u8 = FIN_ACK | URG;
    const ACK_URG: u8 = TcpFlags::ACK.0 | URG;
    const SYN: u8 = TcpFlags::SYN.0;
    const RST: u8 = TcpFlags::RST.0;
    const ACK: u8 = TcpFlags::ACK.0;
    let looked_at = flags.0 & (SYN | RST | ACK | TcpFlags::FIN.0 | URG);
    matches!(looked_at, SYN | SYN_URG | SYN_ACK | RST | RST_ACK | FIN_ACK | FIN_ACK_URG | ACK | ACK_URG)
}

/// Takes a packet into its connection (`nf_conntrack_tcp_packet`).
pub(super) fn track(
    entry: &mut Entry,
    tcp: &packet::Tcp,
    size: u16,
    direction: Direction,
    timeouts: &Timeouts,
    now_us: u64,
) -> Fate {
    let status = entry.status;
    let ProtocolState::Tcp(connection) = &mut entry.protocol else { return Fate::Invalid };
    let segment = Segment::new(tcp, size, direction);
    let step = match connection.step(&segment, status) {
        Ok(step) => step,
        Err(fate) => return fate,
    };
    let old = step.from.unwrap_or(connection.state);
    let fit = if step.checked { connection.fit(&segment) } else { Fit::In };
    match fit {
        Fit::In => {
            let timeout_s = connection.enter(old, step.to, &segment, timeouts);
            settle(entry, &segment, (old, step.to), (timeout_s, timeouts.unacknowledged), now_us)
        }
        Fit::Ignore => Fate::Accept,
        Fit::Out => {
            handle_invalid(entry, &segment, timeouts, now_us);
            Fate::Invalid
        }
    }
}

/// The rest of it: a reset without a reply ends the flow, a repeated SYN does not prolong it.
fn settle(
    entry: &mut Entry,
    segment: &Segment,
    (old, new): (State, State),
    (mut timeout_s, unacknowledged_s): (u32, u32),
    now_us: u64,
) -> Fate {
    if !entry.has(Status::SEEN_REPLY) {
        if segment.rst {
            return Fate::Kill;
        }
        if segment.class == Class::Syn && old == State::SynSent {
            return Fate::Accept;
        }
        if new == State::Established {
            timeout_s = timeout_s.min(unacknowledged_s);
        }
    } else if matches!(old, State::SynRecv | State::Established) && new == State::Established {
        entry.status.set(Status::ASSURED);
    }
    entry.refresh(u64::from(timeout_s) * SECOND_US, now_us);
    Fate::Accept
}

/// An end that does not fit the window, answered by one the other way, makes the entry live no longer than one with
/// unacknowledged data (`nf_tcp_handle_invalid`).
fn handle_invalid(entry: &mut Entry, segment: &Segment, timeouts: &Timeouts, now_us: u64) {
    let unacknowledged_us = u64::from(timeouts.unacknowledged) * SECOND_US;
    let assured = entry.has(Status::ASSURED);
    let left_us = entry.timeout_us.saturating_sub(now_us);
    let ProtocolState::Tcp(connection) = &mut entry.protocol else { return };
    if !assured || !matches!(segment.class, Class::Rst | Class::Fin) {
        return;
    }
    let answered = connection.last.direction != segment.direction
        && matches!(connection.last.class, Class::Rst | Class::Fin);
    if !answered {
        connection.last.class = segment.class;
        connection.last.direction = segment.direction;
    } else if left_us > unacknowledged_us {
        entry.refresh(unacknowledged_us, now_us);
    }
}

/// REJECT has answered with a reset: the connection closes (`nf_conntrack_tcp_set_closing`).
pub(in crate::netfilter) fn set_closing(entry: &mut Entry, timeouts: &Timeouts, now_us: u64) {
    if !entry.has(Status::CONFIRMED) {
        return;
    }
    if let ProtocolState::Tcp(connection) = &mut entry.protocol
        && connection.state != State::Close
    {
        connection.state = State::Close;
        entry.refresh(u64::from(timeouts.of(State::Close)) * SECOND_US, now_us);
    }
}
