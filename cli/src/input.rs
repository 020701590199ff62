//! From what is named on the command line to a topology, a plan, a world.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics, Source};
use seatrial_core::engine::Engine;
use seatrial_core::plan::{self, Plan};
use seatrial_core::snapshot::{self, Snapshot};
use seatrial_core::topology::compose::{self, Options};
use seatrial_core::topology::trial::{self, Trial};
use seatrial_core::topology::yaml;
use seatrial_core::topology::{Topology, files};
use seatrial_sim::world::World;

use crate::args::{Chance, Input, InputOptions, ProjectOptions};
use crate::disk::{Disk, Store, is_trial};
use crate::output::Refusal;

/// The compose files of a project's folder: the first there is, and the first override there is (compose-go,
/// cli/options.go).
const COMPOSE_FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDE_FILES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What was read.
pub(crate) struct Subject {
    /// What is there.
    pub(crate) network: Network,
    /// What was assumed because nothing says otherwise, a sentence each.
    pub(crate) assumed: Vec<String>,
    /// What Compose would warn of.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// What is there.
pub(crate) enum Network {
    /// Hosts, and what is wanted on them.
    Planned(Topology),
    /// A host as it was found.
    Found { plan: Plan, kernel: String, engine: Option<String> },
}

impl Subject {
    fn planned(mut topology: Topology, warnings: Vec<Diagnostic>) -> Self {
        let assumed = std::mem::take(&mut topology.assumed);
        Self { network: Network::Planned(topology), assumed, warnings }
    }

    fn found(snapshot: Snapshot) -> Self {
        let (plan, assumed) = snapshot.surrounded();
        let Snapshot { kernel, engine, unknown, .. } = snapshot;
        let unknown = unknown.into_iter().map(|what| format!("of no account: {what}"));
        let assumed = assumed.into_iter().chain(unknown).collect();
        Self { network: Network::Found { plan, kernel, engine }, assumed, warnings: Vec::new() }
    }

    /// Everything that is there.
    pub(crate) fn plan(&self) -> Result<Plan, Diagnostics> {
        match &self.network {
            Network::Planned(topology) => plan::plan(topology),
            Network::Found { plan, .. } => Ok(plan.clone()),
        }
    }

    /// What is wanted, for what only that can be asked.
    pub(crate) fn topology(&self) -> Result<&Topology, Diagnostics> {
        match &self.network {
            Network::Planned(topology) => Ok(topology),
            Network::Found { .. } => {
                let found = "a snapshot has no project in it".to_owned();
                Err(refuse("FILE", found, "a compose file, a trial or a project's folder"))
            }
        }
    }

    /// Whose rules they are, and what that was held against.
    pub(crate) fn engine(&self) -> (String, String) {
        match &self.network {
            Network::Planned(topology) => {
                let engine = topology.hosts.first().map(|host| host.engine).unwrap_or_default();
                (engine.to_string(), engine.evidence().to_string())
            }
            Network::Found { kernel, engine, .. } => {
                let engine = engine.clone().unwrap_or_else(|| "unknown".to_owned());
                (engine, format!("as it was found, on Linux {kernel}"))
            }
        }
    }
}

/// What a compose file, a trial or a project's folder says, with the options of the command line.
pub(crate) fn subject(input: &Input, options: &InputOptions) -> Result<Subject, Diagnostics> {
    subject_of(&Store::Disk, &input.file, &options.project, options.engine)
}

/// The same, of files that are here or in git.
pub(crate) fn subject_of(
    store: &Store,
    file: &Path,
    options: &ProjectOptions,
    engine: Option<Engine>,
) -> Result<Subject, Diagnostics> {
    let reading = Options {
        project_name: options.project_name.clone(),
        profiles: options.profile.iter().cloned().collect(),
        env_files: options.env_file.clone(),
        ..here()
    };
    if let Some(source) = snapshot(store, file) {
        as_it_is(file, options, engine)?;
        return Ok(Subject::found(Snapshot::parse(&source)?));
    }
    let (mut topology, warnings) = if says_trial(store, file) {
        if let Some(more) = options.more.first() {
            let found =
                format!("{} is a trial, and {} is to be merged over it", file.display(), more.display());
            return Err(refuse("-f", found, "a compose file as FILE"));
        }
        let Trial { topology, warnings, .. } = trial::read(file, store.files(), &reading)?;
        (topology, warnings)
    } else {
        let mut paths = compose_files(store, file)?;
        paths.extend(options.more.iter().cloned());
        let mut project = compose::read(&paths, store.files(), &reading)?;
        let warnings = std::mem::take(&mut project.warnings);
        (trial::assume(project, engine.unwrap_or_default())?, warnings)
    };
    if let (Some(engine), Some(host)) = (engine, topology.hosts.first_mut()) {
        host.engine = engine;
    }
    Ok(Subject::planned(topology, warnings))
}

/// Refuses what is wanted otherwise of a snapshot than it is.
fn as_it_is(file: &Path, options: &ProjectOptions, engine: Option<Engine>) -> Result<(), Diagnostics> {
    let project = [
        ("-f", !options.more.is_empty()),
        ("--profile", !options.profile.is_empty()),
        ("--project-name", options.project_name.is_some()),
        ("--env-file", !options.env_file.is_empty()),
        ("--engine", engine.is_some()),
    ];
    match project.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => {
            let found = format!("{} is a snapshot: it is as it was found", file.display());
            Err(refuse(option, found, "a compose file, a trial or a project's folder"))
        }
    }
}

