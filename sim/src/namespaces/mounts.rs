//! What a node finds mounted, where its files are kept, and where it may make any (man 7 mount_namespaces).
//!
//! *Departures*: a directory that a trial names is there, whatever the image holds. A bind mount's source belongs to the
//! machine's root and is open to nobody else, but for /tmp.

use seatrial_core::plan::{MountRoot, Namespace, NsName};
use seatrial_core::probe::{Fact, NsKind};
use seatrial_core::topology::{Mount as Volume, NodeName};

use super::{Namespaces, Unmet, machine};

/// A tmpfs holds whole pages (mm/shmem.c); 4 KiB each, as on x86 and most others.
const PAGE_BYTES: u64 = 4096;
/// What runc mounts /dev with (moby, oci/defaults.go: `size=65536k`).
const DEV_BYTES: u64 = 64 << 20;

/// Something mounted.
#[derive(Debug, Clone)]
struct Mount {
    at: String,
    source: Place,
    writable: Writable,
    size: Size,
}

/// A directory, whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    store: Store,
    path: String,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Store {
    /// The root of a mount namespace.
    Root(NsName),
    /// What was mounted for one mount namespace alone, and where.
    Own(NsName, String),
    /// A machine's volume.
    Volume(NodeName, String),
    /// /dev/shm of an IPC namespace.
    Shm(NsName),
    /// The queues of an IPC namespace.
    Queues(NsName),
}

/// Who may make a file there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writable {
    Nobody,
    /// The container's root.
    Root,
    /// The machine's root: nobody of a remapped user namespace.
    MachineRoot,
    Everybody,
}

/// How many bytes a file system holds in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Bytes(u64),
    /// That of the disk, or half of the memory.
    Machine,
}

impl Place {
    const fn root(store: Store) -> Self {
        Self { store, path: String::new() }
    }

    /// A directory below this one.
    fn below(&self, rest: &str) -> Self {
        let rest = rest.trim_start_matches('/');
        let path = match (self.path.as_str(), rest) {
            (path, "") => path.to_owned(),
            ("", rest) => rest.to_owned(),
            (path, rest) => format!("{path}/{rest}"),
        };
        Self { store: self.store.clone(), path }
    }
}

impl Namespaces {
    /// Whether something is mounted exactly there.
    pub(super) fn is_mounted(&self, node: &NodeName, path: &str) -> Result<bool, Unmet> {
        let mounts = self.mounts(node);
        let there = mounts.iter().any(|m| m.at == path);
        // Docker covers some files there, of those that this kernel has.
        let masked = ["/proc/", "/sys/"].iter().any(|dir| path.starts_with(dir));
        if masked && !there {
            return Err(Unmet::Otherwise(format!("what is mounted at {path} depends on the kernel")));
        }
        Ok(there)
    }

    /// The size of what is mounted exactly there.
    pub(super) fn observe_size(&self, node: &NodeName, path: &str) -> Result<Fact, Unmet> {
        match self.mounts(node).iter().find(|m| m.at == path).map(|m| m.size) {
            None => Ok(Fact::HasNoMount(path.to_owned())),
            Some(Size::Bytes(bytes)) => Ok(Fact::HasSize(bytes, path.to_owned())),
            Some(Size::Machine) => {
                Err(Unmet::Otherwise(format!("how much {node} has at {path} depends on the machine")))
            }
        }
    }

    /// Whether a node's process may make a file in a directory.
    pub(super) fn writes(&self, node: &NodeName, dir: &str) -> bool {
        let user = self.processes.get(node).and_then(|p| p.user.as_deref()).unwrap_or("root");
        let root = matches!(user.split(':').next(), Some("root" | "0" | ""));
        let on_machine = self.space(node, NsKind::User) == self.space(&self.machine_of(node), NsKind::User);
        match self.mount_of(node, dir).map(|(mount, _)| mount.writable) {
            None | Some(Writable::Nobody) => false,
            Some(Writable::Root) => root,
            Some(Writable::MachineRoot) => root && on_machine,
            Some(Writable::Everybody) => true,
        }
    }

    /// Which directory a path of a node's is.
    pub(super) fn place(&self, node: &NodeName, path: &str) -> Option<Place> {
        let (mount, rest) = self.mount_of(node, path)?;
        Some(mount.source.below(&rest))
    }

