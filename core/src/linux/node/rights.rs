//! Capabilities and system calls, as Docker leaves them to a container.

use nix::errno::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::seccomp;
use crate::linux::Error;
use crate::plan::Process;

/// What a container may do where nothing else is said (daemon/pkg/oci/caps/defaults.go).
const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// The word for every capability there is.
const ALL: &str = "ALL";

/// Gives up what a container may not do, for good. A machine and a privileged container keep everything.
///
/// Docker sets `no_new_privs` only where it is asked to; here it is always set, because it is what lets a process
/// without rights over the machine take system calls from itself.
///
/// # Errors
/// As the kernel says (man 7 capabilities, man 2 seccomp).
pub fn give_up(process: &Process) -> Result<(), Error> {
    if process.container.is_none() || process.privileged {
        return Ok(());
    }
    let kept = capabilities(process);
    let failed =
        |e: rustix::io::Errno| Error::new("drop", format!("capabilities of {}", process.node), &e.into());
    keep(kept).map_err(failed)?;
    set_no_new_privs(true).map_err(failed)?;
    seccomp::confine(kept).map_err(|e| {
        let error = Error::words("confine", format!("system calls of {}", process.node), e);
        error.missing("a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64")
    })
}

/// Docker's default, with what was added and dropped (daemon/pkg/oci/caps/utils.go, `TweakCapabilities`).
pub(in crate::linux) fn capabilities(process: &Process) -> CapabilitySet {
    let (add, drop) = (&process.cap_add, &process.cap_drop);
    let all = |names: &[String]| names.iter().any(|name| name == ALL);
    let set = |names: &[String]| names.iter().filter_map(|name| CapabilitySet::from_name(name)).collect();
    let (added, dropped): (CapabilitySet, CapabilitySet) = (set(add), set(drop));
    if all(add) {
        CapabilitySet::all().difference(dropped)
    } else if all(drop) {
        added
    } else {
        DEFAULT.difference(dropped).union(added)
    }
}

/// What is added to Docker's default and dropped from it to come to these.
pub(in crate::linux) fn options(kept: CapabilitySet) -> (Vec<String>, Vec<String>) {
    let names = |set: CapabilitySet| set.iter_names().map(|(name, _)| name.to_owned()).collect();
    (names(kept.difference(DEFAULT)), names(DEFAULT.difference(kept)))
}

/// Keeps capabilities, and no way to get others. None is inherited by programs that do not run as root: that was a
/// fault of Docker's (CVE-2022-24769).
fn keep(kept: CapabilitySet) -> rustix::io::Result<()> {
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // The last that this kernel has was the one before.
            Err(e) if e.raw_os_error() == Errno::EINVAL as i32 => break,
            done => done?,
        }
    }
    clear_ambient_capability_set()?;
    let bounded = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, bounded)
}
