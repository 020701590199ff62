//! Lane docker: the trial's networks and containers made by a real Docker Engine, a private one for each stage.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::Uid;
use seatrial_core::engine::Version;
use seatrial_core::linux::broom::Broom;
use seatrial_core::linux::request::{Answer, Daemon, Request};
use seatrial_core::linux::stage::{LOG, Launch, Rights, SOCKET, Stage};
use seatrial_core::linux::{self, Error};
use seatrial_core::plan::{Item, NsName, Object, Plan, PlanOp, machines};
use seatrial_core::probe::{Change, Fact, NsKind};
use seatrial_core::topology::trial::{Lane, Place, Trial};
use seatrial_core::topology::{Container, Host, NodeName};

use super::ground::{Ground, Standing, engine};
use crate::docker::{Api, config, lacks, pack};
use crate::engines::{self, Root};

/// How much is told of what a dockerd wrote that ended.
const LAST_LINES: usize = 3;

/// Whether Engines can be started here.
pub(super) fn available(roots: &[PathBuf]) -> io::Result<()> {
    if !Uid::effective().is_root() {
        return Err(io::Error::other("a Docker Engine needs root: run this with sudo"));
    }
    engines::list(roots).map(drop)
}

/// This machine, with Engines that can be started on it.
#[derive(Debug)]
pub(super) struct Engines {
    program: PathBuf,
    roots: Vec<Root>,
    image: Vec<u8>,
    broom: Broom,
    /// How many have been started.
    started: AtomicU32,
    patience: Duration,
}

impl Engines {
    /// Those of these roots; `patience` is how long one may take to come up.
    ///
    /// # Errors
    /// A root without an Engine, a program that cannot be packed, or no right to cgroups.
    pub(super) fn of(roots: &[PathBuf], program: &Path, patience: Duration) -> io::Result<Self> {
        let roots = engines::list(roots)?;
        let broom = Broom::start(program).map_err(|e| io::Error::other(e.to_string()))?;
        let (program, image) = (program.to_owned(), pack(program)?);
        Ok(Self { program, roots, image, broom, started: AtomicU32::new(0), patience })
    }

    /// The root whose Engine behaves as the one that a trial asks for.
    fn root(&self, trial: &Trial) -> Option<&Root> {
        engines::of(&self.roots, trial.topology.hosts.first()?.engine)
    }
}

impl Ground for Engines {
    fn place(&self, trial: &Trial) -> Place {
        let kernel = linux::kernel().unwrap_or(Version { major: 0, minor: None, patch: None });
        let engine = self.root(trial).map_or_else(|| engine(trial), |root| root.engine.version);
        Place { engine, kernel, lane: Lane::Docker }
    }

    fn suits(&self, trial: &Trial) -> Result<(), String> {
        let [host] = trial.topology.hosts.as_slice() else {
            return Err("lane docker runs one Docker host".to_owned());
        };
        let Some(root) = self.root(trial) else {
            return Err(format!("no root of Engine {} here ({})", host.engine, host.engine.evidence()));
        };
        if let Some(key) = lacks(&host.daemon, root.engine) {
            return Err(format!("Engine {} has no '{key}'", root.engine));
        }
        if !host.machine.ports_in_use.is_empty() {
            return Err("lane docker holds no ports for others (ports_in_use)".to_owned());
        }
        if host.containers.iter().any(|container| container.process.rootfs.is_some()) {
            return Err("lane docker runs no image but its own (x-rootfs)".to_owned());
        }
        Ok(())
    }

    fn set(&self, trial: &Trial, plan: &Plan) -> Result<Box<dyn Standing + '_>, Error> {
        let (Some(host), Some(root)) = (trial.topology.hosts.first(), self.root(trial)) else {
            return Err(Error::words("find", "an Engine", "there is none"));
        };
        let lan = trial.topology.lan.iter().map(|machine| NsName::from(&machine.name)).collect();
        let machines = without_users(machines(&trial.topology), &NsName::from(&host.name));
        let mut stage = Stage::launch(&Launch { rights: Rights::Root, ..Launch::of(&self.program, plan) })?;
        let (early, late) = listeners(host, plan);
        let filter = if root.engine.loads_br_netfilter() { bridge_filter(plan) } else { Vec::new() };
        let machines: Vec<Item> = machines.items.into_iter().chain(filter).chain(early).collect();
        stage.apply(machines.iter().cloned().map(PlanOp::Add).collect())?;
        // One cgroup for each Engine, by a number that no other has: processes' come again.
        let cgroup = self.broom.cgroup().join(self.started.fetch_add(1, Ordering::Relaxed).to_string());
        let containers = host.containers.iter().map(|c| c.node.clone()).collect();
        let (host_name, config) = (host.name.clone(), config(&host.daemon, root.engine));
        let daemon = Daemon { host: host_name, root: root.path.clone(), config, cgroup, containers };
        let api = start(&mut stage, &daemon, self.patience)?;
        let (host, patience) = (host.clone(), self.patience);
        let mut docker = Docker { stage, api, host, lan, machines, daemon, patience, boots: 1 };
        docker.make(&self.image, plan)?;
        docker.stage.apply(late.into_iter().map(PlanOp::Add).collect())?;
        Ok(Box::new(docker))
    }
}

