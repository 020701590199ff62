//! What stood around a capture.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::addr::IfName;
use seatrial_core::diagnostic::{At, Diagnostics};
use seatrial_core::topology::compose::{Options, read};
use seatrial_core::topology::files::Files;
use seatrial_core::topology::{
    BridgeOptions, Daemon, Driver, Host, Machine, Network, NodeName, Topology, trial,
};

pub(crate) const RESOLV_CONF: &str = "nameserver 192.0.2.53\nsearch example.org\noptions timeout:3\n";
pub(crate) const HOSTS: &str = "127.0.0.1\tlocalhost\n127.0.1.1\tdockhost\n::1\tlocalhost ip6-localhost ip6-loopback\n203.0.113.1\trouter\n";

/// The first 48 bits of the subnets that `dockhost` gives by itself.
pub(crate) const OUR_ULA: &str = "fd6f:1a39:c68d";

pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

/// The engines that were captured: their folders and their releases.
pub(crate) const ENGINES: [(&str, &str); 3] = [("20.10", "20.10.24"), ("26.1", "26.1.5"), ("28.5", "28.5.2")];

pub(crate) fn engines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/engines")
}

/// The folders of an engine that have a file.
pub(crate) fn folders(engine: &str, file: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(engines().join(engine)).unwrap().map(|e| e.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|p| p.join(file).exists()).collect();
    folders.sort();
    folders
}

pub(crate) fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// What was started: the file beside the capture, or 28.5's of the same name.
pub(crate) fn compose(folder: &Path) -> PathBuf {
    let own = folder.join("compose.yaml");
    let name = name_of(folder);
    let topology = name.strip_suffix("-ip6tables").unwrap_or(&name);
    if own.exists() { own } else { engines().join("28.5").join(topology).join("compose.yaml") }
}

/// What stood around a capture, from the first lines of its `world.txt`.
pub(crate) struct Setting {
    /// By flags.
    pub(crate) daemon: Daemon,
    pub(crate) daemon_json: Option<String>,
    pub(crate) v6: bool,
    pub(crate) forwards: bool,
    /// Windows is behind `loopback0`.
    pub(crate) mirrored: bool,
    /// Networks in the order compose happened to make them, and the devices they got.
    pub(crate) made: Vec<(String, String)>,
    /// Those made by hand with `--internal`.
    pub(crate) internal: Vec<String>,
    /// Containers in the order compose happened to start them.
    pub(crate) started: Vec<String>,
    /// The first 48 bits of the subnet that came of the engine's own id.
    pub(crate) ula: Option<String>,
}

pub(crate) fn setting(world: &str) -> Setting {
    let mut setting = Setting {
        daemon: Daemon::default(),
        daemon_json: None,
        v6: false,
        forwards: false,
        mirrored: false,
        made: Vec::new(),
        internal: Vec::new(),
        started: Vec::new(),
        ula: None,
    };
    for line in world.lines().take_while(|l| !l.is_empty()) {
        match line.split_once(' ').unwrap() {
            ("daemon", "--userland-proxy=false") => setting.daemon.userland_proxy = false,
            ("daemon", "--icc=false") => setting.daemon.icc = false,
            ("daemon-json", json) => setting.daemon_json = Some(json.to_owned()),
            ("daemon", "--experimental --ip6tables") => setting.daemon.ip6tables = Some(true),
            ("host", "HOST_V6=1") => setting.v6 = true,
            ("host", "IPFWD=1") => setting.forwards = true,
            ("host", "WSL2=1") => setting.mirrored = true,
            ("started", name) => setting.started.push(name.to_owned()),
            ("ula", prefix) => setting.ula = Some(prefix.to_owned()),
            ("made", words) => {
                let mut words = words.split(' ').map(str::to_owned);
                let (name, device) = (words.next().unwrap(), words.next().unwrap_or("none".to_owned()));
                setting.internal.extend(words.next().map(|_| name.clone()));
                setting.made.push((name, device));
            }
            _ => panic!("what is '{line}'?"),
        }
    }
    setting
}

/// What a `daemon.json` says to an engine.
pub(crate) fn daemon(release: &str, json: &str) -> Result<Daemon, Diagnostics> {
    struct Text(String);
    impl Files for Text {
        fn read(&self, _path: &Path, _limit: usize) -> io::Result<String> {
            Ok(self.0.clone())
        }
    }
    let text = format!(
        "title: t\nengine: '{release}'\ncompose: {{ services: {{ web: {{ image: web }} }} }}\ndaemon: {json}\nexpect: [host -> 127.0.0.1/icmp reaches host]\n"
    );
    let trial = trial::read(Path::new("t.trial.yaml"), &Text(text), &Options::default())?;
    Ok(trial.topology.hosts[0].daemon.clone())
}

/// The host on which the engines were captured.
pub(crate) fn topology(release: &str, folder: &Path, setting: &Setting) -> Topology {
    let project = read(&[compose(folder)], &Disk, &Options::default())
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut addresses = vec!["203.0.113.10/24".parse().unwrap()];
    let mut routes = vec!["default via 203.0.113.1".parse().unwrap()];
    if setting.v6 {
        addresses.push("2001:db8:203::10/64".parse().unwrap());
        routes.push("default via 2001:db8:203::1".parse().unwrap());
    }
    let mut interfaces = BTreeMap::from([(IfName::eth0(), addresses)]);
    interfaces.extend(setting.mirrored.then(|| ("loopback0".parse().unwrap(), Vec::new())));
    let machine = Machine {
        interfaces,
        routes,
        resolv_conf: RESOLV_CONF.to_owned(),
        hosts_file: HOSTS.to_owned(),
        ports_in_use: Vec::new(),
        sysctls: BTreeMap::new(),
        boot_ip_forward: setting.forwards,
        firewall: Vec::new(),
        nft: None,
    };
    let mut networks = project.networks;
    // Networks that were made by hand, beside compose.
    let unmade = |(name, _): &&(String, String)| !networks.iter().any(|n| n.name == *name);
    let more: Vec<Network> =
        setting.made.iter().filter(unmade).map(|(name, _)| by_hand(name, setting)).collect();
    networks.extend(more);
    networks.sort_by_key(|n| setting.made.iter().position(|(m, _)| *m == n.name));
    let mut containers = project.containers;
    containers.sort_by_key(|c| setting.started.iter().position(|s| *s == c.name));
    let host = Host {
        name: NodeName::from("dockhost"),
        project: project.name,
        engine: release.parse().unwrap(),
        daemon: match &setting.daemon_json {
            Some(json) => daemon(release, json).unwrap(),
            None => setting.daemon.clone(),
        },
        machine,
        networks,
        containers,
    };
    Topology { hosts: vec![host], lan: Vec::new(), listeners: Vec::new(), assumed: Vec::new() }
}

/// `docker network create NAME`.
pub(crate) fn by_hand(name: &str, setting: &Setting) -> Network {
    Network {
        key: name.to_owned(),
        name: name.to_owned(),
        driver: Driver::Bridge(BridgeOptions::default()),
        ipv4: true,
        ipv6: false,
        internal: setting.internal.iter().any(|n| n == name),
        attachable: false,
        external: true,
        pools: Vec::new(),
        at: At::nowhere("by hand"),
    }
}
