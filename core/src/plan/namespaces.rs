//! The seven namespaces of a container: its own, the host's, or another container's.

use std::collections::BTreeMap;

use super::container::Ctr;
use super::dockerd::Dockerd;
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

/// Whose namespace it is.
#[derive(Debug, Clone, Copy)]
enum Owner<'a> {
    Own,
    Host,
    Container(&'a NodeName),
}

impl Dockerd {
    /// Whose namespaces a container runs in.
    pub(super) fn owners(&self, spec: &Container) -> BTreeMap<NsKind, NodeName> {
        NsKind::ALL.into_iter().map(|kind| (kind, self.owner(kind, spec))).collect()
    }

    /// Whose namespace of a kind a container runs in; whoever it joins may have joined another.
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
        if self.host.daemon.userns_remap.is_none() || spec.userns_host {
            return Owner::Host;
        }
        match (&spec.network, self.ipc_mode(spec), &spec.pid) {
            (NetworkMode::Container(donor), _, _)
            | (_, IpcMode::Container(donor), _)
            | (_, _, PidMode::Container(donor)) => Owner::Container(&donor.node),
            (
                NetworkMode::DefaultBridge(_)
                | NetworkMode::Networks(_)
                | NetworkMode::Host
                | NetworkMode::None,
                IpcMode::None | IpcMode::Private | IpcMode::Shareable | IpcMode::Host,
                PidMode::Private | PidMode::Host,
            ) => Owner::Own,
        }
    }

    fn ipc_mode<'a>(&'a self, spec: &'a Container) -> &'a IpcMode {
        spec.ipc.as_ref().unwrap_or(&self.host.daemon.default_ipc_mode)
    }

    /// The namespaces that are a container's own and alive: all while it runs, later those that others are still in.
    pub(super) fn own_namespaces(&self, ctr: &Ctr) -> Vec<NsKind> {
        let joined = |kind: NsKind| {
            let others = self.containers.iter().filter(|c| c.is_running() && c.node() != ctr.node());
            others.map(|c| self.owner(kind, &c.spec)).any(|owner| owner == *ctr.node())
        };
        let own = NsKind::ALL.into_iter().filter(|k| self.owner(*k, &ctr.spec) == *ctr.node());
        own.filter(|k| ctr.is_running() || joined(*k)).collect()
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
        item(ctr.node().as_str(), Object::Namespace(namespace))
    }

    /// The container's process.
    pub(super) fn process(&self, ctr: &Ctr) -> Item {
        let options = &ctr.spec.process;
        let process = Process {
            node: ctr.node().clone(),
            container: Some(ctr.spec.name.clone()),
            namespaces: self
                .owners(&ctr.spec)
                .iter()
                .map(|(kind, owner)| (*kind, NsName::from(owner)))
                .collect(),
            cap_add: options.cap_add.clone(),
            cap_drop: options.cap_drop.clone(),
            privileged: options.privileged,
            user: options.user.clone(),
        };
        item(ctr.node().as_str(), Object::Process(process))
    }
}
