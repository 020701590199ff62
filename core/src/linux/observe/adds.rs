//! The list of what the kernel adds to a plan, and of what it leaves otherwise: all that [`differ`](super::differ)
//! passes over, each with its reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::addr::{Family, IfName, IpNet};
use crate::linux::node::mounts::image;
use crate::linux::node::rights::{capabilities, options};
use crate::linux::sysctl::PING_GROUPS;
use crate::plan::{
    Address, Item, LinkKind, MountRoot, Namespace, NsName, Object, Plan, PolicyRule, Route, Sysctl,
};
use crate::rules::{Counters, Match};
use crate::topology::Mount;

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
        what: "the words of a text for nft",
        why: "nft lists the tables that it has made of them",
        of: |planned, seen| [planned, seen].into_iter().for_each(forget_text),
    },
    Likeness {
        what: "what is in a set of networks",
        why: "rules name the set alone",
        of: |planned, seen| [planned, seen].into_iter().for_each(forget_sets),
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
        what: "what is mounted in every container, and whence",
        why: "the image here is the machine's own programs, read-only; of a source only its path within its file system \
              is told, and of a tmpfs its options in other words",
        of: |planned, seen| {
            let (Object::Namespace(Namespace::Mount(planned)), Object::Namespace(Namespace::Mount(seen))) =
                (planned, seen)
            else {
                return;
            };
            let (wanted, mut found) = (targets(planned), targets(seen));
            found.retain(|target, read_only| {
                wanted.contains_key(target) || !(*read_only && image::holds(target))
            });
            (*planned, *seen) = (mounted(planned, wanted), mounted(seen, found));
        },
    },
    Likeness {
        what: "rights in other words",
        why: "options say what is added to Docker's default and dropped from it, and a process has what came of it",
        of: |planned, seen| [planned, seen].into_iter().for_each(say_rights),
    },
    Likeness {
        what: "users and commands",
        why: "a container's first process here is one that looks after the others; those run as the user",
        of: |planned, seen| {
            let (Object::Process(planned), Object::Process(seen)) = (planned, seen) else { return };
            (seen.user, seen.program) = (planned.user.clone(), planned.program.clone());
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
    for chain in Arc::make_mut(rules).tables.iter_mut().flat_map(|table| &mut table.chains) {
        chain.counters = Counters::default();
        chain.rules.iter_mut().for_each(|rule| rule.counters = None);
    }
}

fn forget_text(object: &mut Object) {
    let Object::Script(script) = object else { return };
    let script = Arc::make_mut(script);
    (script.text, script.devices) = Default::default();
}

fn forget_sets(object: &mut Object) {
    let Object::Rules(rules) = object else { return };
    let chains = Arc::make_mut(rules).tables.iter_mut().flat_map(|table| &mut table.chains);
    for of in chains.flat_map(|chain| &mut chain.rules).flat_map(|rule| &mut rule.matches) {
        if let Match::Set(set) = of {
            set.value.networks = None;
        }
    }
}

/// Where something is mounted, and whether it is read-only. Folders that are links on most machines and in the stage's
/// image are told by where they lead.
fn targets(root: &MountRoot) -> BTreeMap<String, bool> {
    let memory = root.tmpfs.iter().map(|text| {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        (led(target), options.split(',').any(|option| option == "ro"))
    });
    memory.chain(root.mounts.iter().map(|mount| (led(&mount.target), mount.read_only))).collect()
}

fn led(target: &str) -> String {
    let target = target.trim_end_matches('/');
    let link = ["/bin/", "/sbin/", "/lib/", "/lib64/"].iter().any(|folder| target.starts_with(folder));
    match target.strip_prefix("/var/run/") {
        Some(rest) => format!("/run/{rest}"),
        None if link => format!("/usr{target}"),
        None => target.to_owned(),
    }
}

fn mounted(root: &MountRoot, targets: BTreeMap<String, bool>) -> MountRoot {
    let mounts = targets.into_iter().map(|(target, read_only)| Mount { source: None, target, read_only });
    MountRoot { read_only: root.read_only, mounts: mounts.collect(), ..MountRoot::default() }
}

fn say_rights(object: &mut Object) {
    let Object::Process(process) = object else { return };
    let all = process.container.is_none() || process.privileged;
    (process.cap_add, process.cap_drop) =
        if all { Default::default() } else { options(capabilities(process)) };
}
