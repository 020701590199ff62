//! The options of a mount, as users write them.

use nix::mount::MsFlags;

/// Options with a name, what they set, and what they take back (man 8 mount).
const FLAGS: [(&str, MsFlags, MsFlags); 22] = {
    const NO: MsFlags = MsFlags::empty();
    [
        ("defaults", NO, NO),
        ("ro", MsFlags::MS_RDONLY, NO),
        ("rw", NO, MsFlags::MS_RDONLY),
        ("suid", NO, MsFlags::MS_NOSUID),
        ("nosuid", MsFlags::MS_NOSUID, NO),
        ("dev", NO, MsFlags::MS_NODEV),
        ("nodev", MsFlags::MS_NODEV, NO),
        ("exec", NO, MsFlags::MS_NOEXEC),
        ("noexec", MsFlags::MS_NOEXEC, NO),
        ("sync", MsFlags::MS_SYNCHRONOUS, NO),
        ("async", NO, MsFlags::MS_SYNCHRONOUS),
        ("dirsync", MsFlags::MS_DIRSYNC, NO),
        ("mand", MsFlags::MS_MANDLOCK, NO),
        ("nomand", NO, MsFlags::MS_MANDLOCK),
        ("atime", NO, MsFlags::MS_NOATIME),
        ("noatime", MsFlags::MS_NOATIME, NO),
        ("diratime", NO, MsFlags::MS_NODIRATIME),
        ("nodiratime", MsFlags::MS_NODIRATIME, NO),
        ("relatime", MsFlags::MS_RELATIME, NO),
        ("norelatime", NO, MsFlags::MS_RELATIME),
        ("strictatime", MsFlags::MS_STRICTATIME, NO),
        ("nostrictatime", NO, MsFlags::MS_STRICTATIME),
    ]
};

/// What a tmpfs is told by `name=value` (man 5 tmpfs).
const DATA: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];

/// Options as `mount` takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// Those the kernel knows of every mount.
    pub(super) flags: MsFlags,
    /// Those for the file system.
    pub(super) data: String,
}

impl Options {
    /// Of a tmpfs; without any, `noexec,nosuid,nodev` as Docker has it (daemon/oci_linux.go, withMounts).
    ///
    /// # Errors
    /// The option that there is not.
    pub(super) fn of_tmpfs(text: &str) -> Result<Self, String> {
        let mut flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let mut data = Vec::new();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            if let Some((_, set, taken)) = FLAGS.iter().find(|(name, ..)| *name == option) {
                flags = flags.difference(*taken).union(*set);
            } else if option.split_once('=').is_some_and(|(name, _)| DATA.contains(&name)) {
                data.push(option);
            } else {
                return Err(option.to_owned());
            }
        }
        Ok(Self { flags, data: data.join(",") })
    }
}
