//! One program is the caller, the stage and every agent: the name it was called with says which.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::unistd::dup2_stdin;

use super::{agent, broom, node, stage};

/// What an agent's process is called.
pub const AGENT: &str = "seatrial-agent";

/// Docker's search path for programs (daemon/pkg/oci/defaults.go).
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// To be called first thing in `main` of every program that carries plans out: the exit status, where this process is
/// one of those that such a program starts from itself; none where a user started it.
#[must_use]
pub fn entry() -> Option<ExitCode> {
    match env::args_os().next()?.to_str()? {
        // Where there is no control socket, there is nobody to be told.
        AGENT => Some(control().map_or(ExitCode::FAILURE, |control| node::main(control, agent::serve))),
        node::CONTAINED => Some(node::contained(agent::serve)),
        broom::NAME => Some(control().map_or(ExitCode::FAILURE, broom::main)),
        stage::NAME => Some(control().map_or(ExitCode::FAILURE, stage::main)),
        _ => None,
    }
}

/// Takes the control socket of a process that was started so from standard input, and puts nothing in its place.
///
/// # Errors
/// Where standard input is none: a user typed the name.
pub fn control() -> io::Result<UnixStream> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    control.local_addr()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(control)
}

/// The command that starts an agent from a program that calls [`entry`]; the other end of its control socket is given
/// with it, as standard input: that needs no place for it among the descriptors.
pub(super) fn command(program: &Path, control: UnixStream) -> Command {
    let mut command = Command::new(program);
    command.arg0(AGENT).env_clear().env("PATH", PATH).env("HOME", "/root");
    command.stdin(OwnedFd::from(control)).stdout(Stdio::null());
    command
}
