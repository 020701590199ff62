//! The planner: a topology's Engines, and the list of objects that their state comes to.

use std::collections::BTreeMap;

use super::dockerd::Dockerd;
use super::objects::listener;
use super::{Object, Plan, nodes, wire};
use crate::diagnostic::Diagnostics;
use crate::rules::Ruleset;
use crate::topology::{NodeName, Topology};

/// Plans a topology: every object, in the order it is made.
///
/// # Errors
/// What Docker would refuse, at the place the user wrote, in Docker's own words.
pub fn plan(topology: &Topology) -> Result<Plan, Diagnostics> {
    Planner::new(topology).map(|(_, plan)| plan)
}

/// The planner as a state machine: which address is free and which rule stands first are matters of history.
#[derive(Debug, Clone)]
pub struct Planner {
    pub(super) topology: Topology,
    pub(super) engines: Vec<Dockerd>,
    /// Rules that were written by hand on machines without an Engine.
    pub(super) rules: BTreeMap<NodeName, Vec<Ruleset>>,
}

impl Planner {
    /// Starts every Engine of a topology, with the plan that comes of it.
    ///
    /// # Errors
    /// What Docker would refuse, at the place the user wrote, in Docker's own words.
    pub fn new(topology: &Topology) -> Result<(Self, Plan), Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let start = |host| Dockerd::start(host, &topology.listeners, &mut diagnostics);
        let engines = topology.hosts.iter().map(start).collect();
        let planner = Self { topology: topology.clone(), engines, rules: BTreeMap::new() };
        diagnostics.extend(nodes::check(topology, &planner.engines));
        let plan = planner.plan();
        diagnostics.into_result((planner, plan))
    }

    /// Everything that stands now.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut items = wire::items(&self.topology);
        for (machine, rules) in &self.rules {
            items.extend(rules.iter().map(|r| wire::item(machine.as_str(), Object::Rules(r.clone()))));
        }
        items.extend(self.engines.iter().flat_map(Dockerd::items));
        // A process of a machine may listen on an address that only Docker's bridge has.
        let machines =
            self.topology.hosts.iter().map(|h| &h.name).chain(self.topology.lan.iter().map(|l| &l.name));
        for machine in machines {
            let own = self.topology.listeners.iter().filter(|l| l.node == *machine);
            items.extend(own.map(|l| listener(machine.as_str(), l)));
        }
        Plan { items }
    }
}
