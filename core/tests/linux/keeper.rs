//! User namespaces, and namespaces that belong to them.

use std::fs;

use nix::unistd::{gethostname, sethostname};
use seatrial_core::linux::keeper::Keeper;
use seatrial_core::linux::space::Space;
use seatrial_core::plan::IdMap;
use seatrial_core::probe::NsKind;

use crate::alone::alone;
use crate::program::EVERYTHING;

/// The kinds that a keeper makes.
const MADE: [NsKind; 5] = [NsKind::Network, NsKind::Mount, NsKind::Ipc, NsKind::Uts, NsKind::Cgroup];

#[test]
fn a_keeper_makes_namespaces_that_are_all_new() {
    if !alone() {
        return;
    }
    let mut keeper = Keeper::start(&EVERYTHING).unwrap();
    for kind in MADE {
        let (one, two) = (keeper.make(kind).unwrap(), keeper.make(kind).unwrap());
        let names = [&one, &two, &Space::current(kind).unwrap()].map(identity);
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2], "{kind}: {names:?}");
    }
}

#[test]
fn a_new_namespace_does_not_start_with_the_names_of_the_one_made_before() {
    if !alone() {
        return;
    }
    let mut keeper = Keeper::start(&EVERYTHING).unwrap();
    let first = keeper.make(NsKind::Uts).unwrap();
    first.inside(|| sethostname("first")).unwrap().unwrap();
    let second = keeper.make(NsKind::Uts).unwrap();
    assert_eq!(second.inside(|| gethostname().unwrap()).unwrap(), gethostname().unwrap());
    assert_eq!(first.inside(|| gethostname().unwrap()).unwrap(), "first");
}

#[test]
fn an_identity_map_gives_every_id_there_is_under_its_own_number() {
    if !alone() {
        return;
    }
    let keeper = Keeper::start(&EVERYTHING).unwrap();
    let nested = keeper.nested(&EVERYTHING).unwrap();
    let own = fs::read_to_string("/proc/self/uid_map").unwrap();
    let own: Vec<_> = own.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    for keeper in [&keeper, &nested] {
        let map = fs::read_to_string(format!("/proc/{}/uid_map", keeper.pid())).unwrap();
        let map: Vec<_> = map.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(map.len(), own.len());
        for (line, own) in map.iter().zip(&own) {
            assert_eq!((line[0], line[2]), (own[0], own[2]));
        }
    }
    assert_ne!(identity(&keeper.user().unwrap()), identity(&nested.user().unwrap()));
}

#[test]
fn ids_that_are_not_there_are_refused_with_what_gives_them() {
    if !alone() {
        return;
    }
    let range = IdMap { inside: 0, outside: 100_000, count: 65_536 };
    let error = Keeper::start(&range).unwrap_err();
    assert!(error.missing);
    assert!(error.to_string().contains("/etc/subuid"), "{error}");
}

#[test]
fn processes_and_users_are_not_for_a_keeper_to_make() {
    if !alone() {
        return;
    }
    let mut keeper = Keeper::start(&EVERYTHING).unwrap();
    for kind in [NsKind::Pid, NsKind::User] {
        assert_eq!(keeper.make(kind).unwrap_err().errno, Some(nix::libc::EINVAL));
    }
    assert!(keeper.make(NsKind::Ipc).is_ok());
}

#[test]
fn a_keeper_that_is_dropped_leaves_no_process() {
    if !alone() {
        return;
    }
    let keeper = Keeper::start(&EVERYTHING).unwrap();
    let place = format!("/proc/{}", keeper.pid());
    assert!(fs::exists(&place).unwrap());
    drop(keeper);
    assert!(!fs::exists(&place).unwrap());
}

/// What a namespace is told apart by (man 7 namespaces).
fn identity(space: &Space) -> u64 {
    nix::sys::stat::fstat(space).unwrap().st_ino
}
