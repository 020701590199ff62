//! Whatever Docker adds for a network, a container or a port, it takes away again, and nothing else with it.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use seatrial_core::addr::{IfName, IpNet, Transport};
use seatrial_core::engine::{Engine, Filter};
use seatrial_core::plan::firewall::{
    EndpointRules, FamilyRules, Firewall, LinkRules, NetworkRules, PortRules,
};
use seatrial_core::rules::{Backend, Ruleset};
use seatrial_core::topology::{Daemon, GatewayMode};

/// A network with containers on it; the first container's ports are published.
#[derive(Debug, Clone)]
struct Project {
    network: NetworkRules,
    endpoints: Vec<EndpointRules>,
    ports: Vec<PortRules>,
    link: LinkRules,
}

fn bridge(number: u8) -> IfName {
    format!("br{number}").parse().unwrap()
}

fn v4(number: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(172, 18 + number, 0, host))
}

fn v6(number: u8, host: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, host.into()))
}

fn mode() -> impl Strategy<Value = GatewayMode> {
    select(vec![GatewayMode::Nat, GatewayMode::NatUnprotected, GatewayMode::Routed, GatewayMode::Isolated])
}

fn network(number: u8) -> impl Strategy<Value = NetworkRules> {
    let family = move |address: IpAddr, length| {
        let subnet = IpNet::new(address, length).unwrap().trunc();
        let snat = prop_oneof![Just(None), Just(Some(address))];
        prop::option::of((mode(), snat).prop_map(move |(mode, snat)| FamilyRules { subnet, mode, snat }))
    };
    let trusted = prop_oneof![Just(Vec::new()), Just(vec!["eth0".parse::<IfName>().unwrap()])];
    let families = (family(v4(number, 1), 16), family(v6(number, 1), 64));
    (families, any::<[bool; 3]>(), trusted).prop_map(
        move |((v4, v6), [masquerade, icc, internal], trusted)| NetworkRules {
            bridge: bridge(number),
            v4,
            v6,
            masquerade,
            icc,
            internal,
            trusted,
        },
    )
}

fn project(number: u8) -> impl Strategy<Value = Project> {
    let transport = select(vec![Transport::Tcp, Transport::Udp, Transport::Sctp]);
    let port = (transport, select(vec![0, 8080]), any::<[bool; 3]>());
    (network(number), vec(port, 0..4)).prop_map(move |(network, ports)| {
        let endpoint = |host| EndpointRules {
            bridge: bridge(number),
            addresses: vec![v4(number, host), v6(number, host)],
        };
        // Every mapping leads to another port: two that lead to one share a rule, which goes with the first.
        let port =
            |(at, (transport, host, [six, loopback, proxied])): (usize, &(Transport, u16, [bool; 3]))| {
                let at = u16::try_from(at).unwrap();
                let any: IpAddr = match (*six, *loopback) {
                    (false, false) => Ipv4Addr::UNSPECIFIED.into(),
                    (false, true) => Ipv4Addr::LOCALHOST.into(),
                    (true, false) => Ipv6Addr::UNSPECIFIED.into(),
                    (true, true) => Ipv6Addr::LOCALHOST.into(),
                };
                let container = if *six && !*proxied { v6(number, 2) } else { v4(number, 2) };
                PortRules {
                    bridge: bridge(number),
                    transport: *transport,
                    host: SocketAddr::new(
                        any,
                        if *host == 0 { 0 } else { host + at + 1000 * u16::from(number) },
                    ),
                    container: SocketAddr::new(container, 80 + at),
                }
            };
        let exposed = vec![(Transport::Tcp, 90), (Transport::Tcp, 80)];
        let link =
            LinkRules { bridge: bridge(number), parent: v4(number, 3), child: v4(number, 2), ports: exposed };
        Project {
            endpoints: vec![endpoint(2), endpoint(3)],
            ports: ports.iter().enumerate().map(port).collect(),
            network,
            link,
        }
    })
}

fn start(firewall: &mut Firewall, project: &Project) {
    firewall.add_network(&project.network);
    project.endpoints.iter().for_each(|e| firewall.add_endpoint(e));
    project.ports.iter().for_each(|p| firewall.publish(p));
    firewall.link(&project.link);
}

/// Takes a project down, in whatever order its parts go.
fn stop(firewall: &mut Firewall, project: &Project, backwards: bool) {
    firewall.unlink(&project.link);
    if backwards {
        project.ports.iter().rev().for_each(|p| firewall.unpublish(p));
        project.endpoints.iter().rev().for_each(|e| firewall.remove_endpoint(e));
    } else {
        project.endpoints.iter().for_each(|e| firewall.remove_endpoint(e));
        project.ports.iter().for_each(|p| firewall.unpublish(p));
    }
    firewall.remove_network(&project.network.bridge);
}

