//! The planner: a topology's Engines, and the list of objects that their state comes to.

use std::collections::{BTreeMap, BTreeSet};

use super::container::Ctr;
use super::dockerd::Dockerd;
use super::objects::listener;
use super::{Item, Link, LinkKind, NsName, Object, Plan, nodes, wire};
use crate::addr::IfName;
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

/// Plans the machines of a topology and the wire between them, as they are before any Engine starts: without what listens
/// on them.
#[must_use]
pub fn machines(topology: &Topology) -> Plan {
    let mut items = wire::items(topology);
    for host in &topology.hosts {
        let rules = host.machine.firewall.iter();
        items.extend(rules.map(|r| wire::item(host.name.as_str(), Object::Rules(r.clone().into()))));
    }
    Plan { items }
}

/// The planner as a state machine: which address is free and which rule stands first are matters of history.
#[derive(Debug, Clone)]
pub struct Planner {
    pub(super) topology: Topology,
    pub(super) engines: Vec<Dockerd>,
    /// Rules that were written by hand on machines without an Engine.
    pub(super) rules: BTreeMap<NodeName, Vec<Ruleset>>,
    /// Hosts that are switched off.
    pub(super) off: BTreeSet<NodeName>,
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
        let planner =
            Self { topology: topology.clone(), engines, rules: BTreeMap::new(), off: BTreeSet::new() };
        diagnostics.extend(nodes::check(topology, &planner.engines));
        let plan = planner.plan();
        diagnostics.into_result((planner, plan))
    }

    /// Everything that stands now.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut items = wire::items(&self.topology);
        for (machine, rules) in &self.rules {
            items.extend(rules.iter().map(|r| wire::item(machine.as_str(), Object::Rules(r.clone().into()))));
        }
        items.extend(self.engines.iter().flat_map(Dockerd::items));
        // A process of a machine may listen on an address that only Docker's bridge has.
        let machines =
            self.topology.hosts.iter().map(|h| &h.name).chain(self.topology.lan.iter().map(|l| &l.name));
        for machine in machines {
            let own = self.topology.listeners.iter().filter(|l| l.node == *machine);
            items.extend(own.map(|l| listener(machine.as_str(), l)));
        }
        self.switch_off(&mut items);
        Plan { items }
    }

    /// Leaves out the hosts that are off: their namespaces, their containers' and their cables.
    fn switch_off(&self, items: &mut Vec<Item>) {
        if self.off.is_empty() {
            return;
        }
        let engines = self.engines.iter().filter(|e| self.off.contains(&e.host.name));
        let nodes = engines.flat_map(|e| e.containers.iter().map(Ctr::node).chain([&e.host.name]));
        let spaces: BTreeSet<NsName> = nodes.map(NsName::from).collect();
        let plug = |item: &Item| {
            let Object::Link(Link { kind: LinkKind::Veth(peer), .. }) = &item.object else { return None };
            spaces.contains(&item.ns).then(|| (peer.ns.clone(), peer.name.clone()))
        };
        let plugs: BTreeSet<(NsName, IfName)> = items.iter().filter_map(plug).collect();
        items.retain(|item| {
            let unplugged =
                matches!(&item.object, Object::Up(end) if plugs.contains(&(item.ns.clone(), end.clone())));
            !spaces.contains(&item.ns) && !unplugged
        });
    }
}
