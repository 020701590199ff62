//! A question about reachability and its answer, each one line of text.
//!
//! `laptop -> 203.0.113.10:8080/tcp  reaches web:80 from 203.0.113.50`

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::addr::{Family, IfName, Transport};
use crate::topology::NodeName;

pub mod text;

/// One question: can `from` reach `target`?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Probe {
    /// Who asks.
    pub from: NodeName,
    /// Whom.
    pub target: Target,
    /// How.
    pub ask: Ask,
    /// Only this family; otherwise the resolver's first address, or that of the target.
    pub family: Option<Family>,
    /// What else.
    pub options: ProbeOptions,
}

/// Whom a probe is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// An address.
    Address(IpAddr),
    /// A name, resolved inside the source as its libc would.
    Name(String),
}

/// What a probe sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum Ask {
    /// A connection, or a datagram that wants an answer.
    Port(Transport, u16),
    /// An echo request.
    Echo,
}

/// Options of a probe; none of them usually.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProbeOptions {
    /// `from=IP[:PORT]`: the source address, and port, the socket is bound to.
    pub source: Option<(IpAddr, Option<u16>)>,
    /// `raw`: a crafted frame, sent by a LAN machine.
    pub raw: bool,
    /// `ttl=N`.
    pub ttl: Option<u8>,
    /// `size=N`: bytes of payload.
    pub size: Option<u16>,
    /// `df`: don't fragment.
    pub df: bool,
    /// `mark=N`: the socket's mark.
    pub mark: Option<u32>,
}

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Outcome {
    /// A node's listener answered this very probe.
    Reaches {
        /// Who answered.
        node: NodeName,
        /// On which of its ports; none for an echo, and in an expectation that asserts none.
        port: Option<u16>,
        /// The source it saw; in an expectation none asserts nothing.
        from: Option<IpAddr>,
    },
    /// RST, or ICMP port unreachable.
    Refused,
    /// The connection was accepted and then closed without an answer.
    Closed,
    /// Another ICMP error came back, or the neighbour did not answer.
    Unreachable(Option<Unreachable>),
    /// Nothing came back within 5 s.
    Dropped,
    /// The source has no route.
    NoRoute,
    /// The source cannot resolve the name.
    UnknownName,
    /// A rule asks what cannot be known; in an expectation two empty texts assert neither.
    Depends {
        /// The rule, as written.
        rule: String,
        /// What it asks.
        what: String,
    },
}

impl Outcome {
    /// Whether this outcome is what `expected` asserts: what it leaves out, it does not assert.
    #[must_use]
    pub fn meets(&self, expected: &Self) -> bool {
        let left_out = |text: &str| text.is_empty();
        match (self, expected) {
            (Self::Reaches { node, port, from }, Self::Reaches { node: n, port: p, from: f }) => {
                node == n && (p.is_none() || port == p) && (f.is_none() || from == f)
            }
            (Self::Unreachable(reason), Self::Unreachable(r)) => r.is_none() || reason == r,
            (Self::Depends { rule, what }, Self::Depends { rule: r, what: w }) => {
                (left_out(r) || rule == r) && (left_out(w) || what == w)
            }
            (
                Self::Reaches { .. }
                | Self::Refused
                | Self::Closed
                | Self::Unreachable(_)
                | Self::Dropped
                | Self::NoRoute
                | Self::UnknownName
                | Self::Depends { .. },
                _,
            ) => self == expected,
        }
    }
}

/// Why a target is unreachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unreachable {
    /// No route further on.
    Net,
    /// The neighbour did not answer.
    Host,
    /// No such protocol.
    Protocol,
    /// Forbidden by a rule.
    Prohibited,
    /// Too large for a link.
    TooBig,
    /// The hop limit ran out.
    TimeExceeded,
}

impl Unreachable {
    /// All six.
    pub const ALL: [Self; 6] =
        [Self::Net, Self::Host, Self::Protocol, Self::Prohibited, Self::TooBig, Self::TimeExceeded];

