//! Runs trials in lanes, and holds what came of them beside what was expected.
//!
//! * [`lanes`]: where a trial can run, and running it there.
//! * [`report`]: what came of it, row by row, for whoever prints it.
//! * [`kernels`]: what there is to boot. `initramfs`: what it starts with. [`qemu`]: a machine that runs. [`guest`]: the
//!   machine's first process. `channel`: what host and guest say to each other.
//! * [`engines`]: what there is of Docker. `docker`: one of them at work.

mod cache;
mod channel;
pub mod docker;
pub mod engines;
pub mod guest;
mod initramfs;
pub mod kernels;
pub mod lanes;
pub mod qemu;
pub mod report;
