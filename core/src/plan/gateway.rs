//! Which network carries a container's default route, family by family (daemon/libnetwork/sandbox.go: `Less`).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::container::Endpoint;
use super::network::{Gateway, Net};
use crate::addr::Family;
use crate::engine::{GatewayChoice, Profile};

/// The endpoints, by place in the container's list, that carry the default routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gateways {
    /// Of IPv4.
    pub(super) v4: Option<usize>,
    /// Of IPv6.
    pub(super) v6: Option<usize>,
}

impl Gateways {
    /// The one of a family.
    pub(super) const fn of(self, family: Family) -> Option<usize> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// The way out that an endpoint has in a family: that of its network, if it has an address there.
pub(super) fn way_out(endpoint: &Endpoint, net: &Net, family: Family) -> Option<Gateway> {
    endpoint.address(family).and_then(|_| net.gateway(family))
}

/// The endpoints' places, the best gateway first: by `gw_priority`, external before internal, more families before
/// fewer, then by the network's name.
pub(super) fn order(endpoints: &[Endpoint], networks: &BTreeMap<String, Net>) -> Vec<usize> {
    let key = |i: &usize| {
        let endpoint = endpoints.get(*i)?;
        let net = networks.get(&endpoint.attachment.network)?;
        let ways = Family::ALL.iter().filter(|f| way_out(endpoint, net, **f).is_some()).count();
        let priority = Reverse(endpoint.attachment.gw_priority);
        Some((priority, net.is_internal(), Reverse(ways), net.spec.name.clone()))
    };
    let mut places: Vec<usize> = (0..endpoints.len()).collect();
    places.sort_by_key(key);
    places
}

/// Chooses the gateways: until 27 of both families by IPv4's (26.1.5 observed); 28 gives both to the first dual-stack
/// network, even where a network of one family stands before it (28.5.2 observed); 29 chooses each family by itself.
pub(super) fn choose(endpoints: &[Endpoint], networks: &BTreeMap<String, Net>, profile: Profile) -> Gateways {
    let mut chosen = Gateways::default();
    for place in order(endpoints, networks) {
        let ways = endpoints.get(place).and_then(|e| networks.get(&e.attachment.network).map(|net| (e, net)));
        let Some((endpoint, net)) = ways else { continue };
        let [v4, v6] = Family::ALL.map(|f| way_out(endpoint, net, f).map(|_| place));
        let both = match profile.gateway_choice() {
            GatewayChoice::Ipv4First => v4.is_some(),
            GatewayChoice::DualStackFirst => v4.is_some() && v6.is_some(),
            GatewayChoice::PerFamily => false,
        };
        if both {
            return Gateways { v4, v6 };
        }
        chosen = Gateways { v4: chosen.v4.or(v4), v6: chosen.v6.or(v6) };
    }
    chosen
}