    /// The words used in trials and traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Host => "host",
            Self::Protocol => "protocol",
            Self::Prohibited => "prohibited",
            Self::TooBig => "too big",
            Self::TimeExceeded => "time exceeded",
        }
    }
}

/// A fact about a node that is no packet.
///
/// What a node sees is told by its effect: one node makes something, and another looks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// `NODE hostname is NAME`.
    Hostname(String),
    /// `NODE domainname is NAME`: the NIS domain name, `(none)` where nobody set one.
    Domainname(String),
    /// `NODE sees THINGS of NODE`.
    Sees(Things, NodeName),
    /// `NODE sees no THINGS of NODE`.
    SeesNo(Things, NodeName),
    /// `NODE sees pid of NODE as 1`: the number that a node's first process has for another.
    SeesPid(NodeName, Pid),
    /// `NODE sees uid 0 of NODE as 100000`: the id within a node's user namespace, and what another takes it for;
    /// 65534 where it has no number for it (man 5 proc, overflowuid).
    SeesId(IdKind, u32, NodeName, u32),
    /// `NODE has own NAMESPACE`.
    HasOwn(NsKind),
    /// `NODE shares NAMESPACE with NODE`.
    Shares(NsKind, NodeName),
    /// `NODE has devices NAME, …`: these, in any order, and no other.
    HasDevices(Vec<IfName>),
    /// `NODE has a mount at PATH`.
    HasMount(String),
    /// `NODE has no mount at PATH`.
    HasNoMount(String),
    /// `NODE has 64m at PATH`: bytes in all of the file system that is mounted there.
    HasSize(u64, String),
    /// `NODE has sysctl KEY = VALUE`: a setting of the kernel in a node's namespaces, as `sysctl -n` prints it, with one
    /// space between its numbers.
    HasSysctl(String, String),
    /// `NODE has no route to ADDRESS`.
    HasNoRoute(IpAddr),
    /// `NODE routes ADDRESS [via GATEWAY] dev NAME`: where a packet to an address goes first.
    Routes(IpAddr, Option<IpAddr>, IfName),
    /// `NODE writes in PATH`: a file can be made in that directory.
    Writes(String),
    /// `NODE cannot write in PATH`.
    CannotWrite(String),
    /// `NODE resolves NAME to ADDRESS, …`; no address at all is `to nothing`.
    Resolves(String, Vec<IpAddr>),
}

/// What one node may see of another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Things {
    /// `processes`: they are in its /proc.
    Processes,
    /// `sockets`: a port that is bound is taken, and is reached on 127.0.0.1.
    Sockets,
    /// `ipc objects`: System V segments, semaphores and queues, and POSIX message queues (man 7 `ipc_namespaces`).
    IpcObjects,
    /// `files … in PATH`: what is made in that directory is there by the same path.
    Files(String),
}

/// A process's number as somebody else has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pid {
    /// `1`.
    Is(u32),
    /// `the same`: the one that the process has for itself.
    TheSame,
    /// `another`.
    Another,
}

/// Whose ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// Users'.
    Uid,
    /// Groups'.
    Gid,
}

impl IdKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Uid, Self::Gid];

    /// The word used in trials.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Gid => "gid",
        }
    }
}

impl fmt::Display for IdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Fact {
    /// Whether this, which is so, is what `expected` asserts: devices and addresses in any order.
    #[must_use]
    pub fn meets(&self, expected: &Self) -> bool {
        fn same<T: Ord>(a: &[T], b: &[T]) -> bool {
            a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
        }
        if let (Self::HasDevices(a), Self::HasDevices(b)) = (self, expected) {
            return same(a, b);
        }
        if let (Self::Resolves(name, a), Self::Resolves(other, b)) = (self, expected) {
            return name == other && same(a, b);
        }
        self == expected
    }

