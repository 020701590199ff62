//! Several files, `<<`, `!reset`, `!override`: as Docker Compose 2.40.3 merges them.

use seatrial_core::topology::{ExtraHostTarget, NetworkMode};

use super::{joined, node, read, read_two};

/// Two files that say something of every kind of key.
const BASE: &str = "
services:
  a:
    image: x
    ports: ['80:80', '81:81']
    expose: ['1', '2']
    dns: 1.1.1.1
    dns_search: [a, b]
    extra_hosts: ['h:1.1.1.1', 'g:2.2.2.2']
    sysctls: [net.core.somaxconn=1, net.ipv4.x=2]
    networks: [n1, n2]
    depends_on: [b]
    tmpfs: /t
    links: [b]
    cap_add: [NET_ADMIN]
    volumes: ['./a:/a', 'v:/v']
    hostname: one
    environment: { A: 1 }
  b: { image: x, networks: [n1] }
networks: { n1: { driver_opts: { com.docker.network.bridge.name: br1 } }, n2: {} }
volumes: { v: }
";
const OVER: &str = "
services:
  a:
    ports: ['80:80', '90:90', { target: 81, published: 81 }]
    expose: ['2', '3']
    dns: [2.2.2.2, 1.1.1.1]
    dns_search: c
    extra_hosts: { h: 3.3.3.3, i: 4.4.4.4 }
    sysctls: { net.core.somaxconn: 5, net.ipv4.y: 6 }
    networks: { n2: { aliases: [q] }, n3: }
    depends_on: { c: { condition: service_healthy } }
    tmpfs: [/b, /t]
    links: ['c:cc']
    cap_add: [SYS_ADMIN, NET_ADMIN]
    volumes: ['./z:/a', 'w:/w']
    hostname: two
    environment: [B=2]
  c: { image: x, networks: [n2] }
networks: { n3: {}, n1: { driver_opts: { com.docker.network.driver.mtu: 1400 } } }
volumes: { w: }
";

#[test]
fn a_later_file_is_laid_over_an_earlier_one() {
    let project = read_two(BASE, OVER).unwrap();
    let a = node(&project, "a");
    let ports: Vec<_> = a.ports.iter().map(|p| p.host_ports.unwrap().to_string()).collect();
    assert_eq!(ports, ["80", "81", "90"]);
    let expose: Vec<_> = a.expose.iter().map(|(_, p)| p.to_string()).collect();
    assert_eq!(expose, ["1", "2", "3"]);
    let dns: Vec<_> = a.dns.iter().map(ToString::to_string).collect();
    assert_eq!(dns, ["1.1.1.1", "2.2.2.2"]);
    assert_eq!(a.dns_search, ["a", "b", "c"]);
    let hosts: Vec<_> = a.extra_hosts.iter().map(|h| (h.name.as_str(), h.target)).collect();
    let ip = |text: &str| ExtraHostTarget::Address(text.parse().unwrap());
    let expected = [("h", ip("1.1.1.1")), ("g", ip("2.2.2.2")), ("h", ip("3.3.3.3")), ("i", ip("4.4.4.4"))];
    assert_eq!(hosts, expected);
    let sysctls: Vec<_> = a.sysctls.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(sysctls, ["net.core.somaxconn=5", "net.ipv4.x=2", "net.ipv4.y=6"]);
    assert_eq!(joined(a), ["n1", "n2", "n3"]);
    assert_eq!(a.process.tmpfs, ["/t", "/b"]);
    assert_eq!(a.process.cap_add, ["NET_ADMIN", "SYS_ADMIN"]);
    let mounts: Vec<_> = a.process.mounts.iter().map(|m| m.source.as_deref().unwrap()).collect();
    assert_eq!(mounts, ["./z", "v", "w"]);
    assert_eq!(a.hostname.as_deref(), Some("two"));
    let links: Vec<_> = a.links.iter().map(|l| format!("{} as {}", l.target.node, l.alias)).collect();
    assert_eq!(links, ["b as b", "b as b-1", "b as demo-b-1", "c as cc", "c as c-1", "c as demo-c-1"]);
    let NetworkMode::Networks(all) = &a.network else { panic!() };
    assert_eq!(all[1].aliases, ["demo-a-1", "a", "q"]);
}

