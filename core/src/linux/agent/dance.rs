//! The part of TCP that a crafted question takes: a handshake, one question, one answer (RFC 9293). It sends nothing
//! itself and has no clock.

use std::time::Duration;

use pnet_packet::tcp::TcpFlags::{ACK, FIN, PSH, RST, SYN};

use super::frame::Segment;
use super::words::Answer;
use crate::probe::Outcome;

/// Before the first segment is sent again (TCP_TIMEOUT_INIT), and any later one on a path this short (TCP_RTO_MIN).
const FIRST_RTO: Duration = Duration::from_secs(1);
const RTO: Duration = Duration::from_millis(200);
/// How much of the question a segment carries, in bytes: what every link of IPv6 carries (RFC 8200, 5).
const SEGMENT_BYTES: usize = 1220;

/// A connection, seen from who opens it.
#[derive(Debug)]
pub(super) struct Dance {
    nonce: u64,
    question: Vec<u8>,
    /// The sequence number of the SYN.
    first: u32,
    /// The next one expected, once there is a connection.
    expected: Option<u32>,
    /// How much of the question is acknowledged.
    heard_of: usize,
    answer: Vec<u8>,
    rto: Duration,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Wait,
    /// Acknowledge, and say what is not acknowledged.
    Say,
    /// It has ended.
    Over(Outcome),
}

impl Dance {
    /// A connection that has not begun.
    pub(super) fn new(nonce: u64, question: Vec<u8>) -> Self {
        let [.., a, b, c, d] = nonce.to_be_bytes();
        let first = u32::from_be_bytes([a, b, c, d]);
        Self { nonce, question, first, expected: None, heard_of: 0, answer: Vec::new(), rto: FIRST_RTO }
    }

    /// Whether the handshake is done.
    pub(super) const fn is_connected(&self) -> bool {
        self.expected.is_some()
    }

    /// How long to wait before what is not acknowledged is sent again.
    pub(super) const fn patience(&self) -> Duration {
        self.rto
    }

    /// Waits longer the next time.
    pub(super) const fn again(&mut self) {
        self.rto = self.rto.saturating_mul(2);
    }

