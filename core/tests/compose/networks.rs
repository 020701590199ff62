//! `networks` of the top level and of a service.

use seatrial_core::topology::{Driver, GatewayMode, IpvlanMode, MacvlanMode, Network, NetworkMode};

use super::{joined, node, nodes, read};

fn keys(networks: &[Network]) -> Vec<&str> {
    networks.iter().map(|n| n.key.as_str()).collect()
}

#[test]
fn a_service_without_networks_joins_the_implicit_one() {
    let project =
        read("services: { web: { image: nginx, networks: [] }, db: { image: x, networks: } }").unwrap();
    assert_eq!(
        (joined(node(&project, "web")), joined(node(&project, "db"))),
        (vec!["default"], vec!["default"])
    );
    assert_eq!((project.networks[0].name.as_str(), project.networks.len()), ("demo_default", 1));
}

#[test]
fn only_networks_that_are_used_are_made_and_the_implicit_one_is_made_first() {
    let text = "
services: { web: { image: nginx }, db: { image: x, networks: [back, outside, front] } }
networks: { front: , unused: , back: , outside: { external: true } }";
    let project = read(text).unwrap();
    assert_eq!(keys(&project.networks), ["outside", "default", "front", "back"]);
    let text = "services: { web: { image: nginx, networks: [front] } }\nnetworks: { front: , default: }";
    assert_eq!(keys(&read(text).unwrap().networks), ["front"]);
}

#[test]
fn names_are_the_projects_unless_they_are_said() {
    let text = "
services: { web: { image: nginx, networks: [a, b, c, d, bridge] } }
networks: { a: , b: { name: shop }, c: { external: true }, d: { external: { name: old } }, bridge: }";
    let project = read(text).unwrap();
    let names: Vec<_> = project.networks.iter().map(|n| (n.name.as_str(), n.external)).collect();
    assert_eq!(
        names,
        [("c", true), ("old", true), ("demo_a", false), ("shop", false), ("demo_bridge", false)]
    );
}

#[test]
fn every_option_of_a_bridge_is_read() {
    let text = "
services: { web: { image: nginx, networks: [n] } }
networks:
  n:
    driver: bridge
    enable_ipv6: 'true'
    internal: true
    driver_opts:
      com.docker.network.bridge.name: br-shop
      com.docker.network.bridge.enable_ip_masquerade: 'false'
      com.docker.network.bridge.enable_icc: 0
      com.docker.network.bridge.gateway_mode_ipv4: isolated
      com.docker.network.bridge.gateway_mode_ipv6: routed
      com.docker.network.bridge.inhibit_ipv4: T
      com.docker.network.bridge.host_binding_ipv4: 127.0.0.1
      com.docker.network.bridge.trusted_host_interfaces: eth0:wg0
      com.docker.network.driver.mtu: 1400
      com.docker.network.host_ipv4: 203.0.113.10
      com.docker.network.host_ipv6: '2001:db8::1'
      com.docker.network.container_iface_prefix: lan
      com.docker.network.advertise_addr_nmsgs: 2
    ipam:
      driver: default
      config:
        - subnet: 10.9.0.0/24
          ip_range: 10.9.0.128/25
          gateway: 10.9.0.5
          aux_addresses: { printer: 10.9.0.9 }";
    let project = read(text).unwrap();
    let network = &project.networks[0];
    let Driver::Bridge(o) = &network.driver else { panic!() };
    assert_eq!((network.ipv4, network.ipv6, network.internal), (true, true, true));
    assert_eq!(o.name.as_ref().unwrap().as_str(), "br-shop");
    assert_eq!((o.masquerade, o.icc, o.inhibit_ipv4), (false, false, true));
    assert_eq!((o.gateway_mode_ipv4, o.gateway_mode_ipv6), (GatewayMode::Isolated, GatewayMode::Routed));
    assert_eq!(o.host_binding, "127.0.0.1".parse().ok());
    assert_eq!(o.trusted_host_interfaces.len(), 2);
    assert_eq!((o.mtu, o.iface_prefix.as_deref()), (Some(1400), Some("lan")));
    assert_eq!((o.host_ipv4, o.host_ipv6), ("203.0.113.10".parse().ok(), "2001:db8::1".parse().ok()));
    let pool = &network.pools[0];
    assert_eq!((pool.gateway, pool.ip_range), ("10.9.0.5".parse().ok(), "10.9.0.128/25".parse().ok()));
    assert_eq!(pool.aux_addresses["printer"].to_string(), "10.9.0.9");
    let warnings: Vec<_> = project.warnings.iter().map(|w| w.found.as_str()).collect();
    assert_eq!(warnings, ["'com.docker.network.advertise_addr_nmsgs' changes nothing here"]);
}

