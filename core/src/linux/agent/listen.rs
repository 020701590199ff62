//! Sockets that answer questions, and browsers.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{Backlog, listen, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio::{io, select};

use super::datagram;
use super::socket::{Speech, any, bind_to, failed, option};
use super::words::{Answer, Start, start};
use crate::addr::{Family, Transport};
use crate::linux::Error;
use crate::plan::Listener;
use crate::topology::NodeName;

/// How many connections a listener serves at once; more wait in the kernel's queue.
const TALKS: usize = 256;
/// How many wait there.
const BACKLOG: i32 = 1024;
/// How long a listener waits that could not accept, as with no descriptor left.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How long a head of HTTP is at most, in bytes.
const HTTP_BYTES: usize = 16 * 1024;
/// How long a browser is given to close.
const CLOSING: Duration = Duration::from_secs(1);
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 4096;

/// Who answers, and on which port.
#[derive(Debug, Clone)]
pub(super) struct Voice {
    pub(super) node: NodeName,
    pub(super) port: u16,
}

impl Voice {
    /// The answer to a question.
    pub(super) fn answer(&self, nonce: u64, saw: IpAddr) -> Vec<u8> {
        Answer { nonce, node: self.node.clone(), port: self.port, saw: saw.to_canonical() }.to_bytes()
    }

    /// What a browser is told.
    fn page(&self, saw: IpAddr) -> String {
        format!("{}:{} reached from {}\n", self.node, self.port, saw.to_canonical())
    }
}

/// Answers on a port until it is dropped; the socket is there when this returns.
pub(super) fn serve(listener: &Listener, node: &NodeName) -> Result<JoinSet<()>, Error> {
    let name = || format!("listener {}/{} of {}", listener.port, listener.transport, listener.node);
    let lost = |cause: io::Error| Error::new("listen as", name(), &cause);
    let fd = bound(listener).map_err(|(speech, errno)| {
        let unknown = matches!(errno, Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT);
        if unknown { speech.refused(errno) } else { failed("listen as", name(), errno) }
    })?;
    let voice = Voice { node: node.clone(), port: listener.port };
    let mut tasks = JoinSet::new();
    match listener.transport {
        Transport::Tcp | Transport::Sctp => {
            listen(&fd, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))
                .map_err(|errno| lost(errno.into()))?;
            // One-to-one SCTP sockets are used by the same calls as TCP's (RFC 6458, 4).
            let socket = TcpListener::from_std(fd.into()).map_err(lost)?;
            tasks.spawn(accept(socket, voice));
        }
        Transport::Udp => {
            tasks.spawn(datagram::answer(datagram::Socket::new(fd).map_err(lost)?, voice));
        }
    }
    Ok(tasks)
}

/// The socket: of both families where no address is named, as most servers have it, and of IPv4 where there is no IPv6.
fn bound(listener: &Listener) -> Result<OwnedFd, (Speech, Errno)> {
    let of = |family| Speech::of(listener.transport, family);
    let bind = |address: IpAddr| {
        let speech = of(Family::of(address));
        bind_one(speech, listener, address).map_err(|errno| (speech, errno))
    };
    match listener.address {
        Some(address) => bind(address),
        None => match bind(any(Family::V6)) {
            Err((_, Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)) => bind(any(Family::V4)),
            bound => bound,
        },
    }
}

fn bind_one(speech: Speech, listener: &Listener, address: IpAddr) -> nix::Result<OwnedFd> {
    let fd = speech.open()?;
    match listener.transport {
        Transport::Tcp | Transport::Sctp => option(&fd, sockopt::ReuseAddr, &true)?,
        Transport::Udp => match speech.family {
            Family::V4 => option(&fd, sockopt::Ipv4PacketInfo, &true)?,
            Family::V6 => option(&fd, sockopt::Ipv6RecvPacketInfo, &true)?,
        },
    }
    if address.is_ipv6() {
        option(&fd, sockopt::Ipv6V6Only, &false)?;
    }
    bind_to(&fd, address, listener.port)?;
    Ok(fd)
}

async fn accept(socket: TcpListener, voice: Voice) {
    let mut talks = JoinSet::new();
    loop {
        select! {
            accepted = socket.accept(), if talks.len() < TALKS => match accepted {
                Ok((stream, from)) => {
                    let voice = voice.clone();
                    talks.spawn(async move { converse(stream, from, &voice).await });
                }
                Err(_) => sleep(PAUSE).await,
            },
            // However a conversation ended: its client knows.
            _ = talks.join_next(), if !talks.is_empty() => {}
        }
    }
}

/// Answers every question of a connection, and closes when the client does.
async fn converse(mut stream: TcpStream, from: SocketAddr, voice: &Voice) -> io::Result<()> {
    let mut heard = Vec::with_capacity(PIECE_BYTES);
    loop {
        match start(&heard) {
            Start::Question { nonce, bytes } => {
                heard.drain(..bytes);
                stream.write_all(&voice.answer(nonce, from.ip())).await?;
                continue;
            }
            Start::Http => return browse(stream, heard, &voice.page(from.ip())).await,
            Start::Other => return ignore(stream).await,
            Start::Unclear => {}
        }
        if stream.read_buf(&mut heard).await? == 0 {
            return Ok(());
        }
    }
}

/// Answers a request of HTTP's once its head is there, and closes (RFC 9112).
async fn browse(mut stream: TcpStream, mut heard: Vec<u8>, page: &str) -> io::Result<()> {
    while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
        if heard.len() > HTTP_BYTES || stream.read_buf(&mut heard).await? == 0 {
            return Ok(());
        }
    }
    let length = page.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if !heard.starts_with(b"HEAD ") {
        stream.write_all(page.as_bytes()).await?;
    }
    stream.shutdown().await?;
    // What is closed with unread bytes is reset, and the answer lost with it (RFC 9112, 9.6).
    timeout(CLOSING, ignore(stream)).await.unwrap_or(Ok(()))
}

/// What is no question is not answered.
async fn ignore(mut stream: TcpStream) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    while stream.read(&mut piece).await? > 0 {}
    Ok(())
}
