//! What a stage is asked by its caller, and what it answers: one JSON document a line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;
use super::observe::Observed;
use crate::addr::IfName;
use crate::plan::{Item, NsName, PlanOp, Process};
use crate::probe::{Fact, Fault, Outcome, Probe};
use crate::topology::NodeName;

/// What a stage is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Carry operations out, one after another.
    Apply(Vec<PlanOp>),
    /// Ask a question.
    Ask(Probe),
    /// Say whether something that is no packet holds of a node.
    Fact(NodeName, Fact),
    /// Do something to the wire of a node's device.
    Fault(NodeName, IfName, Fault),
    /// Say what stands; with these settings among it, each of a namespace.
    Observe(Vec<(NsName, String)>),
    /// Know that this stage is one of several on one wire.
    Among(Among),
    /// Say whether an echo request of this number, which an agent of another stage sent, was delivered here.
    Heard(u64),
    /// Answer when so many milliseconds have passed.
    WaitMs(u64),
    /// Run in each container the program that it is there for.
    Run,
    /// Start a Docker Engine on a machine of the stage.
    Daemon(Daemon),
    /// Take a container in that the Engine has started, when its agent calls: from now on it is a node.
    Admit(Process),
    /// Forget a container that the Engine is about to end.
    Dismiss(NodeName),
    /// Run a tool of the Engine's own root in the network namespace of its machine or of a container, as an administrator
    /// would.
    Tool(NodeName, Vec<String>),
    /// Outlive the caller, and let others in by the door: a lab is up.
    Detach,
}

/// What a stage knows of others on the same wire. A cable that leads to no namespace of its own is a device of its own
/// network namespace, of the same name, which somebody puts there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Among {
    /// The number before that of its first question: no other stage's come near.
    pub asked: u64,
    /// Devices of other stages' machines, and their addresses.
    pub beyond: Vec<Item>,
}

/// A Docker Engine, and what it is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// The machine it runs on.
    pub host: NodeName,
    /// The root filesystem that it and its tools are in. Nothing is written there.
    pub root: PathBuf,
    /// Its `/etc/docker/daemon.json`.
    pub config: String,
    /// The cgroup that it makes its own in, below the caller's.
    pub cgroup: PathBuf,
    /// The containers that there will be: each calls at the door of its number.
    pub containers: Vec<NodeName>,
}

/// What a stage answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done, or so it is.
    Done,
    /// What came of a question.
    Outcome(Outcome),
    /// The echo request of this number was delivered nowhere here.
    Unheard(u64),
    /// What stands.
    Observed(Box<Observed>),
    /// It is otherwise, and how.
    Otherwise(String),
    /// It could not be done.
    Failed(Error),
}
