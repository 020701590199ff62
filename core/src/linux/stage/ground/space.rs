//! Namespaces are made and given up.

use std::fs;
use std::io;
use std::rc::Rc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::unshare;
use rustix::system::{setdomainname, sethostname};

use super::Ground;
use crate::linux::echo::Echoes;
use crate::linux::keeper::Keeper;
use crate::linux::net::Net;
use crate::linux::space::{Space, flag};
use crate::linux::{Error, files, sysctl};
use crate::plan::{IdMap, Namespace, NsName};
use crate::probe::NsKind;
use crate::topology::NodeName;

/// What a kernel begins with (`UTS_DOMAINNAME`).
const NO_DOMAIN: &str = "(none)";

impl Ground {
    /// Makes a namespace. Those of mounts and processes are made with the first process in them: there is no other way
    /// to a PID namespace, and a root is put together from within.
    pub(super) fn make_namespace(&mut self, ns: &NsName, namespace: &Namespace) -> Result<(), Error> {
        match namespace {
            Namespace::Pid => return Ok(()),
            Namespace::Mount(root) => {
                self.roots.insert(ns.clone(), root.clone());
                return Ok(());
            }
            Namespace::User { map } => {
                let keeper = self.keeper(ns, map)?;
                self.hold(ns, keeper.user()?);
                self.keepers.insert(ns.clone(), keeper);
                return Ok(());
            }
            Namespace::Network | Namespace::Ipc { .. } | Namespace::Uts { .. } | Namespace::Cgroup => {}
        }
        let space = self.fresh(ns, namespace.kind())?;
        match namespace {
            Namespace::Network => {
                self.reset(ns, &space)?;
                self.nets.insert(ns.clone(), Net::open(ns.clone(), &space)?);
            }
            Namespace::Ipc { shm_size } => shm(ns, *shm_size)?,
            Namespace::Uts { hostname, domainname } => name(&space, ns, hostname, domainname.as_deref())?,
            Namespace::Cgroup | Namespace::Pid | Namespace::Mount(_) | Namespace::User { .. } => {}
        }
        self.hold(ns, space);
        Ok(())
    }

    /// Takes back what a network namespace has of this machine's settings.
    fn reset(&mut self, ns: &NsName, space: &Space) -> Result<(), Error> {
        match &self.inherited {
            Some(settings) => settings.iter().try_for_each(|s| sysctl::write(space, ns.as_str(), s)),
            None => {
                self.inherited = Some(sysctl::reset(space, ns.as_str())?);
                Ok(())
            }
        }
    }

    /// A user namespace: a machine's has all ids there are and stands beside others'; a container's is below that of its
    /// machine, whose PID namespace its own is to be made in (kernel/pid_namespace.c, create_pid_namespace).
    fn keeper(&self, ns: &NsName, map: &IdMap) -> Result<Keeper, Error> {
        let machine = NsName::from(&NodeName::from(ns.as_str()).machine());
        match self.keepers.get(&machine) {
            Some(machine) if map.outside > 0 => machine.nested(map),
            Some(_) | None => Keeper::start(map),
        }
    }

    /// A namespace that belongs to the user namespace of the process that will run in it.
    fn fresh(&mut self, ns: &NsName, kind: NsKind) -> Result<Space, Error> {
        let owner = self.owners.get(&(kind, ns.clone()));
        match owner.and_then(|user| self.keepers.get_mut(user)) {
            Some(keeper) => keeper.make(kind),
            None => make(kind).map_err(|e| Error::new("make", format!("{kind} namespace {ns}"), &e)),
        }
    }

    pub(super) fn hold(&mut self, ns: &NsName, space: Space) {
        self.spaces.insert((space.kind(), ns.clone()), Rc::new(space));
    }

    /// Who answers an echo is not in the answer: the stage listens where it is asked.
    pub(super) fn listen_for_echoes(&mut self, ns: &NsName) -> Result<(), Error> {
        if !self.echoes.contains_key(ns) {
            let echoes = Echoes::open(self.space(NsKind::Network, ns)?)?;
            self.echoes.insert(ns.clone(), Rc::new(echoes));
        }
        Ok(())
    }

    /// Gives a namespace up: it ends when nobody is in it any more.
    pub(super) fn give_up(&mut self, ns: &NsName, kind: NsKind) -> Result<(), Error> {
        self.spaces.remove(&(kind, ns.clone()));
        match kind {
            NsKind::Network => {
                self.services.retain(|(of, _), _| of != ns);
                self.echoes.remove(ns);
                self.nets.remove(ns);
            }
            NsKind::User => _ = self.keepers.remove(ns),
            NsKind::Mount => {
                self.roots.remove(ns);
                files::clear(ns)?;
            }
            NsKind::Ipc => unshm(ns)?,
            NsKind::Pid | NsKind::Uts | NsKind::Cgroup => {}
        }
        Ok(())
    }
}

/// A namespace of the stage's own.
fn make(kind: NsKind) -> io::Result<Space> {
    let home = Space::current(kind)?;
    unshare(flag(kind))?;
    let made = Space::current(kind);
    home.enter()?;
    made
}

/// The memory that processes of an IPC namespace share: it is mounted on /dev/shm of every container in it.
fn shm(ns: &NsName, size: Option<u64>) -> Result<(), Error> {
    let Some(bytes) = size else { return Ok(()) };
    let folder = files::shm(ns);
    let failed = |e: io::Error| Error::new("make", format!("/dev/shm of {ns}"), &e);
    fs::create_dir_all(&folder).map_err(failed)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=1777,size={bytes}");
    mount(Some("shm"), &folder, Some("tmpfs"), flags, Some(options.as_str())).map_err(|e| failed(e.into()))
}

fn unshm(ns: &NsName) -> Result<(), Error> {
    let folder = files::shm(ns);
    if !folder.exists() {
        return Ok(());
    }
    let failed = |e: io::Error| Error::new("take away", format!("/dev/shm of {ns}"), &e);
    umount2(&folder, MntFlags::MNT_DETACH).map_err(|e| failed(e.into()))?;
    fs::remove_dir(&folder).map_err(failed)
}

fn name(space: &Space, ns: &NsName, hostname: &str, domainname: Option<&str>) -> Result<(), Error> {
    let named = space.inside(|| {
        sethostname(hostname.as_bytes())?;
        // Where the machine has one it would be there too.
        Ok(setdomainname(domainname.unwrap_or(NO_DOMAIN).as_bytes())?)
    });
    named.and_then(|done| done).map_err(|e| Error::new("name", format!("uts namespace {ns}"), &e))
}
