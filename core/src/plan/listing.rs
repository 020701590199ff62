//! What stands, as `docker network ls` and `docker ps` list it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::container::Ctr;
use super::dockerd::Dockerd;
use super::ids::{Seed, short};
use super::planner::Planner;
use crate::addr::Transport;
use crate::topology::{Driver, NodeName};

/// A network that an Engine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedNetwork {
    /// The first 12 digits of its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its driver; `null` where there is no network.
    pub driver: String,
}

/// A port of a container: published, or only exposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPort {
    /// Where the host has it; none where it does not.
    pub host: Option<SocketAddr>,
    /// The container's port.
    pub port: u16,
    /// The protocol.
    pub transport: Transport,
}

impl Planner {
    /// The networks of each Engine, the three that all have among them, in the order of their names.
    #[must_use]
    pub fn networks(&self) -> BTreeMap<NodeName, Vec<ListedNetwork>> {
        self.engines.iter().map(|engine| (engine.host.name.clone(), engine.listed_networks())).collect()
    }

    /// The ports of each container that runs.
    #[must_use]
    pub fn ports(&self) -> BTreeMap<NodeName, Vec<ListedPort>> {
        let running = self.engines.iter().flat_map(|engine| &engine.containers).filter(|c| c.is_running());
        running.map(|ctr| (ctr.node().clone(), listed_ports(ctr))).collect()
    }
}

impl Dockerd {
    fn listed_networks(&self) -> Vec<ListedNetwork> {
        let listed = |id: &str, name: &str, driver: &str| ListedNetwork {
            id: short(id),
            name: name.to_owned(),
            driver: driver.to_owned(),
        };
        // These two are nothing that a plan would mention.
        let own = [("host", "host"), ("none", "null")].map(|(name, driver)| {
            listed(&Seed::of(&["network", self.host.name.as_str(), name]).id(), name, driver)
        });
        let made = self.made.iter().filter_map(|key| self.networks.get(key));
        let made = made.map(|net| listed(&net.id, &net.spec.name, driver(&net.spec.driver)));
        let mut all: Vec<ListedNetwork> = own.into_iter().chain(made).collect();
        all.sort_by_key(|network| natural(&network.name));
        all
    }
}

const fn driver(driver: &Driver) -> &'static str {
    match driver {
        Driver::Bridge(_) => "bridge",
        Driver::Macvlan(_) => "macvlan",
        Driver::Ipvlan(_) => "ipvlan",
        Driver::Host => "host",
        Driver::None => "null",
    }
}

/// What a name is sorted by: numbers by value (github.com/fvbommel/sortorder, NaturalLess).
fn natural(name: &str) -> Vec<(String, u128, usize)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let words = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(words);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        // More digits than this can count are in no name of a network.
        let value = if number.is_empty() { 0 } else { number.parse().unwrap_or(u128::MAX) };
        parts.push((text.to_owned(), value, number.len()));
        rest = after;
    }
    parts
}

/// What is published, and what is exposed beside it.
fn listed_ports(ctr: &Ctr) -> Vec<ListedPort> {
    let bindings = ctr.endpoints.iter().flat_map(|endpoint| &endpoint.bindings);
    let mut ports: Vec<ListedPort> = bindings
        .map(|b| ListedPort {
            host: b.is_nat().then_some(b.host),
            port: b.container.port(),
            transport: b.transport,
        })
        .collect();
    // A routed port has no host port in either family.
    ports.dedup();
    let published = ctr.spec.ports.iter().map(|p| (p.transport, p.container_ports));
    let exposed = ctr.spec.expose.iter().copied().chain(published);
    for (transport, port) in exposed.flat_map(|(transport, range)| range.ports().map(move |p| (transport, p)))
    {
        if !ports.iter().any(|p| (p.transport, p.port) == (transport, port)) {
            ports.push(ListedPort { host: None, port, transport });
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = ["net10", "none", "net9", "host", "net-a", "bridge", "net"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["bridge", "host", "net", "net9", "net10", "net-a", "none"]);
    }
}
