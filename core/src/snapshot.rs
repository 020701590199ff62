//! A Docker host as it was at one moment: what stands in its namespaces, as a plan, and what no plan has words for.
//!
//! It is one JSON document that has all there is to ask of it: what is asked, where, needs neither the host nor Docker.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::addr::{IfName, IpNet};
use crate::diagnostic::{At, Diagnostic, Diagnostics, Source};
use crate::plan::{Address, Item, NsName, Object, Plan, check, stranger};
use crate::topology::{LanMachine, NodeName};

/// The version of the document that this program writes and reads.
pub const VERSION: u32 = 1;

/// The largest document that is read, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// A Docker host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The document's version: [`VERSION`].
    pub seatrial_snapshot: u32,
    /// The release of its Linux, as `uname -r` says it.
    pub kernel: String,
    /// The version of its Docker Engine; none where it was not asked.
    pub engine: Option<String>,
    /// The devices that lead out of it, and are plugged into a switch of the same name here: that by which it reaches the
    /// rest of the world first.
    pub outside: Vec<IfName>,
    /// What was there that no plan has words for, a sentence each: answers hold but for that.
    pub unknown: Vec<String>,
    /// Everything else.
    pub plan: Plan,
}

/// What is read of a document before the rest of it.
#[derive(Deserialize)]
struct Version {
    seatrial_snapshot: Option<u32>,
}

impl Snapshot {
    /// Whether a text is meant to be one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.trim_start().starts_with('{') && text.contains("\"seatrial_snapshot\"")
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Where it is not JSON, of another version, or has a plan that no kernel could have.
    pub fn parse(source: &Arc<Source>) -> Result<Self, Diagnostics> {
        let wrong = |e: &serde_json::Error| {
            let at = At::new(source, place(&source.text, e.line(), e.column()));
            Diagnostic::new(at, format!("no snapshot: {e}"))
        };
        let Version { seatrial_snapshot } = serde_json::from_str(&source.text).map_err(|e| wrong(&e))?;
        let start = || At::new(source, 0..0);
        match seatrial_snapshot {
            Some(VERSION) => {}
            Some(other) => {
                let found = format!("a snapshot of version {other}");
                return Err(Diagnostic::new(start(), found).expected(format!("version {VERSION}")).into());
            }
            None => {
                let found = "no snapshot: it has no 'seatrial_snapshot'";
                return Err(Diagnostic::new(start(), found).expected("what seatrial snapshot writes").into());
            }
        }
        let snapshot: Self = serde_json::from_str(&source.text).map_err(|e| wrong(&e))?;
        match check::check(&snapshot.plan) {
            Ok(()) => Ok(snapshot),
            Err(faults) => {
                let faults = faults.into_iter().map(|fault| Diagnostic::new(start(), fault.to_string()));
                let mut all = Diagnostics::default();
                all.extend(faults);
                all.into_result(snapshot)
            }
        }
    }

    /// The document's text.
    ///
    /// # Errors
    /// Where the plan cannot be written as JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The plan with a machine on the wire of the first device that leads out, as whoever is out there, and what was
    /// assumed for that.
    #[must_use]
    pub fn surrounded(&self) -> (Plan, Vec<String>) {
        let mut plan = self.plan.clone();
        let name = NodeName::from("lan");
        let free = self.outside.iter().find_map(|device| self.free(device));
        let Some((device, net, address)) = free else {
            return (
                plan,
                vec!["nobody is on its wires: no device that leads out has room for one".to_owned()],
            );
        };
        let Ok(own) = IpNet::new(address, net.prefix_len()) else { return (plan, Vec::new()) };
        let lan = LanMachine { name, at: At::nowhere("lan"), addresses: vec![own], routes: Vec::new() };
        plan.items.extend(stranger(&lan, device));
        (plan, vec![format!("lan: a machine on {device}'s wire, {own}")])
    }

    /// The network of a device that leads out, and the highest address in it that nobody is known to have.
    fn free<'a>(&self, device: &'a IfName) -> Option<(&'a IfName, IpNet, IpAddr)> {
        let host = NsName::from(&NodeName::host());
        let own = || self.plan.items.iter().filter(|item| item.ns == host).map(|item| &item.object);
        let master = own().find_map(|object| {
            let Object::Link(link) = object else { return None };
            link.master.as_ref().filter(|_| link.name == *device)
        });
        let on = master.unwrap_or(device);
        let net = own().find_map(|object| {
            let Object::Address(Address { link, net, .. }) = object else { return None };
            (link == on).then_some(*net)
        });
        let net = net.filter(|net| net.addr().is_ipv4() && net.prefix_len() < 31)?;
        let IpNet::V4(v4) = net else { return None };
        let (first, last) = (u32::from(v4.network()), u32::from(v4.broadcast()));
        let free = (first + 1..last).rev().map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
        let free = free.take(usize::from(u8::MAX)).find(|address| !self.mentions(*address))?;
        Some((device, net, free))
    }

    /// Whether somebody has an address, or is the way to somewhere.
    fn mentions(&self, address: IpAddr) -> bool {
        self.plan.items.iter().any(|Item { object, .. }| match object {
            Object::Address(of) => of.net.addr() == address,
            Object::Route(route) => route.via == Some(address),
            Object::Neighbour(neighbour) => neighbour.address == address,
            Object::Namespace(_) | Object::Link(_) | Object::BridgePort(_) | Object::Up(_) => false,
            Object::PolicyRule(_) | Object::Sysctl(_) | Object::Rules(_) | Object::Script(_) => false,
            Object::File(_) => false,
            Object::Process(_) | Object::Proxy(_) | Object::Reservation(_) => false,
            Object::Resolver(_) | Object::Listener(_) => false,
        })
    }
}

/// The bytes at a line and a column of a text, as serde_json counts them.
fn place(text: &str, line: usize, column: usize) -> std::ops::Range<usize> {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let at = start + column.saturating_sub(1);
    at..at + 1
}
