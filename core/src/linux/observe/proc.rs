//! What /proc shows of processes, as it stands there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statvfs::statvfs;

use crate::linux::space::file_name;
use crate::probe::NsKind;
use crate::topology::NodeName;

/// The numbers of the namespaces that a process is in.
pub(super) fn namespaces(pid: u32) -> io::Result<BTreeMap<NsKind, u64>> {
    let number = |kind| Ok((kind, fs::metadata(format!("/proc/{pid}/ns/{}", file_name(kind)))?.ino()));
    NsKind::ALL.into_iter().map(number).collect()
}

/// A file of a process's: `status`, `uid_map`, `mountinfo`.
pub(super) fn text(pid: u32, file: &str) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
}

/// The ids that there are here.
pub(super) fn own_ids() -> io::Result<String> {
    fs::read_to_string("/proc/self/uid_map")
}

/// The highest number of a capability that this kernel knows.
pub(super) fn last_capability() -> io::Result<u32> {
    let text = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?;
    text.trim().parse().map_err(io::Error::other)
}

/// A file as a process would find it: links in it lead to the process's own files. None where there is none.
pub(super) fn file(pid: u32, path: &str) -> io::Result<Option<String>> {
    let root = File::open(format!("/proc/{pid}/root"))?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let mut text = String::new();
    match openat2(&root, path, how) {
        Ok(fd) => File::from(fd).read_to_string(&mut text).map(|_| Some(text)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// How many bytes a file system of a process's has room for.
pub(super) fn size(pid: u32, path: &str) -> io::Result<u64> {
    let found = statvfs(Path::new(&format!("/proc/{pid}/root{path}")))?;
    Ok(found.blocks() * found.fragment_size())
}

/// The nodes that have sockets open, by the sockets' numbers. A node's processes are those in its mount namespace,
/// which `nodes` knows by its number.
pub(super) fn holders(nodes: &BTreeMap<u64, NodeName>) -> io::Result<BTreeMap<u64, NodeName>> {
    let mut holders = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        // Whatever cannot be looked at has ended meanwhile, or is no process.
        let mount = fs::metadata(process.join("ns/mnt")).map(|found| found.ino());
        let Some(node) = mount.ok().and_then(|mount| nodes.get(&mount)) else { continue };
        for open in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let number = fs::read_link(open.path()).ok().and_then(|link| socket(&link));
            number.map(|number| holders.insert(number, node.clone()));
        }
    }
    Ok(holders)
}

/// The number in `socket:[4026]`.
pub(super) fn socket(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
