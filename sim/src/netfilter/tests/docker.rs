//! Docker 29's own rules for a network with a published port (moby, integration/network/bridge/iptablesdoc,
//! `usernet-portmap`), and packets between a LAN machine, the host and the container.

use super::*;

const RULES: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 192.0.2.2/32 ! -i bridge1 -o bridge1 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER ! -i bridge1 -o bridge1 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-BRIDGE -o bridge1 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-CT -o bridge1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-FORWARD -i bridge1 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 192.0.2.0/24 ! -o bridge1 -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i bridge1 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.0.2.2:80
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d 192.0.2.2/32 ! -i bridge1 -j DROP
COMMIT
";

const LAN: &str = "203.0.113.50:40000";

#[test]
fn a_lan_machine_reaches_a_published_port_and_the_reply_comes_back_as_the_hosts() {
    let mut host = Host::new(RULES);
    let sent = syn(LAN, "203.0.113.10:8080");
    let arrived = host.forward(sent, "eth0", "bridge1").unwrap();
    assert_eq!((arrived.source(), arrived.destination()), (LAN.to_owned(), "192.0.2.2:80".to_owned()));
    assert_eq!(
        host.hits(),
        [
            "raw PREROUTING policy ACCEPT",
            "nat PREROUTING 1 -> DOCKER",
            "nat DOCKER 1 DNAT",
            "filter FORWARD 1 -> DOCKER-USER",
            "filter FORWARD 2 -> DOCKER-FORWARD",
            "filter DOCKER-FORWARD 1 -> DOCKER-CT",
            "filter DOCKER-FORWARD 2 -> DOCKER-INTERNAL",
            "filter DOCKER-FORWARD 3 -> DOCKER-BRIDGE",
            "filter DOCKER-BRIDGE 2 -> DOCKER",
            "filter DOCKER 1 ACCEPT",
            "nat POSTROUTING policy ACCEPT",
        ]
    );
    assert_eq!(
        host.entries(),
        ["tcp      6 120 SYN_SENT src=203.0.113.50 dst=203.0.113.10 sport=40000 dport=8080 [UNREPLIED] \
          src=192.0.2.2 dst=203.0.113.50 sport=80 dport=40000 mark=0 use=1"]
    );

    let reply = host.forward(answer(&arrived, SYN_ACK), "bridge1", "eth0").unwrap();
    assert_eq!((reply.source(), reply.destination()), ("203.0.113.10:8080".to_owned(), LAN.to_owned()));
}

#[test]
fn a_rule_hit_is_traced_with_its_text() {
    let mut host = Host::new(RULES);
    host.forward(syn(LAN, "203.0.113.10:8080"), "eth0", "bridge1").unwrap();
    let hops = host.hops.unwrap();
    let dnat = hops.iter().find_map(|hop| match &hop.event {
        Event::Rule(hit) if hit.verdict == "DNAT" => Some((hop, hit)),
        _ => None,
    });
    let (hop, hit) = dnat.unwrap();
    assert_eq!(
        hit.text,
        "-A DOCKER ! -i bridge1 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.0.2.2:80"
    );
    assert_eq!(hop.packet.destination(), "203.0.113.10:8080");
    let rewritten = hops.iter().find_map(|hop| match hop.event {
        Event::Rewrite { after } => Some(after),
        _ => None,
    });
    assert_eq!(rewritten.unwrap().destination(), "192.0.2.2:80");
}

#[test]
fn a_lan_machine_that_goes_around_the_published_port_is_dropped_in_raw() {
    let mut host = Host::new(RULES);
    let verdict = host.forward(syn(LAN, "192.0.2.2:80"), "eth0", "bridge1").unwrap_err();
    assert_eq!(host.why(verdict), "raw PREROUTING 1: -A PREROUTING -d 192.0.2.2/32 ! -i bridge1 -j DROP");
    assert!(matches!(verdict, Verdict::Drop(_)));
    assert!(host.entries().is_empty(), "raw comes before conntrack");
}

