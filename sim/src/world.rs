//! Everything there is: namespaces, devices, processes, and the one loop in which things happen to them.
//!
//! A frame goes from device to device as an event, never as a call, so that a loop of cables is a queue that grows and
//! not a stack that overflows.

use std::net::IpAddr;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::FxBuildHasher;
use seatrial_core::plan::NsName;
use seatrial_core::probe::{Outcome, Way};
use seatrial_core::topology::NodeName;

use crate::arena::{Arena, DevId, Id as _, NodeId, NsId, ProxyId, ResolverId};
use crate::capture::Shot;
use crate::clock::{Clock, MS};
use crate::device::Device;
use crate::digest::{Digest, Rolling};
use crate::kernel::Kernel;
use crate::lookup::{Lookup, Names};
use crate::namespaces::Namespaces;
use crate::packet::{Nonce, Payload};
use crate::proxy::ProxyState;
use crate::resolver::ResolverState;
use crate::seed::Seed;
use crate::skb::Framed;
use crate::stack::Stack;
use crate::stack::socket::{SockId, Wake};
use crate::trace::Hop;

pub(crate) mod ask;
pub(crate) mod build;
pub(crate) mod note;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod remove;

pub use ask::Answer;
pub use build::Unsupported;

/// How much may happen between two questions: more is a storm, that would have no end.
const EVENTS: u32 = 1_000_000;

/// A plan, alive. Clone it, and both go on from here, apart.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) clock: Clock<Event>,
    pub(crate) seed: Seed,
    /// The Linux that every machine has.
    pub(crate) kernel: Kernel,
    /// Of every event so far.
    digest: Rolling,
    pub(crate) spaces: IndexMap<NsName, NsId, FxBuildHasher>,
    pub(crate) stacks: Arena<NsId, Stack>,
    pub(crate) devices: Arena<DevId, Device>,
    pub(crate) nodes: IndexSet<NodeName, FxBuildHasher>,
    pub(crate) places: Namespaces,
    pub(crate) proxies: Arena<ProxyId, ProxyState>,
    pub(crate) resolvers: Arena<ResolverId, ResolverState>,
    pub(crate) names: Names,
    /// Sockets opened so far.
    pub(crate) opened: u32,
    /// Packets sent so far, in this trace.
    pub(crate) flights: u32,
    /// The packet that what happens now comes of.
    pub(crate) cause: u32,
    /// What a name is looked up with just now.
    pub(crate) lookup: Option<Lookup>,
    /// The question that is asked just now, and what came of it.
    pub(crate) question: Option<ask::Question>,
    pub(crate) concluded: Option<Outcome>,
    /// The trace, while one is written.
    pub(crate) hops: Option<Vec<Hop>>,
    /// The frames, while a capture is made.
    pub(crate) tape: Option<Vec<Shot>>,
    /// Drops that are worth a word only if nothing else tells why.
    pub(crate) aside: Option<Hop>,
    /// Who looks at every event.
    #[cfg(test)]
    pub(crate) watch: Option<Box<crate::properties::watch::Watch>>,
    /// A mistake for them to find.
    #[cfg(test)]
    pub(crate) planted: Option<crate::properties::Bug>,
}

/// Something that is to happen.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A frame reaches a device.
    Receive(DevId, Framed),
    /// A frame has passed a wire that held it.
    Passed(DevId, Way, Framed),
    /// A neighbour's timer rings.
    Neighbour { ns: NsId, dev: DevId, address: IpAddr, timer: u32 },
    /// A connection's timer rings.
    Tcp { ns: NsId, sock: SockId, timer: u32 },
    /// A process is woken.
    Wake { ns: NsId, sock: SockId, wake: Wake, cause: u32 },
    /// A resolver has waited long enough for a nameserver.
    Upstream { resolver: ResolverId, token: u32 },
    /// A docker-proxy looks whether a datagram's client has had no answer for long.
    Idle { proxy: ProxyId, back: SockId },
}

