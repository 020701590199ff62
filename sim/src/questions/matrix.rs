//! Who reaches whom: every node asks every listener, and every refusal has its reason.
//!
//! The targets are read off the plan: what listens, by name and by address, what the host publishes, and an echo of
//! whatever does not listen. Nothing here decides: `ask` sends the probe. Of questions that differ in names alone it sends
//! one (`alike`), and the others are told what came of it (`told`).

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::plan::{NsName, Plan};
use seatrial_core::probe::{Ask, Outcome, Probe, ProbeOptions, Target};
use seatrial_core::topology::NodeName;

use super::machines::Machines;
use super::told::Told;
use crate::trace::{Event, Hop, Trace};

/// Who reaches whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// Who asks: the columns.
    pub sources: Vec<NodeName>,
    /// Whom: the rows.
    pub rows: Vec<Row>,
    /// Why not: one for each class of refusal, in the order they were met.
    pub reasons: Vec<Reason>,
}

/// One target, asked by every source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What is asked for.
    pub target: Target,
    /// How.
    pub ask: Ask,
    /// Whose it is.
    pub node: NodeName,
    /// What came of it, in the order of the sources.
    pub cells: Vec<Cell>,
}

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What came of it; none where the question has no sense: another's loopback.
    pub outcome: Option<Outcome>,
    /// Which of the reasons, where the target was not reached.
    pub reason: Option<usize>,
}

/// Why a class of probes does not reach its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What came of them all.
    pub outcome: Outcome,
    /// What decided, for the first of them: a rule, a check, an answer; empty where the trace has nothing.
    pub what: String,
    /// In which namespace.
    pub ns: Option<NsName>,
    /// The first of them.
    pub example: Probe,
    /// How many they are.
    pub cells: usize,
    /// How many different rules or checks of this kind decided.
    pub kinds: usize,
}

/// Asks every question of the matrix, once for all that are alike.
pub fn matrix(plan: &Plan, mut ask: impl FnMut(&Probe) -> (Outcome, Trace)) -> Matrix {
    let machines = Machines::of(plan);
    let mut told = Told::new(plan, &machines.nodes);
    fill(plan, &machines, |source, row| told.answer(source, row, || decided(&mut ask, &row.probe(source))))
}

/// Asks every question of the matrix, one by one.
pub fn matrix_one_by_one(plan: &Plan, mut ask: impl FnMut(&Probe) -> (Outcome, Trace)) -> Matrix {
    fill(plan, &Machines::of(plan), |source, row| decided(&mut ask, &row.probe(source)))
}

fn decided(ask: &mut impl FnMut(&Probe) -> (Outcome, Trace), probe: &Probe) -> (Outcome, Decided) {
    let (outcome, trace) = ask(probe);
    let decided = match outcome {
        Outcome::Reaches { .. } => Decided::default(),
        Outcome::Refused | Outcome::Closed | Outcome::Unreachable(_) | Outcome::Dropped => {
            Decided::by(&outcome, &trace)
        }
        Outcome::NoRoute | Outcome::UnknownName | Outcome::Depends { .. } => Decided::by(&outcome, &trace),
    };
    (outcome, decided)
}

/// Whom a row of the matrix is about, and how they are asked.
pub(super) struct Asked {
    pub(super) row: usize,
    pub(super) node: NodeName,
    pub(super) target: Target,
    pub(super) ask: Ask,
}

/// Who asks, as one of all.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) number: usize,
    pub(super) node: &'a NodeName,
}

impl Asked {
    fn probe(&self, source: Source<'_>) -> Probe {
        Probe {
            from: source.node.clone(),
            target: self.target.clone(),
            ask: self.ask,
            family: None,
            options: ProbeOptions::default(),
        }
    }
}

