//! What a packet costs in other simulators of networks: `scripts/bench.sh sim` runs it beside sim's own.
//!
//! A question and its answer, 64 bytes each by UDP, written as their own examples and tests write it. They do less on
//! the way than sim does: neither has rules, conntrack, NAT or a bridge.
#![expect(clippy::unwrap_used, reason = "a bench may")]

mod smoltcp_loopback;
mod turmoil_echo;

use divan::AllocProfiler;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// What a packet carries.
const QUESTION: [u8; 64] = [b'q'; 64];
/// How many packets a question and its answer are.
const PACKETS: usize = 2;

fn main() {
    divan::main();
}
