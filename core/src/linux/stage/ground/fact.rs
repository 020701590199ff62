//! Facts, as the kernel has them: each is looked at where the node is, by what there is to be seen there.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nameindex;
use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;

use super::Ground;
use super::witness::witness;
use crate::linux::Error;
use crate::linux::keeper::SUBIDS;
use crate::linux::order::{Order, Reply};
use crate::linux::space::{Space, file_name};
use crate::linux::stage::agent::Agent;
use crate::probe::{Fact, IdKind, NsKind, Pid, Things};
use crate::topology::NodeName;

/// What a fact says, or that the question has no answer here, and why.
type So = Result<Fact, Error>;

impl Ground {
    /// What is so, in the form in which it was asked; none where only the node's agent can say.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub(in crate::linux::stage) fn observe(&mut self, node: &NodeName, asked: &Fact) -> Option<So> {
        self.asked += 1;
        let mark = format!("seatrial-{}", self.asked);
        Some(match asked {
            Fact::Hostname(_) => self.at(node, hostname).map(Fact::Hostname),
            Fact::Domainname(_) => self.at(node, domainname).map(Fact::Domainname),
            Fact::Sees(things, other) | Fact::SeesNo(things, other) => {
                self.sees(node, things, other, &mark).map(|sees| {
                    let (things, other) = (things.clone(), other.clone());
                    if sees { Fact::Sees(things, other) } else { Fact::SeesNo(things, other) }
                })
            }
            Fact::SeesPid(other, pid) => self.sees_pid(node, other, *pid),
            Fact::SeesId(kind, id, other, _) => self
                .sees_id(node, *kind, *id, other, &mark)
                .map(|n| Fact::SeesId(*kind, *id, other.clone(), n)),
            Fact::HasOwn(kind) => self.sharers(node, *kind).map(|with| match with.first() {
                Some(first) => Fact::Shares(*kind, first.clone()),
                None => Fact::HasOwn(*kind),
            }),
            Fact::Shares(kind, other) => self.sharers(node, *kind).map(|with| {
                let found = with.iter().find(|n| *n == other).or_else(|| with.first());
                found.map_or(Fact::HasOwn(*kind), |first| Fact::Shares(*kind, first.clone()))
            }),
            Fact::HasDevices(_) => self.at(node, devices).and_then(|names| {
                let read = names.iter().map(|n| n.parse()).collect::<Result<_, _>>();
                read.map(Fact::HasDevices).map_err(|_| Error::words("read", "devices", names.join(", ")))
            }),
            Fact::HasMount(path) | Fact::HasNoMount(path) => {
                self.at(node, || is_mounted(path)).map(|mounted| match mounted {
                    true => Fact::HasMount(path.clone()),
                    false => Fact::HasNoMount(path.clone()),
                })
            }
            Fact::HasSize(_, path) => self.at(node, || size(path)).map(|n| Fact::HasSize(n, path.clone())),
            Fact::HasSysctl(key, _) => {
                self.at(node, || sysctl(key)).map(|value| Fact::HasSysctl(key.clone(), value))
            }
            Fact::HasNoRoute(to) | Fact::Routes(to, ..) => self.first_hop(node, *to),
            Fact::Writes(path) | Fact::CannotWrite(path) => {
                self.writes(node, path, &mark).map(|writes| match writes {
                    true => Fact::Writes(path.clone()),
                    false => Fact::CannotWrite(path.clone()),
                })
            }
            Fact::Resolves(..) => return None,
        })
    }

    /// A node's agent, and the orders that its libc is asked by.
    pub(in crate::linux::stage) fn agent(&self, node: &NodeName) -> Result<Rc<Agent>, Error> {
        Ok(Rc::clone(&self.actor(node)?.agent))
    }

    fn at<T>(&self, node: &NodeName, look: impl FnOnce() -> io::Result<T>) -> Result<T, Error>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        // The first is the stage's own, from which this starts.
        let (_, _, spaces) = self.entry(node)?;
        witness(spaces.get(1..).unwrap_or_default(), look)
            .map_err(|e| Error { object: node.to_string(), ..e })
    }

    /// Whether whoever a node's programs run as can make a file in a folder.
    fn writes(&self, node: &NodeName, path: &str, mark: &str) -> Result<bool, Error> {
        let (_, user, _) = self.entry(node)?;
        let (uid, gid) = (user.uid, user.gid);
        let wrote = self.at(node, || {
            // What the image would bring is there.
            let there = fs::create_dir_all(path);
            if let Err(e) = user.take_on() {
                // The namespace has no such id (man 2 setuid).
                return if e.raw_os_error() == Some(libc::EINVAL) { Ok(None) } else { Err(e) };
            }
            Ok(Some(there.and_then(|()| make(path, mark)).and_then(fs::remove_file).is_ok()))
        })?;
        wrote.ok_or_else(|| unmapped(format!("user {uid}:{gid}")))
    }

    fn sees(&self, node: &NodeName, things: &Things, other: &NodeName, mark: &str) -> Result<bool, Error> {
        match things {
            Things::Processes => Ok(self.number(node, other)?.is_some()),
            Things::Sockets => {
                let network = |n: &NodeName| self.space(NsKind::Network, &self.actor(n)?.network);
                let failed = |e: io::Error| Error::new("look for", "sockets", &e);
                let name = SocketAddr::from_abstract_name(mark).map_err(failed)?;
                let _open = network(other)?
                    .inside(|| UnixListener::bind_addr(&name))
                    .and_then(|l| l)
                    .map_err(failed)?;
                Ok(network(node)?.inside(|| UnixStream::connect_addr(&name)).map_err(failed)?.is_ok())
            }
            Things::IpcObjects => {
                let key = i32::try_from(self.asked).unwrap_or(i32::MAX);
                let id = self.at(other, || segment(key, libc::IPC_CREAT | libc::IPC_EXCL | 0o600))?;
                let found = self.at(node, || Ok(segment(key, 0).is_ok()));
                self.at(other, || remove_segment(id))?;
                found
            }
            Things::Files(path) => {
                let file = self.at(other, || make(path, mark))?;
                let found = self.at(node, || Ok(Path::new(&file).exists()));
                self.at(other, || fs::remove_file(&file))?;
                found
            }
        }
    }

    /// The number that another's first process has in a node's /proc.
    fn number(&self, node: &NodeName, other: &NodeName) -> Result<Option<u32>, Error> {
        let mount = self.link(other, NsKind::Mount)?;
        self.at(node, || {
            let numbers =
                fs::read_dir("/proc")?.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
            let mut first: Vec<u32> = numbers
                .filter(|n| {
                    fs::read_link(format!("/proc/{n}/ns/mnt"))
                        .is_ok_and(|link| link.as_os_str() == mount.as_str())
                })
                .collect();
            first.sort_unstable();
            Ok(first.first().copied())
        })
    }

    fn sees_pid(&self, node: &NodeName, other: &NodeName, asked: Pid) -> So {
        let Some(number) = self.number(node, other)? else {
            return Ok(Fact::SeesNo(Things::Processes, other.clone()));
        };
        let own = self.number(other, other)?;
        let pid = match asked {
            Pid::Is(_) => Pid::Is(number),
            Pid::TheSame | Pid::Another if own == Some(number) => Pid::TheSame,
            Pid::TheSame | Pid::Another => Pid::Another,
        };
        Ok(Fact::SeesPid(other.clone(), pid))
    }

    /// A file that belongs to an id of another's, and whose it is for a node.
    fn sees_id(
        &self,
        node: &NodeName,
        kind: IdKind,
        id: u32,
        other: &NodeName,
        mark: &str,
    ) -> Result<u32, Error> {
        let failed = |e: io::Error| Error::new("look at", format!("ids of {other}"), &e);
        let map = match kind {
            IdKind::Uid => "uid_map",
            IdKind::Gid => "gid_map",
        };
        let map =
            fs::read_to_string(format!("/proc/{}/{map}", self.actor(other)?.node.pid())).map_err(failed)?;
        let outside = outside(&map, id).ok_or_else(|| unmapped(format!("id {id}")))?;
        let path = Path::new(super::super::FOLDER).join(mark);
        let file = File::create(&path).map_err(failed)?;
        fs::remove_file(&path).map_err(failed)?;
        let (uid, gid) = match kind {
            IdKind::Uid => (Some(outside), None),
            IdKind::Gid => (None, Some(outside)),
        };
        std::os::unix::fs::fchown(&file, uid, gid).map_err(failed)?;
        self.at(node, || {
            let found = file.metadata()?;
            Ok(match kind {
                IdKind::Uid => std::os::unix::fs::MetadataExt::uid(&found),
                IdKind::Gid => std::os::unix::fs::MetadataExt::gid(&found),
            })
        })
    }

    /// The other nodes whose processes are in a node's namespace of a kind.
    fn sharers(&self, node: &NodeName, kind: NsKind) -> Result<Vec<NodeName>, Error> {
        let own = self.link(node, kind)?;
        let others = self.nodes.keys().filter(|other| *other != node);
        let mut with = Vec::new();
        for other in others {
            if self.link(other, kind)? == own {
                with.push(other.clone());
            }
        }
        Ok(with)
    }

    /// What the kernel calls the namespace that a node's first process is in.
    fn link(&self, node: &NodeName, kind: NsKind) -> Result<String, Error> {
        let path = format!("/proc/{}/ns/{}", self.actor(node)?.node.pid(), file_name(kind));
        let link = fs::read_link(&path)
            .map_err(|e| Error::new("look at", format!("{kind} namespace of {node}"), &e))?;
        Ok(link.to_string_lossy().into_owned())
    }

    fn first_hop(&self, node: &NodeName, to: IpAddr) -> So {
        let space: &Rc<Space> = self.space(NsKind::Network, &self.actor(node)?.network)?;
        let mut ip = Command::new("ip");
        ip.args(["-o", "route", "get", &to.to_string()]);
        let failed = |e: io::Error| {
            let error = Error::new("ask for", format!("the route to {to}"), &e);
            if e.kind() == io::ErrorKind::NotFound { error.missing("install iproute2") } else { error }
        };
        let output = space.inside(|| ip.output()).and_then(|o| o).map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words: Vec<&str> = text.split_whitespace().collect();
        let after =
            |word: &str| words.iter().position(|w| *w == word).and_then(|i| words.get(i + 1)).copied();
        let via = after("via").and_then(|word| word.parse().ok());
        match after("dev").and_then(|word| word.parse().ok()) {
            Some(dev) if output.status.success() => Ok(Fact::Routes(to, via, dev)),
            Some(_) | None => Ok(Fact::HasNoRoute(to)),
        }
    }
}

