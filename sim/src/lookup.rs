//! Names, looked up as a process's libc does: /etc/hosts, then the nameservers of /etc/resolv.conf (glibc, nsswitch
//! `hosts: files dns`).

use std::net::IpAddr;

use seatrial_core::addr::Family;
use seatrial_core::probe::NsKind;

use crate::arena::{NodeId, NsId};
use crate::clock::SECOND;
use crate::packet::Payload;
use crate::stack::fib::Flow;
use crate::stack::socket::{Owner, SockId, Socket, Sort, Wake};
use crate::world::World;

mod dns;

/// Where nameservers listen.
pub(crate) const DNS_PORT: u16 = 53;
/// How many nameservers of the file are asked (MAXNS).
const NAMESERVERS: usize = 3;

/// Queries and answers, by the number that a packet carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    queries: Vec<(String, Family)>,
    replies: Vec<Reply>,
}

/// A nameserver's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) query: u32,
    pub(crate) code: Code,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Its code (RFC 1035, RCODE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    NoError,
    ServFail,
}

/// What a name is looked up with just now.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    /// The queries under way.
    open: Vec<u32>,
    found: Vec<IpAddr>,
    failed: bool,
}

/// What a nameserver, or all of them, said.
enum Said {
    Found(Vec<IpAddr>),
    Nothing,
    ServFail,
    Silence,
}

/// What /etc/resolv.conf says (man 5 resolv.conf).
struct ResolvConf {
    nameservers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout_s: u64,
    attempts: u32,
}

