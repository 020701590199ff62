//! Commands of nft while a topology runs: each is one line more of what nft was given where a node is.

use super::change::{Refused, difference};
use super::planner::{Planner, stands};
use super::{Item, LinkKind, NsName, Object, PlanOp};
use crate::addr::IfName;
use crate::probe::NsKind;
use crate::rules::nft::Script;
use crate::topology::NodeName;

impl Planner {
    /// Runs a command, its words apart by blanks as a shell would leave them.
    pub(super) fn nft(&mut self, node: &NodeName, command: &str) -> Result<Vec<PlanOp>, Refused> {
        let refuse = |why: String| Err(Refused::Command(format!("nft {command}: {why}")));
        let before = self.plan().items;
        let ns = self.place(node)?;
        if command.starts_with('-') {
            return refuse("options are not planned, only commands".to_owned());
        }
        if flushes(command) && !self.is_bare(&ns) {
            let why = "it takes Docker's rules and those of iptables too, and no plan says what an Engine does then";
            return refuse(why.to_owned());
        }
        let standing = self.scripts.get(&ns).cloned();
        let standing = standing.map_or_else(|| Script::read(""), Ok);
        let script = match standing.and_then(|standing| standing.and(command)) {
            Ok(script) => script,
            Err(e) => return refuse(format!("found {}, expected {}", e.found, e.expected)),
        };
        if let Some(table) = script.taken() {
            return refuse(format!("the table '{table}' is one that iptables or Docker writes in"));
        }
        if let Some(device) = script.devices.iter().find(|device| !has(&before, &ns, device)) {
            return refuse(format!("there is no device {device} in {ns}"));
        }
        self.scripts.insert(ns, script);
        Ok(difference(&before, &self.plan().items))
    }

    /// The network namespace that a node's commands run in.
    fn place(&self, node: &NodeName) -> Result<NsName, Refused> {
        if self.topology.lan.iter().any(|machine| machine.name == *node) {
            return Ok(NsName::from(node));
        }
        let mut engines = self.engines.iter();
        let Some(engine) = engines.find(|e| e.host.name == *node || e.index(node).is_some()) else {
            return Err(Refused::Command(format!("there is no node {node}")));
        };
        if self.off.contains(&engine.host.name) {
            return Err(Refused::Off(engine.host.name.clone()));
        }
        match engine.index(node).and_then(|index| engine.containers.get(index)) {
            Some(ctr) if !ctr.is_running() => Err(Refused::Command(format!("{node} does not run"))),
            Some(ctr) => Ok(ctr.ns(NsKind::Network)),
            None => Ok(NsName::from(node)),
        }
    }

    /// Whether nobody but people has written rules in a namespace.
    fn is_bare(&self, ns: &NsName) -> bool {
        !self.plan().items.iter().any(|item| item.ns == *ns && matches!(item.object, Object::Rules(_)))
    }

    /// What was written in a namespace goes with it.
    pub(super) fn forget_scripts(&mut self) {
        if self.scripts.is_empty() {
            return;
        }
        let items = self.plan().items;
        self.scripts.retain(|ns, _| stands(&items, ns));
    }
}

/// Whether one of several commands takes everybody's rules away.
fn flushes(commands: &str) -> bool {
    let begins = |command: &str| command.split_whitespace().take(2).eq(["flush", "ruleset"]);
    commands.split([';', '\n', '{', '}']).any(begins)
}

/// Whether a namespace has a device.
fn has(items: &[Item], ns: &NsName, device: &IfName) -> bool {
    let is = |item: &Item| {
        let Object::Link(link) = &item.object else { return false };
        let peer = matches!(&link.kind, LinkKind::Veth(peer) if peer.ns == *ns && peer.name == *device);
        peer || (item.ns == *ns && link.name == *device)
    };
    *device == IfName::lo() || items.iter().any(is)
}
