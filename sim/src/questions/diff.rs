//! What differs between two networks: who is reached now and was not, who no longer is, and who is reached otherwise.
//!
//! Both are asked what either is asked by its matrix, what a port that is published comes to on the addresses of bridges,
//! and what a machine of the LAN comes to that crafts its frames: a container's address behind the host, and a loopback
//! address. Whoever crafts frames has greeted the host before, which knows its hardware address from then on. Of questions
//! that differ in names alone each network is asked one (`told`).
//!
//! An address of a container's is asked for as that container's: another address in place of it is no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use seatrial_core::addr::{Family, IfName};
use seatrial_core::plan::Plan;
use seatrial_core::probe::{Ask, Outcome, Probe, ProbeOptions, Target};
use seatrial_core::topology::NodeName;
use serde::Serialize;

use super::alike;
use super::machines::{self, Machines};
use super::matrix::{Asked, Decided, Source};
use super::told::Told;
use crate::trace::Trace;
use crate::world::{Answer, World};

/// A network.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What it is made of.
    pub plan: &'a Plan,
    /// The same, alive, with nothing asked of it yet.
    pub world: &'a World,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// How many questions were compared.
    pub asked: usize,
    /// The differences, a class of questions each: what becomes reachable first.
    pub changes: Vec<Change>,
}

/// Questions that are answered otherwise, and alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What kind of difference.
    pub kind: Kind,
    /// The questions, as either network is asked; the first of them is the example.
    pub questions: Vec<Pair<Option<Probe>>>,
    /// What comes of the example.
    pub example: Pair<Seen>,
}

/// Something of both networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<T> {
    /// Of the first.
    pub before: T,
    /// Of the second.
    pub after: T,
}

/// What kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It was not reached, and is.
    Opens,
    /// It was reached, and is not.
    Closes,
    /// It is reached by another way, sees another source, or somebody else answers.
    Moves,
    /// It is not reached either way, and whoever asks is told something else.
    Refuses,
}

/// What came of a question in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What came of it; none where nobody is there to ask, or to be asked.
    pub outcome: Option<Outcome>,
    /// The way that led there; of what was not reached what decided that.
    pub what: String,
    /// The packets' journey.
    pub trace: Trace,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opens => "becomes reachable",
            Self::Closes => "is no longer reachable",
            Self::Moves => "is reached otherwise",
            Self::Refuses => "is refused otherwise",
        })
    }
}

/// A question as both networks can be asked it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    node: NodeName,
    whom: Whom,
    ask: Ask,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    Name(String),
    Address(IpAddr),
    /// The address of a family on a device of the node's, of several the one of this place.
    Home(IfName, Family, usize),
}

/// What a question came to, as far as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Came {
    outcome: Option<Outcome>,
    decided: String,
    what: String,
}

/// What all questions of a class have in common.
type Class = (Kind, bool, [(String, String); 2]);

/// Asks both networks everything, each question once for all that are alike, and says what differs.
#[must_use]
pub fn diff(before: Side<'_>, after: Side<'_>) -> Diff {
    compare(Asking::new(before), Asking::new(after))
}

/// The same, with every question asked by itself.
#[must_use]
pub fn diff_one_by_one(before: Side<'_>, after: Side<'_>) -> Diff {
    compare(Asking { told: None, ..Asking::new(before) }, Asking { told: None, ..Asking::new(after) })
}

fn compare(mut before: Asking<'_>, mut after: Asking<'_>) -> Diff {
    let mut classes: BTreeMap<Class, Vec<Pair<Option<Probe>>>> = BTreeMap::new();
    let mut asked = 0;
    let sources: BTreeSet<NodeName> =
        [&before, &after].iter().flat_map(|side| side.numbers.keys()).cloned().collect();
    for (row, question) in questions(&before, &after).iter().enumerate() {
        for (source, crafted) in sources.iter().flat_map(|source| [(source, false), (source, true)]) {
            let probe = |side: &Asking<'_>| side.probe(source, question, crafted);
            let probes = Pair { before: probe(&before), after: probe(&after) };
            if probes.before.is_none() && probes.after.is_none() {
                continue;
            }
            asked += 1;
            let was = before.came(row, question, probes.before.as_ref());
            let is = after.came(row, question, probes.after.as_ref());
            if let Some(kind) = kind(&was, &is) {
                classes.entry((kind, crafted, class(kind, &was, &is))).or_default().push(probes);
            }
        }
    }
    let changes = classes.into_iter().map(|((kind, ..), questions)| {
        let (was, is) =
            questions.first().map_or((None, None), |pair| (pair.before.as_ref(), pair.after.as_ref()));
        let example = Pair { before: before.seen(was), after: after.seen(is) };
        Change { kind, questions, example }
    });
    Diff { asked, changes: changes.collect() }
}

