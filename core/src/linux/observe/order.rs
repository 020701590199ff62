//! Objects in an order in which they could be made: each after what it needs.

use super::settings::Conf;
use crate::plan::{Item, LinkKind, Object, Sysctl};

/// Sorts objects; those of a kind keep the order they had.
pub(super) fn sort(items: &mut [Item]) {
    items.sort_by_key(|item| rank(&item.object));
}

fn rank(object: &Object) -> u8 {
    match object {
        Object::Namespace(_) => 0,
        // A device is born with what `default` says.
        Object::Sysctl(sysctl) if !is_of_device(sysctl) => 1,
        Object::Link(link) => match link.kind {
            LinkKind::Bridge | LinkKind::Dummy => 2,
            LinkKind::Veth(_) => 3,
            LinkKind::Vlan { .. } => 4,
            LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. } => 5,
        },
        Object::BridgePort(_) => 6,
        Object::Sysctl(_) => 7,
        Object::Address(_) => 8,
        Object::Up(_) => 9,
        // The way to a next hop comes before the way by it.
        Object::Route(route) if route.via.is_none() => 10,
        Object::Route(_) => 11,
        Object::PolicyRule(_) => 12,
        Object::Neighbour(_) => 13,
        Object::Rules(_) | Object::Script(_) => 14,
        Object::File(_) => 15,
        Object::Process(_) => 16,
        Object::Proxy(_) | Object::Reservation(_) | Object::Resolver(_) | Object::Listener(_) => 17,
    }
}

/// Whether a setting is one of a device's: `net.ipv4.conf.eth0.rp_filter`.
fn is_of_device(sysctl: &Sysctl) -> bool {
    Conf::of(&sysctl.key).is_some_and(|conf| !matches!(conf.device, "all" | "default"))
}
