//! The machine's files, in the place of a container's image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use super::old;
use super::root::Root;
use crate::linux::Error;

/// Folders of programs and libraries; on many machines some are links into /usr.
const PROGRAMS: [&str; 10] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "nix", "gnu"];

/// What programs read in /etc. It is the container's own: what is a file is copied.
const SETTINGS: [&str; 27] = [
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ethertypes",
    "gai.conf",
    "group",
    "host.conf",
    "inputrc",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "login.defs",
    "networks",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki",
    "profile",
    "profile.d",
    "protocols",
    "rpc",
    "services",
    "shells",
    "ssl",
    "terminfo",
];

/// Folders of its own, with their modes.
const FOLDERS: [(&str, u32); 12] = [
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/mnt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/srv", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/tmp", 0o1777),
];

/// Links that every container has (runc, libcontainer/rootfs_linux.go; moby adds /etc/mtab).
const LINKS: [(&str, &str); 2] = [("/proc/mounts", "/etc/mtab"), ("/run", "/var/run")];

/// A file or a folder of the machine's, and where it goes.
#[derive(Debug)]
pub(super) struct Piece {
    at: PathBuf,
    from: From,
}

#[derive(Debug)]
enum From {
    /// A link, which leads to where it leads here.
    Link(PathBuf),
    /// A folder.
    Folder(PathBuf),
    /// A file.
    File(PathBuf),
}

/// Whether a path is of the image's.
pub(in crate::linux) fn holds(path: &str) -> bool {
    let below = |folder: String| {
        path.strip_prefix(&folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    PROGRAMS.iter().any(|name| below(format!("/{name}")))
        || SETTINGS.iter().any(|name| below(format!("/etc/{name}")))
}

/// What this machine has of all that.
pub(super) fn find() -> Vec<Piece> {
    let programs = PROGRAMS.iter().map(|name| Path::new("/").join(name)).filter_map(|at| {
        let from = match fs::read_link(&at) {
            Ok(link) => From::Link(link),
            Err(_) => From::Folder(fs::canonicalize(&at).ok()?),
        };
        Some(Piece { at, from })
    });
    let settings = SETTINGS.iter().map(|name| Path::new("/etc").join(name)).filter_map(|at| {
        let from = fs::canonicalize(&at).ok()?;
        let from = if from.is_dir() { From::Folder(from) } else { From::File(from) };
        Some(Piece { at, from })
    });
    programs.chain(settings).collect()
}

/// Puts it into the new root.
pub(super) fn copy(root: &Root<'_>, pieces: &[Piece]) -> Result<(), Error> {
    FOLDERS.iter().try_for_each(|(at, mode)| root.folder(at, *mode))?;
    for Piece { at, from } in pieces {
        let failed = |e| root.error("copy", &at.to_string_lossy(), e);
        match from {
            From::Link(to) => symlink(to, at).map_err(failed)?,
            From::Folder(from) => root.bind(from, at, MsFlags::MS_RDONLY)?,
            From::File(from) => fs::copy(old(from), at).map(drop).map_err(failed)?,
        }
    }
    LINKS.iter().try_for_each(|(to, at)| symlink(to, at).map_err(|e| root.error("link", at, e)))
}
