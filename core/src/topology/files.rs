//! Where texts come from: the disk in the program, a map in tests.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{At, Diagnostic, Source};
use crate::topology::yaml::MAX_FILE_BYTES;

/// A place to read texts from. The core reads no disk: whoever calls it does.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// As [`std::fs::read_to_string`]; one that is larger than `limit` bytes is [`io::ErrorKind::FileTooLarge`].
    fn read(&self, path: &Path, limit: usize) -> io::Result<String>;
}

impl Files for BTreeMap<PathBuf, String> {
    fn read(&self, path: &Path, limit: usize) -> io::Result<String> {
        let text = self.get(path).ok_or(io::ErrorKind::NotFound)?;
        if text.len() > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text.clone()) }
    }
}

/// Reads a file that `at` asks for.
///
/// # Errors
/// The file's path and why it cannot be read, at the place that asks for it.
pub fn load(files: &dyn Files, path: &Path, at: &At) -> Result<Arc<Source>, Diagnostic> {
    let path = normal(path);
    let refuse = |why: String| Diagnostic::new(at.clone(), format!("cannot read {}: {why}", path.display()));
    match files.read(&path, MAX_FILE_BYTES) {
        Ok(text) => Ok(Arc::new(Source { name: path.display().to_string(), text })),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            Err(refuse("it is too large".to_owned()).expected("at most 1 MiB"))
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(refuse("it is not UTF-8 text".to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(refuse("there is no such file".to_owned())),
        Err(e) => Err(refuse(e.to_string())),
    }
}

/// The path without `.` and without `x/..`: how it is reported.
#[must_use]
pub fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                out.push(part)
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_reported_without_detours() {
        for (path, reported) in [("a/../b.yaml", "b.yaml"), ("./a/./b", "a/b"), ("../../x", "../../x")] {
            assert_eq!(normal(Path::new(path)), Path::new(reported));
        }
    }

    #[test]
    fn a_missing_file_is_named_where_it_was_asked_for() {
        let at = At::nowhere("the command line");
        let error = load(&BTreeMap::new(), Path::new("x/../no.yaml"), &at).unwrap_err();
        assert_eq!(error.to_string(), "the command line: cannot read no.yaml: there is no such file");
    }
}
