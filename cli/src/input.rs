//! From what is named on the command line to a topology, a plan, a world.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics};
use seatrial_core::plan::{self, Plan};
use seatrial_core::topology::compose::{self, Options};
use seatrial_core::topology::trial::{self, Trial};
use seatrial_core::topology::yaml;
use seatrial_core::topology::{Topology, files};
use seatrial_sim::world::World;

use crate::args::{Chance, Input, InputOptions};
use crate::disk::{Disk, is_trial};
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
    pub(crate) topology: Topology,
    /// What Compose would warn of.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// What a compose file, a trial or a project's folder says, with the options of the command line.
pub(crate) fn subject(input: &Input, options: &InputOptions) -> Result<Subject, Diagnostics> {
    let reading = Options {
        project_name: options.project_name.clone(),
        profiles: options.profile.iter().cloned().collect(),
        env_files: options.env_file.clone(),
        ..here()
    };
    let mut subject = if says_trial(&input.file) {
        if let Some(more) = options.more.first() {
            let found = format!(
                "{} is a trial, and {} is to be merged over it",
                input.file.display(),
                more.display()
            );
            return Err(refuse("-f", found, "a compose file as FILE"));
        }
        let Trial { topology, warnings, .. } = trial::read(&input.file, &Disk, &reading)?;
        Subject { topology, warnings }
    } else {
        let mut paths = compose_files(&input.file)?;
        paths.extend(options.more.iter().cloned());
        let mut project = compose::read(&paths, &Disk, &reading)?;
        let warnings = std::mem::take(&mut project.warnings);
        Subject { topology: trial::assume(project, options.engine.unwrap_or_default())?, warnings }
    };
    if let (Some(engine), Some(host)) = (options.engine, subject.topology.hosts.first_mut()) {
        host.engine = engine;
    }
    Ok(subject)
}

/// The same, planned and alive.
pub(crate) fn world(
    input: &Input,
    options: &InputOptions,
    chance: &Chance,
) -> Result<(Subject, Plan, World), Refusal> {
    let subject = subject(input, options)?;
    let plan = plan::plan(&subject.topology)?;
    let world = World::build(&plan, chance.seed).map_err(|e| Refusal::Words(e.to_string()))?;
    Ok((subject, plan, world))
}

/// A trial, with the environment of this process for its compose files.
pub(crate) fn trial(path: &Path) -> Result<Trial, Diagnostics> {
    if !says_trial(path) && has(path, "services") {
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
fn says_trial(path: &Path) -> bool {
    let keys = ["expect", "steps", "compose"];
    is_trial(path) || (keys.into_iter().any(|key| has(path, key)) && !has(path, "services"))
}

/// Whether a file that can be read has a key.
fn has(path: &Path, key: &str) -> bool {
    let source = files::load(&Disk, path, &At::nowhere("FILE")).ok();
    let root = source.and_then(|source| yaml::parse(&source).ok());
    root.is_some_and(|root| root.get(key).is_some())
}

/// The file itself, or the files of a project's folder.
fn compose_files(path: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let first = |names: [&str; 4]| names.into_iter().map(|name| path.join(name)).find(|p| p.is_file());
    match first(COMPOSE_FILES) {
        Some(file) => Ok([file].into_iter().chain(first(OVERRIDE_FILES)).collect()),
        None => {
            let found = format!("no compose file in {}", path.display());
            Err(refuse("FILE", found, &COMPOSE_FILES.join(", ")))
        }
    }
}

fn refuse(option: &str, found: String, expected: &str) -> Diagnostics {
    Diagnostic::new(At::nowhere(option), found).expected(expected).into()
}
