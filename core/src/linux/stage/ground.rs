//! All that stands on a stage, by the names of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::agent::Agent;
use crate::addr::IfName;
use crate::linux::Error;
use crate::linux::echo::Echoes;
use crate::linux::keeper::Keeper;
use crate::linux::net::Net;
use crate::linux::order::Order;
use crate::linux::process::Node;
use crate::linux::space::Space;
use crate::plan::{Item, MountRoot, NsName, Object, PlanOp, Process, Sysctl};
use crate::probe::{Fault, NsKind};
use crate::topology::NodeName;

mod admit;
mod ask;
pub(in crate::linux) mod daemon;
pub(super) mod fact;
mod make;
mod rules;
mod service;
mod space;
mod unmake;
mod visit;
mod wire;
mod witness;

use daemon::Running;
use rules::Writing;
use service::Service;

/// What there is, and what holds it.
#[derive(Default)]
pub(super) struct Ground {
    /// The user namespace that each namespace belongs to: that of the process that runs in it.
    owners: BTreeMap<(NsKind, NsName), NsName>,
    keepers: BTreeMap<NsName, Keeper>,
    spaces: BTreeMap<(NsKind, NsName), Rc<Space>>,
    nets: BTreeMap<NsName, Net>,
    /// What each new network namespace has of this machine's settings, with the values it is to have.
    inherited: Option<Vec<Sysctl>>,
    echoes: BTreeMap<NsName, Rc<Echoes>>,
    roots: BTreeMap<NsName, MountRoot>,
    nodes: BTreeMap<NodeName, Actor>,
    /// Devices and addresses, in the order they were made.
    standing: Vec<Item>,
    services: BTreeMap<(NsName, String), Service>,
    writing: BTreeMap<NsName, Writing>,
    /// What nft has been given as text, by namespace.
    scripts: BTreeMap<NsName, String>,
    /// The Docker Engine that runs here.
    daemon: Option<Running>,
    /// How many questions have been asked: the number of the last.
    asked: u64,
    /// Devices and addresses of machines on other stages of the same wire, where there are others.
    beyond: Option<Vec<Item>>,
}

/// A node that runs.
struct Actor {
    node: Node,
    agent: Rc<Agent>,
    network: NsName,
    process: Process,
}

impl Ground {
    /// Carries operations out, one after another; only rules are written while other objects are made.
    ///
    /// # Errors
    /// The first that could not be; those before it stand.
    pub(super) async fn apply(&mut self, operations: &[PlanOp]) -> Result<(), Error> {
        self.note_owners(operations);
        let done = self.carry_out(operations).await;
        let written = self.end_rules().await;
        done.and(written)
    }

    async fn carry_out(&mut self, operations: &[PlanOp]) -> Result<(), Error> {
        for operation in operations {
            if !matches!(operation, PlanOp::Add(_)) {
                self.end_rules().await?;
            }
            match operation {
                PlanOp::Add(item) => self.add(&item.ns, &item.object).await?,
                PlanOp::Remove(item) => self.remove(&item.ns, &item.object).await?,
                PlanOp::Replace(item) => self.replace(&item.ns, &item.object).await?,
                PlanOp::FlushConntrack { ns, address } => self.net(ns)?.flush(*address)?,
                PlanOp::FlushConntrackPort { ns, transport, port } => {
                    self.net(ns)?.flush_port(*transport, *port)?;
                }
                PlanOp::Announce { ns, link, address } => self.net(ns)?.announce(link, *address)?,
            }
        }
        self.settle(operations).await
    }

    /// Runs in each container the program that it is there for, in the order of their names.
    ///
    /// # Errors
    /// The first that cannot be run.
    pub(super) async fn run(&self) -> Result<(), Error> {
        for actor in self.nodes.values() {
            if let Some(program) = &actor.process.program {
                actor.agent.order(Order::Run(program.clone())).await?;
            }
        }
        Ok(())
    }

    /// Does something to the wire of a node's device.
    pub(super) fn fault(&self, node: &NodeName, device: &IfName, fault: Fault) -> Result<(), Error> {
        let ns = self.nodes.get(node).map_or_else(|| NsName::from(node), |actor| actor.network.clone());
        self.net(&ns)?.fault(device, fault)
    }

    /// A namespace is made before the processes that run in it, and belongs to the users of the first of them: whose it
    /// will be is read ahead.
    fn note_owners(&mut self, operations: &[PlanOp]) {
        let mut made = BTreeSet::new();
        for operation in operations {
            let PlanOp::Add(Item { ns, object }) = operation else { continue };
            if let Object::Namespace(namespace) = object {
                made.insert((namespace.kind(), ns.clone()));
            }
            let Object::Process(process) = object else { continue };
            let Some(user) = process.namespaces.get(&NsKind::User) else { continue };
            for (kind, name) in &process.namespaces {
                if made.remove(&(*kind, name.clone())) {
                    self.owners.insert((*kind, name.clone()), user.clone());
                }
            }
        }
    }

    fn net(&self, ns: &NsName) -> Result<&Net, Error> {
        self.nets.get(ns).ok_or_else(|| absent(NsKind::Network, ns))
    }

    fn space(&self, kind: NsKind, ns: &NsName) -> Result<&Rc<Space>, Error> {
        self.spaces.get(&(kind, ns.clone())).ok_or_else(|| absent(kind, ns))
    }

    fn actor(&self, node: &NodeName) -> Result<&Actor, Error> {
        self.nodes.get(node).ok_or_else(|| Error::words("find", node.as_str(), "no process of it runs"))
    }
}

fn absent(kind: NsKind, ns: &NsName) -> Error {
    Error::words("find", format!("{kind} namespace {ns}"), "it has not been made")
}
