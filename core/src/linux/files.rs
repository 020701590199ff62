//! The files of mount namespaces, before and while a container has them mounted.
//!
//! Each is written in a folder of the stage's and bind-mounted into the container, as Docker does: written over in
//! place, it changes inside too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::stage::FOLDER;
use crate::plan::{File, NsName};

/// The folder that holds the files of a mount namespace.
#[must_use]
pub fn folder(ns: &NsName) -> PathBuf {
    Path::new(FOLDER).join("files").join(escaped(ns))
}

/// The folder that is /dev/shm in an IPC namespace.
#[must_use]
pub fn shm(ns: &NsName) -> PathBuf {
    Path::new(FOLDER).join("shm").join(escaped(ns))
}

/// A namespace's name as one part of a path: `b/web` is no folder in another.
fn escaped(ns: &NsName) -> String {
    ns.as_str().replace('%', "%25").replace('/', "%2F")
}

/// Writes a file, in place of what it held.
///
/// # Errors
/// Where the disk is full.
pub fn write(ns: &NsName, file: &File) -> Result<(), Error> {
    let path = place(ns, file);
    let folder = path.parent().unwrap_or(Path::new(FOLDER));
    let done = fs::create_dir_all(folder).and_then(|()| fs::write(&path, &file.content));
    done.map_err(|e| failed("write", ns, file, &e))
}

/// Takes a file away.
///
/// # Errors
/// Where it is not there.
pub fn remove(ns: &NsName, file: &File) -> Result<(), Error> {
    fs::remove_file(place(ns, file)).map_err(|e| failed("take away", ns, file, &e))
}

/// Takes away all files of a mount namespace.
///
/// # Errors
/// Where one cannot be.
pub fn clear(ns: &NsName) -> Result<(), Error> {
    match fs::remove_dir_all(folder(ns)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::new("take away", format!("the files of {ns}"), &e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn place(ns: &NsName, file: &File) -> PathBuf {
    folder(ns).join(file.path.trim_start_matches('/'))
}

fn failed(operation: &str, ns: &NsName, file: &File, e: &io::Error) -> Error {
    Error::new(operation, format!("{} in {ns}", file.path), e)
}
