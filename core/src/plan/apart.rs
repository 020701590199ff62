//! A plan in parts: what there is on each machine, where machines do not stand on one stage.

use std::collections::BTreeMap;

use super::wire::WIRE;
use super::{Item, NsName, Plan, PlanOp};
use crate::topology::{NodeName, Topology};

/// The machines of a topology: Docker hosts, and then those of the LAN.
pub fn machine_names(topology: &Topology) -> impl Iterator<Item = &NodeName> {
    let hosts = topology.hosts.iter().map(|host| &host.name);
    hosts.chain(topology.lan.iter().map(|machine| &machine.name))
}

/// The machine that a namespace is on; none for that of the switch between them.
#[must_use]
pub fn machine_of(topology: &Topology, ns: &NsName) -> Option<NodeName> {
    let node = NodeName::from(ns.as_str());
    let own = machine_names(topology).any(|name| *name == node);
    (ns.as_str() != WIRE).then(|| if own { node } else { node.machine() })
}

/// What of a plan is on each machine.
#[must_use]
pub fn parts(topology: &Topology, plan: &Plan) -> BTreeMap<NodeName, Plan> {
    let mut parts: BTreeMap<NodeName, Plan> =
        machine_names(topology).map(|name| (name.clone(), Plan::default())).collect();
    for item in &plan.items {
        let part = machine_of(topology, &item.ns).and_then(|name| parts.get_mut(&name));
        part.into_iter().for_each(|part| part.items.push(item.clone()));
    }
    parts
}

/// Which operations are for each machine, in their order.
#[must_use]
pub fn operations_of(topology: &Topology, operations: Vec<PlanOp>) -> BTreeMap<NodeName, Vec<PlanOp>> {
    let mut parts = BTreeMap::<_, Vec<_>>::new();
    for operation in operations {
        if let Some(name) = machine_of(topology, ns(&operation)) {
            parts.entry(name).or_default().push(operation);
        }
    }
    parts
}

/// Where an operation is carried out.
const fn ns(operation: &PlanOp) -> &NsName {
    match operation {
        PlanOp::Add(Item { ns, .. }) | PlanOp::Remove(Item { ns, .. }) | PlanOp::Replace(Item { ns, .. }) => {
            ns
        }
        PlanOp::FlushConntrack { ns, .. } | PlanOp::FlushConntrackPort { ns, .. } => ns,
        PlanOp::Announce { ns, .. } => ns,
    }
}
