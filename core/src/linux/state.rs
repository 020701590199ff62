//! Where labs are written down: a folder each, below one that is the user's alone.
//!
//! A lab's folder is its own lock (man 2 flock), so that none is left behind when it goes. What is in it is written
//! whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use super::Error;

/// The socket by which a lab is asked, in its folder. It is there from when the lab is up.
const SOCKET: &str = "socket";
/// What is written down of a lab.
const RECORD: &str = "state.json";
/// The same, while it is being written.
const DRAFT: &str = "state.json.new";
/// What the lab's own processes complain of.
const LOG: &str = "log";
/// How often somebody else may take a folder away between two looks at it.
const MOST_LOOKS: usize = 10_000;

/// A lab's name: letters, digits, `-`, `_` and `.`, at most 64, the first a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

impl LabName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no name of a lab.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no name for a lab; expected letters, digits, '-', '_' and '.', at most 64, a letter or a digit first"
)]
pub struct LabNameError(String);

impl FromStr for LabName {
    type Err = LabNameError;

    fn from_str(s: &str) -> Result<Self, LabNameError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let first = s.starts_with(|c: char| c.is_ascii_alphanumeric());
        match first && s.len() <= 64 && s.chars().all(inner) {
            true => Ok(Self(s.to_owned())),
            false => Err(LabNameError(s.to_owned())),
        }
    }
}

impl TryFrom<String> for LabName {
    type Error = LabNameError;

    fn try_from(s: String) -> Result<Self, LabNameError> {
        s.parse()
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

impl std::fmt::Display for LabName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// The folder of all labs of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labs {
    path: PathBuf,
}

/// What was found when a lab was looked for.
#[derive(Debug)]
pub enum Found {
    /// There is no such lab.
    Nothing,
    /// Somebody is at it: it comes up or goes down.
    Busy,
    /// Its folder. Nobody brings it up or takes it down meanwhile.
    Held(Berth),
}

impl Labs {
    /// Where this user's labs are: `seatrial` in `$XDG_RUNTIME_DIR`, which is given (basedir-spec); without that in
    /// `/run/user/UID`, where there is such a folder; and else `/tmp/seatrial-UID`.
    #[must_use]
    pub fn of(runtime: Option<&Path>) -> Self {
        let uid = Uid::effective();
        let given = runtime.filter(|path| path.is_absolute()).map(Path::to_owned);
        let usual = || {
            let path = PathBuf::from(format!("/run/user/{uid}"));
            fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir() && m.uid() == uid.as_raw()).then_some(path)
        };
        let runtime = given.or_else(usual).map(|path| path.join("seatrial"));
        Self { path: runtime.unwrap_or_else(|| PathBuf::from(format!("/tmp/seatrial-{uid}"))) }
    }

