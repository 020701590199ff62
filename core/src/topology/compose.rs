//! Compose files: read, merged, and turned into networks and containers.
//!
//! Keys that bear on networking or namespaces are honoured or refused by name with their place; the rest of the
//! Compose Specification is read past. What a file means is what Docker Compose 2.40 and Docker Engine 28.5 make of
//! it (github.com/compose-spec/compose-go; observed), and their words are kept where they say what is wrong.
//!
//! ```text
//! files ─▶ load (.env, variables, <<, extends, include, merge) ─▶ one tree ─▶ project ─▶ networks, containers
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::files::Files;
use super::yaml::Node;
use super::{Container, Network};
use crate::diagnostic::{At, Diagnostic, Diagnostics};

mod attach;
mod check;
mod conflict;
mod dotenv;
mod extends;
mod include;
mod interpolate;
mod keys;
mod load;
mod merge;
mod modes;
mod names;
mod network;
mod options;
mod order;
mod ports;
mod process;
mod program;
mod project;
mod resolve;
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
    /// `--env-file`: read in place of the project's `.env`, the later winning over the earlier. Their paths are
    /// relative to the caller's directory.
    pub env_files: Vec<PathBuf>,
    /// The caller's directory, absolute: it names the project of a file that is given without a folder.
    pub directory: PathBuf,
    /// Where the files are asked for; the command line where nothing says.
    pub at: Option<At>,
}

/// What compose files say, in Docker's words.
#[derive(Debug, Clone)]
pub struct Project {
    /// The name: it prefixes the names of networks and containers.
    pub name: String,
    /// The networks that are used, in the order they are made: external ones, the implicit one, as they are written.
    pub networks: Vec<Network>,
    /// The containers in the order they are started: those they need first, else as they are written.
    pub containers: Vec<Container>,
    /// What Compose would warn of, and options that change nothing here.
    pub warnings: Vec<Diagnostic>,
    /// Where the first file begins.
    pub at: At,
}

/// Reads files; the later ones override the earlier. Paths are relative to the caller's directory.
///
/// # Errors
/// All that is wrong with the files, each with its place.
pub fn read(paths: &[PathBuf], files: &dyn Files, options: &Options) -> Result<Project, Diagnostics> {
    let at = options.at.clone().unwrap_or_else(|| At::nowhere("the command line"));
    let Some(first) = paths.first() else {
        return Err(Diagnostic::new(at, "no compose file").expected("at least one").into());
    };
    let folder = first.parent().unwrap_or(Path::new(""));
    let mut loader = load::Loader::new(files);
    let scope = loader.project(folder, options);
    let tree = loader.model(paths, &at, &scope);
    project::finish(loader, tree, &scope, options)
}

/// Reads the keys of a compose file that stand inside another file; `base` is the folder that relative paths start
/// from.
///
/// # Errors
/// As [`read`].
pub fn read_inline(
    node: &Node,
    base: &Path,
    files: &dyn Files,
    options: &Options,
) -> Result<Project, Diagnostics> {
    let mut loader = load::Loader::new(files);
    let scope = loader.project(base, options);
    let tree = loader.prepared(node.clone(), &scope);
    let tree = loader.document(tree, &scope).map(merge::plain);
    project::finish(loader, tree, &scope, options)
}
