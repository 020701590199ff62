//! A program is run inside a node, as if it were run here: with this process's terminal, its signals and its status.
//!
//! It stays in the process group of this process, so that the terminal's signals reach it and a pipeline stays one job.
//! Signals that are sent to this process alone are passed on; when the program stops this process stops, and they go on
//! together.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, chdir};
use rustix::thread::{CapabilitySets, capabilities, set_capabilities, set_keep_capabilities};

use super::{Entry, Record};
use crate::linux::node::{become_root, rights};
use crate::linux::space::Space;
use crate::linux::{Error, entry};
use crate::plan::{Namespace, Object, Process};
use crate::probe::NsKind;

mod accompany;

use accompany::{Terminal, accompany};

/// What is run.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The program, looked for on the node's PATH, and its arguments.
    pub command: Vec<OsString>,
    /// What its environment has beside PATH, HOME and HOSTNAME.
    pub env: Vec<(OsString, OsString)>,
    /// Where it is run; where nobody says, as the service does, and else in `/`.
    pub directory: Option<PathBuf>,
}

/// Why nothing was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no such program there.
    NotFound(Error),
    /// It is there, and cannot be run.
    NotExecutable(Error),
    /// There is no way in.
    Refused(Error),
}

/// Signals that are passed on, and those that would stop this process before the program.
const SIGNALS: [Signal; 12] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
];

/// Runs a program in a node's namespaces, with its rights, and waits for its end: its exit status, or 128 and the number
/// of the signal that ended it. This process goes into the stage's user namespace, and stays there. It must have one
/// thread.
///
/// # Errors
/// What could not be run, or entered.
pub fn run(entry: Entry, record: &Record, visit: Visit) -> Result<u8, Failure> {
    let node = entry.process.node.clone();
    let failed = |what: &str, e: io::Error| Failure::Refused(Error::new(what, node.as_str(), &e));
    let terminal = Terminal::find();
    let signals = SigSet::from_iter(SIGNALS);
    signals.thread_block().map_err(|e| failed("watch over", e.into()))?;
    let heard = SignalFd::new(&signals).map_err(|e| failed("watch over", e.into()))?;
    let pids = entry.spaces.iter().find(|space| space.kind() == NsKind::Pid);
    // A PID namespace is only that of children (man 2 setns).
    let enter = || entry.stage.enter().and_then(|()| pids.map_or(Ok(()), Space::enter));
    enter().map_err(|e| failed("enter", e))?;
    let child = spawn(entry, record, visit)?;
    accompany(child, &heard, terminal.as_ref()).map_err(|e| failed("watch over", e.into()))
}

/// Starts the program on its way in.
fn spawn(entry: Entry, record: &Record, visit: Visit) -> Result<Pid, Failure> {
    let node = entry.process.node.clone();
    let refused = |e: io::Error| Failure::Refused(Error::new("enter", node.as_str(), &e));
    let Visit { command, env, directory } = visit;
    let directory = directory.unwrap_or_else(|| {
        let own = entry.process.program.as_ref().and_then(|program| program.working_dir.as_deref());
        PathBuf::from(own.unwrap_or("/"))
    });
    let (program, arguments) =
        command.split_first().ok_or_else(|| refused(io::ErrorKind::InvalidInput.into()))?;
    let (mut heard, says) = UnixStream::pair().map_err(refused)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment(record, &entry.process));
    let user = entry.user.clone();
    // Whoever becomes another user loses his rights on the way (man 7 capabilities), and needs some to give them up.
    let process = entry.process.clone();
    let mut tell = Tell(says);
    let mut also_tell = tell.again().map_err(refused)?;
    // SAFETY: this process has one thread, so the child finds no lock held by another and may do what it likes.
    unsafe { command.pre_exec(move || tell.of(step_in(&entry, &directory))) };
    user.runs(&mut command);
    // SAFETY: as above.
    unsafe { command.pre_exec(move || also_tell.of(give_up(&process))) };
    command.envs(env);
    let spawned = command.spawn();
    // Only without the command's own end of it does the child's silence end.
    let named = program.to_string_lossy().into_owned();
    drop(command);
    let why = match spawned {
        Ok(child) => return Ok(Pid::from_raw(child.id().cast_signed())),
        Err(why) => why,
    };
    let mut words = Vec::new();
    heard.read_to_end(&mut words).map_err(refused)?;
    if let Ok(error) = serde_json::from_slice(&words) {
        return Err(Failure::Refused(error));
    }
    let error = Error::new("run", format!("{named} in {node}"), &why);
    let absent = why.kind() == io::ErrorKind::NotFound;
    Err(if absent { Failure::NotFound(error) } else { Failure::NotExecutable(error) })
}

