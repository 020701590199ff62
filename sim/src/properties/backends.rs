//! Engine 29 with iptables and with nftables: of one topology the same is reached, and by the same address.
//!
//! Whatever the two let pass otherwise is in [`documented`], with what says so. The other way about, each rule that
//! Docker writes for nft is missed by some case when it is left out ([`MUTANTS`]).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestError;
use seatrial_core::plan::{Item, NsName, Object, Plan, PlanOp, Planner};
use seatrial_core::probe::{Change, Outcome};
use seatrial_core::rules::{Backend, Match, Rule};
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::{NodeName, Topology, trial};

use super::shape::Only;
use super::{hold, runner};
use crate::world::World;

/// How many topologies are made.
const CASES: u32 = 60;
/// And how many to miss a rule that was left out.
const HUNT: u32 = 400;

/// The host's addresses on the LAN.
const HOST: [&str; 2] = ["203.0.113.10", "2001:db8:203::10"];

/// What is drawn.
#[derive(Debug, Clone)]
struct Shape {
    seed: u64,
    proxy: bool,
    direct_routing: bool,
    networks: Vec<Net>,
    containers: Vec<Ctr>,
    /// Who stops and starts between the questions.
    turns: u8,
}

#[derive(Debug, Clone)]
struct Net {
    internal: bool,
    icc: bool,
    masquerade: bool,
    snat: bool,
    trusts: bool,
    ipv6: bool,
    mode: &'static str,
}

#[derive(Debug, Clone)]
struct Ctr {
    on: Vec<u8>,
    /// Where port 80 is published, if it is.
    published: Option<&'static str>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let seldom = |percent: u32| prop::bool::weighted(f64::from(percent) / 100.0);
    let mode = prop_oneof![3 => Just("nat"), 1 => Just("nat-unprotected"), 1 => Just("routed")];
    let net = (seldom(25), seldom(75), seldom(85), seldom(20), seldom(20), seldom(30), mode).prop_map(
        |(internal, icc, masquerade, snat, trusts, ipv6, mode)| Net {
            internal,
            icc,
            masquerade,
            snat,
            trusts,
            ipv6,
            mode,
        },
    );
    let published = prop_oneof![1 => Just(None), 3 => Just(Some("")), 1 => Just(Some("127.0.0.1:"))];
    let ctr = (prop::collection::vec(any::<u8>(), 1..=2), published)
        .prop_map(|(on, published)| Ctr { on, published });
    let lists = (prop::collection::vec(net, 1..=3), prop::collection::vec(ctr, 1..=3));
    (any::<u64>(), any::<bool>(), seldom(20), lists, any::<u8>()).prop_map(
        |(seed, proxy, direct_routing, (networks, containers), turns)| Shape {
            seed,
            proxy,
            direct_routing,
            networks,
            containers,
            turns,
        },
    )
}

impl Shape {
    fn on(&self, container: usize) -> Vec<usize> {
        let of = |i: &u8| usize::from(*i) % self.networks.len();
        let mut on: Vec<usize> = self.containers[container].on.iter().map(of).collect();
        on.sort_unstable();
        on.dedup();
        on
    }

    /// A trial with everything in it. Forwarding is on before Docker comes: with nftables Docker leaves that to whoever
    /// keeps the host, and sets no policy.
    fn text(&self, backend: &str) -> String {
        let mut text = format!(
            "title: any\nengine: \"29\"\n\
             daemon: {{ firewall-backend: {backend}, userland-proxy: {}, allow-direct-routing: {} }}\n\
             host:\n  interfaces: {{ eth0: [203.0.113.10/24, 203.0.113.11/24, \"2001:db8:203::10/64\"] }}\n  \
             sysctls: {{ net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1 }}\n\
             lan:\n  laptop: {{ address: [203.0.113.50/24, \"2001:db8:203::50/64\"], \
             routes: [\"10.1.0.0/16 via 203.0.113.10\", \"fd00::/16 via 2001:db8:203::10\"] }}\n\
             compose:\n  networks:\n",
            self.proxy, self.direct_routing
        );
        for (i, net) in self.networks.iter().enumerate() {
            net.write(i, &mut text);
        }
        text.push_str("  services:\n");
        for (i, ctr) in self.containers.iter().enumerate() {
            let on: Vec<String> = self.on(i).iter().map(|net| format!("n{net}")).collect();
            let ports = ctr.published.map(|at| format!(", ports: [\"{at}800{i}:80\"]")).unwrap_or_default();
            writeln!(text, "    c{i}: {{ image: any, networks: [{}]{ports} }}", on.join(", ")).unwrap();
        }
        let listen: Vec<String> =
            (0..self.containers.len()).map(|i| format!("c{i}: [80/tcp, 81/tcp]")).collect();
        writeln!(text, "listen: {{ laptop: [80/tcp], {} }}", listen.join(", ")).unwrap();
        text.push_str("expect: [ c0 -> 192.0.2.1/icmp no-route ]\n");
        text
    }

