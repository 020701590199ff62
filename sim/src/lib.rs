//! Carries packets through a plan: no clock, no I/O, no threads, and the same bytes for the same seed.
//!
//! * [`packet`]: what travels: small values, no bytes.
//! * [`trace`]: what happened to it, hop by hop.

pub mod packet;
pub mod trace;
