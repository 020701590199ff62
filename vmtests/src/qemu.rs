//! A virtual machine: QEMU with a kernel, our initramfs, a console that is watched, and a port for orders.
//!
//! Nothing of it is on disk: the initramfs is in memory, and orders go over a pair of sockets. It ends with whoever booted
//! it. What it comes to is what its first process says, never QEMU's exit status: a kernel that panics ends it with 0.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::resume_unwind;
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
use crate::kernels::{Kernel, vmlinux};
use console::Console;

mod accel;
mod console;

pub use accel::Accel;
pub(crate) use accel::kvm_may_run;

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";
/// How to get it.
const INSTALL: &str = "install qemu-system-x86 (scripts/setup.sh does)";
/// How much memory a machine has, in MiB.
const MEMORY: u32 = 1024;
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
    /// A folder to leave its console and its initramfs in.
    pub(crate) keep: Option<&'a Path>,
}

impl Machine {
    /// Boots a kernel. The machine ends with the thread that calls this.
    ///
    /// # Errors
    /// What could not be read, written or run, or why nothing came of it, with what its console says.
    pub(crate) fn boot(boot: Boot<'_>) -> io::Result<Self> {
        let Boot { kernel, program, limit, accel, keep } = boot;
        let unpack = || {
            let of = |e: io::Error| {
                io::Error::new(e.kind(), format!("cannot read {}: {e}", kernel.image.display()))
            };
            let image = fs::read(&kernel.image).map_err(of)?;
            in_memory(c"kernel", &vmlinux(&image).unwrap_or(image))
        };
        // Both take a while, and a machine has more than one core.
        let (image, packed) = thread::scope(|scope| {
            let image = scope.spawn(unpack);
            let packed = initramfs::pack(program, kernel.modules.as_deref());
            (image.join().unwrap_or_else(|panic| resume_unwind(panic)), packed)
        });
        let (image, packed) = (image?, packed?);
        let log = keep.map(|folder| leave(folder, &packed)).transpose()?;
        let initramfs = in_memory(c"initramfs", &packed)?;
        let (port, theirs) = UnixStream::pair()?;
        let (console, output) = io::pipe()?;
        let process = command(&image, accel, &initramfs, theirs.into(), output)?
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("cannot run {QEMU}: {e}; {INSTALL}")))?;
        let shared = Arc::new(Shared::default());
        *lock(&shared.waiting) = Some(BTreeMap::new());
        let (ready, hello) = mpsc::channel();
        let watcher = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.watch(console, log))
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
                    // One that was still on its way out has been helped.
                    RecvTimeoutError::Disconnected if status.signal() == Some(Signal::SIGKILL as i32) => {
                        "it ended before it said anything".to_owned()
                    }
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
        self.send(&Order { stage, what }).map_err(|e| {
            let gone = matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
            lost(if gone { "it has ended".to_owned() } else { e.to_string() })
        })?;
        let said = said.recv_timeout(self.limit + more).map_err(|silence| match silence {
            RecvTimeoutError::Timeout => {
                lost(format!("it said nothing for {} s, and was ended", (self.limit + more).as_secs()))
            }
            RecvTimeoutError::Disconnected => lost("it has ended".to_owned()),
        })?;
        let complained = lock(&self.shared.console).complained();
        if complained { Err(broken("its kernel complains of itself".to_owned())) } else { said }
    }

    /// Tells the guest that a stage is needed no more.
    pub(crate) fn end(&self, stage: u64) {
        lock(&self.shared.waiting).iter_mut().for_each(|waiting| drop(waiting.remove(&stage)));
        // A guest that has gone has ended its stages.
        let _ = self.send(&Order { stage, what: What::End });
    }

    /// Ends it, and reads its console to the end.
    ///
    /// # Errors
    /// That its kernel complained of itself, with its words: what was asked of it before proves nothing.
    pub(crate) fn finish(self) -> Result<(), String> {
        // It may have ended by itself, and has said so to whoever asked it something.
        let _ = lock(&self.emulator).end();
        let complained = lock(&self.shared.console).complained();
        if complained { Err(format!("its kernel complains of itself{}", self.shared.tail())) } else { Ok(()) }
    }

    fn send(&self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        lock(&self.port).write_all(&line)
    }
}

impl Shared {
    /// Reads the console to its end; a log gets all of it.
    fn watch(&self, console: impl Read, mut log: Option<File>) {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            // A log that cannot be written ends early; what the machine says is heard all the same.
            let _ = log.as_mut().map(|log| writeln!(log, "{line}"));
            lock(&self.console).hear(line);
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

    /// What the console says.
    fn tail(&self) -> String {
        lock(&self.console).tail()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves an initramfs in a folder, and says where the console is to be written.
fn leave(folder: &Path, initramfs: &[u8]) -> io::Result<File> {
    let of = |e: io::Error| io::Error::new(e.kind(), format!("cannot write to {}: {e}", folder.display()));
    fs::create_dir_all(folder).map_err(of)?;
    fs::write(folder.join("initramfs.cpio"), initramfs).map_err(of)?;
    File::create(folder.join("console.log")).map_err(of)
}

/// A file that is nowhere, for QEMU to find under the same number.
fn in_memory(name: &CStr, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MFdFlags::empty())?);
    file.write_all(bytes)?;
    Ok(file)
}

/// q35, as it is where nothing needs more; what would change the kernel under test is left out.
fn command(
    kernel: &File,
    accel: Accel,
    initramfs: &File,
    port: OwnedFd,
    output: io::PipeWriter,
) -> io::Result<Command> {
    let mut command = Command::new(QEMU);
    command
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-machine",
            &format!("q35,accel={}", accel.as_str()),
        ])
        .args(["-cpu", accel.cpu()])
        .args(["-smp", "1", "-m", &MEMORY.to_string()])
        .args(["-kernel", &format!("/proc/self/fd/{}", kernel.as_raw_fd())])
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
