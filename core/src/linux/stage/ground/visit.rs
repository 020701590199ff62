//! What a lab's callers see of the ground, and where they are let in.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::{Actor, Ground};
use crate::linux::Error;
use crate::linux::node::user::{self, User};
use crate::linux::observe::{First, Observed, View, observe};
use crate::linux::space::Space;
use crate::linux::stage::door::Standing;
use crate::plan::{NsName, Process};
use crate::probe::NsKind;
use crate::topology::NodeName;

/// A node's process, whom its programs run as, and its namespaces.
type Way = (Process, User, Vec<Rc<Space>>);

impl Ground {
    /// How each node is.
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub(in crate::linux::stage) fn standings(&self) -> Result<Vec<Standing>, Error> {
        self.nodes.values().map(Actor::standing).collect()
    }

    /// What stands, as the kernel tells it; with these settings among it.
    ///
    /// # Errors
    /// What could not be looked at.
    pub(in crate::linux::stage) fn observed(
        &self,
        settings: Vec<(NsName, String)>,
    ) -> Result<Observed, Error> {
        let spaces = self.spaces.iter().map(|((_, ns), space)| (ns.clone(), space.as_ref())).collect();
        let first = |actor: &Actor| First {
            node: actor.process.node.clone(),
            container: actor.process.container.clone(),
            pid: actor.node.pid(),
        };
        let nodes = self.nodes.values().map(first).collect();
        observe(&View { spaces, settings, nodes, wired: false })
    }

    /// The namespaces of a node: first the stage's own of users, from which there is a right to all others, and that of
    /// the node's users last.
    ///
    /// # Errors
    /// Where there is no such node, or its process has ended.
    pub(in crate::linux::stage) fn entry(&self, node: &NodeName) -> Result<Way, Error> {
        let actor = self.actor(node)?;
        if actor.node.has_exited()? {
            return Err(Error::words("enter", node.as_str(), "its process has ended"));
        }
        let stage = Space::current(NsKind::User).map_err(|e| Error::new("enter", node.as_str(), &e))?;
        let mut spaces = vec![Rc::new(stage)];
        let (users, others): (Vec<_>, Vec<_>) =
            actor.process.namespaces.iter().partition(|(kind, _)| **kind == NsKind::User);
        for (kind, ns) in others.into_iter().chain(users) {
            spaces.push(Rc::clone(self.space(*kind, ns)?));
        }
        let root = PathBuf::from(format!("/proc/{}/root", actor.node.pid()));
        let user = user::below(&root, actor.process.user.as_deref());
        let user = user.map_err(|e| Error::words("enter", node.as_str(), e))?;
        Ok((actor.process.clone(), user, spaces))
    }
}

impl Actor {
    fn standing(&self) -> Result<Standing, Error> {
        let exited = self.node.has_exited()?;
        let pid = self.node.pid();
        Ok(Standing {
            node: self.process.node.clone(),
            container: self.process.container.clone(),
            // Between the two looks it may have ended too.
            pid: if exited { None } else { on_its_machine(pid).ok().flatten() },
            status: if exited { self.node.status() } else { None },
        })
    }
}

/// A process's number on its machine, by its number here: of its numbers, one for each PID namespace it is seen in, the
/// first is that of this one, and the next that of the machine's (man 5 proc_pid_status, NSpid).
fn on_its_machine(pid: u32) -> io::Result<Option<u32>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    Ok(numbers.and_then(|numbers| numbers.split_whitespace().nth(1)?.parse().ok()))
}
