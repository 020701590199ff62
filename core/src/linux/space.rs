//! Namespaces, held by descriptor (man 7 namespaces).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;

use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;

use crate::probe::NsKind;

/// A namespace that lives as long as this does, whoever is in it.
#[derive(Debug)]
pub struct Space {
    kind: NsKind,
    fd: OwnedFd,
}

impl Space {
    /// A namespace whose descriptor somebody sent.
    #[must_use]
    pub const fn of(kind: NsKind, fd: OwnedFd) -> Self {
        Self { kind, fd }
    }

    /// The namespace this process is in.
    ///
    /// # Errors
    /// Where /proc is not mounted, or the kernel has no such namespaces.
    pub fn current(kind: NsKind) -> io::Result<Self> {
        Self::open(kind, "thread-self")
    }

    /// The namespace that a process is in; `process` is its number, or `thread-self`.
    ///
    /// # Errors
    /// Where there is no such process, or no right to look at it.
    pub fn open(kind: NsKind, process: &str) -> io::Result<Self> {
        let file = File::open(format!("/proc/{process}/ns/{}", file_name(kind)))?;
        Ok(Self { kind, fd: file.into() })
    }

    /// Which kind.
    #[must_use]
    pub const fn kind(&self) -> NsKind {
        self.kind
    }

    /// The number that the kernel tells it from others of its kind by.
    ///
    /// # Errors
    /// As `fstat` says.
    pub fn number(&self) -> io::Result<u64> {
        Ok(fstat(&self.fd)?.st_ino)
    }

    /// Goes there, for good.
    ///
    /// # Errors
    /// As `setns` says (man 2 setns).
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.fd, flag(self.kind))?)
    }

    /// Goes there, does something, and comes back: a socket stays in the namespace it was opened in.
    ///
    /// A PID namespace is only that of children (man 2 setns), and there is no way back from a user namespace: neither
    /// is for this.
    ///
    /// # Errors
    /// As `setns` says of the way there. Where there is no way back the process ends: it would go on in the wrong
    /// place.
    pub fn inside<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let home = Self::current(self.kind)?;
        self.enter()?;
        let done = work();
        if home.enter().is_err() {
            process::abort();
        }
        Ok(done)
    }
}

impl AsFd for Space {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The namespace's name under /proc/PID/ns.
#[must_use]
pub const fn file_name(kind: NsKind) -> &'static str {
    match kind {
        NsKind::Network => "net",
        NsKind::Mount => "mnt",
        NsKind::Ipc => "ipc",
        NsKind::Pid => "pid",
        NsKind::Uts => "uts",
        NsKind::User => "user",
        NsKind::Cgroup => "cgroup",
    }
}

/// The flag of `clone`, `unshare` and `setns`.
#[must_use]
pub const fn flag(kind: NsKind) -> CloneFlags {
    match kind {
        NsKind::Network => CloneFlags::CLONE_NEWNET,
        NsKind::Mount => CloneFlags::CLONE_NEWNS,
        NsKind::Ipc => CloneFlags::CLONE_NEWIPC,
        NsKind::Pid => CloneFlags::CLONE_NEWPID,
        NsKind::Uts => CloneFlags::CLONE_NEWUTS,
        NsKind::User => CloneFlags::CLONE_NEWUSER,
        NsKind::Cgroup => CloneFlags::CLONE_NEWCGROUP,
    }
}
