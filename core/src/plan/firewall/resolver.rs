//! The rules in a container's own namespace that lead to its resolver (daemon/libnetwork/resolver_unix.go).

use std::net::{IpAddr, Ipv4Addr};

use super::endpoint::{destination_port, source_port};
use super::tables::{Edit, Tables};
use crate::addr::{Family, IpNet, PortRange, Transport};
use crate::rules::{
    Backend, Base, Chain, Counters, Hook, Is, Match, NatRange, Policy, PortMap, Rule, Ruleset, Table, Target,
};

/// Where a container finds its resolver.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// Leads 127.0.0.11:53 to the ports the resolver listens on, and its answers back.
#[must_use]
pub fn resolver(backend: Backend, tcp_port: u16, udp_port: u16) -> Ruleset {
    match backend {
        Backend::Iptables => iptables(tcp_port, udp_port),
        Backend::Nft => nft(tcp_port, udp_port),
    }
}

fn iptables(tcp_port: u16, udp_port: u16) -> Ruleset {
    let net = || IpNet::from(ADDRESS);
    let jump = |chain, to: &str| {
        let to_resolver = vec![Match::Destination(Is::a(net()))];
        Edit::append("nat", chain, to_resolver, Target::Jump(to.to_owned()))
    };
    let mut tables = Tables::default();
    tables.apply(&[jump("OUTPUT", "DOCKER_OUTPUT"), jump("POSTROUTING", "DOCKER_POSTROUTING")]);
    for (transport, port) in [(Transport::Tcp, tcp_port), (Transport::Udp, udp_port)] {
        let [question, answer] = rules(transport, port);
        let edit = |chain, Rule { matches, target, .. }| {
            target.map(|target| Edit::append("nat", chain, matches, target))
        };
        let edits = [edit("DOCKER_OUTPUT", question), edit("DOCKER_POSTROUTING", answer)];
        tables.apply(&edits.into_iter().flatten().collect::<Vec<_>>());
    }
    tables.ruleset(Family::V4)
}

/// A table of its own, UDP first (`setupNftablesNAT`, 29).
fn nft(tcp_port: u16, udp_port: u16) -> Ruleset {
    let both = [rules(Transport::Udp, udp_port), rules(Transport::Tcp, tcp_port)];
    let [questions, answers] = [0, 1].map(|side| both.iter().filter_map(|r| r.get(side).cloned()).collect());
    let chain = |name: &str, hook, priority, rules| Chain {
        name: name.to_owned(),
        base: Some(Base { hook, priority, nat: true, policy: Policy::Accept }),
        counters: Counters::default(),
        rules,
    };
    let chains = vec![
        chain("dns-dnat", Hook::Output, -100, questions),
        chain("dns-snat", Hook::Postrouting, 100, answers),
    ];
    let table = Table { name: "docker-dns".to_owned(), maps: Vec::new(), chains };
    Ruleset { family: Family::V4, backend: Backend::Nft, tables: vec![table] }
}

/// The rule for questions and the one for their answers.
fn rules(transport: Transport, port: u16) -> [Rule; 2] {
    let net = || IpNet::from(ADDRESS);
    let mut question = vec![Match::Destination(Is::a(net()))];
    question.extend(destination_port(transport, 53));
    let mut answer = vec![Match::Source(Is::a(net()))];
    answer.extend(source_port(transport, port));
    let from_53 = PortMap { ports: Some(PortRange::single(53)), ..PortMap::default() };
    let back = NatRange { addresses: None, ports: from_53, persistent: false };
    [
        Rule::new(question, Target::Dnat(NatRange::to(ADDRESS, Some(port)))),
        Rule::new(answer, Target::Snat(back)),
    ]
}

#[cfg(test)]
mod tests {
    use super::resolver;
    use crate::rules::iptables::save;
    use crate::rules::{Backend, nft};

    #[test]
    fn the_resolver_s_rules_are_those_in_a_container_of_28_5_2() {
        // A captured container's namespace, its ports kept.
        let captured = "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER_OUTPUT - [0:0]
:DOCKER_POSTROUTING - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 127.0.0.11:33855
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:54377
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport 33855 -j SNAT --to-source :53
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport 54377 -j SNAT --to-source :53
COMMIT
";
        assert_eq!(save(&resolver(Backend::Iptables, 33855, 54377)), captured);
    }

    #[test]
    fn with_nft_they_are_a_table_of_their_own() {
        // What `setupNftablesNAT` of 29 asks for (daemon/libnetwork/resolver_unix.go), as nft lists it: no 29 was at hand.
        let listed = "\
table ip docker-dns {
\tchain dns-dnat {
\t\ttype nat hook output priority dstnat; policy accept;
\t\tip daddr 127.0.0.11 udp dport 53 counter dnat to 127.0.0.11:54377
\t\tip daddr 127.0.0.11 tcp dport 53 counter dnat to 127.0.0.11:33855
\t}

\tchain dns-snat {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tip saddr 127.0.0.11 udp sport 54377 counter snat to :53
\t\tip saddr 127.0.0.11 tcp sport 33855 counter snat to :53
\t}
}
";
        assert_eq!(nft::list(&resolver(Backend::Nft, 33855, 54377)).unwrap(), listed);
    }
}
