//! A packet's journey: every hop, with who handled it, where, and by which rule.

use std::collections::BTreeMap;

use seatrial_core::addr::IfName;
use seatrial_core::plan::NsName;
use seatrial_core::rules::Hook;
use seatrial_core::topology::NodeName;
use serde::Serialize;
use smol_str::SmolStr;

use crate::netfilter::Flow;
use crate::packet::Packet;

pub use brief::Brief;
pub use reason::DropReason;
pub use said::{Bound, Course};

mod brief;
mod flight;
mod reason;
mod said;
mod text;
mod way;

/// Why a trace ends with a drop that nothing in it decided.
pub const SILENCE: &str = "nothing came back before the deadline";

/// What happened to a probe's packets, in the order it happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The hops.
    pub hops: Vec<Hop>,
    /// What the devices that the hops name are, by namespace.
    pub devices: BTreeMap<NsName, BTreeMap<IfName, Place>>,
}

/// What a device is to somebody who reads a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// `lo`.
    Loopback,
    /// A machine's network card: its cable goes to the wire.
    Nic,
    /// A port of the wire's switch.
    SwitchPort,
    /// The wire's switch.
    Switch,
    /// A bridge.
    Bridge,
    /// A virtual cable's end that is a port of a bridge.
    BridgePort,
    /// A virtual cable's end in a container.
    Interface,
    /// A macvlan.
    Macvlan,
    /// An ipvlan.
    Ipvlan,
    /// A VLAN.
    Vlan,
    /// A dummy.
    Dummy,
}

impl Place {
    /// In a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Nic => "NIC",
            Self::SwitchPort => "switch port",
            Self::Switch => "switch",
            Self::Bridge => "bridge",
            Self::BridgePort => "bridge port",
            Self::Interface => "interface",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Vlan => "VLAN",
            Self::Dummy => "dummy",
        }
    }
}

/// One thing that happened to one packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Virtual time in microseconds since the world was built.
    pub at_us: u64,
    /// Which packet, numbered from 1 as they were sent; the copies of a flood have one number, an answer has another.
    pub flight: u32,
    /// The network namespace.
    pub ns: NsName,
    /// The device it came in by or leaves by.
    pub device: Option<IfName>,
    /// The packet as it was before.
    pub packet: Packet,
    /// What happened.
    pub event: Event,
}

/// What happened to a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A process sent it from a socket.
    Send {
        /// Whose process.
        node: NodeName,
    },
    /// A route was found.
    Route {
        /// As `ip route get` would say it.
        text: Course,
    },
    /// A rule matched.
    Rule(RuleHit),
    /// The chain's policy decided.
    Policy {
        /// The hook.
        hook: Hook,
        /// The table.
        table: SmolStr,
        /// The chain.
        chain: SmolStr,
        /// ACCEPT or DROP.
        verdict: &'static str,
    },
    /// Conntrack found or made an entry.
    Conntrack {
        /// NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED.
        state: &'static str,
        /// The entry, if there is one.
        entry: Flow,
    },
    /// NAT rewrote it.
    Rewrite {
        /// The packet afterwards.
        after: Packet,
    },
    /// A bridge forwarded it.
    Bridge {
        /// The bridge.
        bridge: IfName,
        /// The port it came in by; none from the bridge itself.
        from: Option<IfName>,
        /// Where it went.
        to: BridgeTo,
    },
    /// It crossed to another device: a cable, a macvlan, the wire.
    Cross {
        /// The namespace on the other side.
        ns: NsName,
        /// The device on the other side.
        device: IfName,
    },
    /// A neighbour was asked for, and answered or not.
    Neighbour {
        /// `203.0.113.50 is at 02:…`, or `203.0.113.1 does not answer`.
        text: String,
    },
    /// A socket got it.
    Deliver {
        /// Whose process.
        node: NodeName,
        /// Which socket.
        socket: Bound,
    },
    /// A docker-proxy opened its own connection for it.
    Proxied {
        /// Where it connects to.
        to: String,
    },
    /// The kernel answered with a packet of its own: RST, an ICMP error, an echo reply.
    Answer {
        /// What it answered.
        what: String,
    },
    /// It went no further.
    Drop {
        /// The kernel's name for the reason: NETFILTER_DROP, NO_SOCKET, …
        reason: DropReason,
        /// What decided it, in words: the rule, the check, the setting.
        why: String,
    },
}

/// A rule that matched a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleHit {
    /// The hook it was reached from.
    pub hook: Hook,
    /// The table.
    pub table: SmolStr,
    /// The chain the rule stands in.
    pub chain: SmolStr,
    /// Its number in the chain, from 1.
    pub number: usize,
    /// The rule, as `iptables -S` writes it.
    pub text: SmolStr,
    /// What followed: ACCEPT, DROP, RETURN, `-> DOCKER`, DNAT, MASQUERADE, …
    pub verdict: SmolStr,
}

/// Where a bridge sent a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeTo {
    /// The port its FDB names.
    Port(IfName),
    /// Every other port: a broadcast, or a MAC it does not know.
    Flood,
    /// Up, to the bridge's own addresses.
    Local,
}
