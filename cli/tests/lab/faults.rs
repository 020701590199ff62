//! What goes wrong leaves nothing behind, or `down` finds it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, Uid};

use crate::{Harbour, SHOP, alone, children, no_process_is_left, pause, until};

/// How often the program is killed.
const MOMENTS: u32 = 50;

/// A trial of every kind of line, for the lane that is killed.
const TRIAL: &str = "\
title: killed at any moment
compose: compose.yaml
expect:
  - lan -> 203.0.113.10:8080/tcp  reaches web:80
  - web -> db:5432/tcp            reaches db:5432
  - lan -> 172.18.0.2:80/tcp      dropped
";

/// Numbers that are the same for the same seed (xorshift64, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    /// SEATRIAL_SEED says another seed.
    fn new() -> Self {
        let given = std::env::var_os("SEATRIAL_SEED").and_then(|seed| seed.to_str()?.parse().ok());
        Self(given.unwrap_or(0x5ea7_51a1))
    }

    fn below(&mut self, end: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let nanos = u64::try_from(end.as_nanos()).unwrap();
        Duration::from_nanos(self.0 % nanos)
    }
}

/// Lets a program run for a while and kills it.
fn kill_after(mut command: Command, moment: Duration) {
    let mut program: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    pause(moment);
    program.kill().unwrap();
    program.wait().unwrap();
}

/// How long a program takes when nobody kills it.
#[expect(clippy::disallowed_methods, reason = "the moments are to lie within it")]
fn takes(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

#[test]
fn up_that_is_killed_at_any_moment_leaves_nothing_that_down_does_not_find() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let whole = takes(|| _ = harbour.up());
    harbour.answer(&["down"]);
    no_process_is_left();
    let (mut dice, mut up, mut half) = (Dice::new(), 0, 0);
    for n in 0..MOMENTS {
        let moment = dice.below(whole + whole / 8);
        kill_after(harbour.command(&["up", &harbour.file()]), moment);
        let context = format!("killed the {n}th time, after {moment:?} of {whole:?}");
        if harbour.is_up("shop") {
            up += 1;
        } else {
            // The kernel ends it all, before anybody comes to look.
            no_process_is_left();
            half += u32::from(!harbour.left().is_empty());
        }
        // Of a lab that was about to be made there may be the folder of all.
        let nothing = harbour.left().len() <= 1;
        let said = harbour.answer(&["down"]);
        let right = match () {
            () if nothing => said == "nothing is up\n",
            () => said.starts_with("lab shop is down: ") || said.starts_with("lab shop was no longer alive"),
        };
        assert!(right, "{context}: {said}");
        no_process_is_left();
        assert!(harbour.left().is_empty(), "{context}: {:?}", harbour.left());
    }
    eprintln!(
        "{MOMENTS} killed: {up} were up, {half} had left files that down removed, the others had left nothing"
    );
}

#[test]
fn what_an_up_leaves_that_is_killed_before_its_lab_has_a_folder_goes_with_down() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let folder = harbour.runtime.path().join("seatrial");
    let made = harbour.other("mkdir", &["-m", "700", folder.to_str().unwrap()]).status().unwrap();
    assert!(made.success());
    assert_eq!(harbour.answer(&["down"]), "nothing is up\n");
    assert_eq!(harbour.left(), Vec::<PathBuf>::new());
}

#[test]
fn check_that_is_killed_at_any_moment_leaves_nothing() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let trial = harbour.files.path().join("killed.trial.yaml");
    fs::write(&trial, TRIAL).unwrap();
    let args = ["check", "--lane", "kernel", trial.to_str().unwrap()];
    let whole = takes(|| _ = harbour.run(&args));
    no_process_is_left();
    let mut dice = Dice::new();
    for _ in 0..MOMENTS {
        kill_after(harbour.command(&args), dice.below(whole));
        no_process_is_left();
        assert!(harbour.left().is_empty());
    }
}

#[test]
fn up_that_is_interrupted_leaves_nothing() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let mut up = harbour.command(&["up", &harbour.file()]);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(until(|| harbour.left().iter().any(|path| path.ends_with("log"))));
    nix::sys::signal::kill(crate::exec::pid(&up), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(143));
    no_process_is_left();
    assert!(harbour.left().is_empty(), "{:?}", harbour.left());
}

#[test]
fn a_lab_that_was_killed_is_said_to_be_dead_and_cleared_away() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let dead = "lab shop was no longer alive, or never came up; removed what was left of it: log, socket, state.json\n";
    for command in ["ps", "up", "down"] {
        harbour.up();
        kill_stages();
        let said = match command {
            "up" => harbour.run(&["up", &harbour.file()]),
            other => harbour.run(&[other]),
        };
        assert_eq!(said.status, 0, "{}", said.err);
        let words = if command == "down" { said.out } else { said.err };
        assert!(words.ends_with(dead), "{command}: {words}");
        if command == "up" {
            harbour.answer(&["down"]);
        }
        no_process_is_left();
        assert!(harbour.left().is_empty());
    }
}

/// Kills every stage that `up` has left behind: it becomes this process's child when the one before it has ended.
fn kill_stages() {
    let own = std::process::id();
    let gone = until(|| {
        let children = fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap();
        for child in children.split_whitespace().map(|pid| pid.parse().unwrap()) {
            kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
        }
        waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD)
    });
    assert!(gone, "left: {}", children());
}