/// Starts an Engine, and waits until it has come up.
fn start(stage: &mut Stage, daemon: &Daemon, patience: Duration) -> Result<Api, Error> {
    stage.order(Request::Daemon(daemon.clone()))?;
    let inside = |path: &str| stage.root().join(path.trim_start_matches('/'));
    Api::of(&inside(SOCKET), patience).map_err(|e| told(e, &inside(LOG)))
}

/// A dockerd that has not come up has said why.
fn told(error: Error, log: &Path) -> Error {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(LAST_LINES).collect();
    let last = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
    Error { cause: format!("{}; its log ends: {last}", error.cause), ..error }
}

/// A machine whose users are this machine's own: an Engine on it needs root's rights.
fn without_users(mut plan: Plan, host: &NsName) -> Plan {
    plan.items.retain(|item| {
        let users = matches!(&item.object, Object::Namespace(n) if n.kind() == NsKind::User);
        !(users && item.ns == *host)
    });
    for item in plan.items.iter_mut().filter(|item| item.ns == *host) {
        if let Object::Process(process) = &mut item.object {
            process.namespaces.remove(&NsKind::User);
        }
    }
    plan
}

/// What loading br_netfilter sets: an Engine that does so by itself finds it here already, and in a namespace as it is
/// where it has not been loaded.
fn bridge_filter(plan: &Plan) -> Vec<Item> {
    let sets = |item: &&Item| matches!(&item.object, Object::Sysctl(s) if s.key.starts_with("net.bridge."));
    plan.items.iter().filter(sets).cloned().collect()
}

/// What listens before the Engine starts, which so finds its ports taken; and what listens where only the Engine's bridges
/// have addresses, and in containers.
fn listeners(host: &Host, plan: &Plan) -> (Vec<Item>, Vec<Item>) {
    let machine = |node: &NodeName| host.containers.iter().all(|c| c.node != *node);
    let own: Vec<_> = host.machine.interfaces.values().flatten().map(|net| net.addr()).collect();
    let all = plan.items.iter().filter(|item| matches!(item.object, Object::Listener(_))).cloned();
    all.partition(|item| {
        let Object::Listener(listener) = &item.object else { return false };
        let there =
            |ip| own.contains(&ip) || ip.is_loopback() || ip.is_unspecified() || listener.node != host.name;
        machine(&listener.node) && listener.address.is_none_or(there)
    })
}

/// An Engine on a stage.
struct Docker {
    stage: Stage,
    api: Api,
    host: Host,
    /// Machines that have no Engine.
    lan: Vec<NsName>,
    /// What all machines are made of, before there is an Engine.
    machines: Vec<Item>,
    /// What the Engine is started with, and how long it may take to come up.
    daemon: Daemon,
    patience: Duration,
    /// How often its machine was switched on.
    boots: usize,
}

impl Docker {
    /// Makes what the project has, in its order.
    fn make(&mut self, image: &[u8], plan: &Plan) -> Result<(), Error> {
        if !self.host.containers.is_empty() {
            self.api.import(image)?;
        }
        self.host.networks.iter().try_for_each(|network| self.api.create_network(network))?;
        for (door, container) in self.host.containers.iter().enumerate() {
            self.api.create(&self.host, container, door)?;
        }
        for container in self.host.containers.clone() {
            self.api.start(&self.host, &container)?;
            let admitted = plan.items.iter().filter_map(|item| process(item, &container.node));
            admitted.into_iter().try_for_each(|process| self.stage.order(process))?;
        }
        Ok(())
    }

    fn container(&self, node: &NodeName) -> Result<(usize, Container), Error> {
        let found = self.host.containers.iter().position(|container| container.node == *node);
        let found = found.and_then(|door| Some((door, self.host.containers.get(door)?.clone())));
        found.ok_or_else(|| Error::words("change", node.as_str(), "it is no container"))
    }

    /// Switches the Engine's machine off or on: the operations that make or unmake machines are carried out. What is on its
    /// disk stays, and the Engine starts what it finds there.
    fn power(&mut self, on: bool, operations: &[PlanOp]) -> Result<(), Error> {
        let of_machines = operations.iter().filter_map(|operation| self.of_machine(operation));
        self.stage.apply(of_machines.collect())?;
        if on {
            // What is left of the last one's cgroup is swept with all others.
            let cgroup = format!("{}.{}", self.daemon.cgroup.display(), self.boots);
            self.boots += 1;
            let daemon = Daemon { cgroup: cgroup.into(), ..self.daemon.clone() };
            self.api = start(&mut self.stage, &daemon, self.patience)?;
            self.keep_running(false)?;
        }
        Ok(())
    }

    /// Says whether the Engine is to start containers by itself: as long as it is, it starts one whose agent has been
    /// dismissed.
    fn keep_running(&self, running: bool) -> Result<(), Error> {
        self.host.containers.iter().try_for_each(|container| self.api.keep(container, running))
    }