/// What the child does before it becomes the program: it goes where the node is, and gives up what that gave up.
fn step_in(entry: &Entry, directory: &Path) -> Result<(), Error> {
    let node = &entry.process.node;
    let failed = |what: &str, object: String, e: io::Error| Error::new(what, object, &e);
    for space in entry.spaces.iter().filter(|space| space.kind() != NsKind::Pid) {
        let object = || format!("{} namespace of {node}", space.kind());
        space.enter().map_err(|e| failed("enter", object(), e))?;
    }
    become_root().map_err(|e| failed("become root of", node.to_string(), e.into()))?;
    chdir(directory).map_err(|e| failed("go to", format!("{} in {node}", directory.display()), e.into()))?;
    set_keep_capabilities(true).map_err(|e| failed("keep", format!("capabilities in {node}"), e.into()))
}

/// What it does when it is the user that the node's programs run as.
fn give_up(process: &Process) -> Result<(), Error> {
    let failed = |e: io::Error| Error::new("give up", format!("capabilities in {}", process.node), &e);
    let kept = capabilities(None).map_err(|e| failed(e.into()))?;
    let again = CapabilitySets { effective: kept.permitted, ..kept };
    set_capabilities(None, again).map_err(|e| failed(e.into()))?;
    rights::give_up(process)?;
    set_keep_capabilities(false).map_err(|e| failed(e.into()))?;
    // What this process's parent waits for is not blocked here (man 7 signal, execve keeps the mask).
    SigSet::empty().thread_set_mask().map_err(|e| failed(e.into()))?;
    // A change of rights takes this back (man 2 PR_SET_PDEATHSIG), so it comes last.
    set_pdeathsig(Signal::SIGKILL).map_err(|e| failed(e.into()))
}

/// Where the child tells its parent what went wrong: of an error of its own only the number would come there.
struct Tell(UnixStream);

impl Tell {
    fn again(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    fn of(&mut self, done: Result<(), Error>) -> io::Result<()> {
        done.map_err(|error| {
            let told = serde_json::to_vec(&error).map_err(io::Error::from);
            // Where the words cannot be told there is still the number.
            let _ = told.and_then(|words| self.0.write_all(&words));
            error.errno.map_or(io::ErrorKind::Other.into(), io::Error::from_raw_os_error)
        })
    }
}

/// As `docker exec` has it: PATH and HOSTNAME, and what the service says; HOME comes with the user.
fn environment(record: &Record, process: &Process) -> Vec<(String, String)> {
    let mut env = vec![("PATH".to_owned(), entry::PATH.to_owned())];
    let uts = process.namespaces.get(&NsKind::Uts);
    let hostname = record.plan.items.iter().find_map(|item| {
        let Object::Namespace(Namespace::Uts { hostname, .. }) = &item.object else { return None };
        (Some(&item.ns) == uts).then(|| ("HOSTNAME".to_owned(), hostname.clone()))
    });
    env.extend(hostname);
    env.extend(process.program.iter().flat_map(|program| program.environment.iter().cloned()));
    env
}
