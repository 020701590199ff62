//! The packet filter of one network namespace: rules of both families, conntrack and NAT.
//!
//! A packet is given to [`Netfilter::hook`] at each hook it passes, with what it carries of conntrack ([`CtInfo`]),
//! and comes back rewritten and with a [`Verdict`]. Whoever calls routes, sends answers and keeps time.
//!
//! * `check`: what the kernel would not load. `compile`: rules made ready to run.
//! * `condition`: whether a rule matches. `walk`: which rule decides. `index`: which rules may.
//! * `conntrack`: flows. `nat`: their translation.
//! * `log`: hops of the trace. `words`: verdicts put into words.

use std::net::IpAddr;
use std::sync::Arc;

use seatrial_core::addr::{Family, IfName};
use seatrial_core::plan::NsName;
use seatrial_core::rules::{AddrType, CtState, Hook, Policy, Protocol, RejectWith, Ruleset};

use crate::packet::{Checksum, L4, Packet};
use crate::seed::Seed;
use crate::trace::{DropReason, Event, Hop};

mod check;
mod compile;
mod condition;
mod conntrack;
mod index;
mod log;
mod nat;
mod walk;
mod words;

pub use check::RulesError;
use compile::{BaseChain, ChainAt, Code, RuleAt, Rules, Step};
use condition::View;
pub(crate) use conntrack::Tuning;
pub use conntrack::entry::Flow;
pub(crate) use conntrack::tcp::MAX_RETRANSMISSIONS;
use conntrack::tuple::Direction;
use conntrack::{Confirmed, Entry, EntryId, Progress, Table, Tracked, tcp};
use log::Log;
use nat::{Applied, Manip};
use walk::{End, Outcome, Walk};

/// The kernel's name for the reason of every drop by a hook (`nf_hook_slow`, include/net/dropreason-core.h).
pub const DROP_REASON: DropReason = DropReason::NetfilterDrop;

/// The rules of one namespace, ready to run, and its conntrack table.
#[derive(Debug, Clone, Default)]
pub struct Netfilter {
    rules: Arc<Rules>,
    table: Table,
}

/// What a packet carries of conntrack (`skb->_nfct`). Its caller keeps it with the packet from hook to hook and through
/// `lo`; any other device takes it off (`skb_scrub_packet`): [`CtInfo::NONE`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CtInfo(Carried);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Carried {
    #[default]
    Nothing,
    Untracked,
    Flow {
        id: EntryId,
        state: Progress,
        direction: Direction,
    },
}

impl CtInfo {
    /// Nothing yet.
    pub const NONE: Self = Self(Carried::Nothing);

    /// What a packet carries that the kernel makes in answer to this one: an ICMP error, REJECT's RST (`nf_ct_attach`).
    #[must_use]
    pub const fn answer(self) -> Self {
        match self.0 {
            Carried::Nothing | Carried::Untracked => Self::NONE,
            Carried::Flow { id, direction, .. } => {
                Self(Carried::Flow { id, state: Progress::Related, direction: direction.other() })
            }
        }
    }

    /// The packet's state, as `--ctstate` sees it.
    #[must_use]
    pub const fn state(self) -> CtState {
        match self.0 {
            Carried::Nothing => CtState::Invalid,
            Carried::Untracked => CtState::Untracked,
            Carried::Flow { state: Progress::New, .. } => CtState::New,
            Carried::Flow { state: Progress::Related, .. } => CtState::Related,
            Carried::Flow { state: Progress::Established, .. } => CtState::Established,
        }
    }

