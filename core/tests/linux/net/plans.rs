//! The network objects of every trial are made, and changed as its steps say.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::linux::Error;
use seatrial_core::linux::net::Net;
use seatrial_core::plan::{Item, Namespace, NsName, Object, PlanOp, Planner};
use seatrial_core::probe::{Change, Step};
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial::{self, Trial};

use super::Place;
use crate::alone::alone;

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

/// Every trial file, in order.
fn files() -> Vec<PathBuf> {
    let trials = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/trials");
    let inside =
        |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = inside(trials).flat_map(inside).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".trial.yaml"));
    files.sort();
    files
}

/// Network namespaces, without anybody in them, and the devices that were made in them.
#[derive(Default)]
struct World(BTreeMap<NsName, Place>, Vec<Item>);

impl World {
    fn net(&self, ns: &NsName) -> Option<&Net> {
        self.0.get(ns).map(|place| &place.net)
    }

    fn add(&mut self, item: &Item) -> Result<(), Error> {
        if let Object::Namespace(Namespace::Network) = &item.object {
            self.0.insert(item.ns.clone(), Place::new(item.ns.as_str()));
        }
        if !network(&item.object) {
            return Ok(());
        }
        self.net(&item.ns).unwrap().add(&item.object, |ns| self.net(ns))?;
        self.1.extend(matches!(item.object, Object::Link(_)).then(|| item.clone()));
        Ok(())
    }

    /// Gives a namespace up. The kernel takes its time with what is in it, and names are to be free at once.
    fn give_up(&mut self, ns: &NsName) -> Result<(), Error> {
        let (gone, rest): (Vec<Item>, Vec<Item>) =
            std::mem::take(&mut self.1).into_iter().partition(|item| item.ns == *ns);
        self.1 = rest;
        let net = self.net(ns);
        gone.iter().rev().try_for_each(|item| net.map_or(Ok(()), |net| net.remove(&item.object)))?;
        self.0.remove(ns);
        Ok(())
    }

    fn carry_out(&mut self, op: &PlanOp) -> Result<(), Error> {
        match op {
            PlanOp::Add(item) => self.add(item),
            PlanOp::Remove(Item { ns, object: Object::Namespace(Namespace::Network) }) => self.give_up(ns),
            PlanOp::Remove(item) if network(&item.object) => {
                self.1.retain(|made| made != item);
                self.net(&item.ns).unwrap().remove(&item.object)
            }
            PlanOp::Replace(item) if network(&item.object) => {
                self.net(&item.ns).unwrap().replace(&item.object)
            }
            PlanOp::Remove(_) | PlanOp::Replace(_) => Ok(()),
            PlanOp::FlushConntrack { ns, address } => self.net(ns).unwrap().flush(*address),
            PlanOp::FlushConntrackPort { ns, transport, port } => {
                self.net(ns).unwrap().flush_port(*transport, *port)
            }
            PlanOp::Announce { ns, link, address } => self.net(ns).unwrap().announce(link, *address),
        }
    }

    /// What a change does, to wires too.
    fn change(&mut self, planner: &mut Planner, change: &Change) -> Result<(), Error> {
        let ops = planner.change(change).unwrap();
        ops.iter().try_for_each(|op| self.carry_out(op))?;
        match change {
            Change::Fault(node, device, fault) => {
                self.net(&NsName::from(node)).unwrap().fault(device, *fault)
            }
            Change::Stop(_) | Change::Start(_) | Change::Replace(_) => Ok(()),
            Change::Connect(..) | Change::Disconnect(..) | Change::Rule(..) => Ok(()),
        }
    }
}

const fn network(object: &Object) -> bool {
    match object {
        Object::Link(_) | Object::BridgePort(_) | Object::Address(_) | Object::Up(_) => true,
        Object::Route(_) | Object::PolicyRule(_) | Object::Neighbour(_) => true,
        Object::Namespace(_) | Object::Sysctl(_) | Object::Rules(_) | Object::Script(_) => false,
        Object::File(_) => false,
        Object::Process(_) | Object::Proxy(_) | Object::Reservation(_) => false,
        Object::Resolver(_) | Object::Listener(_) => false,
    }
}

/// Makes a trial's networks, and goes through its steps.
fn lay(trial: &Trial) -> Result<(), Error> {
    let (mut planner, plan) = Planner::new(&trial.topology).unwrap();
    let mut world = World::default();
    plan.items.iter().try_for_each(|item| world.add(item))?;
    let steps = trial.steps.iter().flat_map(|entry| &entry.alternatives).flat_map(|choice| &choice.lines);
    for step in steps {
        match &step.line {
            Step::Change(change) => world.change(&mut planner, change)?,
            Step::Expect(_) | Step::WaitMs(_) | Step::AtMs(_) => {}
        }
    }
    Ok(())
}

#[test]
fn the_networks_of_every_trial_are_made() {
    if !alone() {
        return;
    }
    let (mut made, mut lacking) = (0, 0);
    for path in files() {
        let trial = trial::read(&path, &Disk, &Options::default()).unwrap();
        match lay(&trial) {
            Ok(()) => made += 1,
            Err(error) if error.missing => {
                println!("skipped: {}: {error}", path.display());
                lacking += 1;
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    assert!(made > 2 * lacking, "{made} made, {lacking} not");
}
