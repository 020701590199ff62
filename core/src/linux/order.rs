//! What an agent is asked by the stage, and what it answers: one JSON document a line, over a socket pair.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::addr::{Family, MacAddr};
use crate::plan::Listener;
use crate::probe::{Outcome, Probe};
use crate::topology::Program;

/// An order or a reply with the number that brings the two together: replies come in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// The number.
    pub id: u64,
    /// What is said.
    pub what: T,
}

/// What an agent is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Answer questions on a port from now on.
    Listen(Listener),
    /// Listen there no longer.
    Unlisten(Listener),
    /// Ask a question that no other carries the number of.
    Ask {
        /// The number: only an answer that repeats it counts.
        nonce: u64,
        /// The question.
        probe: Probe,
        /// Of a crafted frame: the MAC address that it is sent to, as the plan has it.
        #[serde(default)]
        via: Option<MacAddr>,
    },
    /// Run the program that the container is there for, and end when it does.
    Run(Program),
    /// Ask libc for the addresses of a name.
    Resolve {
        /// The name.
        name: String,
        /// Only addresses of this family.
        family: Option<Family>,
    },
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// What came of a question. Of an echo the agent cannot know who answered it: `reaches` then names the agent's own
    /// node, and the stage says who saw the request.
    Outcome(Outcome),
    /// Addresses, in the order in which libc gave them.
    Addresses(Vec<IpAddr>),
    /// It could not be done.
    Failed(Error),
}
