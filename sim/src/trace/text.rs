//! A trace as a person reads it.

use std::fmt;

use super::{Event, Hop, Trace};

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hops.iter().try_for_each(|hop| writeln!(f, "{hop}"))
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.as_ref().map_or("", |d| d.as_str());
        let (from, to) = (self.packet.source(), self.packet.destination());
        write!(f, "{:>3} {:<8} {:<15} {from} > {to}: {}", self.flight, self.ns, device, self.event)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { node } => write!(f, "sent by {node}"),
            Self::Route { text } => write!(f, "route {text}"),
            Self::Rule(hit) => {
                write!(f, "{} {} {}: {} => {}", hit.table, hit.chain, hit.number, hit.text, hit.verdict)
            }
            Self::Policy { table, chain, verdict, .. } => write!(f, "{table} {chain} policy {verdict}"),
            Self::Conntrack { state, entry } => write!(f, "conntrack {state} {entry}"),
            Self::Rewrite { after } => write!(f, "now {} > {}", after.source(), after.destination()),
            Self::Bridge { bridge, from, to } => write!(f, "bridge {bridge} from {from:?} to {to:?}"),
            Self::Cross { ns, device } => write!(f, "to {device} of {ns}"),
            Self::Neighbour { text } => f.write_str(text),
            Self::Deliver { node, socket } => write!(f, "to {node}: {socket}"),
            Self::Proxied { to } => write!(f, "docker-proxy connects to {to}"),
            Self::Answer { what } => f.write_str(what),
            Self::Drop { reason, why } => write!(f, "dropped ({reason}): {why}"),
        }
    }
}
