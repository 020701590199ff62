//! Whatever the topology, its plan stands before a second pair of eyes, is always the same, and changes locally.

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use seatrial_core::plan::check::check;
use seatrial_core::plan::{Item, LinkKind, Object, Plan, Planner, plan};
use seatrial_core::probe::Change;
use seatrial_core::topology::{
    BridgeOptions, Container, ContainerRef, Driver, GatewayMode, IpcMode, IpvlanFlag, IpvlanMode,
    IpvlanOptions, MacvlanMode, MacvlanOptions, Network, NetworkMode, PidMode, Topology,
};

use crate::changes::step;
use crate::topologies::{at, container, listener, network, publish, topology};

fn driver() -> impl Strategy<Value = Driver> {
    let mode = prop_oneof![
        4 => Just(GatewayMode::Nat),
        1 => Just(GatewayMode::NatUnprotected),
        1 => Just(GatewayMode::Routed),
    ];
    let bridge = (mode.clone(), mode, any::<bool>(), any::<bool>(), proptest::option::of(1280u32..9000));
    prop_oneof![
        6 => bridge.prop_map(|(v4, v6, icc, masquerade, mtu)| Driver::Bridge(BridgeOptions {
            gateway_mode_ipv4: v4,
            gateway_mode_ipv6: v6,
            icc,
            masquerade,
            mtu,
            ..BridgeOptions::default()
        })),
        1 => Just(Driver::Macvlan(MacvlanOptions {
            parent: "eth0.10".parse().ok(),
            mode: MacvlanMode::Bridge,
            mtu: None,
        })),
        1 => Just(Driver::Macvlan(MacvlanOptions { parent: None, mode: MacvlanMode::Private, mtu: None })),
        1 => prop_oneof![Just(IpvlanMode::L2), Just(IpvlanMode::L3), Just(IpvlanMode::L3s)].prop_map(|mode| {
            Driver::Ipvlan(IpvlanOptions { parent: None, mode, flag: IpvlanFlag::Bridge, mtu: None })
        }),
    ]
}

fn networks() -> impl Strategy<Value = Vec<Network>> {
    let one = (driver(), any::<bool>(), any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 1..4).prop_map(|all| {
        let made = all.into_iter().enumerate().map(|(i, (driver, v4, v6, internal))| Network {
            driver,
            ipv4: v4 || !v6,
            ipv6: v6,
            internal,
            ..network(&format!("net{i}"))
        });
        made.collect()
    })
}

fn ports() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(vec!["80", "127.0.0.1::81", "9000-9100:82", "83"], 0..=4)
}

fn containers(networks: usize) -> impl Strategy<Value = Vec<Container>> {
    let keys: Vec<String> = (0..networks).map(|i| format!("net{i}")).collect();
    let one = (subsequence(keys.clone(), 1..=keys.len()), ports(), 0..8u8, any::<Index>(), -2i64..3);
    proptest::collection::vec(one, 1..6).prop_map(|all| {
        let mut made: Vec<Container> = Vec::new();
        for (i, (on, ports, mode, other, priority)) in all.into_iter().enumerate() {
            let on: Vec<&str> = on.iter().map(String::as_str).collect();
            let mut new = container(&format!("c{i}"), &on);
            if let NetworkMode::Networks(attachments) = &mut new.network {
                attachments[0].gw_priority = priority;
            }
            let donor = (i > 0).then(|| ContainerRef { node: made[other.index(i)].node.clone(), at: at() });
            new.ipc = Some(IpcMode::Shareable);
            match (mode, donor) {
                (0, _) => new.network = NetworkMode::Host,
                (1, _) => new.network = NetworkMode::None,
                (2, Some(donor)) => new.network = NetworkMode::Container(donor),
                (3, Some(donor)) => new.pid = PidMode::Container(donor),
                (4, Some(donor)) if made.iter().all(|c| c.ipc == Some(IpcMode::Shareable)) => {
                    new.ipc = Some(IpcMode::Container(donor));
                }
                _ => {}
            }
            if matches!(new.network, NetworkMode::Networks(_) | NetworkMode::None) {
                new.ports = ports.into_iter().map(publish).collect();
            }
            made.push(new);
        }
        made
    })
}

fn topologies() -> impl Strategy<Value = Topology> {
    let parts =
        networks().prop_flat_map(|n| (Just(n.clone()), containers(n.len()), any::<bool>(), any::<bool>()));
    parts.prop_map(|(networks, containers, proxy, old)| {
        let listeners = containers.iter().map(|c| listener(c.node.as_str(), 80)).take(1).collect();
        let mut topology = topology(networks, containers);
        topology.listeners = listeners;
        topology.hosts[0].daemon.userland_proxy = proxy;
        if old {
            topology.hosts[0].engine = "28.5".parse().unwrap();
        }
        topology
    })
}

/// What tells a container from others: its cables' names, its hardware addresses, its files.
fn identities(plan: &Plan, node: &str) -> Vec<String> {
    let own = |i: &&Item| match &i.object {
        Object::Link(l) => match &l.kind {
            LinkKind::Veth(peer) => peer.ns.as_str() == node,
            _ => i.ns.as_str() == node,
        },
        Object::File(_) | Object::Address(_) | Object::Route(_) | Object::Namespace(_) => {
            i.ns.as_str() == node
        }
        _ => false,
    };
    plan.items.iter().filter(own).map(|i| serde_json::to_string(i).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_stands_before_a_second_pair_of_eyes(topology in topologies()) {
        // Two networks may want one parent, or more addresses than there are: that is Docker's to refuse.
        if let Ok(plan) = plan(&topology) {
            prop_assert_eq!(check(&plan), Ok(()));
        }
    }

    #[test]
    fn the_same_topology_is_planned_the_same(topology in topologies()) {
        let json = |t: &Topology| plan(t).map(|p| serde_json::to_string(&p).unwrap());
        prop_assert_eq!(json(&topology), json(&topology));
    }

    #[test]
    fn one_container_more_leaves_the_others_as_they_were(topology in topologies()) {
        let Ok(before) = plan(&topology) else { return Ok(()) };
        let mut more = topology.clone();
        more.hosts[0].containers.push(container("more", &["net0"]));
        let Ok(after) = plan(&more) else { return Ok(()) };
        for ctr in &topology.hosts[0].containers {
            let node = ctr.node.as_str();
            prop_assert_eq!(identities(&before, node), identities(&after, node));
        }
    }

    #[test]
    fn operations_lead_to_the_next_plan(topology in topologies(), steps in proptest::collection::vec((0..5u8, any::<Index>()), 1..8)) {
        let Ok((mut planner, _)) = Planner::new(&topology) else { return Ok(()) };
        let containers = &topology.hosts[0].containers;
        for (what, which) in steps {
            let node = containers[which.index(containers.len())].node.clone();
            let change = match what {
                0 => Change::Stop(node),
                1 => Change::Start(node),
                2 => Change::Replace(node),
                3 => Change::Connect(node, "bridge".to_owned()),
                _ => Change::Disconnect(node, "net0".to_owned()),
            };
            // A refusal changes nothing that a later operation could trip over.
            if planner.clone().change(&change).is_ok() {
                step(&mut planner, &change);
            } else {
                _ = planner.change(&change);
            }
        }
    }
}
