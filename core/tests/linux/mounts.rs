//! What a node finds mounted.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use seatrial_core::plan::MountRoot;

use crate::alone::alone;
use crate::program::{Ground, With};

#[test]
fn a_root_has_the_machine_s_programs_and_folders_of_its_own() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With::default());
    assert_eq!(
        ground.says(&mut web, "touch /tmp/x /run/x /root/x /x && ls -A /home /.old 2>/dev/null"),
        "/home:"
    );
    assert!(!Path::new("/tmp/x").exists());
    let (code, text) = ground.run(&mut web, "touch /usr/x");
    assert!(code != Some(0) && text.contains("Read-only file system"), "{text}");
    // Nothing of the machine's is left in sight.
    let mounts =
        ground.says(&mut web, "cut -d' ' -f5 /proc/self/mountinfo | sort | uniq -d; cat /proc/mounts");
    assert!(!mounts.contains("/.old"), "{mounts}");
}

#[test]
fn a_root_is_read_only_where_that_is_asked_for() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let root = MountRoot { read_only: true, tmpfs: vec!["/run".to_owned()], ..MountRoot::default() };
    let mut web = ground.start("web", &With { root, ..With::default() });
    for place in ["/x", "/tmp/x", "/etc/x"] {
        assert!(
            ground.says(&mut web, &format!("touch {place}")).contains("Read-only file system"),
            "{place}"
        );
    }
    assert_eq!(ground.run(&mut web, "touch /run/x && echo x > /dev/null"), (Some(0), String::new()));
}

#[test]
fn what_a_container_is_not_to_see_is_covered() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With::default());
    let masked = "for f in interrupts kcore keys timer_list; do test -e /proc/$f && head -c 1 /proc/$f; done; \
                  ls -A /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v ':$'";
    assert_eq!(ground.says(&mut web, masked).trim(), "");
    for script in ["echo 1 > /proc/sys/kernel/panic", "echo > /sys/kernel/profiling"] {
        let text = ground.says(&mut web, &format!("{{ {script}; }} 2>&1"));
        assert!(text.contains("Read-only file system"), "{script}: {text}");
    }
    let covers = "awk '$2 ~ \"^/proc/\" && $4 ~ \"^ro,\" {print $2}' /proc/mounts | sort | tr '\\n' ' '";
    assert!(ground.says(&mut web, covers).contains("/proc/bus /proc/fs /proc/irq /proc/sys"));
    let mut machine = ground.start("host", &With { machine: true, ..With::default() });
    assert_ne!(ground.says(&mut machine, "wc -l < /proc/interrupts"), "0");
}

#[test]
fn files_are_seen_as_they_are_written_over() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let etc = Ground::files("web").join("etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(etc.join("resolv.conf"), "nameserver 127.0.0.11\n").unwrap();
    let mut web = ground.start("web", &With::default());
    assert_eq!(ground.says(&mut web, "cat /etc/resolv.conf"), "nameserver 127.0.0.11");
    fs::write(etc.join("hosts"), "192.0.2.2 db\n").unwrap();
    assert_eq!(ground.says(&mut web, "getent hosts db"), "192.0.2.2       db");
}

#[test]
fn shared_memory_has_its_size_and_is_one_where_the_folder_is() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let shm = Path::new("/run/shm");
    fs::create_dir(shm).unwrap();
    mount(Some("shm"), shm, Some("tmpfs"), MsFlags::empty(), Some("mode=1777,size=1m")).unwrap();
    let mut a = ground.start("a", &With { shm: Some(shm), ..With::default() });
    let mut b = ground.start("b", &With { shm: Some(shm), ..With::default() });
    let mut c = ground.start("c", &With::default());
    assert_eq!(
        ground.says(&mut a, "echo here > /dev/shm/x; df -k --output=size /dev/shm | tail -1").trim(),
        "1024"
    );
    assert_eq!(ground.says(&mut b, "cat /dev/shm/x"), "here");
    assert!(ground.says(&mut a, "head -c 2000000 /dev/zero > /dev/shm/y").contains("No space left"));
    assert!(ground.says(&mut a, "grep ' /dev/shm ' /proc/mounts").contains("nosuid,nodev,noexec"));
    assert_eq!(ground.says(&mut c, "ls -d /dev/shm 2>/dev/null"), "");
}

#[test]
fn devices_and_terminals_work() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With::default());
    let script = "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/full; \
                  ls /dev/fd/ | wc -l; script -qec 'tty' /dev/null </dev/null | tr -d '\\r'; ls -d /dev/mqueue";
    let text = ground.says(&mut web, script);
    let lines: Vec<_> = text.lines().filter(|line| !line.contains("echo")).collect();
    assert_eq!((lines[0], lines[1], lines[3], lines[4]), ("4", "4", "/dev/pts/0", "/dev/mqueue"), "{text}");
}
