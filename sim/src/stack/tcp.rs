//! TCP: connect, one segment at a time each way, close, reset, and retransmission (net/ipv4/tcp_*.c).
//!
//! Departs from Linux in what no trial can see: one unacknowledged segment, no window, no options. The largest segment
//! is that of the first device, and smaller once a router says so.

use seatrial_core::addr::Family;

use super::icmp::Told;
use super::output::{SendError, packet};
use super::socket::{End, Owner, SockId, Socket, Sort, Wake};
use crate::arena::{DevId, NsId};
use crate::clock::{MS, SECOND};
use crate::packet::{L4, Payload, Ports, Tcp, TcpFlags};
use crate::skb::Skb;
use crate::trace::{DropReason, Event as Happened};
use crate::world::{Event, World};

/// Before the first segment is sent again while there is no measure of the path (TCP_TIMEOUT_INIT).
const FIRST_RTO_US: u64 = SECOND;
/// And once there is one, on a path this short (TCP_RTO_MIN).
const RTO_US: u64 = 200 * MS;
/// How often a SYN (tcp_syn_retries), and how often anything else (tcp_retries2), is sent again.
pub(super) const SYN_TRIES: u8 = 6;
pub(super) const TRIES: u8 = 15;
/// How long a closed connection stays to answer what is late (TCP_TIMEWAIT_LEN).
const TIME_WAIT_US: u64 = 60 * SECOND;

/// What TCP keeps of a connection (struct tcp_sock).
#[derive(Debug, Clone)]
pub(crate) struct Tcb {
    pub(crate) state: State,
    /// The next sequence number to send, and the next expected.
    snd_nxt: u32,
    rcv_nxt: u32,
    /// What the other side has not acknowledged.
    unacked: Option<Segment>,
    /// What waits for that, oldest first.
    waiting: Vec<Segment>,
    rto_us: u64,
    tries: u8,
    /// Tells the timer that was set last from those before it.
    timer: u32,
    /// The largest payload of a segment.
    mss: u16,
}

/// A connection's state (RFC 9293, 3.3.2); those that only differ in who closed first are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    /// The other side has closed.
    CloseWait,
    /// This side has closed.
    FinWait,
    /// Both have, and the last FIN is not acknowledged.
    LastAck,
    TimeWait,
}

/// Something that takes up sequence numbers.
#[derive(Debug, Clone, Copy)]
struct Segment {
    flags: TcpFlags,
    seq: u32,
    size: u16,
    payload: Payload,
}

impl Segment {
    fn end(&self) -> u32 {
        let flag = u32::from(self.flags.has(TcpFlags::SYN)) + u32::from(self.flags.has(TcpFlags::FIN));
        self.seq.wrapping_add(u32::from(self.size)).wrapping_add(flag)
    }
}

impl Tcb {
    const fn new(state: State, isn: u32, mss: u16) -> Self {
        Self {
            state,
            snd_nxt: isn,
            rcv_nxt: 0,
            unacked: None,
            waiting: Vec::new(),
            rto_us: FIRST_RTO_US,
            tries: 0,
            timer: 0,
            mss,
        }
    }
}

impl World {
    /// Sends a SYN (`tcp_v4_connect`).
    pub(crate) fn tcp_connect(&mut self, ns: NsId, sock: SockId, to: End) -> Result<(), SendError> {
        self.bind_for(ns, sock, to)?;
        let (isn, mss) = (self.seed.next_u32(), self.mss_to(ns, to));
        if let Some(socket) = self.stacks[ns].sockets.get_mut(sock) {
            socket.tcb = Some(Tcb::new(State::SynSent, isn, mss));
        }
        self.tcp_push(ns, sock, TcpFlags::SYN, Payload::Empty, 0);
        Ok(())
    }

    /// Sends data.
    pub(crate) fn tcp_send(&mut self, ns: NsId, sock: SockId, payload: Payload, size: u16) {
        self.tcp_push(ns, sock, TcpFlags::PSH.with(TcpFlags::ACK), payload, size);
    }

    /// Closes this side: a FIN behind all that was sent; before there is a connection nothing is left.
    pub(crate) fn tcp_close(&mut self, ns: NsId, sock: SockId) {
        let Some(tcb) = self.tcb(ns, sock) else { return self.forget_socket(ns, sock) };
        tcb.state = match tcb.state {
            State::Established => State::FinWait,
            State::CloseWait => State::LastAck,
            State::SynSent | State::SynReceived => return self.forget_socket(ns, sock),
            State::FinWait | State::LastAck | State::TimeWait => return,
        };
        self.tcp_push(ns, sock, TcpFlags::FIN.with(TcpFlags::ACK), Payload::Empty, 0);
    }

