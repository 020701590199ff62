//! One entry of `services`, read without a look at the others.

use std::collections::{BTreeMap, BTreeSet};

use super::attach::{self, Joined};
use super::load::Findings;
use super::modes::{self, Mode, Sharing};
use super::names::{self, WantedLink};
use super::{check, keys, ports, process};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::yaml::{Key, Node, Value};
use crate::topology::{Container, IpcMode, NetworkMode, NodeName, PidMode};

/// What a service says; whom it means by a name is still open.
#[derive(Debug)]
pub(super) struct Service {
    /// The key under `services`.
    pub(super) name: String,
    /// Where.
    pub(super) at: At,
    /// Where the values of its keys stand.
    pub(super) places: BTreeMap<String, At>,
    /// `profiles`.
    pub(super) profiles: BTreeSet<String>,
    /// The services that start before it.
    pub(super) needs: Vec<Need>,
    /// How many containers; 0 for none.
    pub(super) replicas: u32,
    /// `container_name`.
    pub(super) container_name: Option<(String, At)>,
    /// `network_mode`; `networks` where there is none.
    pub(super) mode: Option<Mode>,
    /// `networks`.
    pub(super) networks: Vec<Joined>,
    /// `ipc`.
    pub(super) ipc: Option<Sharing<IpcMode>>,
    /// `pid`.
    pub(super) pid: Option<Sharing<()>>,
    /// `links`.
    pub(super) links: Vec<WantedLink>,
    /// `external_links`.
    pub(super) external_links: Vec<WantedLink>,
    /// A container of it without what is open.
    pub(super) template: Container,
}

/// A service that must be there, and starts before.
#[derive(Debug)]
pub(super) struct Need {
    /// Which.
    pub(super) service: String,
    /// Where.
    pub(super) at: At,
    /// Whether it must be enabled.
    pub(super) required: bool,
}

/// What the mapping under `key` says.
pub(super) fn read(key: &Key, node: &Node, root: &Node, found: &mut Findings<'_>) -> Option<Service> {
    check::name("service", key, found.out);
    let Value::Mapping(entries) = &node.value else {
        found.out.push(Field { name: &key.name, node }.wrong("a mapping"));
        return None;
    };
    let out = &mut *found.out;
    keys::check_all(node, &[keys::SERVICE, keys::SERVICE_READ_PAST], "a service", out);
    let field = |name| Field::of(node, name);
    let mode = field("network_mode").and_then(|f| modes::network(f, out));
    let mut networks = field("networks").map(|f| attach::all(f, out)).unwrap_or_default();
    let mac = field("mac_address").and_then(|f| Some((attach::mac_address(f, out)?, f.at())));
    if mode.is_some() && !networks.is_empty() {
        let both = "'network_mode' and 'networks' are mutually exclusive";
        let at_of = |name| node.get(name).map_or(&key.at, |n| &n.at);
        let (at, mode_at) = (at_of("networks"), at_of("network_mode"));
        let diagnostic = Diagnostic::new(at.clone(), both).expected("one of them");
        out.push(diagnostic.related(mode_at.clone(), "network_mode"));
    } else if mode.is_none() && networks.is_empty() {
        networks.push(attach::plain(super::network::DEFAULT, key.at.clone()));
    }
    attach::service_mac(&mut networks, mac, out);
    attach::check_names(&networks, out);
    let service = Service {
        name: key.name.clone(),
        at: key.at.clone(),
        places: entries.iter().map(|(key, node)| (key.name.clone(), node.at.clone())).collect(),
        profiles: strings(node, "profiles", out).into_iter().collect(),
        needs: Vec::new(),
        replicas: replicas(node, out),
        container_name: container_name(node, out),
        mode,
        networks,
        ipc: field("ipc").and_then(|f| modes::ipc(f, out)),
        pid: field("pid").and_then(|f| modes::pid(f, out)),
        links: field("links").map(|f| names::links(f, out)).unwrap_or_default(),
        external_links: field("external_links").map(|f| names::links(f, out)).unwrap_or_default(),
        template: template(key, node, root, out),
    };
    let needs = needs(node, &service, out);
    Some(Service { needs, ..service })
}

/// A list of strings without those that stand in it already.
fn strings(node: &Node, name: &str, out: &mut Diagnostics) -> Vec<String> {
    let all = Field::of(node, name).map(|f| f.strings(out)).unwrap_or_default();
    unique(all)
}