/// The addresses that a node's libc finds.
///
/// # Errors
/// Where its agent cannot ask.
pub(in crate::linux::stage) async fn resolves(agent: &Agent, name: &str) -> So {
    match agent.order(Order::Resolve { name: name.to_owned(), family: None }).await? {
        Reply::Addresses(mut found) => {
            found.sort();
            Ok(Fact::Resolves(name.to_owned(), found))
        }
        other @ (Reply::Done | Reply::Outcome(_) | Reply::Failed(_)) => {
            Err(Error::words("understand", "an agent", format!("it answered {other:?}")))
        }
    }
}

fn hostname() -> io::Result<String> {
    Ok(uname()?.nodename().to_string_lossy().into_owned())
}

fn domainname() -> io::Result<String> {
    Ok(uname()?.domainname().to_string_lossy().into_owned())
}

fn devices() -> io::Result<Vec<String>> {
    Ok(if_nameindex()?.iter().map(|i| i.name().to_string_lossy().into_owned()).collect())
}

/// Whoever has root's id alone cannot try what needs another.
fn unmapped(object: String) -> Error {
    Error::words("find", object, "there is no such id here").missing(SUBIDS)
}

/// Whether something is mounted at a path, by the list of the node's first process (man 5 proc, mountinfo).
fn is_mounted(path: &str) -> io::Result<bool> {
    let text = fs::read_to_string("/proc/1/mountinfo")?;
    Ok(text.lines().any(|line| line.split_whitespace().nth(4) == Some(path)))
}