impl World {
    /// A world without anything in it.
    fn empty(kernel: Kernel, seed: u64) -> Self {
        Self {
            clock: Clock::new(),
            seed: Seed::new(seed),
            kernel,
            digest: Rolling::new(),
            spaces: IndexMap::default(),
            stacks: Arena::new(),
            devices: Arena::new(),
            nodes: IndexSet::default(),
            places: Namespaces::default(),
            proxies: Arena::new(),
            resolvers: Arena::new(),
            names: Names::default(),
            opened: 0,
            flights: 0,
            cause: 0,
            lookup: None,
            question: None,
            concluded: None,
            hops: None,
            tape: None,
            aside: None,
            #[cfg(test)]
            watch: None,
            #[cfg(test)]
            planted: None,
        }
    }

    /// Microseconds of virtual time since the world was built.
    #[must_use]
    pub const fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// What all events so far come to, each with its time: it is the same for the same plan, seed and questions, on
    /// every machine.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest.digest()
    }

    /// Lets `ms` milliseconds pass, with all that happens in them.
    pub fn advance_ms(&mut self, ms: u64) {
        let until = self.now_us().saturating_add(ms.saturating_mul(MS));
        self.run(until, |_| false);
    }

    /// What conntrack knows in a namespace, as `conntrack -L` writes it, oldest first.
    #[must_use]
    pub fn conntrack(&self, ns: &NsName) -> Vec<String> {
        let stack = self.spaces.get(ns).map(|ns| &self.stacks[*ns]);
        let netfilter = stack.and_then(|stack| stack.netfilter.as_ref());
        netfilter.map(|n| n.entries(self.now_us())).unwrap_or_default()
    }

    /// Lets things happen until `enough` says so or it is `until_us`.
    pub(crate) fn run(&mut self, until_us: u64, enough: impl Fn(&Self) -> bool) {
        for _ in 0..EVENTS {
            if enough(self) {
                return;
            }
            let Some(mut event) = self.clock.next(until_us) else { break };
            self.digest.take(self.clock.now_us(), &event);
            #[cfg(test)]
            if let Some(watch) = self.watch.take() {
                crate::properties::watch::over(watch, self, event);
                continue;
            }
            self.happen(&mut event);
        }
        self.clock.advance_to(until_us);
    }

    pub(crate) fn happen(&mut self, event: &mut Event) {
        match *event {
            Event::Receive(dev, ref mut framed) => {
                self.cause = framed.meta().flight;
                self.receive(dev, framed.frame());
            }
            Event::Passed(dev, way, ref mut framed) => {
                self.cause = framed.meta().flight;
                self.passed(dev, way, framed.frame());
            }
            Event::Neighbour { ns, dev, address, timer } => self.neighbour_timer(ns, dev, address, timer),
            Event::Tcp { ns, sock, timer } => self.tcp_timer(ns, sock, timer),
            Event::Wake { ns, sock, wake, cause } => {
                self.cause = cause;
                self.woken(ns, sock, wake);
            }
            Event::Upstream { resolver, token } => self.upstream_silent(resolver, token),
            Event::Idle { proxy, back } => self.proxy_idle(proxy, back),
        }
    }

    /// A listener's answer to a question.
    pub(crate) fn answer_of(&self, nonce: Nonce, node: NodeId, port: u16, saw: IpAddr) -> Payload {
        let node = u16::try_from(node.position()).unwrap_or(u16::MAX);
        Payload::Answer { nonce, node, port, saw }
    }

    /// A node's number.
    pub(crate) fn number(&self, node: &NodeName) -> Option<NodeId> {
        let position = u32::try_from(self.nodes.get_index_of(node)?).ok()?;
        Some(NodeId::from_position(position))
    }

    /// The node of a number.
    pub(crate) fn numbered(&self, node: NodeId) -> &NodeName {
        &self.nodes[node.position() as usize]
    }
}
