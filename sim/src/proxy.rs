//! docker-proxy: takes what arrives at a host port to the container, by connections of its own (cmd/docker-proxy).

use std::net::IpAddr;

use seatrial_core::plan::Proxy;

use crate::arena::{NsId, ProxyId};
use crate::clock::SECOND;
use crate::packet::Payload;
use crate::skb::{Meta, Skb};
use crate::stack::output::packet;
use crate::stack::socket::{End, Owner, SockId, Socket, Sort, Wake};
use crate::trace::Event as Happened;
use crate::world::{Event, World};

/// How long a datagram's client is remembered after the container's last answer (UDPConnTrackTimeout,
/// cmd/docker-proxy/udp_proxy_linux.go).
const IDLE_US: u64 = 90 * SECOND;

/// A docker-proxy and the clients it serves.
#[derive(Debug, Clone)]
pub(crate) struct ProxyState {
    pub(crate) ns: NsId,
    pub(crate) config: Proxy,
    /// The socket that it listens on.
    pub(crate) listening: SockId,
    links: Vec<Link>,
}

/// One client, and the container on the other side.
#[derive(Debug, Clone)]
struct Link {
    front: SockId,
    back: SockId,
    /// Of a datagram: who sent it, and to which address.
    client: Option<(End, IpAddr)>,
    /// Whether the connection to the container stands.
    connected: bool,
    /// What the client said before it did.
    waiting: Vec<(Payload, u16)>,
    /// When the container was last heard; at first, when it was dialled.
    heard_us: u64,
}

impl ProxyState {
    /// A proxy without clients.
    pub(crate) const fn new(ns: NsId, config: Proxy, listening: SockId) -> Self {
        Self { ns, config, listening, links: Vec::new() }
    }

    /// Every socket it has open.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = SockId> {
        let links = self.links.iter().flat_map(|l| [l.front, l.back]);
        links.chain([self.listening])
    }

    fn to(&self) -> End {
        (self.config.connect.ip(), self.config.connect.port())
    }
}

impl World {
    /// Something came from a client.
    pub(crate) fn proxy_front_woken(&mut self, proxy: ProxyId, sock: SockId, wake: Wake) {
        let ns = self.proxies[proxy].ns;
        match wake {
            Wake::Connected => self.proxy_dial(proxy, sock, None),
            Wake::Received { payload, from, to, size } => {
                let datagram = sock == self.proxies[proxy].listening;
                let client = datagram.then_some((from, to));
                if datagram && self.link(proxy, |l| l.client == client).is_none() {
                    self.proxy_dial(proxy, sock, client);
                }
                self.proxy_carry(proxy, sock, client, payload, size);
            }
            Wake::Ended => {
                let back = self.link(proxy, |l| l.front == sock).map(|l| l.back);
                back.into_iter().for_each(|back| self.tcp_close(ns, back));
            }
            Wake::Reset => {
                let back = self.link(proxy, |l| l.front == sock).map(|l| l.back);
                back.into_iter().for_each(|back| self.tcp_close(ns, back));
                self.proxies[proxy].links.retain(|l| l.front != sock);
            }
            Wake::Told(_) => {}
        }
    }

    /// Connects to the container for a client; a TCP client of a container that does not answer is sent away.
    fn proxy_dial(&mut self, proxy: ProxyId, front: SockId, client: Option<(End, IpAddr)>) {
        let (ns, to) = (self.proxies[proxy].ns, self.proxies[proxy].to());
        self.note_proxied(proxy, front, client);
        let sort = Sort::from(self.proxies[proxy].config.transport);
        let back = self.open(ns, Socket::bound(sort, Owner::ProxyBack(proxy), None, 0));
        let begun = match sort {
            Sort::Tcp => self.tcp_connect(ns, back, to),
            Sort::Udp | Sort::Sctp | Sort::Echo => self.bind_for(ns, back, to),
        };
        let (connected, heard_us) = (sort != Sort::Tcp && begun.is_ok(), self.now_us());
        self.proxies[proxy].links.push(Link {
            front,
            back,
            client,
            connected,
            waiting: Vec::new(),
            heard_us,
        });
        if sort == Sort::Udp {
            self.clock.after(IDLE_US, Event::Idle { proxy, back });
        }
        if begun.is_err() {
            self.proxy_hang_up(proxy, back);
        }
    }

