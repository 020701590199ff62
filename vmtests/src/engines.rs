//! The root filesystems with a Docker Engine that there are: those that `scripts/reference-engines.sh` made, or others
//! that the user names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use seatrial_core::engine::{Engine, Version};

use crate::cache;

/// What names another folder of roots.
const VARIABLE: &str = "SEATRIAL_ENGINES";
/// How to get them.
pub const HOW: &str = "make some with scripts/reference-engines.sh, or name one with --docker-root";
/// Where a root has its programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A root filesystem with a dockerd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The folder.
    pub path: PathBuf,
    /// What its dockerd says it is.
    pub engine: Engine,
}

/// The roots that are named, or else those in the folder of the environment, or of the user's cache; oldest first.
///
/// # Errors
/// A root without a dockerd that runs, or none at all, with how to get one.
pub fn list(named: &[PathBuf]) -> io::Result<Vec<Root>> {
    let paths = if named.is_empty() { made()? } else { named.to_vec() };
    let mut roots = paths.into_iter().map(root).collect::<io::Result<Vec<_>>>()?;
    roots.sort_by_key(|root| root.engine.version);
    Ok(roots)
}

/// The folders in the folder that the script fills: what it has not finished has a dot before its name.
fn made() -> io::Result<Vec<PathBuf>> {
    let folder = cache::folder(VARIABLE, "engines").unwrap_or_default();
    let none =
        |why: String| io::Error::other(format!("no root filesystem with a Docker Engine: {why}; {HOW}"));
    let entries =
        fs::read_dir(&folder).map_err(|e| none(format!("cannot list {}: {e}", folder.display())))?;
    let mut roots = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        roots.extend((path.is_dir() && !hidden).then_some(path));
    }
    if roots.is_empty() { Err(none(format!("{} is empty", folder.display()))) } else { Ok(roots) }
}

fn root(path: PathBuf) -> io::Result<Root> {
    let wrong = |why: String| {
        io::Error::other(format!(
            "{} is no root filesystem with a Docker Engine: {why}; {HOW}",
            path.display()
        ))
    };
    let real = path.canonicalize().map_err(|e| wrong(e.to_string()))?;
    let said = version(&real).map_err(|e| wrong(e.to_string()))?;
    // "Docker version 28.5.2+dfsg3, build 89c5e8f", and "20.10.24+dfsg1".
    let number = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let number = number.and_then(|word| word.split(|c: char| !c.is_ascii_digit() && c != '.').next());
    let number = number.ok_or_else(|| wrong(format!("its dockerd says it is '{}'", said.trim())))?;
    let engine = number.parse::<Engine>().map_err(|e| wrong(e.to_string()))?;
    Ok(Root { path: real, engine })
}

fn version(root: &Path) -> io::Result<String> {
    let mut chroot = Command::new("chroot");
    chroot.arg(root).args(["dockerd", "--version"]).env_clear().env("PATH", PATH);
    let output = chroot.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(said.lines().last().unwrap_or("dockerd --version fails").to_owned()))
}

/// The root whose Engine behaves as the one that is asked for.
#[must_use]
pub fn of(roots: &[Root], wanted: Engine) -> Option<&Root> {
    let alike = |root: &&Root| {
        let Engine { profile, .. } = root.engine;
        profile == wanted.profile && root.engine.resolv_conf_text() == wanted.resolv_conf_text()
    };
    let named = |root: &&Root| {
        let Version { major, minor, patch } = wanted.version;
        let own = root.engine.version;
        let fits = |wanted: Option<u32>, own| wanted.is_none() || wanted == own;
        major == own.major && fits(minor, own.minor) && fits(patch, own.patch)
    };
    roots.iter().rev().find(named).or_else(|| roots.iter().rev().find(alike))
}
