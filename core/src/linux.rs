//! Carries a plan out on this machine's kernel, in namespaces of its own. It decides nothing.
//!
//! ```text
//!  caller ── requests ──▶ stage ── orders ──▶ agent, agent, …
//!  (cli, vmtests)         PID 1 of it all     one a node: its first process
//! ```
//!
//! * [`mod@entry`]: one program that is the caller, the stage and every agent, by the name it was called with.
//! * [`machine`]: what this machine is and has. [`error`]: what could not be done, why, and what the user can do.
//! * [`stage`]: the process that everything stands on. [`request`]: what it is asked.
//! * [`lab`]: a stage that outlives its caller; [`state`]: where it is found again.
//! * [`space`]: namespaces, held by descriptor and entered for a moment. [`keeper`]: a user namespace, and the makers of
//!   namespaces that belong to it.
//! * [`net`]: network objects, made over netlink. [`rules`], [`sysctl`], [`files`]: objects that are text.
//! * [`observe`]: namespaces read back into a plan.
//! * [`proxy`], [`resolver`]: what Docker serves; [`service`]: what runs until it is dropped, as those do.
//! * [`process`]: a node's first process, as the stage starts and ends it. [`node`]: the same from within: its
//!   namespaces, its root, its rights. [`pass`]: descriptors go from one process to another.
//! * [`agent`]: listens and asks, in the namespaces of a node. [`order`]: what it is asked, and what it answers.
//! * [`echo`]: who was asked for an echo. [`broom`]: cgroups, which do not go with whoever made them.
//!
//! *Architecture invariant*: the stage and the agents have one thread each. Namespaces belong to threads
//! (man 2 setns), and a process with one thread is in the namespace it says it is in.

pub mod agent;
pub mod broom;
pub mod echo;
pub mod entry;
pub mod error;
pub mod files;
mod filter;
mod frame;
pub mod keeper;
pub mod lab;
pub mod machine;
pub mod net;
pub mod node;
pub mod observe;
pub mod order;
pub mod pass;
pub mod process;
pub mod proxy;
pub mod request;
pub mod resolver;
pub mod rules;
pub mod service;
mod socket;
pub mod space;
pub mod stage;
pub mod state;
pub mod sysctl;

pub use entry::entry;
pub use error::Error;
pub use machine::{kernel, tools};
