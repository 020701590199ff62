//! A trace in short: a line for each namespace that a packet passes, with what was decided there and by which rule.
//!
//! Rules are named by chain and number, and by their text where one drops the packet; jumps, and policies that let the
//! packet pass, are left out.

use std::fmt;

use super::flight::{Flight, Role, flights};
use super::text::{headline, rewritten};
use super::{Event, Hop, Trace};

/// Shows a trace in short.
#[derive(Debug, Clone, Copy)]
pub struct Brief<'a>(&'a Trace);

impl Trace {
    /// The trace in short.
    #[must_use]
    pub const fn brief(&self) -> Brief<'_> {
        Brief(self)
    }
}

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut more = 0;
        for (flight, role) in flights(self.0) {
            let Some(first) = flight.first() else { continue };
            match role {
                Role::Shown => writeln!(f, "  {}", headline(&first.packet))?,
                Role::Back => writeln!(f, "  back: {}", headline(&first.packet))?,
                Role::Same => {
                    more += 1;
                    continue;
                }
            }
            places(&flight).into_iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        if more > 0 { writeln!(f, "  and {more} more the same ways") } else { Ok(()) }
    }
}

/// A line for each stay of a packet in a namespace: `host eth0 br0: nat DOCKER 1 DNAT; …`.
fn places(flight: &Flight<'_>) -> Vec<String> {
    let stays = flight.hops.chunk_by(|a, b| a.ns == b.ns);
    let line = |hops: &[&Hop]| {
        let mut words: Vec<String> = hops.first().map(|hop| hop.ns.to_string()).into_iter().collect();
        for device in hops.iter().filter_map(|hop| hop.device.as_ref()) {
            if !words.iter().skip(1).any(|word| word == device.as_str()) {
                words.push(device.to_string());
            }
        }
        let what: Vec<String> = hops.iter().filter_map(|hop| what(hop)).collect();
        let colon = if what.is_empty() { "" } else { ": " };
        format!("{}{colon}{}", words.join(" "), what.join("; "))
    };
    stays.map(line).collect()
}

/// What was decided at a hop; nothing where the packet only went on.
fn what(hop: &Hop) -> Option<String> {
    match &hop.event {
        Event::Send { .. } | Event::Route { .. } | Event::Bridge { .. } | Event::Cross { .. } => None,
        // What drops or rejects is named with its rule by the event that follows.
        Event::Rule(hit) => {
            let leads_on = hit.verdict.starts_with("-> ") || hit.verdict == "RETURN";
            let said_again = hit.verdict == "DROP" || hit.verdict == "REJECT";
            let said = || format!("{} {} {} {}", hit.table, hit.chain, hit.number, hit.verdict);
            (!leads_on && !said_again).then(said)
        }
        Event::Policy { .. } => None,
        Event::Conntrack { state, .. } => {
            matches!(*state, "INVALID" | "UNTRACKED").then(|| (*state).to_owned())
        }
        Event::Rewrite { after } => Some(rewritten(&hop.packet, after)),
        Event::Neighbour { text } => text.ends_with("does not answer").then(|| text.clone()),
        Event::Deliver { node, socket } => Some(format!("{node} gets it: {socket}")),
        Event::Proxied { to } => Some(format!("docker-proxy connects to {to}")),
        Event::Answer { what } => Some(format!("answers {what}")),
        Event::Drop { reason, why } => Some(format!("DROPPED {reason}: {why}")),
    }
}
