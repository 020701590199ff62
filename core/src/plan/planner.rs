//! The planner: a topology's Engines, and the list of objects that their state comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::apart::machine_names;
use super::container::Ctr;
use super::dockerd::Dockerd;
use super::objects::listener;
use super::{Item, Link, LinkKind, Namespace, NsName, Object, Plan, nodes, wire};
use crate::addr::IfName;
use crate::diagnostic::Diagnostics;
use crate::rules::Ruleset;
use crate::rules::nft::Script;
use crate::topology::{Host, NodeName, Topology};

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
        items.extend(script(host).map(|(ns, script)| Item { ns, object: Object::Script(script.into()) }));
        items.extend(rules.map(|r| wire::item(host.name.as_str(), Object::Rules(r.clone().into()))));
    }
    Plan { items }
}

/// What nft was given on a host before its Engine came.
pub(super) fn script(host: &Host) -> Option<(NsName, Script)> {
    Some((NsName::from(&host.name), host.machine.nft.clone()?))
}

/// Whether a network namespace is there.
pub(super) fn stands(items: &[Item], ns: &NsName) -> bool {
    items.iter().any(|item| item.ns == *ns && matches!(item.object, Object::Namespace(Namespace::Network)))
}

/// The planner as a state machine: which address is free and which rule stands first are matters of history.
#[derive(Debug, Clone)]
pub struct Planner {
    pub(super) topology: Topology,
    pub(super) engines: Vec<Dockerd>,
    /// Rules that were written by hand on machines without an Engine.
    pub(super) rules: BTreeMap<NodeName, Vec<Ruleset>>,
    /// What nft has been given, by network namespace.
    pub(super) scripts: BTreeMap<NsName, Script>,
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
        let (rules, off) = (BTreeMap::new(), BTreeSet::new());
        let scripts = topology.hosts.iter().filter_map(script).collect();
        let planner = Self { topology: topology.clone(), engines, rules, scripts, off };
        diagnostics.extend(nodes::check(topology, &planner.engines));
        let plan = planner.plan();
        diagnostics.into_result((planner, plan))
    }

    /// Everything that stands now.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut items = wire::items(&self.topology);
        let is_machine =
            |ns: &NsName| machine_names(&self.topology).any(|machine| NsName::from(machine) == *ns);
        items.extend(self.script_items().filter(|item| is_machine(&item.ns)));
        for (machine, rules) in &self.rules {
            items.extend(rules.iter().map(|r| wire::item(machine.as_str(), Object::Rules(r.clone().into()))));
        }
        items.extend(self.engines.iter().flat_map(Dockerd::items));
        // A process of a machine may listen on an address that only Docker's bridge has.
        for machine in machine_names(&self.topology) {
            let own = self.topology.listeners.iter().filter(|l| l.node == *machine);
            items.extend(own.map(|l| listener(machine.as_str(), l)));
        }
        let of_containers =
            self.script_items().filter(|item| !is_machine(&item.ns) && stands(&items, &item.ns));
        items.extend(of_containers.collect::<Vec<_>>());
        self.switch_off(&mut items);
        Plan { items }
    }

    fn script_items(&self) -> impl Iterator<Item = Item> {
        let script = |(ns, script): (&NsName, &Script)| Item {
            ns: ns.clone(),
            object: Object::Script(Arc::new(script.clone())),
        };
        self.scripts.iter().map(script)
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
