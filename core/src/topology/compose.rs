//! Compose files: read, merged, and turned into networks and containers.
//!
//! Keys that bear on networking or namespaces are honoured or refused by name with their place; the rest of the
//! Compose Specification is read past. What a file means is what Docker Compose 2.40 makes of it
//! (github.com/compose-spec/compose-go).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::files::{self, Files};
use super::yaml::{self, Node};
use super::{Container, Network};
use crate::diagnostic::{At, Diagnostic, Diagnostics};

mod keys;
mod network;
mod ports;
mod project;
mod service;

/// What the user says beside the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--project-name`; else `COMPOSE_PROJECT_NAME`, the file's `name`, the folder's name.
    pub project_name: Option<String>,
    /// `--profile`, added to `COMPOSE_PROFILES`; `*` is all of them.
    pub profiles: BTreeSet<String>,
    /// The process environment; it wins over `.env`.
    pub env: BTreeMap<String, String>,
    /// The caller's directory, absolute: it names the project of a file that is given without a folder.
    pub directory: PathBuf,
}

/// What compose files say, in Docker's words.
#[derive(Debug, Clone)]
pub struct Project {
    /// The name: it prefixes the names of networks and containers.
    pub name: String,
    /// The networks in the order they are made.
    pub networks: Vec<Network>,
    /// The containers in the order they are started.
    pub containers: Vec<Container>,
    /// What Compose would warn of, in the order of the files.
    pub warnings: Vec<Diagnostic>,
    /// Where the first file begins.
    pub at: At,
}

/// Reads files; the later ones override the earlier. Paths are relative to the caller's directory.
///
/// # Errors
/// All that is wrong with the files, each with its place.
pub fn read(paths: &[PathBuf], files: &dyn Files, options: &Options) -> Result<Project, Diagnostics> {
    let mut out = Diagnostics::default();
    let Some(first) = paths.first() else {
        return Err(Diagnostic::new(At::nowhere("compose"), "no compose file").into());
    };
    let source = files::load(files, first, &At::nowhere("compose"))?;
    let root = yaml::parse(&source)?;
    let folder = first.parent().unwrap_or(Path::new("")).to_owned();
    let project = project::build(&root, &folder, options, &mut out);
    out.into_result(project)
}

/// Reads the keys of a compose file that stand inside another file; `base` is the folder that relative paths start
/// from.
///
/// # Errors
/// As [`read`].
pub fn read_inline(
    node: &Node,
    base: &Path,
    _files: &dyn Files,
    options: &Options,
) -> Result<Project, Diagnostics> {
    let mut out = Diagnostics::default();
    let project = project::build(node, base, options, &mut out);
    out.into_result(project)
}
