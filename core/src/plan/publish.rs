//! Published ports: which host addresses and ports a container gets, and who else has them.
//!
//! Order and choice are Docker's (daemon/libnetwork/drivers/bridge/port_mapping_linux.go, daemon/libnetwork/
//! portallocator): exact host ports before ranges; one host port for all addresses of a mapping; in a range the first
//! free port behind the one given last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use crate::addr::{Family, PortRange, Transport};
use crate::diagnostic::At;
use crate::topology::Publish;

/// Where ports come from that nobody named: Linux's default `ip_local_port_range`.
const EPHEMERAL: (u16, u16) = (32768, 60999);
/// How often another port of a range is tried when another process has one.
const ATTEMPTS: usize = 10;

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    /// The protocol.
    pub(super) transport: Transport,
    /// The host's address and port; port 0 where the network routes and holds no host port.
    pub(super) host: SocketAddr,
    /// The container's.
    pub(super) container: SocketAddr,
    /// Where it was written.
    pub(super) at: At,
}

impl Binding {
    /// Whether there is NAT, and a host port that is held.
    pub(super) const fn is_nat(&self) -> bool {
        self.host.port() != 0
    }
}

/// Why a port cannot be published, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum PortError {
    /// Another container has it.
    #[error("Bind for {} failed: port is already allocated", SocketAddr::new(*.ip, *.port))]
    Allocated {
        /// The address under which it is taken.
        ip: IpAddr,
        /// The port.
        port: u16,
    },
    /// No port of the range is free.
    #[error("all ports are allocated")]
    AllAllocated,
    /// Another process has it.
    #[error("address already in use")]
    InUse {
        /// Whose bind failed.
        host: SocketAddr,
    },
    /// The host does not have the address.
    #[error("cannot assign requested address")]
    NoSuchAddress {
        /// Whose bind failed.
        host: SocketAddr,
    },
}

/// A mapping that cannot be bound, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortRefusal {
    /// The mapping.
    pub(super) request: Request,
    /// Why.
    pub(super) error: PortError,
}

/// What a mapping needs to know of the container's endpoint and its network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// The endpoint's address where it is the gateway of IPv4.
    pub(super) v4: Option<IpAddr>,
    /// Of IPv6; its IPv4 address where only a proxy can serve IPv6.
    pub(super) v6: Option<IpAddr>,
    /// Whether IPv4 is routed: no NAT.
    pub(super) routed_v4: bool,
    /// Whether IPv6 is.
    pub(super) routed_v6: bool,
    /// Where a port is published that names no address.
    pub(super) default_ip: IpAddr,
}

/// A mapping of one container port on one host address, before a host port is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    routed: bool,
    host_ports: Option<PortRange>,
    container: SocketAddr,
    transport: Transport,
    host_ip: IpAddr,
    at: At,
}

impl Request {
    /// Docker's order; what differs in host addresses alone stands together.
    fn order(&self) -> (bool, bool, u16, Transport, Option<PortRange>, IpAddr, IpAddr) {
        let exact = self.host_ports.is_some_and(|r| r.count() == 1);
        let Self { routed, host_ports, container, transport, host_ip, .. } = self;
        (*routed, !exact, container.port(), *transport, *host_ports, *host_ip, container.ip())
    }

    fn needs_same_port(&self, other: &Self) -> bool {
        let key = |r: &Self| (r.routed, r.container.port(), r.transport, r.host_ports);
        key(self) == key(other)
    }
}

/// The mappings of `ports` on an endpoint, in Docker's order.
pub(super) fn requests(ports: &[Publish], target: &Target) -> Vec<Request> {
    let mut requests: Vec<Request> = ports
        .iter()
        .flat_map(expand)
        .flat_map(|p| Family::ALL.map(|family| request(&p, family, target)))
        .flatten()
        .collect();
    requests.sort_by_key(Request::order);
    requests.dedup_by(|a, b| a.order() == b.order());
    requests
}

/// One entry for each container port; a range of host ports of the same length goes with them one by one.
fn expand(publish: &Publish) -> Vec<Publish> {
    let paired = publish.host_ports.filter(|h| h.count() == publish.container_ports.count());
    let ports = publish.container_ports.ports().enumerate();
    ports
        .map(|(i, port)| Publish {
            container_ports: PortRange::single(port),
            host_ports: match paired {
                Some(range) => range.ports().nth(i).map(PortRange::single),
                None => publish.host_ports,
            },
            ..publish.clone()
        })
        .collect()
}

