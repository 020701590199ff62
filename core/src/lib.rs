//! Docker's network modes and namespaces, as data and as kernel objects.
//!
//! ```text
//!  Docker's words                  the kernel's words
//!  compose + trial ─▶ Topology ──plan()──▶ Plan ─▶ the simulator, a kernel, a virtual machine
//! ```
//!
//! * [`addr`], [`engine`], [`diagnostic`]: small values, the Engine's versions, what is wrong and where.
//! * [`topology`]: what the user wrote. It mentions no link and no rule.
//! * [`plan`]: what the kernel is asked to make. It mentions no packet, and reads no machine.
//! * [`rules`]: packet filter rules, typed once; `iptables-save` text read and written.
//! * [`probe`]: questions about reachability, and their answers.
//!
//! * `linux`, with the feature of that name: carries a plan out on this machine's kernel.
//!
//! *Architecture invariant*: everything but `linux` is pure: no clock, no I/O, no randomness, ordered collections only.

pub mod addr;
pub mod diagnostic;
pub mod engine;
#[cfg(feature = "linux")]
pub mod linux;
pub mod plan;
pub mod probe;
pub mod rules;
pub mod snapshot;
pub mod topology;
