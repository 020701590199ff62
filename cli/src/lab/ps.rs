//! `seatrial ps`: who stands in labs, and how.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use seatrial_core::linux::lab::{Lab, Record, Seen, look};
use seatrial_core::linux::stage::door::Standing;
use seatrial_core::linux::state::{LabName, Labs};
use seatrial_core::plan::{ListedPort, Object, Process};
use seatrial_core::probe::NsKind;
use seatrial_core::topology::NodeName;
use serde::Serialize;

use super::{dead, labs, no_lab, table};
use crate::args::{Format, Ps};
use crate::format::json;
use crate::output::{Output, Refusal};

/// A node of a lab.
#[derive(Debug, Serialize)]
struct Row {
    lab: String,
    node: String,
    container: Option<String>,
    state: String,
    pid: Option<u32>,
    addresses: Vec<IpAddr>,
    /// The node whose network it shares.
    shares: Option<String>,
    ports: Vec<String>,
}

/// Lists the nodes of one lab, or of all.
pub(crate) fn run(args: &Ps) -> Result<Output, Refusal> {
    let labs = labs();
    let names = match &args.which.lab {
        Some(name) => vec![name.clone()],
        None => labs.names()?,
    };
    let (mut rows, mut notes) = (Vec::new(), String::new());
    for name in names {
        match look(&labs, &name, false)? {
            Seen::Up(lab) => rows.extend(of_lab(&lab)?),
            seen @ (Seen::Busy | Seen::Dead(_) | Seen::Nothing) => {
                notes += &absent(&labs, &name, &seen, args)?
            }
        }
    }
    let answer = match args.format {
        Format::Text => text(&rows, args.which.lab.is_none()),
        Format::Json => json::pretty(&rows)?,
    };
    Ok(Output::answer(answer).noting(&notes))
}

/// What is said of a lab that is not up.
fn absent(labs: &Labs, name: &LabName, seen: &Seen, args: &Ps) -> Result<String, Refusal> {
    match seen {
        Seen::Dead(left) => Ok(format!("seatrial: {}", dead(name, left))),
        Seen::Busy => Ok(format!("seatrial: lab {name} is coming up or going down\n")),
        Seen::Nothing if args.which.lab.is_some() => Err(no_lab(labs, name)?),
        // It has gone since the names were read.
        Seen::Nothing | Seen::Up(_) => Ok(String::new()),
    }
}

fn of_lab(lab: &Lab) -> Result<Vec<Row>, Refusal> {
    let record = lab.record();
    let standings: BTreeMap<NodeName, Standing> =
        lab.nodes()?.into_iter().map(|standing| (standing.node.clone(), standing)).collect();
    let row = |process: &Process| {
        let standing = standings.get(&process.node);
        let (addresses, shares) = addresses(record, process);
        Row {
            lab: lab.name().to_string(),
            node: process.node.to_string(),
            container: process.container.clone(),
            state: state(standing),
            pid: standing.and_then(|standing| standing.pid),
            addresses,
            shares,
            ports: ports(record, process),
        }
    };
    Ok(record.nodes().map(row).collect())
}

fn state(standing: Option<&Standing>) -> String {
    match standing {
        Some(Standing { pid: Some(_), .. }) => "running".to_owned(),
        Some(Standing { status: Some(status), .. }) => format!("exited ({status})"),
        Some(Standing { status: None, .. }) | None => "exited".to_owned(),
    }
}

/// The addresses of a node's own network, or whose it shares.
pub(super) fn addresses(record: &Record, process: &Process) -> (Vec<IpAddr>, Option<String>) {
    let Some(ns) = process.namespaces.get(&NsKind::Network) else { return (Vec::new(), None) };
    if ns.as_str() != process.node.as_str() {
        return (Vec::new(), Some(ns.to_string()));
    }
    let own = record.plan.items.iter().filter(|item| item.ns == *ns);
    let addresses = own.filter_map(|item| {
        let Object::Address(address) = &item.object else { return None };
        (address.link.as_str() != "lo").then(|| address.net.addr())
    });
    (addresses.collect(), None)
}

