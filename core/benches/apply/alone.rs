//! Namespaces of the bench's own, where it is root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs, thread, time::Duration};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::timed;

const INSIDE: &str = "SEATRIAL_BENCH_ALONE";
/// How many network namespaces there may be below the bench's user namespace (man 7 namespaces).
const MOST: &str = "/proc/sys/user/max_net_namespaces";

/// The bench, in them.
pub(crate) struct Alone;

/// Runs the bench once more, in namespaces of its own.
pub(crate) fn again(args: &[String]) -> ExitCode {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount"]).arg(env::current_exe().unwrap());
    println!("{}", command.args(args).env(INSIDE, "1").exec());
    ExitCode::FAILURE
}

impl Alone {
    /// None where it is to be run [`again`].
    pub(crate) fn enter() -> Option<Self> {
        env::var_os(INSIDE)?;
        // For `ip netns`, and for locks.
        mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        Some(Self)
    }

    /// Does something, and then waits until of all network namespaces below only the bench's own is there. In ms.
    pub(crate) fn timed_gone<T>(&self, work: impl FnOnce() -> T) -> (T, f64) {
        assert!(Path::new(MOST).exists());
        fs::write(MOST, "100000").unwrap();
        let done = work();
        // There is room for one more only when all others are gone.
        fs::write(MOST, "2").unwrap();
        let (gone, ()) = timed(|| {
            while !thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET).is_ok()).join().unwrap() {
                thread::sleep(Duration::from_micros(500));
            }
        });
        (done, gone)
    }
}