fn unique(all: Vec<(&str, At)>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    all.into_iter().map(|(text, _)| text).filter(|text| seen.insert(*text)).map(str::to_owned).collect()
}

fn template(key: &Key, node: &Node, root: &Node, out: &mut Diagnostics) -> Container {
    let field = |name| Field::of(node, name);
    let text = |name, out: &mut Diagnostics| {
        let said = Field::of(node, name).and_then(|f| f.string(out));
        said.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    Container {
        node: NodeName::from(key.name.as_str()),
        service: key.name.clone(),
        name: String::new(),
        hostname: text("hostname", out),
        domainname: text("domainname", out),
        network: NetworkMode::None,
        ports: field("ports").map(|f| ports::publishes(f, out)).unwrap_or_default(),
        expose: field("expose").map(|f| ports::exposed(f, out)).unwrap_or_default(),
        links: Vec::new(),
        extra_hosts: field("extra_hosts").map(|f| names::extra_hosts(f, out)).unwrap_or_default(),
        dns: field("dns").map(|f| names::dns(f, out)).unwrap_or_default(),
        dns_search: unique(field("dns_search").map(|f| f.string_or_list(out)).unwrap_or_default()),
        dns_opt: strings(node, "dns_opt", out),
        mac_address: None,
        sysctls: sysctls(node, out),
        ipc: None,
        pid: PidMode::Private,
        uts_host: field("uts").is_some_and(|f| modes::host(f, "UTS", out)),
        userns_host: field("userns_mode").is_some_and(|f| modes::host(f, "user namespace", out)),
        cgroup: field("cgroup").and_then(|f| modes::cgroup(f, out)),
        process: process::read(node, root, out),
        at: key.at.clone(),
    }
}

/// `sysctls`: a mapping, or a list of `NAME=VALUE`; the last of one name holds.
fn sysctls(node: &Node, out: &mut Diagnostics) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Some(field) = Field::of(node, "sysctls") else { return all };
    let settings: Vec<(&str, String, At)> = match &field.node.value {
        Value::Mapping(entries) => {
            let value = |node: &Node, out: &mut Diagnostics| match node.is_null() {
                true => Some(String::new()),
                false => Field { name: "sysctls", node }.text(out).map(str::to_owned),
            };
            let entries =
                entries.iter().filter_map(|(k, n)| Some((k.name.as_str(), value(n, out)?, k.at.clone())));
            entries.collect()
        }
        Value::Sequence(_) => {
            let split = |(text, at): (_, At)| {
                let (name, value) = str::split_once(text, '=').unwrap_or((text, ""));
                (name, value.to_owned(), at)
            };
            field.strings(out).into_iter().map(split).collect()
        }
        Value::Scalar(_) => {
            out.push(field.wrong("a mapping, or a list of NAME=VALUE"));
            Vec::new()
        }
    };
    for (name, value, at) in settings {
        match sysctl_name(name) {
            Ok(name) => _ = all.insert(name, value),
            Err((found, expected)) => out.push(Diagnostic::new(at, found).expected(expected)),
        }
    }
    all
}

/// The setting with dots, where a container may have it (runc, libcontainer/configs/validate; moby, daemon/create).
fn sysctl_name(name: &str) -> Result<String, (String, &'static str)> {
    const OWN: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let name = if name.contains('.') { name.to_owned() } else { name.replace('/', ".") };
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["net", _, _, device, _] if device.starts_with("eth") => Err((
            format!(
                "interface specific sysctl setting \"{name}\" must be supplied using driver option \
                 'com.docker.network.endpoint.sysctls'"
            ),
            "that option in 'driver_opts' of the service's network, with IFNAME for the device",
        )),
        ["net", _, ..] | ["fs", "mqueue", _, ..] => Ok(name),
        ["kernel", "domainname"] => Ok(name),
        ["kernel", "hostname"] => Err((
            format!("sysctl \"{name}\" is not allowed as it conflicts with the OCI \"hostname\" field"),
            "the service's 'hostname'",
        )),
        _ if OWN.contains(&name.as_str()) => Ok(name),
        _ => Err((
            format!("sysctl \"{name}\" is not in a separate kernel namespace"),
            "a setting below net. or fs.mqueue., or one of System V IPC (kernel.msg*, kernel.sem, kernel.shm*)",
        )),
    }
}

