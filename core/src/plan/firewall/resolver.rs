//! The rules in a container's own namespace that lead to its resolver (daemon/libnetwork/resolver_unix.go).

use std::net::{IpAddr, Ipv4Addr};

use super::tables::{Edit, Tables};
use crate::addr::{Family, IpNet, PortRange};
use crate::rules::{Is, Match, NatRange, PortMap, PortsMatch, Protocol, Ruleset, Target, TcpMatch};

/// Where a container finds its resolver.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// Leads 127.0.0.11:53 to the ports the resolver listens on, and its answers back.
#[must_use]
pub fn resolver(tcp_port: u16, udp_port: u16) -> Ruleset {
    let net = || IpNet::from(ADDRESS);
    let jump = |chain, to: &str| {
        let to_resolver = vec![Match::Destination(Is::a(net()))];
        Edit::append("nat", chain, to_resolver, Target::Jump(to.to_owned()))
    };
    let mut tables = Tables::default();
    tables.apply(&[jump("OUTPUT", "DOCKER_OUTPUT"), jump("POSTROUTING", "DOCKER_POSTROUTING")]);
    for (protocol, port) in [(Protocol::TCP, tcp_port), (Protocol::UDP, udp_port)] {
        let ports = |ports| {
            let ports = match protocol {
                Protocol::TCP => Match::Tcp(TcpMatch { ports, ..TcpMatch::default() }),
                _ => Match::Udp(ports),
            };
            [Match::Protocol(Is::a(protocol)), ports]
        };
        let single = |port| Some(Is::a(PortRange::single(port)));
        let [asked, from_53] = [Match::Destination(Is::a(net())), Match::Source(Is::a(net()))];
        let question = PortsMatch { source: None, destination: single(53) };
        let answer = PortsMatch { source: single(port), destination: None };
        let back = PortMap { ports: Some(PortRange::single(53)), ..PortMap::default() };
        tables.apply(&[
            Edit::append(
                "nat",
                "DOCKER_OUTPUT",
                [asked].into_iter().chain(ports(question)).collect(),
                Target::Dnat(NatRange::to(ADDRESS, Some(port))),
            ),
            Edit::append(
                "nat",
                "DOCKER_POSTROUTING",
                [from_53].into_iter().chain(ports(answer)).collect(),
                Target::Snat(NatRange { addresses: None, ports: back, persistent: false }),
            ),
        ]);
    }
    tables.ruleset(Family::V4)
}

#[cfg(test)]
mod tests {
    use super::resolver;
    use crate::rules::iptables::save;

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
        assert_eq!(save(&resolver(33855, 54377)), captured);
    }
}
