//! Docker's resolver on 127.0.0.11: answers for its networks' names, and asks others for the rest
//! (daemon/libnetwork/resolver.go).

use std::net::IpAddr;

use seatrial_core::plan::{Resolver, Upstream};

use crate::arena::{NsId, ResolverId};
use crate::clock::SECOND;
use crate::lookup::{Code, DNS_PORT, Names, Reply};
use crate::packet::Payload;
use crate::stack::socket::{End, Owner, SockId, Socket, Sort, Wake};
use crate::world::{Event, World};

/// How long a nameserver is waited for (extIOTimeout).
const PATIENCE_US: u64 = 4 * SECOND;
/// How many of them are asked (maxExtDNS).
const NAMESERVERS: usize = 3;

/// A resolver and the queries it has passed on.
#[derive(Debug, Clone)]
pub(crate) struct ResolverState {
    pub(crate) ns: NsId,
    pub(crate) config: Resolver,
    /// Where it listens.
    pub(crate) socket: SockId,
    passed: Vec<Passed>,
    tokens: u32,
}

/// A query that a nameserver is asked.
#[derive(Debug, Clone)]
struct Passed {
    token: u32,
    query: u32,
    client: End,
    /// The address it was asked on.
    asked: IpAddr,
    /// The socket towards the nameserver, and its namespace.
    upstream: Option<(NsId, SockId)>,
    /// How many nameservers were asked before.
    tried: usize,
}

impl ResolverState {
    /// A resolver that was asked nothing yet.
    pub(crate) const fn new(ns: NsId, config: Resolver, socket: SockId) -> Self {
        Self { ns, config, socket, passed: Vec::new(), tokens: 0 }
    }
}

impl World {
    /// A container asks.
    pub(crate) fn resolver_woken(&mut self, resolver: ResolverId, wake: Wake) {
        let Wake::Received { payload: Payload::Query(query), from, to, .. } = wake else { return };
        let Some((name, family)) = self.names.query(query) else { return };
        if let Some(addresses) = self.resolvers[resolver].config.zone.addresses(name) {
            let of_family =
                addresses.iter().copied().filter(|a| seatrial_core::addr::Family::of(*a) == family);
            let reply = Reply { query, code: Code::NoError, addresses: of_family.collect() };
            return self.resolver_reply(resolver, reply, to, from);
        }
        let state = &mut self.resolvers[resolver];
        state.tokens += 1;
        let token = state.tokens;
        state.passed.push(Passed { token, query, client: from, asked: to, upstream: None, tried: 0 });
        self.upstream_ask(resolver, token);
    }

    fn resolver_reply(&mut self, resolver: ResolverId, reply: Reply, from: IpAddr, to: End) {
        let (ns, socket) = (self.resolvers[resolver].ns, self.resolvers[resolver].socket);
        let reply = self.names.reply(reply);
        let size = Names::len(&self.names.reply_bytes(reply));
        self.reply(ns, socket, from, to, Payload::Reply(reply), size);
    }

    /// Asks the next nameserver, until one can be asked or none is left.
    fn upstream_ask(&mut self, resolver: ResolverId, token: u32) {
        loop {
            let state = &mut self.resolvers[resolver];
            let Some(passed) = state.passed.iter_mut().find(|p| p.token == token) else { return };
            let (query, tried) = (passed.query, passed.tried);
            let next = state.config.upstream.get(tried).filter(|_| tried < NAMESERVERS).cloned();
            passed.tried += 1;
            let Some(upstream) = next else {
                return self.upstream_done(
                    resolver,
                    token,
                    Reply { query, code: Code::ServFail, addresses: Vec::new() },
                );
            };
            if self.upstream_send(resolver, token, query, &upstream) {
                self.clock.after(PATIENCE_US, Event::Upstream { resolver, token });
                return;
            }
        }
    }

