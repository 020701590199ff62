//! Sockets: who is bound where, who owns them, and which of them gets a packet.

use std::net::IpAddr;

use seatrial_core::addr::{Family, MacAddr, Transport};
use seatrial_core::rules::{AddrType, Protocol};

use super::fib::Flow;
use super::icmp::Told;
use super::output::SendError;
use super::tcp::Tcb;
use crate::arena::{DevId, NodeId, NsId, ProxyId, ResolverId};
use crate::packet::{Icmp, L4, Payload, Ports, Tcp, TcpFlags};
use crate::trace::Bound;
use crate::world::World;

/// A socket's number, in the whole world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SockId(pub(crate) u32);

/// An address and a port; of an echo its identifier.
pub(crate) type End = (IpAddr, u16);

/// A socket.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    pub(crate) sort: Sort,
    pub(crate) owner: Owner,
    /// The address it is bound to; any where there is none.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    /// Of which families; both for a dual-stack one.
    pub(crate) family: Option<Family>,
    /// Whom it is connected to.
    pub(crate) remote: Option<End>,
    /// TCP's part; none while it only listens.
    pub(crate) tcb: Option<Tcb>,
    pub(crate) knobs: Knobs,
    /// A packet socket's device, and the MAC address its frames go to.
    pub(crate) raw: Option<(DevId, MacAddr)>,
}

/// What can be set on a socket.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Knobs {
    /// IP_TTL; the namespace's default where there is none.
    pub(crate) ttl: Option<u8>,
    /// SO_MARK.
    pub(crate) mark: u32,
    /// IP_PMTUDISC_DO: a datagram longer than the MTU is refused and not sent in pieces.
    pub(crate) df: bool,
}

/// What a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    Tcp,
    Udp,
    Sctp,
    Echo,
}

/// Whose socket it is, and so who is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A listener of a node: it answers questions.
    Listener(NodeId),
    /// Whoever asks.
    Asker(NodeId),
    /// The same, looking up a name first.
    Libc(NodeId),
    /// A docker-proxy, towards its clients.
    ProxyFront(ProxyId),
    /// A docker-proxy, towards the container.
    ProxyBack(ProxyId),
    /// A port that is held and not served.
    Reservation,
    /// A resolver, towards its clients.
    Resolver(ResolverId),
    /// A resolver, towards a nameserver.
    ResolverUpstream(ResolverId),
}

/// Why a process is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Its connection stands.
    Connected,
    /// Something came in, from there, to this address.
    Received { payload: Payload, from: End, to: IpAddr, size: u16 },
    /// The other side will send no more.
    Ended,
    /// The connection was reset, or timed out.
    Reset,
    /// What it sent did not arrive.
    Told(Told),
}

impl Sort {
    /// Of a protocol number.
    pub(crate) const fn of(protocol: Protocol) -> Option<Self> {
        match protocol {
            Protocol::TCP => Some(Self::Tcp),
            Protocol::UDP => Some(Self::Udp),
            Protocol::SCTP => Some(Self::Sctp),
            Protocol::ICMP | Protocol::ICMPV6 => Some(Self::Echo),
            Protocol(_) => None,
        }
    }

    /// The name in a trace.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Echo => "icmp",
        }
    }
}

impl From<Transport> for Sort {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
            Transport::Sctp => Self::Sctp,
        }
    }
}

impl Socket {
    /// A socket bound to an address and a port.
    pub(crate) const fn bound(sort: Sort, owner: Owner, address: Option<IpAddr>, port: u16) -> Self {
        let family = match address {
            Some(address) => Some(Family::of(address)),
            None => None,
        };
        let knobs = Knobs { ttl: None, mark: 0, df: false };
        Self { sort, owner, address, port, family, remote: None, tcb: None, knobs, raw: None }
    }

    /// How well it fits a packet for `local` from `remote` (`compute_score`, R5); not at all where there is none.
    pub(crate) fn score(&self, sort: Sort, local: End, remote: End) -> Option<u8> {
        let fits = self.sort == sort
            && self.port == local.1
            && self.raw.is_none()
            && self.address.is_none_or(|a| a == local.0)
            && self.family.is_none_or(|f| f == Family::of(local.0))
            && self.remote.is_none_or(|r| r.0 == remote.0 && (r.1 == remote.1 || sort == Sort::Echo));
        let points = |condition: bool, points: u8| if condition { points } else { 0 };
        fits.then_some(
            points(self.remote.is_some(), 4)
                + points(self.address.is_some(), 2)
                + points(self.family.is_some(), 1),
        )
    }

