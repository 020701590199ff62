//! `ports` and `expose`: the short form as Docker splits it, and the long form.
//!
//! The short form is `[[IP:]HOST:]CONTAINER[/PROTOCOL]` (github.com/docker/go-connections, nat.ParsePortSpec): what
//! stands before the last two colons is the address; a host port that is empty or 0 is any free one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::keys;
use crate::addr::{PortRange, Transport};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::Publish;
use crate::topology::field::Field;
use crate::topology::yaml::{Node, Value};

/// `ports`; an entry that says the same as an earlier one takes its place, every address counted as 0.0.0.0
/// (compose-go, override.EnforceUnicity).
pub(super) fn publishes(field: Field<'_>, out: &mut Diagnostics) -> Vec<Publish> {
    let mut all: Vec<Publish> = Vec::new();
    let mut places = BTreeMap::new();
    for entry in field.list(out) {
        let read = match &entry.value {
            Value::Scalar(_) => short(entry),
            Value::Mapping(_) => long(entry, out),
            Value::Sequence(_) => Err(Some(Field { name: "ports", node: entry }.wrong(FORMS))),
        };
        let new = match read {
            Ok(new) => new,
            Err(diagnostic) => {
                out.extend(diagnostic);
                continue;
            }
        };
        let ip = new.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let place = places.entry((ip, new.host_ports, new.container_ports, new.transport));
        let place = *place.or_insert(all.len());
        match all.get_mut(place) {
            Some(earlier) => *earlier = new,
            None => all.push(new),
        }
    }
    all
}

const FORMS: &str = "CONTAINER, HOST:CONTAINER or IP:HOST:CONTAINER, or a mapping with 'target'";

fn short(entry: &Node) -> Result<Publish, Option<Diagnostic>> {
    let refuse = |found: String| Diagnostic::new(entry.at.clone(), found);
    let Some(text) = entry.as_str() else {
        return Err(Some(refuse("an entry of 'ports' is empty".to_owned()).expected(FORMS)));
    };
    let (rest, protocol) = text.split_once('/').unwrap_or((text, ""));
    let mut parts = rest.rsplitn(3, ':');
    let (container, host) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let ip = parts.next().unwrap_or_default();
    let spec = Spec { ip, host, container, protocol, at: entry.at.clone() };
    spec.read(text).map_err(Some)
}

/// The parts of an entry, as text.
struct Spec<'a> {
    ip: &'a str,
    host: &'a str,
    container: &'a str,
    protocol: &'a str,
    at: At,
}

impl Spec<'_> {
    fn read(self, whole: &str) -> Result<Publish, Diagnostic> {
        let refuse = |found: String, expected: &str| {
            Diagnostic::new(self.at.clone(), format!("port '{whole}': {found}")).expected(expected)
        };
        let range = |text: &str| text.parse::<PortRange>().ok();
        if self.container.is_empty() {
            return Err(refuse("no container port".to_owned(), FORMS));
        }
        let container_ports = range(self.container)
            .ok_or_else(|| refuse(format!("bad container port '{}'", self.container), PORTS))?;
        let host_ports = match self.host {
            "" | "0" => None,
            host => Some(range(host).ok_or_else(|| refuse(format!("bad host port '{host}'"), PORTS))?),
        };
        let transport = match self.protocol {
            "" => Transport::Tcp,
            protocol => protocol
                .parse()
                .map_err(|_| refuse(format!("bad protocol '{protocol}'"), "tcp, udp or sctp"))?,
        };
        let host_ip = match self.ip {
            "" => None,
            ip => Some(address(ip).ok_or_else(|| {
                refuse(format!("bad host address '{ip}'"), "an address, an IPv6 one in brackets")
            })?),
        };
        let lengths = host_ports.map(PortRange::count).filter(|_| container_ports.count() > 1);
        if lengths.is_some_and(|count| count != container_ports.count()) {
            return Err(refuse(
                format!("{} host ports for {} container ports", self.host, self.container),
                "ranges of the same length, or one container port",
            ));
        }
        Ok(Publish { host_ip, host_ports, container_ports, transport, at: self.at })
    }
}

const PORTS: &str = "1 to 65535, or a range as in 8000-8010";

/// An address as `ports` writes it: an IPv6 one stands in brackets.
fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().filter(IpAddr::is_ipv6),
        None => text.parse().ok().filter(IpAddr::is_ipv4),
    }
}

/// The long form. What is wrong inside it is pushed to `out`, or returned.
fn long(entry: &Node, out: &mut Diagnostics) -> Result<Publish, Option<Diagnostic>> {
    let known = keys::check(entry, keys::PORT, "a port", out);
    let field = |name| Field::of(entry, name);
    let text = |name, out: &mut Diagnostics| match field(name) {
        Some(f) => f.text(out).map(str::to_owned).ok_or(()),
        None => Ok(String::new()),
    };
    let parts = [text("host_ip", out), text("published", out), text("target", out), text("protocol", out)];
    let [Ok(ip), Ok(host), Ok(container), Ok(protocol)] = parts else { return Err(None) };
    if !known {
        return Err(None);
    }
    if container.is_empty() {
        let found = "a port without a 'target'";
        return Err(Some(
            Diagnostic::new(entry.at.clone(), found).expected("the container's port as 'target'"),
        ));
    }
    let ip = if ip.contains(':') && !ip.starts_with('[') { format!("[{ip}]") } else { ip };
    let whole = if host.is_empty() { container.clone() } else { format!("{host}:{container}") };
    let at = entry.at.clone();
    Spec { ip: &ip, host: &host, container: &container, protocol: &protocol, at }.read(&whole).map_err(Some)
}

/// `expose`: ports that are listened on and not published.
pub(super) fn exposed(field: Field<'_>, out: &mut Diagnostics) -> Vec<(Transport, PortRange)> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    let entries: Vec<_> = field.entries(out).collect();
    for entry in entries {
        let Some(text) = entry.text(out) else { continue };
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        match (ports.parse::<PortRange>(), protocol.parse::<Transport>()) {
            (Ok(ports), Ok(transport)) if !seen.insert((transport, ports)) => {}
            (Ok(ports), Ok(transport)) => all.push((transport, ports)),
            (Err(_), Ok(_) | Err(_)) => {
                out.push(entry.bad(format!("'expose': bad port '{ports}'")).expected(PORTS))
            }
            (Ok(_), Err(_)) => out
                .push(entry.bad(format!("'expose': bad protocol '{protocol}'")).expected("tcp, udp or sctp")),
        }
    }
    all
}
