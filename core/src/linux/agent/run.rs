//! The program that a container is there for.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use nix::unistd::gethostname;

use crate::linux::node::init;
use crate::linux::{Error, entry};
use crate::topology::{NodeName, Program};

/// Starts the program. When it ends this process does, with its status, and so the container.
pub(super) fn run(program: &Program, node: &NodeName) -> Result<impl Future<Output = ()> + use<>, Error> {
    let name = program.command.first().map_or("", String::as_str);
    let failed = |e: io::Error| Error::new("run", format!("{name} in {node}"), &e);
    let mut command = command(name, program).map_err(failed)?;
    let running = init::spawn(&mut command).map_err(failed)?;
    init::pass_signals_to(running.pid);
    Ok(async move {
        // Whoever takes note of ends lives as long as this process.
        let status = running.exit.await.unwrap_or_default();
        std::process::exit(code(status));
    })
}

fn command(name: &str, program: &Program) -> io::Result<Command> {
    let mut command = Command::new(name);
    command.args(program.command.get(1..).unwrap_or_default());
    command.env_clear().env("PATH", entry::PATH).env("HOSTNAME", gethostname()?);
    command.envs(program.environment.iter().map(|(name, value)| (name, value)));
    let folder = program.working_dir.as_deref().unwrap_or("/");
    // As the Engine does (moby, container.SetupWorkingDirectory).
    fs::create_dir_all(folder)?;
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    command.current_dir(folder).stdin(Stdio::null()).stdout(log);
    Ok(command)
}

/// As a shell says it.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 | signal)).unwrap_or(1)
}
