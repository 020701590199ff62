//! The same networks, as others set them up: with the commands of our plan's own text, and by netavark. Neither writes
//! the containers' sysctls.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use seatrial_core::plan::{NsName, Object};
use seatrial_core::rules::{Backend, nft};
use serde_json::{Value, json};

use crate::project::{self, Extent, Size};
use crate::{Sample, timed};

/// Where `ip netns` keeps them.
const NETNS: &str = "/run/netns";

/// `ip -batch` for the namespaces, for the host and for each container, and one `nft -f`.
pub(crate) struct Ip {
    /// The namespace, or none for the bench's own, and what is done there.
    batches: Vec<(Option<NsName>, PathBuf)>,
    rules: PathBuf,
    undo: PathBuf,
}

impl Ip {
    pub(crate) fn new(size: Size) -> Self {
        let plan = project::plan(size, Extent::Networks(Backend::Nft));
        let mut texts: Vec<(Option<NsName>, String)> = vec![(None, String::new())];
        for item in &plan.items {
            let (ns, line) = match &item.object {
                Object::Namespace(_) => (None, format!("netns add {}", item.ns)),
                Object::BridgePort(port) => (
                    Some(item.ns.clone()),
                    format!("link set dev {} type bridge_slave hairpin on", port.link),
                ),
                Object::Link(_)
                | Object::Address(_)
                | Object::Up(_)
                | Object::Route(_)
                | Object::PolicyRule(_)
                | Object::Neighbour(_) => {
                    let command = item.to_string();
                    let command = command.strip_prefix(&format!("ip -n {} ", item.ns)).unwrap();
                    (Some(item.ns.clone()), command.to_owned())
                }
                Object::Sysctl(_) | Object::Rules(_) | Object::Script(_) => continue,
                Object::File(_) | Object::Process(_) => continue,
                Object::Proxy(_) | Object::Reservation(_) | Object::Resolver(_) => continue,
                Object::Listener(_) => continue,
            };
            match texts.iter_mut().find(|(of, _)| *of == ns) {
                Some((_, text)) => *text += &(line + "\n"),
                None => texts.push((ns, line + "\n")),
            }
        }
        let undo = texts[0].1.replace("add", "del");
        let batches = texts.into_iter().map(|(ns, text)| {
            let name = ns.as_ref().map_or("all", NsName::as_str);
            let file = write(&format!("{}-{name}", size.name), &text);
            (ns, file)
        });
        Self {
            batches: batches.collect(),
            rules: write(&format!("{}-rules", size.name), &nft::script(project::rules(&plan)).unwrap()),
            undo: write(&format!("{}-undo", size.name), &undo),
        }
    }

    pub(crate) fn sample(&self) -> Sample {
        let (up, ()) = timed(|| {
            for (ns, file) in &self.batches {
                let inside = ns.as_ref().map(|ns| ["-n", ns.as_str()]).into_iter().flatten();
                run(Command::new("ip").args(inside).arg("-batch").arg(file));
            }
            run(Command::new("nsenter")
                .arg(format!("--net={NETNS}/host"))
                .args(["nft", "-f"])
                .arg(&self.rules));
        });
        let (down, ()) = timed(|| run(Command::new("ip").arg("-batch").arg(&self.undo)));
        Sample { up, down }
    }
}

/// netavark, once a container. Its namespaces are made and taken away by one `ip -batch` each.
pub(crate) struct Netavark {
    make: PathBuf,
    undo: PathBuf,
    containers: Vec<(String, Value)>,
}

impl Netavark {
    /// None where it is not installed.
    pub(crate) fn new(size: Size) -> Option<Self> {
        let installed = Command::new("netavark").arg("--version").stdout(Stdio::null()).status();
        installed.ok()?;
        let names: Vec<String> = (0..size.containers).map(|n| format!("web{n}")).collect();
        let lines =
            |verb: &str| names.iter().map(|name| format!("netns {verb} {name}\n")).collect::<String>();
        let containers =
            names.iter().enumerate().map(|(n, name)| (name.clone(), options(n, name, size.ports)));
        Some(Self {
            make: write(&format!("{}-make", size.name), &lines("add")),
            undo: write(&format!("{}-unmake", size.name), &lines("del")),
            containers: containers.collect(),
        })
    }

    pub(crate) fn sample(&self) -> Sample {
        let (up, ()) = timed(|| {
            run(Command::new("ip").arg("-batch").arg(&self.make));
            self.each("setup");
        });
        let (down, ()) = timed(|| {
            self.each("teardown");
            run(Command::new("ip").arg("-batch").arg(&self.undo));
        });
        Sample { up, down }
    }

    fn each(&self, verb: &str) {
        for (name, options) in &self.containers {
            let mut command = Command::new("netavark");
            command.env("NETAVARK_FW", "nftables").args(["--config", "/run", verb]);
            command.arg(Path::new(NETNS).join(name)).stdin(Stdio::piped()).stdout(Stdio::null());
            let mut process = command.spawn().unwrap();
            process.stdin.take().unwrap().write_all(options.to_string().as_bytes()).unwrap();
            assert!(process.wait().unwrap().success(), "netavark {verb} {name}");
        }
    }
}

/// What podman says to it.
fn options(n: usize, name: &str, ports: usize) -> Value {
    let port = |port| json!({ "container_port": 80, "host_port": 8000 + n + port, "host_ip": "", "protocol": "tcp", "range": 1 });
    json!({
        "container_id": format!("{n:064x}"),
        "container_name": name,
        "port_mappings": (0..ports).map(port).collect::<Vec<_>>(),
        "networks": { "shop": { "interface_name": "eth0", "static_ips": [format!("172.17.0.{}", n + 2)] } },
        "network_info": { "shop": {
            "name": "shop", "id": format!("{:064x}", 1), "driver": "bridge", "network_interface": "podman1",
            "subnets": [{ "subnet": "172.17.0.0/16", "gateway": "172.17.0.1" }],
            "ipv6_enabled": false, "internal": false, "dns_enabled": false, "ipam_options": { "driver": "host-local" },
        } },
    })
}

fn write(name: &str, text: &str) -> PathBuf {
    let file = Path::new("/run").join(name.replace(' ', "-"));
    fs::write(&file, text).unwrap();
    file
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}
