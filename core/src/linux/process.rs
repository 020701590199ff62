//! A node's first process, as the stage starts and ends it.
//!
//! It is this program again, in namespaces that the stage has made; those of processes and of mounts it makes itself
//! ([`node`](super::node)), and the stage gets descriptors of them.
//!
//! A new PID namespace begins with a process that is born in it, and its parent stays outside. So the process that the
//! stage starts is only a go-between: it is born in the machine's PID namespace, which is why the machine sees the
//! container's processes, makes the container's, and ends when that has its first process. That one's parent is then
//! the machine's first process, as a shim is on a real host.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt::PassCred};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use super::space::Space;
use super::{Error, entry, pass};
use crate::plan::{MountRoot, Process};
use crate::probe::NsKind;

/// What a process is started with.
#[derive(Debug)]
pub struct Start<'a> {
    /// The program: one that calls [`entry`](super::entry()) first.
    pub program: &'a Path,
    /// The node.
    pub process: &'a Process,
    /// The namespaces that exist and that it goes into. Where there is none of processes it gets a new one; that of
    /// mounts is always new; of any other kind it stays in the stage's.
    pub spaces: BTreeMap<NsKind, &'a Space>,
    /// The PID namespace that a new one is made in: the machine's. None for a machine.
    pub pid_parent: Option<&'a Space>,
    /// What it finds mounted.
    pub root: &'a MountRoot,
    /// A folder with the files of its mount namespace: each is bind-mounted, so that what is written into one later
    /// is seen inside.
    pub files: &'a Path,
    /// The folder that is its /dev/shm; none where there is none.
    pub shm: Option<&'a Path>,
}

/// What the process is told; the descriptors of `spaces` come with it, in that order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Birth {
    /// The node.
    pub(super) process: Process,
    /// The kinds of the namespaces it goes into.
    pub(super) spaces: Vec<NsKind>,
    /// Whether it makes a PID namespace.
    pub(super) new_pid: bool,
    /// See [`Start`].
    pub(super) root: MountRoot,
    /// See [`Start`].
    pub(super) files: PathBuf,
    /// See [`Start`].
    pub(super) shm: Option<PathBuf>,
}

/// What the process says when it is ready, or why it is not; with descriptors of the namespaces in [`MADE`].
pub(super) type Word = Result<(), Error>;

/// The kinds of namespaces of which the stage gets a descriptor.
pub(super) const MADE: [NsKind; 2] = [NsKind::Pid, NsKind::Mount];

/// A node that runs. It ends with this.
#[derive(Debug)]
pub struct Node {
    /// Its PID namespace and its mount namespace.
    pub spaces: Vec<Space>,
    object: String,
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    control: Option<UnixStream>,
    /// Whether it was started here, and ends with this.
    own: bool,
}

/// Starts a node's process and waits until it is ready for orders.
///
/// # Errors
/// What could not be entered, made or mounted, in the words of the process itself.
pub async fn start(start: &Start<'_>) -> Result<Node, Error> {
    let object = format!("process {}", start.process.node);
    let failed = |e: io::Error| Error::new("start", object.clone(), &e);
    let (control, theirs) = Socket::pair().map_err(failed)?;
    setsockopt(&control, PassCred, &true).map_err(|e| failed(e.into()))?;
    let mut first = First(spawn(start, theirs).map_err(failed)?);
    tell(start, &control).map_err(failed)?;
    control.set_nonblocking(true).map_err(failed)?;
    let control = UnixStream::from_std(control).map_err(failed)?;
    let Some((word, parcel)) = hear(&control).await.map_err(failed)? else {
        let how = first.0.wait().map_err(failed)?;
        return Err(Error::words("start", object, format!("it ended before it was ready: {how}")));
    };
    word?;
    if is_new(start) {
        // The go-between has done its work.
        first.0.wait().map_err(failed)?;
    }
    std::mem::forget(first);
    Node::of(object.clone(), control, parcel).map_err(failed)
}

/// The process that is started first; it goes with what could not be.
struct First(Child);

