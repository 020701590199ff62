//! Carries packets through a plan: no clock, no I/O, no threads, and the same bytes for the same seed.
//!
//! * [`packet`]: what travels: small values, no bytes.
//! * [`netfilter`]: rules, conntrack and NAT of one namespace.
//! * [`questions`]: what is asked of a world as a whole.
//! * [`seed`]: where chance comes from.
//! * [`trace`]: what happened to it, hop by hop.

pub mod netfilter;
pub mod packet;
pub mod questions;
pub mod seed;
pub mod trace;
