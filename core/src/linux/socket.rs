//! Sockets, opened in a network namespace, in which they stay, with the options that Docker gives its own
//! (daemon/libnetwork/portallocator/osallocator_linux.go, and Go's package net).

use std::io;
use std::net::{SocketAddr, TcpStream as Std};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::sleep;

use super::Error;
use super::space::Space;
use crate::addr::Transport;

/// As many as the namespace lets wait (net.core.somaxconn; man 2 listen).
const BACKLOG: i32 = -1;
/// How long to wait where the process has no descriptor left for a client.
const PAUSE: Duration = Duration::from_millis(50);
/// After which silence the other side is asked whether it is still there, and how often (Go's package net).
const KEEPALIVE: Duration = Duration::from_secs(15);
/// A filter's one instruction: keep 0 bytes of it (BPF_RET | BPF_K; the kernel's networking/filter.rst).
const DROP: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// Whether a socket hears what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// It does.
    Open,
    /// A filter drops all of it.
    Shut,
}

/// A socket bound to an address of a namespace, and listening where the protocol knows that.
pub(super) fn bind(space: &Space, transport: Transport, at: SocketAddr, door: Door) -> io::Result<Socket> {
    space.inside(|| bound(transport, at, door))?
}

fn bound(transport: Transport, at: SocketAddr, door: Door) -> io::Result<Socket> {
    let socket = new(transport, at)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    match transport {
        Transport::Tcp => socket.set_reuse_address(true)?,
        Transport::Udp if at.is_ipv6() => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
        Transport::Udp => setsockopt(&socket, Ipv4PacketInfo, &true)?,
        Transport::Sctp => {}
    }
    // Before it is bound: nothing gets in between.
    if door == Door::Shut {
        socket.attach_filter(&[DROP])?;
    }
    socket.bind(&at.into())?;
    match transport {
        Transport::Tcp | Transport::Sctp => socket.listen(BACKLOG)?,
        Transport::Udp => {}
    }
    Ok(socket)
}

fn new(transport: Transport, peer: SocketAddr) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        Transport::Sctp => (Type::STREAM, Protocol::SCTP),
    };
    let socket = Socket::new(Domain::for_address(peer), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The next client. Where there is no descriptor or memory for it, it waits until there is; docker-proxy would end.
pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// A TCP connection, or an SCTP association of one stream socket, from a namespace; the kernel says when it gives up.
pub(super) async fn connect(space: &Space, transport: Transport, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = space.inside(|| new(transport, to))??;
    let stream = TcpSocket::from_std_stream(Std::from(socket)).connect(to).await?;
    tune(&stream, transport);
    Ok(stream)
}

/// What Go does to every TCP connection: no waiting for more to send, and signs of life.
pub(super) fn tune(stream: &TcpStream, transport: Transport) {
    match transport {
        Transport::Tcp => {
            let socket = SockRef::from(stream);
            let every = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
            // Of a connection that is broken already its reader hears.
            let _ = socket.set_tcp_nodelay(true).and(socket.set_tcp_keepalive(&every));
        }
        Transport::Udp | Transport::Sctp => {}
    }
}

/// A UDP socket in a namespace that only hears one peer.
pub(super) fn towards(space: &Space, peer: SocketAddr) -> io::Result<UdpSocket> {
    let open = || {
        let socket = new(Transport::Udp, peer)?;
        socket.connect(&peer.into())?;
        Ok(socket)
    };
    space.inside(open).flatten().and_then(|socket| UdpSocket::from_std(socket.into()))
}

/// The next datagram, or the error that came in its place (ICMP's port unreachable), for which tokio's own `recv` does
/// not wake: the kernel calls such a socket broken, not readable.
pub(super) async fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    socket.async_io(Interest::READABLE | Interest::ERROR, || receive_now(socket.as_raw_fd())).await
}

/// Asks for the datagram's size first: many sockets wait, and few have much to read.
fn receive_now(socket: RawFd) -> io::Result<Vec<u8>> {
    let size = recv(socket, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
    let mut datagram = vec![0; size];
    let size = recv(socket, &mut datagram, MsgFlags::empty())?;
    datagram.truncate(size);
    Ok(datagram)
}

/// Why a service's socket cannot be had.
pub(super) fn failed(object: String, at: SocketAddr, cause: &io::Error) -> Error {
    let error = Error::new("make", object, cause);
    let is = |errno: Errno| error.errno == Some(errno as i32);
    if is(Errno::EPROTONOSUPPORT) || is(Errno::ESOCKTNOSUPPORT) {
        return error.missing("this needs a kernel with CONFIG_IP_SCTP");
    }
    if is(Errno::EAFNOSUPPORT) && at.is_ipv6() {
        return error.missing("this needs a kernel with CONFIG_IPV6");
    }
    error
}
