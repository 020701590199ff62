//! A virtual machine: QEMU with a kernel, our initramfs, a console that is watched, and a port for orders.
//!
//! Nothing of it is on disk: the initramfs is in memory, and orders go over a pair of sockets. It ends with whoever booted
//! it. What it comes to is what its first process says, never QEMU's exit status: a kernel that panics ends it with 0.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use seatrial_core::linux::Error;
use seatrial_core::linux::request::Answer;

use crate::channel::{Hello, Order, PORT, What, Word};
use crate::initramfs;
use crate::kernels::Kernel;

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";
/// How to get it.
const INSTALL: &str = "install qemu-system-x86 (scripts/setup.sh does)";
/// How much memory a machine has, in MiB.
const MEMORY: u32 = 1024;
/// How many lines of the console are kept.
const LINES: usize = 400;
/// How many of them are shown where a guest has fallen silent.
const SHOWN: usize = 12;
/// What the kernel says when something is wrong with itself (lib/dump_stack.c, kernel/panic.c, mm/oom_kill.c, lockdep).
const SPLATS: [&str; 9] = [
    "Kernel panic",
    "BUG:",
    "Oops:",
    "WARNING: CPU",
    "general protection fault",
    "INFO: task",
    "rcu: INFO:",
    "Out of memory",
    "possible circular locking",
];

/// A machine that has come up.
#[derive(Debug)]
pub(crate) struct Machine {
    emulator: Mutex<Emulator>,
    port: Mutex<UnixStream>,
    shared: Arc<Shared>,
    stages: AtomicU64,
    hello: Hello,
    limit: Duration,
}

/// QEMU, and who reads its console. It ends with this.
#[derive(Debug)]
struct Emulator {
    process: Child,
    watcher: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Ends it, and waits until all that it said has been read.
    fn end(&mut self) -> io::Result<ExitStatus> {
        // It may have ended by itself: that is what is wanted.
        let _ = self.process.kill();
        let status = self.process.wait();
        let _ = self.watcher.take().map(JoinHandle::join);
        status
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What those who listen to the machine leave for those who ask.
#[derive(Debug, Default)]
struct Shared {
    console: Mutex<Console>,
    /// Who waits for an answer about which stage; no more where the guest has gone.
    waiting: Mutex<Option<BTreeMap<u64, Sender<Said>>>>,
}

type Said = Result<Vec<Answer>, Error>;

#[derive(Debug, Default)]
struct Console {
    lines: VecDeque<String>,
    /// The first line in which the kernel complains of itself.
    splat: Option<String>,
}

/// Whether there is an emulator.
///
/// # Errors
/// Where it cannot be run, with how to get it.
pub(crate) fn available() -> io::Result<()> {
    let run = Command::new(QEMU).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match run {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(io::Error::other(format!("{QEMU} --version ended with {status}; {INSTALL}"))),
        Err(e) => Err(io::Error::new(e.kind(), format!("cannot run {QEMU}: {e}; {INSTALL}"))),
    }
}

impl Machine {
    /// Boots a kernel, with a program that calls [`crate::guest::entry`] as its first process. The machine ends with the
    /// thread that calls this. `limit` is how long it may be silent.
    ///
    /// # Errors
    /// What could not be read or run, or why nothing came of it, with the end of the console.
    pub(crate) fn boot(kernel: &Kernel, program: &Path, limit: Duration) -> io::Result<Self> {
        let initramfs = in_memory(&initramfs::pack(program, kernel.modules.as_deref())?)?;
        let (port, theirs) = UnixStream::pair()?;
        let (console, output) = io::pipe()?;
        let process = command(kernel, &initramfs, theirs.into(), output)?
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("cannot run {QEMU}: {e}; {INSTALL}")))?;
        let shared = Arc::new(Shared::default());
        *lock(&shared.waiting) = Some(BTreeMap::new());
        let (ready, hello) = mpsc::channel();
        let watcher = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.watch(console))
        };
        let mut emulator = Emulator { process, watcher: Some(watcher) };
        {
            let (shared, port) = (Arc::clone(&shared), port.try_clone()?);
            thread::spawn(move || shared.listen(port, &ready));
        }
        match hello.recv_timeout(limit) {
            Ok(hello) => {
                let (emulator, port) = (Mutex::new(emulator), Mutex::new(port));
                Ok(Self { emulator, port, shared, stages: AtomicU64::new(0), hello, limit })
            }
            Err(silence) => {
                let status = emulator.end()?;
                let why = match silence {
                    RecvTimeoutError::Timeout => format!("it said nothing for {} s", limit.as_secs()),
                    RecvTimeoutError::Disconnected => format!("it ended before it said anything ({status})"),
                };
                Err(io::Error::other(format!("kernel {}: {why}{}", kernel.version, shared.tail())))
            }
        }
    }

    /// What the guest said when it came up.
    pub(crate) const fn hello(&self) -> &Hello {
        &self.hello
    }

    /// A number for a stage to come.
    pub(crate) fn next_stage(&self) -> u64 {
        self.stages.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the guest to do something with a stage, and waits until it is done; `more` is how long that may take beyond
    /// what anything may.
    ///
    /// # Errors
    /// What the guest says, or that it says nothing more.
    pub(crate) fn order(&self, stage: u64, what: What, more: Duration) -> Said {
        let broken = |cause: String| {
            let machine = format!("the virtual machine of {}", self.hello.release);
            Error::words("ask", machine, format!("{cause}{}", self.shared.tail()))
        };
        // Nobody else waits as long for a machine that hangs.
        let lost = |cause: String| {
            let _ = lock(&self.emulator).end();
            broken(cause)
        };
        let (sender, said) = mpsc::channel();
        match lock(&self.shared.waiting).as_mut() {
            Some(waiting) => waiting.insert(stage, sender),
            None => return Err(lost("it has ended".to_owned())),
        };
        self.send(&Order { stage, what }).map_err(|e| lost(e.to_string()))?;
        let said = said.recv_timeout(self.limit + more).map_err(|silence| match silence {
            RecvTimeoutError::Timeout => {
                lost(format!("it said nothing for {} s, and was ended", (self.limit + more).as_secs()))
            }
            RecvTimeoutError::Disconnected => lost("it has ended".to_owned()),
        })?;
        match lock(&self.shared.console).splat.clone() {
            Some(_) => Err(broken("its kernel complains of itself".to_owned())),
            None => said,
        }
    }

    /// Tells the guest that a stage is needed no more.
    pub(crate) fn end(&self, stage: u64) {
        lock(&self.shared.waiting).iter_mut().for_each(|waiting| drop(waiting.remove(&stage)));
        // A guest that has gone has ended its stages.
        let _ = self.send(&Order { stage, what: What::End });
    }

    fn send(&self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        lock(&self.port).write_all(&line)
    }
}

