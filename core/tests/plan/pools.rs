//! Which subnets networks get, and when there are none left (fixtures: the captured scenario `o-pools`).

use seatrial_core::plan::{LinkKind, Object, Plan, plan};
use seatrial_core::topology::{Network, Topology};

use crate::topologies::{at, container, network, topology};

/// A topology of as many networks as asked, one container on the first.
fn networks(count: usize) -> Topology {
    let all: Vec<Network> = (0..count).map(|i| network(&format!("n{i:02}"))).collect();
    topology(all, vec![container("web", &["n00"])])
}

/// The bridges' addresses.
fn bridges(plan: &Plan) -> Vec<String> {
    let is_bridge = |name: &seatrial_core::addr::IfName| {
        plan.items.iter().any(|i| match &i.object {
            Object::Link(l) => l.name == *name && l.kind == LinkKind::Bridge && i.ns.as_str() == "host",
            _ => false,
        })
    };
    let of = |i: &seatrial_core::plan::Item| match &i.object {
        Object::Address(a) if is_bridge(&a.link) => Some(a.net.to_string()),
        _ => None,
    };
    plan.items.iter().filter_map(of).collect()
}

#[test]
fn thirty_networks_fit_beside_the_default_bridge() {
    let all = bridges(&plan(&networks(30)).unwrap());
    assert_eq!(all.len(), 31);
    assert_eq!(all[30], "192.168.240.1/20");
}

#[test]
fn the_thirty_first_is_refused_where_it_was_written() {
    let error = plan(&networks(31)).unwrap_err();
    let words = "all predefined address pools have been fully subnetted";
    assert_eq!(error.0.iter().map(|d| d.found.as_str()).collect::<Vec<_>>(), [words]);
}

#[test]
fn what_is_on_a_link_of_the_host_or_a_nameserver_is_stepped_over() {
    let mut topology = networks(3);
    let machine = &mut topology.hosts[0].machine;
    machine.routes.push("172.18.0.0/16 dev eth0".parse().unwrap());
    machine.routes.push("172.20.0.0/16 via 203.0.113.7".parse().unwrap());
    machine.interfaces.insert("lo".parse().unwrap(), vec!["172.21.5.1/24".parse().unwrap()]);
    machine.resolv_conf = "nameserver 172.22.0.53\n".to_owned();
    let plan_of_all = plan(&topology).unwrap();
    assert_eq!(seatrial_core::plan::check::check(&plan_of_all), Ok(()));
    let all = bridges(&plan_of_all);
    assert_eq!(all, ["172.17.0.1/16", "172.19.0.1/16", "172.20.0.1/16", "172.21.0.1/16"]);
    topology.hosts[0].networks.push(network("n03"));
    assert_eq!(bridges(&plan(&topology).unwrap())[4], "172.23.0.1/16");
}

#[test]
fn pools_of_the_daemon_replace_docker_s_own() {
    let mut topology = networks(2);
    topology.hosts[0].daemon.default_address_pools = vec![("10.10.0.0/22".parse().unwrap(), 24)];
    let all = bridges(&plan(&topology).unwrap());
    assert_eq!(all, ["10.10.0.1/24", "10.10.1.1/24", "10.10.2.1/24"]);
}

#[test]
fn the_default_bridge_is_as_daemon_json_says() {
    let mut topology = networks(0);
    let mut web = container("web", &["bridge"]);
    web.network = seatrial_core::topology::NetworkMode::DefaultBridge(Box::new(
        seatrial_core::topology::Attachment::plain(seatrial_core::topology::DEFAULT_BRIDGE, at()),
    ));
    topology.hosts[0].containers = vec![web];
    let daemon = &mut topology.hosts[0].daemon;
    daemon.bip = Some("10.5.0.1/16".parse().unwrap());
    daemon.fixed_cidr = Some("10.5.7.0/24".parse().unwrap());
    daemon.mtu = Some(1400);
    let plan = plan(&topology).unwrap();
    assert_eq!(bridges(&plan), ["10.5.0.1/16"]);
    let web: Vec<String> = plan
        .items
        .iter()
        .filter_map(|i| match &i.object {
            Object::Address(a) if i.ns.as_str() == "web" => Some(a.net.to_string()),
            Object::Link(l) if l.name.as_str().starts_with("veth") => Some(format!("mtu {:?}", l.mtu)),
            _ => None,
        })
        .collect();
    assert_eq!(web, ["mtu Some(1400)", "10.5.7.0/16"]);
}
