//! Questions in crafted frames: a packet socket sends what no routing table would, to a MAC address that the plan knows,
//! and hears every frame that comes in by its device, whatever the machine itself makes of it (man 7 packet).

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, Backlog, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind,
    getsockname, listen, recv, send, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ask::{Failure, Question, within};
use super::dance::{Dance, Turn};
use super::echo::identifier;
use super::frame::{End, Heard, Path, Speaks};
use super::socket::{Speech, any, bind_to, failed, watched};
use super::words::{self, Answer};
use crate::addr::{Family, MacAddr, Transport};
use crate::linux::{Error, filter};
use crate::probe::{Ask, Outcome};
use crate::topology::NodeName;

/// The largest frame: that of a packet put together of several (GRO).
const FRAME_BYTES: usize = 64 * 1024 + 14;

/// Asks by crafted frames, sent to `via`. Of an echo, `reaches` names this node.
pub(super) async fn ask(
    what: Ask,
    question: Question,
    via: Option<MacAddr>,
    node: &NodeName,
) -> Result<Outcome, Error> {
    within(async {
        // Nobody is on the link.
        let via = via.ok_or(Failure::Outcome(Outcome::NoRoute))?;
        let (tap, own) = Tap::open()?;
        let (path, _held) = path(what, &question, own, via)?;
        match path.speaks {
            Speaks::Tcp => by_tcp(&tap, &path, &question).await,
            Speaks::Udp | Speaks::Echo => by_datagram(&tap, &path, &question, node).await,
        }
    })
    .await
}

/// From whom to whom, and what keeps the machine's own stack from answering meanwhile.
fn path(
    what: Ask,
    question: &Question,
    own: MacAddr,
    via: MacAddr,
) -> Result<(Path, Option<OwnedFd>), Failure> {
    let family = question.family();
    let (source, port) = question.options.source.map_or((None, None), |(ip, port)| (Some(ip), port));
    let ip = source.or_else(|| own_address(family)).ok_or(Failure::Outcome(Outcome::NoRoute))?;
    let (speaks, port, held) = match what {
        Ask::Port(transport, _) => {
            let speaks = match transport {
                Transport::Tcp => Speaks::Tcp,
                Transport::Udp => Speaks::Udp,
                Transport::Sctp => {
                    let cause = "no packets of SCTP are crafted here";
                    return Err(Error::words("ask", question.to.to_string(), cause).into());
                }
            };
            let (fd, port) = hold(Speech::of(transport, family), ip, port.unwrap_or(0))?;
            (speaks, port, Some(fd))
        }
        Ask::Echo => (Speaks::Echo, identifier(question.nonce), None),
    };
    let from = End { mac: own, ip, port };
    let to = End { mac: via, ip: question.to.ip(), port: question.to.port() };
    let options = &question.options;
    Ok((Path { from, to, ttl: options.ttl, df: options.df, speaks }, held))
}

/// Holds a port with a socket that takes nothing, so that the machine's own stack does not refuse what it knows nothing
/// of; of an address that is not this machine's, the number alone.
fn hold(speech: Speech, address: IpAddr, port: u16) -> Result<(OwnedFd, u16), Failure> {
    let held = |errno| Failure::from(failed("hold a port of", address.to_string(), errno));
    let fd = speech.open().map_err(|errno| speech.refused(errno))?;
    filter::attach(&fd, &filter::NOTHING).map_err(held)?;
    match bind_to(&fd, address, port) {
        Err(Errno::EADDRNOTAVAIL) => bind_to(&fd, any(speech.family), port),
        bound => bound,
    }
    .map_err(held)?;
    if speech.kind == SockType::Stream {
        // Only a socket that listens is found by an answer, and its filter asked (`tcp_v4_rcv`).
        listen(&fd, Backlog::new(1).unwrap_or(Backlog::MAXCONN)).map_err(held)?;
    }
    let bound = getsockname::<SockaddrStorage>(fd.as_raw_fd()).map_err(held)?;
    let v4 = bound.as_sockaddr_in().map(|a| a.port());
    let port = v4.or_else(|| bound.as_sockaddr_in6().map(|a| a.port())).ok_or(held(Errno::EAFNOSUPPORT))?;
    Ok((fd, port))
}

/// The first address of this machine's that is no loopback address.
fn own_address(family: Family) -> Option<IpAddr> {
    let ip = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    let mut own = getifaddrs().ok()?.filter_map(|device| ip(device.address?));
    own.find(|a| Family::of(*a) == family && !a.is_loopback())
}

