//! Sockets: no two of one namespace want the same port.

use std::net::IpAddr;

use crate::addr::{Family, Transport};
use crate::plan::{Item, Object};

/// Where a socket is bound; no address is any address of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    transport: Transport,
    address: Option<IpAddr>,
    port: u16,
}

/// Whether the kernel would answer EADDRINUSE to two sockets of one port (man 2 bind;
/// net/ipv4/inet_connection_sock.c).
pub(crate) fn clash(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    match (a, b) {
        (None, _) | (_, None) => true,
        (Some(a), Some(b)) => {
            a == b || (Family::of(a) == Family::of(b) && (a.is_unspecified() || b.is_unspecified()))
        }
    }
}

impl super::Seen {
    pub(super) fn socket(&mut self, item: &Item, what: &str) {
        for bound in bound(&item.object) {
            if bound.port == 0 {
                self.fault(what, "port 0 is none");
            }
            let of_port = self.sockets.entry((item.ns.clone(), bound.transport, bound.port)).or_default();
            let taken = of_port.iter().any(|other| clash(*other, bound.address));
            of_port.push(bound.address);
            if taken {
                self.fault(what, "another socket of the namespace holds this port");
            }
        }
        if let Object::Listener(listener) = &item.object
            && !self.processes.contains(&listener.node)
        {
            self.fault(what, format!("there is no process of {} before it", listener.node));
        }
    }
}

fn bound(object: &Object) -> Vec<Bound> {
    let at = |transport, address, port| Bound { transport, address, port };
    let resolver = Some(IpAddr::from([127, 0, 0, 11]));
    match object {
        Object::Proxy(proxy) => vec![at(proxy.transport, Some(proxy.listen.ip()), proxy.listen.port())],
        Object::Reservation(held) => vec![at(held.transport, Some(held.listen.ip()), held.listen.port())],
        Object::Listener(listener) => vec![at(listener.transport, listener.address, listener.port)],
        Object::Resolver(r) => {
            vec![at(Transport::Udp, resolver, r.udp_port), at(Transport::Tcp, resolver, r.tcp_port)]
        }
        Object::Namespace(_)
        | Object::Link(_)
        | Object::BridgePort(_)
        | Object::Address(_)
        | Object::Up(_) => vec![],
        Object::Route(_) | Object::PolicyRule(_) | Object::Neighbour(_) | Object::Sysctl(_) => vec![],
        Object::Rules(_) | Object::Script(_) | Object::File(_) | Object::Process(_) => vec![],
    }
}
