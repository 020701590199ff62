//! `lan`: the machines on eth0's wire. Their addresses may be of any network: one wire can carry several.

use std::net::{IpAddr, Ipv4Addr};

use super::{machine, nodes};
use crate::addr::{Family, IfName, IpNet};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::yaml::{Key, Node, Value};
use crate::topology::{Host, LanMachine, NodeName};

/// The machine that a compose file alone has for a neighbour; `lan`, unless a service is called so.
pub(super) fn assumed(host: &Host) -> LanMachine {
    let taken = |name: &str| host.containers.iter().any(|c| c.node.as_str() == name);
    let free = |n: u32| if n == 0 { "lan".to_owned() } else { format!("lan-{n}") };
    let name = (0..).map(free).find(|name| !taken(name)).unwrap_or_default();
    LanMachine {
        name: NodeName::from(name),
        addresses: vec![IpNet::V4(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 50), 24))],
        routes: Vec::new(),
        at: At::nowhere("assumed"),
    }
}

/// Reads `lan`: `name: address`, `name: [address, …]` or `name: { address, routes }`.
pub(super) fn read(field: Field<'_>, out: &mut Diagnostics) -> Vec<LanMachine> {
    let mut machines = Vec::new();
    for (key, node) in field.mapping(out) {
        if nodes::machine(key, out) {
            machines.push(one(key, node, out));
        }
    }
    machines
}

fn one(key: &Key, node: &Node, out: &mut Diagnostics) -> LanMachine {
    let own = Field { name: &key.name, node };
    let (addresses, routes) = match &node.value {
        Value::Scalar(_) | Value::Sequence(_) => (Some(own), None),
        Value::Mapping(_) => {
            super::keys(node, &["address", "routes"], "a machine of the LAN", out);
            (Field::of(node, "address"), Field::of(node, "routes"))
        }
    };
    let before = out.0.len();
    let addresses = addresses.map(|f| machine::addresses(f, out)).unwrap_or_default();
    if addresses.is_empty() && out.0.len() == before {
        let found = format!("'{}' has no address", key.name);
        out.push(
            Diagnostic::new(key.at.clone(), found)
                .expected("an address with its prefix, as in 203.0.113.50/24"),
        );
    }
    let on_link = [(IfName::eth0(), addresses.clone())];
    let routes = routes.map(|f| machine::routes(f, &on_link.into_iter().collect(), out)).unwrap_or_default();
    LanMachine { name: NodeName::from(key.name.as_str()), addresses, routes, at: key.at.clone() }
}

/// The family of an address and of a network are one.
pub(super) fn same_family(net: IpNet, address: IpAddr) -> bool {
    Family::of_net(net) == Family::of(address)
}
