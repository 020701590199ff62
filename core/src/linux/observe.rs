//! Namespaces, read back into a plan: `observe(apply(p)) == p`, but for what the kernel adds.
//!
//! * [`View`]: what is looked at, and what it is called. [`observe`]: it is looked at.
//! * `network`: what netlink tells, as objects; `device`, `address`, `route`, `rule`, `neighbour`: of each kind.
//! * `order`: objects stand after what they need.
//! * [`differ`]: what tells a plan from what is seen. [`adds`]: the list of what the kernel adds.
//!
//! What asks the kernel is here; what makes objects of its answers is pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Error;
use super::net::Net;
use super::space::Space;
use crate::plan::{Item, Namespace, NsName, Object, Plan};
use crate::probe::NsKind;

mod address;
pub mod adds;
mod device;
pub mod differ;
mod neighbour;
mod network;
mod order;
mod route;
mod rule;

/// What is looked at.
#[derive(Debug, Default)]
pub struct View<'a> {
    /// Namespaces, each with its name.
    pub spaces: Vec<(NsName, &'a Space)>,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// All that a plan has words for, in an order in which it could be made.
    pub plan: Plan,
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
    let mut items = Vec::new();
    let mut nets = Vec::new();
    for (ns, space) in &view.spaces {
        if space.kind() == NsKind::Network {
            items.push(Item { ns: ns.clone(), object: Object::Namespace(Namespace::Network) });
            nets.push(Net::open(ns.clone(), space)?);
        }
    }
    let told = nets.iter().map(|net| Ok((net.name().clone(), net.told(&nets)?)));
    let (objects, unknown) = network::objects(&told.collect::<Result<Vec<_>, Error>>()?);
    items.extend(objects);
    order::sort(&mut items);
    Ok(Observed { plan: Plan { items }, unknown })
}

#[cfg(test)]
mod tests;
