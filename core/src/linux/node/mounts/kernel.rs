//! What the kernel shows of itself: /proc, /sys and /dev (daemon/pkg/oci/defaults.go, and runc's default devices).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MsFlags;

use super::old;
use super::root::Root;
use crate::linux::Error;
use crate::linux::process::Birth;

/// `nosuid,noexec,nodev`.
const BARE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC).union(MsFlags::MS_NODEV);

/// The devices that every container has. In a user namespace none can be made, so they are the machine's.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The devices that a machine and a privileged container have besides: those a network needs.
const MORE_DEVICES: [&str; 2] = ["net/tun", "vhost-net"];

const LINKS: [(&str, &str); 6] = [
    ("/proc/kcore", "core"),
    ("/proc/self/fd", "fd"),
    ("pts/ptmx", "ptmx"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
];

/// What a container is not to see.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What of every processor a container is not to see.
const MASKED_OF_EACH: &str = "thermal_throttle";
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// What a container may read and not write.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Mounts all three.
pub(super) fn mount(root: &Root<'_>, birth: &Birth, guarded: bool) -> Result<(), Error> {
    let hidden = "where parts of the machine's own are covered, as in most containers, the kernel gives no other \
                  (fs/namespace.c, mount_too_revealing): run it outside";
    root.folder("/proc", 0o555)?;
    root.folder("/sys", 0o555)?;
    root.fresh("proc", "/proc", BARE, "").map_err(|e| e.help(hidden))?;
    let writable = if guarded { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    root.fresh("sysfs", "/sys", BARE | writable, "").map_err(|e| e.help(hidden))?;
    match nix::mount::mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), BARE | writable, None::<&str>)
    {
        // A kernel without control groups, or one whose owner keeps them to himself: nothing here needs them.
        Ok(()) | Err(_) => {}
    }
    devices(root, birth, guarded)
}

fn devices(root: &Root<'_>, birth: &Birth, guarded: bool) -> Result<(), Error> {
    root.folder("/dev", 0o755)?;
    root.fresh("tmpfs", "/dev", MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME, "mode=755,size=65536k")?;
    let more = MORE_DEVICES.iter().filter(|_| !guarded);
    for device in DEVICES.iter().chain(more).map(|name| Path::new("/dev").join(name)) {
        // In a user namespace that the device's owner is not in, there is no right to it either.
        if old(&device).exists() {
            root.bind(&device, &device, MsFlags::empty())?;
        }
    }
    for (to, name) in LINKS {
        let at = Path::new("/dev").join(name);
        symlink(to, &at).map_err(|e| root.error("link", &at.to_string_lossy(), e))?;
    }
    terminals(root)?;
    root.folder("/dev/mqueue", 0o755)?;
    root.fresh("mqueue", "/dev/mqueue", BARE, "")?;
    match &birth.shm {
        Some(shm) => root.bind(shm, Path::new("/dev/shm"), BARE),
        None => Ok(()),
    }
}

fn terminals(root: &Root<'_>) -> Result<(), Error> {
    let (kind, at, flags) = ("devpts", "/dev/pts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC);
    let options = "newinstance,ptmxmode=0666,mode=0620";
    root.folder(at, 0o755)?;
    // Group 5 is `tty` everywhere; where ids are few it is not among them.
    match root.fresh(kind, at, flags, &format!("{options},gid=5")) {
        Err(e) if e.errno == Some(Errno::EINVAL as i32) => root.fresh(kind, at, flags, options),
        other => other,
    }
}

/// Covers what a container is not to see, and makes what it may not write read-only.
pub(super) fn mask(root: &Root<'_>) -> Result<(), Error> {
    let processors = fs::read_dir(PROCESSORS).into_iter().flatten().flatten();
    let of_each = processors.map(|processor| processor.path().join(MASKED_OF_EACH));
    for path in MASKED.iter().map(|path| Path::new(path).to_owned()).chain(of_each) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                root.fresh("tmpfs", &path.to_string_lossy(), BARE | MsFlags::MS_RDONLY, "")?;
            }
            Ok(_) => root.bind(Path::new("/dev/null"), &path, MsFlags::empty())?,
            // This kernel has no such thing.
            Err(_) => {}
        }
    }
    for path in READ_ONLY.iter().filter(|path| Path::new(path).exists()) {
        root.cover(path, MsFlags::MS_RDONLY)?;
    }
    Ok(())
}
