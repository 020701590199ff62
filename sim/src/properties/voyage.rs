//! What is done to a network, and asked of it, one thing after another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use seatrial_core::plan::{NsName, Object, Planner};
use seatrial_core::probe::{Change, Fault, Outcome, Unreachable, Way};
use seatrial_core::topology::NodeName;

use super::plant::{self, Bug};
use super::shape::Shape;
use super::watch::{Mark, Watch};
use crate::world::World;

/// The host's address on the LAN.
const HOST: &str = "203.0.113.10";
/// How long a network is given to be as it was once nothing goes wrong any more: TCP's longest silence under a fault,
/// and every neighbour forgotten that did not answer.
const CALM_MS: u64 = 120_000;

/// How often somebody asks then, 5 s each: an address that was learned before a fault and not announced anew is believed
/// for 5 s, and asked for in vain for 3 s.
const PATIENCE: usize = 3;

/// One of however many there are: it is always one of them, whatever else is left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick(pub(super) u8);

impl Pick {
    fn of<T>(self, all: &[T]) -> &T {
        &all[usize::from(self.0) % all.len()]
    }
}

fn pick() -> impl Strategy<Value = Pick> {
    any::<u8>().prop_map(Pick)
}

/// One thing.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Somebody asks somebody.
    Ask { from: Pick, to: Pick, how: How, fixed_port: bool },
    /// Milliseconds pass.
    Wait(u16),
    /// Something is done to a wire.
    Fault(Pick, Fault),
    /// A container stops, or starts if it has stopped.
    Turn(Pick),
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    Tcp,
    Udp,
    Echo,
    /// The port that the host publishes.
    Published,
    /// The machine of the LAN, whoever else was meant, from port 40000: others come from there too.
    Out,
    /// An address on the asker's link that nobody has.
    Nobody,
}

/// Acts; of each list only some kinds of fault are drawn (swarm testing: Groce, 2012).
pub(super) fn acts() -> impl Strategy<Value = Vec<Act>> {
    (any::<u16>(), prop::collection::vec((act(), 0u8..8), 1..24)).prop_map(|(swarm, acts)| {
        let meant = |kind: u8| swarm & (1 << kind) > 0;
        acts.into_iter()
            .filter(|(act, kind)| !matches!(act, Act::Fault(..)) || meant(*kind))
            .map(|(act, kind)| match act {
                Act::Fault(at, Fault::Loss(way, share)) => Act::Fault(at, of(kind, way, share)),
                other => other,
            })
            .collect()
    })
}

/// The same acts of the same nodes, whoever else is left out.
pub(super) fn plain(shape: &Shape, acts: &[Act]) -> Vec<Act> {
    let nodes = shape.everyone();
    let plain = |pick: Pick| Pick(pick.0 % u8::try_from(nodes.len()).unwrap());
    let act = |act: &Act| match *act {
        Act::Ask { from, to, how, fixed_port } => {
            Act::Ask { from: plain(from), to: plain(to), how, fixed_port }
        }
        Act::Wait(_) | Act::Fault(..) | Act::Turn(_) => act.clone(),
    };
    acts.iter().map(act).collect()
}

/// Acts in place of one that are no worse, and may do with less: somebody else asks, or a wire is just cut.
pub(super) fn others(act: &Act) -> Vec<Act> {
    let picks = (0..4).map(Pick);
    match *act {
        Act::Ask { to, how, fixed_port, .. } => {
            picks.map(|from| Act::Ask { from, to, how, fixed_port }).collect()
        }
        Act::Fault(..) => picks.map(|at| Act::Fault(at, Fault::Cut(Way::Both))).collect(),
        Act::Wait(_) | Act::Turn(_) => Vec::new(),
    }
}

fn act() -> impl Strategy<Value = Act> {
    let how = prop_oneof![
        2 => Just(How::Tcp),
        2 => Just(How::Udp),
        2 => Just(How::Echo),
        3 => Just(How::Published),
        3 => Just(How::Out),
        1 => Just(How::Nobody),
    ];
    let way = prop_oneof![Just(Way::Both), Just(Way::In), Just(Way::Out)];
    prop_oneof![
        9 => (pick(), pick(), how, any::<bool>())
            .prop_map(|(from, to, how, fixed_port)| Act::Ask { from, to, how, fixed_port }),
        1 => (0u16..20_000).prop_map(Act::Wait),
        5 => (pick(), way, 1u8..=100)
            .prop_map(|(at, way, share)| Act::Fault(at, Fault::Loss(way, share))),
        1 => pick().prop_map(Act::Turn),
    ]
}

/// The fault of a kind, as bad as `share`.
fn of(kind: u8, way: Way, share: u8) -> Fault {
    let ms = u64::from(share) * 10;
    match kind {
        0 => Fault::Cut(way),
        1 => Fault::Loss(way, share),
        2 => Fault::Delay(way, ms, ms / 2),
        3 => Fault::Duplicate(way, share),
        4 => Fault::Corrupt(way, share),
        5 => Fault::Rate(way, ms * 100),
        6 => Fault::Mtu(1280 + u32::from(share)),
        _ => Fault::Flap(ms + 1),
    }
}

