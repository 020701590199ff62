//! Whom a container's programs run as: `user`, as the files of the container say it (github.com/moby/sys/user,
//! `GetExecUser`).

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

/// A user of the container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
    /// Those of the other groups.
    pub groups: Vec<u32>,
    /// The folder in $HOME.
    pub home: String,
}

impl User {
    /// Root.
    #[must_use]
    pub fn root() -> Self {
        Self { uid: 0, gid: 0, groups: Vec::new(), home: "/root".to_owned() }
    }

    /// The user that `text` names: `user`, `user:group`, each by name or by number. `passwd` and `group` are the texts
    /// of the files in /etc (man 5 passwd, man 5 group).
    ///
    /// # Errors
    /// Docker's words for a name that is in neither.
    pub fn find(text: &str, passwd: &str, group: &str) -> Result<Self, String> {
        let (user, of_group) = text.split_once(':').unwrap_or((text, ""));
        let user = if user.is_empty() { "0" } else { user };
        let mut found = find_user(user, passwd)?;
        if !of_group.is_empty() {
            found.gid = find_group(of_group, group)?;
            return Ok(found);
        }
        let name = entries(passwd)
            .find(|entry| number(entry, 2) == Some(found.uid))
            .and_then(|e| e.first().copied());
        let member = |entry: &Vec<&str>| {
            name.is_some_and(|name| entry.get(3).is_some_and(|all| all.split(',').any(|one| one == name)))
        };
        found.groups = entries(group).filter(member).filter_map(|entry| number(&entry, 2)).collect();
        Ok(found)
    }

    /// Makes a program run as this user.
    pub fn runs(&self, command: &mut Command) {
        command.env("HOME", &self.home);
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        // SAFETY: it makes three system calls and touches no memory that is not its own.
        unsafe { command.pre_exec(move || change(&groups, gid, uid)) };
    }

    /// Makes this process run as this user, without the rights of any other.
    ///
    /// # Errors
    /// Where the user namespace has no such id.
    pub fn take_on(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        change(&groups, Gid::from_raw(self.gid), Uid::from_raw(self.uid))
    }
}

fn change(groups: &[Gid], gid: Gid, uid: Uid) -> io::Result<()> {
    match setgroups(groups) {
        // A user namespace whose maker had no right to groups may not change them (man 2 setgroups).
        Err(nix::Error::EPERM) if groups.is_empty() => {}
        done => done?,
    }
    setgid(gid)?;
    Ok(setuid(uid)?)
}

fn find_user(user: &str, passwd: &str) -> Result<User, String> {
    let wanted = user.parse().ok();
    let mut all = entries(passwd);
    let entry =
        all.find(|entry| entry.first() == Some(&user) || wanted.is_some() && number(entry, 2) == wanted);
    match (entry, wanted) {
        (Some(entry), _) => Ok(User {
            uid: number(&entry, 2).unwrap_or(0),
            gid: number(&entry, 3).unwrap_or(0),
            groups: Vec::new(),
            home: entry.get(5).map_or("/", |home| *home).to_owned(),
        }),
        (None, Some(uid)) => Ok(User { uid, home: "/".to_owned(), ..User::root() }),
        (None, None) => Err(format!("unable to find user {user}: no matching entries in passwd file")),
    }
}

fn find_group(of_group: &str, group: &str) -> Result<u32, String> {
    let entry = entries(group).find(|entry| entry.first() == Some(&of_group));
    let found = entry.and_then(|entry| number(&entry, 2)).or_else(|| of_group.parse().ok());
    found.ok_or_else(|| format!("unable to find group {of_group}: no matching entries in group file"))
}

/// The lines of such a file, each in its fields.
fn entries(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect())
}

fn number(entry: &[&str], field: usize) -> Option<u32> {
    entry.get(field)?.parse().ok()
}

/// The user that `text` names below a root; root where there is none.
///
/// # Errors
/// As [`User::find`].
pub(in crate::linux) fn below(root: &Path, text: Option<&str>) -> Result<User, String> {
    // A container without these files has no names.
    let read = |path| fs::read_to_string(root.join(path)).unwrap_or_default();
    text.map_or_else(|| Ok(User::root()), |text| User::find(text, &read("etc/passwd"), &read("etc/group")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:w:/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:40:other,www\nstaff:x:50:\n";

    fn find(text: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        User::find(text, PASSWD, GROUP).map(|u| (u.uid, u.gid, u.groups, u.home))
    }

    #[test]
    fn a_user_is_found_by_name_or_number_with_his_groups() {
        let www = || Ok((33, 34, vec![40], "/var/www".to_owned()));
        assert_eq!(find("www"), www());
        assert_eq!(find("33"), www());
        assert_eq!(find("www:staff"), Ok((33, 50, vec![], "/var/www".to_owned())));
        assert_eq!(find("33:77"), Ok((33, 77, vec![], "/var/www".to_owned())));
    }

    #[test]
    fn a_number_needs_no_user() {
        assert_eq!(find("1000"), Ok((1000, 0, vec![], "/".to_owned())));
        assert_eq!(find(":40"), Ok((0, 40, vec![], "/root".to_owned())));
    }

    #[test]
    fn a_name_that_is_nobodys_is_refused_in_docker_s_words() {
        assert_eq!(
            find("nobody").unwrap_err(),
            "unable to find user nobody: no matching entries in passwd file"
        );
        assert_eq!(find("33:x").unwrap_err(), "unable to find group x: no matching entries in group file");
    }
}