/// What a setting is; in a device's name a slash stands for a dot (man 8 sysctl).
fn sysctl(key: &str) -> io::Result<String> {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = key.chars().map(swap).collect();
    let text = fs::read_to_string(Path::new("/proc/sys").join(path))
        .map_err(|e| io::Error::new(e.kind(), format!("{key}: {e}")))?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn size(path: &str) -> io::Result<u64> {
    let found = statvfs(path)?;
    Ok(found.blocks() * found.fragment_size())
}

/// Makes a file in a folder, which is made too where the image has none.
fn make(folder: &str, name: &str) -> io::Result<String> {
    fs::create_dir_all(folder)?;
    let path = Path::new(folder).join(name);
    File::create(&path)?;
    Ok(path.to_string_lossy().into_owned())
}

/// A System V segment of a key (man 2 shmget).
fn segment(key: i32, flags: i32) -> io::Result<i32> {
    // SAFETY: takes and gives numbers alone.
    Ok(Errno::result(unsafe { libc::shmget(key, 4096, flags) })?)
}

fn remove_segment(id: i32) -> io::Result<()> {
    // SAFETY: the command takes no buffer.
    Ok(Errno::result(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }).map(drop)?)
}

/// Where an id of a user namespace is outside (man 7 user_namespaces).
fn outside(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [inside, outside, count] = numbers.as_slice() else { return None };
        let place = id.checked_sub(*inside).filter(|place| place < count)?;
        outside.checked_add(place)
    })
}
