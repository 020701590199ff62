//! The image of every container: this program, and what it needs to run, as a tar archive.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use seatrial_core::linux::node::CONTAINED;
use tar::{Builder, EntryType, Header};

use crate::initramfs::{ETC, elf};

/// Folders that images have.
const FOLDERS: [(&str, u32); 8] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
];

/// Packs the image.
///
/// # Errors
/// The program, or a library of its, that cannot be read.
pub(crate) fn pack(program: &Path) -> io::Result<Vec<u8>> {
    let program = program.canonicalize()?;
    let mut files = elf::Files::new();
    elf::take(&mut files, &program)?;
    let agent = files.remove(&program).unwrap_or_default();
    files.insert(CONTAINED.into(), agent);
    for (name, text) in ETC {
        files.insert(Path::new("/etc").join(name), text.as_bytes().to_vec());
    }
    let mut tar = Builder::new(Vec::new());
    for (name, mode) in FOLDERS {
        entry(&mut tar, Path::new(name), EntryType::Directory, mode, &[])?;
    }
    let parents: BTreeSet<&Path> = files.keys().flat_map(|path| path.ancestors().skip(1)).collect();
    for folder in parents.into_iter().filter_map(|path| path.strip_prefix("/").ok()) {
        let known = FOLDERS.iter().any(|(name, _)| Path::new(name) == folder);
        if !known && !folder.as_os_str().is_empty() {
            entry(&mut tar, folder, EntryType::Directory, 0o755, &[])?;
        }
    }
    for (path, bytes) in &files {
        let path = path.strip_prefix("/").unwrap_or(path);
        entry(&mut tar, path, EntryType::Regular, 0o755, bytes)?;
    }
    tar.into_inner()
}

fn entry(
    tar: &mut Builder<Vec<u8>>,
    path: &Path,
    kind: EntryType,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, bytes)
}
