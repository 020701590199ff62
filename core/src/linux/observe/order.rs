//! Objects in an order in which they could be made: each after what it needs.

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
        Object::Rules(_) => 14,
        Object::File(_) => 15,
        Object::Process(_) => 16,
        Object::Proxy(_) | Object::Reservation(_) | Object::Resolver(_) | Object::Listener(_) => 17,
    }
}

/// Whether a setting is one of a device's: `net.ipv4.conf.eth0.rp_filter`.
pub(super) fn is_of_device(sysctl: &Sysctl) -> bool {
    device(&sysctl.key).is_some_and(|device| !matches!(device, "all" | "default"))
}

/// What a setting of `conf` is for.
pub(super) fn device(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("net.ipv4.conf.").or_else(|| key.strip_prefix("net.ipv6.conf."))?;
    rest.rsplit_once('.').map(|(device, _)| device)
}