    /// The header of a packet that was sent to this socket from a port.
    pub(crate) fn l4_from(&self, src: u16) -> L4 {
        let ports = Ports { src, dst: self.port };
        match self.sort {
            Sort::Tcp => L4::Tcp(Tcp { ports, flags: TcpFlags::ACK, seq: 0, ack: 0 }),
            Sort::Udp => L4::Udp(ports),
            Sort::Sctp => L4::Sctp(ports),
            Sort::Echo => L4::Icmp(Icmp::Echo { reply: false, id: src, seq: 1 }),
        }
    }

    /// The socket as a trace names it.
    pub(crate) const fn describe(&self) -> Bound {
        let what = match self.owner {
            Owner::Listener(_) => "listener",
            Owner::Asker(_) | Owner::Libc(_) => "client",
            Owner::ProxyFront(_) | Owner::ProxyBack(_) => "docker-proxy",
            Owner::Reservation => "held port",
            Owner::Resolver(_) | Owner::ResolverUpstream(_) => "resolver",
        };
        let Self { sort, address, family, port, .. } = *self;
        Bound { what, sort, address, family, port }
    }
}

impl World {
    /// Opens a socket.
    pub(crate) fn open(&mut self, ns: NsId, socket: Socket) -> SockId {
        self.opened += 1;
        let id = SockId(self.opened);
        self.stacks[ns].sockets.insert(id, socket);
        id
    }

    /// A free port of those that a socket gets that asks for none, drawn from the seed (R6).
    pub(crate) fn ephemeral_port(&mut self, ns: NsId, sort: Sort) -> u16 {
        let (first, last) = self.stacks[ns].settings.ports;
        let count = u32::from(last - first) + 1;
        let start = self.seed.below(count);
        let sockets = &self.stacks[ns].sockets;
        let taken = |port: u16| sockets.has(sort, port);
        let port = |step: u32| u16::try_from((start + step) % count).unwrap_or(0).saturating_add(first);
        (0..count).map(port).find(|p| !taken(*p)).unwrap_or(first)
    }

    /// Connects a socket: gives it a source address and a port where it has none.
    pub(crate) fn bind_for(&mut self, ns: NsId, sock: SockId, to: End) -> Result<(), SendError> {
        let Some(socket) = self.stacks[ns].sockets.get(sock) else { return Ok(()) };
        let (sort, bound, port, mark, raw) =
            (socket.sort, socket.address, socket.port, socket.knobs.mark, socket.raw);
        let src = match (raw, bound) {
            (Some(_), bound) => bound.ok_or(SendError::NoSource(to.0))?,
            (None, bound) => self.source_for(ns, sort, bound, to.0, mark)?,
        };
        let port = if port == 0 { self.ephemeral_port(ns, sort) } else { port };
        self.stacks[ns].sockets.bind(sock, (src, port), to);
        Ok(())
    }

    /// The source address of a socket that has none, towards an address.
    pub(crate) fn source_for(
        &self,
        ns: NsId,
        sort: Sort,
        bound: Option<IpAddr>,
        to: IpAddr,
        mark: u32,
    ) -> Result<IpAddr, SendError> {
        let stack = &self.stacks[ns];
        if let Some(bound) = bound.filter(|b| !stack.is_local(*b) && !stack.settings.nonlocal_bind) {
            return Err(SendError::NotOurs(bound));
        }
        let flow = Flow { src: bound, mark, ..Flow::to(to) };
        let (path, src) = self.route_output(ns, &flow)?;
        if sort == Sort::Tcp && matches!(path.kind, AddrType::Broadcast | AddrType::Multicast) {
            return Err(SendError::NoRoute(to));
        }
        // Without SO_BROADCAST.
        if path.kind == AddrType::Broadcast { Err(SendError::Broadcast(to)) } else { Ok(src) }
    }

    /// Closes a socket at once: nothing is sent.
    pub(crate) fn forget_socket(&mut self, ns: NsId, sock: SockId) {
        self.stacks[ns].sockets.remove(sock);
    }
}
