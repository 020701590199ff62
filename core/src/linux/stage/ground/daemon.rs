//! A Docker Engine on a machine of the stage: a dockerd of another root filesystem, in the machine's namespaces and with
//! mounts of its own. It ends with the machine's first process.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as Listener;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::rc::Rc;

use nix::fcntl::OFlag;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{
    ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execvpe, fork, pipe2, pivot_root,
};
use tokio::net::UnixListener;

use super::Ground;
use super::witness::witness;
use crate::linux::space::Space;
use crate::linux::{Error, files, request};
use crate::plan::NsName;
use crate::probe::NsKind;
use crate::topology::NodeName;

/// Where its API is, on the stage.
pub const SOCKET: &str = "/run/seatrial/docker.sock";
/// Where it writes what it has to say, on the stage.
pub const LOG: &str = "/run/seatrial/dockerd.log";
/// Where containers' agents call, on the stage and in the Engine's root: at the socket of each one's number.
pub const DOORS: &str = "/run/seatrial/doors";

/// Where its root is put together.
const PLACE: &str = "/run/seatrial/engine";
/// The first descriptor that a service is given by whoever opened its socket (man 3 sd_listen_fds).
const GIVEN: i32 = 3;
/// What the Engine of a machine that is switched off and on again finds as it was.
const DISK: &str = "/run/seatrial/disk";
/// What of its root is there.
const KEPT: [&str; 2] = ["var/lib/docker", "var/lib/containerd"];
/// What a machine has mounted, in the order of mounting.
const MOUNTS: [(&str, &str); 5] =
    [("proc", "proc"), ("sysfs", "sys"), ("cgroup2", "sys/fs/cgroup"), ("tmpfs", "run"), ("tmpfs", "tmp")];

/// An Engine that runs.
pub(super) struct Running {
    pub(super) host: NodeName,
    child: Pid,
    /// None where it ended at once: whoever calls at its socket is told so.
    mounts: Option<Rc<Space>>,
    /// Where each container's agent calls.
    pub(super) doors: BTreeMap<NodeName, UnixListener>,
}

impl Ground {
    /// Starts an Engine; on a machine that had one before, with what that one left on its disk. Whoever calls at its socket
    /// waits until it has come up; where it does not come up, the call ends.
    ///
    /// # Errors
    /// What its root lacks.
    pub(in crate::linux::stage) fn start_daemon(&mut self, daemon: &request::Daemon) -> Result<(), Error> {
        let failed = |e: io::Error| Error::new("start", "dockerd", &e);
        let doors = doors(&daemon.containers).map_err(failed)?;
        let api = bind_anew(Path::new(SOCKET), |path| Listener::bind(path)).map_err(failed)?;
        disk().map_err(failed)?;
        let host = NsName::from(&daemon.host);
        let kinds = [NsKind::Network, NsKind::Uts, NsKind::Ipc];
        let spaces: Vec<Rc<Space>> =
            kinds.into_iter().map(|kind| self.space(kind, &host).cloned()).collect::<Result<_, _>>()?;
        let processes = Rc::clone(self.space(NsKind::Pid, &host)?);
        let (complaint, complains) = pipe2(OFlag::O_CLOEXEC).map_err(|e| failed(e.into()))?;
        // SAFETY: the stage has one thread, so the child finds every lock free; it becomes another program or ends.
        let forked = processes.inside(|| match unsafe { fork() } {
            Ok(ForkResult::Child) => become_dockerd(daemon, &spaces, &api, complains),
            Ok(ForkResult::Parent { child }) => {
                drop(complains);
                Ok(child)
            }
            Err(errno) => Err(errno),
        });
        let child = forked.map_err(failed)?.map_err(|e| failed(e.into()))?;
        let mut said = String::new();
        File::from(complaint).read_to_string(&mut said).map_err(failed)?;
        if !said.is_empty() {
            return Err(Error::words("start", "dockerd", said));
        }
        let mounts = Space::open(NsKind::Mount, &child.to_string()).ok().map(Rc::new);
        self.daemon = Some(Running { host: daemon.host.clone(), child, mounts, doors });
        Ok(())
    }

