//! A trace as a person reads it: a table of the way there, hop by hop, and the way back in short.
//!
//! The first packet of each way is shown whole; what comes back is summed up, and so is what goes the same way again.
//! A packet that meets another end than those before it is always shown whole.

use std::fmt::{self, Write as _};

use seatrial_core::rules::Protocol;

use super::flight::{Flight, Role, flights};
use super::{BridgeTo, Event, Hop, Place, RuleHit, Trace};
use crate::netfilter::Flow;
use crate::packet::{Icmp, L4, Packet, Payload, endpoint};
use crate::stack::icmp::Told;

/// How wide the table is, in characters, where the formatter names no width.
const WIDTH: usize = 80;
/// How wide its first two columns may be.
const WHERE: usize = 12;
const HANDLED: usize = 24;

/// As wide as the formatter says (`{trace:100}`): text that cannot be broken may stand out.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flights = flights(self);
        let table = Table::of(self, f.width().unwrap_or(WIDTH));
        let mut again = Vec::new();
        let mut first = true;
        for (flight, role) in &flights {
            match role {
                Role::Same => {
                    again.push(flight);
                    continue;
                }
                Role::Shown if !first => f.write_str("\n")?,
                Role::Shown | Role::Back => {}
            }
            match role {
                Role::Shown => table.whole(f, flight, first)?,
                Role::Back => table.back(f, flight)?,
                Role::Same => {}
            }
            first = false;
        }
        more(f, &again)
    }
}

/// Packets that went the way of another.
fn more(f: &mut fmt::Formatter<'_>, again: &[&Flight<'_>]) -> fmt::Result {
    let resent: Vec<String> =
        again.iter().filter(|a| a.resent).map(|a| seconds(a.first().map_or(0, |h| h.at_us))).collect();
    if !resent.is_empty() {
        writeln!(f, "\nsent again at {}: the same", resent.join(", "))?;
    }
    match again.len() - resent.len() {
        0 => Ok(()),
        1 => writeln!(f, "\nthen 1 more packet, the same way"),
        n => writeln!(f, "\nthen {n} more packets, the same ways"),
    }
}

/// The columns' widths, and what the devices are.
struct Table<'a> {
    trace: &'a Trace,
    width: usize,
    place: usize,
    handled: usize,
}

/// One row: who, by what, and what happened; continued on rows of their own.
struct Row {
    place: String,
    handled: String,
    what: Vec<String>,
}

impl<'a> Table<'a> {
    fn of(trace: &'a Trace, width: usize) -> Self {
        let mut table = Self { trace, width, place: 5, handled: 10 };
        for hop in &trace.hops {
            table.place = table.place.max(hop.ns.as_str().chars().count()).min(WHERE);
            table.handled = table.handled.max(table.handler(hop).chars().count()).min(HANDLED);
        }
        table
    }

    /// Who handles a packet at a hop.
    fn handler(&self, hop: &Hop) -> String {
        let device = hop.device.as_ref().map_or("", |d| d.as_str());
        let place = |device: &str| {
            let of_ns = self.trace.devices.get(&hop.ns);
            of_ns.and_then(|d| d.iter().find(|(name, _)| name.as_str() == device)).map(|(_, place)| *place)
        };
        let named = |device: &str| match place(device).map_or("device", Place::as_str) {
            "loopback" => "loopback".to_owned(),
            kind => format!("{kind} {device}"),
        };
        match &hop.event {
            Event::Send { .. } => "process".to_owned(),
            Event::Proxied { .. } => "docker-proxy".to_owned(),
            Event::Deliver { .. } => "process".to_owned(),
            Event::Bridge { bridge, .. } => named(bridge.as_str()),
            Event::Route { .. } | Event::Rule(_) | Event::Policy { .. } | Event::Conntrack { .. } => {
                named(device)
            }
            Event::Rewrite { .. } | Event::Cross { .. } | Event::Neighbour { .. } => named(device),
            Event::Answer { .. } | Event::Drop { .. } if device.is_empty() => "kernel".to_owned(),
            Event::Answer { .. } | Event::Drop { .. } => named(device),
        }
    }

