//! Trial files: the broken ones of `fixtures/bad`, and what a good one says.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::{fs, io};

use proptest::prelude::{Strategy, prop_assert, proptest};
use seatrial_core::engine::Engine;
use seatrial_core::topology::compose::{self, Options};
use seatrial_core::topology::files::Files;
use seatrial_core::topology::{Listener, trial};

/// The disk, below the fixtures.
struct Fixtures(PathBuf);

impl Files for Fixtures {
    fn read(&self, path: &Path, limit: usize) -> io::Result<String> {
        let text = fs::read_to_string(self.0.join(path))?;
        if text.len() > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
    }
}

fn fixtures() -> Fixtures {
    Fixtures(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures"))
}

#[test]
fn every_broken_trial_says_what_is_wrong_and_where() {
    insta::glob!("../../fixtures/bad", "*.trial.yaml", |path| {
        let path = Path::new("bad").join(path.file_name().unwrap());
        let wrong = trial::read(&path, &fixtures(), &Options::default()).unwrap_err();
        insta::assert_snapshot!(wrong.to_string());
    });
}

/// A trial that uses every key, as far as it is read.
const WHOLE: &str = r#"
title: everything at once
group: family
compose: { services: { web: { image: nginx, ports: ["8080:80", "53:53/udp"], expose: ["9000-9001"] }, job: { image: alpine } } }
engine: "28.5"
daemon: { userland-proxy: false, mtu: 1400, default-address-pools: [{ base: 10.0.0.0/16, size: 24 }] }
host:
  interfaces: { eth0: [203.0.113.20/24, "2001:db8::20/64"], eth1: 10.9.0.1/24 }
  routes: [default via 203.0.113.1, "10.10.0.0/16 via 10.9.0.2 dev eth1"]
  resolv_conf: nameserver 192.0.2.53
  ports_in_use: [22/tcp]
  sysctls: { net.ipv4.ip_forward: 1 }
  firewall: |
    *filter
    :INPUT DROP [0:0]
    COMMIT
hosts:
  b:
    compose: { services: { web: { image: nginx, expose: ["80"] } } }
    host: { interfaces: { eth0: 203.0.113.30/24 } }
lan:
  laptop: 203.0.113.50/24
  both: { address: [203.0.113.51/24, "2001:db8::51/64"], routes: [10.0.0.0/8 via 203.0.113.20] }
listen:
  host: [9000/tcp]
  laptop: ["127.0.0.1:7000/tcp", "[::1]:53/udp"]
when: { engine: ">=28" }
needs: [macvlan, root]
fresh: true
apart: true
expect:
  - laptop -> 203.0.113.20:8080/tcp   reaches web:80 from 203.0.113.50   # a comment
  - when: { lane: [sim, kernel] }
    then: [b/web hostname is x, job has own ipc]
  - - { when: { engine: ">=29" }, then: b -> web/icmp unknown-name }
    - then: b -> web/icmp dropped
steps:
  - at: 2s
  - stop web
  - cut laptop.eth0
"#;

fn whole() -> trial::Trial {
    let files =
        std::collections::BTreeMap::from([(PathBuf::from("demo/whole.trial.yaml"), WHOLE.to_owned())]);
    trial::read(Path::new("demo/whole.trial.yaml"), &files, &Options::default()).unwrap()
}

#[test]
fn every_key_of_a_trial_is_read() {
    let trial = whole();
    assert_eq!(
        (trial.title.as_str(), trial.group.as_str(), trial.fresh, trial.apart),
        ("everything at once", "family", true, true)
    );
    assert_eq!(trial.needs.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["macvlan", "root"]);
    let host = &trial.topology.hosts[0];
    assert_eq!(host.engine.to_string(), "28.5");
    assert!(!host.daemon.userland_proxy && host.daemon.mtu == Some(1400));
    assert_eq!(host.machine.interfaces.len(), 2);
    assert_eq!(host.machine.routes[1].to_string(), "10.10.0.0/16 via 10.9.0.2 dev eth1");
    assert_eq!(host.machine.resolv_conf, "nameserver 192.0.2.53\n");
    assert!(host.machine.boot_ip_forward, "the setting itself says so");
    assert_eq!(host.machine.firewall.len(), 1);
    assert_eq!(trial.topology.hosts[1].containers[0].node.as_str(), "b/web");
    assert_eq!(trial.topology.lan[1].routes[0].to_string(), "10.0.0.0/8 via 203.0.113.20");
}

#[test]
fn a_container_listens_on_what_it_publishes_and_exposes_unless_listen_says() {
    let said = |l: &Listener| {
        let address = l.address.map_or_else(|| "any".to_owned(), |a| a.to_string());
        format!("{} {address} {}/{}", l.node, l.port, l.transport)
    };
    let listeners: Vec<_> = whole().topology.listeners.iter().map(said).collect();
    assert_eq!(
        listeners,
        [
            "host any 9000/tcp",
            "laptop 127.0.0.1 7000/tcp",
            "laptop ::1 53/udp",
            "web any 80/tcp",
            "web any 9000/tcp",
            "web any 9001/tcp",
            "web any 53/udp",
            "b/web any 80/tcp"
        ]
    );
}

#[test]
fn the_first_alternative_that_fits_a_place_is_meant_there() {
    let trial = whole();
    let at = |engine: &str, lane| {
        let place = trial::Place { engine: engine.parse().unwrap(), kernel: "6.12".parse().unwrap(), lane };
        let lines = trial.expect.iter().flat_map(|e| e.lines(&place)).map(|w| w.line.to_string());
        lines.collect::<Vec<_>>()
    };
    let first = "laptop -> 203.0.113.20:8080/tcp reaches web:80 from 203.0.113.50";
    assert_eq!(at("28.5", trial::Lane::Docker), [first, "b -> web/icmp dropped"]);
    assert_eq!(
        at("29", trial::Lane::Sim),
        [first, "b/web hostname is x", "job has own ipc", "b -> web/icmp unknown-name"]
    );
    let steps: Vec<_> =
        trial.steps.iter().flat_map(|e| &e.alternatives[0].lines).map(|w| w.line.to_string()).collect();
    assert_eq!(steps, ["at: 2s", "stop web", "cut laptop.eth0"]);
}

#[test]
fn a_line_knows_its_place_without_the_comment_after_it() {
    let written = &whole().expect[0].alternatives[0].lines[0];
    assert_eq!(written.at.to_string(), "demo/whole.trial.yaml:32:5");
    assert!(written.at.text().ends_with("from 203.0.113.50"), "{}", written.at.text());
}

#[test]
fn a_compose_file_alone_gets_surroundings_and_says_so() {
    let text = "services: { web: { image: nginx, ports: ['80'] }, lan: { image: alpine } }";
    let files = std::collections::BTreeMap::from([(PathBuf::from("compose.yaml"), text.to_owned())]);
    let project = compose::read(&["compose.yaml".into()], &files, &Options::default()).unwrap();
    let topology = trial::assume(project, Engine::NEWEST).unwrap();
    assert_eq!(
        topology.assumed,
        [
            "host: eth0 203.0.113.10/24, default via 203.0.113.1",
            "lan-1: a machine on eth0's wire, 203.0.113.50/24",
            "web: listens on 80/tcp",
            "lan: no declared listener",
        ]
    );
    assert_eq!(topology.lan[0].name.as_str(), "lan-1", "a service has the name already");
}

/// A change to a text: at a place of it, given in thousandths, some bytes go and others come.
fn mutation() -> impl Strategy<Value = (usize, usize, String)> {
    let pieces = ["", "\t", "- ", ": ", "{", "[", "\"", "&a *a", "é", "\n", "x: y\n", "99999", "::", "->"];
    (0..1000usize, 0..40usize, proptest::sample::select(pieces.map(str::to_owned).to_vec()))
}

proptest! {
    #[test]
    fn no_mutated_trial_makes_the_reader_panic(changes in proptest::collection::vec(mutation(), 1..6)) {
        let mut text = WHOLE.to_owned();
        for (place, gone, come) in changes {
            let floor = |at: usize, text: &str| (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i));
            let start = floor(text.len() * place / 1000, &text).unwrap_or(0);
            let end = floor(start + gone, &text).unwrap_or(start).max(start);
            text.replace_range(start..end, &come);
        }
        let path = PathBuf::from("demo/whole.trial.yaml");
        let files = std::collections::BTreeMap::from([(path.clone(), text)]);
        if let Err(wrong) = trial::read(&path, &files, &Options::default()) {
            prop_assert!(!wrong.0.is_empty());
        }
    }
}

#[test]
fn every_trial_can_be_read() {
    insta::glob!("../../fixtures/trials", "**/*.trial.yaml", |path| {
        let root = fixtures().0.canonicalize().unwrap();
        let path = path.canonicalize().unwrap().strip_prefix(&root).unwrap().to_owned();
        let trial = trial::read(&path, &fixtures(), &Options::default());
        let folder = path.parent().and_then(Path::file_name).and_then(|n| n.to_str());
        assert_eq!(trial.map(|t| t.group).as_deref(), Ok(folder.unwrap()));
    });
}