impl Drop for First {
    fn drop(&mut self) {
        // It may have ended by itself, and that is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_new(start: &Start<'_>) -> bool {
    !start.spaces.contains_key(&NsKind::Pid)
}

/// Starts the process where it is to be born: a process cannot change its PID namespace afterwards.
fn spawn(start: &Start<'_>, control: Socket) -> io::Result<Child> {
    let mut command = entry::command(start.program, control);
    match start.spaces.get(&NsKind::Pid).copied().or(start.pid_parent) {
        Some(place) => place.inside(|| command.spawn())?,
        None => command.spawn(),
    }
}

fn tell(start: &Start<'_>, control: &Socket) -> io::Result<()> {
    let entered = start.spaces.iter().filter(|(kind, _)| !MADE.contains(kind));
    let (kinds, fds): (Vec<NsKind>, Vec<BorrowedFd<'_>>) =
        entered.map(|(kind, s)| (*kind, s.as_fd())).unzip();
    let birth = Birth {
        process: start.process.clone(),
        spaces: kinds,
        new_pid: is_new(start),
        root: start.root.clone(),
        files: start.files.to_owned(),
        shm: start.shm.map(Path::to_owned),
    };
    let mut line = serde_json::to_vec(&birth)?;
    line.push(b'\n');
    pass::send(control.as_fd(), &line, &fds)
}

/// What the process says of itself; none where it ends without a word.
async fn hear(control: &UnixStream) -> io::Result<Option<(Word, pass::Parcel)>> {
    let mut parcel = pass::Parcel::default();
    while parcel.bytes.last() != Some(&b'\n') {
        let next = control.async_io(Interest::READABLE, || pass::receive(control.as_fd())).await?;
        match parcel.add(next) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
    }
    Ok(Some((serde_json::from_slice(&parcel.bytes)?, parcel)))
}

impl Node {
    fn of(object: String, control: UnixStream, parcel: pass::Parcel) -> io::Result<Self> {
        setsockopt(&control, PassCred, &false)?;
        let pid = parcel.from.and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: the descriptor is this object's own, and stays the same until it is closed with it.
        let pidfd = unsafe { AsyncFd::register(pidfd) }?;
        let spaces = MADE.into_iter().zip(parcel.fds).map(|(kind, fd)| Space::of(kind, fd)).collect();
        Ok(Self { spaces, object, pid, pidfd, control: Some(control), own: true })
    }

    /// A process that somebody else started, and ends, and that called at a socket.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn caller(name: &str, control: UnixStream) -> io::Result<Self> {
        let pid = control.peer_cred()?.pid().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: as above.
        let pidfd = unsafe { AsyncFd::register(pidfd) }?;
        let object = format!("process {name}");
        Ok(Self { spaces: Vec::new(), object, pid, pidfd, control: Some(control), own: false })
    }

    /// Its number in the stage's PID namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The socket on which it takes orders. There is one, and whoever asks first has it; when it is closed the process
    /// ends.
    ///
    /// # Errors
    /// Where it has been asked for before.
    pub fn control(&mut self) -> Result<UnixStream, Error> {
        self.control.take().ok_or_else(|| Error::words("command", self.object.clone(), "somebody else does"))
    }

    /// Waits until it has ended, and with it all processes of a PID namespace that it was the first of.
    ///
    /// # Errors
    /// As the kernel says (man 2 pidfd_open).
    pub async fn exited(&self) -> Result<(), Error> {
        let failed = |e: io::Error| Error::new("wait for", self.object.clone(), &e);
        self.pidfd.readable().await.map_err(failed)?.retain_ready();
        match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
            // It is a child of the machine's first process, not of this one, or was asked for before.
            Ok(_) | Err(Errno::ECHILD) => Ok(()),
            Err(e) => Err(failed(e.into())),
        }
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// As the kernel says (man 2 poll).
    pub fn has_exited(&self) -> Result<bool, Error> {
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::ZERO);
        ready.map(|n| n > 0).map_err(|e| Error::new("look for", self.object.clone(), &e.into()))
    }

    /// With which status it ended, as a shell says it: 128 and more for a signal. None while it runs, and where the kernel
    /// does not say so of a process that is not this one's child (before 6.15).
    #[must_use]
    pub fn status(&self) -> Option<u8> {
        match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
            Ok(WaitStatus::Exited(_, code)) => u8::try_from(code).ok(),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(128 | signal as u8),
            // It is a child of the machine's first process, not of this one, or was asked for before.
            Err(_) => info(self.pidfd.as_fd()),
            Ok(_) => None,
        }
    }

    /// Ends it, and waits until it has ended.
    ///
    /// # Errors
    /// Where it may not be ended.
    pub async fn stop(self) -> Result<(), Error> {
        self.signal(Signal::KILL)?;
        self.exited().await.map(drop)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        match pidfd_send_signal(&self.pidfd, signal) {
            // It has ended by itself.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(Error::new("end", self.object.clone(), &e.into())),
        }
    }
}

/// With which status a process ended that has been waited for (man 2 PIDFD_GET_INFO).
fn info(pidfd: BorrowedFd<'_>) -> Option<u8> {
    // SAFETY: all of it is numbers, and of each 0 is one.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the kernel writes no more than the size that is part of the request.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    let told = done == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    let status = told.then(|| ExitStatus::from_raw(info.exit_code))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 | signal))?;
    u8::try_from(code).ok()
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.own {
            // Where it has ended by itself, that is what is wanted.
            let _ = self.signal(Signal::KILL);
        }
    }
}
