//! Who sweeps up after a Docker Engine: its cgroups do not go with its processes, and whoever started it may have no time
//! to take them away. So a process does that is told by the end of its caller, whatever ended that.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::setsid;

use super::{Error, pass};

/// What its process is called.
pub(super) const NAME: &str = "seatrial-broom";
/// Where it has the tree of cgroups.
const TREE: &str = "/sys/fs/cgroup";

/// A cgroup, which goes with this and with its caller, and all processes in it with it.
#[derive(Debug)]
pub struct Broom {
    process: Child,
    control: UnixStream,
    cgroup: PathBuf,
}

impl Broom {
    /// Makes a cgroup below this process's own.
    ///
    /// # Errors
    /// Without root's rights, or where the kernel has no cgroup2.
    pub fn start(program: &Path) -> Result<Self, Error> {
        let failed = |e: io::Error| Error::new("make", "a cgroup", &e);
        let (mut control, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg0(NAME).stdin(std::os::fd::OwnedFd::from(theirs)).stdout(Stdio::null()).env_clear();
        let process = command.spawn().map_err(failed)?;
        drop(command);
        let mut said = Vec::new();
        let mut byte = [0];
        while control.read(&mut byte).map_err(failed)? == 1 && byte != *b"\n" {
            said.extend(byte);
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        match said.strip_prefix("cgroup ") {
            Some(name) => Ok(Self { process, control, cgroup: name.into() }),
            None => Err(Error::words("make", "a cgroup", said)),
        }
    }

    /// The cgroup, by its path below this process's own.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }
}

impl Drop for Broom {
    /// Waits until it has swept.
    fn drop(&mut self) {
        // An end that has been reached is what is wanted.
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        let _ = self.process.wait();
    }
}

/// The broom's process: makes the cgroup, waits for the end of its caller, and sweeps.
pub(super) fn main(mut control: UnixStream) -> ExitCode {
    let cgroup = match make(&control) {
        Ok(name) => name,
        Err(error) => {
            let _ = writeln!(control, "{error}");
            return ExitCode::FAILURE;
        }
    };
    let told = writeln!(control, "cgroup {}", cgroup.display());
    // The other end is written to by nobody: what is read is its end.
    let ended = told.and_then(|()| control.read_to_end(&mut Vec::new()));
    let swept = sweep(&Path::new(TREE).join(cgroup));
    if ended.and(swept).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn make(control: &UnixStream) -> io::Result<PathBuf> {
    pass::close_all_but(control.as_fd())?;
    // What is typed at the caller's terminal ends the caller, and this after it.
    setsid()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let own = || mount(Some("cgroup2"), TREE, Some("cgroup2"), MsFlags::empty(), none);
    match own() {
        // The same file system is not mounted twice at one place, whatever its root (`do_add_mount`, fs/namespace.c).
        Err(Errno::EBUSY) => umount2(TREE, MntFlags::MNT_DETACH).and_then(|()| own()),
        mounted => mounted,
    }?;
    let name = PathBuf::from(format!("seatrial-{}", process::id()));
    fs::create_dir(Path::new(TREE).join(&name))?;
    Ok(name)
}

/// Ends every process of a cgroup, and takes it away with those below it.
fn sweep(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.kill"), "1")?;
    let mut events = fs::File::open(cgroup.join("cgroup.events"))?;
    loop {
        let mut text = String::new();
        io::Seek::rewind(&mut events)?;
        events.read_to_string(&mut text)?;
        if text.lines().any(|line| line == "populated 0") {
            break;
        }
        // The kernel says when that file has changed (Documentation/admin-guide/cgroup-v2.rst).
        poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], PollTimeout::NONE)?;
    }
    remove(cgroup)
}

fn remove(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}
