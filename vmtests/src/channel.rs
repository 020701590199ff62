//! What a virtual machine's first process is told, and what it says: one JSON document a line.

use seatrial_core::linux::Error;
use seatrial_core::linux::request::{Answer, Request};
use seatrial_core::plan::{Plan, PlanOp};
use serde::{Deserialize, Serialize};

/// The name of the virtio port (/sys/class/virtio-ports/*/name).
pub(crate) const PORT: &str = "seatrial";

/// What the guest is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) struct Order {
    /// Which stage it is about; the host numbers them.
    pub(crate) stage: u64,
    pub(crate) what: What,
}

/// What is to be done with a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// A stage is launched, and the plan set on it.
    Set(Plan),
    /// Operations are carried out.
    Apply(Vec<PlanOp>),
    /// Questions are asked at one time.
    Ask(Vec<Request>),
    /// The stage ends. Nothing is said to that.
    End,
}

/// What the guest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// It has come up.
    Ready(Hello),
    /// What came of an order: the answers to questions, nothing for other orders.
    Said { stage: u64, said: Result<Vec<Answer>, Error> },
}

/// What a guest is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The kernel's release: `6.12.118+deb13-cloud-amd64`.
    pub(crate) release: String,
    /// Modules that would not be loaded, each with the kernel's word.
    pub(crate) refused: Vec<String>,
}
