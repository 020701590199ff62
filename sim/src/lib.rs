//! Carries packets through a plan: no clock, no I/O, no threads, and the same bytes for the same seed.
//!
//! * [`world`]: a plan, alive: build it, ask it.
//! * [`packet`]: what travels: small values, no bytes.
//! * `prefix`: addresses that begin alike.
//! * [`trace`]: what happened to it, hop by hop; [`capture`]: as bytes, for Wireshark.
//! * `device`: bridges, cables, macvlan and ipvlan; `wire`: what can go wrong with them.
//! * `stack`: addresses, routes, neighbours, sockets and protocols of one namespace.
//! * [`netfilter`]: rules, conntrack and NAT of one namespace.
//! * [`kernel`]: which Linux all of them follow.
//! * `proxy`, `resolver`, `lookup`: processes that send packets of their own.
//! * [`namespaces`]: what a process sees that is no packet.
//! * [`questions`]: what is asked of a world as a whole.
//! * `clock`, [`seed`]: virtual time, and where chance comes from; [`digest`]: whether two runs were the same.

mod arena;
pub mod capture;
mod clock;
mod device;
pub mod digest;
pub mod kernel;
mod lookup;
pub mod namespaces;
pub mod netfilter;
pub mod packet;
mod prefix;
#[cfg(test)]
mod properties;
mod proxy;
pub mod questions;
mod resolver;
pub mod seed;
mod skb;
mod stack;
#[cfg(test)]
mod testbed;
pub mod trace;
mod wire;
pub mod world;
