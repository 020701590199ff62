//! What the first process of a PID namespace owes the others: it takes note of the ends of those that nobody else
//! waits for, and passes signals on (man 7 pid_namespaces).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use super::user::User;

/// The signals that are passed on to the command, as `docker kill` and `docker stop` send them.
const PASSED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

thread_local! {
    /// Who waits for which child. An agent has one thread.
    static WAITING: RefCell<BTreeMap<i32, oneshot::Sender<ExitStatus>>> = const { RefCell::new(BTreeMap::new()) };
    /// Whom programs run as.
    static USER: RefCell<Option<User>> = const { RefCell::new(None) };
    /// The command that the container is there for.
    static COMMAND: Cell<Option<Pid>> = const { Cell::new(None) };
}

/// A child of this process.
#[derive(Debug)]
pub struct Running {
    /// Its number here.
    pub pid: Pid,
    /// How it ended, when it has.
    pub exit: oneshot::Receiver<ExitStatus>,
}

/// Says whom programs run as from now on; before, it is whoever this process is.
pub(super) fn run_as(user: User) {
    USER.set(Some(user));
}

/// Starts a program as the container's user. All of an agent's children are started here: whoever else waited for one
/// would miss its end.
///
/// # Errors
/// Where there is no such program, or no right to it.
pub fn spawn(command: &mut Command) -> io::Result<Running> {
    USER.with_borrow(|user| user.as_ref().into_iter().for_each(|user| user.runs(command)));
    let child = command.spawn()?;
    let (told, exit) = oneshot::channel();
    let pid = child.id().cast_signed();
    WAITING.with_borrow_mut(|waiting| waiting.insert(pid, told));
    Ok(Running { pid: Pid::from_raw(pid), exit })
}

/// Names the child that signals are passed on to.
pub fn pass_signals_to(command: Pid) {
    COMMAND.set(Some(command));
}

/// Holds signals back until [`serve`] hears them: one that comes before that would be lost on the first process of a
/// PID namespace (man 7 pid_namespaces).
pub(super) fn hold_signals() -> nix::Result<()> {
    PASSED.into_iter().collect::<SigSet>().thread_block()
}

/// Takes note of ends and passes signals on, until one asks this process to end.
///
/// # Errors
/// Where signals cannot be waited for.
pub(super) async fn serve() -> io::Result<()> {
    let mut ends = signal(SignalKind::child())?;
    let mut passed = listen()?;
    PASSED.into_iter().collect::<SigSet>().thread_unblock()?;
    loop {
        tokio::select! {
            _ = ends.recv() => reap(),
            sent = passed.recv() => match (COMMAND.get(), sent) {
                // Where it has ended there is nobody to be told.
                (Some(command), Some(sent)) => _ = kill(command, sent),
                (None, Some(Signal::SIGTERM)) | (_, None) => return Ok(()),
                // The first process of a PID namespace is deaf to the others where it does nothing with them.
                (None, Some(_)) => {}
            },
        }
    }
}

/// The signals that come, one after another.
fn listen() -> io::Result<mpsc::Receiver<Signal>> {
    let (told, heard) = mpsc::channel(1);
    for sort in PASSED {
        let (mut signals, told) = (signal(SignalKind::from_raw(sort as i32))?, told.clone());
        spawn_local(async move { while signals.recv().await.is_some() && told.send(sort).await.is_ok() {} });
    }
    Ok(heard)
}

/// Takes note of every child that has ended: its own, and those whose parents ended before them.
fn reap() {
    // There is an error where there is no child, and none where no child has ended.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let pid = pid.as_raw_nonzero().get();
        if COMMAND.get() == Some(Pid::from_raw(pid)) {
            COMMAND.set(None);
        }
        let waits = WAITING.with_borrow_mut(|waiting| waiting.remove(&pid));
        // Whoever waited may have gone.
        let _ = waits.map(|told| told.send(ExitStatus::from_raw(status.as_raw())));
    }
}
