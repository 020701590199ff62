//! Machines that were saved when they had come up: a file each, in the user's cache.
//!
//! A file begins with the machine's memory, as QEMU maps it; holes are zeros. Behind it stands a line about the rest, and
//! the state of its devices. Files come into being whole (`O_TMPFILE`, man 2 open): whoever is killed leaves nothing, and of
//! two who make the same one the first wins. What is read is believed only if its digest is right.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::O_TMPFILE;
use nix::unistd::{Whence, linkat, lseek};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// What the files are called behind their keys.
const EXTENSION: &str = "machine";
/// How much all files together may take up on disk, in bytes; a machine takes 150 to 200 MB. The one used longest ago goes
/// first.
const BOUND: u64 = 4 << 30;
/// How much memory is looked at at one time. What is all zeros is a hole.
const BLOCK: usize = 64 << 10;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Where saved machines are.
#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
    /// How much memory they have, in bytes.
    memory: u64,
}

/// What stands behind the memory.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    key: String,
    /// How long the state is, in bytes.
    state: usize,
    digest: String,
}

/// A saved machine.
#[derive(Debug)]
pub(super) struct Saved {
    /// Its memory, and more behind it.
    pub(super) file: File,
    /// The state of its devices.
    pub(super) state: Vec<u8>,
    memory: u64,
    digest: String,
}

