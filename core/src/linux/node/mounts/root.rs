//! Mounts, and how they are made.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::old;
use crate::linux::Error;
use crate::topology::NodeName;

const NONE: Option<&str> = None;

/// Where a folder of the machine's is while another is put in its place.
const LAYER: &str = "/.layer";

/// The flags that a mount can be restricted by, with their names in `mount_setattr` and in `statvfs`.
const RESTRICTIONS: [(MsFlags, u64, FsFlags); 4] = [
    (MsFlags::MS_RDONLY, libc::MOUNT_ATTR_RDONLY, FsFlags::ST_RDONLY),
    (MsFlags::MS_NOSUID, libc::MOUNT_ATTR_NOSUID, FsFlags::ST_NOSUID),
    (MsFlags::MS_NODEV, libc::MOUNT_ATTR_NODEV, FsFlags::ST_NODEV),
    (MsFlags::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC, FsFlags::ST_NOEXEC),
];

/// A root that is being put together, for a node.
#[derive(Debug)]
pub(super) struct Root<'a> {
    /// The node.
    pub(super) node: &'a NodeName,
}

impl Root<'_> {
    /// What could not be done here.
    pub(super) fn error(&self, operation: &str, object: &str, e: io::Error) -> Error {
        Error::new(operation, format!("{object} of {}", self.node), &e)
    }

    /// Mounts a new file system.
    pub(super) fn fresh(&self, kind: &str, at: &str, flags: MsFlags, options: &str) -> Result<(), Error> {
        let options = (!options.is_empty()).then_some(options);
        mount(Some(kind), at, Some(kind), flags, options).map_err(|e| self.error("mount", at, e.into()))
    }

    /// Mounts a file or a folder of the machine's in a second place, where it is nobody else's and has no more rights
    /// than `flags` leave it.
    pub(super) fn bind(&self, from: &Path, at: &Path, flags: MsFlags) -> Result<(), Error> {
        let from = old(from);
        let object = at.to_string_lossy();
        let failed = |e| self.error("mount", &object, e);
        let folder = fs::metadata(&from).map_err(failed)?.is_dir();
        if folder {
            self.folder(&object, 0o755)?
        } else {
            self.file(at)?
        }
        mount(Some(&from), at, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
            .map_err(|e| failed(e.into()))?;
        attributes(at, flags, MsFlags::MS_PRIVATE).map_err(failed)
    }

    /// Mounts a path of the new root on itself, to take rights away from it.
    pub(super) fn cover(&self, at: &str, flags: MsFlags) -> Result<(), Error> {
        let failed = |e| self.error("restrict", at, e);
        mount(Some(at), at, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).map_err(|e| failed(e.into()))?;
        attributes(Path::new(at), flags, MsFlags::empty()).map_err(failed)
    }

    /// Takes rights away from a mount, and not from those below it.
    pub(super) fn restrict(&self, at: &str, flags: MsFlags) -> Result<(), Error> {
        one(Path::new(at), flags).map_err(|e| self.error("restrict", at, e))
    }

    /// Says whether mounts made here are seen elsewhere, and those made elsewhere here.
    pub(super) fn propagate(&self, at: &str, flags: MsFlags) -> Result<(), Error> {
        mount(NONE, at, NONE, flags, NONE).map_err(|e| self.error("share", at, e.into()))
    }

    /// Makes a folder, and those above it; one that is there stays as it is.
    pub(super) fn folder(&self, at: &str, mode: u32) -> Result<(), Error> {
        if Path::new(at).is_dir() {
            return Ok(());
        }
        let make = || {
            DirBuilder::new().recursive(true).mode(mode).create(at)?;
            // What the process's mask took away.
            fs::set_permissions(at, Permissions::from_mode(mode))
        };
        let made = match make() {
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => self.layered(Path::new(at), make),
            made => made,
        };
        made.map_err(|e| self.error("make", at, e))
    }

    /// Makes something below a folder of the machine's, as in an image it could be: in a folder of this node's alone, in
    /// which all that the machine's holds is found again.
    ///
    /// An overlay would do the same for root; an ordinary user may not make anything in a folder that is root's.
    fn layered(&self, at: &Path, make: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let above = at.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("/"));
        let above = fs::canonicalize(above)?;
        fs::create_dir_all(LAYER)?;
        mount(Some(&above), LAYER, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
        mount(Some("tmpfs"), &above, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        for entry in fs::read_dir(LAYER)? {
            let entry = entry?;
            let (from, to, kind) = (entry.path(), above.join(entry.file_name()), entry.file_type()?);
            if kind.is_symlink() {
                symlink(fs::read_link(&from)?, &to)?;
                continue;
            }
            if kind.is_dir() {
                fs::create_dir(&to)?
            } else {
                fs::write(&to, "")?
            }
            mount(Some(&from), &to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
        }
        make()?;
        one(&above, MsFlags::MS_RDONLY)?;
        umount2(LAYER, MntFlags::MNT_DETACH)?;
        fs::remove_dir(LAYER)
    }

    /// Makes a file to mount another on; one that is there stays as it is, and a link that leads nowhere gives way.
    pub(super) fn file(&self, at: &Path) -> Result<(), Error> {
        if at.exists() {
            return Ok(());
        }
        if at.is_symlink() {
            fs::remove_file(at).map_err(|e| self.error("replace", &at.to_string_lossy(), e))?;
        }
        if let Some(above) = at.parent() {
            self.folder(&above.to_string_lossy(), 0o755)?;
        }
        let made = File::create(at);
        made.map(drop).map_err(|e| self.error("make", &at.to_string_lossy(), e))
    }
}

/// Restricts a mount and all below it, and sets how it propagates, in one step (man 2 mount_setattr).
fn attributes(at: &Path, flags: MsFlags, propagation: MsFlags) -> io::Result<()> {
    let names = RESTRICTIONS.iter().filter(|(flag, ..)| flags.contains(*flag));
    let attributes = libc::mount_attr {
        attr_set: names.fold(0, |set, (_, name, _)| set | name),
        attr_clr: 0,
        propagation: propagation.bits(),
        userns_fd: 0,
    };
    let path = CString::new(at.as_os_str().as_bytes())?;
    // SAFETY: the path and the attributes outlive the call, and the size is that of the attributes.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match Errno::result(done) {
        Err(Errno::ENOSYS) => before_5_12(at, flags, propagation),
        other => other.map(drop).map_err(Into::into),
    }
}

/// The same as far as older kernels have it: mounts below the first are not restricted.
fn before_5_12(at: &Path, flags: MsFlags, propagation: MsFlags) -> io::Result<()> {
    if !propagation.is_empty() {
        mount(NONE, at, NONE, propagation | MsFlags::MS_REC, NONE)?;
    }
    if flags.is_empty() { Ok(()) } else { one(at, flags) }
}

/// Restricts one mount. What it was restricted by before must be said again (man 2 mount).
fn one(at: &Path, flags: MsFlags) -> io::Result<()> {
    let has = statvfs(at)?.flags();
    let kept = RESTRICTIONS.iter().filter(|(.., name)| has.contains(*name));
    let flags = kept.fold(flags, |flags, (flag, ..)| flags | *flag);
    Ok(mount(NONE, at, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, NONE)?)
}
