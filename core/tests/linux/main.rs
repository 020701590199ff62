//! What carries a plan out, tried on this machine's kernel: each test in a process and namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod agent;
mod alone;
mod bed;
mod keeper;
mod local;
mod mounts;
mod net;
mod node;
mod program;
mod proxy;
mod resolver;
mod rights;
mod space;
