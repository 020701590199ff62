//! The state table (`tcp_conntracks`): direction, class of packet and state give the next state.

use super::State;
use crate::netfilter::conntrack::tuple::Direction;
use crate::packet::TcpFlags;

/// What a packet is, by the first of its flags that counts (`get_conntrack_index`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    None,
}

/// What the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    State(State),
    /// It passes, and changes nothing.
    Ignore,
    Invalid,
}

impl Class {
    pub(super) const fn of(flags: TcpFlags) -> Self {
        if flags.has(TcpFlags::RST) {
            Self::Rst
        } else if flags.has(TcpFlags::SYN) {
            if flags.has(TcpFlags::ACK) { Self::SynAck } else { Self::Syn }
        } else if flags.has(TcpFlags::FIN) {
            Self::Fin
        } else if flags.has(TcpFlags::ACK) {
            Self::Ack
        } else {
            Self::None
        }
    }
}

const SS: Next = Next::State(State::SynSent);
const SR: Next = Next::State(State::SynRecv);
const ES: Next = Next::State(State::Established);
const FW: Next = Next::State(State::FinWait);
const CW: Next = Next::State(State::CloseWait);
const LA: Next = Next::State(State::LastAck);
const TW: Next = Next::State(State::TimeWait);
const CL: Next = Next::State(State::Close);
const S2: Next = Next::State(State::SynSent2);
const IG: Next = Next::Ignore;
const IV: Next = Next::Invalid;

/// One row for a direction and a class; the columns are the states in the order of [`State`].
type Row = [Next; 10];

// columns:                NONE SS  SR  ES  FW  CW  LA  TW  CL  S2
const ORIG_SYN: Row = [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2];
const ORIG_SYNACK: Row = [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR];
const ORIG_FIN: Row = [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV];
const ORIG_ACK: Row = [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV];
const ORIG_RST: Row = [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL];
const REPLY_SYN: Row = [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2];
const REPLY_SYNACK: Row = [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR];
const REPLY_FIN: Row = [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV];
const REPLY_ACK: Row = [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG];
const REPLY_RST: Row = [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL];
const NONE: Row = [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV];

/// What follows.
pub(super) fn next(direction: Direction, class: Class, state: State) -> Next {
    let row = match (direction, class) {
        (Direction::Original, Class::Syn) => ORIG_SYN,
        (Direction::Original, Class::SynAck) => ORIG_SYNACK,
        (Direction::Original, Class::Fin) => ORIG_FIN,
        (Direction::Original, Class::Ack) => ORIG_ACK,
        (Direction::Original, Class::Rst) => ORIG_RST,
        (Direction::Reply, Class::Syn) => REPLY_SYN,
        (Direction::Reply, Class::SynAck) => REPLY_SYNACK,
        (Direction::Reply, Class::Fin) => REPLY_FIN,
        (Direction::Reply, Class::Ack) => REPLY_ACK,
        (Direction::Reply, Class::Rst) => REPLY_RST,
        (_, Class::None) => NONE,
    };
    row.get(state as usize).copied().unwrap_or(IV)
}
