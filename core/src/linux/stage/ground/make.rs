//! Objects are made.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::{Actor, Ground};
use crate::linux::order::Order;
use crate::linux::process::{self, Start};
use crate::linux::rules::Before;
use crate::linux::stage::agent::Agent;
use crate::linux::{Error, files, sysctl};
use crate::plan::{NsName, Object, Process};
use crate::probe::NsKind;
use crate::topology::NodeName;

/// This program, which is every agent too.
const PROGRAM: &str = "/proc/self/exe";

impl Ground {
    /// Makes one object.
    pub(super) async fn add(&mut self, ns: &NsName, object: &Object) -> Result<(), Error> {
        match object {
            Object::Namespace(namespace) => self.make_namespace(ns, namespace),
            Object::Link(link) if self.leads_out(link) => {
                self.net(ns)?.adopt(link)?;
                self.note(ns, object);
                Ok(())
            }
            Object::Link(_)
            | Object::BridgePort(_)
            | Object::Address(_)
            | Object::Up(_)
            | Object::Route(_)
            | Object::PolicyRule(_)
            | Object::Neighbour(_) => {
                self.net(ns)?.add(object, |ns| self.nets.get(ns))?;
                self.note(ns, object);
                Ok(())
            }
            Object::Sysctl(setting) => {
                let kind = if setting.key.starts_with("net.") { NsKind::Network } else { NsKind::Ipc };
                sysctl::write(self.space(kind, ns)?, ns.as_str(), setting)
            }
            Object::Rules(ruleset) => self.begin_rules(ns, ruleset, Before::Nothing).await,
            Object::Script(script) => self.begin_script(ns, script).await,
            Object::File(file) => files::write(ns, file),
            Object::Process(process) => self.start(process).await,
            Object::Proxy(_) | Object::Reservation(_) | Object::Resolver(_) => self.serve(ns, object),
            Object::Listener(listener) => {
                self.actor(&listener.node)?.agent.order(Order::Listen(listener.clone())).await.map(|_| ())
            }
        }
    }

    async fn start(&mut self, process: &Process) -> Result<(), Error> {
        let name = |kind| process.namespaces.get(&kind).ok_or_else(|| nowhere(process, kind));
        let (mount, ipc, pid, network) =
            (name(NsKind::Mount)?, name(NsKind::Ipc)?, name(NsKind::Pid)?, name(NsKind::Network)?);
        let mut spaces = BTreeMap::new();
        for (kind, ns) in &process.namespaces {
            match self.spaces.get(&(*kind, ns.clone())) {
                Some(space) => _ = spaces.insert(*kind, space.as_ref()),
                // These two are made with the process.
                None if matches!(kind, NsKind::Mount | NsKind::Pid) => {}
                None => return Err(super::absent(*kind, ns)),
            }
        }
        // A machine has no machine below it.
        let machine = process.container.as_ref().map(|_| NsName::from(&process.node.machine()));
        let root = self.roots.get(mount).ok_or_else(|| super::absent(NsKind::Mount, mount))?;
        let (folder, shm) = (files::folder(mount), files::shm(ipc));
        let start = Start {
            program: Path::new(PROGRAM),
            process,
            spaces,
            pid_parent: machine.and_then(|m| self.spaces.get(&(NsKind::Pid, m))).map(Rc::as_ref),
            root,
            files: &folder,
            shm: shm.exists().then_some(shm.as_path()),
        };
        let mut node = process::start(&start).await?;
        let made: Vec<_> = std::mem::take(&mut node.spaces);
        let agent = Rc::new(Agent::new(&process.node, node.control()?));
        for space in made {
            let ns = if space.kind() == NsKind::Pid { pid } else { mount };
            self.hold(ns, space);
        }
        self.listen_for_echoes(network)?;
        let actor = Actor { node, agent, network: network.clone(), process: process.clone() };
        self.nodes.insert(process.node.clone(), actor);
        Ok(())
    }
}

fn nowhere(process: &Process, kind: NsKind) -> Error {
    let node: &NodeName = &process.node;
    Error::words("start", node.as_str(), format!("the plan gives it no {kind} namespace"))
}
