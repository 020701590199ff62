//! What is set up: projects of one container with a port, of one with a hundred, and of a hundred containers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use seatrial_core::addr::Family;
use seatrial_core::engine::Engine;
use seatrial_core::plan::{self, Item, Namespace, NsName, Object, Plan, PlanOp};
use seatrial_core::rules::{Backend, Ruleset};
use seatrial_core::topology::{compose, trial};

/// A project, by how many containers it has and how many ports each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) containers: usize,
    pub(crate) ports: usize,
}

pub(crate) const SIZES: [Size; 3] = [
    Size { name: "1 container", containers: 1, ports: 1 },
    Size { name: "100 ports", containers: 1, ports: 100 },
    Size { name: "100 containers", containers: 100, ports: 1 },
];

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// docker0, what is plugged into it, and its IPv4 rules: no docker-proxy, no resolver, no process.
    Networks(Backend),
    /// All that lane kernel makes.
    Whole,
}

pub(crate) const EXTENTS: [(Extent, &str); 3] = [
    (Extent::Networks(Backend::Nft), "networks, nft"),
    (Extent::Networks(Backend::Iptables), "networks, iptables"),
    (Extent::Whole, "whole containers"),
];

/// What is to be made of a project.
pub(crate) fn plan(size: Size, extent: Extent) -> Plan {
    let mut text = "name: shop\nservices:\n".to_owned();
    for n in 0..size.containers {
        let ports: Vec<String> = (0..size.ports).map(|port| format!("'{}:80'", 8000 + n + port)).collect();
        writeln!(text, "  web{n}: {{ image: x, network_mode: bridge, ports: [ {} ] }}", ports.join(", "))
            .unwrap();
    }
    let path = PathBuf::from("compose.yaml");
    let files = BTreeMap::from([(path.clone(), text)]);
    let project = compose::read(&[path], &files, &compose::Options::default()).unwrap();
    let mut plan = plan::plan(&trial::assume(project, Engine::NEWEST).unwrap()).unwrap();
    if let Extent::Networks(backend) = extent {
        plan.items.retain(of_networks);
        for item in &mut plan.items {
            if let Object::Rules(rules) = &mut item.object {
                Arc::make_mut(rules).backend = backend;
            }
        }
    }
    plan
}

/// Whether it is of the containers' networks: the wire to other machines is not.
fn of_networks(item: &Item) -> bool {
    let outside = matches!(item.ns.as_str(), "wire" | "lan");
    !outside
        && match &item.object {
            Object::Namespace(namespace) => matches!(namespace, Namespace::Network),
            Object::Link(link) => item.ns != host() || link.name.as_str() != "eth0",
            Object::Address(address) => item.ns != host() || address.link.as_str() != "eth0",
            Object::Up(link) => item.ns != host() || link.as_str() != "eth0",
            Object::Route(_) => item.ns != host(),
            Object::Rules(rules) => rules.family == Family::V4,
            Object::Script(_) => false,
            Object::Sysctl(sysctl) => sysctl.key.starts_with("net."),
            Object::BridgePort(_) | Object::Neighbour(_) | Object::PolicyRule(_) => true,
            Object::File(_) | Object::Process(_) | Object::Proxy(_) => false,
            Object::Reservation(_) | Object::Resolver(_) | Object::Listener(_) => false,
        }
}

fn host() -> NsName {
    NsName::from("host")
}

/// The host's rules.
pub(crate) fn rules(plan: &Plan) -> &Ruleset {
    let rules = plan.items.iter().find_map(|item| {
        let Object::Rules(rules) = &item.object else { return None };
        Some(rules)
    });
    rules.unwrap()
}

/// The operations that make it: first those of the host, then those of each container.
pub(crate) fn parts(plan: Plan) -> Vec<Vec<PlanOp>> {
    let mut parts = vec![Vec::new()];
    for item in plan.items {
        let begins = matches!(item.object, Object::Namespace(Namespace::Network)) && item.ns != host();
        if begins {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(PlanOp::Add(item));
    }
    parts
}
