//! A virtual machine: QEMU with a kernel, our initramfs, a console that is watched, and a port for orders; saved once it
//! has come up, and restored from then on.
//!
//! Nothing of it is on disk but what is saved: the initramfs is in memory, and orders go over a pair of sockets. It ends
//! with whoever started it. What it comes to is what its first process says, never QEMU's exit status: a kernel that panics
//! ends it with 0.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use seatrial_core::engine::Version;
use xxhash_rust::xxh3::Xxh3;

use crate::cache;
use crate::channel::{Order, Own, Wake};
use crate::initramfs::Content;
use crate::kernels::{Kernel, vmlinux};
use command::{APPEND, MEMORY, QEMU, hardware, in_memory};
use machine::{Start, send};
use monitor::Monitor;
use saved::{Saved, Store};

mod accel;
mod command;
mod console;
mod emulator;
mod machine;
mod monitor;
mod saved;
mod wire;

pub use accel::Accel;
pub(crate) use accel::kvm_may_run;
pub(crate) use emulator::lock;
pub(crate) use machine::{Keyboard, Machine};
pub(crate) use wire::Wire;

/// How to get QEMU.
const INSTALL: &str = "install qemu-system-x86 (scripts/setup.sh does)";
/// What names another folder of saved machines. An empty name is none: nothing is saved.
const VARIABLE: &str = "SEATRIAL_MACHINES";
/// How long a restored machine may take to say its first word. It says it within half a second, or a few where all cores
/// are taken by others.
const WAKING: Duration = Duration::from_secs(10);

/// Where machines are saved: the folder of the environment, or of the user's cache.
#[must_use]
pub fn saved() -> Option<PathBuf> {
    cache::folder(VARIABLE, "machines").filter(|folder| !folder.as_os_str().is_empty())
}

/// Whether there is an emulator.
///
/// # Errors
/// Where it cannot be run, with how to get it.
pub(crate) fn available() -> io::Result<()> {
    version().map(drop)
}

/// What the emulator says it is. It is asked once: it takes its time to start.
fn version() -> io::Result<Vec<u8>> {
    static SAID: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(said) = SAID.get() {
        return Ok(said.clone());
    }
    match Command::new(QEMU).arg("--version").stderr(Stdio::null()).output() {
        Ok(said) if said.status.success() => Ok(SAID.get_or_init(|| said.stdout).clone()),
        Ok(said) => Err(io::Error::other(format!("{QEMU} --version ended with {}; {INSTALL}", said.status))),
        Err(e) => Err(cannot_run(&e)),
    }
}

fn cannot_run(e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("cannot run {QEMU}: {e}; {INSTALL}"))
}

/// How a machine is booted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boot<'a> {
    /// What is booted.
    pub(crate) kernel: &'a Kernel,
    /// A program that calls [`crate::guest::entry`]: the machine's first process.
    pub(crate) program: &'a Path,
    /// How long it may be silent.
    pub(crate) limit: Duration,
    /// What carries it out.
    pub(crate) accel: Accel,
    /// A folder to leave its console and its initramfs in. It is booted then, to say all there is to say.
    pub(crate) keep: Option<&'a Path>,
    /// The folder of saved machines. Only an emulated one is saved: another processor need not take up where this one
    /// stopped.
    pub(crate) saved: Option<&'a Path>,
    /// What it has beside what all have.
    pub(crate) extras: Extras,
}

/// What a machine has beside what all have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// A NIC, which is on a wire.
    pub(crate) nic: bool,
    /// A disk.
    pub(crate) disk: bool,
    /// A shell, and what is typed there.
    pub(crate) shell: bool,
}

/// What a machine is given that is not its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outside<'a> {
    /// The wire that its NIC is on.
    pub(crate) wire: Option<&'a Wire>,
    /// Its disk.
    pub(crate) disk: Option<&'a Disk>,
}

/// A disk: an image of an ext4 file system. `IMAGE[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The image.
    pub path: PathBuf,
    /// Whether it may be written to.
    pub writable: bool,
}

impl From<&str> for Disk {
    fn from(text: &str) -> Self {
        match text.strip_suffix(":ro") {
            Some(path) => Self { path: path.into(), writable: false },
            None => Self { path: text.into(), writable: true },
        }
    }
}

/// What became of machines that were started.
#[derive(Debug, Default)]
struct Past {
    /// How many have been booted.
    booted: AtomicU64,
    /// What kept saved machines from being of use, or from being made.
    remarks: Mutex<BTreeSet<String>>,
}

/// All that machines of one kind start with.
#[derive(Debug)]
pub(crate) struct Kit<'a> {
    boot: Boot<'a>,
    image: Arc<[u8]>,
    content: Arc<Content>,
    /// Where a machine of this kind is saved, by which name.
    store: Option<(Store, String)>,
    /// What became of them, and of the same with other extras.
    past: Arc<Past>,
    /// The chance that machines of this kind began with.
    chances: Mutex<BTreeSet<[u8; 16]>>,
}