    /// Queues what takes up sequence numbers, and sends it if nothing is under way.
    fn tcp_push(&mut self, ns: NsId, sock: SockId, flags: TcpFlags, payload: Payload, size: u16) {
        let Some(tcb) = self.tcb(ns, sock) else { return };
        let segment = Segment { flags, seq: tcb.snd_nxt, size: size.min(tcb.mss), payload };
        tcb.snd_nxt = segment.end();
        if tcb.unacked.is_some() {
            return tcb.waiting.push(segment);
        }
        tcb.unacked = Some(segment);
        tcb.tries = 0;
        self.tcp_transmit(ns, sock, segment);
        self.tcp_arm(ns, sock);
    }

    fn tcp_arm(&mut self, ns: NsId, sock: SockId) {
        let Some(tcb) = self.tcb(ns, sock) else { return };
        tcb.timer += 1;
        let (timer, rto_us) = (tcb.timer, tcb.rto_us);
        self.clock.after(rto_us, Event::Tcp { ns, sock, timer });
    }

    /// A segment was not acknowledged in time (`tcp_retransmit_timer`), or TIME_WAIT is over.
    pub(crate) fn tcp_timer(&mut self, ns: NsId, sock: SockId, timer: u32) {
        let Some(tcb) = self.tcb(ns, sock).filter(|tcb| tcb.timer == timer) else { return };
        if tcb.state == State::TimeWait {
            return self.forget_socket(ns, sock);
        }
        let limit = if tcb.state == State::SynSent { SYN_TRIES } else { TRIES };
        let Some(segment) = tcb.unacked else { return };
        if tcb.tries >= limit {
            return self.wake(ns, sock, Wake::Reset);
        }
        tcb.tries += 1;
        tcb.rto_us *= 2;
        self.tcp_transmit(ns, sock, segment);
        self.tcp_arm(ns, sock);
    }

    fn tcp_transmit(&mut self, ns: NsId, sock: SockId, segment: Segment) {
        let Some(socket) = self.stacks[ns].sockets.get(sock) else { return };
        let (Some(src), Some(to), Some(tcb)) = (socket.address, socket.remote, &socket.tcb) else { return };
        let ports = Ports { src: socket.port, dst: to.1 };
        let ack = if segment.flags.has(TcpFlags::ACK) { tcb.rcv_nxt } else { 0 };
        let l4 = L4::Tcp(Tcp { ports, flags: segment.flags, seq: segment.seq, ack });
        let ttl = socket.knobs.ttl.unwrap_or(self.stacks[ns].settings.ttl);
        let mut out = packet(src, to.0, ttl, l4);
        (out.df, out.mark, out.size) = (true, socket.knobs.mark, segment.size);
        out.payload = segment.payload;
        let (raw, owner) = (socket.raw, socket.owner);
        let mut skb = self.fresh(out);
        self.note_send(ns, &skb, owner);
        if raw.is_some() {
            return self.raw_out(ns, raw, &mut skb);
        }
        // A route that is gone now may be back before the timer rings.
        if let Err(error) = self.send(ns, &mut skb, Some(src)) {
            self.note_drop(ns, None, &skb, error.errno(), |_| error.to_string());
        }
    }

    /// A bare acknowledgement.
    fn tcp_ack(&mut self, ns: NsId, sock: SockId) {
        let Some(tcb) = self.tcb(ns, sock) else { return };
        let segment = Segment { flags: TcpFlags::ACK, seq: tcb.snd_nxt, size: 0, payload: Payload::Empty };
        self.tcp_transmit(ns, sock, segment);
    }

    /// Answers a segment with RST, unless it is one (`tcp_v4_send_reset`, RFC 9293, 3.5.2).
    pub(crate) fn tcp_reset(&mut self, ns: NsId, skb: &Skb) {
        let L4::Tcp(tcp) = skb.packet.l4 else { return };
        if tcp.flags.has(TcpFlags::RST) {
            return;
        }
        let taken = u32::from(tcp.flags.has(TcpFlags::SYN))
            + u32::from(tcp.flags.has(TcpFlags::FIN))
            + u32::from(skb.packet.size);
        let (flags, seq, ack) = if tcp.flags.has(TcpFlags::ACK) {
            (TcpFlags::RST, tcp.ack, 0)
        } else {
            (TcpFlags::RST.with(TcpFlags::ACK), 0, tcp.seq.wrapping_add(taken))
        };
        let ports = Ports { src: tcp.ports.dst, dst: tcp.ports.src };
        let ttl = self.stacks[ns].settings.ttl;
        let mut rst = packet(skb.packet.dst, skb.packet.src, ttl, L4::Tcp(Tcp { ports, flags, seq, ack }));
        rst.df = true;
        let mut answer = self.fresh(rst);
        answer.meta.ct = skb.meta.ct.answer();
        // Without a route back nobody is told.
        _ = self.send(ns, &mut answer, Some(skb.packet.dst));
    }

