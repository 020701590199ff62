//! Lane vm, where a trial's machines are apart: each is a virtual machine of its own, with a NIC on one wire.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread;

use seatrial_core::addr::IfName;
use seatrial_core::linux::Error;
use seatrial_core::linux::request::{Among, Answer, Request};
use seatrial_core::plan::apart::{machine_of, operations_of, parts};
use seatrial_core::plan::{Item, LinkKind, NsName, Object, Plan, PlanOp};
use seatrial_core::probe::Change;
use seatrial_core::topology::trial::{Lane, Place, Trial};
use seatrial_core::topology::{NodeName, Topology};

use super::ground::{Ground, Standing, engine};
use crate::channel::What;
use crate::qemu::{Kit, Machine, Outside, Wire, lock};

/// How many questions one machine may ask before its numbers are another's.
const NUMBERS: u64 = 1 << 32;

/// Machines that are started for each plan anew.
pub(super) struct Apart<'k> {
    kit: &'k Kit<'k>,
    /// What their kernels say of their own mistakes.
    mistakes: &'k Mutex<Vec<String>>,
}

impl<'k> Apart<'k> {
    /// Machines of this kind, which have NICs.
    pub(super) const fn of(kit: &'k Kit<'k>, mistakes: &'k Mutex<Vec<String>>) -> Self {
        Self { kit, mistakes }
    }
}

impl Ground for Apart<'_> {
    fn place(&self, trial: &Trial) -> Place {
        Place { engine: engine(trial), kernel: self.kit.kernel(), lane: Lane::Vm }
    }

    fn suits(&self, trial: &Trial) -> Result<(), String> {
        let known = [IfName::eth0(), IfName::lo()];
        let mut devices = trial.topology.hosts.iter().flat_map(|host| host.machine.interfaces.keys());
        match devices.find(|device| !known.contains(device)) {
            Some(other) => Err(format!("machines that are apart have one wire, eth0's, and no {other}")),
            None => Ok(()),
        }
    }

    fn set(&self, trial: &Trial, plan: &Plan) -> Result<Box<dyn Standing + '_>, Error> {
        let topology = &trial.topology;
        let mut several = Several {
            ground: self,
            topology: topology.clone(),
            plan: plan.clone(),
            wire: Wire::default(),
            machines: BTreeMap::new(),
        };
        for (number, name) in parts(topology, plan).into_keys().enumerate() {
            let machine = self.kit.start(Some(&several.wire)).map_err(|e| boots(&name, &e))?;
            several.machines.insert(name, Seat { machine: Some(machine), number });
        }
        several.each(parts(topology, plan), |several, name, plan| several.lay(name, plan))?;
        Ok(Box::new(several))
    }
}

fn boots(name: &NodeName, cause: &std::io::Error) -> Error {
    Error::words("boot", format!("machine {name}"), cause.to_string())
}

/// A machine of the trial.
struct Seat {
    /// None while it is switched off.
    machine: Option<Machine>,
    /// Which of them it is.
    number: usize,
}

/// The stage that each machine has.
const STAGE: u64 = 0;

/// Machines with a stage each, and the wire between them.
struct Several<'g> {
    ground: &'g Apart<'g>,
    topology: Topology,
    plan: Plan,
    wire: Wire,
    machines: BTreeMap<NodeName, Seat>,
}

