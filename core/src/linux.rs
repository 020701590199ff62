//! Carries a plan out on this machine's kernel, in namespaces of its own. It decides nothing.
//!
//! ```text
//!  caller ── requests ──▶ stage ── orders ──▶ agent, agent, …
//!  (cli, vmtests)         PID 1 of it all     one a node: its first process
//! ```
//!
//! * [`error`]: what could not be done, with which object, why, and what the user can do.
//! * `frame`: Ethernet frames as they are.
//! * [`net`]: network objects, made over netlink.
//! * [`space`]: namespaces, held by descriptor and entered for a moment.
//! * [`agent`]: listens and asks, in the namespaces of a node.
//! * [`order`]: what an agent is asked, and what it answers.
//! * [`proxy`]: docker-proxy, and ports that are held without one.
//! * [`resolver`]: the resolver on 127.0.0.11.
//! * [`service`]: what runs until it is dropped, as those do.
//!
//! *Architecture invariant*: the stage and the agents have one thread each. Namespaces belong to threads
//! (man 2 setns), and a process with one thread is in the namespace it says it is in.

pub mod agent;
pub mod error;
mod frame;
pub mod net;
pub mod order;
pub mod proxy;
pub mod resolver;
pub mod service;
mod socket;
pub mod space;

pub use error::Error;