#[test]
fn twenty_labs_come_up_and_go_down_at_once() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let names: Vec<String> = (0..20).map(|n| format!("lab{n}")).collect();
    let start = |args: &[&str]| {
        let mut command = harbour.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let file = harbour.file();
    let all: Vec<Child> = names.iter().map(|name| start(&["up", &file, "--name", name])).collect();
    for up in all {
        let output = up.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let listed = harbour.answer(&["ps"]);
    assert_eq!(listed.matches("running").count(), 20 * 4, "{listed}");
    let all: Vec<Child> = names.iter().map(|name| start(&["down", name])).collect();
    for down in all {
        let output = down.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    no_process_is_left();
    assert!(harbour.left().is_empty(), "{:?}", harbour.left());
}

#[test]
fn two_that_bring_one_lab_up_agree() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let start = || {
        let mut command = harbour.command(&["up", &harbour.file()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start(), start()].map(|up| up.wait_with_output().unwrap());
    assert!(both.iter().all(|output| output.status.success()), "{both:?}");
    let already = both.iter().filter(|output| output.stdout == b"lab shop is up already\n").count();
    assert_eq!(already, 2);
    harbour.answer(&["down"]);
    no_process_is_left();
}

/// Runs the program in a mount namespace where its runtime folder is a file system of its own, mounted with `options`.
fn with_runtime(harbour: &Harbour, options: &str, args: &str) -> (i32, String, String) {
    let place = harbour.runtime.path().display();
    let program = env!("CARGO_BIN_EXE_seatrial");
    let script = format!(
        "mount -t tmpfs -o {options} none {place} && cd {place} && export XDG_RUNTIME_DIR={place} && {program} {args}; \
         status=$?; find {place} -mindepth 1; exit $status"
    );
    let mut command =
        harbour.other("unshare", &["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    // Words are broken where a terminal's line would end.
    let said = text(output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code().unwrap(), text(output.stdout), said)
}

#[test]
fn a_full_disk_and_a_read_only_one_are_errors_and_nothing_stays() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let up = format!("up {}", harbour.file());
    let full = "No space left on device";
    // The first inode is the root's; then the folder of all labs, that of this one, the log, the state and the socket.
    for inodes in 1..=5 {
        let (status, left, err) = with_runtime(&harbour, &format!("size=4m,nr_inodes={inodes}"), &up);
        assert_eq!((status, left.as_str()), (1, ""), "{inodes} inodes: {err}");
        assert!(err.contains(full), "{inodes} inodes: {err}");
    }
    let (status, left, err) = with_runtime(&harbour, "size=8k", &up);
    assert_eq!((status, left.as_str()), (1, ""), "{err}");
    assert!(err.contains(full) && err.contains("state.json"), "{err}");
    let (status, left, err) = with_runtime(&harbour, "ro", &up);
    assert_eq!((status, left.as_str()), (1, ""), "{err}");
    assert!(err.contains("Read-only file system"), "{err}");
    no_process_is_left();
}

/// All of the machine's that a lab could have touched.
fn machine() -> String {
    let mut all = String::new();
    let root = Uid::effective().is_root();
    let mut tools: Vec<&[&str]> = vec![
        &["ip", "-d", "link"],
        &["ip", "-d", "address"],
        &["ip", "-d", "route", "show", "table", "all"],
        &["ip", "rule"],
        &["ip", "netns"],
    ];
    if root {
        tools.extend([&["iptables-save"][..], &["ip6tables-save"], &["nft", "list", "ruleset"]]);
    }
    for tool in tools {
        let output = Command::new(tool[0]).args(&tool[1..]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        // Time passes.
        let lines = text.lines().filter(|line| !line.contains("valid_lft") && !line.starts_with('#'));
        let _ = writeln!(all, "{tool:?}\n{}", lines.collect::<Vec<_>>().join("\n"));
    }
    all += &fs::read_to_string("/proc/self/mountinfo").unwrap();
    for folder in ["/proc/sys/net", "/proc/sys/kernel", "/proc/sys/fs/mqueue", "/run", "/run/netns"] {
        read_all(Path::new(folder), &mut all);
    }
    all
}

/// The names and contents of all small files below a folder of the kernel's; elsewhere only their names.
fn read_all(folder: &Path, all: &mut String) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let is_kernels = path.starts_with("/proc");
        if path.is_dir() && is_kernels {
            read_all(&path, all);
        } else {
            let counts = ["random", "ns_last_pid", "count", "pty", "nr"];
            let counts = path.components().any(|part| counts.iter().any(|c| part.as_os_str() == *c))
                || path.to_string_lossy().contains("_count");
            let text = if is_kernels && !counts {
                fs::read_to_string(&path).unwrap_or_default()
            } else {
                String::new()
            };
            let _ = writeln!(all, "{}: {text}", path.display());
        }
    }
}

#[test]
fn the_machine_stays_as_it_was() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let before = machine();
    harbour.up();
    let between = machine();
    harbour.answer(&["exec", "host", "--", "ip", "link", "add", "extra", "type", "bridge"]);
    harbour.answer(&["down"]);
    no_process_is_left();
    for after in [between, machine()] {
        let differs = before.lines().zip(after.lines()).find(|(before, after)| before != after);
        assert_eq!(differs, None);
        assert_eq!(before.len(), after.len());
    }
}