    /// The whole way of a packet.
    fn whole(&self, f: &mut fmt::Formatter<'_>, flight: &Flight<'_>, head: bool) -> fmt::Result {
        let Some(first) = flight.first() else { return Ok(()) };
        writeln!(f, "{}", headline(&first.packet))?;
        if head {
            self.row(
                f,
                &Row { place: "WHERE".into(), handled: "HANDLED BY".into(), what: vec!["WHAT".into()] },
                0,
            )?;
        }
        let mut before: Option<(String, String)> = None;
        for row in self.rows(flight) {
            let now = (row.place.clone(), row.handled.clone());
            let (place, handled) = match &before {
                Some(before) if *before == now => (String::new(), String::new()),
                Some((place, _)) if *place == row.place => (String::new(), row.handled.clone()),
                Some(_) | None => now.clone(),
            };
            before = Some(now);
            self.row(f, &Row { place, handled, what: row.what }, 2)?;
        }
        Ok(())
    }

    fn rows(&self, flight: &Flight<'_>) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut policies: Vec<String> = Vec::new();
        for (at, hop) in flight.hops.iter().enumerate() {
            let (earlier, later) = (flight.hops.get(..at), flight.hops.get(at + 1..));
            let (place, handled) = (hop.ns.to_string(), self.handler(hop));
            if let Some(chain) = accepted(hop) {
                policies.push(chain);
                let more = later
                    .and_then(<[_]>::first)
                    .is_some_and(|h| accepted(h).is_some() && h.ns == hop.ns && self.handler(h) == handled);
                if !more {
                    let chains = std::mem::take(&mut policies).join(", ");
                    rows.push(Row { place, handled, what: vec![format!("policy ACCEPT: {chains}")] });
                }
            } else if let Some(what) = what(hop, earlier.unwrap_or_default(), later.unwrap_or_default()) {
                rows.push(Row { place, handled, what });
            }
        }
        rows
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, row: &Row, hang: usize) -> fmt::Result {
        let room = self.width.saturating_sub(self.place + self.handled + 4).max(20);
        let mut lead = (shorten(&row.place, self.place), shorten(&row.handled, self.handled));
        for (part, text) in row.what.iter().enumerate() {
            let indent = if part == 0 { 0 } else { hang };
            for (line, words) in wrap(text, room - indent, room - hang).iter().enumerate() {
                let indent = if line == 0 { indent } else { hang };
                let text = format!(
                    "{:<place$}  {:<handled$}  {:indent$}{words}",
                    lead.0,
                    lead.1,
                    "",
                    place = self.place,
                    handled = self.handled
                );
                writeln!(f, "{}", text.trim_end())?;
                lead = (String::new(), String::new());
            }
        }
        Ok(())
    }

