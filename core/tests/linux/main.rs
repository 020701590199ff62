//! What carries a plan out, tried on this machine's kernel: each test in a process and namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod agent;
mod agent_control;
mod agent_echo;
mod agent_errors;
mod agent_names;
mod agent_options;
mod agent_raw;
mod agent_streams;
mod alone;
mod bed;
mod keeper;
mod local;
mod mounts;
mod net;
mod nft;
mod node;
mod observe;
mod program;
mod proxy;
mod resolver;
mod rights;
mod space;