/// Everything that either network can be asked, each once.
fn questions(before: &Asking<'_>, after: &Asking<'_>) -> Vec<Question> {
    let mut all = [before.questions(), after.questions()].concat();
    let mut known = BTreeSet::new();
    all.retain(|question| known.insert(question.clone()));
    all
}

fn kind(was: &Came, is: &Came) -> Option<Kind> {
    let reached = |came: &Came| matches!(came.outcome, Some(Outcome::Reaches { .. }));
    match (reached(was), reached(is)) {
        (false, true) => Some(Kind::Opens),
        (true, false) => Some(Kind::Closes),
        (true, true) => (was != is).then_some(Kind::Moves),
        // Where there is nobody on one side there is nothing to compare.
        (false, false) if was.outcome.is_none() || is.outcome.is_none() => None,
        (false, false) => (was.outcome != is.outcome).then_some(Kind::Refuses),
    }
}

/// What a difference has in common with others.
fn class(kind: Kind, was: &Came, is: &Came) -> [(String, String); 2] {
    if kind != Kind::Moves {
        return [was.class(), is.class()];
    }
    let differs = |is: bool, what: &str| if is { what.to_owned() } else { String::new() };
    let source = differs(was.decided != is.decided, "source");
    let way = differs(was.what != is.what, "way");
    [(differs(was.outcome != is.outcome, "who"), source), (way, String::new())]
}

/// What decided: of what was reached the way.
fn decided(outcome: &Outcome, trace: &Trace) -> Decided {
    match outcome {
        Outcome::Reaches { .. } => Decided { what: trace.way(), ..Decided::default() },
        Outcome::Refused | Outcome::Closed | Outcome::Unreachable(_) | Outcome::Dropped => {
            Decided::by(outcome, trace)
        }
        Outcome::NoRoute | Outcome::UnknownName | Outcome::Depends { .. } => Decided::by(outcome, trace),
    }
}

impl Came {
    const fn nobody() -> Self {
        Self { outcome: None, decided: String::new(), what: String::new() }
    }

    /// What it has in common with others: whether they are reached, and by what kind of thing they are not.
    fn class(&self) -> (String, String) {
        match &self.outcome {
            None => ("nobody".to_owned(), String::new()),
            Some(Outcome::Reaches { .. }) => ("reaches".to_owned(), String::new()),
            Some(outcome) => (outcome.to_string(), self.decided.clone()),
        }
    }
}

/// A network that is asked.
struct Asking<'a> {
    side: Side<'a>,
    machines: Machines,
    /// The nodes, by name: which each is of all who ask.
    numbers: BTreeMap<NodeName, usize>,
    /// What came of questions that are like others; none where each is asked by itself.
    told: Option<Told>,
    /// The network once the machines of the LAN have greeted the host.
    greeted: World,
    /// Whose an address is, and on which device.
    owners: BTreeMap<IpAddr, String>,
}

impl<'a> Asking<'a> {
    fn new(side: Side<'a>) -> Self {
        let machines = Machines::of(side.plan);
        let told = Some(Told::new(side.plan, &machines.nodes));
        let numbers =
            machines.nodes.iter().cloned().enumerate().map(|(number, node)| (node, number)).collect();
        let mut owners = BTreeMap::new();
        for node in &machines.nodes {
            let homes = machines.homes(node).iter().chain(machines.gateways(node));
            for (device, address) in homes {
                owners.entry(*address).or_insert_with(|| format!("{node}.{device}"));
            }
        }
        let greeted = greeted(side.world, &machines);
        Self { side, machines, numbers, told, greeted, owners }
    }

    /// What this network can be asked.
    fn questions(&self) -> Vec<Question> {
        let targets = self.machines.targets(self.side.plan).into_iter();
        let own = targets.map(|(node, target, ask)| Question { whom: self.whom(&node, target), node, ask });
        own.chain(self.at_gateways()).collect()
    }

    /// Published ports, on the addresses that containers know of their host.
    fn at_gateways(&self) -> Vec<Question> {
        let published = machines::published(self.side.plan).into_iter();
        let all = published.flat_map(|(ns, listen, ask)| {
            let node = NodeName::from(ns.as_str());
            let wanted = move |address: &IpAddr| {
                address.is_ipv4() == listen.is_ipv4() && (listen.is_unspecified() || listen == *address)
            };
            let addresses = self.machines.gateways(&node).iter().map(|(_, address)| *address).filter(wanted);
            let question = |address| Question { node: node.clone(), whom: Whom::Address(address), ask };
            addresses.map(question).collect::<Vec<_>>()
        });
        all.collect()
    }

