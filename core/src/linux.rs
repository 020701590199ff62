//! Carries a plan out on this machine's kernel, in namespaces of its own. It decides nothing.
//!
//! ```text
//!  caller ── requests ──▶ stage ── orders ──▶ agent, agent, …
//!  (cli, vmtests)         PID 1 of it all     one a node: its first process
//! ```
//!
//! * [`entry`]: one program that is the caller, the stage and every agent, by the name it was called with.
//! * [`error`]: what could not be done, with which object, why, and what the user can do.
//! * `frame`: Ethernet frames as they are.
//! * [`net`]: network objects, made over netlink.
//! * [`space`]: namespaces, held by descriptor and entered for a moment.
//! * [`keeper`]: a user namespace, and the maker of namespaces that belong to it.
//! * [`process`]: a node's first process, as the stage starts and ends it.
//! * [`node`]: the same process from within: its namespaces, its root, its rights.
//! * [`agent`]: listens and asks, in the namespaces of a node.
//! * [`order`]: what an agent is asked, and what it answers.
//! * [`proxy`]: docker-proxy, and ports that are held without one.
//! * [`resolver`]: the resolver on 127.0.0.11.
//! * [`service`]: what runs until it is dropped, as those do.
//! * [`pass`]: descriptors go from one process to another.
//!
//! *Architecture invariant*: the stage and the agents have one thread each. Namespaces belong to threads
//! (man 2 setns), and a process with one thread is in the namespace it says it is in.

pub mod agent;
pub mod entry;
pub mod error;
mod frame;
pub mod keeper;
pub mod net;
pub mod node;
pub mod order;
pub mod proxy;
pub mod resolver;
pub mod service;
mod socket;
pub mod pass;
pub mod process;
pub mod space;

pub use entry::entry;
pub use error::Error;
