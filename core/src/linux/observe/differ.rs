//! What tells a plan from what is seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use super::adds::{ADDS, LIKES};
use super::{Held, Observed, Unknown};
use crate::addr::{Family, Transport};
use crate::linux::observe::route::default_metric;
use crate::linux::resolver::ADDRESS as RESOLVER;
use crate::linux::sysctl::words;
use crate::plan::{Item, Link, LinkKind, NsName, Object, Peer, Plan, Route, Sysctl};
use crate::rules::iptables::save;
use crate::rules::{Backend, Ruleset, nft};

/// What differs; the plan and what is seen are one where there is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Objects of the plan that are not there.
    pub missing: Vec<Item>,
    /// Objects that are there otherwise: planned, and seen.
    pub other: Vec<(Item, Item)>,
    /// Objects that nobody planned, and that the kernel does not add.
    pub added: Vec<Item>,
    /// What no plan could have.
    pub unknown: Vec<Unknown>,
    /// Entries of both lists that something was there for.
    pub used: Vec<&'static str>,
}

impl Differences {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Self { missing, other, added, unknown, used: _ } = self;
        missing.is_empty() && other.is_empty() && added.is_empty() && unknown.is_empty()
    }
}

/// Holds what is seen against a plan.
#[must_use]
pub fn differ(plan: &Plan, seen: &Observed) -> Differences {
    let planned = normal(plan);
    let mut rest: Vec<(String, Item)> = normal(&seen.plan).into_iter().map(keyed).collect();
    let mut held = seen.held.clone();
    let mut differences = Differences { unknown: seen.unknown.clone(), ..Differences::default() };
    differences.order(&planned, &rest);
    for item in &planned {
        if let Some(sockets) = served(item) {
            let there = sockets.iter().filter(|socket| take(&mut held, socket)).count();
            if there < sockets.len() {
                differences.missing.push(item.clone());
            }
            continue;
        }
        let key = key(item);
        match rest.iter().position(|(other, _)| *other == key).map(|place| rest.remove(place)) {
            None => differences.missing.push(item.clone()),
            Some((_, other)) => differences.hold(item, other),
        }
    }
    differences.unknown.extend(held.iter().map(unplanned));
    for (_, item) in rest {
        match ADDS.iter().find(|entry| (entry.is)(&item, plan)) {
            Some(entry) => differences.used.push(entry.what),
            None => differences.added.push(item),
        }
    }
    differences
}

/// The sockets of what is served from outside: of that, no more is told.
fn served(item: &Item) -> Option<Vec<Held>> {
    let one = |transport, at: SocketAddr| Held {
        ns: item.ns.clone(),
        transport,
        address: Some(at.ip()),
        port: at.port(),
    };
    if let Object::Proxy(proxy) = &item.object {
        Some(vec![one(proxy.transport, proxy.listen)])
    } else if let Object::Reservation(held) = &item.object {
        Some(vec![one(held.transport, held.listen)])
    } else if let Object::Resolver(resolver) = &item.object {
        let ports = [(Transport::Udp, resolver.udp_port), (Transport::Tcp, resolver.tcp_port)];
        Some(ports.map(|(transport, port)| one(transport, (RESOLVER, port).into())).to_vec())
    } else {
        None
    }
}

/// Takes a socket away from those that there are.
fn take(held: &mut Vec<Held>, socket: &Held) -> bool {
    let place = held.iter().position(|other| other == socket);
    place.map(|place| held.remove(place)).is_some()
}

fn unplanned(Held { ns, transport, address, port }: &Held) -> Unknown {
    let address = address.map_or_else(|| "*".to_owned(), |address| address.to_string());
    Unknown { ns: ns.clone(), what: format!("a {transport} socket on {address} port {port}") }
}

impl Differences {
    /// Of a device's addresses the first counts for more: they stand in one order.
    fn order(&mut self, planned: &[Item], seen: &[(String, Item)]) {
        let wanted: Vec<(String, &Item)> = planned.iter().filter_map(addresses).collect();
        let known = |item: &&Item| planned.iter().any(|other| key(other) == key(item));
        let found: Vec<(String, &Item)> =
            seen.iter().map(|(_, item)| item).filter(known).filter_map(addresses).collect();
        let of = |all: &[(String, &Item)], device: &str| -> Vec<Item> {
            all.iter().filter(|(of, _)| of == device).map(|(_, item)| (*item).clone()).collect()
        };
        let devices: BTreeSet<&String> = wanted.iter().map(|(device, _)| device).collect();
        for device in devices {
            let pairs = of(&wanted, device).into_iter().zip(of(&found, device));
            self.other.extend(pairs.filter(|(a, b)| key(a) != key(b)));
        }
    }

    /// Holds two objects of one name against each other.
    fn hold(&mut self, planned: &Item, seen: Item) {
        let mut alike = (planned.object.clone(), seen.object.clone());
        for entry in LIKES {
            let before = alike.clone();
            (entry.of)(&mut alike.0, &mut alike.1);
            if before != alike {
                self.used.push(entry.what);
            }
        }
        if alike.0 != alike.1 {
            self.other.push((planned.clone(), seen));
        }
    }
}

/// Lines of a plan's text: `-` what is missing, `+` what nobody planned.
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.missing.iter().try_for_each(|item| writeln!(f, "- {item}"))?;
        for (planned, seen) in &self.other {
            match (&planned.object, &seen.object) {
                (Object::Rules(planned_rules), Object::Rules(seen_rules)) => {
                    writeln!(f, "  rules of {}:", planned.ns)?;
                    lines(f, &text(planned_rules), &text(seen_rules))?;
                }
                (_, _) => writeln!(f, "- {planned}\n+ {seen}")?,
            }
        }
        self.added.iter().try_for_each(|item| writeln!(f, "+ {item}"))?;
        self.unknown.iter().try_for_each(|unknown| writeln!(f, "? {unknown}"))
    }
}

