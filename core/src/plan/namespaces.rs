//! The seven namespaces of a container: its own, the host's, or another container's.

use std::collections::BTreeMap;

use super::container::Ctr;
use super::wire::item;
use super::{Item, MountRoot, Namespace, NsName, Object, Process};
use crate::probe::NsKind;
use crate::topology::{CgroupMode, Daemon, IpcMode, NetworkMode, NodeName, PidMode};

/// What /dev/shm holds where nobody says (docs: docker run, `--shm-size`).
pub(super) const SHM_BYTES: u64 = 64 << 20;

/// Whose namespace of each kind a container runs in.
pub(super) fn owners(ctr: &Ctr, host: &NodeName, daemon: &Daemon) -> BTreeMap<NsKind, NodeName> {
    let spec = &ctr.spec;
    let ipc = match spec.ipc.as_ref().unwrap_or(&daemon.default_ipc_mode) {
        IpcMode::None | IpcMode::Private | IpcMode::Shareable => &spec.node,
        IpcMode::Host => host,
        IpcMode::Container(donor) => &donor.node,
    };
    let pid = match &spec.pid {
        PidMode::Private => &spec.node,
        PidMode::Host => host,
        PidMode::Container(donor) => &donor.node,
    };
    let network = match &spec.network {
        NetworkMode::Host => host,
        NetworkMode::Container(donor) => &donor.node,
        NetworkMode::DefaultBridge(_) | NetworkMode::Networks(_) | NetworkMode::None => &spec.node,
    };
    let cgroup = match spec.cgroup.unwrap_or(daemon.default_cgroupns_mode) {
        CgroupMode::Private => &spec.node,
        CgroupMode::Host => host,
    };
    let uts = if spec.uts_host { host } else { &spec.node };
    BTreeMap::from([
        (NsKind::Network, network.clone()),
        (NsKind::Mount, spec.node.clone()),
        (NsKind::Ipc, ipc.clone()),
        (NsKind::Pid, pid.clone()),
        (NsKind::Uts, uts.clone()),
        (NsKind::User, host.clone()),
        (NsKind::Cgroup, cgroup.clone()),
    ])
}

/// The namespaces that are a container's own.
pub(super) fn items(
    ctr: &Ctr,
    hostname: &str,
    owners: &BTreeMap<NsKind, NodeName>,
    daemon: &Daemon,
) -> Vec<Item> {
    let node = ctr.node();
    let own = owners.iter().filter(|(_, owner)| *owner == node);
    own.map(|(kind, _)| item(node.as_str(), Object::Namespace(namespace(*kind, ctr, hostname, daemon))))
        .collect()
}

fn namespace(kind: NsKind, ctr: &Ctr, hostname: &str, daemon: &Daemon) -> Namespace {
    let process = &ctr.spec.process;
    match kind {
        NsKind::Network => Namespace::Network,
        NsKind::Mount => Namespace::Mount(MountRoot {
            read_only: process.read_only,
            tmpfs: process.tmpfs.clone(),
            mounts: process.mounts.clone(),
        }),
        NsKind::Ipc => {
            let mode = ctr.spec.ipc.as_ref().unwrap_or(&daemon.default_ipc_mode);
            let shm_size = (*mode != IpcMode::None).then(|| process.shm_size.unwrap_or(SHM_BYTES));
            Namespace::Ipc { shm_size }
        }
        NsKind::Pid => Namespace::Pid,
        NsKind::Uts => {
            Namespace::Uts { hostname: hostname.to_owned(), domainname: ctr.spec.domainname.clone() }
        }
        NsKind::User => Namespace::User { map: REMAPPED },
        NsKind::Cgroup => Namespace::Cgroup,
    }
}

/// The first range that `useradd` writes into /etc/subuid, and so what `userns-remap: default` maps to.
const REMAPPED: super::IdMap = super::IdMap { inside: 0, outside: 100_000, count: 65_536 };

/// The container's process.
pub(super) fn process(ctr: &Ctr, owners: &BTreeMap<NsKind, NodeName>) -> Item {
    let options = &ctr.spec.process;
    let process = Process {
        node: ctr.node().clone(),
        container: Some(ctr.spec.name.clone()),
        namespaces: owners.iter().map(|(kind, owner)| (*kind, NsName::from(owner))).collect(),
        cap_add: options.cap_add.clone(),
        cap_drop: options.cap_drop.clone(),
        privileged: options.privileged,
        user: options.user.clone(),
    };
    item(ctr.node().as_str(), Object::Process(process))
}
