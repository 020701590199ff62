//! What real engines made of a compose file, beside the rules: devices, addresses, routes, files, proxies.
//!
//! Each folder of a captured engine with a `world.txt` is planned from its compose file, and the plan is told in the words
//! of that file. See fixtures/engines/README.md.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of object")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use seatrial_core::addr::{Family, IfName, MacAddr};
use seatrial_core::diagnostic::At;
use seatrial_core::engine::{Hardware, Profile};
use seatrial_core::plan::{Item, Link, LinkKind, Namespace, Object, Plan, Planner, Process, plan};
use seatrial_core::probe::{Change, NsKind};
use seatrial_core::rules::iptables::save;
use seatrial_core::topology::compose::{Options, read};
use seatrial_core::topology::files::Files;
use seatrial_core::topology::{BridgeOptions, Daemon, Driver, Host, Machine, Network, NodeName, Topology};

const RESOLV_CONF: &str = "nameserver 192.0.2.53\nsearch example.org\noptions timeout:3\n";
const HOSTS: &str = "127.0.0.1\tlocalhost\n127.0.1.1\tdockhost\n::1\tlocalhost ip6-localhost ip6-loopback\n203.0.113.1\trouter\n";

/// The first 48 bits of the subnets that `dockhost` gives by itself.
const OUR_ULA: &str = "fd6f:1a39:c68d";

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

/// The engines that were captured: their folders and their releases.
const ENGINES: [(&str, &str); 3] = [("20.10", "20.10.24"), ("26.1", "26.1.5"), ("28.5", "28.5.2")];

fn engines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/engines")
}