impl Several<'_> {
    fn order(&self, name: &NodeName, what: What) -> Result<Vec<Answer>, Error> {
        let machine = self.machines.get(name).and_then(|seat| seat.machine.as_ref());
        match machine {
            Some(machine) => machine.order(STAGE, what),
            None => Err(Error::words("ask", format!("machine {name}"), "it is switched off")),
        }
    }

    /// Sets a machine's part of the plan on it.
    fn lay(&self, name: &NodeName, plan: Plan) -> Result<(), Error> {
        let number = self.machines.get(name).map_or(0, |seat| seat.number) as u64;
        let among = Among { asked: number * NUMBERS, beyond: self.beyond(name) };
        self.order(name, What::Set { plan, among: Some(among) }).map(drop)
    }

    /// What machines have on the wire, but for one of them.
    fn beyond(&self, name: &NodeName) -> Vec<Item> {
        let cables = self.plan.items.iter().filter(|item| {
            let Object::Link(link) = &item.object else { return false };
            let leads_out = matches!(&link.kind, LinkKind::Veth(peer) if self.machine(&peer.ns).is_none());
            leads_out && self.machine(&item.ns).as_ref() != Some(name)
        });
        let owners: Vec<&NsName> = cables.clone().map(|item| &item.ns).collect();
        let addresses = self.plan.items.iter().filter(|item| {
            matches!(&item.object, Object::Address(a) if a.link == IfName::eth0())
                && owners.contains(&&item.ns)
        });
        cables.chain(addresses).cloned().collect()
    }

    fn machine(&self, ns: &NsName) -> Option<NodeName> {
        machine_of(&self.topology, ns)
    }

    /// Does something on several machines at one time.
    fn each<T: Send, R: Send>(
        &self,
        parts: BTreeMap<NodeName, T>,
        work: impl Fn(&Self, &NodeName, T) -> Result<R, Error> + Sync,
    ) -> Result<BTreeMap<NodeName, R>, Error> {
        let work = &work;
        thread::scope(|scope| {
            let started: Vec<_> = parts
                .into_iter()
                .map(|(name, part)| scope.spawn(move || work(self, &name, part).map(|done| (name, done))))
                .collect();
            let joined =
                started.into_iter().map(|work| work.join().unwrap_or_else(|panic| resume_unwind(panic)));
            joined.collect()
        })
    }

    /// Who answered an echo that was delivered on no stage of the machine that asked.
    fn found(&self, asker: &NodeName, nonce: u64) -> Result<Answer, Error> {
        let others = self.machines.iter().filter(|(name, seat)| *name != asker && seat.machine.is_some());
        for (name, _) in others {
            let heard = self.order(name, What::Ask(vec![Request::Heard(nonce)]))?;
            if let Some(answer @ Answer::Outcome(_)) = heard.into_iter().next() {
                return Ok(answer);
            }
        }
        let why = "the request was seen in no namespace of any machine";
        Ok(Answer::Failed(Error::words("find", "who answered an echo", why)))
    }

    /// The machine that is asked.
    fn asked(&self, request: &Request) -> Option<NodeName> {
        match request {
            Request::Ask(probe) => self.machine(&(&probe.from).into()),
            Request::Fact(node, _) | Request::Fault(node, ..) => self.machine(&node.into()),
            Request::WaitMs(_) => {
                self.machines.iter().find(|(_, seat)| seat.machine.is_some()).map(|(name, _)| name.clone())
            }
            Request::Apply(_) | Request::Observe(_) | Request::Among(_) | Request::Heard(_) => None,
            Request::Run | Request::Daemon(_) | Request::Admit(_) | Request::Dismiss(_) => None,
            Request::Tool(..) | Request::Detach => None,
        }
    }

    /// Switches a machine off as a power cut does, or boots it.
    fn power(&mut self, name: &NodeName, on: bool) -> Result<(), Error> {
        let booted = on.then(|| self.ground.kit.boot(Outside { wire: Some(&self.wire), disk: None }));
        let booted = booted.transpose().map_err(|e| boots(name, &e))?;
        if let Some(seat) = self.machines.get_mut(name) {
            self.ground.end(std::mem::replace(&mut seat.machine, booted));
        }
        Ok(())
    }
}

impl Apart<'_> {
    fn end(&self, machine: Option<Machine>) {
        let mistake = machine.and_then(|machine| machine.finish().err());
        lock(self.mistakes).extend(mistake);
    }
}

impl Standing for Several<'_> {
    fn apply(&mut self, operations: Vec<PlanOp>) -> Result<(), Error> {
        let parts = operations_of(&self.topology, operations);
        let apply = |several: &Self, name: &NodeName, operations| {
            several.order(name, What::Apply(operations)).map(drop)
        };
        self.each(parts, apply).map(drop)
    }

    fn change(&mut self, change: &Change, operations: Vec<PlanOp>) -> Result<(), Error> {
        match change {
            Change::Stop(name) if self.machines.contains_key(name) => self.power(name, false),
            Change::Start(name) if self.machines.contains_key(name) => {
                self.power(name, true)?;
                let adds = operations_of(&self.topology, operations).remove(name).unwrap_or_default();
                let items = adds.into_iter().filter_map(|operation| match operation {
                    PlanOp::Add(item) => Some(item),
                    PlanOp::Remove(_) | PlanOp::Replace(_) | PlanOp::Announce { .. } => None,
                    PlanOp::FlushConntrack { .. } | PlanOp::FlushConntrackPort { .. } => None,
                });
                self.lay(name, Plan { items: items.collect() })
            }
            Change::Stop(_) | Change::Start(_) | Change::Replace(_) | Change::Connect(..) => {
                self.apply(operations)
            }
            Change::Disconnect(..) | Change::Rule(..) | Change::Fault(..) => self.apply(operations),
        }
    }

    fn ask_all(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>, Error> {
        let mut parts = BTreeMap::<NodeName, Vec<(usize, Request)>>::new();
        for (place, request) in requests.into_iter().enumerate() {
            let nobody = || Error::words("ask", "machines that are apart", "nobody there is asked that");
            let name = self.asked(&request).ok_or_else(nobody)?;
            parts.entry(name).or_default().push((place, request));
        }
        let ask = |several: &Self, name: &NodeName, part: Vec<(usize, Request)>| {
            let (places, requests): (Vec<_>, Vec<_>) = part.into_iter().unzip();
            Ok(places.into_iter().zip(several.order(name, What::Ask(requests))?).collect::<Vec<_>>())
        };
        let mut answers = BTreeMap::new();
        for (name, part) in self.each(parts, ask)? {
            for (place, answer) in part {
                let answer =
                    if let Answer::Unheard(nonce) = answer { self.found(&name, nonce)? } else { answer };
                answers.insert(place, answer);
            }
        }
        Ok(answers.into_values().collect())
    }
}

impl Drop for Several<'_> {
    fn drop(&mut self) {
        for seat in std::mem::take(&mut self.machines).into_values() {
            self.ground.end(seat.machine);
        }
    }
}
