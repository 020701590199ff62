//! A node's first process: its namespaces, and its duties.

use std::fs;

use nix::unistd::sethostname;
use seatrial_core::probe::NsKind;

use crate::alone::alone;
use crate::program::{Ground, With};

#[test]
fn a_node_is_the_first_of_its_processes_and_its_machine_sees_them_all() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut machine = ground.start("host", &With { machine: true, ..With::default() });
    let space = machine.node.spaces.remove(0);
    let mut web = ground.start("web", &With { pid_parent: Some(&space), ..With::default() });
    let comm = "cat /proc/[0-9]*/comm | sort | uniq -c | tr -s ' '";
    assert_eq!(ground.says(&mut web, "cat /proc/1/comm; echo $PPID"), "seatrial-agent\n1");
    assert!(!ground.says(&mut web, comm).contains("2 seatrial-agent"));
    assert!(ground.says(&mut machine, comm).contains("2 seatrial-agent"));
    assert!(ground.says(&mut machine, "ls -d /proc/[0-9]*").contains("/proc/1"));
    let outside = fs::read_to_string(format!("/proc/{}/status", web.node.pid())).unwrap();
    let numbers = outside.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    let numbers: Vec<_> = numbers.split_whitespace().collect();
    // Here, on the machine, and in the container.
    assert_eq!(numbers.len(), 3, "{numbers:?}");
    assert_eq!((numbers[0], numbers[2]), (web.node.pid().to_string().as_str(), "1"));
}

#[test]
fn a_node_that_shares_processes_has_the_numbers_of_the_other() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut db = ground.start("db", &With::default());
    let space = db.node.spaces.remove(0);
    let mut web = ground.start("web", &With { spaces: vec![&space], ..With::default() });
    let look = "readlink /proc/1/ns/pid";
    assert_eq!(ground.says(&mut web, look), ground.says(&mut db, look));
    assert_ne!(ground.says(&mut web, "echo $PPID"), "1");
    ground.block_on(web.node.stop()).unwrap();
    assert!(!db.node.has_exited().unwrap());
}

#[test]
fn a_node_has_the_names_of_its_namespace() {
    if !alone() {
        return;
    }
    let mut ground = Ground::new();
    let space = ground.keeper.make(NsKind::Uts).unwrap();
    space.inside(|| sethostname("web1")).unwrap().unwrap();
    let mut web = ground.start("web", &With { spaces: vec![&space], ..With::default() });
    assert_eq!(ground.says(&mut web, "uname -n"), "web1");
}

#[test]
fn a_shared_memory_segment_is_seen_where_ipc_is_shared_and_nowhere_else() {
    if !alone() {
        return;
    }
    let mut ground = Ground::new();
    let (shared, own) = (ground.keeper.make(NsKind::Ipc).unwrap(), ground.keeper.make(NsKind::Ipc).unwrap());
    let mut a = ground.start("a", &With { spaces: vec![&shared], ..With::default() });
    let mut b = ground.start("b", &With { spaces: vec![&shared], ..With::default() });
    let mut c = ground.start("c", &With { spaces: vec![&own], ..With::default() });
    let (code, text) = ground.run(&mut a, "ipcmk -M 4096 >/dev/null");
    assert_eq!(code, Some(0), "{text}");
    let count = "tail -n +2 /proc/sysvipc/shm | wc -l";
    assert_eq!([&mut a, &mut b, &mut c].map(|node| ground.says(node, count)), ["1", "1", "0"]);
}

#[test]
fn ends_of_orphans_are_taken_note_of() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With::default());
    // Each leaves a child behind that ends after it.
    let orphans = "for i in 1 2 3 4 5; do (sh -c 'read x' <&3 >/dev/null 2>&1 &) ; done 3</dev/null";
    assert_eq!(ground.run(&mut web, orphans).0, Some(0));
    let states = || {
        let processes = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|e| fs::read_to_string(e.ok()?.path().join("stat")).ok());
        processes.filter(|stat| stat.contains(") Z ")).count()
    };
    // An answer comes after what went before it.
    assert_eq!(ground.says(&mut web, "echo done"), "done");
    let deadline = 200;
    let gone = (0..deadline).any(|_| {
        ground.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(10)).await });
        states() == 0
    });
    assert!(gone, "{} have ended and nobody took note of it", states());
}

#[test]
fn a_node_ends_when_it_is_asked_to() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let web = ground.start("web", &With::default());
    let pid = nix::unistd::Pid::from_raw(web.node.pid().cast_signed());
    assert!(!web.node.has_exited().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    ground.block_on(web.node.exited()).unwrap();
    assert!(web.node.has_exited().unwrap());
}

#[test]
fn a_node_ends_with_the_stage_and_with_its_machine() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut machine = ground.start("host", &With { machine: true, ..With::default() });
    let space = machine.node.spaces.remove(0);
    let mut one = ground.start("one", &With { pid_parent: Some(&space), ..With::default() });
    one.hang_up();
    ground.block_on(one.node.exited()).unwrap();
    let two = ground.start("two", &With { pid_parent: Some(&space), ..With::default() });
    ground.block_on(machine.node.stop()).unwrap();
    ground.block_on(two.node.exited()).unwrap();
    assert!(two.node.has_exited().unwrap());
}