/// Rules as the tool that wrote them shows them.
fn text(rules: &Ruleset) -> String {
    match rules.backend {
        Backend::Iptables => save(rules),
        Backend::Nft => nft::list(rules).unwrap_or_else(|e| e.to_string()),
    }
}

/// The lines that only one of two texts has, or that stand elsewhere.
fn lines(f: &mut fmt::Formatter<'_>, planned: &str, seen: &str) -> fmt::Result {
    let only = |a: &str, b: &str| -> Vec<String> {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(str::to_owned).collect()
    };
    let (missing, added) = (only(planned, seen), only(seen, planned));
    if missing.is_empty() && added.is_empty() {
        return writeln!(f, "- in this order:\n{planned}+ in this order:\n{seen}");
    }
    missing.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
    added.iter().try_for_each(|line| writeln!(f, "+ {line}"))
}

fn keyed(item: Item) -> (String, Item) {
    (key(&item), item)
}

/// The device and the family that an address is one of.
fn addresses(item: &Item) -> Option<(String, &Item)> {
    let Object::Address(address) = &item.object else { return None };
    Some((format!("{} {} {}", item.ns, address.link, Family::of_net(address.net).number()), item))
}

/// What makes an object the one it is.
fn key(item: &Item) -> String {
    format!("{} {}", item.ns, name(&item.object))
}

/// What makes an object the one it is, among those of its namespace.
fn name(object: &Object) -> String {
    match object {
        Object::Namespace(namespace) => format!("namespace {}", namespace.kind()),
        Object::Link(link) => format!("link {}", link.name),
        Object::BridgePort(port) => format!("port {}", port.link),
        Object::Address(address) => format!("address {} {}", address.link, address.net),
        Object::Up(name) => format!("up {name}"),
        Object::Route(route) => {
            format!("route {} {:?} {:?} {:?}", route.to, route.table, route.metric, route.via)
        }
        Object::PolicyRule(rule) => format!("rule {} {:?} {:?}", rule.priority, rule.from, rule.to),
        Object::Neighbour(neighbour) => format!("neighbour {} {}", neighbour.link, neighbour.address),
        Object::Sysctl(sysctl) => format!("sysctl {}", sysctl.key),
        Object::Rules(rules) => format!("rules {:?} {:?}", rules.family, rules.backend),
        Object::Script(_) => "script".to_owned(),
        Object::File(file) => format!("file {}", file.path),
        Object::Process(process) => format!("process {}", process.node),
        Object::Proxy(proxy) => format!("proxy {} {}", proxy.transport, proxy.listen),
        Object::Reservation(held) => format!("reservation {} {}", held.transport, held.listen),
        Object::Resolver(_) => "resolver".to_owned(),
        Object::Listener(l) => format!("listener {} {} {:?} {}", l.node, l.transport, l.address, l.port),
    }
}

/// A plan's objects, each said in one way where it could be said in several, and of what is written over the last.
fn normal(plan: &Plan) -> Vec<Item> {
    let mut last = BTreeMap::new();
    for (place, item) in plan.items.iter().enumerate() {
        if let Object::Sysctl(sysctl) = &item.object {
            last.insert((&item.ns, &sysctl.key), place);
        }
    }
    let stands = |(place, item): &(usize, &Item)| {
        let Object::Sysctl(sysctl) = &item.object else { return true };
        last.get(&(&item.ns, &sysctl.key)) == Some(place)
    };
    plan.items.iter().enumerate().filter(stands).map(|(_, item)| plain(item)).collect()
}

fn plain(item: &Item) -> Item {
    if let Object::Link(link) = &item.object {
        cable(&item.ns, link)
    } else if let Object::Route(route) = &item.object {
        Item { ns: item.ns.clone(), object: Object::Route(plain_route(route)) }
    } else if let Object::Sysctl(Sysctl { key, value }) = &item.object {
        let sysctl = Sysctl { key: key.clone(), value: words(value) };
        Item { ns: item.ns.clone(), object: Object::Sysctl(sysctl) }
    } else {
        item.clone()
    }
}

/// A cable has two ends and no direction: it is told from that whose namespace and name come first.
fn cable(ns: &NsName, link: &Link) -> Item {
    const ETHERNET: Option<u32> = Some(1500);
    let mtu = |mtu: Option<u32>| if mtu == ETHERNET { None } else { mtu };
    let mut link = Link { mtu: mtu(link.mtu), ..link.clone() };
    let mut ns = ns.clone();
    if let LinkKind::Veth(peer) = &link.kind {
        let peer = Peer { mtu: mtu(peer.mtu), ..peer.clone() };
        link.kind = LinkKind::Veth(peer.clone());
        if (&peer.ns, &peer.name) < (&ns, &link.name) {
            let Link { name, mac, mtu, master, .. } = link;
            let there = std::mem::replace(&mut ns, peer.ns);
            let kind = LinkKind::Veth(Peer { ns: there, name, mac, mtu, master });
            link = Link { name: peer.name, kind, mac: peer.mac, mtu: peer.mtu, master: peer.master };
        }
    }
    Item { ns, object: Object::Link(link) }
}

fn plain_route(route: &Route) -> Route {
    const MAIN: Option<u32> = Some(254);
    let default = Some(default_metric(Family::of_net(route.to)));
    Route {
        to: route.to.trunc(),
        table: if route.table == MAIN { None } else { route.table },
        metric: if route.metric == default { None } else { route.metric },
        ..route.clone()
    }
}

#[cfg(test)]
mod tests;
