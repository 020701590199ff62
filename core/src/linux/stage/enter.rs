//! The stage's process: into namespaces of its own, and then to work.

use std::env;
use std::fs::{self, Permissions};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{self, ExitCode};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stdout, fork, setsid};

use super::{FOLDER, ROOT, VOLUMES, serve};
use crate::linux::Error;

/// Everything but the user namespace, which comes first: it gives the right to the others.
const OTHERS: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP)
    .union(CloneFlags::CLONE_NEWPID);

/// The stage, with its caller at the other end of a socket.
pub(crate) fn main(control: UnixStream) -> ExitCode {
    match door() {
        Ok(door) => enter(control, door),
        Err(e) => refuse(&control, &Error::new("open", "the stage's door", &e)),
    }
}

/// The socket that standard output is where this is a lab, and nothing in its place.
fn door() -> io::Result<Option<OwnedFd>> {
    let given = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if !given.metadata()?.file_type().is_socket() {
        return Ok(None);
    }
    dup2_stdout(OpenOptions::new().write(true).open("/dev/null")?)?;
    Ok(Some(given.into()))
}

fn enter(control: UnixStream, door: Option<OwnedFd>) -> ExitCode {
    let done = user(&control).and_then(|()| {
        unshare(OTHERS).map_err(|e| Error::new("make", "namespaces", &e.into()).missing(HELP))?;
        // SAFETY: this process has one thread, so the child finds every lock free.
        unsafe { fork() }.map_err(|e| Error::new("start", "the stage", &e.into()))
    });
    match done {
        Ok(ForkResult::Parent { child }) => {
            drop((control, door));
            wait(child)
        }
        Ok(ForkResult::Child) => match first() {
            Ok(()) => serve::run(control, door),
            Err(error) => refuse(&control, &error),
        },
        Err(error) => refuse(&control, &error),
    }
}

const HELP: &str = "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, \
                    kernel.apparmor_restrict_unprivileged_userns=0; CONFIG_USER_NS), or run it as root";

/// Makes the user namespace, unless it is to have root's rights, and waits until the caller has given it ids.
fn user(control: &UnixStream) -> Result<(), Error> {
    let failed = |e: io::Error| Error::new("make", "a user namespace", &e);
    if env::args_os().nth(1).is_none_or(|argument| argument != ROOT) {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| failed(e.into()).missing(HELP))?;
    }
    // A change of rights takes this back (man 2 PR_SET_PDEATHSIG), so it comes after that.
    set_pdeathsig(Signal::SIGKILL).map_err(|e| failed(e.into()))?;
    greet(control, &Ok(())).map_err(failed)?;
    let mut line = String::new();
    match BufReader::new(control).read_line(&mut line).map_err(failed)? {
        0 => Err(Error::words("hear", "the caller", "it has ended")),
        _ => Ok(()),
    }
}

/// What the first process of the PID namespace has to do before anything else.
fn first() -> Result<(), Error> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |e: Errno| Error::new("mount", what, &e.into())
    };
    set_pdeathsig(Signal::SIGKILL).map_err(|e| Error::new("start", "the stage", &e.into()))?;
    // What is typed at the caller's terminal is for the caller alone.
    setsid().map_err(|e| Error::new("start", "the stage", &e.into()))?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(failed("/ as private"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("proc"), "/proc", Some("proc"), flags | MsFlags::MS_NOEXEC, none).map_err(|e| {
        failed("/proc")(e)
            .missing("a container that hides parts of /proc cannot hold a stage: run it outside")
    })?;
    // iptables-legacy keeps its lock here, and nobody else's is to be waited for.
    mount(Some("tmpfs"), "/run", Some("tmpfs"), flags, Some("mode=755")).map_err(failed("/run"))?;
    let made = fs::create_dir(FOLDER).and_then(|()| fs::create_dir(VOLUMES));
    // Whose users are remapped makes volumes too.
    made.and_then(|()| fs::set_permissions(VOLUMES, Permissions::from_mode(0o1777)))
        .map_err(|e| Error::new("make", FOLDER, &e))
}

/// Says that there is a step less to go, or why there is no further.
pub(super) fn greet(mut control: &UnixStream, how: &Result<(), Error>) -> io::Result<()> {
    let mut line = serde_json::to_vec(how)?;
    line.push(b'\n');
    control.write_all(&line)
}

fn refuse(control: &UnixStream, error: &Error) -> ExitCode {
    // Where the caller is gone there is nobody to be told.
    let _ = greet(control, &Err(error.clone()));
    ExitCode::FAILURE
}

/// Waits for the stage, and ends as it does.
fn wait(child: Pid) -> ExitCode {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => process::exit(code),
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return ExitCode::FAILURE,
        }
    }
}
