//! What a process may do, and which ids there are for it.

use rustix::thread::CapabilitySet;

use crate::linux::node::rights;
use crate::plan::IdMap;

/// The map of a user namespace that has every id there is.
const EVERYTHING: IdMap = IdMap { inside: 0, outside: 0, count: u32::MAX };

/// What a container may do, as Docker's options say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rights {
    pub(super) cap_add: Vec<String>,
    pub(super) cap_drop: Vec<String>,
    pub(super) privileged: bool,
}

/// Reads a container's `status`; `last` is the highest capability that the kernel knows. Whoever has them all, and no
/// filter of system calls, is privileged.
pub(super) fn rights(status: &str, last: u32) -> Option<Rights> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let bounding = u64::from_str_radix(field("CapBnd")?, 16).ok()?;
    let all = u64::MAX.checked_shr(63_u32.checked_sub(last)?)?;
    if bounding == all && field("Seccomp").is_none_or(|mode| mode == "0") {
        return Some(Rights { privileged: true, ..Rights::default() });
    }
    let (cap_add, cap_drop) = rights::options(CapabilitySet::from_bits_retain(bounding));
    Some(Rights { cap_add, cap_drop, privileged: false })
}

/// Reads a `uid_map`; `own` is that of whoever looks. None where it is more than one range, and not all there is.
pub(super) fn map(text: &str, own: &str) -> Option<IdMap> {
    let ranges = |text: &str| -> Vec<[u32; 3]> {
        text.lines()
            .filter_map(|line| {
                let numbers: Vec<u32> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
                numbers.try_into().ok()
            })
            .collect()
    };
    let found = ranges(text);
    let all: Vec<[u32; 3]> =
        ranges(own).into_iter().map(|[inside, _, count]| [inside, inside, count]).collect();
    match found.as_slice() {
        same if same == all => Some(EVERYTHING),
        [[inside, outside, count]] => Some(IdMap { inside: *inside, outside: *outside, count: *count }),
        _ => None,
    }
}
