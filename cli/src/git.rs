//! A project as it stood at a revision: its files are read out of git's store, and nothing is checked out.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use seatrial_core::topology::files::{Files, normal};

/// A revision of the working tree that a file is in.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    /// The working tree's root.
    root: PathBuf,
    /// Where paths that are typed begin.
    folder: PathBuf,
    /// The commit, in full.
    commit: String,
}

impl Revision {
    /// The revision `name` of the tree that `file` is in, whether or not there is such a file now.
    ///
    /// # Errors
    /// In git's words, or why it could not be run.
    pub(crate) fn find(name: &str, file: &Path, folder: &Path) -> Result<Self, String> {
        let there = normal(&folder.join(file));
        let near = there.ancestors().find(|path| path.is_dir()).unwrap_or(folder);
        let root = said(git(near, ["rev-parse", "--show-toplevel"]))?;
        let commit = format!("{name}^{{commit}}");
        let found = git(near, ["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]);
        let commit = said(found).map_err(|why| match why.as_str() {
            "" => format!("git knows no revision '{name}'"),
            why => why.to_owned(),
        })?;
        Ok(Self { root: root.into(), folder: folder.to_owned(), commit })
    }

    /// Whether there was such a folder.
    pub(crate) fn has_folder(&self, path: &Path) -> bool {
        self.kind(path).is_some_and(|kind| kind == "tree")
    }

    /// Whether there was such a file.
    pub(crate) fn has_file(&self, path: &Path) -> bool {
        self.kind(path).is_some_and(|kind| kind == "blob")
    }

    fn kind(&self, path: &Path) -> Option<String> {
        let object = self.object(path)?;
        said(git(&self.root, ["cat-file", "-t", &object])).ok()
    }

    /// What git calls it; none for a file outside of the tree.
    fn object(&self, path: &Path) -> Option<String> {
        let path = normal(&self.folder.join(path));
        let inside = path.strip_prefix(&self.root).ok()?;
        Some(format!("{}:{}", self.commit, inside.to_str()?))
    }
}

impl Files for Revision {
    fn read(&self, path: &Path, limit: usize) -> io::Result<String> {
        let object = self.object(path).ok_or(io::ErrorKind::NotFound)?;
        if !self.has_file(path) {
            return Err(if self.has_folder(path) {
                io::ErrorKind::IsADirectory.into()
            } else {
                io::ErrorKind::NotFound.into()
            });
        }
        let size = said(git(&self.root, ["cat-file", "-s", &object])).map_err(io::Error::other)?;
        if size.parse::<usize>().map_err(io::Error::other)? > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let text = git(&self.root, ["cat-file", "blob", &object]).map_err(io::Error::other)?;
        String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

fn said(output: Result<Vec<u8>, String>) -> Result<String, String> {
    let text = String::from_utf8(output?).map_err(|_| "git's answer is not UTF-8 text".to_owned())?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// What git answers, and else what it says of itself.
fn git<const N: usize>(folder: &Path, args: [&str; N]) -> Result<Vec<u8>, String> {
    let args = [OsStr::new("-C"), folder.as_os_str()].into_iter().chain(args.iter().map(OsStr::new));
    let output = Command::new("git").args(args).output().map_err(|e| {
        let missing = e.kind() == io::ErrorKind::NotFound;
        if missing {
            "git is not installed, or not on the PATH".to_owned()
        } else {
            format!("cannot run git: {e}")
        }
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim_end().trim_start_matches("fatal: ").to_owned())
}
