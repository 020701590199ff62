//! What the packet filter costs by itself: `scripts/bench.sh hooks`.
//!
//! PREROUTING, FORWARD and POSTROUTING of a Docker host, for a packet from the LAN to a container's published port.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a bench may")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use divan::{AllocProfiler, Bencher};
use seatrial_core::addr::IfName;
use seatrial_core::engine::Engine;
use seatrial_core::plan::{self, NsName, Object, Plan};
use seatrial_core::rules::{AddrType, Hook, Ruleset};
use seatrial_core::topology::{compose, trial};
use seatrial_sim::netfilter::{Context, CtInfo, Netfilter, Routing, Verdict};
use seatrial_sim::packet::{Checksum, L4, Packet, Payload, Ports, Tcp, TcpFlags};
use seatrial_sim::seed::Seed;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const COMPOSE: &str = "name: shop\nservices: { web: { image: nginx, ports: [ '8080:80' ] } }\n";

fn main() {
    divan::main();
}

fn plan() -> Plan {
    let path = PathBuf::from("compose.yaml");
    let files = BTreeMap::from([(path.clone(), COMPOSE.to_owned())]);
    let project = compose::read(&[path], &files, &compose::Options::default()).unwrap();
    plan::plan(&trial::assume(project, Engine::NEWEST).unwrap()).unwrap()
}

/// The first packet of a flow through the packet filter: tracked, translated, accepted, confirmed.
#[divan::bench]
fn hooks_of_a_new_flow(bencher: Bencher<'_, '_>) {
    let host = Host::new();
    bencher.with_inputs(|| host.clone()).bench_refs(|host| host.forward(host.syn));
}

/// A later packet of the flow.
#[divan::bench]
fn hooks_of_a_known_flow(bencher: Bencher<'_, '_>) {
    let mut host = Host::new();
    host.forward(host.syn);
    bencher.bench_local(|| host.forward(host.syn));
}

/// The Docker host's packet filter, and a packet to the published port.
#[derive(Clone)]
struct Host {
    netfilter: Netfilter,
    syn: Packet,
    eth0: IfName,
    bridge: IfName,
    ns: NsName,
}

impl Host {
    fn new() -> Self {
        let plan = plan();
        let host = NsName::from("host");
        let here = plan.items.iter().filter(|item| item.ns == host);
        let rules: Vec<Arc<Ruleset>> = here.filter_map(|item| rules(&item.object)).collect();
        let bridge = plan.items.iter().find_map(|item| match &item.object {
            Object::Link(link) if link.name.as_str().starts_with("br-") => Some(link.name.clone()),
            _ => None,
        });
        let tcp = Tcp { ports: Ports { src: 40000, dst: 8080 }, flags: TcpFlags::SYN, seq: 1, ack: 0 };
        Self {
            netfilter: Netfilter::build(&rules).unwrap(),
            syn: Packet {
                src: "203.0.113.50".parse().unwrap(),
                dst: "203.0.113.10".parse().unwrap(),
                ttl: 64,
                df: true,
                mark: 0,
                size: 0,
                l4: L4::Tcp(tcp),
                payload: Payload::Empty,
                checksum: Checksum::Good,
            },
            eth0: "eth0".parse().unwrap(),
            bridge: bridge.unwrap(),
            ns: host,
        }
    }

    fn forward(&mut self, mut packet: Packet) -> Packet {
        let (mut ct, mut seed) = (CtInfo::NONE, Seed::new(1));
        for at in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
            let mut ctx = Context {
                now_us: 1,
                seed: &mut seed,
                input: Some(&self.eth0),
                output: (at != Hook::Prerouting).then_some(&self.bridge),
                bridged: None,
                next_hop: None,
                routing: &Addresses,
                ns: &self.ns,
                flight: 1,
                hops: None,
            };
            assert_eq!(self.netfilter.hook(at, &mut packet, &mut ct, &mut ctx), Verdict::Accept);
        }
        packet
    }
}

fn rules(object: &Object) -> Option<Arc<Ruleset>> {
    match object {
        Object::Rules(ruleset) => Some(ruleset.clone()),
        _ => None,
    }
}

/// The host's own address, as far as its rules ask.
struct Addresses;

impl Routing for Addresses {
    fn addr_type(&self, addr: IpAddr, _: Option<&IfName>) -> AddrType {
        let host = IpAddr::from([203, 0, 113, 10]);
        if addr == host { AddrType::Local } else { AddrType::Unicast }
    }

    fn masquerade_source(&self, _: &IfName, _: IpAddr) -> Option<IpAddr> {
        None
    }

    fn redirect_address(&self, _: &IfName, _: IpAddr) -> Option<IpAddr> {
        None
    }
}
