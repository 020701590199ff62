//! Datagrams: UDP, SCTP's INIT, and echoes that were asked for (net/ipv4/udp.c, net/ipv4/ping.c).
//!
//! Of SCTP there is an INIT and its answer: an INIT ACK that carries the listener's answer, or an ABORT.

use std::net::IpAddr;

use seatrial_core::addr::Family;

use super::fib::Flow;
use super::icmp::{Reason, Told};
use super::output::{SendError, packet};
use super::socket::{End, Owner, SockId, Sort, Wake};
use crate::arena::{DevId, NsId};
use crate::packet::{Icmp, L4, Payload, Ports};
use crate::skb::Skb;
use crate::trace::{DropReason, Event as Happened};
use crate::world::World;

/// How long an ABORT's chunk is that gives no cause.
const ABORT_BYTES: u16 = 4;

impl World {
    /// Sends a datagram from a socket, whose address and port are its own or, unbound, the route's and `from`.
    pub(crate) fn datagram_send(
        &mut self,
        ns: NsId,
        sock: SockId,
        from: Option<IpAddr>,
        to: End,
        payload: Payload,
        size: u16,
    ) -> Result<(), SendError> {
        let Some(socket) = self.stacks[ns].sockets.get(sock) else { return Ok(()) };
        let (sort, knobs, raw, port) = (socket.sort, socket.knobs, socket.raw, socket.port);
        let src = from.or(socket.address).filter(|a| !a.is_unspecified());
        let ports = Ports { src: port, dst: to.1 };
        let l4 = match sort {
            Sort::Tcp | Sort::Udp => L4::Udp(ports),
            Sort::Sctp => L4::Sctp(ports),
            Sort::Echo => L4::Icmp(Icmp::Echo { reply: false, id: port, seq: 1 }),
        };
        let ttl = knobs.ttl.unwrap_or(self.stacks[ns].settings.ttl);
        let mut out = packet(src.unwrap_or(to.0), to.0, ttl, l4);
        (out.mark, out.size, out.payload) = (knobs.mark, size, payload);
        let owner = socket.owner;
        let mut skb = self.fresh(out);
        if raw.is_none() {
            let flow = Flow { src, ..Flow::of(&skb.packet) };
            let (path, src) = self.route_output(ns, &flow)?;
            let mtu = self.devices[path.dev].mtu;
            skb.packet.src = src;
            if knobs.df && skb.packet.len() > mtu {
                return Err(SendError::TooBig(mtu));
            }
            // IP_PMTUDISC_WANT: what fits is not to be cut on its way, what does not is cut here.
            skb.packet.df = skb.packet.family() == Family::V6 || knobs.df || skb.packet.len() <= mtu;
            skb.meta.piece = (skb.packet.len() > mtu).then_some(mtu);
            self.note_send(ns, &skb, owner);
            self.local_out(ns, &mut skb, path);
            return Ok(());
        }
        skb.packet.df = knobs.df;
        self.note_send(ns, &skb, owner);
        self.raw_out(ns, raw, &mut skb);
        Ok(())
    }

    /// A datagram for this namespace (`udp_rcv`, `sctp_rcv`).
    pub(crate) fn datagram_input(&mut self, ns: NsId, dev: DevId, skb: &Skb, ports: Ports, everyone: bool) {
        let sort = if matches!(skb.packet.l4, L4::Sctp(_)) { Sort::Sctp } else { Sort::Udp };
        let (local, remote) = ((skb.packet.dst, ports.dst), (skb.packet.src, ports.src));
        let Some(sock) = self.stacks[ns].sockets.find(sort, local, remote) else {
            return self.datagram_refused(ns, dev, skb, sort, ports, everyone);
        };
        if self.socket_owner(ns, sock) == Some(Owner::Reservation) {
            let why = |_: &Self| {
                format!("port {} is held and not served: the socket's filter drops all", ports.dst)
            };
            return self.note_drop(ns, Some(dev), skb, DropReason::SocketFilter, why);
        }
        self.datagram_deliver(ns, dev, skb, sock);
    }

    /// To a socket, whose process is woken; an SCTP ABORT has nothing to say.
    pub(crate) fn datagram_deliver(&mut self, ns: NsId, dev: DevId, skb: &Skb, sock: SockId) {
        self.note_deliver(ns, dev, skb, sock);
        let packet = skb.packet;
        if matches!(packet.l4, L4::Sctp(_)) && packet.payload == Payload::Empty {
            return self.wake(ns, sock, Wake::Told(Told::Refused));
        }
        let port = packet.ports().map_or(0, |p| p.src);
        let from = (packet.src, port);
        self.wake(
            ns,
            sock,
            Wake::Received { payload: packet.payload, from, to: packet.dst, size: packet.size },
        );
    }

    /// Nobody listens: port unreachable, or for SCTP an ABORT (R4).
    fn datagram_refused(
        &mut self,
        ns: NsId,
        dev: DevId,
        skb: &Skb,
        sort: Sort,
        ports: Ports,
        everyone: bool,
    ) {
        if everyone {
            return;
        }
        let none = format!("no socket is bound to {} {}", sort.as_str(), ports.dst);
        if skb.packet.payload == Payload::Empty || sort != Sort::Sctp {
            self.note_drop(ns, Some(dev), skb, DropReason::NoSocket, |_| none);
            return self.icmp_error(ns, skb, Reason::NoPort);
        }
        self.note(ns, Some(dev), skb, |_| Happened::Answer { what: format!("ABORT: {none}") });
        let ttl = self.stacks[ns].settings.ttl;
        let l4 = L4::Sctp(Ports { src: ports.dst, dst: ports.src });
        let mut abort = self.fresh(packet(skb.packet.dst, skb.packet.src, ttl, l4));
        abort.packet.size = ABORT_BYTES;
        abort.meta.ct = skb.meta.ct.answer();
        _ = self.send(ns, &mut abort, Some(skb.packet.dst));
    }

    pub(crate) fn socket_owner(&self, ns: NsId, sock: SockId) -> Option<Owner> {
        self.stacks[ns].sockets.get(sock).map(|s| s.owner)
    }
}
