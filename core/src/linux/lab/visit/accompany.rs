//! A program runs, and this process stands for it here: as long as it lives, stopped while it is stopped.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::libc::SI_USER;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// Waits for a child's end: its exit status, or 128 and the number of the signal that ended it.
pub(super) fn accompany(child: Pid, signals: &SignalFd, terminal: Option<&Terminal>) -> nix::Result<u8> {
    let status = loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED))? {
            // Only the low 8 bits of a status ever come here.
            WaitStatus::Exited(_, code) => break u8::try_from(code).unwrap_or(u8::MAX),
            WaitStatus::Signaled(_, signal, _) => break 128 | signal as u8,
            WaitStatus::Stopped(..) => rest(child, terminal)?,
            WaitStatus::StillAlive
            | WaitStatus::Continued(_)
            | WaitStatus::PtraceEvent(..)
            | WaitStatus::PtraceSyscall(_) => pass_on(child, signals)?,
        }
    };
    terminal.map_or(Ok(None), Terminal::take_back)?;
    Ok(status)
}

/// Waits for a signal, and passes it on where it was meant for this process alone: the terminal's own go to all of the
/// process group, and the child is in it.
fn pass_on(child: Pid, signals: &SignalFd) -> nix::Result<()> {
    let Some(sent) = signals.read_signal()? else { return Ok(()) };
    let signal = Signal::try_from(i32::try_from(sent.ssi_signo).unwrap_or_default())?;
    if sent.ssi_code <= SI_USER && signal != Signal::SIGCHLD {
        kill(child, signal)?;
    }
    Ok(())
}

/// The child has stopped: so does this process, for whoever started it to see, until it is told to go on.
fn rest(child: Pid, terminal: Option<&Terminal>) -> nix::Result<()> {
    let had = terminal.map_or(Ok(None), Terminal::take_back)?;
    raise(Signal::SIGSTOP)?;
    if let (Some(terminal), Some(had)) = (terminal, had) {
        terminal.give_back(had);
    }
    kill(child, Signal::SIGCONT)
}

/// The terminal, where this process's group was in the foreground of it.
pub(super) struct Terminal(OwnedFd);

impl Terminal {
    pub(super) fn find() -> Option<Self> {
        let standard = [io::stdin().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()];
        let ours = |fd: &OwnedFd| tcgetpgrp(fd).is_ok_and(|foreground| foreground == getpgrp());
        standard.into_iter().flatten().find(ours).map(Self)
    }

    /// Puts this process's group in the foreground again; the group that was there, if it was another. A shell that ran
    /// inside cannot: it does not see this group.
    fn take_back(&self) -> nix::Result<Option<Pid>> {
        match tcgetpgrp(&self.0) {
            Ok(foreground) if foreground != getpgrp() => {
                tcsetpgrp(&self.0, getpgrp()).map(|()| Some(foreground))
            }
            // A terminal that has gone is nobody's.
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Puts another group in the foreground, where this process's is.
    fn give_back(&self, to: Pid) {
        if tcgetpgrp(&self.0).is_ok_and(|foreground| foreground == getpgrp()) {
            // That group may have ended, or the terminal may have gone.
            let _ = tcsetpgrp(&self.0, to);
        }
    }
}
