//! Programs are run inside: what they see, and how they end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use crate::{Harbour, SHOP, alone, no_process_is_left, until};

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
fn the_status_of_a_program_is_passed_through() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    let status = |command: &[&str]| {
        let said = harbour.run(&[&["exec", "web", "--"], command].concat());
        (said.status, said.err)
    };
    assert_eq!(status(&["true"]), (0, String::new()));
    assert_eq!(status(&["sh", "-c", "exit 42"]), (42, String::new()));
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), (143, String::new()));
    assert_eq!(status(&["sh", "-c", "kill -KILL $$"]), (137, String::new()));
    let none = "seatrial: cannot run no-such-program in web: No such file or directory\n";
    assert_eq!(status(&["no-such-program"]), (127, none.to_owned()));
    let not = "seatrial: cannot run /etc/passwd in web: Permission denied\n";
    assert_eq!(status(&["/etc/passwd"]), (126, not.to_owned()));
    let nowhere = harbour.run(&["exec", "-w", "/no/such/place", "web", "true"]);
    assert_eq!(nowhere.status, 125);
    assert_eq!(nowhere.err, "seatrial: cannot go to /no/such/place in web: No such file or directory\n");
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

#[test]
fn a_program_ends_with_the_one_that_started_it_and_with_the_lab() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    let start = || {
        let mut program = harbour.command(&["exec", "web", "sh", "-c", "echo ready; sleep 1000"]);
        let mut program = program.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(program.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        (program, out)
    };
    let (mut killed, mut out) = start();
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Of the lab, the process between `up` and the stage; and the orphan, before whose end is taken note of its PID
    // namespace does not end. Both are this process's.
    for _ in 0..2 {
        assert!(until(|| matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::Signaled(..)))));
    }
    // Where `sh` has ended, `sleep` may live on as the lab's.
    let (mut abandoned, _out) = start();
    harbour.answer(&["down"]);
    assert_eq!(abandoned.wait().unwrap().code(), Some(137));
    // The last that could write there has gone.
    out.read_to_string(&mut String::new()).unwrap();
    no_process_is_left();
}

/// A shell with job control on a terminal of its own.
struct Terminal {
    shell: Child,
    screen: std::fs::File,
    seen: String,
}

impl Terminal {
    fn new(harbour: &Harbour) -> Self {
        let pty = openpty(None, None).unwrap();
        let theirs = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut bash = harbour.other("bash", &["--norc", "--noprofile", "-i"]);
        bash.env("PS1", "$ ").env("TERM", "xterm").stdin(theirs()).stdout(theirs()).stderr(theirs());
        // SAFETY: both calls are safe in a child of a process with threads (man 7 signal-safety).
        unsafe {
            bash.pre_exec(|| {
                setsid()?;
                if nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        Self { shell: bash.spawn().unwrap(), screen: pty.master.into(), seen: String::new() }
    }

    fn send(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    /// Reads on until something is on the screen.
    fn expect(&mut self, text: &str) {
        let mut bytes = [0; 1024];
        while !self.seen.contains(text) {
            let timeout = nix::poll::PollTimeout::try_from(crate::PATIENCE).unwrap();
            let mut fds = [nix::poll::PollFd::new(self.screen.as_fd(), nix::poll::PollFlags::POLLIN)];
            assert_eq!(nix::poll::poll(&mut fds, timeout).unwrap(), 1, "no '{text}' in: {}", self.seen);
            let n = nix::unistd::read(&self.screen, &mut bytes).unwrap();
            self.seen += &String::from_utf8_lossy(&bytes[..n]);
        }
        let at = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..at);
    }
}

#[test]
fn a_program_has_the_callers_terminal_and_its_keys() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    let mut terminal = Terminal::new(&harbour);
    let program = env!("CARGO_BIN_EXE_seatrial");
    terminal.send(&format!("alias inside='{program} exec web --'; stty cols 101 rows 31\n"));
    terminal.send("inside stty size; echo size=$?\n");
    terminal.expect("31 101");
    terminal.expect("size=0");
    // A key for INT.
    terminal.send("inside sh -c 'echo rea''dy; exec sleep 1000'; echo int=$?\n");
    terminal.expect("ready");
    terminal.send("\x03");
    terminal.expect("int=130");
    // A key for TSTP, and on it goes.
    terminal.send("inside sh -c 'echo rea''dy; read word; echo got-$word'\n");
    terminal.expect("ready");
    terminal.send("\x1a");
    terminal.expect("Stopped");
    terminal.send("fg\n");
    // The shell says what it goes on with.
    terminal.expect("exec web --");
    terminal.send("on\n");
    terminal.expect("got-on");
    // A shell inside has job control, and the terminal is the caller's again after it.
    terminal.send("inside bash --norc -i\n");
    terminal.send("PS1=in-\n");
    terminal.expect("in-");
    terminal.send("sh -c 'echo as''leep; exec sleep 1000'\n");
    terminal.expect("asleep");
    terminal.send("\x1a");
    terminal.expect("Stopped");
    // It does not go while a job is stopped.
    terminal.send("kill -KILL %1; wait -f %1; exit 5\n");
    terminal.expect("exit 5");
    terminal.send("echo left=$?\n");
    terminal.expect("left=5");
    terminal.send("exit\n");
    terminal.shell.wait().unwrap();
    harbour.answer(&["down"]);
    no_process_is_left();
}
