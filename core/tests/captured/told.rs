//! A plan in the words of a capture.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use seatrial_core::addr::{IfName, MacAddr};
use seatrial_core::engine::{Hardware, Profile};
use seatrial_core::plan::{Item, Link, LinkKind, Namespace, Object, Plan, Process};
use seatrial_core::probe::NsKind;
use seatrial_core::topology::{Driver, Network, Topology};

/// A plan, asked about one namespace.
pub(crate) struct Told<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) plan: &'a Plan,
}

impl Told<'_> {
    pub(crate) fn of<'b>(&'b self, ns: &'b str) -> impl Iterator<Item = &'b Item> + 'b {
        self.plan.items.iter().filter(move |i| i.ns.as_str() == ns)
    }

    /// Bridges by the network they belong to.
    pub(crate) fn bridges(&self) -> Vec<(String, String)> {
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
    pub(crate) fn norm(&self, text: &str) -> String {
        self.bridges()
            .iter()
            .fold(text.to_owned(), |t, (dev, name)| t.replace(dev, &format!("br-{{{name}}}")))
    }

    pub(crate) fn host(&self) -> Vec<String> {
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

    pub(crate) fn profile(&self) -> Profile {
        self.topology.hosts[0].engine.profile
    }

    /// Whether a container has several ports, which engines before 27 publish in a random order.
    pub(crate) fn publishes_at_random(&self) -> bool {
        let several = self.topology.hosts[0].containers.iter().any(|c| c.ports.len() > 1);
        several && self.profile() < Profile::V27
    }

    pub(crate) fn hairpin(&self, port: &Link) -> bool {
        self.of("dockhost")
            .any(|i| matches!(&i.object, Object::BridgePort(p) if p.link == port.name && p.hairpin))
    }

    pub(crate) fn addresses(&self, ns: &str, device: &IfName) -> Vec<String> {
        let of = |i: &Item| match &i.object {
            Object::Address(a) if a.link == *device => Some(format!("  address {}", a.net)),
            _ => None,
        };
        self.of(ns).filter_map(of).collect()
    }

    /// The last value of a setting.
    pub(crate) fn sysctl(&self, ns: &str, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let of = |i: &Item| match &i.object {
            Object::Sysctl(s) if wanted(&s.key) => Some(s.value.clone()),
            _ => None,
        };
        self.of(ns).filter_map(of).last()
    }

    /// The device names of a container, by its network where it has several.
    pub(crate) fn devices(&self, process: &Process) -> BTreeMap<IfName, String> {
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
    pub(crate) fn network(&self, addr: IpAddr) -> String {
        let names = self.plan.items.iter().filter_map(|i| match &i.object {
            Object::Resolver(r) => r.zone.reverse.get(&addr),
            _ => None,
        });
        names.map(|n| n.split_once('.').unwrap().1.to_owned()).next().unwrap_or_else(|| "bridge".to_owned())
    }

    pub(crate) fn container(&self, process: &Process) -> Vec<String> {
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

    pub(crate) fn netns(&self, ns: &str, devices: &BTreeMap<IfName, String>) -> Vec<String> {
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
                // The captures say nothing of lo: the trial engines/loopback-ipv6 does.
                Object::Sysctl(s) if s.key.contains(".lo.") => None,
                Object::Sysctl(s) if devices.keys().any(|d| s.key.contains(&format!(".{d}."))) => None,
                Object::Sysctl(s) => Some(format!("sysctl {} {}", s.key, s.value)),
                _ => None,
            })
            .collect();
        sysctls.sort();
        lines.extend(sysctls);
        lines
    }

    pub(crate) fn mac(&self, ns: &str, device: &IfName) -> MacAddr {
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

    pub(crate) fn hostname(&self, process: &Process) -> String {
        let uts = &process.namespaces[&NsKind::Uts];
        let found = self.of(uts.as_str()).find_map(|i| match &i.object {
            Object::Namespace(Namespace::Uts { hostname, domainname }) => Some((hostname, domainname)),
            _ => None,
        });
        let (hostname, domainname) = found.unwrap();
        let domain = domainname.as_ref().map(|d| format!(" domain {d}")).unwrap_or_default();
        mask(&format!("hostname {hostname}{domain}"))
    }

    pub(crate) fn files(&self, process: &Process, several: bool) -> Vec<String> {
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
    pub(crate) fn unresolved(&self, process: &Process, names: &str) -> Vec<String> {
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
pub(crate) fn mask(line: &str) -> String {
    let is_id =
        |w: &str| w.len() == 12 && w.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let word = |w: &str| if is_id(w) { "<id>".to_owned() } else { w.to_owned() };
    let dotted = |text: &str| text.split('.').map(word).collect::<Vec<_>>().join(".");
    let words = |text: &str| text.split(' ').map(dotted).collect::<Vec<_>>().join(" ");
    line.split('\t').map(words).collect::<Vec<_>>().join("\t")
}