    /// Carries what a client said on, now or once there is a connection.
    fn proxy_carry(
        &mut self,
        proxy: ProxyId,
        front: SockId,
        client: Option<(End, IpAddr)>,
        payload: Payload,
        size: u16,
    ) {
        let Some(link) = self.link(proxy, |l| l.front == front && l.client == client) else { return };
        if link.connected {
            let back = link.back;
            self.proxy_say(proxy, back, payload, size);
        } else {
            link.waiting.push((payload, size));
        }
    }

    fn proxy_say(&mut self, proxy: ProxyId, back: SockId, payload: Payload, size: u16) {
        let (ns, to) = (self.proxies[proxy].ns, self.proxies[proxy].to());
        let from = self.stacks[ns].sockets.get(back).and_then(|s| s.address);
        from.into_iter().for_each(|from| self.reply(ns, back, from, to, payload, size));
    }

    /// Something came from the container.
    pub(crate) fn proxy_back_woken(&mut self, proxy: ProxyId, sock: SockId, wake: Wake) {
        let (ns, now_us) = (self.proxies[proxy].ns, self.now_us());
        let Some(link) = self.link(proxy, |l| l.back == sock) else { return };
        let (front, client) = (link.front, link.client);
        if matches!(wake, Wake::Received { .. }) {
            link.heard_us = now_us;
        }
        match wake {
            Wake::Connected => {
                link.connected = true;
                let waiting = std::mem::take(&mut link.waiting);
                waiting.into_iter().for_each(|(payload, size)| self.proxy_say(proxy, sock, payload, size));
            }
            Wake::Received { payload, size, .. } => match client {
                // From the address that the client asked (IP_PKTINFO).
                Some((client, asked)) => {
                    let from = self.proxy_source(proxy, client, asked);
                    self.reply(ns, front, from, client, payload, size);
                }
                None => self.tcp_send(ns, front, payload, size),
            },
            Wake::Ended => self.tcp_close(ns, front),
            // A datagram's client is told nothing.
            Wake::Told(_) if client.is_some() => {}
            Wake::Told(_) | Wake::Reset => self.proxy_hang_up(proxy, sock),
        }
    }

    /// Which address a datagram's answer comes from. A socket that is bound to one has no choice.
    fn proxy_source(&self, proxy: ProxyId, (client, _): End, asked: IpAddr) -> IpAddr {
        let ProxyState { ns, config, .. } = &self.proxies[proxy];
        if !config.answers_by_route || !config.listen.ip().is_unspecified() {
            return asked;
        }
        self.source_for(*ns, Sort::Udp, None, client, 0).unwrap_or(asked)
    }

    /// Forgets a datagram's client when the container has not been heard for long; what the client says does not count.
    pub(crate) fn proxy_idle(&mut self, proxy: ProxyId, back: SockId) {
        let (ns, now_us) = (self.proxies[proxy].ns, self.now_us());
        let Some(link) = self.link(proxy, |l| l.back == back) else { return };
        let left_us = (link.heard_us + IDLE_US).saturating_sub(now_us);
        if left_us > 0 {
            return self.clock.after(left_us, Event::Idle { proxy, back });
        }
        self.forget_socket(ns, back);
        self.proxies[proxy].links.retain(|l| l.back != back);
    }

    /// Sends a client away whose container is gone: its connection was accepted, and is closed again.
    fn proxy_hang_up(&mut self, proxy: ProxyId, back: SockId) {
        let ns = self.proxies[proxy].ns;
        let front = self.link(proxy, |l| l.back == back && l.client.is_none()).map(|l| l.front);
        front.into_iter().for_each(|front| self.tcp_close(ns, front));
        self.forget_socket(ns, back);
        self.proxies[proxy].links.retain(|l| l.back != back);
    }