impl<'a> Kit<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn gather(boot: Boot<'a>) -> io::Result<Self> {
        let path = &boot.kernel.image;
        let of = |e: io::Error| io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display()));
        let image = fs::read(path).map_err(of)?;
        let mut content = Content::gather(boot.program, boot.kernel.modules.as_deref())?;
        if boot.extras.shell {
            content.take_shell()?;
        }
        Self::of(boot, image.into(), content.into(), Arc::default())
    }

    /// What machines of the same kind with a NIC start with.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn wired(&self) -> io::Result<Self> {
        let boot = Boot { extras: Extras { nic: true, ..self.boot.extras }, ..self.boot };
        Self::of(boot, Arc::clone(&self.image), Arc::clone(&self.content), Arc::clone(&self.past))
    }

    fn of(boot: Boot<'a>, image: Arc<[u8]>, content: Arc<Content>, past: Arc<Past>) -> io::Result<Self> {
        let folder = boot.saved.filter(|_| boot.accel == Accel::Tcg && boot.keep.is_none());
        let mut kit = Self { boot, image, content, store: None, past, chances: Mutex::default() };
        if let Some(folder) = folder {
            kit.store = Some((Store::new(folder.to_owned(), MEMORY), kit.name()?));
        }
        Ok(kit)
    }

    /// The kernel's version.
    pub(crate) const fn kernel(&self) -> Version {
        self.boot.kernel.version
    }

    /// What tells machines of this kind from all others.
    fn name(&self) -> io::Result<String> {
        let mut digest = Xxh3::new();
        digest.update(&version()?);
        digest.update(hardware(self.boot.accel, self.boot.extras).join("\0").as_bytes());
        digest.update(APPEND.as_bytes());
        digest.update(&self.image);
        self.content.mark(&mut digest)?;
        Ok(saved::name(&digest))
    }

    /// Starts a machine: a copy of the saved one, where there is one that is as it should be, and else a new one, which is
    /// saved. Where it has a NIC it is on this wire. The machine ends with the thread that calls this.
    ///
    /// # Errors
    /// What could not be read, written or run, or why nothing came of it, with what its console says.
    pub(crate) fn start(&self, wire: Option<&Wire>) -> io::Result<Machine> {
        let outside = Outside { wire, disk: None };
        let Some((store, name)) = &self.store else { return self.boot(outside) };
        let restored =
            store.find(name).and_then(|found| found.map(|saved| self.restore(wire, &saved)).transpose());
        match restored {
            Ok(Some(machine)) => Ok(machine),
            Ok(None) => self.boot_and_save(outside, store, name),
            Err(why) => {
                store.remove(name);
                let why = why.to_string();
                let first = why.lines().next().unwrap_or_default();
                self.remark(format!("the saved machine was of no use: {first}"));
                self.boot_and_save(outside, store, name)
            }
        }
    }

    fn remark(&self, words: String) {
        lock(&self.past.remarks).insert(words);
    }

    /// What kept saved machines from being of use, or from being made: one remark behind another.
    pub(crate) fn remarks(&self) -> Option<String> {
        let remarks = lock(&self.past.remarks).iter().cloned().collect::<Vec<_>>().join("; ");
        (!remarks.is_empty()).then_some(remarks)
    }

    /// Boots a machine, whatever is saved, and saves none. The machine ends with the thread that calls this.
    ///
    /// # Errors
    /// As [`Kit::start`].
    pub(crate) fn boot(&self, outside: Outside<'_>) -> io::Result<Machine> {
        self.boot_of(outside, None)
    }

    /// Boots a machine and saves it.
    fn boot_and_save(&self, outside: Outside<'_>, store: &Store, name: &str) -> io::Result<Machine> {
        let (memory, (ours, theirs)) = (in_memory(c"memory", &[])?, UnixStream::pair()?);
        memory.set_len(MEMORY)?;
        let machine = self.boot_of(outside, Some((memory.try_clone()?, theirs)))?;
        save(ours, self.boot.limit, store, name, &memory)?
            .into_iter()
            .for_each(|unsaved| self.remark(unsaved));
        Ok(machine)
    }

    /// Boots a machine; one that is to be saved has its memory in a file, and a monitor.
    fn boot_of(&self, outside: Outside<'_>, to_save: Option<(File, UnixStream)>) -> io::Result<Machine> {
        let unpack = || {
            let path = &self.boot.kernel.image;
            let of = |e: io::Error| io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display()));
            let vmlinux = vmlinux(&self.image).map_err(of)?;
            in_memory(c"kernel", vmlinux.as_deref().unwrap_or(&self.image))
        };
        // Both take a while, and a machine has more than one core.
        let (image, packed) = thread::scope(|scope| {
            let image = scope.spawn(unpack);
            let packed = self.content.pack(self.boot.extras);
            (image.join().unwrap_or_else(|panic| resume_unwind(panic)), packed)
        });
        let (image, packed) = (image?, packed?);
        let log = self.keep().map(|folder| leave(&folder, &packed)).transpose()?;
        let initramfs = in_memory(c"initramfs", &packed)?;
        drop(packed);
        let start = Start::new(self.boot, outside.wire, log, |call| {
            call.boot(image, initramfs);
            outside.disk.iter().for_each(|disk| call.disk(disk));
            if let Some((memory, monitor)) = to_save {
                call.memory(memory, true);
                call.monitor(monitor);
            }
            Ok(())
        })?;
        let machine = start.came_up(self.boot.limit)?;
        self.alone(&machine)?;
        Ok(machine)
    }

    /// Where the next machine leaves what it has to leave: the first in the folder itself, others in one with their number.
    fn keep(&self) -> Option<PathBuf> {
        let folder = self.boot.keep?;
        let number = self.past.booted.fetch_add(1, Ordering::Relaxed);
        Some(if number == 0 { folder.to_owned() } else { folder.join(number.to_string()) })
    }

    /// Whether no other machine of this kind has the same chance.
    fn alone(&self, machine: &Machine) -> io::Result<()> {
        match &machine.hello.own {
            Some(own) if !lock(&self.chances).insert(own.chance) => {
                Err(io::Error::other("it has the same random bytes as another machine"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn restore(&self, wire: Option<&Wire>, saved: &Saved) -> io::Result<Machine> {
        let (monitor, theirs) = UnixStream::pair()?;
        let (mut state, read) = UnixStream::pair()?;
        let mut number = None;
        let start = Start::new(self.boot, wire, None, |call| {
            call.memory(saved.file.try_clone()?, false);
            call.monitor(theirs);
            number = Some(call.incoming(read));
            Ok(())
        })?;
        thread::scope(|scope| {
            let verified = scope.spawn(|| saved.verify());
            // One that QEMU does not read to the end is not restored, which it says itself.
            scope.spawn(move || state.write_all(&saved.state));
            let restored = Monitor::new(monitor, WAKING).and_then(|mut monitor| {
                number.map_or(Ok(()), |number| monitor.restore(number))?;
                Ok(monitor)
            });
            verified.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            restored
        })?;
        let wake = wake()?;
        send(&start.port, &Order::Wake(wake.clone()))?;
        let mut machine = start.came_up(self.boot.limit.min(WAKING))?;
        if let Some(own) = &machine.hello.own {
            awake(&wake, own, now())?;
        }
        self.alone(&machine)?;
        machine.limit = self.boot.limit;
        machine.restored = true;
        Ok(machine)
    }
}

/// Whether a machine has taken the time from the host: it is later for it than when it was told, and no later than it is.
///
/// # Errors
/// One that is of another time.
fn awake(told: &Wake, own: &Own, now: Duration) -> io::Result<()> {
    if (told.now..=now).contains(&own.now) {
        return Ok(());
    }
    let (own, now) = (own.now.as_secs_f64(), now.as_secs_f64());
    Err(io::Error::other(format!("its clock says {own:.3} s where it is {now:.3} s")))
}

/// Saves a machine that has come up, and lets it go on; says why it could not be saved.
///
/// # Errors
/// A machine that cannot go on.
fn save(
    monitor: UnixStream,
    limit: Duration,
    store: &Store,
    name: &str,
    memory: &File,
) -> io::Result<Option<String>> {
    let unsaved = |e: &io::Error| Some(format!("it could not be saved: {e}"));
    let mut monitor = match Monitor::new(monitor, limit) {
        Ok(monitor) => monitor,
        // It was never stopped.
        Err(e) => return Ok(unsaved(&e)),
    };
    let saved = monitor.save().and_then(|state| store.keep(name, memory, &state));
    monitor.go_on()?;
    Ok(saved.err().as_ref().and_then(unsaved))
}

/// The time, and chance.
fn wake() -> io::Result<Wake> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(Wake { now: now(), seed })
}

/// The time since 1970, UTC.
fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// Leaves an initramfs in a folder, and says where the console is to be written.
fn leave(folder: &Path, initramfs: &[u8]) -> io::Result<File> {
    let of = |e: io::Error| io::Error::new(e.kind(), format!("cannot write to {}: {e}", folder.display()));
    fs::create_dir_all(folder).map_err(of)?;
    fs::write(folder.join("initramfs.cpio"), initramfs).map_err(of)?;
    File::create(folder.join("console.log")).map_err(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_has_not_taken_the_time_is_noticed() {
        let second = Duration::from_secs;
        let told = Wake { now: second(100), seed: [0; 32] };
        let own = |now| Own { now, ..Own::default() };
        awake(&told, &own(second(100)), second(101)).unwrap();
        awake(&told, &own(second(101)), second(101)).unwrap();
        let old = awake(&told, &own(second(99)), second(101)).unwrap_err().to_string();
        assert_eq!(old, "its clock says 99.000 s where it is 101.000 s");
        awake(&told, &own(second(102)), second(101)).unwrap_err();
    }

    #[test]
    fn a_disk_is_written_to_unless_it_says_otherwise() {
        assert_eq!(Disk::from("a.ext4"), Disk { path: "a.ext4".into(), writable: true });
        assert_eq!(Disk::from("a.ext4:ro"), Disk { path: "a.ext4".into(), writable: false });
    }
}
