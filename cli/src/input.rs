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

use crate::args::{Input, InputOptions};
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

/// The seed of every world: the same question has the same answer.
const SEED: u64 = 1;

/// What a compose file, a trial or a project's folder says, with the options of the command line.
pub(crate) fn topology(input: &Input, options: &InputOptions) -> Result<Topology, Diagnostics> {
    let reading = Options {
        project_name: options.project_name.clone(),
        profiles: options.profile.iter().cloned().collect(),
        env_files: options.env_file.clone(),
        ..here()
    };
    let mut topology = if says_trial(&input.file) {
        if let Some(more) = options.more.first() {
            let found = format!(
                "{} is a trial, and {} is to be merged over it",
                input.file.display(),
                more.display()
            );
            return Err(refuse("-f", found, "a compose file as FILE"));
        }
        trial::read(&input.file, &Disk, &reading)?.topology
    } else {
        let mut paths = compose_files(&input.file)?;
        paths.extend(options.more.iter().cloned());
        trial::assume(compose::read(&paths, &Disk, &reading)?, options.engine.unwrap_or_default())?
    };
    if let (Some(engine), Some(host)) = (options.engine, topology.hosts.first_mut()) {
        host.engine = engine;
    }
    Ok(topology)
}

/// The same, planned and alive.
pub(crate) fn world(input: &Input, options: &InputOptions) -> Result<(Topology, Plan, World), Refusal> {
    let topology = topology(input, options)?;
    let plan = plan::plan(&topology)?;
    let world = World::build(&plan, SEED).map_err(|e| Refusal::Words(e.to_string()))?;
    Ok((topology, plan, world))
}

/// A trial, with the environment of this process for its compose files.
pub(crate) fn trial(path: &Path) -> Result<Trial, Diagnostics> {
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
    if is_trial(path) {
        return true;
    }
    let source = files::load(&Disk, path, &At::nowhere("FILE")).ok();
    let root = source.and_then(|source| yaml::parse(&source).ok());
    let has = |key| root.as_ref().is_some_and(|root| root.get(key).is_some());
    ["expect", "steps", "compose"].into_iter().any(has) && !has("services")
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
