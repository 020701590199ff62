//! `listen`: who answers, and where. A container that is not listed answers on the container ports of its `ports` and
//! `expose`, on every address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::check::unknown_node;
use crate::addr::{Family, Transport};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::yaml::{Key, Value};
use crate::topology::{Container, Listener, NetworkMode, NodeName, Topology};

/// The listeners of `listen`, and the default ones of the containers that are not in it.
pub(super) fn declared(
    field: Option<Field<'_>>,
    topology: &mut Topology,
    out: &mut Diagnostics,
) -> Vec<Listener> {
    let mut listeners = Listeners { of: Namespaces::of(topology), places: BTreeMap::new(), all: Vec::new() };
    let entries = field.map(|f| f.mapping(out)).unwrap_or_default();
    for (key, node) in entries {
        if let Some(wrong) = unknown_node(topology, &key.name, &key.at) {
            out.push(wrong);
            continue;
        }
        for (text, at) in texts(Field { name: &key.name, node }, out) {
            match listener(key, text, &at) {
                Ok(new) => out.extend(listeners.add(new).err()),
                Err(wrong) => out.push(wrong),
            }
        }
    }
    let listed = |c: &Container| entries.iter().any(|(key, _)| key.name == c.node.as_str());
    for container in topology.hosts.iter().flat_map(|h| &h.containers).filter(|c| !listed(c)) {
        for new in exposed(container) {
            let said = format!("{}: does not listen on {}/{}", new.node, new.port, new.transport);
            if let Err(held) = listeners.add(new) {
                topology.assumed.push(format!("{said}: {}", held.found));
            }
        }
    }
    listeners.all
}

/// The default listeners of a container, each port once.
fn exposed(container: &Container) -> Vec<Listener> {
    let published = container.ports.iter().map(|p| (p.transport, p.container_ports));
    let ports = published.chain(container.expose.iter().copied());
    let mut ports: Vec<(Transport, u16)> =
        ports.flat_map(|(t, range)| range.ports().map(move |p| (t, p))).collect();
    ports.sort_unstable();
    ports.dedup();
    let listener = |(transport, port)| Listener {
        node: container.node.clone(),
        address: None,
        port,
        transport,
        at: container.at.clone(),
    };
    ports.into_iter().map(listener).collect()
}

fn listener(key: &Key, text: &str, at: &At) -> Result<Listener, Diagnostic> {
    match socket(text) {
        Ok((address, port, transport)) => {
            Ok(Listener { node: NodeName::from(key.name.as_str()), address, port, transport, at: at.clone() })
        }
        Err(found) => {
            let expected = "[ADDRESS:]PORT/PROTO, as in 80/tcp, 127.0.0.1:9000/tcp or [::1]:53/udp";
            Err(Diagnostic::new(at.clone(), found).expected(expected))
        }
    }
}

/// The scalars of a list, or one alone, as they are written: `80` is a port without its protocol, and no wrong type.
pub(super) fn texts<'a>(field: Field<'a>, out: &mut Diagnostics) -> Vec<(&'a str, At)> {
    let nodes = match &field.node.value {
        Value::Scalar(_) => std::slice::from_ref(field.node),
        Value::Sequence(_) | Value::Mapping(_) => field.list(out),
    };
    let mut texts = Vec::new();
    for node in nodes {
        texts.extend(Field { node, ..field }.text(out).map(|text| (text, node.at.clone())));
    }
    texts
}

/// `80/tcp`, `127.0.0.1:80/tcp`, `[::1]:80/tcp`; what is wrong with anything else.
pub(super) fn socket(text: &str) -> Result<(Option<IpAddr>, u16, Transport), String> {
    let (place, proto) = text.split_once('/').ok_or_else(|| format!("'{text}' without a protocol"))?;
    let transport: Transport = proto.parse().map_err(|_| format!("'{proto}' as a protocol"))?;
    let (address, port) = match place.rsplit_once(':') {
        Some((address, port)) => (Some(bound(address)?), port),
        None => (None, place),
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let number = port.parse::<u16>().ok().filter(|n| digits && *n > 0);
    Ok((address, number.ok_or_else(|| format!("'{port}' as a port"))?, transport))
}

fn bound(text: &str) -> Result<IpAddr, String> {
    let bad = || format!("'{text}' as an address");
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| bad()),
        None => text.parse::<std::net::Ipv4Addr>().map(IpAddr::V4).map_err(|_| bad()),
    }
}

/// Listeners, and whose network namespace each is in.
struct Listeners {
    of: Namespaces,
    /// By the node whose network namespace it is: places in `all`.
    places: BTreeMap<NodeName, Vec<usize>>,
    all: Vec<Listener>,
}

impl Listeners {
    /// Adds a listener, unless another holds its port.
    fn add(&mut self, new: Listener) -> Result<(), Diagnostic> {
        let here = self.places.entry(self.of.owner(&new.node)).or_default();
        let held = here.iter().filter_map(|place| self.all.get(*place)).find(|l| clash(l, &new));
        if let Some(held) = held {
            let found = format!(
                "{} holds port {}/{} of this network namespace",
                held.node, held.port, held.transport
            );
            return Err(Diagnostic::new(new.at, found)
                .expected("another port or address")
                .related(held.at.clone(), "held"));
        }
        here.push(self.all.len());
        self.all.push(new);
        Ok(())
    }
}

/// Whether two sockets want one port: an unspecified address is any of its family, none is any of both.
fn clash(a: &Listener, b: &Listener) -> bool {
    let same = match (a.address, b.address) {
        (None, _) | (_, None) => true,
        (Some(a), Some(b)) => {
            Family::of(a) == Family::of(b) && (a == b || a.is_unspecified() || b.is_unspecified())
        }
    };
    same && (a.port, a.transport) == (b.port, b.transport)
}

/// Which node's network namespace a container is in.
struct Namespaces(BTreeMap<NodeName, NodeName>);

impl Namespaces {
    fn of(topology: &Topology) -> Self {
        let mut joined = BTreeMap::new();
        for host in &topology.hosts {
            for container in &host.containers {
                let owner = match &container.network {
                    NetworkMode::Host => &host.name,
                    NetworkMode::Container(target) => &target.node,
                    NetworkMode::DefaultBridge(_) | NetworkMode::Networks(_) | NetworkMode::None => continue,
                };
                joined.insert(container.node.clone(), owner.clone());
            }
        }
        Self(joined)
    }

    fn owner(&self, node: &NodeName) -> NodeName {
        let mut owner = node;
        // A chain is at most as long as there are links in it: what goes round stops there.
        for _ in 0..self.0.len() {
            match self.0.get(owner) {
                Some(next) => owner = next,
                None => break,
            }
        }
        owner.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_a_port_with_a_protocol_and_perhaps_an_address() {
        assert_eq!(socket("80/tcp"), Ok((None, 80, Transport::Tcp)));
        assert_eq!(socket("127.0.0.1:53/udp"), Ok((Some(IpAddr::from([127, 0, 0, 1])), 53, Transport::Udp)));
        assert_eq!(socket("[::1]:1/sctp"), Ok((Some(IpAddr::from(Ipv6Addr::LOCALHOST)), 1, Transport::Sctp)));
        for bad in
            ["80", "0/tcp", "+1/tcp", "::1:80/tcp", "[::1:80/tcp", "x:80/tcp", "80/icmp", "/tcp", ":80/tcp"]
        {
            assert!(socket(bad).is_err(), "{bad}");
        }
    }
}
