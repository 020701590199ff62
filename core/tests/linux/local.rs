//! A stage's thread for a test: tokio on it, `lo` up, and the clock running or standing still.

use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::Duration;

use seatrial_core::linux::net::Net;
use seatrial_core::linux::space::Space;
use seatrial_core::plan::{Address, NsName};
use seatrial_core::probe::NsKind;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;

/// Runs a test on this thread, for half a minute at most.
pub(crate) fn run(test: impl Future<Output = ()>) {
    ip("link set lo up");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(Duration::from_secs(30), test).await.unwrap() });
}

/// The same with a clock that only goes where the test says (`advance`).
pub(crate) fn run_paused(test: impl Future<Output = ()>) {
    ip("link set lo up");
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    // A paused clock jumps to the next timer where nothing else is to be done, and does not see that packets are on
    // their way; but not while a thread is at work. After half a minute it may, and the test's time is over.
    let (done, wait) = channel::<()>();
    let brake = runtime.spawn_blocking(move || wait.recv_timeout(Duration::from_secs(30)).is_err());
    let day = Duration::from_secs(86_400);
    LocalSet::new().block_on(&runtime, async {
        timeout(day, test).await.unwrap();
        drop(done);
        brake.await.unwrap();
    });
}

/// `ip` in this thread's namespace.
pub(crate) fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Gives `lo` an address that nobody else has, and waits until the kernel takes what comes for it.
pub(crate) async fn own(address: &str) {
    let v6 = address.contains(':');
    ip(&format!("addr add {address} dev lo{}", if v6 { " nodad" } else { "" }));
    let net = format!("{address}/{}", if v6 { 128 } else { 32 }).parse().unwrap();
    let address = Address { link: "lo".parse().unwrap(), net, nodad: true };
    let lo = Net::open(host(), &network()).unwrap();
    while !lo.takes(&address).unwrap() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The network namespace of this thread.
pub(crate) fn network() -> Rc<Space> {
    Rc::new(Space::current(NsKind::Network).unwrap())
}

/// What the plan calls it.
pub(crate) fn host() -> NsName {
    serde_json::from_str("\"host\"").unwrap()
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
