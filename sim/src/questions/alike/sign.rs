//! What is written down of each container: everything in the plan that has to do with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use seatrial_core::plan::{Item, Link, LinkKind, Neighbour, Object, Plan, Resolver, Sysctl, Zone};
use seatrial_core::topology::NodeName;

use super::rules;
use super::words::{self, Words, replace};

/// What was written down of one.
#[derive(Debug, Default)]
pub(super) struct Signed {
    pub(super) text: String,
    /// Its words, by the numbers that stand for them.
    pub(super) words: Vec<String>,
}

impl Signed {
    /// Writes a line, with numbers in the place of its words.
    pub(super) fn line(&mut self, text: &str, node: &NodeName, words: &Words) {
        let own = &mut self.words;
        let line = replace(text, &mut |word| {
            words.is_of(word, node).then_some(())?;
            let known = own.iter().position(|w| w == word);
            let number = known.unwrap_or_else(|| {
                own.push(word.to_owned());
                own.len() - 1
            });
            Some(format!("${number}"))
        });
        self.text += &line;
        self.text.push('\n');
    }
}

/// Goes through the plan.
pub(super) fn sign(plan: &Plan, words: &Words) -> BTreeMap<NodeName, Signed> {
    let mut words = words.clone();
    rules::set_apart(plan, &mut words);
    let words = &words;
    let mut all: BTreeMap<NodeName, Signed> =
        words.nodes().map(|node| (node.clone(), Signed::default())).collect();
    let mut others = String::new();
    let zones = words::zones(plan);
    for item in &plan.items {
        match (&item.object, words.owner_of_ns(&item.ns)) {
            (Object::Rules(ruleset), None) => rules::sign(&item.ns, ruleset, words, &mut all, &mut others),
            (Object::Script(script), None) => {
                let sign = |ruleset: &_| rules::sign(&item.ns, ruleset, words, &mut all, &mut others);
                script.rulesets.iter().map(|ruleset| &**ruleset).for_each(sign);
            }
            (Object::Resolver(resolver), owner) => {
                let text = resolver_text(item, resolver, &zones);
                note(owner, &text, words, &mut all, &mut others);
            }
            (_, owner) => note(owner, &text(item, words), words, &mut all, &mut others),
        }
    }
    for (number, zone) in zones.iter().enumerate() {
        sign_zone(number, zone, words, &mut all);
    }
    sign_limits(&others, &mut all);
    all
}

/// Notes a line with everyone whose namespace it is about, or whose words are in it.
fn note(
    owner: Option<&NodeName>,
    text: &str,
    words: &Words,
    all: &mut BTreeMap<NodeName, Signed>,
    others: &mut String,
) {
    let mut about = words.owners_in(text);
    about.extend(owner);
    if about.is_empty() {
        others.push_str(text);
        others.push('\n');
    }
    for node in about {
        if let Some(signed) = all.get_mut(node) {
            signed.line(text, node, words);
        }
    }
}

/// An item in words; a port that is held, as its container's.
fn text(item: &Item, words: &Words) -> String {
    let held = if let Object::Reservation(reservation) = &item.object {
        words.publisher(reservation.transport, reservation.listen.port())
    } else {
        None
    };
    let of = held.map(|node| format!(" of {node}")).unwrap_or_default();
    match &item.object {
        // Words are parted by what is no letter, and here not by what Rust makes of it.
        Object::File(file) => format!("{} {} {}", item.ns, file.path, file.content),
        Object::Sysctl(Sysctl { key, value }) => format!("{} {} {value}", item.ns, key.replace('.', " ")),
        Object::Link(link) => link_text(item, link),
        Object::Neighbour(Neighbour { link, address, mac }) => format!("{} {link} {address} {mac}", item.ns),
        object @ (Object::Namespace(_) | Object::BridgePort(_) | Object::Address(_)) => {
            format!("{} {object:?}", item.ns)
        }
        object @ (Object::Up(_) | Object::Route(_) | Object::PolicyRule(_)) => {
            format!("{} {object:?}", item.ns)
        }
        object @ Object::Script(_) => format!("{} {object:?}", item.ns),
        object @ (Object::Rules(_) | Object::Process(_) | Object::Proxy(_) | Object::Reservation(_)) => {
            format!("{} {object:?}{of}", item.ns)
        }
        object @ (Object::Resolver(_) | Object::Listener(_)) => format!("{} {object:?}", item.ns),
    }
}

