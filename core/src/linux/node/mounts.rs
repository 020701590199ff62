//! A root of its own for a node's first process, put together from the machine's files (man 7 mount_namespaces).
//!
//! It is a tmpfs with the machine's programs and libraries in it, read-only, and folders of its own for all that
//! changes; then what Docker mounts into every container, what the user has mounted, and the files that the plan
//! writes. The machine's own root is looked at until all is there, and then gone from sight.
//!
//! * [`root`]: mounts, and how they are made.
//! * [`image`]: the machine's files.
//! * [`rootfs`]: files of the user's in their place.
//! * [`kernel`]: /proc, /sys and /dev.
//! * [`volumes`]: what the user has mounted.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sched::unshare;
use nix::unistd::{chdir, pivot_root};

use self::root::Root;
use self::rootfs::Given;
use self::volumes::Volume;
use crate::linux::Error;
use crate::linux::process::Birth;
use crate::linux::space::flag;
use crate::probe::NsKind;

pub(in crate::linux) mod image;
mod kernel;
mod root;
mod rootfs;
mod volumes;

/// Where the machine's root is while the new one is put together.
const OLD: &str = "/.old";

/// What it covers while it is made is seen again when the machine's root has moved away from under it.
const PLACE: &str = "/tmp";

/// Makes a mount namespace and its root, and goes there.
pub(super) fn build(birth: &Birth) -> Result<(), Error> {
    let root = Root { node: &birth.process.node };
    let container = birth.process.container.is_some();
    let guarded = container && !birth.process.privileged;
    unshare(flag(NsKind::Mount)).map_err(|e| root.error("make", "mount namespace", e.into()))?;
    // What is mounted here is nobody else's; what the machine mounts later may still be asked for.
    root.propagate("/", MsFlags::MS_SLAVE | MsFlags::MS_REC)?;
    // Links on the machine lead to places of the machine's.
    let given = birth.root.rootfs.as_deref().map(|path| Given::find(&root, path)).transpose()?;
    let image = if given.is_none() { image::find() } else { Vec::new() };
    let volumes = volumes::find(&root, birth)?;
    let files = find_files(&birth.files).map_err(|e| root.error("read", "staged files", e))?;
    move_in(&root, given.as_ref())?;
    if given.is_none() {
        image::copy(&root, &image)?;
    }
    kernel::mount(&root, birth, guarded)?;
    volumes.iter().try_for_each(|volume: &Volume| volume.mount(&root))?;
    for file in &files {
        root.bind(&birth.files.join(file), &Path::new("/").join(file), MsFlags::empty())?;
    }
    if guarded {
        kernel::mask(&root)?;
    }
    move_out(&root)?;
    if birth.root.read_only {
        root.restrict("/", MsFlags::MS_RDONLY)?;
    }
    Ok(())
}

/// The paths of all files below a folder, without it.
fn find_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = folders.pop() {
        let place = folder.join(&below);
        if !place.exists() {
            continue;
        }
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// Puts an empty root, or the one that is given, in the place of the machine's, which goes to [`OLD`].
fn move_in(root: &Root<'_>, given: Option<&Given>) -> Result<(), Error> {
    let failed = |e: nix::Error| {
        let error = root.error("change", "root", e.into());
        // The root that the kernel starts with cannot be moved (man 2 pivot_root).
        if e == nix::Error::EINVAL {
            error.help("an initramfs must change to another root first")
        } else {
            error
        }
    };
    root.fresh("tmpfs", PLACE, MsFlags::empty(), "mode=755")?;
    let place = given.map_or_else(|| Ok(PLACE.into()), |given| given.lay(root, Path::new(PLACE)))?;
    let old = place.join(OLD.trim_start_matches('/'));
    fs::create_dir(&old).map_err(|e| root.error("make", OLD, e))?;
    pivot_root(&place, &old).and_then(|()| chdir("/")).map_err(failed)
}

/// Leaves the machine's root.
fn move_out(root: &Root<'_>) -> Result<(), Error> {
    umount2(OLD, MntFlags::MNT_DETACH).map_err(|e| root.error("leave", OLD, e.into()))?;
    fs::remove_dir(OLD).map_err(|e| root.error("remove", OLD, e))
}

/// A path of the machine's, as it is seen while the new root is put together.
fn old(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}