    /// A segment for this namespace (`tcp_v4_rcv`).
    pub(crate) fn tcp_input(&mut self, ns: NsId, dev: DevId, skb: &Skb, tcp: Tcp) {
        let (local, remote) = ((skb.packet.dst, tcp.ports.dst), (skb.packet.src, tcp.ports.src));
        let found = self.stacks[ns].sockets.find(Sort::Tcp, local, remote);
        let Some(sock) = found else {
            let none = format!("no socket is bound to tcp {}", tcp.ports.dst);
            self.note(ns, Some(dev), skb, |_| Happened::Answer { what: format!("RST: {none}") });
            self.aside(dev, skb, DropReason::NoSocket, |_| none);
            return self.tcp_reset(ns, skb);
        };
        if self.socket_owner(ns, sock) == Some(Owner::Reservation) {
            let why = |_: &Self| {
                format!("port {} is held and not served: the socket's filter drops all", tcp.ports.dst)
            };
            return self.note_drop(ns, Some(dev), skb, DropReason::SocketFilter, why);
        }
        self.note_deliver(ns, dev, skb, sock);
        self.tcp_segment(ns, sock, skb, tcp);
    }

    /// A segment for a socket.
    pub(crate) fn tcp_segment(&mut self, ns: NsId, sock: SockId, skb: &Skb, tcp: Tcp) {
        match self.tcb(ns, sock).map(|tcb| tcb.state) {
            None => self.tcp_listen(ns, sock, skb, tcp),
            Some(State::SynSent) => self.tcp_syn_sent(ns, sock, skb, tcp),
            Some(_) => self.tcp_synchronised(ns, sock, skb, tcp),
        }
    }

    /// A SYN makes a connection of its own; anything else has none (`tcp_v4_conn_request`).
    fn tcp_listen(&mut self, ns: NsId, sock: SockId, skb: &Skb, tcp: Tcp) {
        if !tcp.flags.has(TcpFlags::SYN) || tcp.flags.has(TcpFlags::ACK) {
            return self.tcp_reset(ns, skb);
        }
        let Some(owner) = self.socket_owner(ns, sock) else { return };
        let from = (skb.packet.src, tcp.ports.src);
        let mut child = Socket::bound(Sort::Tcp, owner, Some(skb.packet.dst), tcp.ports.dst);
        child.remote = Some(from);
        let mut tcb = Tcb::new(State::SynReceived, self.seed.next_u32(), self.mss_to(ns, from));
        tcb.rcv_nxt = tcp.seq.wrapping_add(1);
        child.tcb = Some(tcb);
        let child = self.open(ns, child);
        self.tcp_push(ns, child, TcpFlags::SYN.with(TcpFlags::ACK), Payload::Empty, 0);
    }

    /// The answer to a SYN.
    fn tcp_syn_sent(&mut self, ns: NsId, sock: SockId, skb: &Skb, tcp: Tcp) {
        let Some(tcb) = self.tcb(ns, sock) else { return };
        let acked = tcp.flags.has(TcpFlags::ACK) && tcp.ack == tcb.snd_nxt;
        if tcp.flags.has(TcpFlags::RST) {
            if acked {
                tcb.unacked = None;
                self.wake(ns, sock, Wake::Told(Told::Refused));
            }
        } else if acked && tcp.flags.has(TcpFlags::SYN) {
            tcb.state = State::Established;
            tcb.rcv_nxt = tcp.seq.wrapping_add(1);
            tcb.unacked = None;
            tcb.rto_us = RTO_US;
            self.tcp_ack(ns, sock);
            self.wake(ns, sock, Wake::Connected);
        } else {
            self.tcp_reset(ns, skb);
        }
    }

    /// A segment of a connection that stands, or nearly.
    fn tcp_synchronised(&mut self, ns: NsId, sock: SockId, skb: &Skb, tcp: Tcp) {
        let Some(tcb) = self.tcb(ns, sock) else { return };
        let expected = tcp.seq == tcb.rcv_nxt;
        if tcp.flags.has(TcpFlags::RST) {
            if expected {
                self.wake(ns, sock, Wake::Reset);
            }
            return;
        }
        if tcp.flags.has(TcpFlags::SYN) {
            // Ours was lost, or theirs came twice: what is not acknowledged is sent again.
            let unacked = tcb.unacked.filter(|_| tcb.state == State::SynReceived);
            return match unacked {
                Some(segment) => self.tcp_transmit(ns, sock, segment),
                None => self.tcp_ack(ns, sock),
            };
        }
        if tcp.flags.has(TcpFlags::ACK) && !self.tcp_acked(ns, sock, tcp.ack) {
            return;
        }
        let (size, fin) = (skb.packet.size, tcp.flags.has(TcpFlags::FIN));
        if size == 0 && !fin {
            return;
        }
        if !expected {
            return self.tcp_ack(ns, sock);
        }
        self.tcp_take(ns, sock, skb, size, fin);
    }