    const fn flow(self) -> Option<(EntryId, Progress, Direction)> {
        match self.0 {
            Carried::Nothing | Carried::Untracked => None,
            Carried::Flow { id, state, direction } => Some((id, state, direction)),
        }
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
pub struct Cause(Why);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// A rule's target.
    Rule(RuleAt),
    /// A rule's match that is not modelled.
    UnknownMatch(RuleAt),
    /// A rule's target that is not modelled.
    UnknownTarget(RuleAt),
    /// A chain's policy.
    Policy(ChainAt, Policy),
    /// A rule's translation that could not be made, and why.
    Nat(RuleAt, &'static str),
    /// Conntrack itself, and why.
    Conntrack(&'static str),
}

/// What a hook is called with, without what it changes.
#[derive(Clone, Copy)]
struct Scene<'a> {
    at: Hook,
    now_us: u64,
    input: Option<&'a IfName>,
    output: Option<&'a IfName>,
    bridged: Option<BridgePorts<'a>>,
    next_hop: Option<IpAddr>,
    routing: &'a dyn Routing,
}

impl Netfilter {
    /// The rules of a namespace, and a conntrack table that is empty.
    ///
    /// # Errors
    /// Where the kernel would not load the rules.
    pub fn build(rulesets: &[Arc<Ruleset>]) -> Result<Self, RulesError> {
        Ok(Self { rules: Rules::build(rulesets)?.into(), table: Table::default() })
    }

    /// Other rules in place of these, that differ in one family alone and have whatever is new behind what stays;
    /// conntrack stays as it is.
    ///
    /// # Errors
    /// As [`Netfilter::build`]; then the old rules stay.
    pub fn replace(&mut self, rulesets: &[Arc<Ruleset>], family: Family) -> Result<(), RulesError> {
        self.rules = self.rules.rebuild(rulesets, family)?.into();
        Ok(())
    }

    /// Any other rules in place of these; conntrack stays as it is.
    ///
    /// # Errors
    /// As [`Netfilter::build`]; then the old rules stay.
    pub fn rewrite(&mut self, rulesets: &[Arc<Ruleset>]) -> Result<(), RulesError> {
        self.rules = Rules::build(rulesets)?.into();
        Ok(())
    }

    /// Whether no hook does anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether conntrack sees packets of a family: only where a rule needs it.
    #[must_use]
    pub fn tracks(&self, family: Family) -> bool {
        self.rules.code(family).tracks()
    }

    /// Runs one hook: every base chain, conntrack and NAT in the order of their priorities.
    pub fn hook(&mut self, at: Hook, packet: &mut Packet, ct: &mut CtInfo, ctx: &mut Context<'_>) -> Verdict {
        let Context { now_us, input, output, bridged, next_hop, routing, ns, flight, .. } = *ctx;
        let scene = Scene { at, now_us, input, output, bridged, next_hop, routing };
        // Where it goes says more than where it came from, once that is known.
        let place = log::Place { at_us: now_us, flight, ns, device: output.or(input) };
        let mut log = Log::new(ctx.hops.as_deref_mut(), place, packet);
        let Self { rules, table } = self;
        let code = rules.code(packet.family());
        let mut run = Run { rules, code, table, scene: &scene, packet, ct, seed: ctx.seed, log: &mut log };
        let verdict = run.steps();
        if verdict != Verdict::Accept {
            run.settle(verdict);
        }
        verdict
    }

    /// Lets conntrack see no clash.
    #[cfg(test)]
    pub(crate) const fn blind(&mut self) {
        self.table.blind = true;
    }

    /// Sets conntrack's settings, and which kernel it is of.
    pub(crate) const fn tune(&mut self, settings: Tuning) {
        self.table.tune(settings);
    }

    /// Forgets every flow to or from an address (`conntrack -D`).
    pub fn flush(&mut self, addr: IpAddr, now_us: u64) {
        self.table.flush(addr, now_us);
    }

    /// Forgets every flow of a protocol that was sent to a port (`conntrack -D --orig-port-dst`).
    pub fn flush_port(&mut self, protocol: Protocol, port: u16, now_us: u64) {
        self.table.flush_port(protocol, port, now_us);
    }

    /// Forgets what was masqueraded out of a device, when it goes down; with `addr`, when that address is taken off it.
    pub fn forget_masquerade(&mut self, dev: &IfName, addr: Option<IpAddr>, now_us: u64) {
        self.table.forget_masquerade(dev, addr, now_us);
    }

    /// Every entry that is alive, as `conntrack -L` writes them, oldest first.
    #[must_use]
    pub fn entries(&self, now_us: u64) -> Vec<String> {
        self.table.alive(now_us).into_iter().map(|entry| entry.text(now_us)).collect()
    }
}

/// One packet at one hook.
struct Run<'a, 'l> {
    rules: &'a Rules,
    /// Those of the packet's family.
    code: &'a Code,
    table: &'a mut Table,
    scene: &'a Scene<'a>,
    packet: &'a mut Packet,
    ct: &'a mut CtInfo,
    seed: &'a mut Seed,
    log: &'a mut Log<'l>,
}

impl<'a> Run<'a, '_> {
    fn steps(&mut self) -> Verdict {
        let code = self.code;
        for step in code.steps(self.scene.at) {
            let verdict = match step {
                Step::Chain(base) => self.filter(base),
                Step::Conntrack => self.track(),
                Step::Nat => self.translate(),
                Step::Confirm => self.confirm(),
            };
            if verdict != Verdict::Accept {
                return verdict;
            }
        }
        Verdict::Accept
    }

    /// What a verdict does to the packet's flow.
    fn settle(&mut self, verdict: Verdict) {
        let Some((id, ..)) = self.ct.flow() else { return };
        match verdict {
            Verdict::Accept | Verdict::Depends(_) => {}
            Verdict::Drop(_) => self.table.discard(id),
            Verdict::Reject(with, _) => {
                self.table.discard(id);
                let timeouts = self.table.timeouts();
                if let Some(entry) = self.table.get_mut(id)
                    && with == RejectWith::TcpReset
                {
                    tcp::set_closing(entry, &timeouts, self.scene.now_us);
                }
            }
        }
    }

    /// Walks a base chain with the packet as it is now.
    fn walk(&mut self, base: &'a BaseChain) -> Outcome<'a> {
        let Self { rules, code, scene, ref table, .. } = *self;
        let entry = self.ct.flow().and_then(|(id, _, direction)| Some((table.get(id)?, direction)));
        let (packet, mark, state) = (&*self.packet, self.packet.mark, self.ct.state());
        Walk { rules, code, base }.run(View { packet, mark, state, entry, scene }, self.log)
    }

    /// A chain that filters; it may set the packet's mark, or take the packet away from conntrack.
    fn filter(&mut self, base: &'a BaseChain) -> Verdict {
        let outcome = self.walk(base);
        self.packet.mark = outcome.mark;
        if outcome.untracked {
            self.ct.0 = Carried::Untracked;
        }
        self.log.rewritten(self.packet);
        verdict(&outcome)
    }

    /// Finds or makes the packet's entry, unless it carries one already.
    fn track(&mut self) -> Verdict {
        match self.ct.0 {
            Carried::Flow { .. } => return Verdict::Accept,
            Carried::Untracked => {}
            // What comes in wrong belongs to no flow (`nf_conntrack_checksum`); what goes out is not looked at.
            Carried::Nothing if self.is_wrong() => {}
            Carried::Nothing => match self.table.track(self.packet, self.scene.now_us, self.seed) {
                Tracked::Invalid => {}
                Tracked::Untracked => self.ct.0 = Carried::Untracked,
                Tracked::Flow { id, state, direction } => {
                    self.ct.0 = Carried::Flow { id, state, direction };
                }
                Tracked::Full => return Verdict::Drop(Cause(Why::Conntrack("table full, dropping packet"))),
            },
        }
        self.log_entry();
        Verdict::Accept
    }

    const fn is_wrong(&self) -> bool {
        let checked = self.table.checks_sums() && matches!(self.scene.at, Hook::Prerouting);
        checked && !matches!(self.packet.checksum, Checksum::Good)
    }

    #[inline]
    fn log_entry(&mut self) {
        let Self { table, ct, scene: Scene { now_us, .. }, .. } = self;
        self.log.note(|| {
            let entry = ct.flow().and_then(|(id, ..)| table.get(id));
            let entry = entry.map(|e: &Entry| Flow::at(e, *now_us)).unwrap_or_default();
            Event::Conntrack { state: words::state(ct.state()), entry }
        });
    }

    /// Settles the flow's translation with its first packet, and rewrites every one (`nf_nat_inet_fn`).
    fn translate(&mut self) -> Verdict {
        let Some((id, state, direction)) = self.ct.flow() else { return Verdict::Accept };
        let Some(manip) = Manip::of(self.scene.at) else { return Verdict::Accept };
        if state == Progress::Related && matches!(self.packet.l4, L4::Icmp(_)) {
            return self.translate_error(id, manip, direction);
        }
        let settled = self.table.get(id).is_some_and(|e| e.has(manip.done()));
        if state != Progress::Established && !settled {
            match self.consult(id, manip) {
                Verdict::Accept => {}
                verdict @ (Verdict::Drop(_) | Verdict::Reject(..) | Verdict::Depends(_)) => return verdict,
            }
        } else if self.leaves_elsewhere(id, direction) {
            self.table.kill(id, self.scene.now_us);
            return Verdict::Drop(Cause(Why::Conntrack("the flow is masqueraded as another device")));
        }
        if let Some(entry) = self.table.get(id) {
            nat::rewrite(entry, direction, manip, self.packet);
        }
        self.log.rewritten(self.packet);
        Verdict::Accept
    }

    fn translate_error(&mut self, id: EntryId, manip: Manip, direction: Direction) -> Verdict {
        let Some(entry) = self.table.get(id) else { return Verdict::Accept };
        if !nat::rewrite_error(entry, direction, manip, self.packet) {
            return Verdict::Drop(Cause(Why::Conntrack("a redirect may not pass a translated flow")));
        }
        self.log.rewritten(self.packet);
        Verdict::Accept
    }

    /// Whether a masqueraded flow's packet leaves by another device than its first (`nf_nat_oif_changed`).
    fn leaves_elsewhere(&self, id: EntryId, direction: Direction) -> bool {
        self.scene.at == Hook::Postrouting
            && direction == Direction::Original
            && self
                .table
                .get(id)
                .and_then(|e| e.masquerade.as_ref())
                .is_some_and(|dev| Some(dev) != self.scene.output)
    }

    /// Asks the hook's nat chains what to make of the flow; where none says anything, it stays as it is.
    fn consult(&mut self, id: EntryId, manip: Manip) -> Verdict {
        let code = self.code;
        for base in code.nat(self.scene.at) {
            let outcome = self.walk(base);
            self.packet.mark = outcome.mark;
            match outcome.end {
                End::Accept => {}
                End::Nat(action) => {
                    match nat::apply(self.table, id, action, self.packet, self.scene, self.seed) {
                        Applied::Go => {}
                        Applied::Drop(why) => return Verdict::Drop(words::nat_cause(outcome.why, why)),
                    }
                }
                End::Drop | End::Reject(_) | End::Unknown => return verdict(&outcome),
            }
            if self.table.get(id).is_some_and(|e| e.has(manip.done())) {
                return Verdict::Accept;
            }
        }
        nat::bind_null(self.table, id, manip, self.scene, self.seed);
        Verdict::Accept
    }

    /// Puts the entry of a flow's first packet into the table.
    fn confirm(&mut self) -> Verdict {
        let Some((id, state, direction)) = self.ct.flow() else { return Verdict::Accept };
        match self.table.confirm(id, direction, self.scene.now_us) {
            Confirmed::Already => {}
            Confirmed::New => self.log_entry(),
            Confirmed::Merged(id) => self.ct.0 = Carried::Flow { id, state, direction },
            Confirmed::Clash => {
                return Verdict::Drop(Cause(Why::Conntrack("another flow has the same tuple")));
            }
        }
        Verdict::Accept
    }
}

/// What a walk says about the packet.
const fn verdict(outcome: &Outcome<'_>) -> Verdict {
    let cause = Cause(outcome.why);
    match outcome.end {
        // NAT where no nat chain stands is refused when rules are loaded.
        End::Accept | End::Nat(_) => Verdict::Accept,
        End::Drop => Verdict::Drop(cause),
        End::Reject(with) => Verdict::Reject(with, cause),
        End::Unknown => Verdict::Depends(cause),
    }
}

#[cfg(test)]
mod tests;