    /// A container's address is its own, whatever it is.
    fn whom(&self, node: &NodeName, target: Target) -> Whom {
        let address = match target {
            Target::Name(name) => return Whom::Name(name),
            Target::Address(address) => address,
        };
        let homes = self.machines.homes(node);
        let home = homes.iter().find(|(_, of)| *of == address && self.machines.is_container(node));
        let Some((device, _)) = home else { return Whom::Address(address) };
        let family = Family::of(address);
        let of_it = homes.iter().filter(|(on, of)| on == device && Family::of(*of) == family);
        let place = of_it.map(|(_, of)| *of).position(|of| of == address).unwrap_or(0);
        Whom::Home(device.clone(), family, place)
    }

    /// The question as this network is asked it; none where nobody here can ask it, or be asked, or it makes no sense.
    fn probe(&self, source: &NodeName, question: &Question, crafted: bool) -> Option<Probe> {
        let Question { node, whom, ask } = question;
        self.numbers.get(source)?;
        let target = match whom {
            Whom::Name(name) => Target::Name(name.clone()),
            Whom::Address(address) => Target::Address(*address),
            Whom::Home(device, family, place) => {
                let of_it = self.machines.homes(node).iter();
                let mut of_it = of_it.filter(|(on, of)| on == device && Family::of(*of) == *family);
                Target::Address(of_it.nth(*place)?.1)
            }
        };
        let sensible = if crafted {
            self.is_crafted(source, node, &target)
        } else {
            self.machines.makes_sense(source, node, &target)
        };
        let options = ProbeOptions { raw: crafted, ..ProbeOptions::default() };
        sensible.then(|| Probe { from: source.clone(), target, ask: *ask, family: None, options })
    }

    /// Whether a machine of the LAN would craft a frame for a target: to what is behind the host, or is the host's alone.
    fn is_crafted(&self, source: &NodeName, node: &NodeName, target: &Target) -> bool {
        let Target::Address(address) = target else { return false };
        let crafts = self.machines.is_stranger(source) && source != node;
        crafts && (self.machines.is_container(node) || address.is_loopback())
    }

    /// The answer to a question.
    fn ask(&self, probe: &Probe) -> Answer {
        let world = if probe.options.raw { &self.greeted } else { self.side.world };
        world.clone().probe(probe)
    }

    /// What comes of it, with whose addresses are in it in place of the addresses.
    fn came(&mut self, row: usize, question: &Question, probe: Option<&Probe>) -> Came {
        let Some(probe) = probe else { return Came::nobody() };
        let number = self.numbers.get(&probe.from).filter(|_| !probe.options.raw).copied();
        let mut told = self.told.take();
        let ask = || {
            let Answer { outcome, trace } = self.ask(probe);
            let decided = decided(&outcome, &trace);
            (outcome, decided)
        };
        let (outcome, decided) = match (number, &mut told) {
            (Some(number), Some(told)) => {
                let (node, target) = (question.node.clone(), probe.target.clone());
                let asked = Asked { row, node, target, ask: question.ask };
                told.answer(Source { number, node: &probe.from }, &asked, ask)
            }
            (None, _) | (_, None) => ask(),
        };
        self.told = told;
        self.came_of(outcome, &decided)
    }

    /// An example: all that comes of a question.
    fn seen(&self, probe: Option<&Probe>) -> Seen {
        let Some(probe) = probe else {
            return Seen { outcome: None, what: String::new(), trace: Trace::default() };
        };
        let Answer { outcome, trace } = self.ask(probe);
        let Decided { ns, what, .. } = decided(&outcome, &trace);
        let what = ns.map_or_else(|| what.clone(), |ns| format!("{ns}: {what}"));
        Seen { outcome: Some(outcome), what, trace }
    }

    fn came_of(&self, outcome: Outcome, decided: &Decided) -> Came {
        let what = alike::replace(&decided.what, &mut |word| {
            word.parse().ok().and_then(|address: IpAddr| self.owners.get(&address).cloned())
        });
        let Outcome::Reaches { node, port, from } = outcome else {
            return Came { outcome: Some(outcome), decided: decided.class.clone(), what };
        };
        // Who was seen is part of the way, and its address may be another.
        let seen = from.map(|from| self.owners.get(&from).cloned().unwrap_or_else(|| from.to_string()));
        let outcome = Outcome::Reaches { node, port, from: None };
        Came { outcome: Some(outcome), decided: seen.unwrap_or_default(), what }
    }
}

/// A network in which every machine of the LAN has sent an echo request to each address of a host's that it may.
fn greeted(world: &World, machines: &Machines) -> World {
    let mut greeted = world.clone();
    let strangers = || machines.nodes.iter().filter(|node| machines.is_stranger(node));
    let hosts = machines.nodes.iter().filter(|node| machines.is_host(node));
    for (_, address) in hosts.flat_map(|host| machines.homes(host)) {
        for stranger in strangers() {
            let (from, target) = (stranger.clone(), Target::Address(*address));
            greeted.ask(&Probe {
                from,
                target,
                ask: Ask::Echo,
                family: None,
                options: ProbeOptions::default(),
            });
        }
    }
    greeted
}
