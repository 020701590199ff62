//! A service with a root of its own runs its command there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Harbour, alone, no_process_is_left, until};

/// One service's root is a folder, and the other's an archive.
const SERVICES: &str = "\
name: roots
services:
  folder:
    { image: x, ports: [\"8080:80\"], x-rootfs: ./root, working_dir: /work, environment: { WORD: spoken },
      command: \"sh -c 'echo $$WORD by $$HOSTNAME in $$PWD > /said; trap \\\"exit 5\\\" TERM; while :; do sleep 0.01; done'\",
      hostname: speaker }
  archive: { image: x, x-rootfs: ./root.tar, entrypoint: [/bin/sh, -c], command: [\"exit 3\"] }
  plain: { image: x, expose: [\"80\"] }
";

/// A folder with a shell, and what it needs to run.
fn make_root(root: &Path) {
    for folder in ["bin", "etc"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (program, path) in
        [("sh", "/bin/sh"), ("sleep", "/bin/sleep"), ("cat", "/bin/cat"), ("kill", "/bin/kill")]
    {
        fs::copy(path, root.join("bin").join(program)).unwrap();
        let ldd = Command::new("ldd").arg(path).output().unwrap().stdout;
        let libraries = String::from_utf8(ldd).unwrap();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(library, to).unwrap();
        }
    }
    // As distributions have it: it leads to where a resolver of the machine's would write.
    std::os::unix::fs::symlink("../run/nowhere/resolv.conf", root.join("etc/resolv.conf")).unwrap();
}

fn with_roots() -> Harbour {
    let harbour = Harbour::new(SERVICES);
    make_root(&harbour.files.path().join("root"));
    let tar = ["-C", "root", "-cf", "root.tar", "."];
    assert!(Command::new("tar").args(tar).current_dir(harbour.files.path()).status().unwrap().success());
    // In what is somebody else's an ordinary user can write nothing, and hostname is a file.
    if harbour.user == "nobody" {
        let root = harbour.files.path().join("root");
        assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(root).status().unwrap().success());
    }
    harbour
}

#[test]
fn a_service_with_a_root_runs_its_command_there() {
    if !alone() {
        return;
    }
    let harbour = with_roots();
    harbour.up();
    assert!(until(|| harbour.run(&["exec", "folder", "cat", "/said"]).out == "spoken by speaker in /work\n"));
    let resolver = harbour.answer(&["exec", "folder", "cat", "/etc/resolv.conf"]);
    assert!(resolver.contains("nameserver 127.0.0.11"), "{resolver}");
    // What is written goes with the lab.
    assert!(!harbour.files.path().join("root/said").exists());
    // Its port is its own to listen on, and it does not.
    let refused = harbour.run(&["exec", "host", "--", "curl", "-sS", "http://127.0.0.1:8080"]);
    // An empty reply, or a reset: the proxy or the container ends the connection.
    assert!([7, 52, 56].contains(&refused.status), "{refused:?}");
    let exited = |status: &str| until(|| harbour.answer(&["ps"]).contains(status));
    assert!(exited("exited (3)"), "{}", harbour.answer(&["ps"]));
    harbour.answer(&["exec", "folder", "--", "sh", "-c", "kill -TERM 1"]);
    assert!(exited("exited (5)"), "{}", harbour.answer(&["ps"]));
    harbour.answer(&["down"]);
    no_process_is_left();
}

#[test]
fn a_root_or_a_program_that_is_not_there_is_said_and_nothing_stays() {
    if !alone() {
        return;
    }
    let harbour = with_roots();
    let up = |service: &str| {
        fs::write(harbour.files.path().join("compose.yaml"), format!("services:\n  web: {service}\n"))
            .unwrap();
        let said = harbour.run(&["up", &harbour.file()]);
        no_process_is_left();
        assert!(harbour.left().is_empty(), "{:?}", harbour.left());
        (said.status, said.err.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let folder = harbour.files.path().display();
    let none = format!("error: cannot find x-rootfs {folder}/none of web: No such file or directory");
    assert_eq!(up("{ image: x, x-rootfs: none, command: [sh] }"), (1, none));
    let absent = "error: cannot run nothing in web: No such file or directory";
    assert_eq!(up("{ image: x, x-rootfs: root, command: [nothing] }"), (1, absent.to_owned()));
    fs::write(harbour.files.path().join("text"), "a text\n").unwrap();
    let (status, words) = up("{ image: x, x-rootfs: text, command: [sh] }");
    assert_eq!(status, 1);
    assert!(words.contains(&format!("cannot unpack x-rootfs {folder}/text of web")), "{words}");
    assert!(words.ends_with("that is not compressed, as `docker export` writes it"), "{words}");
}
