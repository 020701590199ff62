//! Containers that a Docker Engine starts become nodes, and cease to be.

use std::fs;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use nix::libc::IFA_F_TENTATIVE;
use tokio::time::{sleep, timeout};

use super::{Actor, Ground};
use crate::addr::IfName;
use crate::linux::Error;
use crate::linux::net::Net;
use crate::linux::process::Node;
use crate::linux::space::Space;
use crate::linux::stage::agent::Agent;
use crate::plan::{NsName, Process};
use crate::probe::NsKind;
use crate::topology::NodeName;

/// How long a container's agent may take to call, which the Engine has said runs: as long as a virtual machine may be silent
/// where nobody says (`--timeout`). In emulated ones that others left half a core it took 65 ms at most.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the kernel is asked meanwhile.
const TICK: Duration = Duration::from_millis(5);

impl Ground {
    /// Takes a container in when its agent calls.
    ///
    /// # Errors
    /// Where none calls, or it ends at once.
    pub(in crate::linux::stage) async fn admit(&mut self, mut process: Process) -> Result<(), Error> {
        let name = process.node.clone();
        let failed = |e: io::Error| Error::new("admit", format!("container {name}"), &e);
        let door = self.daemon.as_ref().and_then(|daemon| daemon.doors.get(&name));
        let door = door.ok_or_else(|| Error::words("admit", name.as_str(), "there is no door for it"))?;
        let late = |_| {
            let cause = format!("its agent did not call within {} s", PATIENCE.as_secs());
            Error::words("admit", format!("container {name}"), cause)
        };
        let (control, _) = timeout(PATIENCE, door.accept()).await.map_err(late)?.map_err(failed)?;
        let mut node = Node::caller(name.as_str(), control).map_err(failed)?;
        self.take_spaces(&mut process, node.pid()).map_err(failed)?;
        let agent = Rc::new(Agent::new(&name, node.control()?));
        let network = process.namespaces.get(&NsKind::Network).cloned().unwrap_or_else(|| (&name).into());
        if !self.nets.contains_key(&network) {
            let net = Net::open(network.clone(), self.space(NsKind::Network, &network)?)?;
            self.nets.insert(network.clone(), net);
        }
        self.listen_for_echoes(&network)?;
        let pid = node.pid();
        self.nodes.insert(name, Actor { node, agent, network: network.clone(), process });
        self.until_settled(&network, pid).await?;
        let host = self.daemon.as_ref().and_then(|daemon| self.nodes.get(&daemon.host));
        match host {
            Some(host) => self.until_settled(&host.network, host.node.pid()).await,
            None => Ok(()),
        }
    }

    /// Waits until no address of a namespace is asked for any more: what is sent meanwhile has another for its source.
    async fn until_settled(&self, ns: &NsName, pid: u32) -> Result<(), Error> {
        let settled = async {
            while self.has_tentative(ns, pid)? {
                sleep(TICK).await;
            }
            Ok(())
        };
        let late =
            |_| Error::words("use", format!("the addresses in {ns}"), "they are asked for without an end");
        timeout(PATIENCE, settled).await.map_err(late)?
    }

    /// Whether an address is asked for on a device that carries packets (man 5 proc, /proc/net/if_inet6).
    fn has_tentative(&self, ns: &NsName, pid: u32) -> Result<bool, Error> {
        let failed = |e: io::Error| Error::new("look at", format!("addresses in {ns}"), &e);
        let text = match fs::read_to_string(format!("/proc/{pid}/net/if_inet6")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            read => read.map_err(failed)?,
        };
        let net = self.net(ns)?;
        let asked = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, _, _, _, flags, device] = words.as_slice() else { return false };
            let flags = u32::from_str_radix(flags, 16).unwrap_or(0);
            let device = device.parse::<IfName>().ok();
            // A device that has just gone asks for nothing.
            flags & IFA_F_TENTATIVE != 0 && device.is_some_and(|device| net.is_carrying(&device))
        };
        Ok(text.lines().any(asked))
    }

    /// Holds the namespaces that a process is in, by the names that the plan gives them.
    fn take_spaces(&mut self, process: &mut Process, pid: u32) -> io::Result<()> {
        let own = NsName::from(&process.node);
        let stage = Space::current(NsKind::User)?.number()?;
        for (kind, ns) in process.namespaces.clone() {
            let space = Space::open(kind, &pid.to_string())?;
            if kind == NsKind::User && space.number()? == stage {
                // There is no way into a user namespace for who is in it (man 2 setns).
                process.namespaces.remove(&kind);
            } else if ns == own || !self.spaces.contains_key(&(kind, ns.clone())) {
                self.hold(&ns, space);
            }
        }
        Ok(())
    }

    /// Forgets a container, and the namespaces that only it was in.
    ///
    /// # Errors
    /// Where there is no such container.
    pub(in crate::linux::stage) fn dismiss(&mut self, node: &NodeName) -> Result<(), Error> {
        let Some(gone) = self.nodes.remove(node) else {
            return Err(Error::words("dismiss", node.as_str(), "no process of it runs"));
        };
        for (kind, ns) in gone.process.namespaces {
            let used = |actor: &Actor| actor.process.namespaces.get(&kind) == Some(&ns);
            if self.nodes.values().any(used) {
                continue;
            }
            self.spaces.remove(&(kind, ns.clone()));
            if kind == NsKind::Network {
                self.echoes.remove(&ns);
                self.nets.remove(&ns);
            }
        }
        Ok(())
    }
}
