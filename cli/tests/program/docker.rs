//! Lane docker, where something is wrong with what it needs: no root, no Engine, and Engines that do not come up. Their
//! root filesystems hold a shell alone, and a script for dockerd.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

use crate::{Said, folder, program};

const TRIAL: &str = "title: t\ncompose: { services: { web: { image: nginx } } }\nexpect: [ web -> 127.0.0.1/icmp reaches web ]\n";
const CHECK: [&str; 6] = ["check", "t.trial.yaml", "--lane", "docker", "--engine", "28.5"];

/// A trial, and a root with this script for dockerd.
fn root(script: &str) -> TempDir {
    let version = "[ \"$1\" = --version ] && { echo 'Docker version 28.5.2, build abc'; exit 0; }";
    let dockerd = format!("#!/bin/sh\n{version}\n{script}\n");
    let folder = folder(&[("t.trial.yaml", TRIAL), ("root/usr/bin/dockerd", &dockerd)]);
    let root = folder.path().join("root");
    fs::set_permissions(root.join("usr/bin/dockerd"), Permissions::from_mode(0o755)).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    for part in ["etc", "proc", "sys", "dev", "run", "tmp", "var"] {
        fs::create_dir(root.join(part)).unwrap();
    }
    for file in shell() {
        let place = root.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&file, place).unwrap();
    }
    folder
}

/// The shell, and the libraries it needs.
fn shell() -> Vec<PathBuf> {
    let ldd = Command::new("ldd").arg("/bin/sh").output().unwrap();
    let text = String::from_utf8(ldd.stdout).unwrap();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    libraries.chain([PathBuf::from("/bin/sh")]).collect()
}

fn check(folder: &Path, more: &[&str]) -> Command {
    let mut program = program(folder, &[&CHECK, more].concat());
    program.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("SEATRIAL_ENGINES", folder.join("none"));
    program
}

fn said(folder: &Path, more: &[&str]) -> Said {
    check(folder, more).output().unwrap().into()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a check refuses with, whose lane cannot run.
fn refused(said: &Said) -> String {
    assert_eq!((said.status, said.out.as_str()), (3, ""), "{}", said.err);
    assert!(said.err.contains("lane docker cannot run here"), "{}", said.err);
    words(&said.err)
}

/// Whether this is root: nobody else can start an Engine, and try what becomes of one.
#[expect(clippy::print_stderr, reason = "what is not tried is said")]
fn is_root(test: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        eprintln!("SKIPPED {test}: it needs root");
    }
    root
}

#[test]
fn an_ordinary_user_is_told_that_an_engine_needs_root() {
    let folder = folder(&[("t.trial.yaml", TRIAL)]);
    let mut check = check(folder.path(), &[]);
    if Uid::effective().is_root() {
        // An ordinary user may look neither here nor where the program was built.
        let program = folder.path().join("seatrial");
        fs::copy(env!("CARGO_BIN_EXE_seatrial"), &program).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        check = Command::new(program);
        check.args(CHECK).current_dir(folder.path()).env_clear().uid(65534).gid(65534);
    }
    let said = refused(&check.output().unwrap().into());
    assert!(said.contains("a Docker Engine needs root: run this with sudo"), "{said}");
}

#[test]
fn what_lane_docker_lacks_is_named_with_where_it_comes_from() {
    if !is_root("what_lane_docker_lacks_is_named_with_where_it_comes_from") {
        return;
    }
    let folder = folder(&[("t.trial.yaml", TRIAL), ("garbage/etc/hostname", "x\n")]);
    let none = refused(&said(folder.path(), &[]));
    assert!(none.contains("cannot list") && none.contains("scripts/reference-engines.sh"), "{none}");
    let missing = refused(&said(folder.path(), &["--docker-root", "nowhere"]));
    assert!(
        missing.contains("nowhere is no root filesystem with a Docker Engine: No such file"),
        "{missing}"
    );
    let garbage = refused(&said(folder.path(), &["--docker-root", "garbage"]));
    assert!(garbage.contains("garbage is no root filesystem with a Docker Engine"), "{garbage}");
    assert!(garbage.contains("dockerd"), "{garbage}");
}