/// A mapping's part in one family, where it has one.
fn request(publish: &Publish, family: Family, target: &Target) -> Option<Request> {
    let (container, routed, any) = match family {
        Family::V4 => (target.v4?, target.routed_v4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Family::V6 => (target.v6?, target.routed_v6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let default_any = target.default_ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let host_ip = match publish.host_ip {
        Some(ip) => Some(ip),
        None if default_any => Some(any),
        None => Some(target.default_ip),
    };
    let host_ip = host_ip.filter(|ip| Family::of(*ip) == family)?;
    Some(Request {
        routed,
        host_ports: publish.host_ports,
        container: SocketAddr::new(container, publish.container_ports.first()),
        transport: publish.transport,
        host_ip: if routed { any } else { host_ip },
        at: publish.at.clone(),
    })
}

/// The ports of one host: what containers hold, and what other processes do.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports {
    held: BTreeMap<(IpAddr, Transport), Held>,
    /// Held by other processes; on every address where there is none.
    in_use: BTreeSet<(Transport, u16, Option<IpAddr>)>,
    /// The host's own addresses.
    local: BTreeSet<IpAddr>,
}

#[derive(Debug, Clone, Default)]
struct Held {
    ports: BTreeSet<u16>,
    /// The port given last, by range.
    last: BTreeMap<(u16, u16), u16>,
}

impl Ports {
    /// The ports of a host with these addresses beside loopback's.
    pub(super) fn new(local: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { local: local.into_iter().collect(), ..Self::default() }
    }

    /// Another process holds a port.
    pub(super) fn occupy(&mut self, transport: Transport, port: u16, ip: Option<IpAddr>) {
        self.in_use.insert((transport, port, ip));
    }

    /// The host has an address more.
    pub(super) fn add_local(&mut self, ip: IpAddr) {
        self.local.insert(ip);
    }

    /// Binds all mappings, or none.
    pub(super) fn bind(&mut self, requests: &[Request]) -> Result<Vec<Binding>, Box<PortRefusal>> {
        let mut bindings = Vec::new();
        for group in requests.chunk_by(Request::needs_same_port) {
            match self.bind_group(group) {
                Ok(bound) => bindings.extend(bound),
                Err(error) => {
                    self.release(&bindings);
                    return Err(error);
                }
            }
        }
        Ok(bindings)
    }

    /// Gives ports back.
    pub(super) fn release(&mut self, bindings: &[Binding]) {
        for binding in bindings {
            if let Some(held) = self.held.get_mut(&(binding.host.ip(), binding.transport)) {
                held.ports.remove(&binding.host.port());
            }
        }
    }

    fn bind_group(&mut self, group: &[Request]) -> Result<Vec<Binding>, Box<PortRefusal>> {
        let Some(first) = group.first() else { return Ok(Vec::new()) };
        if first.routed {
            return Ok(group.iter().map(|r| r.bound(0)).collect());
        }
        let exact = first.host_ports.is_some_and(|r| r.count() == 1);
        let mut refused = first.refused(PortError::AllAllocated);
        for _ in 0..if exact { 1 } else { ATTEMPTS } {
            let port = self.choose(group).map_err(|e| first.refused(e))?;
            match self.refused_by_kernel(group, port) {
                None => return Ok(group.iter().map(|r| r.bound(port)).collect()),
                Some(error) => refused = error,
            }
            self.give_back(group, port);
        }
        Err(refused)
    }

    fn give_back(&mut self, group: &[Request], port: u16) {
        for request in group {
            if let Some(held) = self.held.get_mut(&(request.host_ip, request.transport)) {
                held.ports.remove(&port);
            }
        }
    }

    /// The allocator's choice for a group, marked as held.
    fn choose(&mut self, group: &[Request]) -> Result<u16, PortError> {
        let Some(first) = group.first() else { return Err(PortError::AllAllocated) };
        let transport = first.transport;
        let mut watched: Vec<IpAddr> = group.iter().map(|r| r.host_ip).collect();
        for ip in &watched {
            self.held.entry((*ip, transport)).or_default();
        }
        let others = self.held.keys().filter(|(ip, t)| *t == transport && conflicts(*ip, group));
        watched.extend(others.map(|(ip, _)| *ip));
        let taken = |port: u16| {
            let holds =
                |ip: &&IpAddr| self.held.get(&(**ip, transport)).is_some_and(|h| h.ports.contains(&port));
            watched.iter().find(holds).copied()
        };
        let port = match first.host_ports {
            Some(exact) if exact.count() == 1 => {
                let port = exact.first();
                taken(port).map_or(Ok(port), |ip| Err(PortError::Allocated { ip, port }))?
            }
            range => {
                let (begin, end) = range.map_or(EPHEMERAL, |r| (r.first(), r.last()));
                let last = self.held.get(&(first.host_ip, transport)).and_then(|h| h.last.get(&(begin, end)));
                let after = last.map_or(begin, |l| l.saturating_add(1).max(begin));
                let port = (after..=end).chain(begin..after).find(|p| taken(*p).is_none());
                port.ok_or(PortError::AllAllocated)?
            }
        };
        self.hold(group, port);
        Ok(port)
    }

    fn hold(&mut self, group: &[Request], port: u16) {
        for request in group {
            let held = self.held.entry((request.host_ip, request.transport)).or_default();
            held.ports.insert(port);
            match request.host_ports {
                Some(range) if range.count() > 1 => _ = held.last.insert((range.first(), range.last()), port),
                Some(_) => {}
                None => _ = held.last.insert(EPHEMERAL, port),
            }
        }
    }

    /// The first bind of a group that the kernel refuses.
    fn refused_by_kernel(&self, group: &[Request], port: u16) -> Option<Box<PortRefusal>> {
        group.iter().find_map(|request| {
            let host = SocketAddr::new(request.host_ip, port);
            let loopback = request.host_ip.is_loopback() || request.host_ip.is_unspecified();
            if !loopback && !self.local.contains(&request.host_ip) {
                return Some(request.refused(PortError::NoSuchAddress { host }));
            }
            let same = |ip: &Option<IpAddr>| {
                ip.is_none_or(|ip| {
                    let any = ip.is_unspecified() || request.host_ip.is_unspecified();
                    ip == request.host_ip || (any && Family::of(ip) == Family::of(request.host_ip))
                })
            };
            let in_use =
                self.in_use.iter().any(|(t, p, ip)| *t == request.transport && *p == port && same(ip));
            in_use.then(|| request.refused(PortError::InUse { host }))
        })
    }
}

impl Request {
    fn refused(&self, error: PortError) -> Box<PortRefusal> {
        Box::new(PortRefusal { request: self.clone(), error })
    }

    fn bound(&self, port: u16) -> Binding {
        Binding {
            transport: self.transport,
            host: SocketAddr::new(self.host_ip, port),
            container: self.container,
            at: self.at.clone(),
        }
    }

    /// The protocol.
    pub(super) const fn transport(&self) -> Transport {
        self.transport
    }

    /// The container's side: `172.18.0.2:80/tcp`.
    pub(super) fn target(&self) -> String {
        format!("{}/{}", self.container, self.transport)
    }

    /// The mapping's place in the user's text.
    pub(super) const fn at(&self) -> &At {
        &self.at
    }
}

/// Whether a port held on `ip` is not free for the group: an unspecified address stands for all of its family.
fn conflicts(ip: IpAddr, group: &[Request]) -> bool {
    group.iter().any(|r| {
        Family::of(r.host_ip) == Family::of(ip)
            && (r.host_ip == ip || r.host_ip.is_unspecified() || ip.is_unspecified())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(text: &str) -> Publish {
        let (text, transport) = text.split_once('/').unwrap_or((text, "tcp"));
        let (host, container) = text.rsplit_once(':').map_or((None, text), |(h, c)| (Some(h), c));
        let (host_ip, host_ports) = match host.map(|h| h.rsplit_once(':').unwrap_or(("", h))) {
            None => (None, None),
            Some((ip, ports)) => (ip.parse().ok(), ports.parse().ok()),
        };
        Publish {
            host_ip,
            host_ports,
            container_ports: container.parse().unwrap(),
            transport: transport.parse().unwrap(),
            at: At::nowhere("test"),
        }
    }

    fn target(v6: bool) -> Target {
        Target {
            v4: Some("172.18.0.2".parse().unwrap()),
            v6: v6.then(|| "172.18.0.2".parse().unwrap()),
            routed_v4: false,
            routed_v6: false,
            default_ip: "0.0.0.0".parse().unwrap(),
        }
    }

    fn bind(ports: &mut Ports, texts: &[&str], v6: bool) -> Result<Vec<String>, String> {
        let texts: Vec<Publish> = texts.iter().map(|t| publish(t)).collect();
        let bound = ports.bind(&requests(&texts, &target(v6))).map_err(|e| e.error.to_string())?;
        Ok(bound.iter().map(|b| format!("{}/{} {}", b.host, b.transport, b.container.port())).collect())
    }

    #[test]
    fn exact_ports_come_first_then_ranges_then_any() {
        let texts = ["9000:90", "80", "8001-8003:70", "7000:90/udp", "127.0.0.1:6000:90", "5000:5"];
        let bound = bind(&mut Ports::default(), &texts, false).unwrap();
        let expected = [
            "0.0.0.0:5000/tcp 5",
            "127.0.0.1:6000/tcp 90",
            "0.0.0.0:9000/tcp 90",
            "0.0.0.0:7000/udp 90",
            "0.0.0.0:8001/tcp 70",
            "0.0.0.0:32768/tcp 80",
        ];
        assert_eq!(bound, expected);
    }

    #[test]
    fn no_address_means_both_families_and_one_port() {
        let bound = bind(&mut Ports::default(), &["80"], true).unwrap();
        assert_eq!(bound, ["0.0.0.0:32768/tcp 80", "[::]:32768/tcp 80"]);
    }

    #[test]
    fn a_port_of_another_container_is_refused_across_wildcards() {
        for (first, second, error) in [
            ("8080:80", "8080:81", "Bind for 0.0.0.0:8080 failed: port is already allocated"),
            ("127.0.0.1:8080:80", "8080:80", "Bind for 127.0.0.1:8080 failed: port is already allocated"),
            ("8080:80", "127.0.0.1:8080:80", "Bind for 0.0.0.0:8080 failed: port is already allocated"),
        ] {
            let mut ports = Ports::default();
            bind(&mut ports, &[first], false).unwrap();
            assert_eq!(bind(&mut ports, &[second], false), Err(error.to_owned()), "{first} {second}");
        }
        let mut ports = Ports::default();
        bind(&mut ports, &["127.0.0.1:8080:80", "127.0.0.2:8080:80", "8080:80/udp"], false).unwrap();
    }

    #[test]
    fn a_range_goes_on_behind_the_port_given_last() {
        let mut ports = Ports::default();
        let first = ports.bind(&requests(&[publish("8001-8003:70")], &target(false))).unwrap();
        ports.release(&first);
        assert_eq!(bind(&mut ports, &["8001-8003:70"], false).unwrap(), ["0.0.0.0:8002/tcp 70"]);
        assert_eq!(bind(&mut ports, &["8001-8003:70"], false).unwrap(), ["0.0.0.0:8003/tcp 70"]);
        assert_eq!(bind(&mut ports, &["8001-8003:70"], false).unwrap(), ["0.0.0.0:8001/tcp 70"]);
        let full = bind(&mut ports, &["8001-8003:70"], false);
        assert_eq!(full, Err("all ports are allocated".to_owned()));
    }

    #[test]
    fn a_port_of_another_process_is_stepped_over_in_a_range_only() {
        let mut ports = Ports::default();
        ports.occupy(Transport::Tcp, 8001, None);
        assert_eq!(bind(&mut ports, &["8001-8003:70"], false).unwrap(), ["0.0.0.0:8002/tcp 70"]);
        assert_eq!(bind(&mut ports, &["8001:70"], false), Err("address already in use".to_owned()));
        ports.in_use.clear();
        bind(&mut ports, &["8001:70"], false).unwrap();
    }

    #[test]
    fn a_foreign_address_cannot_be_bound() {
        let mut ports = Ports::new(["203.0.113.10".parse().unwrap()]);
        bind(&mut ports, &["203.0.113.10:8080:80"], false).unwrap();
        let foreign = bind(&mut ports, &["203.0.113.11:8080:80"], false);
        assert_eq!(foreign, Err("cannot assign requested address".to_owned()));
    }

    #[test]
    fn ranges_of_one_length_go_together_port_by_port() {
        let bound = bind(&mut Ports::default(), &["8001-8002:71-72"], false).unwrap();
        assert_eq!(bound, ["0.0.0.0:8001/tcp 71", "0.0.0.0:8002/tcp 72"]);
    }
}