impl Shared {
    /// Keeps the end of the console, and the first word of a kernel about its own mistakes.
    fn watch(&self, console: impl Read) {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let mut console = lock(&self.console);
            if console.splat.is_none() && SPLATS.iter().any(|splat| line.contains(splat)) {
                console.splat = Some(line.clone());
            }
            if console.lines.len() == LINES {
                console.lines.pop_front();
            }
            console.lines.push_back(line);
        }
    }

    /// Hands what the guest says to whoever waits for it.
    fn listen(&self, port: UnixStream, ready: &Sender<Hello>) {
        for line in BufReader::new(port).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Word::Ready(hello)) => drop(ready.send(hello)),
                Ok(Word::Said { stage, said }) => {
                    let waiting = lock(&self.waiting).as_mut().and_then(|waiting| waiting.remove(&stage));
                    // Nobody waits any more for what came too late.
                    let _ = waiting.map(|waiting| waiting.send(said));
                }
                Err(_) => break,
            }
        }
        *lock(&self.waiting) = None;
    }

    /// The end of the console, from the kernel's complaint on where there is one.
    fn tail(&self) -> String {
        let console = lock(&self.console);
        let from = match &console.splat {
            Some(splat) => console.lines.iter().position(|line| line == splat).unwrap_or(0),
            None => console.lines.len().saturating_sub(SHOWN),
        };
        let mut tail = String::from("; its console ends:");
        for line in console.lines.iter().skip(from).take(SHOWN) {
            let _ = write!(tail, "\n  {line}");
        }
        tail
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is nowhere, for QEMU to find under the same number.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"initramfs", MFdFlags::empty())?);
    file.write_all(bytes)?;
    Ok(file)
}

/// q35, as it is where nothing needs more; what would change the kernel under test is left out.
fn command(kernel: &Kernel, initramfs: &File, port: OwnedFd, output: io::PipeWriter) -> io::Result<Command> {
    let mut command = Command::new(QEMU);
    command
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-machine",
            "q35,accel=tcg",
        ])
        .args(["-smp", "1", "-m", &MEMORY.to_string()])
        .arg("-kernel")
        .arg(&kernel.image)
        .args(["-initrd", &format!("/proc/self/fd/{}", initramfs.as_raw_fd())])
        .args(["-append", "console=ttyS0 panic=-1 cryptomgr.notests loglevel=5"])
        .args(["-chardev", "file,id=console,path=/proc/self/fd/1", "-serial", "chardev:console"])
        .args(["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"])
        .args([
            "-chardev",
            "socket,id=port,fd=0",
            "-device",
            &format!("virtserialport,chardev=port,name={PORT}"),
        ])
        .stdin(port)
        .stdout(output.try_clone()?)
        .stderr(output);
    // SAFETY: between fork and exec nothing is called but prctl, which is safe there.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(console: &str) -> Shared {
        let shared = Shared::default();
        shared.watch(console.as_bytes());
        shared
    }

    #[test]
    fn a_kernel_that_complains_of_itself_is_heard_and_quoted_from_there_on() {
        let quiet = watched("[ 0.1] Linux version 6.12\r\n[ 0.2] random: crng init done\r\n");
        assert_eq!(lock(&quiet.console).splat, None);
        assert!(quiet.tail().ends_with("[ 0.2] random: crng init done"), "{}", quiet.tail());
        let lines: String = (0..50).map(|n| format!("line {n}\n")).collect();
        for splat in
            ["BUG: kernel NULL pointer dereference", "INFO: task veth:7 blocked for more than 122 seconds"]
        {
            let loud = watched(&format!("before\n[ 5.0] {splat}\n{lines}"));
            assert!(loud.tail().starts_with(&format!("; its console ends:\n  [ 5.0] {splat}\n  line 0\n")));
            assert!(!loud.tail().contains("before"));
        }
    }

    #[test]
    fn who_waits_for_a_guest_that_goes_hears_so() {
        let shared = Shared::default();
        let ((ready, hello), (sender, said)) = (mpsc::channel(), mpsc::channel());
        *lock(&shared.waiting) = Some(BTreeMap::from([(7, sender)]));
        let (port, mut guest) = UnixStream::pair().unwrap();
        guest.write_all(b"{\"ready\":{\"release\":\"6.1\",\"refused\":[]}}\nnonsense\n").unwrap();
        shared.listen(port, &ready);
        assert_eq!(hello.recv().unwrap().release, "6.1");
        assert!(said.recv().is_err() && lock(&shared.waiting).is_none());
    }
}