    /// The other node that it speaks of.
    #[must_use]
    pub const fn other(&self) -> Option<&NodeName> {
        match self {
            Self::Sees(_, node)
            | Self::SeesNo(_, node)
            | Self::SeesPid(node, _)
            | Self::SeesId(_, _, node, _)
            | Self::Shares(_, node) => Some(node),
            Self::Hostname(_)
            | Self::Domainname(_)
            | Self::HasOwn(_)
            | Self::HasDevices(_)
            | Self::HasMount(_)
            | Self::HasNoMount(_)
            | Self::HasSize(..)
            | Self::HasSysctl(..)
            | Self::HasNoRoute(_)
            | Self::Routes(..)
            | Self::Writes(_)
            | Self::CannotWrite(_)
            | Self::Resolves(..) => None,
        }
    }
}

/// A kind of Linux namespace (man 7 namespaces).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NsKind {
    /// Network devices, addresses, routes, rules, sockets.
    Network,
    /// Mount points.
    Mount,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Process ids.
    Pid,
    /// Host name and domain name.
    Uts,
    /// User and group ids.
    User,
    /// The root of the cgroup tree.
    Cgroup,
}

impl NsKind {
    /// All seven.
    pub const ALL: [Self; 7] =
        [Self::Network, Self::Mount, Self::Ipc, Self::Pid, Self::Uts, Self::User, Self::Cgroup];

    /// The name used in trials and plans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Cgroup => "cgroup",
        }
    }
}

impl fmt::Display for NsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expectation {
    /// A probe and what must come of it.
    Probe(Probe, Outcome),
    /// A fact about a node.
    Fact(NodeName, Fact),
}

/// Something that happens to the topology while a trial runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// `stop NODE`.
    Stop(NodeName),
    /// `start NODE`.
    Start(NodeName),
    /// `replace NODE`: removed and made anew, as `up --force-recreate` does.
    Replace(NodeName),
    /// `connect NODE NETWORK`.
    Connect(NodeName, String),
    /// `disconnect NODE NETWORK`.
    Disconnect(NodeName, String),
    /// `rule NAMESPACE "iptables …"`.
    Rule(NodeName, String),
    /// `cut NODE.DEVICE` and its likes: something is done to a device's wire.
    Fault(NodeName, IfName, Fault),
}

/// What is done to a device's wire, in the words of man 8 tc-netem. A fault of one kind takes the place of the last of
/// its kind; the link stays up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// `heal`: everything passes again, as before the first fault.
    Heal,
    /// `cut`: nothing passes.
    Cut(Way),
    /// `loss 10%`: so many percent of the frames are lost.
    Loss(Way, u8),
    /// `delay 100ms 20ms`: each frame is held for so many milliseconds, give or take the second number.
    Delay(Way, u64, u64),
    /// `reorder 25%`: so many percent of the frames are not held by the delay, and overtake those that are.
    Reorder(Way, u8),
    /// `duplicate 10%`: so many percent of the frames arrive twice.
    Duplicate(Way, u8),
    /// `corrupt 1%`: of so many percent of the frames one bit arrives wrong.
    Corrupt(Way, u8),
    /// `rate 1mbit`: so many bits pass in a second; 1000 frames wait.
    Rate(Way, u64),
    /// `mtu 1400`: the device's MTU, in bytes.
    Mtu(u32),
    /// `flap 2s`: cut for so many milliseconds, whole for as many, and so on.
    Flap(u64),
}

/// Which way through a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// What its node gets.
    In,
    /// What its node sends.
    Out,
    /// Either.
    Both,
}

impl Way {
    /// Whether it leads in.
    #[must_use]
    pub const fn is_in(self) -> bool {
        matches!(self, Self::In | Self::Both)
    }

    /// Whether it leads out.
    #[must_use]
    pub const fn is_out(self) -> bool {
        matches!(self, Self::Out | Self::Both)
    }
}

/// One step of a trial in which order matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Something must hold now.
    Expect(Expectation),
    /// Something changes now.
    Change(Change),
    /// `wait 31s`: milliseconds pass.
    WaitMs(u64),
    /// `at: 2s`: on to this time since the start, in milliseconds.
    AtMs(u64),
}