    fn link(&mut self, proxy: ProxyId, is: impl Fn(&Link) -> bool) -> Option<&mut Link> {
        self.proxies[proxy].links.iter_mut().find(|l| is(l))
    }

    /// Notes that a proxy takes what a client sent on, by the packet that it sends next.
    fn note_proxied(&mut self, proxy: ProxyId, front: SockId, client: Option<(End, IpAddr)>) {
        let state = &self.proxies[proxy];
        let (ns, to) = (state.ns, state.config.connect);
        let Some(socket) = self.stacks[ns].sockets.get(front) else { return };
        let asked = client.map(|(_, asked)| asked).or(socket.address);
        let from = client.map(|(end, _)| end).or(socket.remote);
        let (Some(asked), Some(from)) = (asked, from) else { return };
        let l4 = socket.l4_from(from.1);
        let skb = Skb { packet: packet(from.0, asked, 64, l4), meta: Meta::new(self.flights + 1) };
        self.note(ns, None, &skb, |_| Happened::Proxied { to: to.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use crate::testbed::{Bed, ask, routed};

    /// r stands for the host, b for the container; r's docker-proxy serves 8080.
    fn proxied(transport: &str) -> Bed {
        routed().proxy("r", transport, "0.0.0.0:8080", "10.0.1.2:80")
    }

    #[test]
    fn d5_the_container_sees_the_hosts_address_and_the_client_its_answer() {
        for transport in ["tcp", "udp"] {
            let mut world = proxied(transport).listen("b", &format!("80/{transport}")).world();
            let outcome = ask(&mut world, &format!("a -> 10.0.0.254:8080/{transport}"));
            assert_eq!(outcome, "reaches b:80 from 10.0.1.254", "{transport}");
        }
    }

    #[test]
    fn d5_a_dead_backend_is_accepted_and_then_closed() {
        assert_eq!(ask(&mut proxied("tcp").world(), "a -> 10.0.0.254:8080/tcp"), "closed");
    }

    #[test]
    fn d5_a_dead_backends_datagram_is_never_answered() {
        assert_eq!(ask(&mut proxied("udp").world(), "a -> 10.0.0.254:8080/udp"), "dropped");
    }

    #[test]
    fn d5_a_datagrams_client_is_forgotten_90_seconds_after_the_last_answer() {
        let mut world = proxied("udp").listen("b", "80/udp").world();
        let question = "a -> 10.0.0.254:8080/udp,from=10.0.0.1:5000";
        let links = |world: &crate::world::World| {
            let proxies = world.proxies.iter().map(|(_, proxy)| proxy.links.len());
            proxies.sum::<usize>()
        };
        ask(&mut world, question);
        world.advance_ms(60_000);
        ask(&mut world, question);
        world.advance_ms(60_000);
        assert_eq!(links(&world), 1, "the second answer counts");
        world.advance_ms(30_000);
        assert_eq!(links(&world), 0);
        assert_eq!(ask(&mut world, question), "reaches b:80 from 10.0.1.254");
    }

    #[test]
    fn d5_until_28_a_udp_answer_comes_from_the_address_that_routing_gives_it() {
        let bed = routed().any_proxy("r", "udp", "0.0.0.0:8080", "10.0.1.2:80", true).listen("b", "80/udp");
        let mut world = bed.world();
        assert_eq!(ask(&mut world, "a -> 10.0.1.254:8080/udp"), "dropped");
        assert_eq!(ask(&mut world, "a -> 10.0.0.254:8080/udp"), "reaches b:80 from 10.0.1.254");
    }

    #[test]
    fn d5_a_udp_answer_comes_from_the_address_that_was_asked() {
        // Both of r's addresses are asked; a connected client would not hear the other one.
        let mut world = proxied("udp").listen("b", "80/udp").world();
        assert_eq!(ask(&mut world, "a -> 10.0.1.254:8080/udp"), "reaches b:80 from 10.0.1.254");
    }
}