fn fill(
    plan: &Plan,
    machines: &Machines,
    mut answer: impl FnMut(Source<'_>, &Asked) -> (Outcome, Decided),
) -> Matrix {
    let sources = machines.nodes.clone();
    let mut reasons = Reasons::default();
    let targets = machines.targets(plan).into_iter().enumerate();
    let rows = targets.map(|(row, (node, target, ask))| {
        let asked = Asked { row, node, target, ask };
        let cells = sources.iter().enumerate().map(|(number, node)| {
            if !machines.makes_sense(node, &asked.node, &asked.target) {
                return Cell { outcome: None, reason: None };
            }
            let source = Source { number, node };
            let (outcome, decided) = answer(source, &asked);
            let reason = reasons.of(|| asked.probe(source), &outcome, decided);
            Cell { outcome: Some(outcome), reason }
        });
        let cells = cells.collect();
        Row { target: asked.target, ask, node: asked.node, cells }
    });
    let rows = rows.collect();
    Matrix { sources, rows, reasons: reasons.list }
}

/// The reasons met so far, one a class.
#[derive(Default)]
struct Reasons {
    list: Vec<Reason>,
    /// The different rules and checks of each in the list.
    kinds: Vec<BTreeSet<String>>,
    /// Each class's place in the list.
    classes: BTreeMap<Class, usize>,
    /// The same by what is said of it: two classes that read the same are one.
    said: BTreeMap<Class, usize>,
}

/// What refusals of one reason have in common: the outcome, where it was decided, and by what kind of thing.
type Class = (Outcome, Option<NsName>, String);

impl Reasons {
    /// The reason of a probe that did not reach its target.
    fn of(&mut self, probe: impl FnOnce() -> Probe, outcome: &Outcome, decided: Decided) -> Option<usize> {
        if matches!(outcome, Outcome::Reaches { .. }) {
            return None;
        }
        let at = self.place(probe, outcome, &decided);
        if let (Some(reason), Some(kinds)) = (self.list.get_mut(at), self.kinds.get_mut(at)) {
            kinds.insert(decided.what);
            reason.cells += 1;
            reason.kinds = kinds.len();
        }
        Some(at)
    }

    /// The place in the list; a new one for what is of another class than all before and reads differently.
    fn place(&mut self, probe: impl FnOnce() -> Probe, outcome: &Outcome, decided: &Decided) -> usize {
        let class = (outcome.clone(), decided.ns.clone(), decided.class.clone());
        let said = (outcome.clone(), decided.ns.clone(), decided.what.clone());
        if let Some(at) = self.classes.get(&class).or_else(|| self.said.get(&said)) {
            return *at;
        }
        let at = self.list.len();
        self.list.push(Reason {
            outcome: outcome.clone(),
            what: decided.what.clone(),
            ns: decided.ns.clone(),
            example: probe(),
            cells: 0,
            kinds: 0,
        });
        self.kinds.push(BTreeSet::new());
        self.classes.insert(class, at);
        self.said.insert(said, at);
        at
    }
}

/// What decided a packet's fate.
#[derive(Debug, Clone, Default)]
pub(super) struct Decided {
    pub(super) ns: Option<NsName>,
    /// What probes have in common that were decided alike: the chain, the check.
    pub(super) class: String,
    /// In words; of what was reached the way that led there, where that is asked for.
    pub(super) what: String,
}

impl Decided {
    /// The last drop or, where nothing was dropped, the last answer of a kernel.
    pub(super) fn by(outcome: &Outcome, trace: &Trace) -> Self {
        let decided = Self::last(trace);
        match outcome {
            Outcome::UnknownName => decided.of_a_name(trace),
            Outcome::Reaches { .. }
            | Outcome::Refused
            | Outcome::Closed
            | Outcome::Unreachable(_)
            | Outcome::Dropped
            | Outcome::NoRoute
            | Outcome::Depends { .. } => decided,
        }
    }

    /// A name's trace has no packets but queries: what happened to them is said as of them.
    fn of_a_name(self, trace: &Trace) -> Self {
        let answered = match self.what.as_str() {
            "" if trace.hops.is_empty() => "there is no resolver that can be asked",
            "" => "the resolver knows no such name",
            why => return Self { what: format!("the name query is lost: {why}"), ..self },
        };
        Self { ns: self.ns, class: answered.to_owned(), what: answered.to_owned() }
    }

    fn last(trace: &Trace) -> Self {
        let last = |wanted: fn(&Event) -> bool| trace.hops.iter().rev().find(|hop| wanted(&hop.event));
        let hop = last(|e| matches!(e, Event::Drop { .. }))
            .or_else(|| last(|e| matches!(e, Event::Answer { .. })))
            .or_else(|| last(|e| matches!(e, Event::Neighbour { .. })));
        hop.map_or_else(Self::default, |hop| Self {
            ns: Some(hop.ns.clone()),
            class: class(trace, hop),
            what: words(&hop.event),
        })
    }
}

/// A drop's kernel reason and, where a rule decided it, the rule's chain and target; otherwise what was said.
fn class(trace: &Trace, hop: &Hop) -> String {
    let Event::Drop { reason, .. } = &hop.event else { return words(&hop.event) };
    let before = trace.hops.iter().take_while(|h| !std::ptr::eq(*h, hop));
    let rule = before.filter(|h| h.flight == hop.flight && h.ns == hop.ns).last();
    match rule.map(|h| &h.event) {
        Some(Event::Rule(hit)) => format!("{reason} {} {} {}", hit.table, hit.chain, hit.verdict),
        Some(Event::Policy { table, chain, .. }) => format!("{reason} {table} {chain}"),
        _ => reason.to_string(),
    }
}

fn words(event: &Event) -> String {
    if let Event::Drop { why: words, .. } | Event::Answer { what: words } | Event::Neighbour { text: words } =
        event
    {
        words.clone()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use seatrial_core::addr::Transport;
    use seatrial_core::plan::{Address, Item, Link, LinkKind, Listener, Object, Process, Proxy};
    use seatrial_core::probe::NsKind;
    use seatrial_core::rules::{Hook, Protocol};

    use super::*;
    use crate::packet::{Checksum, L4, Packet, Payload};
    use crate::trace::RuleHit;

    fn item(ns: &str, object: Object) -> Item {
        Item { ns: NsName::from(ns), object }
    }

    fn process(name: &str, container: bool) -> Item {
        let namespaces = BTreeMap::from([(NsKind::Network, NsName::from(name))]);
        item(
            name,
            Object::Process(Process {
                node: name.into(),
                container: container.then(|| format!("demo-{name}")),
                namespaces,
                cap_add: Vec::new(),
                cap_drop: Vec::new(),
                privileged: false,
                program: None,
                user: None,
            }),
        )
    }

    fn address(ns: &str, link: &str, net: &str) -> Item {
        let (link, net) = (link.parse().unwrap(), net.parse().unwrap());
        item(ns, Object::Address(Address { link, net, nodad: false }))
    }

    /// A host with a bridge, a container `web` that listens on 80, published on `published`, and an idle `job`.
    fn plan(published: &str) -> Plan {
        let bridge =
            Link { name: "br0".parse().unwrap(), kind: LinkKind::Bridge, mac: None, mtu: None, master: None };
        let (listen, connect): (SocketAddr, _) =
            (published.parse().unwrap(), "172.18.0.2:80".parse().unwrap());
        let listener = Listener { node: "web".into(), transport: Transport::Tcp, address: None, port: 80 };
        Plan {
            items: vec![
                process("host", false),
                address("host", "eth0", "203.0.113.10/24"),
                item("host", Object::Link(bridge)),
                address("host", "br0", "172.18.0.1/16"),
                process("web", true),
                address("web", "lo", "127.0.0.1/8"),
                address("web", "eth0", "172.18.0.2/16"),
                item("web", Object::Listener(listener)),
                item(
                    "host",
                    Object::Proxy(Proxy {
                        transport: Transport::Tcp,
                        listen,
                        connect,
                        answers_by_route: false,
                    }),
                ),
                process("job.1", true),
                address("job.1", "eth0", "172.18.0.3/16"),
            ],
        }
    }

    fn targets(matrix: &Matrix) -> Vec<String> {
        let target = |row: &Row| match (&row.target, row.ask) {
            (Target::Address(a), Ask::Port(_, port)) => format!("{} {a}:{port}", row.node),
            (Target::Name(n), Ask::Port(_, port)) => format!("{} {n}:{port}", row.node),
            (Target::Address(a), Ask::Echo) => format!("{} {a}", row.node),
            (Target::Name(n), Ask::Echo) => format!("{} {n}", row.node),
        };
        matrix.rows.iter().map(target).collect()
    }

    #[test]
    fn every_listener_is_asked_by_name_and_address_and_every_published_port_on_the_hosts_own() {
        let matrix = matrix(&plan("0.0.0.0:8080"), |_| (Outcome::Dropped, Trace::default()));
        assert_eq!(matrix.sources, ["host", "web", "job.1"].map(NodeName::from));
        let expected = [
            "host 203.0.113.10",
            "web web:80",
            "web 172.18.0.2:80",
            "job.1 job",
            "job.1 172.18.0.3",
            "host 203.0.113.10:8080",
        ];
        assert_eq!(targets(&matrix), expected);
    }

    #[test]
    fn another_nodes_loopback_is_not_asked() {
        let mut asked = Vec::new();
        let matrix = matrix(&plan("127.0.0.1:8080"), |probe| {
            asked.push(probe.clone());
            (Outcome::Refused, Trace::default())
        });
        assert!(targets(&matrix).contains(&"host 203.0.113.10:8080".to_owned()), "tried from outside");
        let loopback = matrix.rows.last().unwrap();
        assert_eq!(loopback.target, Target::Address("127.0.0.1".parse().unwrap()));
        assert_eq!(loopback.cells.iter().filter(|c| c.outcome.is_some()).count(), 1);
        assert!(asked.iter().all(|p| p.target != loopback.target || p.from.as_str() == "host"));
    }

    fn dropped_by(rule: usize) -> Trace {
        let addr = "172.18.0.2".parse().unwrap();
        let packet = Packet {
            src: addr,
            dst: addr,
            ttl: 64,
            df: false,
            mark: 0,
            size: 0,
            l4: L4::Other(Protocol::SCTP.0),
            payload: Payload::Empty,
            checksum: Checksum::Good,
        };
        let hit = RuleHit {
            hook: Hook::Prerouting,
            table: "raw".into(),
            chain: "PREROUTING".into(),
            number: rule,
            text: format!("rule {rule}").into(),
            verdict: "DROP".into(),
        };
        let drop = Event::Drop {
            reason: crate::trace::DropReason::NetfilterDrop,
            why: format!("raw PREROUTING {rule}"),
        };
        let hop = |event| Hop { at_us: 0, flight: 1, ns: NsName::from("host"), device: None, packet, event };
        Trace { hops: vec![hop(Event::Rule(hit)), hop(drop)], ..Trace::default() }
    }

    /// What the last rule before the drop was says nothing here: both read the same.
    #[test]
    fn refusals_that_read_the_same_are_one_reason() {
        let mut asked = 0;
        let matrix = matrix(&plan("0.0.0.0:80"), |_| {
            asked += 1;
            let mut trace = dropped_by(7);
            if asked % 2 == 0 {
                trace.hops.remove(0);
            }
            (Outcome::Dropped, trace)
        });
        let [reason] = matrix.reasons.as_slice() else { panic!("{:?}", matrix.reasons) };
        assert_eq!((reason.what.as_str(), reason.cells, reason.kinds), ("raw PREROUTING 7", 18, 1));
    }

    #[test]
    fn a_name_that_is_unknown_says_what_became_of_the_query() {
        let answered = Trace { hops: dropped_by(7).hops.drain(..1).collect(), ..Trace::default() };
        let traces = [Trace::default(), dropped_by(7), answered];
        let mut asked = traces.iter().cycle();
        let matrix = matrix(&plan("0.0.0.0:80"), |_| (Outcome::UnknownName, asked.next().unwrap().clone()));
        let said: Vec<_> = matrix.reasons.iter().map(|r| (r.what.as_str(), r.kinds)).collect();
        assert_eq!(
            said,
            [
                ("there is no resolver that can be asked", 1),
                ("the name query is lost: raw PREROUTING 7", 1),
                ("the resolver knows no such name", 1)
            ]
        );
    }

    #[test]
    fn refusals_of_one_chain_are_one_reason() {
        let mut rule = 0;
        let matrix = matrix(&plan("0.0.0.0:80"), |_| {
            rule += 1;
            (Outcome::Dropped, dropped_by(rule))
        });
        let [reason] = matrix.reasons.as_slice() else { panic!("{:?}", matrix.reasons) };
        assert_eq!((reason.what.as_str(), reason.cells, reason.kinds), ("raw PREROUTING 1", 18, 18));
        assert!(matrix.rows.iter().flat_map(|r| &r.cells).all(|c| c.reason == Some(0)));
    }
}