#[test]
fn a_trial_whose_engine_is_not_here_is_skipped_by_name() {
    if !is_root("a_trial_whose_engine_is_not_here_is_skipped_by_name") {
        return;
    }
    let folder = root("exit 1");
    let mut program =
        program(folder.path(), &["check", "t.trial.yaml", "--lane", "docker", "--docker-root", "root"]);
    let other: Said = program.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap().into();
    assert_eq!(other.status, 0, "{}", other.err);
    assert!(words(&other.out).contains("no root of Engine 29 here (by document)"), "{}", other.out);
    assert!(other.out.contains("0 held, 0 failed, 1 skipped"), "{}", other.out);
}

#[test]
fn a_dockerd_that_ends_or_hangs_fails_what_is_asked_of_it() {
    if !is_root("a_dockerd_that_ends_or_hangs_fails_what_is_asked_of_it") {
        return;
    }
    let ends = root("echo 'failed to start daemon: the moon is full' >&2; exit 1");
    let said_of = said(ends.path(), &["--docker-root", "root"]);
    assert_eq!(said_of.status, 1, "{}", said_of.err);
    let out = words(&said_of.out);
    assert!(
        out.contains("cannot start dockerd: it ended before it came up; its log ends: failed to start"),
        "{out}"
    );
    assert!(out.contains("the moon is full"), "{out}");
    let hangs = root("echo waiting; kill -STOP $$");
    let said_of = said(hangs.path(), &["--docker-root", "root", "--timeout", "1"]);
    assert_eq!(said_of.status, 1, "{}", said_of.err);
    let out = words(&said_of.out);
    assert!(out.contains("it did not come up within 1 s; its log ends: waiting"), "{out}");
}

#[test]
fn a_program_that_is_killed_leaves_no_process_and_no_cgroup() {
    if !is_root("a_program_that_is_killed_leaves_no_process_and_no_cgroup") {
        return;
    }
    let folder = root("kill -STOP $$");
    let mut check = check(folder.path(), &["--docker-root", "root"]);
    let mut child = check.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (all, cgroup) = until(|| started(&child));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    until(|| all.iter().all(|pid| !Path::new("/proc").join(pid).exists()).then_some(()));
    let trees = fs::read_to_string("/proc/self/mounts").unwrap();
    let trees = trees.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2"));
    for tree in trees.filter_map(|line| line.split(' ').nth(1)) {
        let left = Path::new(tree).join(cgroup.trim_start_matches('/'));
        assert!(!left.exists(), "{} is left", left.display());
    }
}

/// Waits for something that happens in other processes.
#[expect(clippy::disallowed_methods, reason = "nothing tells of another's processes")]
fn until<T>(mut happened: impl FnMut() -> Option<T>) -> T {
    let mut looks = 3000;
    loop {
        if let Some(found) = happened() {
            return found;
        }
        looks -= 1;
        assert!(looks > 0, "it did not happen within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All processes below one, and the cgroup of its run, when dockerd is among them.
fn started(child: &Child) -> Option<(Vec<String>, String)> {
    let mut all = vec![child.id().to_string()];
    let mut seen = 0;
    while let Some(pid) = all.get(seen).cloned() {
        seen += 1;
        all.extend(children(&pid).unwrap_or_default());
    }
    let cgroup = all.iter().find_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        let (run, below) = path.split_once("/seatrial-")?;
        below.ends_with("/engine").then(|| format!("{run}/seatrial-{}", below.split('/').next().unwrap()))
    });
    let stopped = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| text.contains("(dockerd) T"))
    };
    cgroup.filter(|_| all.iter().any(stopped)).map(|cgroup| (all, cgroup))
}

fn children(pid: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("children"))?;
        found.extend(text.split_whitespace().map(str::to_owned));
    }
    Ok(found)
}
