//! Machines of a test: network namespaces with agents in them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio, id};
use std::thread::{self, JoinHandle};

use nix::sched::unshare;
use seatrial_core::linux::agent;
use seatrial_core::linux::order::{Numbered, Order, Reply};
use seatrial_core::linux::space::{Space, flag};
use seatrial_core::plan::Listener;
use seatrial_core::probe::{NsKind, Probe};

/// Machines by name.
pub(crate) struct Bed {
    machines: BTreeMap<&'static str, Machine>,
    orders: u64,
}

struct Machine {
    space: Space,
    write: UnixStream,
    read: BufReader<UnixStream>,
    agent: Option<JoinHandle<()>>,
}

impl Bed {
    /// Machines without a cable.
    pub(crate) fn new(names: &[&'static str]) -> Self {
        Self { machines: names.iter().map(|name| (*name, machine(name))).collect(), orders: 0 }
    }

    /// `a` (10.0.0.1, 2001:db8::1) and `b` (10.0.0.2, 2001:db8::2) on one cable.
    pub(crate) fn pair() -> Self {
        let bed = Self::new(&["a", "b"]);
        bed.cable(("a", "eth0"), ("b", "eth0"));
        for (name, n) in [("a", 1), ("b", 2)] {
            bed.sh(name, &format!("ip addr add 10.0.0.{n}/24 dev eth0"));
            bed.sh(name, &format!("ip addr add 2001:db8::{n}/64 dev eth0 nodad"));
        }
        bed
    }

    /// `a` (10.0.0.1, 2001:db8::1) and `b` (10.0.1.2, 2001:db8:1::2), and the router `r` between them, which has
    /// number 254 (fe) on both sides.
    pub(crate) fn routed() -> Self {
        let bed = Self::new(&["a", "b", "r"]);
        bed.cable(("a", "eth0"), ("r", "eth0"));
        bed.cable(("b", "eth0"), ("r", "eth1"));
        for (name, dev, v4, v6) in [
            ("a", "eth0", "10.0.0.1/24", "2001:db8::1/64"),
            ("b", "eth0", "10.0.1.2/24", "2001:db8:1::2/64"),
            ("r", "eth0", "10.0.0.254/24", "2001:db8::fe/64"),
            ("r", "eth1", "10.0.1.254/24", "2001:db8:1::fe/64"),
        ] {
            bed.sh(name, &format!("ip addr add {v4} dev {dev}"));
            bed.sh(name, &format!("ip addr add {v6} dev {dev} nodad"));
        }
        for (name, v4, v6) in [("a", "10.0.0.254", "2001:db8::fe"), ("b", "10.0.1.254", "2001:db8:1::fe")] {
            bed.sh(name, &format!("ip route add default via {v4}"));
            bed.sh(name, &format!("ip route add default via {v6}"));
        }
        bed.sh("r", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        bed
    }

    /// Lays a cable, and switches both ends on.
    pub(crate) fn cable(&self, one: (&str, &str), other: (&str, &str)) {
        let fd = self.machines[other.0].space.as_fd().as_raw_fd();
        let there = format!("/proc/{}/fd/{fd}", id());
        self.sh(one.0, &format!("ip link add {} type veth peer name {} netns {there}", one.1, other.1));
        self.sh(one.0, &format!("ip link set {} up", one.1));
        self.sh(other.0, &format!("ip link set {} up", other.1));
    }

    /// Runs a command in a machine's network namespace.
    pub(crate) fn sh(&self, name: &str, command: &str) -> String {
        let run = || Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output().unwrap();
        let output = self.inside(name, run);
        assert!(output.status.success(), "{name}: {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Does something in a machine's network namespace.
    pub(crate) fn inside<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        self.machines[name].space.inside(work).unwrap()
    }

    /// A machine's network namespace.
    pub(crate) fn space(&self, name: &str) -> &Space {
        &self.machines[name].space
    }

    /// Sends an order, and its number.
    pub(crate) fn order(&mut self, name: &str, what: Order) -> u64 {
        self.orders += 1;
        let order = serde_json::to_string(&Numbered { id: self.orders, what }).unwrap();
        self.say(name, &order);
        self.orders
    }

    /// Closes an agent's socket, and waits until it has ended.
    pub(crate) fn close(&mut self, name: &str) {
        let machine = self.machines.get_mut(name).unwrap();
        machine.write.shutdown(Shutdown::Write).unwrap();
        machine.agent.take().unwrap().join().unwrap();
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, name: &str, line: &str) {
        writeln!(self.machines.get_mut(name).unwrap().write, "{line}").unwrap();
    }

    /// The next reply.
    pub(crate) fn reply(&mut self, name: &str) -> Numbered<Reply> {
        let mut line = String::new();
        self.machines.get_mut(name).unwrap().read.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// An order and its reply.
    pub(crate) fn obey(&mut self, name: &str, what: Order) -> Reply {
        let id = self.order(name, what);
        let reply = self.reply(name);
        assert_eq!(reply.id, id);
        reply.what
    }

    /// Makes a machine listen: `80/tcp`, `10.0.0.2:80/tcp`, `[::1]:53/udp`.
    pub(crate) fn listen(&mut self, name: &str, on: &str) {
        let listener = listener(name, on);
        assert_eq!(self.obey(name, Order::Listen(listener)), Reply::Done, "{on}");
    }

    /// Asks, and what came of it as a trial writes it.
    pub(crate) fn ask(&mut self, probe: &str) -> String {
        let reply = self.put(probe);
        let Reply::Outcome(outcome) = reply else { unreachable!("{probe}: {reply:?}") };
        outcome.to_string()
    }

    /// Asks, and the whole reply.
    pub(crate) fn put(&mut self, probe: &str) -> Reply {
        let probe: Probe = probe.parse().unwrap();
        let from = probe.from.to_string();
        let nonce = self.nonce();
        self.obey(&from, Order::Ask { nonce, probe, via: None })
    }

    /// The number of the next question.
    pub(crate) const fn nonce(&self) -> u64 {
        0xfeed_0000 + self.orders
    }

    /// Asks many questions at once, and what came of each.
    pub(crate) fn ask_all(&mut self, probes: &[&str]) -> Vec<String> {
        let mut asked = BTreeMap::new();
        for (at, text) in probes.iter().enumerate() {
            let probe: Probe = text.parse().unwrap();
            let (from, nonce) = (probe.from.to_string(), self.nonce());
            asked.insert(self.order(&from, Order::Ask { nonce, probe, via: None }), (at, from));
        }
        let mut outcomes = vec![String::new(); probes.len()];
        for from in asked.values().map(|(_, from)| from.clone()).collect::<Vec<_>>() {
            let reply = self.reply(&from);
            let Reply::Outcome(outcome) = reply.what else { unreachable!("{reply:?}") };
            outcomes[asked[&reply.id].0] = outcome.to_string();
        }
        outcomes
    }
}

/// A listener as a trial writes it.
pub(crate) fn listener(name: &str, on: &str) -> Listener {
    let (on, transport) = on.rsplit_once('/').unwrap();
    let (address, port) = on.rsplit_once(':').map_or((None, on), |(address, port)| (Some(address), port));
    let address = address.map(|a| a.trim_matches(['[', ']']).parse::<IpAddr>().unwrap());
    Listener {
        node: name.into(),
        transport: transport.parse().unwrap(),
        address,
        port: port.parse().unwrap(),
    }
}

/// A machine with `lo` up, and an agent in it.
fn machine(name: &'static str) -> Machine {
    let home = Space::current(NsKind::Network).unwrap();
    unshare(flag(NsKind::Network)).unwrap();
    let space = Space::current(NsKind::Network).unwrap();
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let (here, there) = UnixStream::pair().unwrap();
    // A thread is born in the namespace of the one that makes it.
    let agent = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        there.set_nonblocking(true).unwrap();
        runtime.block_on(async {
            let control = tokio::net::UnixStream::from_std(there).unwrap();
            agent::serve(control, &name.into()).await.unwrap();
        });
    });
    home.enter().unwrap();
    Machine { space, write: here.try_clone().unwrap(), read: BufReader::new(here), agent: Some(agent) }
}
