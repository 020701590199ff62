//! UDP (`udp_proxy_linux.go`): a socket towards the container for each client.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use crate::linux::socket::{receive, towards};
use crate::linux::space::Space;

/// How long a client is remembered that the container says nothing to (`DefaultConnTrackTimeout`).
const IDLE: Duration = Duration::from_secs(90);
/// How long to wait where the kernel has no memory for a datagram.
const PAUSE: Duration = Duration::from_millis(50);
/// The largest datagram there is room for (`UDPBufSize`).
const DATAGRAM: usize = 65_507;

/// What a client sent, and to which of the host's addresses.
struct Heard {
    size: usize,
    client: SocketAddr,
    asked: IpAddr,
}

/// Serves the clients of a bound socket; answers come from the address that was asked, or `by_route`.
pub(super) async fn serve(space: Rc<Space>, front: UdpSocket, to: SocketAddr, by_route: bool) {
    let buffer = RefCell::new(vec![0; DATAGRAM]);
    let mut backs: BTreeMap<SocketAddr, Rc<UdpSocket>> = BTreeMap::new();
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            heard = hear(&front, &buffer) => {
                let Ok(Heard { size, client, asked }) = heard else {
                    sleep(PAUSE).await;
                    continue;
                };
                let back = match backs.get(&client) {
                    Some(back) => Rc::clone(back),
                    None => {
                        // A datagram that cannot be taken on is lost.
                        let Ok(back) = towards(&space, to).map(Rc::new) else { continue };
                        backs.insert(client, Rc::clone(&back));
                        let from = (!by_route).then_some(asked);
                        answers.push(answer(&front, Rc::clone(&back), client, from));
                        back
                    }
                };
                let datagram = buffer.borrow()[..size].to_vec();
                take_on(&back, &datagram).await;
            }
            Some(client) = answers.next() => {
                backs.remove(&client);
            }
        }
    }
}

/// Sends a datagram to the container. An error is that of the one before (ICMP's port unreachable), and is gone once
/// it is told: the socket is asked again.
async fn take_on(back: &UdpSocket, datagram: &[u8]) {
    if datagram.is_empty() {
        return;
    }
    if back.send(datagram).await.is_err() {
        // A second error is this datagram's: it is lost, as its sender knows datagrams are.
        let _ = back.send(datagram).await;
    }
}

/// Gives a client what the container says, from an address or from where routing says, until nothing is said for long; says
/// whose time is over.
async fn answer(
    front: &UdpSocket,
    back: Rc<UdpSocket>,
    client: SocketAddr,
    from: Option<IpAddr>,
) -> SocketAddr {
    while let Ok(Some(datagram)) = timeout(IDLE, said(&back)).await {
        let replied = match from {
            Some(_) | None if datagram.is_empty() => Ok(()),
            Some(from) => reply(front, &datagram, client, from).await,
            None => front.send_to(&datagram, client).await.map(drop),
        };
        if replied.is_err() {
            break;
        }
    }
    client
}

/// What the container says. That nothing listens there ends nothing: something may, later.
async fn said(back: &UdpSocket) -> Option<Vec<u8>> {
    loop {
        match receive(back).await {
            Ok(datagram) => return Some(datagram),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return None,
        }
    }
}

async fn hear(front: &UdpSocket, buffer: &RefCell<Vec<u8>>) -> io::Result<Heard> {
    front.async_io(Interest::READABLE, || hear_now(front, &mut buffer.borrow_mut())).await
}

/// Reads a datagram, and of its control messages where it was sent to (IP_PKTINFO; man 7 ip).
fn hear_now(front: &UdpSocket, buffer: &mut [u8]) -> io::Result<Heard> {
    let mut control = cmsg_space!(in6_pktinfo);
    let mut room = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(front.as_raw_fd(), &mut room, Some(&mut control), MsgFlags::empty())?;
    let asked = message.cmsgs()?.find_map(|control| destination(&control));
    let client = message.address.as_ref().and_then(address);
    match (client, asked) {
        (Some(client), Some(asked)) => Ok(Heard { size: message.bytes, client, asked }),
        (None, _) | (_, None) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn destination(control: &ControlMessageOwned) -> Option<IpAddr> {
    if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
        return Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
    }
    if let ControlMessageOwned::Ipv6PacketInfo(info) = control {
        return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
    }
    None
}

fn address(of: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = of.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| of.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

async fn reply(front: &UdpSocket, datagram: &[u8], client: SocketAddr, from: IpAddr) -> io::Result<()> {
    front.async_io(Interest::WRITABLE, || reply_now(front, datagram, client, from)).await
}

fn reply_now(front: &UdpSocket, datagram: &[u8], client: SocketAddr, from: IpAddr) -> io::Result<()> {
    let (v4, v6);
    let control = match from {
        IpAddr::V4(from) => {
            let none = in_addr { s_addr: 0 };
            let spec = in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
            v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec, ipi_addr: none };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(from) => {
            v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    let (data, to) = ([IoSlice::new(datagram)], SockaddrStorage::from(client));
    sendmsg(front.as_raw_fd(), &data, &[control], MsgFlags::empty(), Some(&to))?;
    Ok(())
}
