//! What processes do when their sockets wake them: listeners answer, askers ask.

use seatrial_core::probe::Outcome;

use crate::arena::{NodeId, NsId};
use crate::packet::Payload;
use crate::stack::socket::{End, Owner, SockId, Sort, Wake};
use crate::world::World;

/// How long an answer is, in bytes.
const ANSWER_BYTES: u16 = 64;

impl World {
    /// A process is woken.
    pub(crate) fn woken(&mut self, ns: NsId, sock: SockId, wake: Wake) {
        let Some(owner) = self.socket_owner(ns, sock) else { return };
        if matches!(wake, Wake::Reset) {
            self.forget_socket(ns, sock);
        }
        match owner {
            Owner::Listener(node) => self.listener_woken(ns, sock, node, wake),
            Owner::Asker(_) => self.asker_woken(ns, sock, wake),
            Owner::Libc(_) => self.lookup_woken(wake),
            Owner::ProxyFront(proxy) => self.proxy_front_woken(proxy, sock, wake),
            Owner::ProxyBack(proxy) => self.proxy_back_woken(proxy, sock, wake),
            Owner::Resolver(resolver) => self.resolver_woken(resolver, wake),
            Owner::ResolverUpstream(resolver) => self.upstream_woken(resolver, sock, wake),
            Owner::Reservation => {}
        }
    }

    /// A listener answers the very question it is asked, and closes when its client does.
    fn listener_woken(&mut self, ns: NsId, sock: SockId, node: NodeId, wake: Wake) {
        match wake {
            Wake::Received { payload: Payload::Ask(nonce), from, to, .. } => {
                let port = self.stacks[ns].sockets.get(sock).map_or(0, |s| s.port);
                let answer = self.answer_of(nonce, node, port, from.0);
                self.reply(ns, sock, to, from, answer, ANSWER_BYTES);
            }
            Wake::Ended => self.tcp_close(ns, sock),
            // What is no question is not answered.
            Wake::Received { .. } | Wake::Connected | Wake::Reset | Wake::Told(_) => {}
        }
    }

    /// Sends an answer back: by the connection, or from the address that was asked (IP_PKTINFO).
    pub(crate) fn reply(
        &mut self,
        ns: NsId,
        sock: SockId,
        from: std::net::IpAddr,
        to: End,
        payload: Payload,
        size: u16,
    ) {
        match self.stacks[ns].sockets.get(sock).map(|s| s.sort) {
            Some(Sort::Tcp) => self.tcp_send(ns, sock, payload, size),
            // What cannot be sent is lost, as it is to a process that does not look.
            Some(Sort::Udp | Sort::Sctp | Sort::Echo) => {
                _ = self.datagram_send(ns, sock, Some(from), to, payload, size);
            }
            None => {}
        }
    }

    /// What whoever asks makes of what comes back.
    fn asker_woken(&mut self, ns: NsId, sock: SockId, wake: Wake) {
        let Some(question) = self.question.as_mut().filter(|q| q.sock == sock) else { return };
        let (nonce, size) = (question.nonce, question.size);
        match wake {
            Wake::Connected => {
                question.connected = true;
                self.tcp_send(ns, sock, Payload::Ask(nonce), size);
            }
            Wake::Received { payload: Payload::Answer { nonce: of, node, port, saw }, .. } if of == nonce => {
                let node = self.nodes.get_index(node.into()).cloned();
                let port = (question_sort(self, ns, sock) != Some(Sort::Echo)).then_some(port);
                let reached = node.map(|node| Outcome::Reaches { node, port, from: Some(saw) });
                reached.into_iter().for_each(|outcome| self.conclude(outcome));
            }
            Wake::Received { .. } => {}
            Wake::Ended | Wake::Reset if question.connected => self.conclude(Outcome::Closed),
            Wake::Ended | Wake::Reset => {}
            // Once there is a connection, errors are noted and it goes on trying (`tcp_v4_err`).
            Wake::Told(_) if question.connected => {}
            Wake::Told(told) => self.conclude(told.outcome()),
        }
    }
}

fn question_sort(world: &World, ns: NsId, sock: SockId) -> Option<Sort> {
    world.stacks[ns].sockets.get(sock).map(|s| s.sort)
}