    /// What came back, in short: the devices it crossed, what it was rewritten to, and who got it.
    fn back(&self, f: &mut fmt::Formatter<'_>, flight: &Flight<'_>) -> fmt::Result {
        let (Some(first), Some(last)) = (flight.first(), flight.hops.last()) else { return Ok(()) };
        let mut way: Vec<String> = Vec::new();
        let mut place = String::new();
        for hop in &flight.hops {
            if place != hop.ns.as_str() {
                place = hop.ns.to_string();
                way.push(place.clone());
            }
            if let Event::Rewrite { after } = &hop.event {
                way.push(format!("({})", rewritten(&hop.packet, after)));
            }
        }
        writeln!(f, "\nback: {}", headline(&first.packet))?;
        let mut text = way.join(" > ").replace(" > (", " (");
        if let Event::Deliver { socket, .. } = &last.event {
            _ = write!(text, " > {socket}");
        }
        let room = self.width.saturating_sub(2);
        wrap(&text, room, room).iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The chain whose policy let a packet pass.
fn accepted(hop: &Hop) -> Option<String> {
    let Event::Policy { table, chain, verdict, .. } = &hop.event else { return None };
    (*verdict == "ACCEPT").then(|| format!("{table} {chain}"))
}

/// What happened at a hop; nothing where another says it better.
fn what(hop: &Hop, earlier: &[&Hop], later: &[&Hop]) -> Option<Vec<String>> {
    let one = |text: String| Some(vec![text]);
    match &hop.event {
        Event::Send { node } => one(format!("{node} sends it")),
        Event::Route { text } => one(format!("route {text}")),
        Event::Rule(hit) => one(rule(hit)),
        Event::Policy { table, chain, verdict, .. } => one(format!("{table} {chain} policy: {verdict}")),
        Event::Conntrack { state, entry } => conntrack(hop, state, entry, earlier),
        Event::Rewrite { after } => one(format!("rewritten: {}", rewritten(&hop.packet, after))),
        Event::Bridge { from, to, .. } => {
            let from = from.as_ref().map(|f| format!("from {f} ")).unwrap_or_default();
            one(match to {
                BridgeTo::Port(port) => format!("{from}to {port}"),
                BridgeTo::Flood => format!("{from}to every port"),
                BridgeTo::Local => format!("{from}up, to its own address"),
            })
        }
        // The other side speaks for itself.
        Event::Cross { ns, .. } if later.iter().any(|h| h.ns == *ns) => None,
        Event::Cross { ns, device } => one(format!("to {device} in {ns}")),
        Event::Neighbour { text } => one(format!("neighbour: {text}")),
        Event::Deliver { node, socket } => {
            let by = hop.device.as_ref().map(|device| format!(" by {device}")).unwrap_or_default();
            one(format!("{node} gets it{by}: {socket}"))
        }
        Event::Proxied { to } => one(format!("accepts it, and connects to {to}")),
        Event::Answer { what } => one(format!("answers: {what}")),
        Event::Drop { reason, why } => Some(vec![format!("DROPPED ({reason})"), why.clone()]),
    }
}

/// Conntrack's state when the packet came, and the entry once it is made.
fn conntrack(hop: &Hop, state: &str, entry: &Flow, earlier: &[&Hop]) -> Option<Vec<String>> {
    let seen = |h: &&&Hop| h.ns == hop.ns && matches!(h.event, Event::Conntrack { .. });
    let last = earlier.iter().rev().find(seen).map(|h| &h.event);
    let entry = entry.to_string();
    let entry = entry.split_whitespace().collect::<Vec<_>>().join(" ");
    match (last, state) {
        (None, "NEW") => Some(vec!["conntrack: NEW".to_owned()]),
        (None, _) => Some(vec![format!("conntrack: {state}, {entry}")]),
        (Some(_), "NEW") => Some(vec![format!("conntrack entry: {entry}")]),
        (Some(_), _) => None,
    }
}

/// A rule: table, chain and number, its text without the chain's name, and the verdict where that does not say it.
fn rule(hit: &RuleHit) -> String {
    let name = format!("-A {} ", hit.chain);
    let text = hit.text.strip_prefix(&name).unwrap_or(&hit.text);
    let verdict = hit.verdict.trim_start_matches("-> ");
    let said = text.split(' ').any(|word| word == verdict);
    let verdict = if said { String::new() } else { format!(" => {verdict}") };
    format!("{} {} rule {}: {text}{verdict}", hit.table, hit.chain, hit.number)
}

/// What changed of a packet's addresses: `destination 203.0.113.10:8080 => 172.18.0.2:80`.
pub(super) fn rewritten(before: &Packet, after: &Packet) -> String {
    let sides = [
        ("source", before.source(), after.source()),
        ("destination", before.destination(), after.destination()),
    ];
    let changed: Vec<String> = sides
        .iter()
        .filter(|(_, before, after)| before != after)
        .map(|(side, before, after)| format!("{side} {before} => {after}"))
        .collect();
    if changed.is_empty() { format!("mark {:#x}", after.mark) } else { changed.join(", ") }
}

/// A packet in one line: `SYN 203.0.113.50:53822 > 203.0.113.10:8080 tcp`.
pub(super) fn headline(packet: &Packet) -> String {
    let (from, to) = (packet.source(), packet.destination());
    let name = match packet.payload {
        Payload::Query(_) => " name query",
        Payload::Reply(_) => " name answer",
        Payload::Empty | Payload::Ask(_) | Payload::Answer { .. } => "",
    };
    match packet.l4 {
        L4::Tcp(tcp) => format!("{} {from} > {to} tcp", tcp.flags),
        L4::Udp(_) => format!("{from} > {to} udp{name}"),
        L4::Sctp(_) => format!("{from} > {to} sctp"),
        L4::Icmp(Icmp::Echo { reply, .. }) => {
            format!("echo {} {from} > {to} icmp", if reply { "reply" } else { "request" })
        }
        L4::Icmp(Icmp::Error { kind, code, quoted, .. }) => {
            let ports = !matches!(quoted.protocol, Protocol::ICMP | Protocol::ICMPV6);
            let about = endpoint(quoted.dst, ports.then_some(quoted.ports.dst));
            let error = Told::by(packet.family(), kind, code);
            format!("{error}: {about}, {from} > {to} icmp")
        }
        L4::Icmp(Icmp::Other { kind, code }) => format!("{kind}/{code} {from} > {to} icmp"),
        L4::Other(number) => format!("{from} > {to} protocol {number}"),
    }
}

fn seconds(at_us: u64) -> String {
    format!("{}.{:01} s", at_us / 1_000_000, at_us % 1_000_000 / 100_000)
}

/// A name that fits a column.
fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Words in lines of a width; one word that is too long has a line of its own.
fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let width = if lines.len() == 1 { first } else { rest };
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;
    use crate::testbed::{Bed, probe, routed};

    const NAT: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A DOCKER ! -i eth1 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80\nCOMMIT\n";

    /// r stands for a host with a published port, b for its container.
    fn published(rules: &str) -> Bed {
        let bed = routed().rules("r", &format!("{rules}{NAT}"));
        bed.proxy("r", "tcp", "0.0.0.0:8080", "10.0.1.2:80").listen("b", "80/tcp")
    }

    fn golden(name: &str, bed: &Bed, line: &str) {
        let answer = probe(&mut bed.world(), line);
        let text = format!("{line}  {}\n\n{}", answer.outcome, answer.trace);
        assert!(text.lines().all(|l| l.chars().count() <= super::WIDTH), "{text}");
        insta::with_settings!({ snapshot_path => "../../tests/snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, text);
        });
    }

    #[test]
    fn a_published_port_by_nat_is_a_table() {
        golden("published-by-nat", &published(""), "a -> 10.0.0.254:8080/tcp");
    }

    #[test]
    fn a_published_port_by_proxy_has_two_connections() {
        golden("published-by-proxy", &published(""), "r -> 127.0.0.1:8080/tcp");
    }

    #[test]
    fn a_drop_names_its_rule_and_is_sent_again() {
        let filter = "*filter\n:FORWARD DROP [0:0]\n\
            -A FORWARD -p tcp -m tcp --dport 443 -j ACCEPT\nCOMMIT\n";
        golden("dropped-by-policy", &published(filter), "a -> 10.0.0.254:8080/tcp");
    }

    #[test]
    fn an_error_comes_back_in_short() {
        golden("no-neighbour", &published(""), "a -> 10.0.1.9/icmp");
    }

    #[test]
    fn words_are_wrapped_and_never_cut() {
        assert_eq!(wrap("one two three", 7, 5), ["one two", "three"]);
        assert_eq!(wrap("incomprehensibilities", 5, 5), ["incomprehensibilities"]);
    }
}