/// Who asks whom, and by what.
type Pair = (String, String, How);

/// A network under way.
pub(super) struct Voyage<'a> {
    shape: &'a Shape,
    planner: Planner,
    world: World,
    bug: Option<Bug>,
    stopped: BTreeSet<String>,
    marks: BTreeMap<Mark, usize>,
}

impl<'a> Voyage<'a> {
    pub(super) fn new(shape: &'a Shape, bug: Option<Bug>) -> Self {
        let (planner, plan) = Planner::new(&shape.topology()).unwrap();
        let mut world = World::build(&plant::plan(plan.clone(), bug), shape.seed).unwrap();
        let mut watch = Watch::new(shape.masqueraded());
        watch.learn(&plan);
        world.watch = Some(Box::new(watch));
        world.planted = bug;
        if bug == Some(Bug::BlindTable) {
            world
                .stacks
                .iter_mut()
                .filter_map(|s| s.netfilter.as_mut())
                .for_each(crate::netfilter::Netfilter::blind);
        }
        Self { shape, planner, world, bug, stopped: BTreeSet::new(), marks: BTreeMap::new() }
    }

    /// How often each rare thing was met.
    pub(super) fn marks(&self) -> BTreeMap<Mark, usize> {
        self.marks.clone()
    }

    /// All of it; then nothing goes wrong any more, and what could be reached before must be again.
    pub(super) fn run(&mut self, acts: &[Act]) -> Result<(), String> {
        let before = self.reached(&self.pairs(), 1)?;
        for act in acts {
            self.act(act).map_err(|why| format!("{act:?}: {why}"))?;
        }
        self.calm();
        let after = self.reached(&before, PATIENCE)?;
        // A flow that was cut off keeps its place in a small table for five days (nf_conntrack_tcp_timeout_established).
        let lost = before.difference(&after).next().filter(|_| self.shape.small_table.is_none());
        lost.map_or(Ok(()), |(from, to, how)| {
            Err(format!("{to} could be reached before by {from} ({how:?}), and cannot be once all is well"))
        })
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Ask { from, to, how, fixed_port } => {
                let nodes = self.nodes();
                let (from, to): (&String, &String) = (from.of(&nodes), to.of(&nodes));
                self.ask(from, to, *how, *fixed_port)?;
            }
            Act::Wait(ms) => self.world.advance_ms(u64::from(*ms)),
            Act::Fault(at, fault) => {
                let wires = self.wires();
                let (node, device) = at.of(&wires);
                self.world.fault(node, &device.parse().unwrap(), *fault).map_err(|e| e.to_string())?;
            }
            Act::Turn(which) => {
                let container = which.of(&self.shape.containers()).clone();
                let start = self.stopped.contains(&container);
                self.turn(&container, start);
            }
        }
        self.check()
    }

    fn turn(&mut self, container: &str, start: bool) {
        let node = NodeName::from(container);
        let change = if start { Change::Start(node) } else { Change::Stop(node) };
        let operations = self.planner.change(&change).unwrap();
        if start {
            self.stopped.remove(container);
        } else {
            self.stopped.insert(container.to_owned());
        }
        self.world.apply(&operations).unwrap();
        let plan = self.planner.plan();
        self.world.watch.as_mut().unwrap().learn(&plan);
    }

    /// No fault any more, and every container runs.
    fn calm(&mut self) {
        for container in self.stopped.clone() {
            self.turn(&container, true);
        }
        for (node, device) in self.wires() {
            if self.bug != Some(Bug::Unhealed) {
                self.world.fault(&node, &device.parse().unwrap(), Fault::Heal).unwrap();
            }
        }
        self.world.advance_ms(CALM_MS);
    }

    /// Asks, and checks what came of it; the outcome.
    fn ask(&mut self, from: &str, to: &str, how: How, fixed_port: bool) -> Result<Option<Outcome>, String> {
        let Some((target, port)) = self.target(from, to, how) else { return Ok(None) };
        let protocol = match how {
            How::Tcp | How::Published => "tcp",
            How::Udp | How::Out => "udp",
            How::Echo | How::Nobody => "icmp",
        };
        let fixed_port = fixed_port || matches!(how, How::Out);
        let colon = port.map(|p| format!(":{p}")).unwrap_or_default();
        let bound = self.address(from).filter(|_| fixed_port && port.is_some());
        let source = bound.map(|own| format!(",from={own}:40000")).unwrap_or_default();
        let line = format!("{from} -> {target}{colon}/{protocol}{source}");
        self.world.watch.as_mut().unwrap().asks(from, target, port);
        let answer = self.world.probe(&line.parse().unwrap());
        let watch = self.world.watch.as_mut().unwrap();
        watch.verdict().map_err(|why| format!("{line}: {why}"))?;
        watch.take_marks(&mut self.marks);
        let mut mark = |mark| *self.marks.entry(mark).or_default() += 1;
        let container = |node: &str| self.shape.containers().iter().position(|c| c == node);
        match &answer.outcome {
            Outcome::Unreachable(Some(Unreachable::Host)) => mark(Mark::ArpFailure),
            Outcome::Reaches { node, .. } if matches!(how, How::Published) && node.as_str() == from => {
                mark(Mark::Hairpin)
            }
            _ => {}
        }
        let apart = |(one, other)| one != other && !self.shape.share(one, other);
        let direct = matches!(how, How::Tcp | How::Udp | How::Echo)
            && matches!(answer.outcome, Outcome::Reaches { .. });
        if direct && container(from).zip(container(to)).is_some_and(apart) {
            return Err(format!(
                "{line}: {} on networks that have nothing to do with each other",
                answer.outcome
            ));
        }
        Ok(Some(answer.outcome))
    }

    /// Whom a question is for.
    fn target(&self, from: &str, to: &str, how: How) -> Option<(IpAddr, Option<u16>)> {
        let host: IpAddr = HOST.parse().ok()?;
        match how {
            How::Published => {
                let container = self.shape.containers().iter().position(|c| c == to)?;
                Some((host, Some(self.shape.published(container)?)))
            }
            How::Out => Some((self.address("laptop")?, Some(80))),
            How::Nobody => {
                let net = self.nets(from).into_iter().next()?;
                net.hosts().nth(200).map(|address| (address, None))
            }
            How::Tcp | How::Udp | How::Echo => {
                let port = (!matches!(how, How::Echo)).then_some(80);
                Some((self.near(from, to)?, port))
            }
        }
    }

    /// The address of a node that is on a network of another's, or else its first.
    fn near(&self, from: &str, to: &str) -> Option<IpAddr> {
        let own = self.nets(from);
        let theirs = self.nets(to);
        let near = theirs.iter().find(|net| own.iter().any(|o| o.trunc() == net.trunc()));
        near.or_else(|| theirs.first()).map(ipnet::IpNet::addr)
    }

    fn address(&self, node: &str) -> Option<IpAddr> {
        self.nets(node).first().map(ipnet::IpNet::addr)
    }

    fn nets(&self, node: &str) -> Vec<ipnet::IpNet> {
        let ns = NsName::from(node);
        let plan = self.planner.plan();
        let own = plan.items.iter().filter(|item| item.ns == ns).filter_map(|item| match &item.object {
            Object::Address(a) if !a.net.addr().is_loopback() && a.net.addr().is_ipv4() => Some(a.net),
            _ => None,
        });
        let mut all: Vec<_> = own.collect();
        // The host's own before those of its bridges.
        all.sort_by_key(|net| net.addr().to_string() != HOST);
        all
    }

    fn nodes(&self) -> Vec<String> {
        self.shape.everyone()
    }

    /// The devices of all nodes that run, but for the host's own side of cables.
    fn wires(&self) -> Vec<(NodeName, String)> {
        let containers = self.shape.containers().into_iter().enumerate();
        let running = containers.filter(|(_, c)| !self.stopped.contains(c));
        let devices = running.flat_map(|(i, c)| {
            (0..self.shape.on(i).len()).map(move |eth| (NodeName::from(c.as_str()), format!("eth{eth}")))
        });
        devices
            .chain(self.shape.machines().iter().map(|m| (NodeName::from(m.as_str()), "eth0".to_owned())))
            .collect()
    }

    /// Everybody and everybody.
    fn pairs(&self) -> BTreeSet<Pair> {
        let nodes = self.nodes();
        let to = |from: &String| {
            let from = from.clone();
            let how = |to: &String| [How::Tcp, How::Published].map(|how| (from.clone(), to.clone(), how));
            nodes.iter().flat_map(how).collect::<Vec<_>>()
        };
        nodes.iter().flat_map(to).collect()
    }

    /// Who of them reaches whom, and by what, if each asks so many times.
    fn reached(&mut self, pairs: &BTreeSet<Pair>, times: usize) -> Result<BTreeSet<Pair>, String> {
        let mut reached = BTreeSet::new();
        for pair @ (from, to, how) in pairs {
            for _ in 0..times {
                if let Some(Outcome::Reaches { .. }) = self.ask(from, to, *how, false)? {
                    reached.insert(pair.clone());
                    break;
                }
            }
        }
        self.check()?;
        Ok(reached)
    }

    /// What must hold between two acts.
    fn check(&mut self) -> Result<(), String> {
        if let Some(bug) = self.bug {
            plant::world(&mut self.world, bug);
        }
        super::watch::between(&self.world)?;
        let watch = self.world.watch.as_mut().unwrap();
        watch.take_marks(&mut self.marks);
        watch.verdict()
    }
}
