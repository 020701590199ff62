//! A user namespace, held by a process in it that makes namespaces: those belong to the user namespace of whoever made
//! them, and with it go the rights over them (man 7 user_namespaces).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::libc;
use nix::sched::unshare;
use nix::sys::prctl::{set_dumpable, set_name, set_pdeathsig};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, setresgid, setresuid};

use super::space::{Space, flag};
use super::{Error, pass};
use crate::plan::IdMap;
use crate::probe::NsKind;

/// The map that stands for everything there is (Linux gives the first user namespace this one).
const EVERYTHING: IdMap = IdMap { inside: 0, outside: 0, count: u32::MAX };

/// What brings ids beside root's.
pub(super) const SUBIDS: &str =
    "other ids need root, or the package 'uidmap' and a range of them for you in /etc/subuid and /etc/subgid";

/// The files of /proc/PID that hold a user namespace's ids.
const MAPS: [&str; 2] = ["uid_map", "gid_map"];

/// A user namespace and the process that makes namespaces in it. It ends with this, and with the process that started
/// it.
#[derive(Debug)]
pub struct Keeper {
    user: Space,
    process: Pid,
    control: UnixStream,
}

impl Keeper {
    /// Makes a user namespace below this process's own. `0 0 4294967295` gives it every id there is here, under the
    /// same number; another range must be there.
    ///
    /// # Errors
    /// Where the kernel has no user namespaces or this process no right to them, or ids are asked for that are not
    /// there.
    pub fn start(map: &IdMap) -> Result<Self, Error> {
        Self::below(None, map)
    }

    /// Makes another user namespace, below this one: whoever has the rights here has them there.
    ///
    /// # Errors
    /// As [`Keeper::start`].
    pub fn nested(&self, map: &IdMap) -> Result<Self, Error> {
        Self::below(Some(&self.user), map)
    }

    fn below(parent: Option<&Space>, map: &IdMap) -> Result<Self, Error> {
        let failed = |e: io::Error| Error::new("make", "user namespace", &e);
        let maps = MAPS.map(|file| lines(file, map));
        let [Ok(Some(uids)), Ok(Some(gids))] = maps else { return Err(missing(map, maps)) };
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        // SAFETY: the stage has one thread, so the child finds no lock held by another.
        let process = match unsafe { fork() }.map_err(|e| failed(e.into()))? {
            ForkResult::Child => child(&theirs, parent),
            ForkResult::Parent { child } => child,
        };
        drop(theirs);
        let started = hear(&control).and_then(|_| {
            write(process, parent, [&uids, &gids])?;
            (&control).write_all(&[0])?;
            hear(&control)?;
            Space::open(NsKind::User, &process.to_string())
        });
        match started {
            Ok(user) => Ok(Self { user, process, control }),
            Err(e) => {
                end(process);
                Err(failed(e).help(HELP))
            }
        }
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_raw().unsigned_abs()
    }

    /// The user namespace.
    ///
    /// # Errors
    /// Where there are too many open files.
    pub fn user(&self) -> Result<Space, Error> {
        let again = self.user.as_fd().try_clone_to_owned();
        let fd = again.map_err(|e| Error::new("hold", "user namespace", &e))?;
        Ok(Space::of(NsKind::User, fd))
    }

    /// Makes a namespace that belongs to this user namespace: any but that of processes, which is made with the first
    /// of them, and of users.
    ///
    /// # Errors
    /// As `unshare` says (man 2 unshare).
    pub fn make(&mut self, kind: NsKind) -> Result<Space, Error> {
        let failed = |e: io::Error| Error::new("make", format!("{kind} namespace"), &e);
        (&self.control).write_all(&[kind as u8]).map_err(failed)?;
        hear(&self.control)
            .and_then(|fd| fd.ok_or_else(|| io::ErrorKind::InvalidData.into()))
            .map(|fd| Space::of(kind, fd))
            .map_err(failed)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        end(self.process);
    }
}

const HELP: &str = "allow user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, \
                    kernel.apparmor_restrict_unprivileged_userns=0; CONFIG_USER_NS";

/// The lines of a map, as the kernel reads them; none where there are no such ids here.
fn lines(file: &str, map: &IdMap) -> io::Result<Option<String>> {
    let own = fs::read_to_string(format!("/proc/self/{file}"))?;
    let own: Vec<(u64, u64)> = own.lines().filter_map(range).collect();
    if *map == EVERYTHING {
        return Ok(Some(own.iter().fold(String::new(), |mut text, (first, count)| {
            // A string takes all that is written to it.
            let _ = writeln!(text, "{first} {first} {count}");
            text
        })));
    }
    let IdMap { inside, outside, count } = *map;
    let (first, end) = (u64::from(outside), u64::from(outside) + u64::from(count));
    // The kernel keeps ranges in the order they were written; those that touch are one.
    let mut sorted = own;
    sorted.sort_unstable();
    let reached =
        sorted.iter().fold(first, |at, (start, count)| if *start <= at { at.max(start + count) } else { at });
    Ok((reached >= end).then(|| format!("{inside} {outside} {count}\n")))
}