/// `deploy.replicas` or `scale`.
fn replicas(node: &Node, out: &mut Diagnostics) -> u32 {
    let count = |f: Field<'_>, out: &mut Diagnostics| f.parse_as::<u32>("0 or a positive number", out);
    let deploy = Field::of(node, "deploy")
        .filter(|f| keys::check_mapping("deploy", f.node, keys::DEPLOY, "'deploy'", out));
    let replicas = deploy.and_then(|f| Field::of(f.node, "replicas"));
    let scale = Field::of(node, "scale");
    let said = (replicas.and_then(|f| count(f, out)), scale.and_then(|f| count(f, out)));
    if let ((Some(a), Some(b)), Some(scale), Some(replicas)) = (said, scale, replicas)
        && a != b
    {
        let found = scale.bad("can't set distinct values on 'scale' and 'deploy.replicas'");
        out.push(found.expected(a.to_string()).related(replicas.at(), "deploy.replicas"));
    }
    // A provider makes no container.
    let default = u32::from(Field::of(node, "provider").is_none());
    said.0.or(said.1).unwrap_or(default)
}

fn container_name(node: &Node, out: &mut Diagnostics) -> Option<(String, At)> {
    let field = Field::of(node, "container_name")?;
    let name = field.string(out).filter(|n| !n.is_empty())?;
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !first || name.len() < 2 || !name.chars().all(part) {
        let found = field.bad(format!("'{name}' is no name of a container"));
        out.push(found.expected("[a-zA-Z0-9][a-zA-Z0-9_.-]+"));
        return None;
    }
    Some((name.to_owned(), field.at()))
}

/// What must start before: `depends_on`, `links`, `volumes_from`, and `service:` of the modes.
fn needs(node: &Node, service: &Service, out: &mut Diagnostics) -> Vec<Need> {
    let need = |service: &str, at: &At| Need { service: service.to_owned(), at: at.clone(), required: true };
    let mut all = Field::of(node, "depends_on").map(|f| depends_on(f, out)).unwrap_or_default();
    all.extend(service.links.iter().map(|l| need(&l.target, &l.at)));
    for (text, at) in Field::of(node, "volumes_from").map(|f| f.strings(out)).unwrap_or_default() {
        let name = text.split(':').next().unwrap_or_default();
        if name != "container" {
            all.push(need(name, &at));
        }
    }
    let mode = match &service.mode {
        Some(Mode::Donor(donor)) => Some(donor),
        Some(Mode::Bridge(_) | Mode::Host | Mode::None | Mode::Named(..)) | None => None,
    };
    let ipc = match &service.ipc {
        Some(Sharing::Donor(donor)) => Some(donor),
        Some(Sharing::Alone(_)) | None => None,
    };
    let pid = match &service.pid {
        Some(Sharing::Donor(donor)) => Some(donor),
        Some(Sharing::Alone(())) | None => None,
    };
    let donors = [mode, ipc, pid].into_iter().flatten().filter(|d| d.is_service);
    all.extend(donors.map(|d| need(&d.name, &d.at)));
    all
}

fn depends_on(field: Field<'_>, out: &mut Diagnostics) -> Vec<Need> {
    let need = |name: &str, at: At, required| Need { service: name.to_owned(), at, required };
    let entries = match &field.node.value {
        Value::Sequence(_) => {
            return field.strings(out).into_iter().map(|(name, at)| need(name, at, true)).collect();
        }
        Value::Scalar(_) => {
            out.push(field.wrong("a list of services, or a mapping"));
            return Vec::new();
        }
        Value::Mapping(entries) => entries,
    };
    let mut all = Vec::new();
    for (key, node) in entries {
        let mut required = true;
        if !node.is_null() && keys::check_mapping(&key.name, node, keys::DEPENDENCY, "'depends_on'", out) {
            required = Field::of(node, "required").and_then(|f| f.boolean(out)).unwrap_or(true);
            let conditions = ["service_started", "service_healthy", "service_completed_successfully"];
            if let Some(condition) = Field::of(node, "condition")
                && let Some(text) = condition.string(out)
                && !conditions.contains(&text)
            {
                let found = condition.bad(format!("condition '{text}'"));
                out.push(found.expected(conditions.join(", ")));
            }
        }
        all.push(need(&key.name, key.at.clone(), required));
    }
    all
}