impl Store {
    /// The store in a folder.
    pub(super) const fn new(folder: PathBuf, memory: u64) -> Self {
        Self { folder, memory }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key).with_extension(EXTENSION)
    }

    /// The machine of a key, where there is one. It counts as used.
    ///
    /// # Errors
    /// What is wrong with its file.
    #[expect(clippy::disallowed_methods, reason = "what was used last is kept longest")]
    pub(super) fn find(&self, key: &str) -> io::Result<Option<Saved>> {
        let mut file = match File::options().read(true).write(true).open(self.path(key)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.set_modified(SystemTime::now())?;
        let mut rest = Vec::new();
        file.seek(SeekFrom::Start(self.memory))?;
        file.read_to_end(&mut rest)?;
        let torn = || io::Error::other("it is torn");
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(torn)?;
        let state = rest.split_off(end + 1);
        let About { key: of, state: length, digest } = serde_json::from_slice(&rest).map_err(|_| torn())?;
        if of != key {
            return Err(io::Error::other("it is another machine's"));
        }
        if state.len() != length {
            return Err(torn());
        }
        Ok(Some(Saved { file, state, memory: self.memory, digest }))
    }

    /// Keeps a machine. One that is there already stays.
    ///
    /// # Errors
    /// A folder that cannot be written to, a disk that is full, a file system that has no files without a name.
    pub(super) fn keep(&self, key: &str, memory: &File, state: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let file =
            File::options().read(true).write(true).mode(0o600).custom_flags(O_TMPFILE).open(&self.folder)?;
        file.set_len(self.memory)?;
        let digest = digest(memory, self.memory, state, |offset, block| file.write_all_at(block, offset))?;
        let mut rest = serde_json::to_vec(&About { key: key.to_owned(), state: state.len(), digest })?;
        rest.push(b'\n');
        rest.extend_from_slice(state);
        file.write_all_at(&rest, self.memory)?;
        let nameless = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        match linkat(AT_FDCWD, &nameless, AT_FDCWD, &self.path(key), AtFlags::AT_SYMLINK_FOLLOW) {
            Ok(()) | Err(Errno::EEXIST) => self.bound(BOUND),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes a machine that is of no use.
    pub(super) fn remove(&self, key: &str) {
        // Somebody else may have found out, too.
        let _ = fs::remove_file(self.path(key));
    }

    /// Removes those used longest ago until the others take up no more than this, in bytes; the one used last stays.
    fn bound(&self, bytes: u64) -> io::Result<()> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == EXTENSION)
                && let Ok(meta) = fs::metadata(&path)
            {
                // Blocks are of 512 bytes, whatever the file system's are (man 3type stat).
                all.push(((meta.mtime(), meta.mtime_nsec()), meta.blocks() * 512, path));
            }
        }
        all.sort();
        let mut taken = 0;
        for (place, (_, size, path)) in all.iter().rev().enumerate() {
            taken += size;
            if place > 0 && taken > bytes {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}

impl Saved {
    /// Whether it is what was kept. Reads all of it.
    ///
    /// # Errors
    /// A file that cannot be read, or is another than it was.
    pub(super) fn verify(&self) -> io::Result<()> {
        let digest = digest(&self.file, self.memory, &self.state, |_, _| Ok(()))?;
        if digest == self.digest { Ok(()) } else { Err(io::Error::other("it is not as it was saved")) }
    }
}

/// A digest of a memory and a state; each piece of memory that is not all zeros is handed on.
fn digest(
    memory: &File,
    size: u64,
    state: &[u8],
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<String> {
    let mut digest = Xxh3::new();
    digest.update(state);
    let mut buffer = vec![0; BLOCK];
    let mut at = 0;
    while let Some(data) = next(memory, at, Whence::SeekData)?.filter(|data| *data < size) {
        let end = next(memory, data, Whence::SeekHole)?.unwrap_or(size).min(size);
        // A block with a hole in it is looked at once.
        at = at.max(data / BLOCK as u64 * BLOCK as u64);
        while at < end {
            let wanted = usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK);
            let block = buffer.get_mut(..wanted).unwrap_or_default();
            memory.read_exact_at(block, at)?;
            if ZEROS.get(..wanted) != Some(&*block) {
                digest.update(&at.to_le_bytes());
                digest.update(block);
                each(at, block)?;
            }
            at += BLOCK as u64;
        }
    }
    Ok(format!("{:032x}", digest.digest128()))
}

/// Where the next piece of data begins, or the next hole (man 2 lseek).
fn next(file: &File, from: u64, whence: Whence) -> io::Result<Option<u64>> {
    match lseek(file, from.try_into().unwrap_or(i64::MAX), whence) {
        Ok(at) => Ok(u64::try_from(at).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The digest of what a machine is made of, as its name.
pub(super) fn name(digest: &Xxh3) -> String {
    format!("{:032x}", digest.digest128())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MEMORY: u64 = 1 << 20;

    fn store(folder: &Path) -> Store {
        Store::new(folder.join("machines"), MEMORY)
    }

    /// A memory with holes, and something at these places.
    fn memory(places: &[u64]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(MEMORY).unwrap();
        places.iter().for_each(|at| file.write_all_at(b"something", *at).unwrap());
        file
    }

    #[test]
    fn what_was_kept_is_found_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert!(store.find("a").unwrap().is_none());
        store.keep("a", &memory(&[0, 70_000, MEMORY - 9]), b"state\nof devices").unwrap();
        let saved = store.find("a").unwrap().unwrap();
        saved.verify().unwrap();
        let mut there = [0; 9];
        saved.file.read_exact_at(&mut there, 70_000).unwrap();
        assert_eq!((&there, saved.state.as_slice()), (b"something", &b"state\nof devices"[..]));
        assert!(store.find("b").unwrap().is_none());
        store.remove("a");
        assert!(store.find("a").unwrap().is_none());
    }

    /// Whatever is wrong with a file, nobody takes it for a machine.
    #[test]
    fn a_file_that_is_not_as_it_was_kept_is_never_believed() {
        let spoil = |spoil: &dyn Fn(&File, &Path)| {
            let folder = tempfile::tempdir().unwrap();
            let store = store(folder.path());
            store.keep("a", &memory(&[0, 70_000]), b"state").unwrap();
            spoil(&File::options().write(true).open(store.path("a")).unwrap(), &store.path("a"));
            store.find("a").and_then(|saved| saved.unwrap().verify()).unwrap_err().to_string()
        };
        let changed = "it is not as it was saved";
        assert_eq!(spoil(&|file, _| file.write_all_at(b"S", 70_000).unwrap()), changed);
        assert_eq!(spoil(&|file, _| file.write_all_at(b"x", 500_000).unwrap()), changed, "in a hole");
        assert_eq!(spoil(&|file, _| file.write_all_at(&[0; 9], 0).unwrap()), changed);
        let last = |file: &File| file.metadata().unwrap().len() - 1;
        assert_eq!(spoil(&|file, _| file.write_all_at(b"E", last(file)).unwrap()), changed);
        assert_eq!(spoil(&|file, _| file.set_len(last(file)).unwrap()), "it is torn");
        assert_eq!(spoil(&|file, _| file.set_len(MEMORY).unwrap()), "it is torn");
        assert_eq!(spoil(&|file, _| file.set_len(9).unwrap()), "it is torn");
        assert_eq!(spoil(&|file, _| file.set_len(0).unwrap()), "it is torn");
        let other = |_: &File, path: &Path| {
            let store = Store::new(path.parent().unwrap().to_owned(), MEMORY);
            store.keep("b", &memory(&[3]), b"state").unwrap();
            fs::rename(store.path("b"), path).unwrap();
        };
        assert_eq!(spoil(&other), "it is another machine's");
    }

    #[test]
    fn of_two_who_keep_the_same_machine_the_first_wins() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.keep("a", &memory(&[0]), b"first").unwrap();
        store.keep("a", &memory(&[0]), b"second").unwrap();
        assert_eq!(store.find("a").unwrap().unwrap().state, b"first");
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn those_used_longest_ago_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        for (hours, key) in [(3, "a"), (1, "b"), (2, "c")] {
            store.keep(key, &memory(&[0]), b"state").unwrap();
            let file = File::options().write(true).open(store.path(key)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(hours)).unwrap();
        }
        let here = || ["a", "b", "c"].map(|key| store.path(key).exists());
        let size = fs::metadata(store.path("a")).unwrap().blocks() * 512;
        store.bound(size * 3).unwrap();
        assert_eq!(here(), [true, true, true]);
        store.bound(size * 2).unwrap();
        assert_eq!(here(), [true, false, true]);
        store.bound(0).unwrap();
        assert_eq!(here(), [true, false, false]);
    }
}