#[test]
fn a_container_is_masqueraded_on_its_way_to_the_lan_and_gets_its_reply() {
    let mut host = Host::new(RULES);
    let sent = host.forward(echo("192.0.2.2", "203.0.113.50", 7, false), "bridge1", "eth0").unwrap();
    assert_eq!(sent.src, ip("203.0.113.10"));
    let reply = host.forward(answer(&sent, TcpFlags::default()), "eth0", "bridge1").unwrap();
    assert_eq!(reply.dst, ip("192.0.2.2"));
}

#[test]
fn h9_the_host_reaches_its_own_published_port_with_the_source_it_had() {
    let mut host = Host::new(RULES);
    let sent = host.send(syn("203.0.113.10:40000", "203.0.113.10:8080"), "lo").unwrap();
    assert_eq!((sent.source().as_str(), sent.destination().as_str()), ("203.0.113.10:40000", "192.0.2.2:80"));
}

#[test]
fn d1_a_neighbour_on_the_same_bridge_is_left_to_docker_proxy() {
    let mut host = Host::new(RULES);
    let arrived = host.receive(syn("192.0.2.3:40000", "203.0.113.10:8080"), "bridge1").unwrap();
    assert_eq!(arrived.destination(), "203.0.113.10:8080");
}

#[test]
fn a_port_that_is_not_published_is_dropped_by_the_chain_of_the_network() {
    // The raw table has its say only for the container's own address: here a second container's.
    let mut host = Host::new(RULES);
    let verdict = host.forward(syn(LAN, "192.0.2.3:81"), "eth0", "bridge1").unwrap_err();
    assert_eq!(host.why(verdict), "filter DOCKER 3: -A DOCKER ! -i bridge1 -o bridge1 -j DROP");
    assert!(host.entries().is_empty(), "c1: what is dropped leaves no entry");
}

#[test]
fn ipv6_is_translated_as_ipv4_is() {
    let mut host = Host::v6(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
         -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
         -A POSTROUTING -s 2001:db8:2::/64 ! -o bridge1 -j MASQUERADE\n\
         -A DOCKER ! -s fe80::/10 ! -i bridge1 -p tcp -m tcp --dport 8080 -j DNAT --to-destination [2001:db8:2::2]:80\n\
         COMMIT\n",
    );
    let sent = syn("[2001:db8:1::50]:40000", "[2001:db8:1::10]:8080");
    let arrived = host.forward(sent, "eth0", "bridge1").unwrap();
    assert_eq!(arrived.destination(), "[2001:db8:2::2]:80");
    let reply = host.forward(answer(&arrived, SYN_ACK), "bridge1", "eth0").unwrap();
    assert_eq!(reply.source(), "[2001:db8:1::10]:8080");

    let ping = echo("2001:db8:2::2", "2001:db8:1::50", 7, false);
    let left = host.forward(ping, "bridge1", "eth0").unwrap();
    assert_eq!(left.src, ip("2001:db8:1::10"));
    let reply = host.forward(answer(&left, TcpFlags::default()), "eth0", "bridge1").unwrap();
    assert_eq!(reply.dst, ip("2001:db8:2::2"));
}

#[test]
fn a_packet_of_a_known_flow_allocates_nothing() {
    let mut host = Host::new(RULES);
    let packet = syn(LAN, "203.0.113.10:8080");
    host.forward(packet, "eth0", "bridge1").unwrap();
    let (eth0, bridge1) = (name("eth0"), name("bridge1"));
    let count = allocation_counter::measure(|| {
        let (mut packet, mut ct) = (packet, CtInfo::NONE);
        for at in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
            let mut ctx = Context {
                now_us: 0,
                seed: &mut host.seed,
                input: Some(&eth0),
                output: (at != Hook::Prerouting).then_some(&bridge1),
                bridged: None,
                next_hop: None,
                routing: &host.addresses,
                ns: &host.ns,
                flight: 1,
                hops: None,
            };
            assert_eq!(host.netfilter.hook(at, &mut packet, &mut ct, &mut ctx), Verdict::Accept);
        }
    });
    assert_eq!(count.count_total, 0);
}
