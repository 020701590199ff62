//! UDP's listeners: they answer from the address that was asked (IP_PKTINFO), as a connected client expects.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::listen::{PAUSE, Voice};
use super::socket::watched;
use super::words::asked;

/// A datagram socket that says to which address something came.
#[derive(Debug)]
pub(super) struct Socket(AsyncFd<OwnedFd>);

/// A question, who asked, and whom.
struct Asked {
    nonce: u64,
    from: SockaddrStorage,
    to: Option<IpAddr>,
}

impl Socket {
    /// A bound socket.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(watched(fd)?))
    }

    /// The next datagram, if it is a question.
    async fn next(&self, buffer: &mut [u8]) -> io::Result<Option<Asked>> {
        self.0.async_io(Interest::READABLE, |fd| Ok(receive(fd, buffer)?)).await
    }

    async fn reply(&self, bytes: &[u8], asked: &Asked) -> io::Result<usize> {
        self.0.async_io(Interest::WRITABLE, |fd| Ok(send(fd, bytes, asked)?)).await
    }
}

/// Answers every question.
pub(super) async fn answer(socket: Socket, voice: Voice) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        match socket.next(&mut buffer).await {
            Ok(Some(asked)) => {
                let Some(saw) = ip(&asked.from) else { continue };
                // What cannot be sent is lost, as any datagram may be.
                let _ = socket.reply(&voice.answer(asked.nonce, saw), &asked).await;
            }
            Ok(None) => {}
            Err(_) => sleep(PAUSE).await,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "control messages are the kernel's")]
fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> nix::Result<Option<Asked>> {
    let mut control = cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let to = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr))),
        _ => None,
    });
    let (from, bytes) = (message.address, message.bytes);
    let nonce = buffer.get(..bytes).and_then(asked);
    Ok(nonce.zip(from).map(|(nonce, from)| Asked { nonce, from, to }))
}

/// Sends an answer from the address that was asked. An IPv6 socket that was asked over IPv4 speaks of both by the IPv6
/// addresses that map them (man 7 ipv6; `ip_cmsg_send`).
fn send(fd: &OwnedFd, bytes: &[u8], asked: &Asked) -> nix::Result<usize> {
    let parts = [IoSlice::new(bytes)];
    let say = |control: &[ControlMessage<'_>]| {
        sendmsg(fd.as_raw_fd(), &parts, control, MsgFlags::MSG_DONTWAIT, Some(&asked.from))
    };
    match asked.to {
        Some(IpAddr::V4(to)) => {
            let address = libc::in_addr { s_addr: u32::from_ne_bytes(to.octets()) };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: address,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            say(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(IpAddr::V6(to)) => {
            let info =
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: to.octets() }, ipi6_ifindex: 0 };
            say(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
        None => Err(Errno::EDESTADDRREQ),
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}