    fn upstream_send(&mut self, resolver: ResolverId, token: u32, query: u32, upstream: &Upstream) -> bool {
        let own = self.resolvers[resolver].ns;
        let ns = if upstream.from_host { self.machine_of(own) } else { own };
        let to = (upstream.address, DNS_PORT);
        self.upstream_close(resolver, token);
        let sock = self.open(ns, Socket::bound(Sort::Udp, Owner::ResolverUpstream(resolver), None, 0));
        let size = Names::len(&self.names.query_bytes(query));
        let sent = self.bind_for(ns, sock, to).is_ok()
            && self.datagram_send(ns, sock, None, to, Payload::Query(query), size).is_ok();
        if let Some(passed) = self.resolvers[resolver].passed.iter_mut().find(|p| p.token == token) {
            passed.upstream = Some((ns, sock));
        }
        sent
    }

    fn upstream_close(&mut self, resolver: ResolverId, token: u32) {
        let passed = self.resolvers[resolver].passed.iter_mut().find(|p| p.token == token);
        if let Some((ns, sock)) = passed.and_then(|p| p.upstream.take()) {
            self.forget_socket(ns, sock);
        }
    }

    /// A nameserver answered, or cannot be reached: then the next is asked.
    pub(crate) fn upstream_woken(&mut self, resolver: ResolverId, sock: SockId, wake: Wake) {
        let passed = &self.resolvers[resolver].passed;
        let is = |p: &&Passed| p.upstream.is_some_and(|(_, s)| s == sock);
        let Some(token) = passed.iter().find(is).map(|p| p.token) else { return };
        match wake {
            Wake::Received { payload: Payload::Reply(reply), .. } => {
                let Some(reply) = self.names.answer(reply).cloned() else { return };
                match reply.code {
                    Code::NoError => self.upstream_done(resolver, token, reply),
                    Code::ServFail => self.upstream_ask(resolver, token),
                }
            }
            Wake::Told(_) => self.upstream_ask(resolver, token),
            Wake::Received { .. } | Wake::Connected | Wake::Ended | Wake::Reset => {}
        }
    }

    /// A nameserver did not answer in time.
    pub(crate) fn upstream_silent(&mut self, resolver: ResolverId, token: u32) {
        self.upstream_ask(resolver, token);
    }

    fn upstream_done(&mut self, resolver: ResolverId, token: u32, reply: Reply) {
        self.upstream_close(resolver, token);
        let passed = &mut self.resolvers[resolver].passed;
        let Some(at) = passed.iter().position(|p| p.token == token) else { return };
        let Passed { client, asked, .. } = passed.remove(at);
        self.resolver_reply(resolver, reply, asked, client);
    }
}

#[cfg(test)]
mod tests {
    use crate::testbed::{Bed, ask, fact, pair};

    /// a asks the resolver on 127.0.0.11, which listens on a high port and is reached by NAT, as in a container.
    fn named() -> Bed {
        let bed = pair().file("a", "/etc/resolv.conf", "nameserver 127.0.0.11\noptions ndots:0\n");
        bed.resolver("a", &[("b", &["10.0.0.2"]), ("six", &["2001:db8::2"])]).listen("b", "80/tcp")
    }

    #[test]
    fn a_name_of_the_zone_is_resolved_and_reached() {
        assert_eq!(ask(&mut named().world(), "a -> B:80/tcp"), "reaches b:80 from 10.0.0.1");
    }

    #[test]
    fn a_name_without_an_address_of_the_family_is_unknown() {
        assert_eq!(ask(&mut named().world(), "a -> six:80/tcp4"), "unknown-name");
        assert_eq!(fact(&mut named().world(), "a", "resolves six to 2001:db8::2"), Ok(()));
    }

    #[test]
    fn a_name_that_nobody_knows_is_unknown() {
        let mut world = named().world();
        assert_eq!(ask(&mut world, "a -> nobody:80/tcp"), "unknown-name");
        assert_eq!(fact(&mut world, "a", "resolves nobody to nothing"), Ok(()));
    }

    #[test]
    fn a_hosts_file_comes_before_the_resolver() {
        let mut world = named().file("a", "/etc/hosts", "10.0.0.7 b\n").world();
        assert_eq!(fact(&mut world, "a", "resolves b to 10.0.0.7"), Ok(()));
    }

    #[test]
    fn without_a_nameserver_names_are_unknown() {
        assert_eq!(ask(&mut pair().world(), "a -> b:80/tcp"), "unknown-name");
    }
}
