//! Topologies built by hand: what a reader of files would make, without a file.

use std::collections::BTreeMap;

use seatrial_core::addr::{IfName, Transport};
use seatrial_core::diagnostic::At;
use seatrial_core::engine::Engine;
use seatrial_core::topology::{
    Attachment, BridgeOptions, Container, Daemon, Driver, Host, LanMachine, Listener, Machine, Network,
    NetworkMode, NodeName, PidMode, ProcessOptions, Publish, Topology,
};

pub(crate) fn at() -> At {
    At::nowhere("test")
}

/// `demo`'s container of a service, on these networks.
pub(crate) fn container(name: &str, networks: &[&str]) -> Container {
    let attach = |n: &&str| Attachment { aliases: vec![name.to_owned()], ..Attachment::plain(n, at()) };
    Container {
        node: name.into(),
        service: name.to_owned(),
        name: format!("demo-{name}-1"),
        hostname: None,
        domainname: None,
        network: NetworkMode::Networks(networks.iter().map(attach).collect()),
        ports: Vec::new(),
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

/// `8080:80`, `80`, `127.0.0.1:8080:80`.
pub(crate) fn publish(text: &str) -> Publish {
    let (host, container) = text.rsplit_once(':').map_or((None, text), |(h, c)| (Some(h), c));
    let (host_ip, host_ports) = match host.map(|h| h.rsplit_once(':').unwrap_or(("", h))) {
        None => (None, None),
        Some((ip, ports)) => (ip.parse().ok(), ports.parse().ok()),
    };
    let container_ports = container.parse().unwrap();
    Publish { host_ip, host_ports, container_ports, transport: Transport::Tcp, at: at() }
}

/// `demo`'s bridge network of a key.
pub(crate) fn network(key: &str) -> Network {
    Network {
        key: key.to_owned(),
        name: format!("demo_{key}"),
        driver: Driver::Bridge(BridgeOptions::default()),
        ipv4: true,
        ipv6: false,
        internal: false,
        attachable: false,
        external: false,
        pools: Vec::new(),
        at: at(),
    }
}

pub(crate) fn machine() -> Machine {
    Machine {
        interfaces: BTreeMap::from([(IfName::eth0(), vec!["203.0.113.10/24".parse().unwrap()])]),
        routes: vec!["default via 203.0.113.1".parse().unwrap()],
        resolv_conf: "nameserver 203.0.113.1\n".to_owned(),
        hosts_file: "127.0.0.1\tlocalhost\n".to_owned(),
        ports_in_use: Vec::new(),
        sysctls: BTreeMap::new(),
        boot_ip_forward: false,
        firewall: Vec::new(),
        nft: None,
    }
}

/// One host, one machine beside it.
pub(crate) fn topology(networks: Vec<Network>, containers: Vec<Container>) -> Topology {
    let host = Host {
        name: NodeName::host(),
        project: "demo".to_owned(),
        engine: Engine::NEWEST,
        daemon: Daemon::default(),
        machine: machine(),
        networks,
        containers,
    };
    let lan = LanMachine {
        name: "lan".into(),
        addresses: vec!["203.0.113.50/24".parse().unwrap()],
        routes: Vec::new(),
        at: at(),
    };
    Topology { hosts: vec![host], lan: vec![lan], listeners: Vec::new(), assumed: Vec::new() }
}

pub(crate) fn listener(node: &str, port: u16) -> Listener {
    Listener { node: node.into(), address: None, port, transport: Transport::Tcp, at: at() }
}