    /// Ends the Engine of a machine that is about to end. It is a child of this process, which has to hear of its end: until
    /// then the end of its machine's first process waits for it (`zap_pid_ns_processes`, kernel/pid_namespace.c).
    pub(super) fn end_daemon(&mut self, machine: &NodeName) {
        if let Some(running) = self.daemon.take_if(|running| running.host == *machine) {
            // It may have ended by itself.
            let _ = kill(running.child, Signal::SIGKILL);
            let _ = waitpid(running.child, None);
        }
    }

    /// Runs a tool of the Engine's root in the network namespace of a node.
    ///
    /// # Errors
    /// Where there is none, or in its words why it ended with an error.
    pub(in crate::linux::stage) fn tool(&self, node: &NodeName, words: &[String]) -> Result<(), Error> {
        let object = words.join(" ");
        let (Some(daemon), Some((program, arguments))) = (&self.daemon, words.split_first()) else {
            return Err(Error::words("run", object, "there is no Engine"));
        };
        let network = self.space(NsKind::Network, &self.actor(node)?.network)?;
        let mounts =
            daemon.mounts.clone().ok_or_else(|| Error::words("run", &object, "the Engine has ended"))?;
        let spaces = [Rc::clone(network), mounts];
        let (done, said) = witness(&spaces, || {
            let output = Command::new(program).args(arguments).output()?;
            Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).trim().to_owned()))
        })?;
        if done { Ok(()) } else { Err(Error::words("run", object, said)) }
    }
}

/// Binds a socket, in the place of one that nobody listens at any more.
fn bind_anew<T>(path: &Path, bind: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => bind(path),
    }
}

/// A machine's disk, in memory; made once.
fn disk() -> io::Result<()> {
    let disk = Path::new(DISK);
    if disk.exists() {
        return Ok(());
    }
    fs::create_dir_all(disk)?;
    mount(Some("tmpfs"), disk, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    KEPT.iter().try_for_each(|folder| fs::create_dir_all(disk.join(folder)))
}

/// A socket for each container, which any user of it may call at.
fn doors(containers: &[NodeName]) -> io::Result<BTreeMap<NodeName, UnixListener>> {
    fs::create_dir_all(DOORS)?;
    let open = |(number, node): (usize, &NodeName)| {
        let path = Path::new(DOORS).join(number.to_string());
        let door = bind_anew(&path, |path| UnixListener::bind(path))?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok((node.clone(), door))
    };
    containers.iter().enumerate().map(open).collect()
}

/// The child's part.
fn become_dockerd(daemon: &request::Daemon, spaces: &[Rc<Space>], api: &Listener, complains: OwnedFd) -> ! {
    if let Err(error) = run(daemon, spaces, api) {
        // Where the stage is gone there is nobody to be told.
        let _ = write!(File::from(complains), "{error}");
    }
    // SAFETY: ends this process at once, as a child that is a copy must: nothing of the stage's is undone.
    unsafe { libc::_exit(1) }
}

fn run(daemon: &request::Daemon, spaces: &[Rc<Space>], api: &Listener) -> Result<(), String> {
    let step = |what: &str, done: io::Result<()>| done.map_err(|e| format!("{what}: {e}"));
    let log = File::create(LOG).map_err(|e| format!("{LOG}: {e}"))?;
    step("its machine's namespaces", spaces.iter().try_for_each(|space| space.enter()))?;
    step("mounts of its own", private())?;
    step("a cgroup", enter_cgroup(&daemon.cgroup))?;
    step(&format!("the root {}", daemon.root.display()), lay_root(&daemon.root))?;
    step("its files", write_files(daemon))?;
    step("its root", go_in())?;
    step("its descriptors", hand_over(api, log))?;
    let environment = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "LISTEN_FDS=1".to_owned(),
        format!("LISTEN_PID={}", process::id()),
    ];
    let environment: Vec<CString> = environment.into_iter().filter_map(|v| CString::new(v).ok()).collect();
    let arguments: [&CStr; 3] = [c"dockerd", c"--host", c"fd://"];
    let Err(errno) = execvpe(c"dockerd", &arguments, &environment);
    Err(format!("no dockerd that can be run in {}: {}", daemon.root.display(), errno.desc()))
}

