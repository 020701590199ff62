//! Labs, through the program: they come up, are looked into, and leave nothing behind, whatever happens.
//!
//! Each test is a process of its own that all orphans below it come to: what outlives its lab is seen.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Gid, Uid, chown};

#[path = "lab/exec.rs"]
mod exec;
#[path = "lab/faults.rs"]
mod faults;
#[path = "lab/lists.rs"]
mod lists;
#[path = "lab/programs.rs"]
mod programs;

/// Set in a test's own process: as whom it runs the program.
const ALONE: &str = "SEATRIAL_TEST_LAB";
/// How long anything may take that takes no time to speak of.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two services on networks of their own, one of them published.
const SHOP: &str = "\
name: shop
services:
  web: { image: nginx, ports: [\"8080:80\"], networks: [front, back] }
  db: { image: postgres, expose: [\"5432\"], networks: [back] }
networks: { front: {}, back: {} }
";

/// Runs the calling test in processes of its own, as whoever calls, and as an ordinary user where that is root; fails as
/// it does there. There it is true.
#[expect(clippy::print_stdout, reason = "what is skipped says so")]
fn alone() -> bool {
    if env::var_os(ALONE).is_some() {
        set_child_subreaper(true).unwrap();
        return true;
    }
    let name = thread::current().name().unwrap().to_owned();
    let users: &[&str] = if Uid::effective().is_root() { &["root", "nobody"] } else { &["caller"] };
    for user in users {
        let mut unshare = as_user(user, "unshare");
        if !unshare.args(["--user", "true"]).status().is_ok_and(|status| status.success()) {
            println!("skipped: no user namespaces for {user}");
            continue;
        }
        let mut again = Command::new(env::current_exe().unwrap());
        again.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(ALONE, user);
        assert!(again.status().unwrap().success(), "{name} failed as {user}");
    }
    false
}

/// A program, run as a user.
fn as_user(user: &str, program: impl AsRef<OsStr>) -> Command {
    if user != "nobody" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    command
}

/// A folder of a user's own where labs are written down, and another with what they are made of.
struct Harbour {
    user: String,
    runtime: tempfile::TempDir,
    files: tempfile::TempDir,
}

impl Harbour {
    /// With a compose file.
    fn new(compose: &str) -> Self {
        let user = env::var_os(ALONE).unwrap().into_string().unwrap();
        let (runtime, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = if user == "nobody" { 65534 } else { Uid::effective().as_raw() };
        for folder in [&runtime, &files] {
            let group = if user == "nobody" { Gid::from_raw(65534) } else { Gid::effective() };
            chown(folder.path(), Some(Uid::from_raw(id)), Some(group)).unwrap();
        }
        fs::write(files.path().join("compose.yaml"), compose).unwrap();
        Self { user, runtime, files }
    }

    /// The compose file's path.
    fn file(&self) -> String {
        self.files.path().join("compose.yaml").to_str().unwrap().to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        self.other(env!("CARGO_BIN_EXE_seatrial"), args)
    }

    /// Another program, run by the same user with the same environment.
    fn other(&self, program: &str, args: &[&str]) -> Command {
        let mut command = as_user(&self.user, program);
        command.args(args).env_clear().env("PATH", env::var_os("PATH").unwrap());
        command.env("XDG_RUNTIME_DIR", self.runtime.path()).stdin(Stdio::null());
        // What a shell starts in the background is told to ignore these, and all that it starts is too.
        // SAFETY: the calls are safe in a child of a process with threads (man 7 signal-safety).
        unsafe {
            command.pre_exec(|| {
                for key in [Signal::SIGINT, Signal::SIGQUIT] {
                    signal(key, SigHandler::SigDfl)?;
                }
                Ok(())
            });
        }
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// What the program answers where all goes well.
    fn answer(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{args:?}: {}", said.out);
        said.out
    }

    fn up(&self) -> String {
        self.answer(&["up", &self.file()])
    }

    /// Whether a lab answers.
    fn is_up(&self, lab: &str) -> bool {
        UnixStream::connect(self.runtime.path().join("seatrial").join(lab).join("socket")).is_ok()
    }

    /// All that is left on the disk.
    fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        let mut folders = vec![self.runtime.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                left.push(path);
            }
        }
        left
    }
}

/// What the program said.
#[derive(Debug)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            status: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// Waits until no process is left below this one: each orphan is its child.
fn no_process_is_left() {
    // Each call takes note of one that has ended; there may be more.
    let gone = until(|| waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD));
    assert!(gone, "left: {}", children());
}

/// The commands of this process's children.
fn children() -> String {
    let output = Command::new("ps").args(["--forest", "-o", "pid,stat,args", "-g", "0"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Asks again and again until something holds, or too much time has passed.
fn until(mut holds: impl FnMut() -> bool) -> bool {
    let tick = Duration::from_millis(2);
    let ticks = PATIENCE.as_millis() / tick.as_millis();
    for _ in 0..ticks {
        if holds() {
            return true;
        }
        pause(tick);
    }
    false
}

/// Waits for nothing but time.
fn pause(time: Duration) {
    let timeout = nix::poll::PollTimeout::try_from(time).unwrap();
    nix::poll::poll(&mut [], timeout).unwrap();
}

#[test]
fn a_lab_comes_up_and_goes_down_and_either_may_be_said_twice() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let said = harbour.up();
    assert!(said.starts_with(&format!("lab shop is up: {}\n\nNODE", harbour.file())), "{said}");
    assert!(said.contains("seatrial exec host -- curl -s http://127.0.0.1:8080\n"), "{said}");
    assert_eq!(harbour.up(), "lab shop is up already\n");
    let down = harbour.answer(&["down"]);
    assert!(down.starts_with("lab shop is down: "), "{down}");
    no_process_is_left();
    assert!(harbour.left().is_empty(), "{:?}", harbour.left());
    assert_eq!(harbour.answer(&["down"]), "nothing is up\n");
    assert_eq!(harbour.answer(&["down", "shop"]), "lab shop is not up\n");
}

#[test]
fn a_lab_that_is_up_is_not_taken_for_another() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    fs::write(Path::new(&harbour.file()), SHOP.replace("8080", "8081")).unwrap();
    let said = harbour.run(&["up", &harbour.file()]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("lab shop is up already, and "), "{}", said.err);
    let other = harbour.files.path().join("other.yaml");
    fs::write(&other, SHOP).unwrap();
    let said = harbour.run(&["up", other.to_str().unwrap()]);
    assert!(said.err.contains("lab shop is up already, and was made of "), "{}", said.err);
    assert_eq!(said.status, 2);
    harbour.answer(&["up", other.to_str().unwrap(), "--name", "two"]);
    for command in [&["exec", "web", "true"][..], &["bridges"], &["down"]] {
        let said = harbour.run(command);
        assert_eq!(said.status, 2, "{command:?}: {}", said.err);
        assert!(said.err.contains("several labs are up"), "{}", said.err);
    }
    harbour.answer(&["exec", "--lab", "two", "web", "true"]);
    harbour.answer(&["down", "--all"]);
    no_process_is_left();
    assert!(harbour.left().is_empty());
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let said = harbour.run(&["exec", "web", "true"]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("no lab is up"), "{}", said.err);
    harbour.up();
    let said = harbour.run(&["exec", "wbe", "true"]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("there is no node 'wbe' in lab shop"), "{}", said.err);
    assert!(said.err.contains("'web', one of host, lan, web, db"), "{}", said.err);
    let said = harbour.run(&["ps", "--lab", "shpo"]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("there is no lab 'shpo'") && said.err.contains("'shop'"), "{}", said.err);
    harbour.answer(&["down"]);
    no_process_is_left();
}
