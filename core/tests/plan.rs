//! What a topology is planned as.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of object")]

use seatrial_core::plan::{Object, Plan, plan};
use seatrial_core::topology::Topology;

use crate::topologies::{container, network, publish, topology};

#[path = "plan/changes.rs"]
mod changes;
#[path = "plan/pools.rs"]
mod pools;
#[path = "plan/properties.rs"]
mod properties;
#[path = "plan/topologies.rs"]
mod topologies;

fn web_and_db() -> Topology {
    let mut web = container("web", &["default"]);
    web.ports = vec![publish("8080:80")];
    topology(vec![network("default")], vec![web, container("db", &["default"])])
}

/// The addresses of a namespace, each with its device.
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
    let plan = plan(&web_and_db()).unwrap();
    assert_eq!(addresses(&plan, "web"), ["eth0 172.18.0.2/16"]);
    assert_eq!(addresses(&plan, "db"), ["eth0 172.18.0.3/16"]);
    let host = addresses(&plan, "host");
    assert_eq!(host[..2], ["eth0 203.0.113.10/24", "docker0 172.17.0.1/16"]);
    assert!(host[2].starts_with("br-") && host[2].ends_with(" 172.18.0.1/16"), "{host:?}");
}

#[test]
fn a_published_port_has_a_proxy_for_each_family() {
    let plan = plan(&web_and_db()).unwrap();
    let proxies = plan.items.iter().filter_map(|i| {
        let Object::Proxy(p) = &i.object else { return None };
        Some(format!("{} -> {}", p.listen, p.connect))
    });
    let expected = ["0.0.0.0:8080 -> 172.18.0.2:80", "[::]:8080 -> 172.18.0.2:80"];
    assert_eq!(proxies.collect::<Vec<_>>(), expected);
}

#[test]
fn the_resolver_knows_every_container_of_the_network() {
    let plan = plan(&web_and_db()).unwrap();
    let resolver = plan.items.iter().find_map(|i| {
        let Object::Resolver(r) = &i.object else { return None };
        (i.ns.as_str() == "web").then_some(r)
    });
    let zone = &resolver.unwrap().zone.names;
    let db: Vec<String> = zone["db"].iter().map(ToString::to_string).collect();
    assert_eq!(db, ["172.18.0.3"]);
    assert_eq!(zone["demo-db-1.demo_default"], zone["db"]);
}