/// A device, with its hardware addresses as words.
fn link_text(item: &Item, link: &Link) -> String {
    let mut link = link.clone();
    let mut macs = vec![link.mac.take()];
    if let LinkKind::Veth(peer) = &mut link.kind {
        macs.push(peer.mac.take());
    }
    let macs = macs.into_iter().map(|mac| mac.map_or_else(|| "any".to_owned(), |mac| mac.to_string()));
    format!("{} {link:?} {}", item.ns, macs.collect::<Vec<_>>().join(" "))
}

/// A resolver: what it knows is one zone of many.
fn resolver_text(item: &Item, resolver: &Resolver, zones: &[&Arc<Zone>]) -> String {
    let Resolver { udp_port, tcp_port, zone, upstream } = resolver;
    let number = zones.iter().position(|known| Arc::ptr_eq(known, zone));
    format!("{} resolver {udp_port} {tcp_port} zone {number:?} {upstream:?}", item.ns)
}

/// The names of each in a zone: those that others ask for have a number, of the others it is known how many there are.
fn sign_zone(number: usize, zone: &Zone, words: &Words, all: &mut BTreeMap<NodeName, Signed>) {
    let mut others: BTreeMap<&NodeName, BTreeMap<Vec<usize>, usize>> = BTreeMap::new();
    for (name, addresses) in &zone.names {
        let Some(node) = words.owner(name) else { continue };
        let Some(signed) = all.get_mut(node) else { continue };
        let place = |a: &IpAddr| signed.words.iter().position(|w| *w == a.to_string()).unwrap_or(usize::MAX);
        let places: Vec<usize> = addresses.iter().map(place).collect();
        if signed.words.iter().any(|word| word == name) || name == super::super::machines::service(node) {
            signed.line(&format!("zone {number} {name} {places:?}"), node, words);
        } else {
            *others.entry(node).or_default().entry(places).or_default() += 1;
        }
    }
    for (node, counts) in others {
        if let Some(signed) = all.get_mut(node) {
            let _ = writeln!(signed.text, "zone {number} others {counts:?}");
        }
    }
}

/// Where its words lie among what stands in the rest of the plan: in which networks, between which numbers, and which
/// names of devices they begin like.
fn sign_limits(others: &str, all: &mut BTreeMap<NodeName, Signed>) {
    let (mut nets, mut numbers, mut stems) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for word in others.split(|c: char| c.is_whitespace() || "(),\"[]{}".contains(c)) {
        nets.extend(word.parse::<IpNet>().ok());
        numbers.extend(word.parse::<u16>().ok());
        stems.extend(word.strip_suffix('+'));
    }
    for Signed { text, words } in all.values_mut() {
        // A port of its own resolver's lies among its own numbers.
        let own: BTreeSet<u16> =
            text.split(|c: char| !c.is_alphanumeric()).filter_map(|w| w.parse().ok()).collect();
        let numbers: BTreeSet<u16> = numbers.union(&own).copied().collect();
        for word in words.iter() {
            let within: Vec<usize> = word.parse::<IpAddr>().map_or_else(
                |_| Vec::new(),
                |address| {
                    nets.iter()
                        .enumerate()
                        .filter(|(_, net)| net.contains(&address))
                        .map(|(n, _)| n)
                        .collect()
                },
            );
            let number = word
                .parse::<u16>()
                .map_or((0, false), |number| (numbers.range(..number).count(), numbers.contains(&number)));
            let like: Vec<usize> = stems
                .iter()
                .enumerate()
                .filter(|(_, stem)| word.starts_with(**stem))
                .map(|(n, _)| n)
                .collect();
            let _ = writeln!(text, "{within:?} {number:?} {like:?}");
        }
    }
}
