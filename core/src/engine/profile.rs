//! What differs from one profile to the next: the questions the planner asks, each a table.
//!
//! 20.10, 23 to 26 and 28.2 to 28.5 are what captured engines did (fixtures/engines); 27, 28.0 to 28.1 and 29 are what
//! moby's sources of those versions say.

use serde::{Deserialize, Serialize};

use crate::addr::Family;

/// Versions that make the same network objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// 20.10: a network's rules stand in FORWARD itself, IPv4's alone; nothing is dropped that was not published.
    V20_10,
    /// 23 to 26: the same rules.
    V23,
    /// 27: the same rules for IPv6 too; gateway modes.
    V27,
    /// 28.0.0: a raw DROP for each published port; FORWARD asks a set of the networks' subnets.
    V28_0_0,
    /// 28.0.1 to 28.1: chains of their own, and a raw DROP for each published port.
    V28_0,
    /// 28.2 to 28.5: a raw DROP for each endpoint, isolation in two stages.
    V28_2,
    /// 29: networks are no longer kept apart; with iptables DOCKER-INTERNAL instead of the isolation stages.
    V29,
}

/// Where a network's rules stand in the table `filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// In FORWARD, the newest network first.
    Forward,
    /// In FORWARD itself, the newest network last, behind what is asked of a set of all subnets; bridges are kept apart in
    /// two stages.
    Sets,
    /// In chains of DOCKER-FORWARD, with bridges kept apart in two stages.
    Stages,
    /// In chains of DOCKER-FORWARD; only internal networks are apart.
    Internal,
}

/// What keeps others from a container's own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectAccess {
    /// Nothing.
    Open,
    /// A raw DROP for each published port; the rest is dropped in `filter`.
    PortsDropped,
    /// A raw DROP for the address.
    Dropped,
}

/// Which endpoints carry the default routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayChoice {
    /// The first endpoint with an IPv4 gateway carries both families.
    Ipv4First,
    /// The first dual-stack endpoint carries both, even where one of a single family stands before it.
    DualStackFirst,
    /// Each family has its own.
    PerFamily,
}

/// Where a container's hardware address comes from when nobody names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// `02:42` and the IPv4 address: whoever gets an address again answers under the neighbours' old entry.
    OfAddress,
    /// Random.
    Random,
}

/// Whose FORWARD comes to drop what nobody accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardDrop {
    /// IPv4's FORWARD where the daemon turned forwarding on; IPv6's always.
    Ipv6Always,
    /// A family's where the daemon turned its forwarding on.
    Turned,
}

impl Profile {
    /// Every profile, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V20_10, Self::V23, Self::V27, Self::V28_0_0, Self::V28_0, Self::V28_2, Self::V29];