    /// The operation as it is meant for a machine here, where it is one.
    fn of_machine(&self, operation: &PlanOp) -> Option<PlanOp> {
        let own = |item: &Item| {
            let same = |own: &&Item| match (&own.object, &item.object) {
                // A machine with an Engine has no users of its own.
                (Object::Process(own), Object::Process(process)) => own.node == process.node,
                (own_object, object) => own.ns == item.ns && own_object == object,
            };
            self.machines.iter().find(same).cloned()
        };
        match operation {
            PlanOp::Add(item) => own(item).map(PlanOp::Add),
            PlanOp::Remove(item) => own(item).map(PlanOp::Remove),
            PlanOp::Replace(item) => own(item).map(PlanOp::Replace),
            PlanOp::FlushConntrack { .. } | PlanOp::FlushConntrackPort { .. } | PlanOp::Announce { .. } => {
                None
            }
        }
    }

    /// Makes a change through the API, or the switch of the machine.
    fn call(&mut self, change: &Change, operations: &[PlanOp]) -> Result<(), Error> {
        match change {
            Change::Stop(node) if *node == self.host.name => self.power(false, operations),
            Change::Start(node) if *node == self.host.name => self.power(true, operations),
            Change::Stop(node) => self.api.stop(&self.container(node)?.1),
            Change::Start(node) => self.api.start(&self.host, &self.container(node)?.1),
            Change::Replace(node) => {
                let (door, container) = self.container(node)?;
                self.api.remove(&container)?;
                self.api.create(&self.host, &container, door)?;
                self.api.start(&self.host, &container)
            }
            Change::Connect(node, network) => self.api.connect(&self.host, &self.container(node)?.1, network),
            Change::Disconnect(node, network) => {
                self.api.disconnect(&self.host, &self.container(node)?.1, network)
            }
            Change::Rule(node, _) if self.lan.contains(&NsName::from(node)) => Ok(()),
            Change::Rule(node, command) => {
                let words = command.split_whitespace().map(str::to_owned).collect();
                self.stage.order(Request::Tool(node.clone(), words))
            }
            Change::Fault(..) => Ok(()),
        }
    }
}

/// Why a question has another answer here than on a machine with an Engine: its cgroups are swept with it, and so it has a
/// cgroup namespace of its own.
fn otherwise_here(request: &Request) -> Option<Error> {
    let Request::Fact(node, Fact::Shares(NsKind::Cgroup, other)) = request else { return None };
    let why = "the Engine has a cgroup namespace of its own";
    (*other == NodeName::host())
        .then(|| Error::words("compare", format!("cgroup namespaces of {node} and {other}"), why))
        .map(|error| error.missing("lane kernel has one for both"))
}

/// The request that admits a node's process, where this is it.
fn process(item: &Item, node: &NodeName) -> Option<Request> {
    let Object::Process(process) = &item.object else { return None };
    (process.node == *node).then(|| Request::Admit(process.clone()))
}

impl Standing for Docker {
    fn apply(&mut self, operations: Vec<PlanOp>) -> Result<(), Error> {
        self.stage.apply(operations)
    }

    /// The Engine makes what the operations say of its own; what they say of who runs and of who listens is for the stage.
    fn change(&mut self, change: &Change, operations: Vec<PlanOp>) -> Result<(), Error> {
        if *change == Change::Stop(self.host.name.clone()) {
            self.keep_running(true)?;
        }
        for operation in &operations {
            if let PlanOp::Remove(Item { object: Object::Process(process), .. }) = operation
                && process.node != self.host.name
            {
                self.stage.order(Request::Dismiss(process.node.clone()))?;
            }
        }
        self.call(change, &operations)?;
        let mut rest = Vec::new();
        for operation in operations {
            match &operation {
                // Those of the machine itself have been made.
                PlanOp::Add(_) if self.of_machine(&operation).is_some() => {}
                PlanOp::Add(Item { object: Object::Process(process), .. }) => {
                    self.stage.order(Request::Admit(process.clone()))?;
                }
                PlanOp::Add(Item { object: Object::Listener(_), .. }) => rest.push(operation),
                PlanOp::Add(item) | PlanOp::Remove(item) | PlanOp::Replace(item)
                    if self.lan.contains(&item.ns) =>
                {
                    rest.push(operation);
                }
                PlanOp::Add(_) | PlanOp::Remove(_) | PlanOp::Replace(_) => {}
                PlanOp::FlushConntrack { .. }
                | PlanOp::FlushConntrackPort { .. }
                | PlanOp::Announce { .. } => {}
            }
        }
        self.stage.apply(rest)
    }

    fn ask_all(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>, Error> {
        let unasked: Vec<Option<Error>> = requests.iter().map(otherwise_here).collect();
        let answers = self.stage.ask_all(requests)?;
        let answer = |(answer, unasked): (Answer, Option<Error>)| unasked.map_or(answer, Answer::Failed);
        Ok(answers.into_iter().zip(unasked).map(answer).collect())
    }
}
