//! Trial files: what surrounds the containers, and what must hold.
//!
//! | key | meaning (default) |
//! |---|---|
//! | `title`, `group` | one sentence; the family it is reported under (its folder) |
//! | `compose` | a path, a list of paths, or the keys of a compose file |
//! | `engine`, `daemon` | the Engine's version (the newest); keys of `daemon.json` that change networking |
//! | `host` | `interfaces`, `routes`, `resolv_conf`, `hosts`, `ports_in_use`, `sysctls`, `boot: { ip_forward }`, `firewall` |
//! | `hosts` | further Docker hosts on the same wire, each with `compose`, `engine`, `daemon`, `host`; their nodes are `b/web` |
//! | `lan` | machines on eth0's wire: an address, a list of them, or `{ address, routes }` |
//! | `listen` | who answers: `node: [80/tcp, "[::1]:53/udp"]` (container ports of `ports` and `expose`) |
//! | `expect` | expectations, each of one fresh world |
//! | `steps` | expectations and changes in order |
//! | `when`, `needs` | where it runs; what it needs |
//! | `fresh`, `apart` | whether it wants a virtual machine of its own; one for each of its machines |
//!
//! Any other key is an error that names the nearest known one.
//!
//! * `when`: where a trial, a step or an alternative is meant to run.
//! * `entry`: the entries of `expect` and `steps`. `check`: whether they speak of what is there.
//! * `machine`, `daemon`, `firewall`: what `host` and `daemon` say. `lan`: the machines around.
//! * `listen`: who answers. `nodes`: the names of all of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compose::{self, Options, Project};
use super::field::{self, Field};
use super::files::{self, Files};
use super::yaml::{self, Key, Node, Value};
use super::{Daemon, Host, LanMachine, Machine, NodeName, Topology};
use crate::diagnostic::{At, Diagnostic, Diagnostics, Source};
use crate::engine::Engine;
use crate::probe::{Expectation, Step};

mod check;
pub mod daemon;
mod entry;
mod firewall;
mod lan;
mod listen;
mod machine;
mod nodes;
mod when;

pub use entry::{Alternative, Entry, Written};
pub use when::{Bound, Lane, LaneError, Need, Order, Place, Versions, VersionsError, When};

/// A trial: a topology, and what must hold in it.
#[derive(Debug, Clone)]
pub struct Trial {
    /// One sentence that says what holds.
    pub title: String,
    /// The family it is reported and sharded under; its folder's name where nothing says.
    pub group: String,
    /// The file.
    pub path: PathBuf,
    /// The file's text.
    pub source: Arc<Source>,
    /// What is there.
    pub topology: Topology,
    /// Independent expectations of one fresh world.
    pub expect: Vec<Entry<Expectation>>,
    /// Expectations and changes in order, in a world of their own.
    pub steps: Vec<Entry<Step>>,
    /// Where the trial runs at all.
    pub when: When,
    /// What it needs beyond the usual; it is skipped by name where that is missing.
    pub needs: BTreeSet<Need>,
    /// Whether it wants a machine of its own in lane vm.
    pub fresh: bool,
    /// Whether each of its machines is to be a virtual one in lane vm, with a NIC of its own on one wire.
    pub apart: bool,
    /// What Compose would warn of.
    pub warnings: Vec<Diagnostic>,
}

/// A trial's keys (see `TRIAL` for those of the first host).
const TRIAL: &[&str] = &[
    "title", "group", "compose", "engine", "daemon", "host", "hosts", "lan", "listen", "expect", "steps",
    "when", "needs", "fresh", "apart",
];

/// The keys of a further Docker host.
const HOST: &[&str] = &["compose", "engine", "daemon", "host"];

/// Reads a trial file and the compose files it names; their paths are relative to its folder.
///
/// # Errors
/// All that is wrong with the files, each with its place.
pub fn read(path: &Path, files: &dyn Files, options: &Options) -> Result<Trial, Diagnostics> {
    let source = files::load(files, path, &At::nowhere("trial"))?;
    let root = yaml::parse(&source)?;
    let mut reader = Reader {
        folder: path.parent().unwrap_or(Path::new("")),
        files,
        options,
        warnings: Vec::new(),
        whole: true,
    };
    let mut out = Diagnostics::default();
    let trial = reader.trial(path, &source, &root, &mut out);
    out.into_result(trial)
}

