//! Docker's default policy for system calls: what is not allowed fails with EPERM (github.com/moby/profiles,
//! seccomp/default.json, as Docker 29 has it).
//!
//! It differs in one thing: a program of another architecture (32-bit ones on a 64-bit machine) is killed at its first
//! call, where Docker holds it to the same policy.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use nix::libc;
use rustix::thread::CapabilitySet;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use self::table::{ALWAYS, FOR_CAPABILITIES, NEW_ALWAYS, NEW_FOR_ADMIN, OF_THIS_ARCHITECTURE, WITHOUT_NAME};

mod table;

/// The rules by the number of the call: it is allowed where one of its rules holds, or there is none.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Sockets of this family lead out of every namespace, to the machine that this one may be a guest of.
const AF_VSOCK: u64 = 40;

/// The flags of `clone` that make namespaces, all but that of time.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// The ways a program may ask to be run: as ever, with 16-bit addresses, and either with the old layout; and the
/// question which it is.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// What a call that is newer than the policy fails with, and `clone3`, whose flags a filter cannot see: the C library
/// takes it for an old kernel, and does it another way (libcontainer/seccomp/patchbpf).
const UNKNOWN: SeccompAction = SeccompAction::Errno(libc::ENOSYS as u32);

/// Numbers that no kernel has given to a call yet, and some it has.
const UNKNOWN_NUMBERS: std::ops::RangeInclusive<i64> = *NEW_ALWAYS[NEW_ALWAYS.len() - 1].end() + 1..=511;

/// Confines this process to the calls that a container with these capabilities may make. It must have said that it
/// wants no new privileges.
///
/// # Errors
/// What could not be, in words.
pub(super) fn confine(capabilities: CapabilitySet) -> Result<(), String> {
    let said = |e: &dyn std::error::Error| e.to_string();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let allowed = allowed(capabilities).map_err(|e| said(&e))?;
    let allowed = program(allowed, refused, SeccompAction::Allow).map_err(|e| said(&e))?;
    let unknown = program(unknown(capabilities), SeccompAction::Allow, UNKNOWN).map_err(|e| said(&e))?;
    // Of two errors the kernel takes that of the later filter (man 2 seccomp).
    [allowed, unknown].iter().try_for_each(|program| apply_filter(program)).map_err(|e| said(&e))
}

fn program(rules: Rules, other: SeccompAction, matched: SeccompAction) -> seccompiler::Result<BpfProgram> {
    let filter = SeccompFilter::new(rules, other, matched, ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

fn allowed(capabilities: CapabilitySet) -> Result<Rules, seccompiler::BackendError> {
    let always = ALWAYS.iter().chain(OF_THIS_ARCHITECTURE).chain(WITHOUT_NAME).copied();
    let granted = FOR_CAPABILITIES.iter().filter(|(needed, _)| capabilities.contains(*needed));
    let granted = granted.flat_map(|(_, calls)| calls.iter().copied());
    let admin =
        capabilities.contains(CapabilitySet::SYS_ADMIN).then_some(NEW_FOR_ADMIN).into_iter().flatten();
    let calls = always.chain(NEW_ALWAYS.into_iter().flatten()).chain(granted).chain(admin);
    let mut rules: Rules = calls.map(|call| (call, Vec::new())).collect();
    let first = |compare, value| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, compare, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    rules.insert(libc::SYS_socket, vec![first(SeccompCmpOp::Ne, AF_VSOCK)?]);
    let personalities = PERSONALITIES.map(|value| first(SeccompCmpOp::Eq, value));
    rules.insert(libc::SYS_personality, personalities.into_iter().collect::<Result<_, _>>()?);
    let no_namespace = first(SeccompCmpOp::MaskedEq(NEW_NAMESPACES), 0)?;
    rules.entry(libc::SYS_clone).or_insert_with(|| vec![no_namespace]);
    Ok(rules)
}

fn unknown(capabilities: CapabilitySet) -> Rules {
    let clone = (!capabilities.contains(CapabilitySet::SYS_ADMIN)).then_some(libc::SYS_clone3);
    UNKNOWN_NUMBERS.chain(clone).map(|call| (call, Vec::new())).collect()
}
