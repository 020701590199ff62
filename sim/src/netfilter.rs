//! The packet filter of one network namespace: rules of both families, conntrack and NAT.
//!
//! A packet is given to [`Netfilter::hook`] at each hook it passes, with what it carries of conntrack ([`CtInfo`]),
//! and comes back rewritten and with a [`Verdict`]. Whoever calls routes, sends answers and keeps time.

use seatrial_core::addr::IfName;
use seatrial_core::plan::NsName;
use seatrial_core::rules::{AddrType, Hook, RejectWith, Ruleset};
use std::net::IpAddr;
use thiserror::Error;

use crate::packet::Packet;
use crate::seed::Seed;
use crate::trace::Hop;

/// The kernel's name for the reason of every drop by a hook (`nf_hook_slow`, include/net/dropreason-core.h).
pub const DROP_REASON: &str = "NETFILTER_DROP";

/// The rules of one namespace, ready to run, and its conntrack table.
#[derive(Debug, Clone, Default)]
pub struct Netfilter {}

/// What a packet carries of conntrack (`skb->_nfct`). Its caller keeps it with the packet from hook to hook and through
/// `lo`; any other device takes it off (`skb_scrub_packet`): [`CtInfo::NONE`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CtInfo(());

impl CtInfo {
    /// Nothing yet.
    pub const NONE: Self = Self(());

    /// What a packet carries that the kernel makes in answer to this one: an ICMP error, REJECT's RST (`nf_ct_attach`).
    #[must_use]
    pub const fn answer(self) -> Self {
        self
    }
}

/// What a hook needs to know beside the packet.
pub struct Context<'a> {
    /// Virtual time in microseconds.
    pub now_us: u64,
    /// The source of chance.
    pub seed: &'a mut Seed,
    /// The device it came in by; none at OUTPUT.
    pub input: Option<&'a IfName>,
    /// The device it leaves by; none at PREROUTING and INPUT.
    pub output: Option<&'a IfName>,
    /// The bridge ports, for a packet that br_netfilter took off a bridge, or that came in over one with br_netfilter on.
    pub bridged: Option<BridgePorts<'a>>,
    /// Where it is sent on the link, at POSTROUTING: the gateway, or the destination itself.
    pub next_hop: Option<IpAddr>,
    /// The namespace's addresses.
    pub routing: &'a dyn Routing,
    /// The namespace's name, for the trace.
    pub ns: &'a NsName,
    /// The packet's number, for the trace ([`Hop::flight`]).
    pub flight: u32,
    /// Where to note what happens; without it nothing is written and nothing allocated.
    pub hops: Option<&'a mut Vec<Hop>>,
}

/// The ports of a bridge a packet came in by and leaves by (`struct nf_bridge_info`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BridgePorts<'a> {
    /// The port it came in by.
    pub input: Option<&'a IfName>,
    /// The port it leaves by, where that is known yet: FORWARD and POSTROUTING of a bridged packet.
    pub output: Option<&'a IfName>,
}

/// What a namespace's rules ask of its addresses.
pub trait Routing {
    /// What `addr` is by the local table alone (`inet_dev_addr_type`): unicast where it holds nothing; with `dev`, local
    /// only if it is that device's.
    fn addr_type(&self, addr: IpAddr, dev: Option<&IfName>) -> AddrType;

    /// The source a packet would have that leaves `out` for `to`: the next hop, in IPv6 the destination
    /// (`inet_select_addr`, `ipv6_dev_get_saddr`).
    fn masquerade_source(&self, out: &IfName, to: IpAddr) -> Option<IpAddr>;

    /// The first address of a device that REDIRECT may send a packet for `to` to; in IPv6 of the same scope as `to`.
    fn redirect_address(&self, dev: &IfName, to: IpAddr) -> Option<IpAddr>;
}

/// What becomes of a packet at a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on; it may have been rewritten: see its destination and mark before routing it.
    Accept,
    /// It goes no further, for [`DROP_REASON`]; [`Netfilter::why`] has the words.
    Drop(Cause),
    /// It goes no further and its sender is told (kernel-semantics R1); what is sent carries [`CtInfo::answer`].
    Reject(RejectWith, Cause),
    /// A rule asks what cannot be known, and the packet's fate hangs on it; see [`Netfilter::depends`].
    Depends(Cause),
}

/// What decided a verdict: words only when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause(());

/// Why rules cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RulesError {
    /// A jump to nowhere.
    #[error("table {table}, chain {chain}, rule {number}: there is no chain '{target}' in this table")]
    NoChain {
        /// The table.
        table: String,
        /// The chain the rule stands in.
        chain: String,
        /// Its number from 1.
        number: usize,
        /// The chain it names.
        target: String,
    },
}

impl Netfilter {
    /// The rules of a namespace, and a conntrack table that is empty.
    ///
    /// # Errors
    /// Where a rule jumps to a chain that is not there.
    pub fn build(_rulesets: &[Ruleset]) -> Result<Self, RulesError> {
        Ok(Self::default())
    }

    /// Other rules in place of these; conntrack stays as it is.
    ///
    /// # Errors
    /// As [`Netfilter::build`]; then the old rules stay.
    pub fn replace(&mut self, _rulesets: &[Ruleset]) -> Result<(), RulesError> {
        Ok(())
    }

    /// Runs one hook: every base chain, conntrack and NAT in the order of their priorities.
    pub fn hook(
        &mut self,
        _at: Hook,
        _packet: &mut Packet,
        _ct: &mut CtInfo,
        _ctx: &mut Context<'_>,
    ) -> Verdict {
        Verdict::Accept
    }

    /// What decided a drop or a rejection, in words.
    #[must_use]
    pub fn why(&self, _cause: Cause) -> String {
        String::new()
    }

    /// The rule that a verdict depends on, and what it asks.
    #[must_use]
    pub fn depends(&self, _cause: Cause) -> (String, String) {
        (String::new(), String::new())
    }

    /// Forgets every flow to or from an address, as original destination, reply source, or either side.
    pub fn flush(&mut self, _addr: IpAddr) {}

    /// Forgets what was masqueraded out of a device, when it goes down; with `addr`, when that address is taken off it.
    pub fn forget_masquerade(&mut self, _dev: &IfName, _addr: Option<IpAddr>) {}

    /// Every entry that is alive, as `conntrack -L` writes them, oldest first.
    #[must_use]
    pub fn entries(&self, _now_us: u64) -> Vec<String> {
        Vec::new()
    }
}