    /// Data and a FIN, in order.
    fn tcp_take(&mut self, ns: NsId, sock: SockId, skb: &Skb, size: u16, fin: bool) {
        let Some(tcb) = self.tcb(ns, sock) else { return };
        let closed = matches!(tcb.state, State::FinWait | State::LastAck | State::TimeWait);
        if size > 0 && closed {
            // Nobody will read it (`tcp_rcv_state_process`).
            self.tcp_reset(ns, skb);
            return self.forget_socket(ns, sock);
        }
        tcb.rcv_nxt = tcb.rcv_nxt.wrapping_add(u32::from(size)).wrapping_add(u32::from(fin));
        let before = tcb.state;
        if fin {
            tcb.state = match before {
                State::Established | State::SynReceived => State::CloseWait,
                State::FinWait if tcb.unacked.is_none() => State::TimeWait,
                State::FinWait => State::LastAck,
                State::SynSent | State::CloseWait | State::LastAck | State::TimeWait => before,
            };
        }
        self.tcp_ack(ns, sock);
        if size > 0 {
            let from = (skb.packet.src, skb.packet.ports().map_or(0, |p| p.src));
            let received = Wake::Received { payload: skb.packet.payload, from, to: skb.packet.dst, size };
            self.wake(ns, sock, received);
        }
        if fin && before == State::Established {
            self.wake(ns, sock, Wake::Ended);
        }
        if fin {
            self.tcp_rest(ns, sock);
        }
    }

    /// Takes an acknowledgement; whether the connection is still there.
    fn tcp_acked(&mut self, ns: NsId, sock: SockId, ack: u32) -> bool {
        let Some(tcb) = self.tcb(ns, sock) else { return false };
        if tcb.unacked.is_none_or(|s| s.end() != ack) {
            return true;
        }
        let next = if tcb.waiting.is_empty() { None } else { Some(tcb.waiting.remove(0)) };
        tcb.unacked = next;
        tcb.rto_us = RTO_US;
        tcb.tries = 0;
        tcb.timer += 1;
        let done = tcb.unacked.is_none();
        match tcb.state {
            State::SynReceived => {
                tcb.state = State::Established;
                self.wake(ns, sock, Wake::Connected);
            }
            State::LastAck if done => {
                self.forget_socket(ns, sock);
                return false;
            }
            State::SynSent | State::Established | State::CloseWait => {}
            State::FinWait | State::LastAck | State::TimeWait => {}
        }
        if let Some(segment) = next {
            self.tcp_transmit(ns, sock, segment);
            self.tcp_arm(ns, sock);
        }
        true
    }

    /// Lets a connection that both sides closed stay for a while.
    fn tcp_rest(&mut self, ns: NsId, sock: SockId) {
        let Some(tcb) = self.tcb(ns, sock).filter(|tcb| tcb.state == State::TimeWait) else { return };
        tcb.timer += 1;
        let timer = tcb.timer;
        self.clock.after(TIME_WAIT_US, Event::Tcp { ns, sock, timer });
    }

    /// A router says that a segment is too long: smaller ones from now on; whether that helps (`tcp_v4_mtu_reduced`).
    pub(crate) fn tcp_shrink(&mut self, ns: NsId, sock: SockId, mtu: u32) -> bool {
        let headers = |family| if family == Family::V4 { 40 } else { 60 };
        let Some(socket) = self.stacks[ns].sockets.get_mut(sock) else { return false };
        let (Some(to), Some(tcb)) = (socket.remote, &mut socket.tcb) else { return false };
        let mss = u16::try_from(mtu.saturating_sub(headers(Family::of(to.0)))).unwrap_or(u16::MAX);
        let Some(segment) = tcb.unacked.as_mut().filter(|s| s.size > mss && mss > 0) else { return false };
        tcb.mss = mss;
        tcb.snd_nxt = tcb.snd_nxt.wrapping_sub(u32::from(segment.size - mss));
        segment.size = mss;
        let segment = *segment;
        self.tcp_transmit(ns, sock, segment);
        true
    }

    fn mss_to(&self, ns: NsId, to: End) -> u16 {
        let path = self.route(ns, &super::fib::Flow::to(to.0));
        let mtu = path.map_or(crate::device::MTU, |p| self.devices[p.dev].mtu);
        let headers = if Family::of(to.0) == Family::V4 { 40 } else { 60 };
        u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX)
    }

    fn tcb(&mut self, ns: NsId, sock: SockId) -> Option<&mut Tcb> {
        self.stacks[ns].sockets.get_mut(sock)?.tcb.as_mut()
    }
}