fn private() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    Ok(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?)
}

/// Goes into a cgroup of its own, which is the root of what the Engine sees; the Engine's own processes are in one below
/// it, for a cgroup with processes hands no controllers down (Documentation/admin-guide/cgroup-v2.rst).
fn enter_cgroup(below: &Path) -> io::Result<()> {
    let place = Path::new(PLACE).join("cgroup");
    fs::create_dir_all(&place)?;
    mount(Some("cgroup2"), &place, Some("cgroup2"), MsFlags::empty(), None::<&str>)?;
    let own = place.join(below);
    fs::create_dir(&own)?;
    fs::create_dir(own.join("engine"))?;
    fs::write(own.join("cgroup.procs"), "0")?;
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    fs::write(own.join("engine/cgroup.procs"), "0")?;
    Ok(umount2(&place, MntFlags::MNT_DETACH)?)
}

/// The root, with memory above it to be written into.
fn lay_root(root: &Path) -> io::Result<()> {
    let (none, place) = (None::<&str>, Path::new(PLACE));
    let [lower, memory, merged] = ["lower", "memory", "root"].map(|name| place.join(name));
    for folder in [&lower, &memory, &merged] {
        fs::create_dir_all(folder)?;
    }
    // Its own path may have what the options of a mount give a meaning to.
    mount(Some(root), &lower, none, MsFlags::MS_BIND, none)?;
    mount(Some("tmpfs"), &memory, Some("tmpfs"), MsFlags::empty(), none)?;
    let [upper, work] = ["upper", "work"].map(|name| memory.join(name));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let option = |name: &str, path: &Path| format!("{name}={}", path.display());
    let options =
        [option("lowerdir", &lower), option("upperdir", &upper), option("workdir", &work)].join(",");
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    for (kind, folder) in MOUNTS {
        let folder = merged.join(folder);
        fs::create_dir_all(&folder)?;
        mount(Some(kind), &folder, Some(kind), MsFlags::empty(), none)?;
    }
    KEPT.iter().try_for_each(|folder| bind(&Path::new(DISK).join(folder), &merged.join(folder)))?;
    bind(Path::new("/dev"), &merged.join("dev"))
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let none = None::<&str>;
    Ok(mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?)
}

/// The machine's files, its Engine's settings, and the doors.
fn write_files(daemon: &request::Daemon) -> io::Result<()> {
    let root = Path::new(PLACE).join("root");
    let own = files::folder(&NsName::from(&daemon.host)).join("etc");
    for entry in fs::read_dir(own)? {
        let entry = entry?;
        let place = root.join("etc").join(entry.file_name());
        // A symbolic link in some roots, to where nothing is.
        match fs::remove_file(&place) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => _ = fs::copy(entry.path(), place)?,
        }
    }
    let folder = root.join("etc/docker");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("daemon.json"), &daemon.config)?;
    bind(Path::new(DOORS), &PathBuf::from(format!("{}{DOORS}", root.display())))
}

fn go_in() -> io::Result<()> {
    chdir(&Path::new(PLACE).join("root"))?;
    // Both at one place: the old root is then below the new one's feet (man 2 pivot_root).
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}

/// What dockerd is given: its socket, and a place for what it says.
fn hand_over(api: &Listener, log: File) -> io::Result<()> {
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(&log)?;
    dup2_stderr(&log)?;
    // SAFETY: the copy is this process's last word on the descriptors it has: it becomes another program.
    let given = unsafe {
        if libc::dup2(api.as_raw_fd(), GIVEN) != GIVEN {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(GIVEN)
    };
    // Where the socket had this number already the copy is none, and would be closed.
    // SAFETY: takes numbers alone.
    let kept = unsafe { libc::fcntl(given.as_raw_fd(), libc::F_SETFD, 0) };
    std::mem::forget(given);
    if kept != 0 {
        return Err(io::Error::last_os_error());
    }
    // A parent's choice that would otherwise be inherited.
    // SAFETY: the default needs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    Ok(())
}
