//! What a rule does.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{MapKey, MarkValue};
use crate::addr::PortRange;

/// What a rule does with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Let it pass this hook's chain.
    Accept,
    /// Drop it.
    Drop,
    /// Back to the chain that jumped here, or the policy.
    Return,
    /// On in another chain, and back.
    Jump(String),
    /// On in another chain, and not back.
    Goto(String),
    /// nft's `oifname vmap @MAP`: what the table's map says of the device, if it says anything.
    Vmap {
        /// Which device.
        key: MapKey,
        /// The map's name.
        map: String,
    },
    /// Drop it and say so (default: port unreachable).
    Reject(RejectWith),
    /// Rewrite the destination.
    Dnat(NatRange),
    /// Rewrite the source.
    Snat(NatRange),
    /// Rewrite the source to the device's address.
    Masquerade(PortMap),
    /// Rewrite the destination to this machine.
    Redirect(PortMap),
    /// `-j MARK --set-xmark`: clear the mask's bits, then flip the value's.
    Mark(MarkValue),
    /// `-j CT --notrack`, or by its old name `-j NOTRACK`: conntrack leaves the packet alone.
    NoTrack {
        /// Whether it was written by its old name.
        old_name: bool,
    },
    /// `-j LOG`, `-j CHECKSUM` and others that change nothing a rule could see: the packet goes on.
    Watch {
        /// The target's name.
        name: String,
        /// Its options, one word each, quoted as they were written.
        options: Vec<String>,
    },
    /// A target this program does not model, as written.
    Other {
        /// The target's name.
        name: String,
        /// Its options, one word each, quoted as they were written.
        options: Vec<String>,
    },
}

impl Target {
    /// The chain it goes on in.
    #[must_use]
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Return | Self::NoTrack { .. } | Self::Vmap { .. } => None,
            Self::Reject(_) | Self::Dnat(_) | Self::Snat(_) | Self::Masquerade(_) | Self::Redirect(_) => None,
            Self::Mark(_) | Self::Watch { .. } | Self::Other { .. } => None,
        }
    }
}

/// What REJECT answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectWith {
    /// A TCP RST.
    TcpReset,
    /// An ICMP destination-unreachable (type 3) with this code.
    Icmp {
        /// The code.
        code: u8,
    },
    /// An ICMPv6 destination-unreachable (type 1) with this code.
    Icmpv6 {
        /// The code.
        code: u8,
    },
}

/// Where NAT may translate to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatRange {
    /// The first and the last address; the packet's own where there is none.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The ports, and how one of them is chosen.
    pub ports: PortMap,
    /// `--persistent`.
    pub persistent: bool,
}

impl NatRange {
    /// One address and, maybe, one port.
    #[must_use]
    pub const fn to(addr: IpAddr, port: Option<u16>) -> Self {
        let ports = match port {
            Some(port) => Some(PortRange::single(port)),
            None => None,
        };
        let ports = PortMap { ports, random: false, random_fully: false };
        Self { addresses: Some((addr, addr)), ports, persistent: false }
    }
}

/// The ports NAT may translate to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMap {
    /// The ports; the packet's own, if free, where there are none.
    pub ports: Option<PortRange>,
    /// `--random`.
    pub random: bool,
    /// `--random-fully`.
    pub random_fully: bool,
}