    fn topology(&self, backend: &str) -> Topology {
        let text = self.text(backend);
        let trial = trial::read(Path::new("any.trial.yaml"), &Only(&text), &Options::default());
        trial.unwrap_or_else(|e| panic!("{e:?}\n{text}")).topology
    }
}

impl Net {
    fn write(&self, i: usize, text: &mut String) {
        let Self { internal, icc, masquerade, ipv6, mode, .. } = self;
        write!(text, "    n{i}:\n      internal: {internal}\n      enable_ipv6: {ipv6}\n").unwrap();
        let v6 = if *ipv6 { format!(", {{ subnet: \"fd00:{i}::/64\" }}") } else { String::new() };
        writeln!(text, "      ipam: {{ config: [{{ subnet: 10.1.{i}.0/24 }}{v6}] }}\n      driver_opts:")
            .unwrap();
        let mut option = |name: &str, value: &str| {
            writeln!(text, "        com.docker.network.{name}: \"{value}\"").unwrap()
        };
        option("bridge.enable_icc", &icc.to_string());
        option("bridge.enable_ip_masquerade", &masquerade.to_string());
        option("bridge.gateway_mode_ipv4", mode);
        option("bridge.gateway_mode_ipv6", mode);
        if self.snat {
            option("host_ipv4", "203.0.113.11");
        }
        if self.trusts {
            option("bridge.trusted_host_interfaces", "eth0");
        }
    }
}

/// Whom everybody asks.
struct Questions {
    lines: Vec<String>,
}

impl Questions {
    fn of(shape: &Shape, plan: &Plan) -> Self {
        let containers: Vec<String> = (0..shape.containers.len()).map(|i| format!("c{i}")).collect();
        let mut lines = Vec::new();
        let everyone = || containers.iter().cloned().chain(["host".to_owned(), "laptop".to_owned()]);
        for from in everyone() {
            for to in everyone().filter(|to| *to != "host") {
                for address in addresses(plan, &to) {
                    lines.push(format!("{from} -> {address}/icmp"));
                    lines.extend([80, 81].map(|port| format!("{from} -> {address}:{port}/tcp")));
                }
            }
            let own = addresses(plan, &from);
            let gateways = own.iter().filter_map(|own| gateway(own));
            let hosts = HOST
                .into_iter()
                .map(|host| if host.contains(':') { format!("[{host}]") } else { host.to_owned() });
            let loops =
                (from == "host").then(|| ["127.0.0.1", "[::1]"].map(str::to_owned)).into_iter().flatten();
            let at: Vec<String> = hosts.chain(gateways).chain(loops).collect();
            for i in 0..containers.len() {
                lines.extend(at.iter().map(|at| format!("{from} -> {at}:800{i}/tcp")));
            }
        }
        Self { lines }
    }
}

/// A node's addresses on its networks, as a probe names them.
fn addresses(plan: &Plan, node: &str) -> Vec<String> {
    let ns = NsName::from(node);
    let own = plan.items.iter().filter(|item| item.ns == ns).filter_map(|item| match &item.object {
        Object::Address(a) if !a.net.addr().is_loopback() => Some(a.net.addr()),
        _ => None,
    });
    own.map(|a| if a.is_ipv6() { format!("[{a}]") } else { a.to_string() }).collect()
}

/// The address of the bridge that an address is on; none on the LAN.
fn gateway(address: &str) -> Option<String> {
    let bridge = |open: &str| {
        let (net, _) = address.strip_prefix(open)?.rsplit_once(['.', ':'])?;
        Some(net.to_owned())
    };
    if address.starts_with("10.1.") {
        return Some(format!("{}.1", bridge("")?));
    }
    address.starts_with("[fd00:").then(|| bridge("[")).flatten().map(|net| format!("[{net}:1]"))
}

/// One of the two Engines.
struct Engine {
    planner: Planner,
    world: World,
    without: Option<&'static str>,
}

impl Engine {
    fn new(shape: &Shape, backend: &str, without: Option<&'static str>) -> Self {
        let (planner, mut plan) = Planner::new(&shape.topology(backend)).unwrap();
        plan.items.iter_mut().for_each(|item| leave_out(item, without));
        Self { planner, world: World::build(&plan, shape.seed).unwrap(), without }
    }

    /// Each question in a world as it stands: one that took longer of one Engine than of the other is no matter to the next.
    fn ask(&self, questions: &Questions) -> Vec<Outcome> {
        let ask = |line: &String| self.world.clone().probe(&line.parse().unwrap()).outcome;
        questions.lines.iter().map(ask).collect()
    }

    fn change(&mut self, change: &Change) {
        let mut operations = self.planner.change(change).unwrap();
        for operation in &mut operations {
            if let PlanOp::Add(item) | PlanOp::Remove(item) | PlanOp::Replace(item) = operation {
                leave_out(item, self.without);
            }
        }
        self.world.apply(&operations).unwrap();
    }
}

