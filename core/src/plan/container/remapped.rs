//! What Docker refuses where users are remapped (`userns-remap`; 28.5.2 observed; daemon/container.go, runc).

use super::check::RUNC;
use crate::diagnostic::Diagnostic;
use crate::plan::NsName;
use crate::plan::dockerd::Dockerd;
use crate::probe::NsKind;
use crate::topology::{Container, ContainerRef, IpcMode, NetworkMode, PidMode};

/// What comes before the words of the process that is to be the container's first.
const INIT: &str = "unable to start container process: error during container init: ";

impl Dockerd {
    /// An option that remapped users exclude, as soon as the container is made.
    pub(super) fn conflict_when_remapped(&self, spec: &Container) -> Option<&'static str> {
        let pairs = [
            (
                spec.process.privileged,
                "privileged mode is incompatible with user namespaces.  You must run the container in the host \
                 namespace when running privileged mode",
            ),
            (
                matches!(spec.network, NetworkMode::Host),
                "cannot share the host's network namespace when user namespaces are enabled",
            ),
            (
                spec.pid == PidMode::Host,
                "cannot share the host PID namespace when user namespaces are enabled",
            ),
        ];
        let found = pairs.into_iter().find_map(|(holds, words)| holds.then_some(words));
        found.filter(|_| self.is_remapped(spec))
    }

    /// What the kernel does not let remapped users do, when the container starts.
    pub(super) fn check_remapped(&self, spec: &Container) -> Result<(), Diagnostic> {
        if !self.is_remapped(spec) {
            return Ok(());
        }
        let refuse = |at, found: String| Err(Diagnostic::new(at, format!("{RUNC}{found}")));
        let user = |donor: &ContainerRef| self.find(donor).map(|ctr| ctr.ns(NsKind::User));
        let host = NsName::from(&self.host.name);
        let donor = last_donor(spec);
        if let Some(donor) = donor.filter(|donor| user(donor) == Some(host.clone())) {
            let words = "user namespaces enabled, but both namespace path and non-matching mapping specified -- you \
                         may only provide one";
            return refuse(donor.at.clone(), words.to_owned());
        }
        // Its root rules over nothing that belongs to another user namespace, and its views of that are not mounted.
        let foreign = |other: &ContainerRef| donor.is_some_and(|donor| user(donor) != user(other));
        let sysfs = "error mounting \"sysfs\" to rootfs at \"/sys\": mount src=sysfs, dst=/sys, \
                     dstFd=/proc/thread-self/fd/14, flags=MS_RDONLY|MS_NOSUID|MS_NODEV|MS_NOEXEC: operation not \
                     permitted";
        let mqueue = "error mounting \"mqueue\" to rootfs at \"/dev/mqueue\": mount src=mqueue, dst=/dev/mqueue, \
                      dstFd=/proc/thread-self/fd/11, flags=MS_NOSUID|MS_NODEV|MS_NOEXEC: operation not permitted";
        if let NetworkMode::Container(other) = &spec.network
            && foreign(other)
        {
            return refuse(other.at.clone(), format!("{INIT}{sysfs}"));
        }
        match &spec.ipc {
            Some(IpcMode::Host) => return refuse(spec.at.clone(), format!("{INIT}{mqueue}")),
            Some(IpcMode::Container(other)) if foreign(other) => {
                return refuse(other.at.clone(), format!("{INIT}{mqueue}"));
            }
            Some(IpcMode::Container(_) | IpcMode::None | IpcMode::Private | IpcMode::Shareable) | None => {}
        }
        if self.domainname(spec).is_some() {
            let words = "open sysctl kernel.domainname file: reopen fd 8: permission denied";
            return refuse(spec.at.clone(), format!("{INIT}{words}"));
        }
        Ok(())
    }

    /// Whether the container's users are not the host's.
    pub(in crate::plan) fn is_remapped(&self, spec: &Container) -> bool {
        self.host.daemon.userns_remap.is_some() && !spec.userns_host
    }
}

/// The container whose user namespace a remapped one joins: that of the last it shares something with, in the order in
/// which they are looked at (moby, daemon/oci_linux.go: `WithNamespaces`).
pub(in crate::plan) fn last_donor(spec: &Container) -> Option<&ContainerRef> {
    let network = match &spec.network {
        NetworkMode::Container(donor) => Some(donor),
        NetworkMode::DefaultBridge(_) | NetworkMode::Networks(_) | NetworkMode::Host | NetworkMode::None => {
            None
        }
    };
    let ipc = match &spec.ipc {
        Some(IpcMode::Container(donor)) => Some(donor),
        Some(IpcMode::None | IpcMode::Private | IpcMode::Shareable | IpcMode::Host) | None => None,
    };
    let pid = match &spec.pid {
        PidMode::Container(donor) => Some(donor),
        PidMode::Private | PidMode::Host => None,
    };
    pid.or(ipc).or(network)
}
