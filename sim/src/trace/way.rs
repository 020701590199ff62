//! The way that led to an answer, in one line, without what no two networks have alike: numbers of rules, names of
//! devices, ports that were drawn.

use super::flight::{Role, flights};
use super::{Event, Hop, Trace};
use crate::packet::{Packet, endpoint};

impl Trace {
    /// The namespaces that the packets passed, there and back, with what they were rewritten to: `lan > wire > host (to
    /// 172.18.0.2:80) > web; back web > host (from 203.0.113.10:8080) > wire > lan`.
    #[must_use]
    pub fn way(&self) -> String {
        let shown = flights(self).into_iter().filter(|(_, role)| *role != Role::Same);
        let ways = shown.map(|(flight, role)| {
            let back = if role == Role::Back { "back " } else { "" };
            format!("{back}{}", stays(&flight.hops))
        });
        ways.collect::<Vec<_>>().join("; ")
    }
}

fn stays(hops: &[&Hop]) -> String {
    let stay = |hops: &[&Hop]| {
        let place = hops.first().map(|hop| hop.ns.to_string()).into_iter();
        place.chain(hops.iter().filter_map(|hop| done(hop))).collect::<Vec<_>>().join(" ")
    };
    hops.chunk_by(|a, b| a.ns == b.ns).map(stay).collect::<Vec<_>>().join(" > ")
}

/// What was done to a packet that changes who it is from or for.
fn done(hop: &Hop) -> Option<String> {
    match &hop.event {
        Event::Rewrite { after } => Some(format!("({})", rewritten(&hop.packet, after)?)),
        Event::Proxied { to } => Some(format!("(docker-proxy to {to})")),
        Event::Send { .. } | Event::Route { .. } | Event::Rule(_) | Event::Policy { .. } => None,
        Event::Conntrack { .. } | Event::Bridge { .. } | Event::Cross { .. } => None,
        Event::Neighbour { .. } | Event::Deliver { .. } => None,
        Event::Answer { .. } | Event::Drop { .. } => None,
    }
}

/// The new ends; of whoever asked the port was drawn, and is not said.
fn rewritten(before: &Packet, after: &Packet) -> Option<String> {
    let ports = (before.ports().zip(after.ports())).filter(|(before, after)| before != after);
    let dst_port = ports.filter(|(before, after)| before.dst != after.dst).map(|(_, after)| after.dst);
    let to = (before.dst != after.dst || dst_port.is_some())
        .then(|| format!("to {}", endpoint(after.dst, after.ports().map(|ports| ports.dst))));
    let from = (before.src != after.src).then(|| format!("from {}", after.src));
    let all: Vec<String> = from.into_iter().chain(to).collect();
    (!all.is_empty()).then(|| all.join(" "))
}