/// A node's ports, as `docker ps` writes them; of a machine those it listens on.
pub(super) fn ports(record: &Record, process: &Process) -> Vec<String> {
    match record.ports.get(&process.node) {
        Some(ports) => displayed(ports),
        None => {
            let listens = record.plan.items.iter().filter_map(|item| {
                let Object::Listener(listener) = &item.object else { return None };
                let (port, transport) = (listener.port, listener.transport);
                (listener.node == process.node).then_some(ListedPort { host: None, port, transport })
            });
            displayed(&listens.collect::<Vec<_>>())
        }
    }
}

/// Consecutive ports are one range; a port that is published under another number stands alone, and last
/// (docker/cli, cli/command/formatter, DisplayablePorts).
fn displayed(ports: &[ListedPort]) -> Vec<String> {
    let mut sorted = ports.to_vec();
    let ip = |p: &ListedPort| p.host.map(|host| host.ip());
    sorted.sort_by_key(|p| (p.port, ip(p).map(|ip| ip.to_string()), p.host.map(|h| h.port()), p.transport));
    let mut groups: Vec<Group> = Vec::new();
    let (mut done, mut others) = (Vec::new(), Vec::new());
    for port in &sorted {
        if let Some(host) = port.host.filter(|host| host.port() != port.port) {
            others.push(format!("{host}->{}/{}", port.port, port.transport));
            continue;
        }
        let kind = (ip(port), port.transport.to_string());
        match groups.iter_mut().find(|group| group.kind == kind) {
            Some(group) if port.port == group.last.saturating_add(1) => group.last = port.port,
            Some(group) => {
                done.push(group.display());
                (group.first, group.last) = (port.port, port.port);
            }
            None => groups.push(Group { kind, first: port.port, last: port.port }),
        }
    }
    done.extend(groups.iter().map(Group::display));
    done.extend(others);
    done
}

/// Ports in a row, of one host address and protocol.
struct Group {
    kind: (Option<IpAddr>, String),
    first: u16,
    last: u16,
}

impl Group {
    fn display(&self) -> String {
        let range = if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}-{}", self.first, self.last)
        };
        match &self.kind {
            (Some(ip), transport) => {
                let host = SocketAddr::new(*ip, 0).to_string();
                format!("{}{range}->{range}/{transport}", host.trim_end_matches('0'))
            }
            (None, transport) => format!("{range}/{transport}"),
        }
    }
}

fn text(rows: &[Row], with_lab: bool) -> String {
    let head = ["LAB", "NODE", "CONTAINER", "STATE", "PID", "ADDRESSES", "PORTS"];
    let cells = |row: &Row| {
        let all = vec![
            row.lab.clone(),
            row.node.clone(),
            row.container.clone().unwrap_or_else(|| "-".to_owned()),
            row.state.clone(),
            row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            shown(&row.addresses, row.shares.as_deref()),
            row.ports.join(", "),
        ];
        all.into_iter().skip(usize::from(!with_lab)).collect()
    };
    table(head.get(usize::from(!with_lab)..).unwrap_or_default(), &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Addresses as they are shown to a person.
pub(super) fn shown(addresses: &[IpAddr], shares: Option<&str>) -> String {
    match shares {
        Some(node) => format!("as {node}"),
        None if addresses.is_empty() => "-".to_owned(),
        None => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::addr::Transport;

    use super::*;

    fn port(host: Option<&str>, port: u16) -> ListedPort {
        ListedPort { host: host.map(|host| host.parse().unwrap()), port, transport: Transport::Tcp }
    }

    #[test]
    fn ports_are_displayed_as_docker_ps_does() {
        let ports = [
            port(Some("0.0.0.0:8080"), 80),
            port(Some("[::]:8080"), 80),
            port(Some("0.0.0.0:443"), 443),
            port(None, 9000),
            port(None, 9001),
            port(None, 22),
        ];
        assert_eq!(
            displayed(&ports),
            ["22/tcp", "9000-9001/tcp", "0.0.0.0:443->443/tcp", "0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"]
        );
    }
}
