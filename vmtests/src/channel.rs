//! What a virtual machine's first process is told, and what it says: one JSON document a line.

use std::time::Duration;

use seatrial_core::linux::Error;
use seatrial_core::linux::request::{Among, Answer, Request};
use seatrial_core::plan::{Plan, PlanOp};
use serde::{Deserialize, Serialize};

/// The name of the virtio port (/sys/class/virtio-ports/*/name).
pub(crate) const PORT: &str = "seatrial";

/// What the guest is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// It has been restored. It says again what it is.
    Wake(Wake),
    /// Something is to be done with a stage; the host numbers them.
    Stage { stage: u64, what: What },
    /// A program is to be run, the only one there is.
    Run(Run),
    /// What it reads; nothing where that has ended.
    Input(Vec<u8>),
}

/// What a restored machine cannot know by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wake {
    /// The time since 1970, UTC.
    pub(crate) now: Duration,
    /// Chance: whatever was restored of the same machine has the same without it.
    pub(crate) seed: [u8; 32],
}

/// A program that is run in a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// The terminal that it has: its name, rows and columns.
    pub(crate) terminal: Option<(String, u16, u16)>,
    /// Whether there is a disk for it, and whether it may write to it.
    pub(crate) disk: Option<bool>,
}

/// What is to be done with a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// A stage is launched, and the plan set on it; where it is one of several on one wire, with the machine's NICs in its
    /// hands.
    Set { plan: Plan, among: Option<Among> },
    /// Operations are carried out.
    Apply(Vec<PlanOp>),
    /// Questions are asked at one time.
    Ask(Vec<Request>),
    /// The stage ends. Nothing is said to that.
    End,
}

impl What {
    /// How long it takes at least, since it is to wait.
    pub(crate) fn waits(&self) -> Duration {
        let wait = |request: &Request| if let Request::WaitMs(ms) = request { *ms } else { 0 };
        match self {
            Self::Ask(requests) => Duration::from_millis(requests.iter().map(wait).sum()),
            Self::Set { .. } | Self::Apply(_) | Self::End => Duration::ZERO,
        }
    }
}

/// What the guest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// It has come up.
    Ready(Hello),
    /// What came of an order: the answers to questions, nothing for other orders.
    Said { stage: u64, said: Result<Vec<Answer>, Error> },
    /// What the program writes.
    Output(Vec<u8>),
    /// The program has ended, with this status as a shell has it; or it could not be run.
    Ended(Result<u8, String>),
}

/// What a guest is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The kernel's release: `6.12.118+deb13-cloud-amd64`.
    pub(crate) release: String,
    /// Modules that would not be loaded, each with the kernel's word.
    pub(crate) refused: Vec<String>,
    /// What no two machines have alike.
    pub(crate) own: Option<Own>,
}

/// What a guest has of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Own {
    /// Its clock: the time since 1970, UTC.
    pub(crate) now: Duration,
    /// Some bytes of chance.
    pub(crate) chance: [u8; 16],
}