/// The folders of an engine that have a file.
fn folders(engine: &str, file: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(engines().join(engine)).unwrap().map(|e| e.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|p| p.join(file).exists()).collect();
    folders.sort();
    folders
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// What was started: the file beside the capture, or 28.5's of the same name.
fn compose(folder: &Path) -> PathBuf {
    let own = folder.join("compose.yaml");
    let name = name_of(folder);
    let topology = name.strip_suffix("-ip6tables").unwrap_or(&name);
    if own.exists() { own } else { engines().join("28.5").join(topology).join("compose.yaml") }
}

/// What stood around a capture, from the first lines of its `world.txt`.
struct Setting {
    daemon: Daemon,
    v6: bool,
    forwards: bool,
    /// Networks in the order compose happened to make them, and the devices they got.
    made: Vec<(String, String)>,
    /// Those made by hand with `--internal`.
    internal: Vec<String>,
    /// Containers in the order compose happened to start them.
    started: Vec<String>,
    /// The first 48 bits of the subnet that came of the engine's own id.
    ula: Option<String>,
}

fn setting(world: &str) -> Setting {
    let mut setting = Setting {
        daemon: Daemon::default(),
        v6: false,
        forwards: false,
        made: Vec::new(),
        internal: Vec::new(),
        started: Vec::new(),
        ula: None,
    };
    for line in world.lines().take_while(|l| !l.is_empty()) {
        match line.split_once(' ').unwrap() {
            ("daemon", "--userland-proxy=false") => setting.daemon.userland_proxy = false,
            ("daemon", "--icc=false") => setting.daemon.icc = false,
            ("daemon", "--experimental --ip6tables") => setting.daemon.ip6tables = Some(true),
            ("host", "HOST_V6=1") => setting.v6 = true,
            ("host", "IPFWD=1") => setting.forwards = true,
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

/// The host on which the engines were captured.
fn topology(release: &str, folder: &Path, setting: &Setting) -> Topology {
    let project = read(&[compose(folder)], &Disk, &Options::default())
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut addresses = vec!["203.0.113.10/24".parse().unwrap()];
    let mut routes = vec!["default via 203.0.113.1".parse().unwrap()];
    if setting.v6 {
        addresses.push("2001:db8:203::10/64".parse().unwrap());
        routes.push("default via 2001:db8:203::1".parse().unwrap());
    }
    let machine = Machine {
        interfaces: BTreeMap::from([(IfName::eth0(), addresses)]),
        routes,
        resolv_conf: RESOLV_CONF.to_owned(),
        hosts_file: HOSTS.to_owned(),
        ports_in_use: Vec::new(),
        sysctls: BTreeMap::new(),
        boot_ip_forward: setting.forwards,
        firewall: Vec::new(),
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
        daemon: setting.daemon.clone(),
        machine,
        networks,
        containers,
    };
    Topology { hosts: vec![host], lan: Vec::new(), listeners: Vec::new(), assumed: Vec::new() }
}

/// `docker network create NAME`.
fn by_hand(name: &str, setting: &Setting) -> Network {
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

/// A plan, asked about one namespace.
struct Told<'a> {
    topology: &'a Topology,
    plan: &'a Plan,
}

impl Told<'_> {
    fn of<'b>(&'b self, ns: &'b str) -> impl Iterator<Item = &'b Item> + 'b {
        self.plan.items.iter().filter(move |i| i.ns.as_str() == ns)
    }

    /// Bridges by the network they belong to.
    fn bridges(&self) -> Vec<(String, String)> {
        let is_bridge = |i: &&Item| matches!(&i.object, Object::Link(l) if l.kind == LinkKind::Bridge);
        let made = self.of("dockhost").filter(is_bridge).filter_map(|i| match &i.object {
            Object::Link(link) => Some(link.name.to_string()),
            _ => None,
        });
        let bridge = |n: &&Network| matches!(n.driver, Driver::Bridge(_));
        let names = self.topology.hosts[0].networks.iter().filter(bridge).map(|n| n.name.clone());
        made.skip(1).zip(names).filter(|(d, _)| d.len() == 15 && d.starts_with("br-")).collect()
    }

    /// Bridge names as in a capture: `br-{demo_front}`.
    fn norm(&self, text: &str) -> String {
        self.bridges()
            .iter()
            .fold(text.to_owned(), |t, (dev, name)| t.replace(dev, &format!("br-{{{name}}}")))
    }

    fn host(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for item in self.of("dockhost") {
            let Object::Link(link) = &item.object else { continue };
            if matches!(link.kind, LinkKind::Veth(_)) {
                continue;
            }
            lines.push(format!("link {} bridge mtu {}", link.name, link.mtu.unwrap_or(1500)));
            lines.extend(self.addresses("dockhost", &link.name));
            for (key, default) in [("route_localnet", "0"), ("accept_ra", "1"), ("disable_ipv6", "0")] {
                let value = self.sysctl("dockhost", |k| k.ends_with(&format!("conf.{}.{key}", link.name)));
                lines.push(format!("  {key} {}", value.unwrap_or_else(|| default.to_owned())));
            }
            let ports = self.of("dockhost").filter_map(|i| match &i.object {
                Object::Link(l) if l.master.as_ref() == Some(&link.name) => Some(l),
                _ => None,
            });
            lines.extend(ports.map(|port| format!("  port hairpin {}", u8::from(self.hairpin(port)))));
        }
        for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv6.conf.default.forwarding"]
        {
            let value = self.sysctl("dockhost", |k| k == key).unwrap_or_else(|| "0".to_owned());
            lines.push(format!("sysctl {key} {value}"));
        }
        let mut sockets: Vec<String> = self
            .of("dockhost")
            .filter_map(|i| match &i.object {
                Object::Proxy(p) => Some(format!(
                    "proxy -proto {} -host-ip {} -host-port {} -container-ip {} -container-port {}",
                    p.transport,
                    p.listen.ip(),
                    p.listen.port(),
                    p.connect.ip(),
                    p.connect.port()
                )),
                Object::Reservation(r) => Some(format!("held {} {}", r.transport, r.listen)),
                _ => None,
            })
            .collect();
        if sockets.iter().any(|s| s.starts_with("held")) || self.publishes_at_random() {
            sockets.sort();
        }
        lines.extend(sockets);
        lines.iter().map(|l| self.norm(l)).collect()
    }

    fn profile(&self) -> Profile {
        self.topology.hosts[0].engine.profile
    }

    /// Whether a container has several ports, which engines before 27 publish in a random order.
    fn publishes_at_random(&self) -> bool {
        let several = self.topology.hosts[0].containers.iter().any(|c| c.ports.len() > 1);
        several && self.profile() < Profile::V27
    }

    fn hairpin(&self, port: &Link) -> bool {
        self.of("dockhost")
            .any(|i| matches!(&i.object, Object::BridgePort(p) if p.link == port.name && p.hairpin))
    }

    fn addresses(&self, ns: &str, device: &IfName) -> Vec<String> {
        let of = |i: &Item| match &i.object {
            Object::Address(a) if a.link == *device => Some(format!("  address {}", a.net)),
            _ => None,
        };
        self.of(ns).filter_map(of).collect()
    }

    /// The last value of a setting.
    fn sysctl(&self, ns: &str, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let of = |i: &Item| match &i.object {
            Object::Sysctl(s) if wanted(&s.key) => Some(s.value.clone()),
            _ => None,
        };
        self.of(ns).filter_map(of).last()
    }

    /// The device names of a container, by its network where it has several.
    fn devices(&self, process: &Process) -> BTreeMap<IfName, String> {
        let netns = &process.namespaces[&NsKind::Network];
        if netns.as_str() == "dockhost" {
            return BTreeMap::new();
        }
        let mut devices: BTreeMap<IfName, String> = BTreeMap::new();
        for item in self.of(netns.as_str()) {
            let Object::Address(a) = &item.object else { continue };
            let network = self.network(a.net.addr());
            devices.insert(a.link.clone(), network);
        }
        let several = devices.len() > 1;
        let label = |(device, network): (IfName, String)| {
            let numbered = device.as_str().strip_prefix("eth").is_some_and(|n| n.parse::<u32>().is_ok());
            let name = if several && numbered { format!("{{{network}}}") } else { device.to_string() };
            (device, name)
        };
        devices.into_iter().map(label).collect()
    }

    /// The network an address is on, by the reverse zones.
    fn network(&self, addr: IpAddr) -> String {
        let names = self.plan.items.iter().filter_map(|i| match &i.object {
            Object::Resolver(r) => r.zone.reverse.get(&addr),
            _ => None,
        });
        names.map(|n| n.split_once('.').unwrap().1.to_owned()).next().unwrap_or_else(|| "bridge".to_owned())
    }

    fn container(&self, process: &Process) -> Vec<String> {
        let ns = &process.namespaces[&NsKind::Network];
        let mut lines = Vec::new();
        let devices = self.devices(process);
        if ns.as_str() != "dockhost" {
            lines.extend(self.netns(ns.as_str(), &devices));
        }
        let kinds = [
            (NsKind::Network, "net"),
            (NsKind::Mount, "mnt"),
            (NsKind::Pid, "pid"),
            (NsKind::Uts, "uts"),
            (NsKind::Ipc, "ipc"),
            (NsKind::Cgroup, "cgroup"),
            (NsKind::User, "user"),
        ];
        let own = kinds.iter().filter(|(k, _)| process.namespaces[k].as_str() != "dockhost").map(|(_, n)| *n);
        lines.push(format!("own {}", own.collect::<Vec<_>>().join(" ")));
        lines.push(self.hostname(process));
        lines.extend(self.files(process, devices.len() > 1));
        lines
    }

    fn netns(&self, ns: &str, devices: &BTreeMap<IfName, String>) -> Vec<String> {
        let mut blocks = Vec::new();
        for (device, label) in devices {
            let mtu = self.plan.items.iter().find_map(|i| match &i.object {
                Object::Link(l) if i.ns.as_str() == ns && l.name == *device => Some(l.mtu),
                Object::Link(Link { kind: LinkKind::Veth(p), .. })
                    if p.ns.as_str() == ns && p.name == *device =>
                {
                    Some(p.mtu)
                }
                _ => None,
            });
            let mut block = format!("link {label} mtu {}", mtu.flatten().unwrap_or(1500));
            if self.profile().hardware() == Hardware::OfAddress {
                write!(block, "\n  mac {}", self.mac(ns, device)).unwrap();
            }
            self.addresses(ns, device).iter().for_each(|a| write!(block, "\n{a}").unwrap());
            let off = self.sysctl(ns, |k| k == format!("net.ipv6.conf.{device}.disable_ipv6"));
            write!(block, "\n  disable_ipv6 {}", off.unwrap_or_else(|| "0".to_owned())).unwrap();
            blocks.push(block);
        }
        blocks.sort();
        let mut lines: Vec<String> = blocks.iter().flat_map(|b| b.lines().map(str::to_owned)).collect();
        for item in self.of(ns) {
            let Object::Route(r) = &item.object else { continue };
            let via = r.via.map(|v| format!(" via {v}")).unwrap_or_default();
            lines.push(format!("route default{via} dev {}", devices[r.dev.as_ref().unwrap()]));
        }
        let mut sysctls: Vec<String> = self
            .of(ns)
            .filter_map(|i| match &i.object {
                // The capture's machine did not forward; a container's namespace takes after the machine's first.
                Object::Sysctl(s) if s.key == "net.ipv4.ip_forward" => None,
                Object::Sysctl(s) if devices.keys().any(|d| s.key.contains(&format!(".{d}."))) => None,
                Object::Sysctl(s) => Some(format!("sysctl {} {}", s.key, s.value)),
                _ => None,
            })
            .collect();
        sysctls.sort();
        lines.extend(sysctls);
        lines
    }

    fn mac(&self, ns: &str, device: &IfName) -> MacAddr {
        let mac = self.plan.items.iter().find_map(|i| match &i.object {
            Object::Link(l) if i.ns.as_str() == ns && l.name == *device => l.mac,
            Object::Link(Link { kind: LinkKind::Veth(p), .. })
                if p.ns.as_str() == ns && p.name == *device =>
            {
                p.mac
            }
            _ => None,
        });
        mac.unwrap()
    }

    fn hostname(&self, process: &Process) -> String {
        let uts = &process.namespaces[&NsKind::Uts];
        let found = self.of(uts.as_str()).find_map(|i| match &i.object {
            Object::Namespace(Namespace::Uts { hostname, domainname }) => Some((hostname, domainname)),
            _ => None,
        });
        let (hostname, domainname) = found.unwrap();
        let domain = domainname.as_ref().map(|d| format!(" domain {d}")).unwrap_or_default();
        mask(&format!("hostname {hostname}{domain}"))
    }

    fn files(&self, process: &Process, several: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for path in ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"] {
            let text = self.of(process.node.as_str()).find_map(|i| match &i.object {
                Object::File(f) if f.path == path => Some(&f.content),
                _ => None,
            });
            let mut text: Vec<String> = text.unwrap().lines().map(mask).collect();
            if path == "/etc/hosts" && several {
                // The networks were joined in a random order.
                text[6..].sort();
            }
            lines.push(format!("file {path}"));
            lines.extend(text.iter().map(|l| if l.is_empty() { "|".to_owned() } else { format!("| {l}") }));
        }
        lines
    }

    /// The names of a capture's endpoint that do not lead to the endpoint.
    fn unresolved(&self, process: &Process, names: &str) -> Vec<String> {
        let zone = self.of(process.node.as_str()).find_map(|i| match &i.object {
            Object::Resolver(r) => Some(&r.zone.names),
            _ => None,
        });
        let own = self.of(process.node.as_str()).filter_map(|i| match &i.object {
            Object::Address(a) => Some(a.net.addr()),
            _ => None,
        });
        let own: Vec<IpAddr> = own.collect();
        let mut words = names.split_whitespace();
        let network = words.next().unwrap();
        let leads = |name: &&str| {
            let addresses = zone.and_then(|z| z.get(&format!("{}.{network}", name.to_lowercase())));
            addresses.is_some_and(|found| own.iter().any(|a| found.contains(a)))
        };
        let lost = words.filter(|n| *n != "<id>" && !leads(n));
        lost.map(|name| format!("{}: {name} on {network} leads nowhere", process.node)).collect()
    }
}

/// Ids of containers are random.
fn mask(line: &str) -> String {
    let is_id =
        |w: &str| w.len() == 12 && w.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let word = |w: &str| if is_id(w) { "<id>".to_owned() } else { w.to_owned() };
    let dotted = |text: &str| text.split('.').map(word).collect::<Vec<_>>().join(".");
    let words = |text: &str| text.split(' ').map(dotted).collect::<Vec<_>>().join(" ");
    line.split('\t').map(words).collect::<Vec<_>>().join("\t")
}

/// A capture's sections by name; the lines about names apart.
fn sections(world: &str) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, Vec<String>>) {
    let (mut sections, mut names) = (BTreeMap::new(), BTreeMap::<String, Vec<String>>::new());
    let mut current = String::new();
    for line in world.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut current);
            sections.insert(current.clone(), Vec::new());
        } else if let Some(rest) = line.strip_prefix("names ") {
            names.entry(current.clone()).or_default().push(rest.to_owned());
        } else if !line.is_empty() && !current.is_empty() {
            let lines: &mut Vec<String> = sections.get_mut(&current).unwrap();
            lines.push(line.to_owned());
        }
    }
    (sections, names)
}

