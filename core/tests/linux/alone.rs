//! A test in a process of its own, where it is root of fresh namespaces: it may do there what it likes.

use std::process::Command;
use std::{env, thread};

const INSIDE: &str = "SEATRIAL_TEST_ALONE";

/// Runs the calling test once more, alone, and fails as it does there. True in that other process, where the test is to
/// go on; false here, where all is done.
#[expect(clippy::print_stdout, reason = "what is skipped says so")]
pub(crate) fn alone() -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let name = thread::current().name().unwrap().to_owned();
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--net", "--mount", "--ipc", "--uts", "--cgroup"]);
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !unshare.arg("true").status().is_ok_and(|status| status.success()) {
        println!("skipped: no user namespaces for whoever runs this");
        return false;
    }
    let mut args: Vec<_> = unshare.get_args().map(ToOwned::to_owned).collect();
    args.pop();
    let mut again = Command::new("unshare");
    again.args(args).arg(env::current_exe().unwrap()).args([
        "--exact",
        &name,
        "--nocapture",
        "--test-threads=1",
    ]);
    assert!(again.env(INSIDE, "1").status().unwrap().success(), "{name} failed in namespaces of its own");
    false
}