/// A compose project alone, in surroundings that are the same everywhere; [`Topology::assumed`] lists them.
///
/// # Errors
/// A service that is called as one of the machines is.
pub fn assume(project: Project, engine: Engine) -> Result<Topology, Diagnostics> {
    let mut out = Diagnostics::default();
    let host = host(NodeName::host(), Some(project), engine, Daemon::default(), Machine::default());
    let lan = lan::assumed(&host);
    let mut topology =
        Topology { hosts: vec![host], lan: vec![lan], listeners: Vec::new(), assumed: Vec::new() };
    nodes::check(&topology, &mut out);
    let listeners = listen::declared(None, &mut topology, &mut out);
    topology.assumed.splice(0..0, sentences(&topology, &listeners));
    topology.listeners = listeners;
    out.into_result(topology)
}

/// What [`assume`] assumes.
fn sentences(topology: &Topology, listeners: &[super::Listener]) -> Vec<String> {
    let mut said = vec!["host: eth0 203.0.113.10/24, default via 203.0.113.1".to_owned()];
    for machine in &topology.lan {
        let addresses: Vec<_> = machine.addresses.iter().map(ToString::to_string).collect();
        said.push(format!("{}: a machine on eth0's wire, {}", machine.name, addresses.join(", ")));
    }
    for container in topology.hosts.iter().flat_map(|h| &h.containers) {
        let own = listeners.iter().filter(|l| l.node == container.node);
        let ports: Vec<_> = own.map(|l| format!("{}/{}", l.port, l.transport)).collect();
        said.push(match ports.as_slice() {
            [] => format!("{}: no declared listener", container.node),
            [..] => format!("{}: listens on {}", container.node, ports.join(", ")),
        });
    }
    said
}

/// A Docker host of a project; one without containers where there is none.
fn host(name: NodeName, project: Option<Project>, engine: Engine, daemon: Daemon, machine: Machine) -> Host {
    let (project, networks, containers) = match project {
        Some(project) => (project.name, project.networks, project.containers),
        None => ("trial".to_owned(), Vec::new(), Vec::new()),
    };
    Host { name, project, engine, daemon, machine, networks, containers }
}

/// Reads one trial.
struct Reader<'a> {
    folder: &'a Path,
    files: &'a dyn Files,
    options: &'a Options,
    warnings: Vec<Diagnostic>,
    /// Whether all nodes could be read: otherwise a line that names one may well be right.
    whole: bool,
}

