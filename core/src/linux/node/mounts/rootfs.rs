//! A root of the user's, in the place of an image: the files of a folder, or of a tar archive.
//!
//! What is written there goes with the node: the folder is the lower layer of an overlay, and the archive is unpacked.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::MsFlags;
use tar::{Archive, EntryType};

use super::root::Root;
use crate::linux::Error;

/// What the kernel needs for an overlay that nobody with rights on the machine mounts.
const OVERLAY: &str = "Linux 5.11 or newer with CONFIG_OVERLAY_FS";

/// A folder or an archive of the machine's, open: what is mounted over it does not hide it.
#[derive(Debug)]
pub(super) struct Given {
    path: String,
    file: File,
    is_folder: bool,
}

impl Given {
    /// What `x-rootfs` names, from where the program was started.
    pub(super) fn find(root: &Root<'_>, path: &str) -> Result<Self, Error> {
        let failed = |e: io::Error| root.error("find", &format!("x-rootfs {path}"), e);
        let file = File::open(path).map_err(failed)?;
        let is_folder = file.metadata().map_err(failed)?.is_dir();
        Ok(Self { path: path.to_owned(), file, is_folder })
    }

    /// Puts a root together below a tmpfs: where it is.
    pub(super) fn lay(&self, root: &Root<'_>, place: &Path) -> Result<PathBuf, Error> {
        if !self.is_folder {
            let unpacked = self.unpack(place);
            let why = |e| root.error("unpack", &format!("x-rootfs {}", self.path), e);
            let help = "a folder, or a tar archive that is not compressed, as `docker export` writes it";
            return unpacked.map(|()| place.to_owned()).map_err(|e| why(e).help(help));
        }
        let layers = ["upper", "work", "root"].map(|name| place.join(name));
        for layer in &layers {
            fs::create_dir(layer).map_err(|e| root.error("make", &layer.to_string_lossy(), e))?;
        }
        let [upper, work, merged] = layers;
        // By its descriptor: a path may hold characters that mean something here.
        let options = format!(
            "lowerdir=/proc/self/fd/{},upperdir={},workdir={},userxattr",
            self.file.as_raw_fd(),
            upper.display(),
            work.display()
        );
        let mounted = root.fresh("overlay", &merged.to_string_lossy(), MsFlags::empty(), &options);
        let is = |e: &Error, errno: Errno| e.errno == Some(errno as i32);
        mounted.map(|()| merged).map_err(|e| match &e {
            e if is(e, Errno::ENODEV) || is(e, Errno::EPERM) => e.clone().missing(OVERLAY),
            // `clone_private_mount`, fs/namespace.c
            e if is(e, Errno::EINVAL) => e.clone().help("a folder that nothing is mounted below"),
            _ => e,
        })
    }

    fn unpack(&self, place: &Path) -> io::Result<()> {
        let mut archive = Archive::new(&self.file);
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(has_ids()?);
        for entry in archive.entries()? {
            let mut entry = entry?;
            // No device can be made in a user namespace; the node gets those that every container has.
            if !matches!(entry.header().entry_type(), EntryType::Char | EntryType::Block) {
                entry.unpack_in(place)?;
            }
        }
        Ok(())
    }
}

/// Whether there are others beside root here, for files to belong to.
fn has_ids() -> io::Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.lines().count() > 1 || map.split_whitespace().nth(2) != Some("1"))
}
