//! What a mount namespace has mounted (man 5 proc_pid_mountinfo).

use crate::plan::MountRoot;
use crate::topology::Mount;

/// Files that Docker writes for a container and mounts: they are told as files.
pub(super) const FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Where the kernel shows itself, in every container.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Where processes share memory.
const SHM: &str = "/dev/shm";

/// A line.
struct Mounted {
    /// What is mounted, as a path within its file system.
    root: String,
    target: String,
    read_only: bool,
    kind: String,
}

/// What is mounted, but for what every container has. What a source is outside is not told: it is given within its own
/// file system.
pub(super) fn root(mountinfo: &str) -> MountRoot {
    let mut root = MountRoot::default();
    for mounted in mountinfo.lines().filter_map(read) {
        let Mounted { root: source, target, read_only, kind } = mounted;
        if target == "/" {
            root.read_only = read_only;
        } else if is_usual(&target) {
            continue;
        } else if kind == "tmpfs" && source == "/" && !read_only {
            root.tmpfs.push(target);
        } else {
            root.mounts.push(Mount { source: Some(source), target, read_only });
        }
    }
    root
}

/// Whether every container has something mounted there.
fn is_usual(target: &str) -> bool {
    let below = |folder: &str| {
        target.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    FILES.contains(&target) || KERNELS.iter().any(|folder| below(folder))
}

/// Whether there is a /dev/shm.
pub(super) fn has_shm(mountinfo: &str) -> bool {
    mountinfo.lines().filter_map(read).any(|mounted| mounted.target == SHM)
}

fn read(line: &str) -> Option<Mounted> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut words = mount.split(' ').skip(3);
    let (root, target, options) = (words.next()?, words.next()?, words.next()?);
    Some(Mounted {
        root: unescaped(root),
        target: unescaped(target),
        read_only: options.split(',').any(|option| option == "ro"),
        kind: file_system.split(' ').next()?.to_owned(),
    })
}

/// White space and backslashes are told as `\040`.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte {
            Some(byte) => {
                text.push(char::from(byte));
                text.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}