impl Reader<'_> {
    fn trial(&mut self, path: &Path, source: &Arc<Source>, root: &Node, out: &mut Diagnostics) -> Trial {
        if root.is_null() {
            out.push(
                Diagnostic::new(root.at.clone(), "an empty trial")
                    .expected("at least title, compose and expect"),
            );
        }
        keys(root, TRIAL, "a trial", out);
        let topology = self.topology(root, out);
        let trial = Trial {
            title: title(root, out),
            group: self.group(root, out),
            path: path.to_owned(),
            source: Arc::clone(source),
            topology,
            expect: entry::all(Field::of(root, "expect"), out),
            steps: entry::all(Field::of(root, "steps"), out),
            when: Field::of(root, "when").map(|f| when::read(f, out)).unwrap_or_default(),
            needs: Field::of(root, "needs").map(|f| when::needs(f, out)).unwrap_or_default(),
            fresh: Field::of(root, "fresh").and_then(|f| f.boolean(out)).unwrap_or(false),
            apart: Field::of(root, "apart").and_then(|f| f.boolean(out)).unwrap_or(false),
            warnings: std::mem::take(&mut self.warnings),
        };
        if self.whole {
            check::trial(&trial, out);
        }
        trial
    }

    fn group(&self, root: &Node, out: &mut Diagnostics) -> String {
        let said = Field::of(root, "group").and_then(|f| f.string(out)).map(str::to_owned);
        said.unwrap_or_else(|| {
            let folder = files::normal(&self.options.directory.join(self.folder));
            let name = folder.file_name().and_then(|n| n.to_str());
            name.unwrap_or("trials").to_owned()
        })
    }

    fn topology(&mut self, root: &Node, out: &mut Diagnostics) -> Topology {
        let before = out.0.len();
        let mut hosts = vec![self.host(NodeName::host(), root, out)];
        let mut places = vec![Field::of(root, "host").map_or_else(|| root.at.clone(), Field::at)];
        for (key, node) in Field::of(root, "hosts").map(|f| f.mapping(out)).unwrap_or_default() {
            if nodes::machine(key, out) {
                hosts.push(self.further(key, node, out));
                places.push(key.at.clone());
            }
        }
        let lan: Vec<LanMachine> = Field::of(root, "lan").map(|f| lan::read(f, out)).unwrap_or_default();
        let mut topology = Topology { hosts, lan, listeners: Vec::new(), assumed: Vec::new() };
        nodes::check(&topology, out);
        check::addresses(&topology, &places, out);
        self.whole = out.0.len() == before;
        topology.listeners = listen::declared(Field::of(root, "listen"), &mut topology, out);
        topology
    }

    /// A Docker host beside the first: it has an address of its own, and no default one.
    fn further(&mut self, key: &Key, node: &Node, out: &mut Diagnostics) -> Host {
        keys(node, HOST, "a Docker host", out);
        let mut host = self.host(NodeName::from(key.name.as_str()), node, out);
        if Field::of(node, "host").and_then(|f| Field::of(f.node, "interfaces")).is_none() {
            host.machine.interfaces.clear();
            let wrong =
                Diagnostic::new(key.at.clone(), format!("host '{}' has no address of its own", key.name));
            out.push(wrong.expected("host: { interfaces: { eth0: ADDRESS/PREFIX } }"));
        }
        host
    }

    /// A Docker host: its keys stand in the trial itself for the first, under the name for a further one.
    fn host(&mut self, name: NodeName, node: &Node, out: &mut Diagnostics) -> Host {
        let engine = Field::of(node, "engine").and_then(|f| f.parse::<Engine>(out)).unwrap_or_default();
        let daemon = Field::of(node, "daemon").map(|f| daemon::read(f, engine, out)).unwrap_or_default();
        let machine = match Field::of(node, "host") {
            Some(field) => machine::read(field, self.folder, self.files, out),
            None => Machine::default(),
        };
        let project = Field::of(node, "compose").and_then(|f| match self.compose(f, out) {
            Ok(project) => project,
            Err(wrong) => {
                out.extend(wrong.0);
                None
            }
        });
        self.warnings.extend(project.iter().flat_map(|p| p.warnings.iter().cloned()));
        let mut host = host(name, project, engine, daemon, machine);
        nodes::qualify(&mut host);
        host
    }

    /// A path, a list of paths, or the keys of a compose file; nothing where that was refused.
    fn compose(&self, field: Field<'_>, out: &mut Diagnostics) -> Result<Option<Project>, Diagnostics> {
        if let Value::Mapping(_) = field.node.value {
            return compose::read_inline(field.node, self.folder, self.files, self.options).map(Some);
        }
        let paths = field.string_or_list(out);
        if paths.is_empty() {
            out.push(
                field
                    .bad("no compose file")
                    .expected("a path, a list of paths, or the keys of a compose file"),
            );
            return Ok(None);
        }
        let paths: Vec<PathBuf> = paths.into_iter().map(|(path, _)| self.folder.join(path)).collect();
        let options = Options { at: Some(field.at()), ..self.options.clone() };
        compose::read(&paths, self.files, &options).map(Some)
    }
}

fn title(root: &Node, out: &mut Diagnostics) -> String {
    let title = match Field::of(root, "title") {
        Some(field) => field.string(out).map(str::trim),
        None => {
            let start = At::new(&root.at.source, root.at.span.start..root.at.span.start);
            out.push(Diagnostic::new(start, "no title").expected("title: one sentence that says what holds"));
            None
        }
    };
    title.unwrap_or_default().to_owned()
}

/// Whether every key of the mapping `node` is in `known`; `place` names the mapping.
fn keys(node: &Node, known: &[&str], place: &str, out: &mut Diagnostics) -> bool {
    let entries = match &node.value {
        Value::Mapping(entries) => entries,
        Value::Scalar(_) if node.is_null() => return true,
        Value::Scalar(_) | Value::Sequence(_) => {
            out.push(
                Diagnostic::new(node.at.clone(), format!("{place} is {}", node.kind())).expected("a mapping"),
            );
            return false;
        }
    };
    let unknown = entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str()));
    let refused = unknown.map(|(key, _)| {
        let expected = match field::nearest(&key.name, known.iter().copied()) {
            Some(near) => format!("'{near}'"),
            None if known.len() <= 16 => format!("one of {}", known.join(", ")),
            None => format!("a key that bears on networking in {place}"),
        };
        Diagnostic::new(key.at.clone(), format!("unknown key '{}' in {place}", key.name)).expected(expected)
    });
    let refused: Vec<_> = refused.collect();
    let fine = refused.is_empty();
    out.extend(refused);
    fine
}