    /// What a path is on, and the rest of the path.
    fn mount_of(&self, node: &NodeName, path: &str) -> Option<(Mount, String)> {
        let rest = |at: &str| {
            let rest = path.strip_prefix(at.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
        };
        let found = self.mounts(node).into_iter().filter_map(|m| rest(&m.at).map(|rest| (m, rest)));
        let (mut mount, rest) = found.max_by_key(|(m, _)| m.at.len())?;
        // Everybody's, in every image.
        if mount.at == "/" && mount.writable == Writable::Root && is_below(path, "/tmp") {
            mount.writable = Writable::Everybody;
        }
        Some((mount, rest))
    }

    /// Everything that a node finds mounted, as Docker mounts it.
    fn mounts(&self, node: &NodeName) -> Vec<Mount> {
        let Some((space, root)) = self.mount_root(node) else { return Vec::new() };
        let own = |at: &str, writable, size| {
            let source = Place::root(Store::Own(space.clone(), at.to_owned()));
            Mount { at: at.to_owned(), source, writable, size }
        };
        let writable = if root.read_only { Writable::Nobody } else { Writable::Root };
        let source = Place::root(Store::Root(space.clone()));
        let mut mounts = vec![Mount { at: "/".to_owned(), source, writable, size: Size::Machine }];
        mounts.push(own("/dev", Writable::Root, Size::Bytes(DEV_BYTES)));
        let views = ["/proc", "/sys", "/sys/fs/cgroup", "/dev/pts"];
        mounts.extend(views.map(|at| own(at, Writable::Nobody, Size::Bytes(0))));
        mounts.extend(self.ipc_mounts(node));
        if self.processes.get(node).is_some_and(|p| p.container.is_some()) {
            let files = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
            mounts.extend(files.map(|at| own(at, Writable::Nobody, Size::Machine)));
        }
        let users = root.tmpfs.iter().map(|text| tmpfs(space, text));
        let users: Vec<Mount> =
            users.chain(root.mounts.iter().map(|m| self.volume(node, space, m))).collect();
        // What the user mounts stands in place of Docker's own.
        mounts.retain(|m| !users.iter().any(|u| u.at == m.at));
        mounts.extend(users);
        mounts
    }

    fn mount_root(&self, node: &NodeName) -> Option<(&NsName, &MountRoot)> {
        let space = self.space(node, NsKind::Mount)?;
        match self.find(NsKind::Mount, space)? {
            Namespace::Mount(root) => Some((space, root)),
            Namespace::Network | Namespace::Ipc { .. } | Namespace::Pid => None,
            Namespace::Uts { .. } | Namespace::User { .. } | Namespace::Cgroup => None,
        }
    }

    /// What goes with the IPC namespace; /dev/shm is not there for `ipc: none`.
    fn ipc_mounts(&self, node: &NodeName) -> Vec<Mount> {
        let Some(ipc) = self.space(node, NsKind::Ipc) else { return Vec::new() };
        let mount = |at: &str, store, size| Mount {
            at: at.to_owned(),
            source: Place::root(store),
            writable: Writable::Everybody,
            size,
        };
        let mut mounts = vec![mount("/dev/mqueue", Store::Queues(ipc.clone()), Size::Bytes(0))];
        if let Some(Namespace::Ipc { shm_size: Some(bytes) }) = self.find(NsKind::Ipc, ipc) {
            mounts.push(mount("/dev/shm", Store::Shm(ipc.clone()), Size::Bytes(pages(*bytes))));
        }
        mounts
    }

    /// A bind mount, a volume by name, or one without.
    fn volume(&self, node: &NodeName, space: &NsName, volume: &Volume) -> Mount {
        let machine = self.machine_of(node);
        let (source, writable) = match volume.source.as_deref() {
            None | Some("") => {
                (Place::root(Store::Own(space.clone(), volume.target.clone())), Writable::Root)
            }
            Some(path) if path.starts_with(['/', '.', '~']) => {
                let open = is_below(path, "/tmp");
                (self.bound(&machine, path), if open { Writable::Everybody } else { Writable::MachineRoot })
            }
            Some(name) => (Place::root(Store::Volume(machine, name.to_owned())), Writable::Root),
        };
        let writable = if volume.read_only { Writable::Nobody } else { writable };
        let at = volume.target.trim_end_matches('/').to_owned();
        Mount { at, source, writable, size: Size::Machine }
    }

    /// A directory of the machine's; one that is not absolute is the project's.
    fn bound(&self, machine: &NodeName, path: &str) -> Place {
        let path = path.trim_end_matches('/');
        let absolute = path.starts_with('/').then(|| self.place(machine, path)).flatten();
        let root = self.space(machine, NsKind::Mount).cloned().unwrap_or_else(|| NsName::from(machine));
        absolute.unwrap_or_else(|| Place { store: Store::Root(root), path: path.to_owned() })
    }

    fn machine_of(&self, node: &NodeName) -> NodeName {
        let container = self.processes.get(node).is_some_and(|p| p.container.is_some());
        if container { machine(node) } else { node.clone() }
    }
}

/// `PATH[:OPTIONS]`. Everybody may write where no mode says otherwise (man 5 tmpfs).
fn tmpfs(space: &NsName, text: &str) -> Mount {
    let (at, options) = text.split_once(':').unwrap_or((text, ""));
    let value = |key: &str| options.split(',').filter_map(|o| o.strip_prefix(key)).next_back();
    let mode = value("mode=").and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o1777);
    let writable = match (options.split(',').any(|o| o == "ro"), mode & 0o2 != 0) {
        (true, _) => Writable::Nobody,
        (false, true) => Writable::Everybody,
        (false, false) => Writable::Root,
    };
    let size = value("size=").and_then(bytes).map_or(Size::Machine, |bytes| Size::Bytes(pages(bytes)));
    let at = at.trim_end_matches('/').to_owned();
    Mount { source: Place::root(Store::Own(space.clone(), at.clone())), at, writable, size }
}

/// A number with k, m or g (lib/cmdline.c: `memparse`); none for a share of the memory, as in `50%`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

const fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES) * PAGE_BYTES
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
