//! Namespaces, read back into a plan: `observe(apply(p)) == p`, but for what the kernel adds.
//!
//! * [`View`]: what is looked at, and what it is called. [`observe`]: it is looked at.
//! * `network`: what netlink tells, as objects; `device`, `address`, `route`, `rule`, `neighbour`: of each kind.
//! * `settings`: which are read, and what each is where nobody wrote it. `ruleset`: the text of `iptables-save` and of
//!   `nft list`.
//! * `node`: namespaces of other kinds and whoever is in them; `proc`: what /proc shows of them; `mounts`, `life`,
//!   `socket`: what that means.
//! * `order`: objects stand after what they need.
//! * [`host`]: a whole Docker host, as it is found.
//! * [`differ`]: what tells a plan from what is seen. [`adds`]: the list of what the kernel adds.
//!
//! What asks the kernel is here; what makes objects of its answers is pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::net::Net;
use super::space::Space;
use super::{Error, rules, sysctl};
use crate::addr::{Family, IfName};
use crate::plan::{Item, Namespace, NsName, Object, Plan, Sysctl};
use crate::probe::NsKind;
use crate::rules::nft;
use crate::topology::NodeName;

mod address;
pub mod adds;
mod device;
pub mod differ;
pub mod host;
mod life;
mod mounts;
mod neighbour;
mod network;
mod node;
mod order;
mod proc;
mod route;
mod rule;
mod ruleset;
mod settings;
mod socket;

use node::Crowd;
pub use socket::Held;

/// What is looked at.
#[derive(Debug, Default)]
pub struct View<'a> {
    /// Namespaces, each with its name.
    pub spaces: Vec<(NsName, &'a Space)>,
    /// Settings that are read beside those that bear on packets: `net.…` of network namespaces, others of those of IPC.
    pub settings: Vec<(NsName, String)>,
    /// The nodes.
    pub nodes: Vec<First>,
    /// Whether devices that lead elsewhere, or that no plan has, are taken for cables into switches of the wire.
    pub wired: bool,
}

/// A node's first process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// The node.
    pub node: NodeName,
    /// Docker's name for the container; none for a machine.
    pub container: Option<String>,
    /// The process's number here.
    pub pid: u32,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// All that a plan has words for, in an order in which it could be made.
    pub plan: Plan,
    /// Sockets that somebody serves from outside.
    pub held: Vec<Held>,
    /// The rest: nothing is passed over in silence.
    pub unknown: Vec<Unknown>,
}

/// Something that no plan can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Where it is.
    pub ns: NsName,
    /// What it is, and why a plan has no word for it.
    pub what: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.ns, self.what)
    }
}

/// Looks at namespaces. Nothing in them is changed.
///
/// # Errors
/// What could not be looked at.
pub fn observe(view: &View<'_>) -> Result<Observed, Error> {
    let mut seen = Seen::default();
    let mut nets = Vec::new();
    for (ns, space) in view.of(NsKind::Network) {
        seen.item(ns, Object::Namespace(Namespace::Network));
        nets.push(Net::open(ns.clone(), space)?);
    }
    let told = nets.iter().map(|net| Ok((net.name().clone(), net.told(&nets)?)));
    let told = told.collect::<Result<Vec<_>, Error>>()?;
    network::objects(&told, view.wired, &mut seen);
    for (ns, space) in view.of(NsKind::Network) {
        let keys = settings::keys(seen.devices(ns), view.asked(ns, true));
        seen.settings(ns, sysctl::read(space, ns.as_str(), &keys)?);
        for family in Family::ALL {
            ruleset::read(ns, family, &rules::saved(space, ns.as_str(), family)?, &mut seen);
        }
    }
    for (net, (ns, space)) in nets.iter().zip(view.of(NsKind::Network)) {
        let tables = net.tables()?;
        let list = |(family, name): &(Family, String)| {
            Ok((*family, rules::listed(space, ns.as_str(), nft::family(*family), name)?))
        };
        let dockers = ruleset::dockers(&tables);
        let listed = dockers.iter().map(list).collect::<Result<Vec<_>, Error>>()?;
        ruleset::read_listed(ns, &listed, &mut seen);
        let unread = ruleset::unread(ns, &tables, &mut seen);
        let list = |(family, name): &(&str, String)| rules::listed(space, ns.as_str(), family, name);
        let written = unread.iter().map(list).collect::<Result<String, Error>>()?;
        ruleset::read_script(ns, &written, &mut seen);
    }
    for (ns, space) in view.of(NsKind::Ipc) {
        let keys: Vec<String> = view.asked(ns, false).cloned().collect();
        seen.settings(ns, sysctl::read(space, ns.as_str(), &keys)?);
    }
    let crowd = Crowd::of(view)?;
    crowd.namespaces(&mut seen)?;
    crowd.files(&mut seen)?;
    crowd.processes(&mut seen)?;
    crowd.sockets(&nets, &mut seen)?;
    order::sort(&mut seen.items);
    let Seen { items, held, unknown } = seen;
    Ok(Observed { plan: Plan { items }, held, unknown })
}

impl View<'_> {
    fn of(&self, kind: NsKind) -> impl Iterator<Item = (&NsName, &Space)> {
        self.spaces.iter().filter(move |(_, space)| space.kind() == kind).map(|(ns, space)| (ns, *space))
    }

    /// The settings that are asked for of a network namespace, or else of one of IPC.
    fn asked(&self, ns: &NsName, network: bool) -> impl Iterator<Item = &String> {
        let asked =
            self.settings.iter().filter(move |(of, key)| of == ns && key.starts_with("net.") == network);
        asked.map(|(_, key)| key)
    }
}

/// What has been seen so far.
#[derive(Debug, Default)]
struct Seen {
    items: Vec<Item>,
    held: Vec<Held>,
    unknown: Vec<Unknown>,
}

impl Seen {
    fn item(&mut self, ns: &NsName, object: Object) {
        self.items.push(Item { ns: ns.clone(), object });
    }

    fn unknown(&mut self, ns: &NsName, what: String) {
        self.unknown.push(Unknown { ns: ns.clone(), what });
    }

    fn settings(&mut self, ns: &NsName, settings: Vec<Sysctl>) {
        settings.into_iter().for_each(|setting| self.item(ns, Object::Sysctl(setting)));
    }

    /// The devices of a namespace, but for `lo`.
    fn devices(&self, ns: &NsName) -> Vec<IfName> {
        self.items.iter().flat_map(|item| settings::born(item, ns)).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
