//! Which ids there are on a stage: as many as whoever calls it may give (man 7 user_namespaces).

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::Command;

use nix::unistd::{Uid, User};

use crate::linux::Error;
use crate::plan::IdMap;

/// The user and the group ids of a process's user namespace.
const MAPS: [&str; 2] = ["uid_map", "gid_map"];
/// Programs that may give an ordinary user the ids that /etc/subuid and /etc/subgid grant (man 1 newuidmap).
const GRANTS: [(&str, &str); 2] = [("newuidmap", "/etc/subuid"), ("newgidmap", "/etc/subgid")];

/// Gives a process that has just made its user namespace its ids.
///
/// Root gives all it has, each under its own number. An ordinary user is root there, and `uidmap` gives the ids from
/// `first` on; without it there are no others.
pub(super) fn give(process: u32, first: u32) -> Result<(), Error> {
    let failed = |e: &io::Error| Error::new("give ids to", "the stage's user namespace", e);
    if Uid::effective().is_root() {
        return MAPS.iter().try_for_each(|map| same(process, map)).map_err(|e| failed(&e));
    }
    if granted(process, first)? {
        return Ok(());
    }
    // Whoever gives himself a group must first give up changing them (man 7 user_namespaces, setgroups).
    let proc = |file: &str| format!("/proc/{process}/{file}");
    let own = |id: u32| format!("0 {id} 1");
    fs::write(proc("setgroups"), "deny")
        .and_then(|()| fs::write(proc("uid_map"), own(Uid::effective().as_raw())))
        .and_then(|()| fs::write(proc("gid_map"), own(nix::unistd::Gid::effective().as_raw())))
        .map_err(|e| failed(&e))
}

/// Every id of this process's user namespace, under the same number.
fn same(process: u32, map: &str) -> io::Result<()> {
    let own = fs::read_to_string(format!("/proc/self/{map}"))?;
    let mut text = String::new();
    for line in own.lines() {
        let mut numbers = line.split_whitespace();
        if let (Some(inside), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) {
            let _ = writeln!(text, "{inside} {inside} {count}");
        }
    }
    fs::write(format!("/proc/{process}/{map}"), text)
}

/// Whether `newuidmap` and `newgidmap` gave what they may.
fn granted(process: u32, first: u32) -> Result<bool, Error> {
    let Some(user) = User::from_uid(Uid::effective()).ok().flatten() else { return Ok(false) };
    for ((program, file), own) in GRANTS.iter().zip([user.uid.as_raw(), user.gid.as_raw()]) {
        let Some(range) = subordinate(file, &user, first) else { return Ok(false) };
        let numbers = [0, own, 1, range.inside, range.outside, range.count].map(|n| n.to_string());
        match Command::new(program).arg(process.to_string()).args(numbers).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(Error::words("run", *program, said).help(format!("see {file}")));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::new("run", *program, &e)),
        }
    }
    Ok(true)
}

/// The first range that a file such as /etc/subuid grants a user (man 5 subuid).
fn subordinate(file: &str, user: &User, first: u32) -> Option<IdMap> {
    let text = fs::read_to_string(file).ok()?;
    let number = user.uid.to_string();
    text.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (name == user.name || name == number).then_some(())?;
        let (outside, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(IdMap { inside: first, outside, count })
    })
}