    /// The names there are, sorted; none where there is no folder.
    ///
    /// # Errors
    /// Where the folder cannot be read, or is not the user's alone.
    pub fn names(&self) -> Result<Vec<LabName>, Error> {
        let failed = |e: &io::Error| Error::new("list", self.path.display().to_string(), e);
        let entries = match fs::read_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| failed(&e))?,
        };
        self.check()?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| failed(&e))?.file_name();
            // What has another name was not put there by this program.
            names.extend(name.to_str().and_then(|name| name.parse::<LabName>().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// Takes away the folder of all labs, if none is in it: whoever is killed as it makes the first leaves it behind.
    pub fn tidy(&self) {
        // Where a lab has come meanwhile it stays.
        let _ = fs::remove_dir(&self.path);
    }

    /// A lab's folder, made where there is none. Waits for whoever is at it.
    ///
    /// # Errors
    /// Where it cannot be made, or is not the user's alone.
    pub fn claim(&self, name: &LabName) -> Result<Berth, Error> {
        let path = self.path.join(name.as_str());
        let failed = |e: &io::Error| Error::new("make", path.display().to_string(), e);
        for _ in 0..MOST_LOOKS {
            make(&self.path).map_err(|e| Error::new("make", self.path.display().to_string(), &e))?;
            self.check()?;
            match make(&path) {
                // Whoever had the last lab took the folder of all away.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    // Where labs are in it, it stays.
                    let _ = fs::remove_dir(&self.path);
                    return Err(failed(&e));
                }
                Ok(()) => {}
            }
            match Berth::lock(name, &path, FlockArg::LockExclusive).map_err(|e| failed(&e))? {
                Found::Held(berth) => return Ok(berth),
                Found::Nothing | Found::Busy => {}
            }
        }
        Err(failed(&Errno::EBUSY.into()))
    }

    /// A lab's folder, where there is one, to take it down. Waits for whoever is at it.
    ///
    /// # Errors
    /// Where it cannot be opened, or is not the user's alone.
    pub fn find(&self, name: &LabName) -> Result<Found, Error> {
        self.look(name, FlockArg::LockExclusive)
    }

    /// A lab's folder, where there is one, to look at: others may meanwhile. Waits until it is up or gone.
    ///
    /// # Errors
    /// Where it cannot be opened, or is not the user's alone.
    pub fn visit(&self, name: &LabName) -> Result<Found, Error> {
        self.look(name, FlockArg::LockShared)
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// Where it cannot be opened, or is not the user's alone.
    pub fn glance(&self, name: &LabName) -> Result<Found, Error> {
        self.look(name, FlockArg::LockSharedNonblock)
    }

    fn look(&self, name: &LabName, how: FlockArg) -> Result<Found, Error> {
        if !self.path.exists() {
            return Ok(Found::Nothing);
        }
        self.check()?;
        let path = self.path.join(name.as_str());
        Berth::lock(name, &path, how).map_err(|e| Error::new("open", path.display().to_string(), &e))
    }

    /// Nobody else may write here: who can put a socket here is spoken to, and who can read it is let in.
    fn check(&self) -> Result<(), Error> {
        let object = || self.path.display().to_string();
        let is = fs::symlink_metadata(&self.path).map_err(|e| Error::new("look at", object(), &e))?;
        let wrong = match is.mode() & 0o077 {
            _ if !is.is_dir() => Some("it is no folder".to_owned()),
            _ if is.uid() != Uid::effective().as_raw() => Some(format!("it belongs to user {}", is.uid())),
            0 => None,
            _ => Some(format!("others may look into it (mode {:o})", is.mode() & 0o7777)),
        };
        match wrong {
            Some(cause) => Err(Error::words("use", object(), cause)
                .help("remove it, or set XDG_RUNTIME_DIR to a folder that is yours alone")),
            None => Ok(()),
        }
    }
}

/// Makes a folder that is the user's alone; it may be there.
fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A lab's folder, locked as long as this is.
#[derive(Debug)]
pub struct Berth {
    name: LabName,
    path: PathBuf,
    folder: Flock<File>,
}

impl Berth {
    /// Locks a folder, unless it is gone by then.
    fn lock(name: &LabName, path: &Path, how: FlockArg) -> io::Result<Found> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let folder = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            folder => folder?,
        };
        let folder = match flock(folder, how) {
            Err(Errno::EWOULDBLOCK) => return Ok(Found::Busy),
            folder => folder?,
        };
        let held = folder.metadata()?;
        // Whoever had it may have taken it away meanwhile, and another may stand in its place.
        let same =
            fs::symlink_metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (held.dev(), held.ino()));
        let berth = Self { name: name.clone(), path: path.to_owned(), folder };
        Ok(if same { Found::Held(berth) } else { Found::Nothing })
    }

    /// Whose it is.
    #[must_use]
    pub const fn name(&self) -> &LabName {
        &self.name
    }

    /// Its path, for people.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket's path. It is short however deep the folder is: a socket's name has room for 107 bytes (man 7 unix).
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.folder.as_raw_fd()))
    }

    /// Whether there is nothing in it: nobody had it before, and left it as it was.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn is_empty(&self) -> Result<bool, Error> {
        let entries = fs::read_dir(&self.path);
        let entries = entries.map_err(|e| Error::new("list", self.path.display().to_string(), &e))?;
        Ok(entries.count() == 0)
    }

    /// What is written down.
    ///
    /// # Errors
    /// Where there is nothing, or something else.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        let path = self.path.join(RECORD);
        let failed = |e: &io::Error| Error::new("read", path.display().to_string(), e);
        let text = fs::read(&path).map_err(|e| failed(&e))?;
        serde_json::from_slice(&text)
            .map_err(|e| Error::words("read", path.display().to_string(), e.to_string()))
    }

    /// Writes down, in place of what was.
    ///
    /// # Errors
    /// Where the disk is full or read-only: then it is as it was.
    pub fn write(&self, record: &impl Serialize) -> Result<(), Error> {
        let path = self.path.join(RECORD);
        let failed = |e: io::Error| Error::new("write", path.display().to_string(), &e);
        let text = serde_json::to_vec(record).map_err(|e| failed(e.into()))?;
        let draft = self.path.join(DRAFT);
        let written = self.create(DRAFT).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            self.folder.sync_all()
        });
        if written.is_err() {
            // The first error is the one to tell; what is left of this is found again by its name.
            let _ = fs::remove_file(&draft);
        }
        written.map_err(failed)
    }

    /// An empty file for what the lab's processes complain of.
    ///
    /// # Errors
    /// Where the disk is full or read-only.
    pub fn log(&self) -> Result<File, Error> {
        let failed = |e: io::Error| Error::new("make", self.path.join(LOG).display().to_string(), &e);
        self.create(LOG).map_err(failed)
    }

    fn create(&self, file: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(self.path.join(file))
    }

    /// Takes away all that is in it. What there was, by name.
    ///
    /// # Errors
    /// What cannot be taken away.
    pub fn clear(&self) -> Result<Vec<String>, Error> {
        let failed = |path: &Path, e: &io::Error| Error::new("take away", path.display().to_string(), e);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|e| failed(&self.path, &e))? {
            let path = entry.map_err(|e| failed(&self.path, &e))?.path();
            fs::remove_file(&path).map_err(|e| failed(&path, &e))?;
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        names.sort();
        Ok(names)
    }

    /// Takes the folder away with all that is in it, and that of all labs where it was the last. What there was, by name.
    ///
    /// # Errors
    /// What cannot be taken away.
    pub fn remove(&self) -> Result<Vec<String>, Error> {
        let names = self.clear()?;
        let gone = fs::remove_dir(&self.path);
        gone.map_err(|e| Error::new("take away", self.path.display().to_string(), &e))?;
        // Other labs may be in it.
        let _ = self.path.parent().map(fs::remove_dir);
        Ok(names)
    }
}

