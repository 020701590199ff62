//! Namespaces are entered and left.

use std::fs;

use nix::sched::unshare;
use seatrial_core::linux::space::{Space, flag};
use seatrial_core::probe::NsKind;

use crate::alone::alone;

#[test]
fn a_space_is_entered_for_a_moment() {
    if !alone() {
        return;
    }
    let devices = || fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let home = Space::current(NsKind::Uts).unwrap();
    unshare(flag(NsKind::Uts)).unwrap();
    let away = Space::current(NsKind::Uts).unwrap();
    home.enter().unwrap();
    away.inside(|| nix::unistd::sethostname("away")).unwrap().unwrap();
    assert_ne!(nix::unistd::gethostname().unwrap(), "away");
    assert_eq!(away.inside(|| nix::unistd::gethostname().unwrap()).unwrap(), "away");
    assert!(devices().contains("lo:"));
}