    /// What is to be sent until it is acknowledged.
    pub(super) fn unacknowledged(&self) -> Vec<Segment<'_>> {
        let Some(ack) = self.expected else {
            return vec![Segment { flags: SYN, seq: self.first, ack: 0, payload: &[] }];
        };
        let rest = self.question.get(self.heard_of..).unwrap_or_default();
        let pieces = rest.chunks(SEGMENT_BYTES).enumerate();
        pieces
            .map(|(at, payload)| {
                let seq = self.number(self.heard_of + at * SEGMENT_BYTES);
                Segment { flags: PSH | ACK, seq, ack, payload }
            })
            .collect()
    }

    /// A bare acknowledgement.
    pub(super) fn acknowledgement(&self) -> Segment<'static> {
        let seq = self.number(self.question.len());
        Segment { flags: ACK, seq, ack: self.expected.unwrap_or(0), payload: &[] }
    }

    /// The end of what is said here.
    pub(super) fn farewell(&self) -> Segment<'static> {
        Segment { flags: FIN | ACK, ..self.acknowledgement() }
    }

    /// Takes a segment.
    pub(super) fn take(&mut self, segment: &Segment<'_>) -> Turn {
        match self.expected {
            None => self.greet(segment),
            Some(expected) => self.listen(segment, expected),
        }
    }

    fn greet(&mut self, segment: &Segment<'_>) -> Turn {
        let acknowledged = segment.flags & ACK != 0 && segment.ack == self.first.wrapping_add(1);
        if !acknowledged {
            return Turn::Wait;
        }
        if segment.flags & RST != 0 {
            return Turn::Over(Outcome::Refused);
        }
        if segment.flags & SYN == 0 {
            return Turn::Wait;
        }
        self.expected = Some(segment.seq.wrapping_add(1));
        self.rto = RTO;
        Turn::Say
    }

    fn listen(&mut self, segment: &Segment<'_>, expected: u32) -> Turn {
        if segment.flags & SYN != 0 {
            return Turn::Say;
        }
        if segment.flags & RST != 0 {
            return if segment.seq == expected { Turn::Over(Outcome::Closed) } else { Turn::Wait };
        }
        let said = segment.ack.wrapping_sub(self.number(0));
        let said = usize::try_from(said).unwrap_or(usize::MAX);
        if segment.flags & ACK != 0 && said <= self.question.len() && said > self.heard_of {
            self.heard_of = said;
            self.rto = RTO;
        }
        let fin = segment.flags & FIN != 0;
        if segment.payload.is_empty() && !fin {
            return Turn::Wait;
        }
        if segment.seq != expected {
            return Turn::Say;
        }
        let taken = u32::try_from(segment.payload.len()).unwrap_or(0).wrapping_add(u32::from(fin));
        self.expected = Some(expected.wrapping_add(taken));
        self.answer.extend(segment.payload);
        match Answer::read(&self.answer).filter(|answer| answer.nonce == self.nonce) {
            Some(answer) => Turn::Over(answer.into()),
            None if fin => Turn::Over(Outcome::Closed),
            None => Turn::Say,
        }
    }

    /// The sequence number of a byte of the question.
    fn number(&self, at: usize) -> u32 {
        self.first.wrapping_add(1).wrapping_add(u32::try_from(at).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Segment<'_> {
        Segment { flags, seq, ack, payload }
    }

    fn connected() -> Dance {
        let mut dance = Dance::new(7, vec![1; 3000]);
        assert_eq!(dance.unacknowledged(), [segment(SYN, 7, 0, &[])]);
        assert_eq!(dance.take(&segment(SYN | ACK, 99, 8, &[])), Turn::Say);
        assert_eq!(dance.acknowledgement(), segment(ACK, 3008, 100, &[]));
        dance
    }

    #[test]
    fn the_question_is_said_until_it_is_acknowledged() {
        let mut dance = connected();
        let said = |dance: &Dance| {
            dance.unacknowledged().iter().map(|s| (s.seq, s.payload.len())).collect::<Vec<_>>()
        };
        assert_eq!(said(&dance), [(8, 1220), (1228, 1220), (2448, 560)]);
        assert_eq!(dance.take(&segment(ACK, 100, 2448, &[])), Turn::Wait);
        assert_eq!(said(&dance), [(2448, 560)]);
        assert_eq!(dance.take(&segment(ACK, 100, 9999, &[])), Turn::Wait);
        assert_eq!(said(&dance), [(2448, 560)], "what was never said cannot be acknowledged");
    }

    #[test]
    fn an_answer_in_two_pieces_is_whole() {
        let mut dance = connected();
        let answer = Answer { nonce: 7, node: "b".into(), port: 80, saw: [10, 0, 0, 1].into() };
        let bytes = answer.to_bytes();
        assert_eq!(dance.take(&segment(ACK, 100, 3008, &bytes[..30])), Turn::Say);
        assert_eq!(dance.take(&segment(ACK, 150, 3008, &bytes[50..])), Turn::Say, "out of order");
        assert_eq!(dance.take(&segment(ACK, 130, 3008, &bytes[30..])), Turn::Over(answer.into()));
        assert_eq!(dance.farewell(), segment(FIN | ACK, 3008, 164, &[]));
    }

    #[test]
    fn a_reset_refuses_or_closes_and_a_foreign_one_does_nothing() {
        let mut dance = Dance::new(7, Vec::new());
        assert_eq!(dance.take(&segment(RST | ACK, 0, 77, &[])), Turn::Wait);
        assert_eq!(dance.take(&segment(RST | ACK, 0, 8, &[])), Turn::Over(Outcome::Refused));
        let mut dance = connected();
        assert_eq!(dance.take(&segment(RST, 4, 0, &[])), Turn::Wait);
        assert_eq!(dance.take(&segment(RST, 100, 0, &[])), Turn::Over(Outcome::Closed));
        assert_eq!(connected().take(&segment(FIN | ACK, 100, 3008, &[])), Turn::Over(Outcome::Closed));
    }
}
