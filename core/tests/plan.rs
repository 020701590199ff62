//! What a topology is planned as.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;

use seatrial_core::addr::{IfName, Transport};
use seatrial_core::diagnostic::At;
use seatrial_core::engine::Engine;
use seatrial_core::plan::{Object, Plan, plan};
use seatrial_core::topology::{
    Attachment, BridgeOptions, Container, Daemon, Driver, Host, LanMachine, Machine, Network, NetworkMode,
    NodeName, PidMode, ProcessOptions, Publish, Topology,
};

fn at() -> At {
    At::nowhere("test")
}

fn container(name: &str, ports: Vec<Publish>) -> Container {
    Container {
        node: name.into(),
        service: name.to_owned(),
        name: format!("demo-{name}-1"),
        hostname: None,
        domainname: None,
        network: NetworkMode::Networks(vec![Attachment {
            aliases: vec![name.to_owned()],
            ..Attachment::plain("default", at())
        }]),
        ports,
        expose: Vec::new(),
        links: Vec::new(),
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        dns_search: Vec::new(),
        dns_opt: Vec::new(),
        mac_address: None,
        sysctls: BTreeMap::new(),
        ipc: None,
        pid: PidMode::Private,
        uts_host: false,
        userns_host: false,
        cgroup: None,
        process: ProcessOptions::default(),
        at: at(),
    }
}

fn topology() -> Topology {
    let published = Publish {
        host_ip: None,
        host_ports: "8080".parse().ok(),
        container_ports: "80".parse().unwrap(),
        transport: Transport::Tcp,
        at: at(),
    };
    let network = Network {
        key: "default".to_owned(),
        name: "demo_default".to_owned(),
        driver: Driver::Bridge(BridgeOptions::default()),
        ipv4: true,
        ipv6: false,
        internal: false,
        attachable: false,
        external: false,
        pools: Vec::new(),
        at: at(),
    };
    let machine = Machine {
        interfaces: BTreeMap::from([(IfName::eth0(), vec!["203.0.113.10/24".parse().unwrap()])]),
        routes: vec!["default via 203.0.113.1".parse().unwrap()],
        resolv_conf: "nameserver 203.0.113.1\n".to_owned(),
        hosts_file: "127.0.0.1\tlocalhost\n".to_owned(),
        ports_in_use: Vec::new(),
        sysctls: BTreeMap::new(),
        boot_ip_forward: false,
        firewall: Vec::new(),
    };
    let host = Host {
        name: NodeName::host(),
        project: "demo".to_owned(),
        engine: Engine::NEWEST,
        daemon: Daemon::default(),
        machine,
        networks: vec![network],
        containers: vec![container("web", vec![published]), container("db", Vec::new())],
    };
    let lan = LanMachine {
        name: "lan".into(),
        addresses: vec!["203.0.113.50/24".parse().unwrap()],
        routes: Vec::new(),
        at: at(),
    };
    Topology { hosts: vec![host], lan: vec![lan], listeners: Vec::new(), assumed: Vec::new() }
}

/// The addresses of a device, by namespace and device.
fn addresses(plan: &Plan, ns: &str) -> Vec<String> {
    let own = plan.items.iter().filter(|i| i.ns.as_str() == ns);
    own.filter_map(|i| {
        let Object::Address(a) = &i.object else { return None };
        Some(format!("{} {}", a.link, a.net))
    })
    .collect()
}

#[test]
fn containers_of_a_project_get_the_first_free_subnet_and_addresses() {
    let plan = plan(&topology()).unwrap();
    assert_eq!(addresses(&plan, "web"), ["eth0 172.18.0.2/16"]);
    assert_eq!(addresses(&plan, "db"), ["eth0 172.18.0.3/16"]);
    let host = addresses(&plan, "host");
    assert_eq!(host[..2], ["eth0 203.0.113.10/24", "docker0 172.17.0.1/16"]);
    assert!(host[2].starts_with("br-") && host[2].ends_with(" 172.18.0.1/16"), "{host:?}");
}

#[test]
fn a_published_port_has_a_proxy_for_each_family() {
    let plan = plan(&topology()).unwrap();
    let proxies: Vec<String> = plan
        .items
        .iter()
        .filter_map(|i| {
            let Object::Proxy(p) = &i.object else { return None };
            Some(format!("{} -> {}", p.listen, p.connect))
        })
        .collect();
    assert_eq!(proxies, ["0.0.0.0:8080 -> 172.18.0.2:80", "[::]:8080 -> 172.18.0.2:80"]);
}

#[test]
fn the_resolver_knows_every_container_of_the_network() {
    let plan = plan(&topology()).unwrap();
    let resolver = plan.items.iter().find_map(|i| {
        let Object::Resolver(r) = &i.object else { return None };
        (i.ns.as_str() == "web").then_some(r)
    });
    let zone = &resolver.unwrap().zone;
    let db: Vec<String> = zone["db"].iter().map(ToString::to_string).collect();
    assert_eq!(db, ["172.18.0.3"]);
    assert_eq!(zone["demo-db-1.demo_default"], zone["db"]);
}

#[test]
fn the_same_topology_is_planned_the_same() {
    let json = |t: &Topology| serde_json::to_string(&plan(t).unwrap()).unwrap();
    assert_eq!(json(&topology()), json(&topology()));
}

#[test]
fn a_plan_stands_before_a_second_pair_of_eyes() {
    let faults = seatrial_core::plan::check::check(&plan(&topology()).unwrap());
    assert_eq!(faults, Ok(()));
}
