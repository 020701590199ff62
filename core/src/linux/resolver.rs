//! Docker's resolver on 127.0.0.11 (daemon/libnetwork/resolver.go): answers for its networks' names, and asks others
//! for the rest. The rules that lead to it from port 53 are the plan's.
//!
//! Docker shuffles a name's addresses; here they keep the plan's order.

mod answer;
mod forward;

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use self::answer::{Over, Verdict};
use self::forward::Forwarder;
use super::Error;
use super::service::{Running, each};
use super::socket::{Door, accept, bind, failed};
use super::space::Space;
use crate::addr::Transport;
use crate::plan::{self, NsName};

/// Where it listens.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The longest question over UDP (`MinMsgSize` of the Go library `dns`, whose server Docker's is); the rest is cut off.
const QUESTION: usize = 512;
/// How long a connection may be silent before its first question (`dnsTimeout`) …
const FIRST: Duration = Duration::from_secs(2);
/// … and before another (`tcpIdleTimeout`).
const IDLE: Duration = Duration::from_secs(8);
/// How many questions a connection may ask (`maxTCPQueries`).
const QUESTIONS: usize = 128;
/// How long to wait where the kernel has no memory for a datagram.
const PAUSE: Duration = Duration::from_millis(50);

/// The resolver of a container, until this is dropped.
#[derive(Debug)]
pub struct Resolver {
    ns: NsName,
    desk: Rc<Desk>,
    udp: Running,
    tcp: Running,
}

/// What both of its sockets answer from.
#[derive(Debug)]
struct Desk {
    names: RefCell<Rc<plan::Resolver>>,
    forwarder: Forwarder,
}

impl Resolver {
    /// Answers in a container's network namespace, which the plan calls `ns`; `host` is that of its host. To be called
    /// in tokio's `LocalSet`.
    ///
    /// # Errors
    /// Where a port cannot be had: it is taken, or `lo` is down.
    pub fn serve(
        ns: &NsName,
        own: &Rc<Space>,
        host: &Rc<Space>,
        names: &plan::Resolver,
    ) -> Result<Self, Error> {
        let forwarder = Forwarder::new(Rc::clone(own), Rc::clone(host));
        let desk = Rc::new(Desk { names: RefCell::new(Rc::new(names.clone())), forwarder });
        let (udp, tcp) = (desk.udp(ns, names)?, desk.tcp(ns, names)?);
        Ok(Self { ns: ns.clone(), desk, udp, tcp })
    }

    /// Answers from other names from now on. A socket whose port is the same stays open; questions that were passed on
    /// before are seen to as they were.
    ///
    /// # Errors
    /// Where a new port cannot be had: then all is as it was.
    pub fn replace(&mut self, names: &plan::Resolver) -> Result<(), Error> {
        let before = Rc::clone(&self.desk.names.borrow());
        let new = |is: u16, was: u16| is != was;
        let udp = new(names.udp_port, before.udp_port).then(|| self.desk.udp(&self.ns, names)).transpose()?;
        let tcp = new(names.tcp_port, before.tcp_port).then(|| self.desk.tcp(&self.ns, names)).transpose()?;
        udp.into_iter().for_each(|udp| self.udp = udp);
        tcp.into_iter().for_each(|tcp| self.tcp = tcp);
        self.desk.names.replace(Rc::new(names.clone()));
        Ok(())
    }
}

impl Desk {
    fn udp(self: &Rc<Self>, ns: &NsName, names: &plan::Resolver) -> Result<Running, Error> {
        let (desk, socket) =
            (Rc::clone(self), self.open(ns, Transport::Udp, names.udp_port, UdpSocket::from_std)?);
        Ok(Running::start(async move { datagrams(&desk, &socket).await }))
    }

    fn tcp(self: &Rc<Self>, ns: &NsName, names: &plan::Resolver) -> Result<Running, Error> {
        let (desk, socket) =
            (Rc::clone(self), self.open(ns, Transport::Tcp, names.tcp_port, TcpListener::from_std)?);
        Ok(Running::start(async move { connections(&desk, &socket).await }))
    }

    /// A socket on its address, as tokio's.
    fn open<S: From<Socket>, T>(
        &self,
        ns: &NsName,
        transport: Transport,
        port: u16,
        watched: fn(S) -> io::Result<T>,
    ) -> Result<T, Error> {
        let at = SocketAddr::from((ADDRESS, port));
        bind(&self.forwarder.own, transport, at, Door::Open)
            .and_then(|socket| watched(socket.into()))
            .map_err(|e| failed(format!("resolver on {at}/{transport} in {ns}"), at, &e))
    }

    /// What a message is answered; some are not.
    async fn answer(&self, message: &[u8], over: Over) -> Option<Vec<u8>> {
        let names = Rc::clone(&self.names.borrow());
        match answer::judge(&names.zone, message, over) {
            Verdict::Answer(answer) => Some(answer),
            Verdict::Forward => self.forwarder.forward(&names.upstream, message, over).await,
            Verdict::Ignore => None,
        }
    }
}

async fn datagrams(desk: &Desk, socket: &UdpSocket) {
    let serve = async |(question, from): (Vec<u8>, SocketAddr)| {
        if let Some(answer) = desk.answer(&question, Over::Udp).await {
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, from).await;
        }
    };
    each(async || question(socket).await, serve).await;
}

async fn question(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; QUESTION];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((size, from)) => return (buffer[..size].to_vec(), from),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn connections(desk: &Desk, listener: &TcpListener) {
    // A connection that breaks is its client's.
    let serve = async |stream| _ = questions(desk, stream).await;
    each(async || accept(listener).await, serve).await;
}

/// The questions of one connection, one after the other.
async fn questions(desk: &Desk, mut stream: TcpStream) -> io::Result<()> {
    let mut patience = FIRST;
    for _ in 0..QUESTIONS {
        let question = timeout(patience, read(&mut stream)).await??;
        if let Some(answer) = desk.answer(&question, Over::Tcp).await {
            write(&mut stream, &answer).await?;
        }
        patience = IDLE;
    }
    Ok(())
}

/// A message with its length before it (RFC 1035 §4.2.2).
async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}