/// A packet socket on the machine's first device that is not loopback, by name.
struct Tap(AsyncFd<OwnedFd>);

impl Tap {
    /// The tap, and the device's own address.
    fn open() -> Result<(Self, MacAddr), Failure> {
        let opened = |errno| failed("open", "a packet socket", errno).help("the capability NET_RAW");
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).map_err(opened)?;
        let device = first_device().ok_or(Failure::Outcome(Outcome::NoRoute))?;
        bind(fd.as_raw_fd(), &device).map_err(opened)?;
        let own = MacAddr(device.addr().unwrap_or_default());
        let fd = watched(fd).map_err(|cause| Error::new("open", "a packet socket", &cause))?;
        Ok((Self(fd), own))
    }

    async fn send(&self, frame: Option<Vec<u8>>) -> Result<(), Failure> {
        let frame = frame
            .ok_or_else(|| Error::words("send", "a crafted frame", "it is too long, or of two families"))?;
        let sent = self
            .0
            .async_io(Interest::WRITABLE, |fd| Ok(send(fd.as_raw_fd(), &frame, MsgFlags::MSG_DONTWAIT)?));
        sent.await.map_err(|cause| Error::new("send", "a crafted frame", &cause))?;
        Ok(())
    }

    /// Waits for the next frame.
    async fn next(&self, frame: &mut [u8]) -> Result<usize, Failure> {
        let read = self
            .0
            .async_io(Interest::READABLE, |fd| Ok(recv(fd.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT)?));
        Ok(read.await.map_err(|cause| Error::new("hear", "a packet socket", &cause))?)
    }
}

fn first_device() -> Option<LinkAddr> {
    let devices = getifaddrs().ok()?.filter(|device| !device.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    let links = devices.filter_map(|device| Some((device.interface_name, *device.address?.as_link_addr()?)));
    links.min_by(|one, other| one.0.cmp(&other.0)).map(|(_, link)| link)
}

/// One datagram, and what comes back.
async fn by_datagram(
    tap: &Tap,
    path: &Path,
    question: &Question,
    node: &NodeName,
) -> Result<Outcome, Failure> {
    tap.send(path.datagram(&question.to_bytes())).await?;
    let mut frame = vec![0; FRAME_BYTES];
    loop {
        let length = tap.next(&mut frame).await?;
        let payload = match frame.get(..length).and_then(|frame| path.heard(frame)) {
            Some(Heard::Payload(payload)) => payload,
            Some(Heard::Told(outcome)) => return Ok(outcome),
            Some(Heard::Segment(_)) | None => continue,
        };
        if path.speaks == Speaks::Echo && words::asked(payload) == Some(question.nonce) {
            return Ok(Outcome::Reaches { node: node.clone(), port: None, from: None });
        }
        if let Some(answer) = Answer::read(payload).filter(|answer| answer.nonce == question.nonce) {
            return Ok(answer.into());
        }
    }
}

/// A handshake, the question and its answer, each sent again until it is acknowledged.
async fn by_tcp(tap: &Tap, path: &Path, question: &Question) -> Result<Outcome, Failure> {
    let mut dance = Dance::new(question.nonce, question.to_bytes());
    let mut frame = vec![0; FRAME_BYTES];
    for segment in dance.unacknowledged() {
        tap.send(path.segment(segment)).await?;
    }
    loop {
        let Ok(length) = tokio::time::timeout(dance.patience(), tap.next(&mut frame)).await else {
            dance.again();
            for segment in dance.unacknowledged() {
                tap.send(path.segment(segment)).await?;
            }
            continue;
        };
        let turn = match frame.get(..length?).and_then(|frame| path.heard(frame)) {
            Some(Heard::Segment(segment)) => dance.take(&segment),
            Some(Heard::Told(outcome)) if !dance.is_connected() => return Ok(outcome),
            Some(Heard::Told(_) | Heard::Payload(_)) | None => continue,
        };
        match turn {
            Turn::Wait => {}
            Turn::Say => {
                tap.send(path.segment(dance.acknowledgement())).await?;
                for segment in dance.unacknowledged() {
                    tap.send(path.segment(segment)).await?;
                }
            }
            Turn::Over(outcome) => {
                if dance.is_connected() {
                    tap.send(path.segment(dance.farewell())).await?;
                }
                return Ok(outcome);
            }
        }
    }
}
