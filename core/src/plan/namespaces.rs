//! The seven namespaces of a container: its own, the host's, or another container's.

use super::container::{Ctr, last_donor};
use super::dockerd::Dockerd;
use super::objects::setting_items;
use super::wire::item;
use super::{IdMap, Item, MountRoot, Namespace, NsName, Object, Process};
use crate::probe::NsKind;
use crate::topology::{CgroupMode, Container, IpcMode, NetworkMode, NodeName, PidMode};

/// What /dev/shm holds where nobody says (docs: docker run, `--shm-size`).
pub(super) const SHM_BYTES: u64 = 64 << 20;
/// What `userns-remap: default` maps to: the first range that `useradd` writes into /etc/subuid.
const REMAPPED: IdMap = IdMap { inside: 0, outside: 100_000, count: 65_536 };
/// How many containers may join one another in a row; compose refuses circles.
const MAX_CHAIN: usize = 64;

/// A namespace that its container left while others are in it.
#[derive(Debug, Clone)]
pub(super) struct Lingering {
    kind: NsKind,
    name: NsName,
    /// The namespace, and what is still in it.
    pub(super) items: Vec<Item>,
}

/// Whose namespace it is.
#[derive(Debug, Clone, Copy)]
enum Owner<'a> {
    Own,
    Host,
    Container(&'a NodeName),
}

impl Dockerd {
    /// The namespaces a container that starts gets: its own, new ones, or those that the host and its donors are in.
    ///
    /// A namespace lives as long as somebody is in it: where others stayed in the one that the container left, the
    /// new one has another name.
    pub(super) fn enter(&self, ctr: &mut Ctr) {
        for kind in NsKind::ALL {
            let name = match self.owner_as_written(kind, &ctr.spec) {
                Owner::Own => self.new_name(kind, &ctr.spec.node),
                Owner::Host => NsName::from(&self.host.name),
                Owner::Container(donor) => {
                    let donor = self.containers.iter().find(|c| c.node() == donor);
                    let joined = donor.and_then(|c| c.namespaces.get(&kind)).cloned();
                    joined.unwrap_or_else(|| NsName::from(&ctr.spec.node))
                }
            };
            ctr.namespaces.insert(kind, name);
        }
    }

    /// The node's name, or that and the first number that no lingering namespace has.
    fn new_name(&self, kind: NsKind, node: &NodeName) -> NsName {
        let free = |name: &NsName| !self.lingering.iter().any(|l| l.kind == kind && l.name == *name);
        let numbered = (2..).map(|n: u32| NsName::from(format!("{node}~{n}")));
        std::iter::once(NsName::from(node)).chain(numbered).find(free).unwrap_or_else(|| NsName::from(node))
    }

    /// Whose namespace of a kind a container is to run in; whoever it joins may have joined another.
    pub(super) fn owner(&self, kind: NsKind, spec: &Container) -> NodeName {
        let mut spec = spec;
        for _ in 0..MAX_CHAIN {
            match self.owner_as_written(kind, spec) {
                Owner::Own => break,
                Owner::Host => return self.host.name.clone(),
                Owner::Container(donor) => match self.host.containers.iter().find(|c| c.node == *donor) {
                    Some(next) => spec = next,
                    None => return donor.clone(),
                },
            }
        }
        spec.node.clone()
    }

    fn owner_as_written<'a>(&'a self, kind: NsKind, spec: &'a Container) -> Owner<'a> {
        match kind {
            NsKind::Network => match &spec.network {
                NetworkMode::Host => Owner::Host,
                NetworkMode::Container(donor) => Owner::Container(&donor.node),
                NetworkMode::DefaultBridge(_) | NetworkMode::Networks(_) | NetworkMode::None => Owner::Own,
            },
            NsKind::Ipc => match self.ipc_mode(spec) {
                IpcMode::None | IpcMode::Private | IpcMode::Shareable => Owner::Own,
                IpcMode::Host => Owner::Host,
                IpcMode::Container(donor) => Owner::Container(&donor.node),
            },
            NsKind::Pid => match &spec.pid {
                PidMode::Private => Owner::Own,
                PidMode::Host => Owner::Host,
                PidMode::Container(donor) => Owner::Container(&donor.node),
            },
            NsKind::Mount => Owner::Own,
            NsKind::Uts if spec.uts_host => Owner::Host,
            NsKind::Uts => Owner::Own,
            NsKind::User => self.user_owner(spec),
            NsKind::Cgroup => match spec.cgroup.unwrap_or(self.host.daemon.default_cgroupns_mode) {
                CgroupMode::Private => Owner::Own,
                CgroupMode::Host => Owner::Host,
            },
        }
    }