    /// Where a network's rules stand.
    #[must_use]
    pub const fn filter(self) -> Filter {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 => Filter::Forward,
            Self::V28_0_0 => Filter::Sets,
            Self::V28_0 | Self::V28_2 => Filter::Stages,
            Self::V29 => Filter::Internal,
        }
    }

    /// What keeps others from a container's own address.
    #[must_use]
    pub const fn direct_access(self) -> DirectAccess {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 => DirectAccess::Open,
            Self::V28_0_0 | Self::V28_0 => DirectAccess::PortsDropped,
            Self::V28_2 | Self::V29 => DirectAccess::Dropped,
        }
    }

    /// Whether neighbours are kept from ports published on 127.0.0.1 (moby#45610).
    #[must_use]
    pub const fn guards_loopback(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 => false,
            Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29 => true,
        }
    }

    /// Whether a container's way to its own published port is masqueraded where docker-proxy serves it too.
    #[must_use]
    pub const fn masquerades_own_port(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 => true,
            Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29 => false,
        }
    }

    /// Whether link-local neighbours are left to docker-proxy: the kernel cannot answer them by DNAT.
    #[must_use]
    pub const fn spares_link_local(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 => false,
            Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29 => true,
        }
    }

    /// Whether containers come to other networks' published ports by docker-proxy, not by DNAT.
    #[must_use]
    pub const fn skips_dnat_between_networks(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 => true,
            Self::V29 => false,
        }
    }

    /// Whether that is so for routed networks without docker-proxy too (28.0.0: `setupNonInternalNetworkRules`).
    #[must_use]
    pub const fn skips_dnat_where_routed(self) -> bool {
        match self {
            Self::V28_0_0 => true,
            Self::V20_10 | Self::V23 | Self::V27 | Self::V28_0 | Self::V28_2 | Self::V29 => false,
        }
    }

    /// Whether rules are kept for a family where `iptables` or `ip6tables` is not written.
    #[must_use]
    pub const fn filters(self, family: Family) -> bool {
        match (self, family) {
            (_, Family::V4) => true,
            (Self::V20_10 | Self::V23, Family::V6) => false,
            (Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29, Family::V6) => true,
        }
    }

    /// Whether DOCKER-USER ends in a RETURN of the daemon's own.
    #[must_use]
    pub const fn user_chain_returns(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 | Self::V28_0_0 | Self::V28_0 => true,
            Self::V28_2 | Self::V29 => false,
        }
    }

    /// Whether DOCKER-USER is there in a family.
    #[must_use]
    pub const fn has_user_chain(self, family: Family) -> bool {
        match (self, family) {
            (Self::V20_10, Family::V6) => false,
            (Self::V20_10, Family::V4)
            | (Self::V23 | Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29, _) => true,
        }
    }

    /// Whether neighbours of an internal network may speak from link-local addresses.
    #[must_use]
    pub const fn internal_spares_bridge(self, family: Family) -> bool {
        match (self, family) {
            (_, Family::V4) | (Self::V20_10, Family::V6) => false,
            (Self::V23 | Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29, Family::V6) => {
                true
            }
        }
    }

    /// Whose FORWARD comes to drop what nobody accepts.
    #[must_use]
    pub const fn forward_drop(self) -> ForwardDrop {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 => ForwardDrop::Ipv6Always,
            Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29 => ForwardDrop::Turned,
        }
    }

    /// Which endpoints carry the default routes.
    #[must_use]
    pub const fn gateway_choice(self) -> GatewayChoice {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 => GatewayChoice::Ipv4First,
            Self::V28_0_0 | Self::V28_0 | Self::V28_2 => GatewayChoice::DualStackFirst,
            Self::V29 => GatewayChoice::PerFamily,
        }
    }

    /// Whether docker-proxy leaves the source address of a datagram's answer to routing (28.0: moby#48571).
    #[must_use]
    pub const fn proxy_answers_by_route(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 => true,
            Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29 => false,
        }
    }

    /// Whether published ports that stay keep their host ports when another network becomes the gateway.
    #[must_use]
    pub const fn keeps_bindings(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 => false,
            Self::V29 => true,
        }
    }

    /// Whether ports are published on every network that routes, not on the gateway's alone.
    #[must_use]
    pub const fn publishes_on_every_routed_network(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 => false,
            Self::V29 => true,
        }
    }

    /// Where hardware addresses come from.
    #[must_use]
    pub const fn hardware(self) -> Hardware {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 => Hardware::OfAddress,
            Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29 => Hardware::Random,
        }
    }

    /// Whether a bridge with IPv6 is `fe80::1` too (moby#47787).
    #[must_use]
    pub const fn bridge_is_fe80_1(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 => true,
            Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29 => false,
        }
    }

    /// Whether macvlan and ipvlan networks take the subnet's first address for a gateway that nobody named.
    #[must_use]
    pub const fn shared_parent_has_gateway(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 | Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 => true,
            Self::V29 => false,
        }
    }

    /// Whether IPv6 subnets are given by the daemon itself (`fd…`), so that a network need not name one.
    #[must_use]
    pub const fn gives_ipv6_subnets(self) -> bool {
        match self {
            Self::V20_10 | Self::V23 => false,
            Self::V27 | Self::V28_0_0 | Self::V28_0 | Self::V28_2 | Self::V29 => true,
        }
    }
}