#[test]
fn macvlan_and_ipvlan_have_options_of_their_own() {
    let text = "
services: { web: { image: nginx, networks: [m, i] } }
networks:
  m: { driver: macvlan, driver_opts: { parent: eth0.10, macvlan_mode: private, com.docker.network.driver.mtu: 1400 } }
  i: { driver: ipvlan, driver_opts: { parent: eth0, ipvlan_mode: l3 } }";
    let project = read(text).unwrap();
    let Driver::Macvlan(m) = &project.networks[0].driver else { panic!() };
    assert_eq!((m.parent.as_ref().unwrap().as_str(), m.mode), ("eth0.10", MacvlanMode::Private));
    let Driver::Ipvlan(i) = &project.networks[1].driver else { panic!() };
    assert_eq!(i.mode, IpvlanMode::L3);
}

#[test]
fn an_attachment_says_addresses_names_and_the_device() {
    let text = "
services:
  web:
    image: nginx
    networks:
      n:
        aliases: [www, web, www]
        ipv4_address: 10.9.0.9
        ipv6_address: 'fd00::9'
        link_local_ips: [169.254.8.8, 'fe80::99']
        mac_address: 0242.ac11.0002
        gw_priority: -5
        interface_name: lan7
        driver_opts: { com.docker.network.endpoint.sysctls: 'net.ipv4.conf.ifname.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2' }
networks: { n: { enable_ipv6: true, ipam: { config: [{ subnet: 10.9.0.0/24 }, { subnet: 'fd00::/64' }] } } }";
    let project = read(text).unwrap();
    let NetworkMode::Networks(all) = &node(&project, "web").network else { panic!() };
    let a = &all[0];
    assert_eq!(a.aliases, ["demo-web-1", "web", "www"]);
    assert_eq!((a.ipv4_address, a.ipv6_address), ("10.9.0.9".parse().ok(), "fd00::9".parse().ok()));
    assert_eq!(a.link_local_ips.len(), 2);
    assert_eq!(a.mac_address.unwrap().to_string(), "02:42:ac:11:00:02");
    assert_eq!((a.gw_priority, a.interface_name.as_ref().unwrap().as_str()), (-5, "lan7"));
    let sysctls: Vec<_> = a.sysctls.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(sysctls, ["net.ipv4.conf.IFNAME.log_martians=1", "net.ipv6.conf.IFNAME.accept_ra=2"]);
}

/// Observed on Compose 2.40: the highest `priority`, the first by name among equals.
#[test]
fn the_services_hardware_address_goes_to_one_network() {
    let mac = |networks: &str| {
        let text = format!(
            "services: {{ web: {{ image: nginx, mac_address: '02:00:00:00:00:01', networks: {networks} }} }}\nnetworks: {{ a: , b: }}"
        );
        let project = read(&text).unwrap();
        let NetworkMode::Networks(all) = &node(&project, "web").network else { panic!() };
        let with = all.iter().filter(|a| a.mac_address.is_some()).map(|a| a.network.clone());
        with.collect::<Vec<_>>()
    };
    assert_eq!(mac("[b, a]"), ["a"]);
    assert_eq!(mac("{ a: , b: { priority: 5 } }"), ["b"]);
}

#[test]
fn replicas_have_numbers_and_names_of_their_own() {
    let text = "services: { web: { image: nginx, deploy: { replicas: 3 } }, db: { image: x, scale: 0 }, api: { image: x, depends_on: [db] } }";
    let project = read(text).unwrap();
    assert_eq!(nodes(&project), ["web.1", "web.2", "web.3", "api"]);
    let names: Vec<_> = project.containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["demo-web-1", "demo-web-2", "demo-web-3", "demo-api-1"]);
    let NetworkMode::Networks(all) = &node(&project, "web.2").network else { panic!() };
    assert_eq!(all[0].aliases, ["demo-web-2", "web"]);
}