#[test]
fn networks_are_merged_key_by_key_and_subnet_by_subnet() {
    let base = "
services: { a: { image: x, networks: [n] } }
networks: { n: { driver_opts: { com.docker.network.bridge.name: br1 }, ipam: { config: [{ subnet: 10.0.0.0/24, gateway: 10.0.0.1 }] } } }";
    let over = "
networks: { n: { internal: true, driver_opts: { com.docker.network.driver.mtu: 1400 }, ipam: { config: [{ subnet: 10.0.0.0/24, ip_range: 10.0.0.128/25 }, { subnet: 'fd00::/64' }] } } }";
    let project = read_two(base, over).unwrap();
    let network = &project.networks[0];
    let seatrial_core::topology::Driver::Bridge(options) = &network.driver else { panic!() };
    assert_eq!((options.name.as_ref().unwrap().as_str(), options.mtu), ("br1", Some(1400)));
    assert!(network.internal);
    let pools: Vec<_> = network
        .pools
        .iter()
        .map(|p| (p.subnet.unwrap().to_string(), p.gateway.is_some(), p.ip_range.is_some()))
        .collect();
    assert_eq!(pools, [("10.0.0.0/24".to_owned(), true, true), ("fd00::/64".to_owned(), false, false)]);
}

#[test]
fn nothing_over_something_leaves_it() {
    let base = "services: { a: { image: x, networks: [n, m], hostname: h } }\nnetworks: { n: { internal: true }, m: }";
    let project = read_two(base, "services: { a: { networks: , hostname: } }\nnetworks: { n: }").unwrap();
    let a = node(&project, "a");
    assert_eq!((joined(a), a.hostname.as_deref()), (vec!["n", "m"], Some("h")));
    assert!(project.networks[0].internal);
    assert!(read_two(base, "services: { a: }").is_ok());
}

#[test]
fn reset_takes_away_and_override_replaces() {
    let base = "
services:
  a: { image: x, ports: ['80:80'], dns: [1.1.1.1], hostname: h, networks: [n1] }
  b: { image: x }
networks: { n1: , n2: }";
    let over = "
services:
  a: { ports: !reset [], dns: !override [2.2.2.2], hostname: !reset null, networks: !override [n2] }
  b: !reset";
    let project = read_two(base, over).unwrap();
    let a = node(&project, "a");
    assert_eq!((a.ports.len(), a.dns.len(), a.hostname.as_deref()), (0, 1, None));
    assert_eq!((joined(a), project.containers.len()), (vec!["n2"], 1));
}

#[test]
fn the_tags_work_in_one_file_too() {
    let project =
        read("services: { a: { image: x, ports: !reset ['80:80'], dns: !override [1.1.1.1] } }").unwrap();
    let a = node(&project, "a");
    assert_eq!((a.ports.len(), a.dns.len()), (0, 1));
}

#[test]
fn what_is_written_out_wins_over_what_is_merged_and_the_first_of_a_list_over_the_second() {
    let text = "
x-a: &a { hostname: h, ports: ['80:80'] }
x-b: &b { hostname: g, domainname: d }
services:
  a: { <<: *a, image: x }
  b: { <<: [*a, *b], image: x, ports: [] }
  c: { image: x, <<: *b, hostname: own }";
    let project = read(text).unwrap();
    let said = |name| {
        let c = node(&project, name);
        (c.hostname.as_deref(), c.domainname.as_deref(), c.ports.len())
    };
    assert_eq!(said("a"), (Some("h"), None, 1));
    assert_eq!(said("b"), (Some("h"), Some("d"), 0));
    assert_eq!(said("c"), (Some("own"), Some("d"), 0));
}
