//! A small network as a trial file would have it.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use ipnet::IpNet;
use proptest::prelude::*;
use seatrial_core::topology::Topology;
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial;

/// What is drawn.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) seed: u64,
    newest: bool,
    proxy: bool,
    /// `nf_conntrack_max` of the host, where it is small.
    pub(super) small_table: Option<u8>,
    /// A machine of the LAN.
    lan: bool,
    networks: Vec<Net>,
    containers: Vec<Ctr>,
}

#[derive(Debug, Clone)]
struct Net {
    internal: bool,
    icc: bool,
}

#[derive(Debug, Clone)]
struct Ctr {
    on: Vec<u8>,
    published: bool,
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let seldom = |percent: u32| prop::bool::weighted(f64::from(percent) / 100.0);
    let net = (seldom(20), seldom(80)).prop_map(|(internal, icc)| Net { internal, icc });
    let ctr = (prop::collection::vec(any::<u8>(), 1..=2), any::<bool>())
        .prop_map(|(on, published)| Ctr { on, published });
    let table = prop_oneof![3 => Just(None), 1 => (2u8..6).prop_map(Some)];
    (
        any::<u64>(),
        any::<bool>(),
        any::<bool>(),
        table,
        seldom(80),
        prop::collection::vec(net, 1..=3),
        prop::collection::vec(ctr, 1..=3),
    )
        .prop_map(|(seed, newest, proxy, small_table, lan, networks, containers)| Shape {
            seed,
            newest,
            proxy,
            small_table,
            lan,
            networks,
            containers,
        })
}

impl Shape {
    /// The host, its containers and the machines beside it.
    pub(super) const fn nodes(&self) -> usize {
        1 + self.containers.len() + self.lan as usize
    }

    pub(super) fn containers(&self) -> Vec<String> {
        (0..self.containers.len()).map(|i| format!("c{i}")).collect()
    }

    pub(super) fn machines(&self) -> Vec<String> {
        let lan = self.lan.then(|| "laptop".to_owned());
        ["host".to_owned()].into_iter().chain(lan).collect()
    }

    /// The host's port that leads to port 80 of a container.
    pub(super) fn published(&self, container: usize) -> Option<u16> {
        let published = self.containers.get(container)?.published;
        published.then(|| 8000 + u16::try_from(container).unwrap_or_default())
    }

    /// The keys of a container's networks.
    pub(super) fn on(&self, container: usize) -> Vec<usize> {
        let mut on: Vec<usize> =
            self.containers[container].on.iter().map(|i| usize::from(*i) % self.networks.len()).collect();
        on.sort_unstable();
        on.dedup();
        on
    }

    /// Whether two containers have a network in common.
    pub(super) fn share(&self, one: usize, other: usize) -> bool {
        self.on(one).iter().any(|net| self.on(other).contains(net))
    }

    /// Every node; who is left out is not among the first.
    pub(super) fn everyone(&self) -> Vec<String> {
        let lan = self.lan.then(|| "laptop".to_owned());
        ["host".to_owned()].into_iter().chain(self.containers()).chain(lan).collect()
    }

    /// The subnets that the host masquerades.
    pub(super) fn masqueraded(&self) -> Vec<IpNet> {
        let networks = self.networks.iter().enumerate().filter(|(_, net)| !net.internal);
        networks.map(|(i, _)| subnet(i).parse().unwrap()).collect()
    }

    /// The same with one thing less, in every way there is.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut less = |change: &dyn Fn(&mut Self)| {
            let mut smaller = self.clone();
            change(&mut smaller);
            all.push(smaller);
        };
        for i in (0..self.containers.len()).filter(|_| self.containers.len() > 1) {
            less(&|s| _ = s.containers.remove(i));
        }
        for i in (0..self.networks.len()).filter(|_| self.networks.len() > 1) {
            less(&|s| _ = s.networks.remove(i));
        }
        if self.small_table.is_some() {
            less(&|s| s.small_table = None);
        }
        if self.lan {
            less(&|s| s.lan = false);
        }
        all
    }

    fn text(&self) -> String {
        let mut text = String::from("title: any\n");
        let engine = if self.newest { "29" } else { "28.5" };
        writeln!(text, "engine: \"{engine}\"\ndaemon: {{ userland-proxy: {} }}", self.proxy).unwrap();
        if let Some(max) = self.small_table {
            writeln!(text, "host: {{ sysctls: {{ net.netfilter.nf_conntrack_max: {max} }} }}").unwrap();
        }
        text.push_str("compose:\n  networks:\n");
        for (i, net) in self.networks.iter().enumerate() {
            let icc = format!("driver_opts: {{ com.docker.network.bridge.enable_icc: \"{}\" }}", net.icc);
            let subnet = format!("ipam: {{ config: [{{ subnet: {} }}] }}", subnet(i));
            writeln!(text, "    n{i}: {{ internal: {}, {icc}, {subnet} }}", net.internal).unwrap();
        }
        text.push_str("  services:\n");
        for i in 0..self.containers.len() {
            let on: Vec<String> = self.on(i).iter().map(|net| format!("n{net}")).collect();
            let ports = self
                .published(i)
                .map(|p| format!(", ports: [\"{p}:80\", \"{p}:80/udp\"]"))
                .unwrap_or_default();
            writeln!(text, "    c{i}: {{ image: any, networks: [{}]{ports} }}", on.join(", ")).unwrap();
        }
        if self.lan {
            text.push_str("lan: { laptop: 203.0.113.50/24 }\n");
        }
        let nodes = self.containers().into_iter().chain(self.machines());
        let listen: Vec<String> = nodes.map(|node| format!("{node}: [80/tcp, 80/udp]")).collect();
        writeln!(text, "listen: {{ {} }}\nexpect: [ c0 -> 192.0.2.1/icmp no-route ]", listen.join(", "))
            .unwrap();
        text
    }

    pub(super) fn topology(&self) -> Topology {
        let text = self.text();
        let trial = trial::read(Path::new("any.trial.yaml"), &Only(&text), &Options::default());
        trial.unwrap_or_else(|e| panic!("{e:?}\n{text}")).topology
    }
}

fn subnet(network: usize) -> String {
    format!("10.1.{network}.0/24")
}

/// The one file there is.
pub(super) struct Only<'a>(pub(super) &'a str);

impl Files for Only<'_> {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        let there = path.ends_with("any.trial.yaml");
        if there { Ok(self.0.to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}