impl Names {
    fn ask(&mut self, name: &str, family: Family) -> u32 {
        let at = self.queries.iter().position(|(n, f)| n == name && *f == family);
        let at = at.unwrap_or_else(|| {
            self.queries.push((name.to_owned(), family));
            self.queries.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// What a query asks.
    pub(crate) fn query(&self, number: u32) -> Option<(&str, Family)> {
        self.queries.get(number as usize).map(|(name, family)| (name.as_str(), *family))
    }

    /// Takes an answer in; its number.
    pub(crate) fn reply(&mut self, reply: Reply) -> u32 {
        let at = self.replies.iter().position(|r| *r == reply);
        let at = at.unwrap_or_else(|| {
            self.replies.push(reply);
            self.replies.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// What an answer says.
    pub(crate) fn answer(&self, number: u32) -> Option<&Reply> {
        self.replies.get(number as usize)
    }
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut conf =
            Self { nameservers: Vec::new(), search: Vec::new(), ndots: 1, timeout_s: 5, attempts: 2 };
        for line in text.lines().filter(|l| !l.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    conf.nameservers.extend(words.next().and_then(|w| w.parse::<IpAddr>().ok()))
                }
                Some("search" | "domain") => {
                    conf.search = words.map(|w| w.trim_end_matches('.').to_owned()).collect()
                }
                Some("options") => words.for_each(|option| conf.option(option)),
                Some(_) | None => {}
            }
        }
        conf.nameservers.truncate(NAMESERVERS);
        conf.search.retain(|domain| !domain.is_empty());
        if conf.nameservers.is_empty() {
            conf.nameservers.push(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        }
        conf
    }

    fn option(&mut self, option: &str) {
        match option.split_once(':') {
            Some(("ndots", n)) => self.ndots = n.parse().unwrap_or(self.ndots).min(15),
            Some(("timeout", n)) => self.timeout_s = n.parse().unwrap_or(self.timeout_s).clamp(1, 30),
            Some(("attempts", n)) => self.attempts = n.parse().unwrap_or(self.attempts).clamp(1, 5),
            Some(_) | None => {}
        }
    }

    /// The names to ask for, in order (`__res_context_search`).
    fn candidates(&self, name: &str) -> Vec<String> {
        let plain = name.trim_end_matches('.').to_owned();
        if name.ends_with('.') {
            return vec![plain];
        }
        let searched = self.search.iter().map(|domain| format!("{plain}.{domain}"));
        if plain.matches('.').count() >= self.ndots {
            std::iter::once(plain.clone()).chain(searched).collect()
        } else {
            searched.chain([plain.clone()]).collect()
        }
    }
}

/// The addresses that a hosts file gives a name, in the file's order.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let named = |line: &str| {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let address = words.next()?.parse::<IpAddr>().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    text.lines().filter_map(named).collect()
}

impl World {
    /// The addresses of a name, in the order a process would try them; none where it has none.
    pub(crate) fn resolve(
        &mut self,
        node: NodeId,
        ns: NsId,
        name: &str,
        family: Option<Family>,
    ) -> Vec<IpAddr> {
        let families: Vec<Family> = family.map_or_else(|| Family::ALL.to_vec(), |f| vec![f]);
        let plain = name.trim_end_matches('.').to_lowercase();
        let mut found = in_hosts(self.file_of(node, "/etc/hosts"), &plain);
        found.retain(|a| families.contains(&Family::of(*a)));
        if found.is_empty() {
            found = self.resolve_dns(node, ns, name, &families);
        }
        self.sort_addresses(ns, found)
    }

    fn file_of(&self, node: NodeId, path: &str) -> &str {
        let mount = self.places.space(self.numbered(node), NsKind::Mount);
        mount.and_then(|mount| self.places.file(mount, path)).unwrap_or("")
    }

    fn resolve_dns(&mut self, node: NodeId, ns: NsId, name: &str, families: &[Family]) -> Vec<IpAddr> {
        let conf = ResolvConf::parse(self.file_of(node, "/etc/resolv.conf"));
        for candidate in conf.candidates(name) {
            match self.ask_all(node, ns, &conf, &candidate, families) {
                Said::Found(found) => return found,
                Said::Nothing | Said::ServFail => {}
                Said::Silence => return Vec::new(),
            }
        }
        Vec::new()
    }

    /// Every nameserver in turn, and all of them again (`__res_context_send`).
    fn ask_all(
        &mut self,
        node: NodeId,
        ns: NsId,
        conf: &ResolvConf,
        name: &str,
        families: &[Family],
    ) -> Said {
        let mut failed = false;
        for _ in 0..conf.attempts {
            for server in &conf.nameservers {
                match self.ask_one(node, ns, *server, name, families, conf.timeout_s) {
                    said @ (Said::Found(_) | Said::Nothing) => return said,
                    Said::ServFail => failed = true,
                    Said::Silence => {}
                }
                if self.concluded.is_some() {
                    return Said::Silence;
                }
            }
        }
        if failed { Said::ServFail } else { Said::Silence }
    }

    /// One nameserver, for A and AAAA at once.
    fn ask_one(
        &mut self,
        node: NodeId,
        ns: NsId,
        server: IpAddr,
        name: &str,
        families: &[Family],
        timeout_s: u64,
    ) -> Said {
        let sock = self.open(ns, Socket::bound(Sort::Udp, Owner::Libc(node), None, 0));
        let open: Vec<u32> = families.iter().map(|family| self.names.ask(name, *family)).collect();
        self.lookup = Some(Lookup { open: open.clone(), found: Vec::new(), failed: false });
        if self.send_queries(ns, sock, server, &open) {
            let until = self.now_us() + timeout_s * SECOND;
            self.run(until, |w| {
                w.concluded.is_some() || w.lookup.as_ref().is_none_or(|l| l.failed || l.open.is_empty())
            });
        }
        self.forget_socket(ns, sock);
        match self.lookup.take() {
            Some(lookup) if lookup.failed => Said::ServFail,
            Some(lookup) if !lookup.open.is_empty() => Said::Silence,
            Some(lookup) if lookup.found.is_empty() => Said::Nothing,
            Some(lookup) => Said::Found(lookup.found),
            None => Said::Silence,
        }
    }

    fn send_queries(&mut self, ns: NsId, sock: SockId, server: IpAddr, queries: &[u32]) -> bool {
        let to = (server, DNS_PORT);
        self.bind_for(ns, sock, to).is_ok()
            && queries.iter().all(|query| {
                let size = Names::len(&self.names.query_bytes(*query));
                self.datagram_send(ns, sock, None, to, Payload::Query(*query), size).is_ok()
            })
    }

    /// What a nameserver said.
    pub(crate) fn lookup_woken(&mut self, wake: Wake) {
        let Some(lookup) = self.lookup.as_mut() else { return };
        match wake {
            Wake::Received { payload: Payload::Reply(number), .. } => {
                let Some(reply) = self.names.answer(number).filter(|r| lookup.open.contains(&r.query)) else {
                    return;
                };
                lookup.open.retain(|query| *query != reply.query);
                lookup.found.extend(&reply.addresses);
                lookup.failed |= reply.code == Code::ServFail;
            }
            Wake::Told(_) => lookup.failed = true,
            Wake::Received { .. } | Wake::Connected | Wake::Ended | Wake::Reset => {}
        }
    }

    /// The order of RFC 3484 as far as it decides here: what can be reached, then IPv6, each as it was found.
    fn sort_addresses(&self, ns: NsId, mut found: Vec<IpAddr>) -> Vec<IpAddr> {
        let rank = |a: &IpAddr| {
            let unusable = self.route_output(ns, &Flow::to(*a)).is_err();
            (unusable, Family::of(*a) == Family::V4)
        };
        found.sort_by_key(rank);
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_too_few_dots_is_searched_first() {
        let conf = ResolvConf::parse("search a.example b.example\noptions ndots:2");
        assert_eq!(conf.candidates("x.y"), ["x.y.a.example", "x.y.b.example", "x.y"]);
        assert_eq!(conf.candidates("x.y.z"), ["x.y.z", "x.y.z.a.example", "x.y.z.b.example"]);
        assert_eq!(conf.candidates("x."), ["x"]);
    }

    #[test]
    fn with_ndots_0_a_single_name_is_asked_for_as_it_is() {
        let conf = ResolvConf::parse("nameserver 127.0.0.11\nsearch example.org\noptions timeout:3 ndots:0");
        assert_eq!(conf.candidates("db"), ["db", "db.example.org"]);
        assert_eq!(conf.timeout_s, 3);
    }

    #[test]
    fn a_file_without_a_nameserver_means_this_machine() {
        assert_eq!(ResolvConf::parse("").nameservers, [IpAddr::from([127, 0, 0, 1])]);
    }

    #[test]
    fn a_hosts_file_gives_every_address_of_a_name() {
        let text = "127.0.0.1\tlocalhost\n::1 localhost ip6-localhost # loopback\n# 10.0.0.1 db\n10.0.0.2 DB db.example\n";
        let found = |name| in_hosts(text, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(found("db"), ["10.0.0.2"]);
        assert_eq!(found("loopback"), Vec::<String>::new());
    }
}