/// The first id and how many, of a line `inside outside count`.
fn range(line: &str) -> Option<(u64, u64)> {
    let mut numbers = line.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.nth(1)) {
        (Some(Ok(first)), Some(Ok(count))) => Some((first, count)),
        _ => None,
    }
}

fn missing(map: &IdMap, maps: [io::Result<Option<String>>; 2]) -> Error {
    let IdMap { outside, count, .. } = map;
    let object =
        format!("user namespace with ids {outside} to {}", u64::from(*outside) + u64::from(*count) - 1);
    match maps.into_iter().find_map(Result::err) {
        Some(e) => Error::new("make", object, &e),
        None => Error::words("make", object, "there are no such ids here").missing(SUBIDS),
    }
}

/// Writes the maps of a process that has just made its user namespace. The kernel takes them only from the user
/// namespace above, so where that is not this one a process goes there for it.
fn write(process: Pid, parent: Option<&Space>, [uids, gids]: [&str; 2]) -> io::Result<()> {
    let both = || {
        MAPS.iter()
            .zip([uids, gids])
            .try_for_each(|(file, text)| fs::write(format!("/proc/{process}/{file}"), text))
    };
    let Some(parent) = parent else { return both() };
    // SAFETY: as in `below`.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let errno = parent.enter().and_then(|()| both()).map_or_else(|e| number(&e), |()| 0);
            exit(errno)
        }
        ForkResult::Parent { child } => {
            let ended = waitpid(child, None)?;
            let WaitStatus::Exited(_, errno) = ended else {
                return Err(io::Error::other(format!("{ended:?}")));
            };
            if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
        }
    }
}

/// The answer of the process: a descriptor, if it has one to give.
fn hear(control: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let parcel = pass::receive(control.as_fd())?;
    match parcel.bytes.first_chunk().map(|errno| i32::from_le_bytes(*errno)) {
        Some(0) => Ok(parcel.fds.into_iter().next()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn end(process: Pid) {
    // It may have ended by itself, and that is what is wanted.
    let _ = kill(process, Signal::SIGKILL);
    let _ = waitpid(process, None);
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn exit(code: i32) -> ! {
    // SAFETY: `_exit` ends the process and touches nothing: what was set up before the fork is the parent's to undo.
    unsafe { libc::_exit(code) }
}

/// What the keeper's process does, from its first moment to its last.
fn child(control: &UnixStream, parent: Option<&Space>) -> ! {
    if let Err(e) = keep(control, parent) {
        // Where the stage has gone there is nobody to be told.
        let _ = answer(control, &Err(e));
    }
    exit(0)
}

fn keep(control: &UnixStream, parent: Option<&Space>) -> io::Result<()> {
    if let Some(parent) = parent {
        parent.enter()?;
    }
    // Of a socket that two processes hold, closing one leaves it open: this one holds only its own.
    pass::close_all_but(control.as_fd())?;
    set_name(c"seatrial-keeper")?;
    unshare(flag(NsKind::User))?;
    answer(control, &Ok(None))?;
    let mut byte = [0];
    (&*control).read_exact(&mut byte)?;
    setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
    setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))?;
    // Whoever changed his rights may not be looked at by who has none where this program was started (man 2
    // PR_SET_DUMPABLE), and the stage looks for the namespace here.
    set_dumpable(true)?;
    // A change of rights takes this back (man 2 PR_SET_PDEATHSIG), so it comes last.
    set_pdeathsig(Signal::SIGKILL)?;
    answer(control, &Ok(None))?;
    let mut homes = BTreeMap::new();
    while (&*control).read(&mut byte)? == 1 {
        let made = NsKind::ALL.into_iter().find(|kind| *kind as u8 == byte[0]);
        let made = made.ok_or_else(|| io::ErrorKind::InvalidInput.into());
        answer(control, &made.and_then(|kind| make(kind, &mut homes)).map(Some))?;
    }
    Ok(())
}

/// Makes a namespace and leaves it again: it is to end with the last that needs it, and the next one made is not to
/// start with its names.
fn make(kind: NsKind, homes: &mut BTreeMap<NsKind, Space>) -> io::Result<Space> {
    if matches!(kind, NsKind::Pid | NsKind::User) {
        return Err(io::Error::from(Errno::EINVAL));
    }
    let home = match homes.entry(kind) {
        Entry::Occupied(home) => home.into_mut(),
        // There is no right to go back to one that belongs to a user namespace above.
        Entry::Vacant(place) => {
            unshare(flag(kind))?;
            place.insert(Space::current(kind)?)
        }
    };
    unshare(flag(kind))?;
    let made = Space::current(kind)?;
    home.enter()?;
    Ok(made)
}

fn answer(control: &UnixStream, made: &io::Result<Option<Space>>) -> io::Result<()> {
    let errno = made.as_ref().err().map_or(0, number);
    let space = made.as_ref().ok().and_then(Option::as_ref);
    let fds: Vec<_> = space.map(AsFd::as_fd).into_iter().collect();
    pass::send(control.as_fd(), &errno.to_le_bytes(), &fds)
}