/// Takes the rules with a comment, or of a text, out of nft's.
fn leave_out(item: &mut Item, without: Option<&str>) {
    let (Object::Rules(rules), Some(without)) = (&mut item.object, without) else { return };
    if rules.backend == Backend::Nft {
        let is = |rule: &Rule| match rule.matches.last() {
            Some(Match::Comment(comment)) => comment == without,
            _ => rule.to_string().starts_with(without),
        };
        let chains = Arc::make_mut(rules).tables.iter_mut().flat_map(|table| &mut table.chains);
        chains.for_each(|chain| chain.rules.retain(|rule| !is(rule)));
    }
}

/// Where the two may differ. Kernel 6.18 has both so, with the rules of upstream's documents:
/// fixtures/trials/nft/differs.trial.yaml and differs-by-iptables.trial.yaml.
fn documented(shape: &Shape, line: &str, iptables: &Outcome, nft: &Outcome) -> bool {
    let (from, at) = line.split_once(" -> ").unwrap_or_default();
    let address = at.rsplit_once(':').map(|(address, _)| address.trim_matches(['[', ']']));
    let asked = address.and_then(|address| address.parse::<IpAddr>().ok());
    let own = |i: &usize| {
        let of = |text: String| text.parse::<IpAddr>().ok();
        asked.is_some() && (asked == of(format!("10.1.{i}.1")) || asked == of(format!("fd00:{i}::1")))
    };
    let Some(bridge) = (0..shape.networks.len()).find(own) else { return false };
    match (iptables, nft) {
        // A container on an internal network asks by its bridge's own address for what one elsewhere publishes.
        // DOCKER-INTERNAL of iptables stands before what a published port opens (iptabler.go: `setupIPChains`); with nft
        // the chain of the bridge that a packet goes to is asked before that of the bridge it came by (nftabler.go:
        // `oifname vmap`, then `iifname vmap`), and accepts.
        (Outcome::Dropped, Outcome::Reaches { .. }) => {
            from.starts_with('c') && shape.networks[bridge].internal
        }
        // The host asks by one bridge's address for what is behind another. Iptables' `-s SUBNET ! -o BRIDGE` gives the
        // packet another source; with nft it came by no device, and no map knows that.
        (Outcome::Reaches { node, port, .. }, Outcome::Reaches { node: n, port: p, .. }) => {
            from == "host" && (node, port) == (n, p)
        }
        _ => false,
    }
}

/// Asks both, stops a container and asks again, starts it and asks again.
fn agree(shape: &Shape, without: Option<&'static str>) -> Result<(), String> {
    let mut engines = [("iptables", None), ("nftables", without)].map(|(b, w)| Engine::new(shape, b, w));
    let questions = Questions::of(shape, &engines[0].planner.plan());
    let turned =
        || NodeName::from(format!("c{}", usize::from(shape.turns) % shape.containers.len()).as_str());
    for change in [None, Some(Change::Stop(turned())), Some(Change::Start(turned()))] {
        change.iter().for_each(|change| engines.iter_mut().for_each(|engine| engine.change(change)));
        let [iptables, nft] = engines.each_ref().map(|engine| engine.ask(&questions));
        for ((line, iptables), nft) in questions.lines.iter().zip(&iptables).zip(&nft) {
            if iptables != nft && !documented(shape, line, iptables, nft) {
                return Err(format!("after {change:?}: {line}: {iptables} by iptables, {nft} by nft"));
            }
        }
    }
    Ok(())
}

#[test]
fn iptables_and_nftables_of_engine_29_let_the_same_pass() {
    let test = "backends::iptables_and_nftables_of_engine_29_let_the_same_pass";
    hold(test, CASES, &shape(), |shape| agree(&shape, None));
}

/// Rules of nft's by their comments, or by how iptables would begin them. The others are told by no question here: what
/// is accepted as OUTGOING or UNPROTECTED would be by the policy, who is on an internal network has no route out (EGRESS),
/// and nobody crafts a frame to 127.0.0.1 (REMOTE LOOPBACK).
const MUTANTS: [&str; 13] = [
    "ICC",
    "ICMP",
    "UNPUBLISHED PORT DROP",
    "DNAT",
    "MASQUERADE",
    "SNAT",
    "MASQUERADE FROM HOST",
    "SNAT FROM HOST",
    "MASQ TO OWN PORT",
    "DROP DIRECT ACCESS",
    "INTERNAL NETWORK INGRESS",
    "-m conntrack --ctstate",
    "-d 10.1.",
];

#[test]
fn a_rule_that_is_left_out_is_missed() {
    for mutant in MUTANTS {
        let agree = |shape: Shape| agree(&shape, Some(mutant)).map_err(TestCaseError::fail);
        let found = runner(1, HUNT, 0).run(&shape(), agree);
        assert!(matches!(found, Err(TestError::Fail(..))), "nobody misses '{mutant}': {found:?}");
    }
}
