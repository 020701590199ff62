//! A node's first process, from within: its namespaces, its root, its rights, and then its work.
//!
//! * `mounts`: a root of its own, put together from the machine's files.
//! * [`rights`]: capabilities and system calls, as Docker leaves them to a container.
//! * [`user`]: whom a container's programs run as.
//! * [`init`]: what the first process of a PID namespace owes the others.

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sched::unshare;
use nix::sys::prctl::{set_dumpable, set_name};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, Gid, Uid, fork, setgroups, setresgid, setresuid, setsid};

use super::process::{Birth, MADE, Word};
use super::space::{Space, flag};
use super::{Error, pass};
use crate::probe::NsKind;
use crate::topology::NodeName;

pub mod init;
pub(super) mod mounts;
mod options;
pub mod rights;
mod seccomp;
pub mod user;

/// A node's process, from its first moment to its last; `control` leads to the stage, and `serve` answers it until it
/// ends.
pub fn main(
    control: UnixStream,
    serve: impl AsyncFnOnce(tokio::net::UnixStream, &NodeName) -> io::Result<()>,
) -> ExitCode {
    match born(&control) {
        // Whoever is told is the stage, and it sees the socket close.
        Ok(Some(node)) => work(control, &node, serve).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            // Where the stage has gone there is nobody to be told.
            let _ = say(&control, &Err(error), &[]);
            ExitCode::FAILURE
        }
    }
}

/// What the agent is called in a container that a Docker Engine starts: the path of the program in its image. Its
/// argument is the node's name.
pub const CONTAINED: &str = "/seatrial-agent";
/// The socket at which it calls.
pub const CALL: &str = "/seatrial-socket";

/// The first process of a container that a Docker Engine started: it calls, and answers whoever takes the call. Its
/// namespaces, its root and its rights are the Engine's work.
pub fn contained(serve: impl AsyncFnOnce(tokio::net::UnixStream, &NodeName) -> io::Result<()>) -> ExitCode {
    let Some(node) = env::args().nth(1).map(NodeName::from) else { return ExitCode::FAILURE };
    let called = init::hold_signals().map_err(io::Error::from).and_then(|()| UnixStream::connect(CALL));
    // What goes wrong is written to the container's log.
    called.and_then(|control| work(control, &node, serve)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Becomes the node's process; none in a go-between, which has become its parent.
fn born(control: &UnixStream) -> Result<Option<NodeName>, Error> {
    let (birth, spaces) = hear(control).map_err(|e| Error::new("hear", "the stage", &e))?;
    let node = &birth.process.node;
    enter(&spaces)?;
    drop(spaces);
    if birth.new_pid && !is_first_of_new(node)? {
        return Ok(None);
    }
    let failed = |what: &str, e: Errno| Error::new("start", format!("{what} of {node}"), &e.into());
    init::hold_signals().map_err(|e| failed("signals", e))?;
    setsid().map_err(|e| failed("session", e))?;
    umask(Mode::from_bits_truncate(0o022));
    mounts::build(&birth)?;
    set_name(c"seatrial-agent").map_err(|e| failed("process", e))?;
    let made = MADE.map(Space::current).into_iter().collect::<io::Result<Vec<_>>>();
    let made = made.map_err(|e| Error::new("hold", format!("namespaces of {node}"), &e))?;
    let user = user::below(Path::new("/"), birth.process.user.as_deref());
    init::run_as(user.map_err(|e| Error::words("start", format!("process {node}"), e))?);
    rights::give_up(&birth.process)?;
    // A change of rights takes this back (man 2 PR_SET_DUMPABLE), and a container's first process is one that whoever
    // has its users' rights may look at in /proc.
    set_dumpable(true).map_err(|e| failed("process", e))?;
    say(control, &Ok(()), &made).map_err(|e| Error::new("answer", "the stage", &e))?;
    Ok(Some(birth.process.node))
}

/// What the process is told, and the namespaces that come with it.
fn hear(control: &UnixStream) -> io::Result<(Birth, Vec<Space>)> {
    pass::close_all_but(control.as_fd())?;
    let parcel = pass::line(|| pass::receive(control.as_fd()))?;
    let birth: Birth = serde_json::from_slice(&parcel.bytes)?;
    let spaces = birth.spaces.iter().zip(parcel.fds).map(|(kind, fd)| Space::of(*kind, fd)).collect();
    Ok((birth, spaces))
}

fn say(control: &UnixStream, word: &Word, made: &[Space]) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let fds: Vec<_> = made.iter().map(AsFd::as_fd).collect();
    pass::send(control.as_fd(), &line, &fds)
}

/// Goes into namespaces; that of users last: it gives no right to those that others own, as the host's are.
fn enter(spaces: &[Space]) -> Result<(), Error> {
    let (users, others): (Vec<_>, Vec<_>) = spaces.iter().partition(|space| space.kind() == NsKind::User);
    for space in others.iter().chain(&users) {
        let object = format!("{} namespace", space.kind());
        space.enter().map_err(|e| Error::new("enter", object.clone(), &e))?;
        if space.kind() == NsKind::User {
            become_root().map_err(|e| Error::new("become root of", object, &e.into()))?;
        }
    }
    Ok(())
}

/// Becomes the root of the user namespace that this process is in.
pub(super) fn become_root() -> nix::Result<()> {
    match setgroups(&[]) {
        // A user namespace whose maker had no right to groups may not change them, and has none (man 2 setgroups).
        Ok(()) | Err(Errno::EPERM) => {}
        Err(e) => return Err(e),
    }
    setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
    setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))
}

/// Makes a PID namespace: true in its first process, false in the parent.
fn is_first_of_new(node: &NodeName) -> Result<bool, Error> {
    let failed = |e: Errno| Error::new("make", format!("{} namespace of {node}", NsKind::Pid), &e.into());
    unshare(flag(NsKind::Pid)).map_err(failed)?;
    // SAFETY: this process has one thread, so the child finds no lock held by another.
    Ok(matches!(unsafe { fork() }.map_err(failed)?, ForkResult::Child))
}

/// Answers the stage until it ends, or somebody ends this process.
fn work(
    control: UnixStream,
    node: &NodeName,
    serve: impl AsyncFnOnce(tokio::net::UnixStream, &NodeName) -> io::Result<()>,
) -> io::Result<()> {
    control.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async {
        let control = tokio::net::UnixStream::from_std(control)?;
        tokio::select! {
            served = serve(control, node) => served,
            ended = init::serve() => ended,
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, work)
}
