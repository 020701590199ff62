//! The disk: where the program reads what the core only names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use seatrial_core::topology::files::Files;

use crate::git::Revision;

/// The deepest folder that is looked into for trials.
const MAX_FOLDERS: usize = 32;

/// This machine's files.
pub(crate) struct Disk;

/// Where a project is read from.
pub(crate) enum Store {
    /// As it is.
    Disk,
    /// As it was.
    Revision(Revision),
}

impl Store {
    pub(crate) fn files(&self) -> &dyn Files {
        match self {
            Self::Disk => &Disk,
            Self::Revision(revision) => revision,
        }
    }

    pub(crate) fn has_folder(&self, path: &Path) -> bool {
        match self {
            Self::Disk => path.is_dir(),
            Self::Revision(revision) => revision.has_folder(path),
        }
    }

    pub(crate) fn has_file(&self, path: &Path) -> bool {
        match self {
            Self::Disk => path.is_file(),
            Self::Revision(revision) => revision.has_file(path),
        }
    }
}

impl Files for Disk {
    fn read(&self, path: &Path, limit: usize) -> io::Result<String> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // One byte more than the limit tells "too large" without reading the rest, of a device or a growing file too.
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// The trials in a folder and below it, sorted by path.
///
/// # Errors
/// The folder that cannot be listed, and why.
pub(crate) fn trials_below(folder: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder).map_err(|e| (folder.clone(), e))? {
            // A link to a folder is not followed: it may lead back.
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir());
            if is_folder && depth < MAX_FOLDERS {
                folders.push((path, depth + 1));
            } else if is_trial(&path) && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// Whether a file is a trial by its name.
pub(crate) fn is_trial(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
    name.ends_with(".trial.yaml") || name.ends_with(".trial.yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, "1234").unwrap();
        assert_eq!(Disk.read(&path, 4).unwrap(), "1234");
        assert_eq!(Disk.read(&path, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(
            Disk.read(Path::new("/dev/zero"), 1 << 20).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
    }

    #[test]
    fn what_is_no_text_is_refused_by_kind() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b"), [0xff, 0xfe]).unwrap();
        let kind = |path: &Path| Disk.read(path, 10).unwrap_err().kind();
        assert_eq!(kind(&folder.path().join("b")), io::ErrorKind::InvalidData);
        assert_eq!(kind(folder.path()), io::ErrorKind::IsADirectory);
        assert_eq!(kind(&folder.path().join("none")), io::ErrorKind::NotFound);
    }

    #[test]
    fn trials_are_found_below_a_folder_in_order() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["c.trial.yaml", "b/a.trial.yaml", "compose.yaml", "b/x.trial.yml"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        let found = trials_below(folder.path()).unwrap();
        let found: Vec<_> = found.iter().map(|p| p.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(found, ["b/a.trial.yaml", "b/x.trial.yml", "c.trial.yaml"].map(Path::new));
    }
}
