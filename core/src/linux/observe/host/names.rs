//! What Docker's resolver knows, of what the Engine tells, and whom it asks, of what it notes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Attached;
use super::crowd::Node;
use crate::plan::{Joined, Records, Upstream, Zone, names};

/// What is known to a container on these networks. Which of them is asked first the Engine does not tell: they stand in
/// the order of their names, and the links of containers are not told either.
pub(super) fn zone(own: &[Attached], nodes: &[Node]) -> Zone {
    let records: Vec<(&str, Records)> =
        own.iter().map(|on| (on.network.as_str(), records(&on.network, nodes))).collect();
    let joined = records.iter().map(|(name, records)| Joined {
        name,
        has_v6: records.values().flatten().any(IpAddr::is_ipv6),
        records,
    });
    let networks = records.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = names(&joined.collect::<Vec<_>>(), &BTreeMap::new());
    let mut reverse = BTreeMap::new();
    for (network, _) in &records {
        // The default bridge knows no names.
        for (node, on) in members(network, nodes).filter(|(_, on)| !on.names.is_empty()) {
            let name = || format!("{}.{network}", node.called());
            on.addresses.iter().for_each(|address| _ = reverse.entry(*address).or_insert_with(name));
        }
    }
    Zone { names, networks, reverse }
}

/// The names of a network.
fn records(network: &str, nodes: &[Node]) -> Records {
    let mut records = Records::new();
    for (_, on) in members(network, nodes) {
        for name in &on.names {
            let addresses = records.entry(name.to_lowercase()).or_default();
            for address in &on.addresses {
                if !addresses.contains(address) {
                    addresses.push(*address);
                }
            }
        }
    }
    records
}

/// Who is on a network.
fn members<'a>(network: &'a str, nodes: &'a [Node]) -> impl Iterator<Item = (&'a Node, &'a Attached)> {
    let all = nodes.iter().flat_map(|node| node.networks.iter().flatten().map(move |on| (node, on)));
    all.filter(move |(_, on)| on.network == network)
}

/// Whom a resolver asks, as the Engine notes it in the container's resolv.conf: `# ExtServers: [host(192.0.2.53)]`; nothing
/// where it notes nothing, as it was until 25.
pub(super) fn upstream(conf: &str) -> Option<Vec<Upstream>> {
    let noted = conf.lines().find_map(|line| line.strip_prefix("# ExtServers: [")?.strip_suffix(']'))?;
    let servers = noted.split(' ').filter_map(|server| {
        let inner = server.strip_prefix("host(").and_then(|server| server.strip_suffix(')'));
        Some(Upstream { address: inner.unwrap_or(server).parse().ok()?, from_host: inner.is_some() })
    });
    Some(servers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_engine_notes_them() {
        let conf = "nameserver 127.0.0.11\n# ExtServers: [host(192.0.2.53) 198.51.100.1]\n";
        let expected = [("192.0.2.53", true), ("198.51.100.1", false)];
        let expected =
            expected.map(|(address, from_host)| Upstream { address: address.parse().unwrap(), from_host });
        assert_eq!(upstream(conf).unwrap(), expected);
        assert_eq!(upstream("nameserver 127.0.0.11\n"), None);
    }
}