    /// Whoever shares a namespace must share the user namespace it belongs to (daemon/oci_linux.go).
    fn user_owner<'a>(&'a self, spec: &'a Container) -> Owner<'a> {
        if !self.is_remapped(spec) {
            return Owner::Host;
        }
        last_donor(spec).map_or(Owner::Own, |donor| Owner::Container(&donor.node))
    }

    fn ipc_mode<'a>(&'a self, spec: &'a Container) -> &'a IpcMode {
        spec.ipc.as_ref().unwrap_or(&self.host.daemon.default_ipc_mode)
    }

    /// The kinds of namespaces that a running container has to itself.
    pub(super) fn own_kinds(&self, ctr: &Ctr) -> Vec<NsKind> {
        let own = |kind: &NsKind| matches!(self.owner_as_written(*kind, &ctr.spec), Owner::Own);
        // The others belong to that of users: it comes first.
        let users = std::iter::once(NsKind::User);
        let others = NsKind::ALL.into_iter().filter(|kind| *kind != NsKind::User);
        users.chain(others).filter(|kind| ctr.is_running() && own(kind)).collect()
    }

    /// Whether others than a container are in its namespace of a kind.
    fn has_guests(&self, ctr: &Ctr, kind: NsKind) -> bool {
        let others = self.containers.iter().filter(|c| c.is_running() && c.node() != ctr.node());
        others.filter_map(|c| c.namespaces.get(&kind)).any(|name| Some(name) == ctr.namespaces.get(&kind))
    }

    /// A container stops: what others are in stays behind, without its devices.
    pub(super) fn linger(&mut self, ctr: &Ctr) {
        let kinds = self.own_kinds(ctr);
        let joined: Vec<NsKind> = kinds.into_iter().filter(|kind| self.has_guests(ctr, *kind)).collect();
        for kind in joined {
            let mut items = vec![self.namespace(kind, ctr)];
            if kind == NsKind::Network {
                items.extend(self.netns_items(ctr));
                items.extend(self.rule_items(ctr));
            }
            let name = ctr.ns(kind);
            let settings = setting_items(ctr).into_iter().filter(|item| item.ns == name);
            items.extend(settings);
            self.lingering.push(Lingering { kind, name, items });
        }
    }

    /// What nobody is in any more goes.
    pub(super) fn vanish(&mut self) {
        let containers = &self.containers;
        self.lingering.retain(|l| {
            let mut running = containers.iter().filter(|c| c.is_running());
            running.any(|c| c.namespaces.get(&l.kind) == Some(&l.name))
        });
    }

    /// A namespace of a container's own.
    pub(super) fn namespace(&self, kind: NsKind, ctr: &Ctr) -> Item {
        let process = &ctr.spec.process;
        let namespace = match kind {
            NsKind::Network => Namespace::Network,
            NsKind::Mount => Namespace::Mount(MountRoot {
                read_only: process.read_only,
                tmpfs: process.tmpfs.clone(),
                mounts: process.mounts.clone(),
                rootfs: process.rootfs.as_ref().map(|root| root.path.clone()),
            }),
            NsKind::Ipc => {
                let shm = *self.ipc_mode(&ctr.spec) != IpcMode::None;
                Namespace::Ipc { shm_size: shm.then(|| process.shm_size.unwrap_or(SHM_BYTES)) }
            }
            NsKind::Pid => Namespace::Pid,
            NsKind::Uts => Namespace::Uts {
                hostname: self.hostname(&ctr.spec, &ctr.id),
                domainname: self.domainname(&ctr.spec),
            },
            NsKind::User => Namespace::User { map: REMAPPED },
            NsKind::Cgroup => Namespace::Cgroup,
        };
        Item { ns: ctr.ns(kind), object: Object::Namespace(namespace) }
    }

    /// The container's process.
    pub(super) fn process(ctr: &Ctr) -> Item {
        let options = &ctr.spec.process;
        let process = Process {
            node: ctr.node().clone(),
            container: Some(ctr.spec.name.clone()),
            namespaces: ctr.namespaces.clone(),
            cap_add: options.cap_add.clone(),
            cap_drop: options.cap_drop.clone(),
            privileged: options.privileged,
            user: options.user.clone(),
            program: options.rootfs.as_ref().and_then(|root| root.program.clone()),
        };
        item(ctr.node().as_str(), Object::Process(process))
    }
}