/// What stands, without the tables in which nothing stands: `raw` stays where it was used once.
fn standing(firewall: &Firewall) -> Vec<Ruleset> {
    let mut rulesets = firewall.rulesets();
    for ruleset in &mut rulesets {
        ruleset.tables.retain(|t| t.chains.iter().any(|c| !c.rules.is_empty()));
    }
    rulesets
}

proptest! {
    #[test]
    fn what_is_added_and_removed_leaves_what_stood_before(
        (version, firewall_backend) in select(vec![
            ("20.10", Backend::Iptables),
            ("26.1", Backend::Iptables),
            ("27", Backend::Iptables),
            ("28.1", Backend::Iptables),
            ("28.5", Backend::Iptables),
            ("29", Backend::Iptables),
            ("29", Backend::Nft),
        ]),
        [userland_proxy, allow_direct_routing, ip6tables, backwards] in any::<[bool; 4]>(),
        stays in project(0),
        goes in project(1),
        comes_later in project(2),
    ) {
        let engine: Engine = version.parse().unwrap();
        // Until 27 the jumps that the first network of a family brings stay when it goes.
        let brings = |family: fn(&NetworkRules) -> &Option<FamilyRules>| {
            family(&goes.network).is_some() && (family(&stays.network).is_none() || stays.network.internal)
        };
        let jumps = engine.profile.filter() == Filter::Forward && (brings(|n| &n.v4) || brings(|n| &n.v6));
        prop_assume!(!jumps);
        let daemon = Daemon {
            userland_proxy,
            allow_direct_routing,
            ip6tables: Some(ip6tables),
            firewall_backend,
            ..Daemon::default()
        };
        let mut without = Firewall::new(engine, &daemon, &[]);
        let mut with = without.clone();

        start(&mut without, &stays);
        start(&mut without, &comes_later);

        start(&mut with, &stays);
        start(&mut with, &goes);
        start(&mut with, &comes_later);
        stop(&mut with, &goes, backwards);

        prop_assert_eq!(standing(&with), standing(&without));
    }

    #[test]
    fn a_daemon_that_may_not_touch_rules_leaves_them_alone(
        firewall_backend in select(vec![Backend::Iptables, Backend::Nft]),
        project in project(0),
    ) {
        let daemon = Daemon { iptables: false, ip6tables: Some(false), firewall_backend, ..Daemon::default() };
        let mut firewall = Firewall::new(Engine::NEWEST, &daemon, &[]);
        start(&mut firewall, &project);
        firewall.set_forward_policy_drop(seatrial_core::addr::Family::V4);
        prop_assert_eq!(firewall.rulesets(), Vec::new());
    }
}

/// One IPv4 network with NAT.
fn plain(number: u8) -> NetworkRules {
    let subnet = IpNet::new(v4(number, 0), 16).unwrap();
    NetworkRules {
        bridge: bridge(number),
        v4: Some(FamilyRules { subnet, mode: GatewayMode::Nat, snat: None }),
        v6: None,
        masquerade: true,
        icc: true,
        internal: false,
        trusted: Vec::new(),
    }
}

/// The rules of a chain, as `iptables -S` writes what is behind `-A CHAIN`.
fn chain(firewall: &Firewall, table: &str, chain: &str) -> Vec<String> {
    let rulesets = firewall.rulesets();
    let chain = rulesets[0].table(table).and_then(|t| t.chain(chain)).unwrap();
    chain.rules.iter().map(ToString::to_string).collect()
}

#[test]
fn direct_routing_leaves_only_the_guard_of_loopback() {
    // iptabler/endpoint.go asks for AllowDirectRouting, iptabler/port.go does not.
    let daemon = Daemon { allow_direct_routing: true, ..Daemon::default() };
    let mut firewall = Firewall::new("28.5".parse().unwrap(), &daemon, &[]);
    firewall.add_network(&plain(0));
    firewall.add_endpoint(&EndpointRules { bridge: bridge(0), addresses: vec![v4(0, 2)] });
    firewall.publish(&PortRules {
        bridge: bridge(0),
        transport: Transport::Tcp,
        host: "127.0.0.1:8080".parse().unwrap(),
        container: SocketAddr::new(v4(0, 2), 80),
    });
    let guard = "-d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 8080 -j DROP";
    assert_eq!(chain(&firewall, "raw", "PREROUTING"), [guard]);
}

#[test]
fn a_marked_packet_passes_before_everything_in_29() {
    let daemon = Daemon { bridge_accept_fwmark: Some("2/3".to_owned()), ..Daemon::default() };
    let mut firewall = Firewall::new(Engine::NEWEST, &daemon, &[]);
    firewall.add_network(&plain(0));
    firewall.add_network(&plain(1));
    assert_eq!(
        chain(&firewall, "filter", "DOCKER-FORWARD"),
        [
            "-m mark --mark 0x2/0x3 -j ACCEPT",
            "-j DOCKER-CT",
            "-j DOCKER-INTERNAL",
            "-j DOCKER-BRIDGE",
            "-i br0 -j ACCEPT",
            "-i br1 -j ACCEPT",
        ]
    );
}
