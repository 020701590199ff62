//! Whether a packet's numbers fit the connection (`tcp_in_window`).

use super::table::Class;
use super::{Last, Segment, State, Tcp, WINDOW};
use crate::netfilter::conntrack::tuple::Direction;

/// How far behind an acknowledgement may be (`MAXACKWINCONST`).
const ACK_WINDOW: u32 = 66000;

/// What is known of one side's sending (`struct ip_ct_tcp_state`); `max_window` is 0 before its first packet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Side {
    /// The highest sequence number sent, plus length.
    pub end: u32,
    /// The highest it may send: the other side's acknowledgement plus window.
    max_end: u32,
    max_window: u32,
    /// The highest number it acknowledged.
    pub max_ack: Option<u32>,
    /// It sent the first FIN.
    pub closed_first: bool,
    /// It sent data that nobody has acknowledged yet.
    pub unacknowledged: bool,
    /// Out of window is let through: the connection was picked up in its middle.
    liberal: bool,
}

/// Whether a packet fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    In,
    /// Not quite; it passes and changes nothing.
    Ignore,
    Out,
}

/// Whether `a` comes before `b` (RFC 9293, 3.4).
pub(super) const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

impl Side {
    /// Whoever sent a SYN that ends at `end`.
    pub(super) const fn opening(end: u32) -> Self {
        Self {
            end,
            max_end: end,
            max_window: WINDOW,
            max_ack: None,
            closed_first: false,
            unacknowledged: false,
            liberal: false,
        }
    }

    /// Whoever was first seen in the middle of a connection.
    pub(super) const fn picked_up(end: u32) -> Self {
        Self { max_end: end.wrapping_add(WINDOW), liberal: true, ..Self::opening(end) }
    }

    /// The other side of such a connection.
    pub(super) fn liberal() -> Self {
        Self { liberal: true, ..Self::default() }
    }

    /// Forgets all but its being liberal (`nf_ct_tcp_state_reset`).
    pub(super) fn reset(&mut self) {
        *self = Self { liberal: self.liberal, ..Self::default() };
    }

    const fn reopen(&mut self, end: u32) {
        self.end = end;
        self.max_end = end;
        self.max_window = WINDOW;
    }

    fn ack_window(&self) -> u32 {
        self.max_window.max(ACK_WINDOW)
    }
}

impl Tcp {
    /// Checks a packet against both windows, and moves them.
    pub(super) fn fit(&mut self, segment: &Segment) -> Fit {
        let state = self.state;
        let (sender, receiver) = self.sides(segment.direction);
        if begin(sender, receiver, segment, state) {
            return Fit::In;
        }
        let mut segment = *segment;
        if !segment.acks || segment.rst && segment.ack == 0 {
            segment.ack = receiver.end;
        }
        if segment.rst && segment.seq == 0 && state == State::SynSent {
            // It answers the SYN.
            segment.seq = sender.end;
            segment.end = sender.end;
        }
        if let Some(misfit) = misfit(sender, receiver, &segment) {
            return if sender.liberal { Fit::In } else { misfit };
        }
        advance(sender, receiver, &segment);
        self.count_retransmissions(&segment);
        Fit::In
    }

    fn count_retransmissions(&mut self, segment: &Segment) {
        if segment.class != Class::Ack {
            return;
        }
        let Segment { direction, seq, ack, end, .. } = *segment;
        let now = Last { class: self.last.class, direction, seq, ack, end, window: WINDOW };
        if self.last == now {
            self.retransmissions = self.retransmissions.saturating_add(1);
        } else {
            self.last = now;
            self.retransmissions = 0;
        }
    }
}

/// The first packet of a side sets its windows; true where that is all there is to it.
fn begin(sender: &mut Side, receiver: &mut Side, segment: &Segment, state: State) -> bool {
    if sender.max_window == 0 {
        if segment.syn {
            sender.reopen(segment.end);
            return !segment.acks;
        }
        sender.end = segment.end;
        sender.max_window = WINDOW;
        sender.max_end = segment.end.wrapping_add(WINDOW);
        if receiver.max_window == 0 {
            receiver.end = segment.ack;
            receiver.max_end = segment.ack;
        } else if segment.ack == receiver.end.wrapping_add(1) {
            // Likely the answer to a keepalive.
            receiver.end = segment.ack;
        }
    } else if segment.syn
        && after(segment.end, sender.end)
        && matches!(state, State::SynSent | State::SynRecv)
    {
        sender.reopen(segment.end);
        return segment.direction == Direction::Reply && !segment.acks;
    }
    false
}

/// How a packet does not fit; none where it does.
fn misfit(sender: &mut Side, receiver: &Side, segment: &Segment) -> Option<Fit> {
    let lowest = sender.end.wrapping_sub(receiver.max_window).wrapping_sub(1);
    let lowest_ack = receiver.end.wrapping_sub(sender.ack_window()).wrapping_sub(1);
    let ack_not_ahead = before(segment.ack, receiver.end.wrapping_add(1));
    if !before(segment.seq, sender.max_end.wrapping_add(1)) {
        let overshot = segment.end.wrapping_sub(sender.max_end).wrapping_add(1);
        let only_too_long = receiver.max_window != 0
            && after(segment.end, lowest)
            && after(segment.ack, lowest_ack)
            && overshot <= receiver.max_window
            && ack_not_ahead;
        if only_too_long {
            sender.end = segment.end;
            sender.unacknowledged = true;
            return Some(Fit::Ignore);
        }
        return Some(Fit::Out);
    }
    if !ack_not_ahead {
        return Some(Fit::Out);
    }
    let in_window = receiver.max_window == 0 || after(segment.end, lowest);
    if !in_window || !after(segment.ack, lowest_ack) {
        return Some(Fit::Ignore);
    }
    None
}

fn advance(sender: &mut Side, receiver: &mut Side, segment: &Segment) {
    sender.max_window = sender.max_window.max(WINDOW);
    let beyond = segment.end.wrapping_sub(sender.max_end);
    if after(segment.end, sender.end) {
        sender.end = segment.end;
        sender.unacknowledged = true;
    }
    if segment.acks {
        let newer = sender.max_ack.is_none_or(|ack| after(segment.ack, ack));
        sender.max_ack = if newer { Some(segment.ack) } else { sender.max_ack };
    }
    if receiver.max_window != 0 && after(segment.end, sender.max_end) {
        receiver.max_window = receiver.max_window.wrapping_add(beyond);
    }
    let allowed = segment.ack.wrapping_add(WINDOW);
    if after(allowed, receiver.max_end.wrapping_sub(1)) {
        receiver.max_end = allowed;
    }
    if segment.ack == receiver.end {
        receiver.unacknowledged = false;
    }
}