/// The captured text with our own random bits in place of the engine's.
fn masked(captured: &str, setting: &Setting) -> String {
    match &setting.ula {
        Some(prefix) => captured.replace(prefix, OUR_ULA),
        None => captured.to_owned(),
    }
}

/// Lines that differ, or nothing.
fn differences(what: &str, ours: &[String], captured: &[String]) -> Option<String> {
    if ours == captured {
        return None;
    }
    let mut text = format!("{what}:\n");
    let only = |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>();
    only(captured, ours).iter().for_each(|l| writeln!(text, "  engine: {l}").unwrap());
    only(ours, captured).iter().for_each(|l| writeln!(text, "  plan:   {l}").unwrap());
    if text.lines().count() == 1 {
        writeln!(text, "  the same lines in another order: {ours:#?}").unwrap();
    }
    Some(text)
}

/// What is wrong in any folder of any engine that has a file.
fn wrong(file: &str, of: impl Fn(&str, &Path) -> Vec<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (engine, release) in ENGINES {
        for folder in folders(engine, file) {
            wrong.extend(of(release, &folder).into_iter().map(|w| format!("{release}: {w}")));
        }
    }
    wrong
}

#[test]
fn a_plan_is_what_the_engine_made() {
    assert!(ENGINES.iter().all(|(engine, _)| folders(engine, "world.txt").len() >= 30));
    let wrong = wrong("world.txt", scenario);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// 27's sources differ in what they keep rules for by themselves, and in the neighbours that DNAT leaves to docker-proxy
/// (libnetwork/drivers/bridge/port_mapping_linux.go: `setPerPortNAT`); gateway modes are new, and not in these.
#[test]
fn rules_of_27_are_those_that_26_keeps_when_it_is_told_to() {
    let mut wrong = Vec::new();
    for name in ["c-publish", "g-internal", "i-v6-dual", "i3-v6-only", "i5-v6-internal"] {
        let folder = engines().join("26.1").join(format!("{name}-ip6tables"));
        let mut setting = setting(&fs::read_to_string(folder.join("world.txt")).unwrap());
        setting.daemon.ip6tables = None;
        let topology = topology("27", &folder, &setting);
        let plan = plan(&topology).unwrap();
        let told = Told { topology: &topology, plan: &plan };
        for (tool, before) in [("iptables", None), ("ip6tables", Some("-A DOCKER ! -s fe80::/10 "))] {
            let captured = fs::read_to_string(folder.join(format!("{tool}-save.txt"))).unwrap();
            let of_27 = |line: &str| match before.filter(|_| line.contains("-j DNAT")) {
                Some(before) => line.replace("-A DOCKER ", before),
                None => line.to_owned(),
            };
            let captured: String = captured.lines().map(|l| of_27(l) + "\n").collect();
            wrong.extend(rules_are(&captured, tool, name, &told, &setting, name.starts_with('g')));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_engine_refused_is_refused_in_its_words() {
    let wrong = wrong("refused.txt", |release, folder| {
        let topology = topology(release, folder, &setting(""));
        let refused = fs::read_to_string(folder.join("refused.txt")).unwrap();
        let words = refused.trim().trim_start_matches("Error response from daemon: ");
        match plan(&topology) {
            Ok(_) => vec![format!("{}: planned", name_of(folder))],
            Err(e) if e.to_string().contains(words) => Vec::new(),
            Err(e) => vec![format!("{}: {e}, not '{words}'", name_of(folder))],
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn scenario(release: &str, folder: &Path) -> Vec<String> {
    let world = fs::read_to_string(folder.join("world.txt")).unwrap();
    let setting = setting(&world);
    let world = masked(&world, &setting);
    let topology = topology(release, folder, &setting);
    let plan = plan(&topology).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let told = Told { topology: &topology, plan: &plan };
    let (mut captured, names) = sections(&world);
    let name = name_of(folder);
    let mut wrong = Vec::new();
    let host = captured.get_mut("host").unwrap();
    if told.publishes_at_random() {
        let first = host.iter().position(|l| l.starts_with("proxy") || l.starts_with("held"));
        host[first.unwrap()..].sort();
    }
    wrong.extend(differences(&format!("{name}: host"), &told.host(), host));
    for item in &plan.items {
        let Object::Process(process) = &item.object else { continue };
        let Some(container) = &process.container else { continue };
        let Some(expected) = captured.get(container) else { continue };
        wrong.extend(differences(&format!("{name}: {container}"), &told.container(process), expected));
        wrong.extend(names.get(container).into_iter().flatten().flat_map(|n| told.unresolved(process, n)));
    }
    wrong.extend(rules(folder, &name, &told, &setting));
    wrong
}

/// The rules, where the capture has them; where containers joined several networks only which they are: the order in
/// which they did is random.
fn rules(folder: &Path, name: &str, told: &Told<'_>, setting: &Setting) -> Vec<String> {
    let several = told.plan.items.iter().any(|i| match &i.object {
        Object::Process(process) => told.devices(process).len() > 1,
        _ => false,
    });
    let several = several || told.publishes_at_random();
    let saved = |tool: &str| folder.join(format!("{tool}-save.txt"));
    let there = ["iptables", "ip6tables"].into_iter().filter(|tool| saved(tool).exists());
    there.filter_map(|tool| rules_of(tool, &saved(tool), name, told, setting, several)).collect()
}

fn rules_of(
    tool: &str,
    file: &Path,
    name: &str,
    told: &Told<'_>,
    setting: &Setting,
    sort: bool,
) -> Option<String> {
    rules_are(&fs::read_to_string(file).unwrap(), tool, name, told, setting, sort)
}

fn rules_are(
    captured: &str,
    tool: &str,
    name: &str,
    told: &Told<'_>,
    setting: &Setting,
    sort: bool,
) -> Option<String> {
    let family = if tool == "iptables" { Family::V4 } else { Family::V6 };
    let captured = masked(captured, setting);
    let rename =
        |text: String, (name, device): &(String, String)| text.replace(device, &format!("br-{{{name}}}"));
    let captured = setting.made.iter().fold(captured, rename);
    let ours = told.of("dockhost").find_map(|i| match &i.object {
        Object::Rules(r) if r.family == family => Some(save(r)),
        _ => None,
    });
    let lines = |t: String| {
        let mut lines: Vec<String> = t.lines().map(str::to_owned).collect();
        if sort {
            lines.sort();
        }
        lines
    };
    let (ours, captured) = (lines(told.norm(&ours.unwrap_or_default())), lines(captured));
    differences(&format!("{name}: {tool}"), &ours, &captured)
}

#[test]
fn changes_leave_what_the_engine_left() {
    assert!(ENGINES.iter().all(|(engine, _)| folders(engine, "steps.txt").len() == 2));
    let wrong = wrong("steps.txt", steps);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn steps(release: &str, folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("steps.txt")).unwrap();
    let setting = setting(&text);
    let topology = topology(release, folder, &setting);
    let (mut planner, _) = Planner::new(&topology).unwrap();
    let mut wrong = Vec::new();
    for line in text.lines().skip_while(|l| !l.is_empty()).skip(1) {
        let words: Vec<&str> = line.split(' ').collect();
        let change = match words.as_slice() {
            ["stop", node] => Change::Stop((*node).into()),
            ["start", node] => Change::Start((*node).into()),
            ["replace", node] => Change::Replace((*node).into()),
            ["connect", node, network] => Change::Connect((*node).into(), (*network).to_owned()),
            ["disconnect", node, network] => Change::Disconnect((*node).into(), (*network).to_owned()),
            ["expect", step] => {
                let plan = planner.plan();
                let told = Told { topology: &topology, plan: &plan };
                for tool in ["iptables", "ip6tables"] {
                    let file = folder.join(format!("{tool}-save.{step}.txt"));
                    wrong.extend(rules_of(tool, &file, step, &told, &setting, told.publishes_at_random()));
                }
                continue;
            }
            _ => panic!("what is '{line}'?"),
        };
        planner.change(&change).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
    wrong
}
