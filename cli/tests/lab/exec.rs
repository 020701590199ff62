//! Programs are run inside: what they see, and how they end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Harbour, SHOP, alone, no_process_is_left};

#[test]
fn a_program_sees_what_its_node_has() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    let inside = |node: &str, command: &str| harbour.answer(&["exec", node, "--", "sh", "-c", command]);
    assert_eq!(inside("web", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "0\n");
    assert_eq!(inside("web", "hostname"), inside("web", "echo $HOSTNAME"));
    assert_eq!(inside("web", "pwd; echo $HOME; id -u"), "/\n/root\n0\n");
    assert_eq!(inside("web", "ls /sys/class/net | tr '\\n' ' '"), "eth0 eth1 lo ");
    assert!(inside("host", "ls /sys/class/net").contains("docker0"));
    assert_eq!(inside("lan", "ls /sys/class/net | tr '\\n' ' '"), "eth0 lo ");
    // The container's processes have numbers of their own; its host sees them under others.
    assert!(inside("web", "cat /proc/1/comm").contains("seatrial-agent"));
    assert!(inside("host", "cat /proc/[0-9]*/comm").matches("seatrial-agent").count() >= 3);
    let given =
        harbour.answer(&["exec", "-e", "WORD=two words", "-w", "/tmp", "web", "sh", "-c", "echo $WORD; pwd"]);
    assert_eq!(given, "two words\n/tmp\n");
    harbour.answer(&["down"]);
    no_process_is_left();
}

#[test]
fn a_published_port_says_who_was_reached_and_from_where() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    let curl =
        |node: &str, url: &str| harbour.answer(&["exec", node, "--", "curl", "-s", "--max-time", "20", url]);
    let own = curl("host", "http://127.0.0.1:8080");
    assert!(own.contains("web"), "{own}");
    let neighbour = curl("lan", "http://203.0.113.10:8080");
    assert!(neighbour.contains("web") && neighbour.contains("203.0.113.50"), "{neighbour}");
    assert!(curl("db", "http://web").contains("web"));
    harbour.answer(&["down"]);
    no_process_is_left();
}

#[test]
fn input_and_output_are_those_of_the_caller() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    let mut cat = harbour.command(&["exec", "web", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let big = "x".repeat(1 << 20);
    let mut stdin = cat.stdin.take().unwrap();
    let writes = std::thread::spawn(move || stdin.write_all(big.as_bytes()));
    let mut back = String::new();
    cat.stdout.take().unwrap().read_to_string(&mut back).unwrap();
    writes.join().unwrap().unwrap();
    assert!(cat.wait().unwrap().success());
    assert_eq!(back.len(), 1 << 20);
    harbour.answer(&["down"]);
    no_process_is_left();
}

#[test]
fn a_signal_to_the_program_here_reaches_the_one_inside() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGUSR1, "USR1")] {
        let script = format!("trap 'echo caught; exit 7' {name}; echo ready; while :; do sleep 0.01; done");
        let mut program = harbour.command(&["exec", "web", "sh", "-c", &script]);
        // A shell does not trap what it was told to ignore.
        let mut program = program.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(program.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill(pid(&program), signal).unwrap();
        assert_eq!(program.wait().unwrap().code(), Some(7), "{name}");
    }
    harbour.answer(&["down"]);
    no_process_is_left();
}

/// Under `setpriv` the number stays the same: it becomes the program.
pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
