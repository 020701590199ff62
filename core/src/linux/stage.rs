//! The stage: one process in namespaces of its own, and everything a plan makes is below it.
//!
//! It is the first process of its PID namespace, and ends with its caller: whatever happens to either, the kernel ends
//! every process below it, and with the last process of a namespace go the devices, rules and mounts in it
//! (man 7 pid_namespaces). Nothing has to be undone by hand, and nothing of the machine's is touched.

pub mod door;

mod agent;
mod enter;
mod ground;
mod identity;
mod launch;
mod serve;

pub use ground::daemon::{DOORS, LOG, SOCKET};
pub use launch::{Launch, Rights, Stage, Stay};

pub(super) use enter::main;

/// What the stage's process is called.
pub(super) const NAME: &str = "seatrial-stage";

/// The argument of one that is to have root's rights.
pub(super) const ROOT: &str = "root";

/// The stage's own folder, on a /run that nobody else sees.
pub(super) const FOLDER: &str = "/run/seatrial";

/// The folder of named volumes, and of those whose path the machine has not.
pub(super) const VOLUMES: &str = "/run/seatrial/volumes";