/// Locks, however often a signal comes between.
fn flock(mut file: File, how: FlockArg) -> Result<Flock<File>, Errno> {
    loop {
        match Flock::lock(file, how) {
            Err((again, Errno::EINTR)) => file = again,
            locked => return locked.map_err(|(_, errno)| errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    fn name(text: &str) -> LabName {
        text.parse().unwrap()
    }

    fn labs() -> (tempfile::TempDir, Labs) {
        let runtime = tempfile::tempdir().unwrap();
        let labs = Labs::of(Some(runtime.path()));
        (runtime, labs)
    }

    #[test]
    fn a_lab_has_a_name_that_is_one_part_of_a_path() {
        for good in ["shop", "shop-1.2_x", "1", &"x".repeat(64)] {
            assert_eq!(name(good).as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "-x", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<LabName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_down_is_read_again_and_nothing_stays_behind() {
        let (runtime, labs) = labs();
        let berth = labs.claim(&name("a")).unwrap();
        assert!(berth.is_empty().unwrap());
        berth.write(&vec![1, 2]).unwrap();
        berth.write(&vec![3]).unwrap();
        assert_eq!(berth.read::<Vec<u32>>().unwrap(), [3]);
        assert_eq!(labs.names().unwrap(), [name("a")]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(berth.path()), mode(&berth.path().join(RECORD))), (0o700, 0o600));
        assert_eq!(berth.remove().unwrap(), ["state.json"]);
        assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0);
        assert!(labs.names().unwrap().is_empty());
    }

    #[test]
    fn a_lab_is_held_by_one_at_a_time() {
        let (_runtime, labs) = labs();
        let berth = labs.claim(&name("a")).unwrap();
        assert!(matches!(labs.glance(&name("a")).unwrap(), Found::Busy));
        assert!(matches!(labs.glance(&name("b")).unwrap(), Found::Nothing));
        let waits = thread::spawn({
            let labs = labs.clone();
            move || labs.find(&name("a")).unwrap()
        });
        berth.remove().unwrap();
        drop(berth);
        // The folder that was waited for is gone.
        assert!(matches!(waits.join().unwrap(), Found::Nothing));
    }

    #[test]
    fn many_claim_and_remove_one_lab_at_once_and_each_has_it_alone() {
        let (runtime, labs) = labs();
        let one = |labs: Labs| {
            move || {
                for _ in 0..20 {
                    let berth = labs.claim(&name("a")).unwrap();
                    assert!(berth.is_empty().unwrap());
                    berth.write(&1).unwrap();
                    berth.remove().unwrap();
                }
            }
        };
        let all: Vec<_> = (0..8).map(|_| thread::spawn(one(labs.clone()))).collect();
        all.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_is_bound_however_deep_its_folder_is() {
        let runtime = tempfile::tempdir().unwrap();
        let deep = runtime.path().join("x".repeat(120)).join("y".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        let berth = Labs::of(Some(&deep)).claim(&name("a")).unwrap();
        UnixListener::bind(berth.socket()).unwrap();
        assert_eq!(berth.remove().unwrap(), ["socket"]);
    }

    #[test]
    fn a_folder_that_others_can_look_into_is_refused() {
        let (runtime, labs) = labs();
        let folder = runtime.path().join("seatrial");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        let said = labs.claim(&name("a")).unwrap_err().to_string();
        assert!(said.contains("others may look into it (mode 750)"), "{said}");
        fs::remove_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/tmp", &folder).unwrap();
        let said = labs.find(&name("a")).unwrap_err().to_string();
        assert!(said.contains("it is no folder"), "{said}");
    }

    #[test]
    fn a_runtime_folder_must_be_absolute() {
        assert_eq!(Labs::of(Some(Path::new("here"))), Labs::of(None));
    }
}