/// The file, where it is meant to be a snapshot.
fn snapshot(store: &Store, file: &Path) -> Option<Arc<Source>> {
    let text = store.files().read(file, snapshot::MAX_BYTES).ok().filter(|text| Snapshot::is_meant(text))?;
    Some(Arc::new(Source { name: file.display().to_string(), text }))
}

/// The same, planned and alive.
pub(crate) fn world(
    input: &Input,
    options: &InputOptions,
    chance: &Chance,
) -> Result<(Subject, Plan, World), Refusal> {
    let subject = subject(input, options)?;
    let plan = subject.plan()?;
    let world = World::build(&plan, chance.seed).map_err(|e| Refusal::Words(e.to_string()))?;
    Ok((subject, plan, world))
}

/// A trial, with the environment of this process for its compose files.
pub(crate) fn trial(path: &Path) -> Result<Trial, Diagnostics> {
    if !says_trial(&Store::Disk, path) && has(&Store::Disk, path, "services") {
        let found = format!("{} is a compose file, and no trial", path.display());
        let expected = "a trial that names it; seatrial matrix and seatrial trace take a compose file";
        return Err(refuse("PATH", found, expected));
    }
    trial::read(path, &Disk, &here())
}

/// What this process's environment and directory say to a compose file.
fn here() -> Options {
    let utf8 =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    Options {
        env: env::vars_os().filter_map(utf8).collect(),
        directory: env::current_dir().unwrap_or_default(),
        ..Options::default()
    }
}

/// Whether a file is a trial: by its name, or because it has a trial's keys and no `services`.
fn says_trial(store: &Store, path: &Path) -> bool {
    let keys = ["expect", "steps", "compose"];
    is_trial(path) || (keys.into_iter().any(|key| has(store, path, key)) && !has(store, path, "services"))
}

/// Whether a file that can be read has a key.
fn has(store: &Store, path: &Path, key: &str) -> bool {
    let source = files::load(store.files(), path, &At::nowhere("FILE")).ok();
    let root = source.and_then(|source| yaml::parse(&source).ok());
    root.is_some_and(|root| root.get(key).is_some())
}

/// The file itself, or the files of a project's folder.
fn compose_files(store: &Store, path: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    if !store.has_folder(path) {
        return Ok(vec![path.to_owned()]);
    }
    let first = |names: [&str; 4]| names.into_iter().map(|name| path.join(name)).find(|p| store.has_file(p));
    match first(COMPOSE_FILES) {
        Some(file) => Ok([file].into_iter().chain(first(OVERRIDE_FILES)).collect()),
        None => {
            let found = format!("no compose file in {}", path.display());
            Err(refuse("FILE", found, &COMPOSE_FILES.join(", ")))
        }
    }
}

pub(crate) fn refuse(option: &str, found: String, expected: &str) -> Diagnostics {
    Diagnostic::new(At::nowhere(option), found).expected(expected).into()
}
