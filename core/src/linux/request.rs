//! What a stage is asked by its caller, and what it answers: one JSON document a line.

use serde::{Deserialize, Serialize};

use super::Error;
use super::observe::Observed;
use crate::addr::IfName;
use crate::plan::{NsName, PlanOp};
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
    /// Answer when so many milliseconds have passed.
    WaitMs(u64),
    /// Run in each container the program that it is there for.
    Run,
    /// Outlive the caller, and let others in by the door: a lab is up.
    Detach,
}

/// What a stage answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done, or so it is.
    Done,
    /// What came of a question.
    Outcome(Outcome),
    /// What stands.
    Observed(Box<Observed>),
    /// It is otherwise, and how.
    Otherwise(String),
    /// It could not be done.
    Failed(Error),
}
