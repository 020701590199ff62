//! The list of what the kernel adds to a plan, and of what it leaves otherwise: all that [`differ`](super::differ)
//! passes over, each with its reason.

use crate::addr::{Family, IfName, IpNet};
use crate::linux::sysctl::PING_GROUPS;
use crate::plan::{Address, Item, LinkKind, NsName, Object, Plan, PolicyRule, Route, Sysctl};
use crate::rules::Counters;

use super::settings::{alike, value};

/// Objects that are there and that nobody planned.
#[derive(Debug, Clone, Copy)]
pub struct Addition {
    /// What they are.
    pub what: &'static str,
    /// Why the kernel has them.
    pub why: &'static str,
    /// Whether an object is one, beside a plan.
    pub is: fn(&Item, &Plan) -> bool,
}

/// Something of an object that is there otherwise than planned.
#[derive(Debug, Clone, Copy)]
pub struct Likeness {
    /// What.
    pub what: &'static str,
    /// Why it is no difference.
    pub why: &'static str,
    /// Makes it the same in an object as planned and as seen.
    pub of: fn(&mut Object, &mut Object),
}

/// What the kernel adds.
pub const ADDS: &[Addition] = &[
    Addition {
        what: "addresses of lo",
        why: "127.0.0.1/8 and ::1/128 come when lo goes up (inetdev_event, init_loopback)",
        is: |item, _| {
            let Object::Address(Address { link, net, .. }) = &item.object else { return false };
            *link == IfName::lo() && ["127.0.0.1/8", "::1/128"].contains(&net.to_string().as_str())
        },
    },
    Addition {
        what: "link-local addresses",
        why: "each device that is up and may speak IPv6 gives itself one, fe80::/64 (addrconf_dev_config)",
        is: |item, plan| {
            let Object::Address(Address { link, net, .. }) = &item.object else { return false };
            is_link_local(*net) && speaks_ipv6(plan, &item.ns, link)
        },
    },
    Addition {
        what: "routes to link-local addresses",
        why: "one a device, with its link-local address (addrconf_add_linklocal)",
        is: |item, plan| {
            let Object::Route(Route { to, via: None, dev: Some(dev), table: None, metric, source: None }) =
                &item.object
            else {
                return false;
            };
            is_link_local(*to) && *metric == Some(PREFIX) && speaks_ipv6(plan, &item.ns, dev)
        },
    },
    Addition {
        what: "routes to the networks of addresses",
        why: "each address on a device that is up makes one to its neighbours (fib_add_ifaddr, addrconf_prefix_route)",
        is: |item, plan| {
            let Object::Route(route) = &item.object else { return false };
            plan.items.iter().any(|other| other.ns == item.ns && leads_to(route, &other.object))
        },
    },
    Addition {
        what: "settings that nobody wrote",
        why: "a namespace is born with them, a device has them from `default`, and some of `all` reach every device",
        is: |item, plan| {
            let Object::Sysctl(Sysctl { key, value: seen }) = &item.object else { return false };
            value(plan, &item.ns, key).is_some_and(|value| alike(key, &value, seen))
        },
    },
    Addition {
        what: "policy rules of the tables local, main and default",
        why: "a namespace is born with them (fib_default_rules_init, fib6_rules_net_init)",
        is: |item, _| {
            let Object::PolicyRule(rule) = &item.object else { return false };
            let PolicyRule { priority, from, to: None, iif: None, fwmark: None, table } = rule else {
                return false;
            };
            from.is_none_or(|from| from.prefix_len() == 0)
                && [(0, 255), (32766, 254), (32767, 253)].contains(&(*priority, *table))
        },
    },
];

/// What is there otherwise.
pub const LIKES: &[Likeness] = &[
    Likeness {
        what: "hardware addresses that nobody chose",
        why: "where a plan names none the kernel takes one at random",
        of: |planned, seen| {
            let (Object::Link(planned), Object::Link(seen)) = (planned, seen) else { return };
            if planned.mac.is_none() {
                seen.mac = None;
            }
            if let (LinkKind::Veth(planned), LinkKind::Veth(seen)) = (&planned.kind, &mut seen.kind)
                && planned.mac.is_none()
            {
                seen.mac = None;
            }
        },
    },
    Likeness {
        what: "what rules have counted",
        why: "packets have passed by since",
        of: |planned, seen| [planned, seen].into_iter().for_each(forget_counters),
    },
    Likeness {
        what: "the last group that may send echo requests",
        why: "whoever is no root has fewer groups than Docker's range names (apply ends it with the last there is)",
        of: |planned, seen| {
            let (Object::Sysctl(planned), Object::Sysctl(seen)) = (planned, seen) else { return };
            let first = |value: &str| value.split_once(' ').map(|(first, _)| first.to_owned());
            if planned.key == PING_GROUPS && first(&planned.value) == first(&seen.value) {
                seen.value.clone_from(&planned.value);
            }
        },
    },
    Likeness {
        what: "devices of routes that are only given a next hop",
        why: "the kernel looks for the device that leads there, once (fib_check_nh)",
        of: |planned, seen| {
            let (Object::Route(planned), Object::Route(seen)) = (planned, seen) else { return };
            if planned.dev.is_none() {
                seen.dev = None;
            }
        },
    },
];

/// The metric of routes that come with an address of IPv6 (`IP6_RT_PRIO_ADDRCONF`).
const PREFIX: u32 = 256;

fn is_link_local(net: IpNet) -> bool {
    match net {
        IpNet::V6(net) => net.addr().is_unicast_link_local() && net.prefix_len() == 64,
        IpNet::V4(_) => false,
    }
}

/// Whether a device is up, and may speak IPv6.
fn speaks_ipv6(plan: &Plan, ns: &NsName, device: &IfName) -> bool {
    let key = format!("net.ipv6.conf.{}.disable_ipv6", device.as_str().replace('.', "/"));
    let up = plan.items.iter().any(|item| item.ns == *ns && item.object == Object::Up(device.clone()));
    up && value(plan, ns, &key).as_deref() == Some("0")
}

/// Whether a route is the one that comes with an address.
fn leads_to(route: &Route, object: &Object) -> bool {
    let Object::Address(address) = object else { return false };
    let (metric, source) = match Family::of_net(address.net) {
        Family::V4 => (None, Some(address.net.addr())),
        Family::V6 => (Some(PREFIX), None),
    };
    let to = address.net.trunc();
    let dev = Some(address.link.clone());
    *route == Route { to, via: None, dev, table: None, metric, source }
}

fn forget_counters(object: &mut Object) {
    let Object::Rules(rules) = object else { return };
    for chain in rules.tables.iter_mut().flat_map(|table| &mut table.chains) {
        chain.counters = Counters::default();
        chain.rules.iter_mut().for_each(|rule| rule.counters = None);
    }
}
