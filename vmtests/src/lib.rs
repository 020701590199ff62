//! Runs trials in lanes, and holds what came of them beside what was expected.
//!
//! * [`lanes`]: where a trial can run, and running it there.
//! * [`report`]: what came of it, row by row, for whoever prints it.

pub mod lanes;
pub mod report;
