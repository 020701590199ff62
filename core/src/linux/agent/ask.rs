//! Questions with real sockets, and what comes of them: the kernel retransmits, gives up and refuses as it does to any
//! program.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, linger};
use nix::sys::socket::{MsgFlags, SockaddrStorage, connect, getpeername, getsockopt, recv, send, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::time::timeout;

use super::socket::{self, Speech, bind_to, failed};
use super::told::{self, Told};
use super::words::{self, Answer};
use crate::addr::{Family, Transport};
use crate::linux::Error;
use crate::probe::{Outcome, ProbeOptions, Unreachable};

/// How long an answer is waited for; longer than ARP takes to give up.
const DEADLINE: Duration = Duration::from_secs(5);
/// A machine that had no time to spare may have the answer still in a queue, an emulated one on a busy host above all: it
/// is waited for until the machine has had nothing to do for this long, and no longer than that.
const SPARE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
/// How much is read at once, and how much of what is no answer is looked at, in bytes.
const PIECE_BYTES: usize = 4096;
const HEARD_BYTES: usize = 64 * 1024;

/// A question for an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) nonce: u64,
    pub(super) to: SocketAddr,
    pub(super) options: ProbeOptions,
}

/// Why there is no answer: because of this, or because it could not be asked at all.
pub(super) enum Failure {
    Outcome(Outcome),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Question {
    /// As bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        words::question(self.nonce, self.options.size.unwrap_or(words::QUESTION_BYTES))
    }

    /// The family of the address.
    pub(super) const fn family(&self) -> Family {
        Family::of(self.to.ip())
    }

    /// A socket with the options of the question, bound where it says so.
    fn open(&self, speech: Speech) -> Result<OwnedFd, Failure> {
        self.prepare(speech.open().map_err(|errno| speech.refused(errno))?)
    }

    /// The same of a socket that is there.
    pub(super) fn prepare(&self, fd: OwnedFd) -> Result<OwnedFd, Failure> {
        socket::set(&fd, self.family(), &self.options)?;
        let Some((address, port)) = self.options.source else { return Ok(fd) };
        match bind_to(&fd, address, port.unwrap_or(0)) {
            Ok(()) => Ok(fd),
            Err(Errno::EADDRNOTAVAIL) => Err(Failure::Outcome(Outcome::NoRoute)),
            Err(errno) => Err(failed("bind a socket to", address.to_string(), errno).into()),
        }
    }

    /// Names the other end, and begins the handshake where there is one.
    pub(super) fn connect(&self, fd: &OwnedFd) -> Result<(), Failure> {
        match connect(fd.as_raw_fd(), &SockaddrStorage::from(self.to)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(()),
            Err(errno) => Err(self.could_not(fd, "connect to", errno)),
        }
    }

    /// A system call failed at once: by what was told of it meanwhile, as by a rule of this machine's own, and
    /// otherwise because there is no way from here.
    #[expect(clippy::wildcard_enum_match_arm, reason = "error numbers are the kernel's")]
    pub(super) fn could_not(&self, fd: &OwnedFd, operation: &str, errno: Errno) -> Failure {
        if let Some(told) = told::next(fd) {
            return Failure::Outcome(told.outcome);
        }
        match errno {
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::EADDRNOTAVAIL => {
                Failure::Outcome(Outcome::NoRoute)
            }
            // A loopback address on no loopback device, a broadcast address, routes of type blackhole and prohibit.
            Errno::EINVAL | Errno::EACCES => Failure::Outcome(Outcome::NoRoute),
            errno => self.by_number(operation, errno),
        }
    }

    /// What an error number alone means.
    fn by_number(&self, operation: &str, errno: Errno) -> Failure {
        match told::of_errno(errno) {
            Some(outcome) => Failure::Outcome(outcome),
            None => failed(operation, self.to.to_string(), errno).into(),
        }
    }
}

/// Asks a question on a port.
pub(super) async fn ask(transport: Transport, question: Question) -> Result<Outcome, Error> {
    within(async {
        match transport {
            Transport::Tcp | Transport::Sctp => by_stream(transport, question).await,
            Transport::Udp => by_datagram(question).await,
        }
    })
    .await
}

/// What comes of a question until the deadline.
pub(super) async fn within(asking: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Error> {
    let mut asking = pin!(asking);
    let (idle, mut waited) = (idle(), DEADLINE);
    let mut answer = timeout(DEADLINE, asking.as_mut()).await;
    while answer.is_err() && waited < PATIENCE && busy_since(idle) {
        answer = timeout(PAUSE, asking.as_mut()).await;
        waited += PAUSE;
    }
    match answer {
        Ok(Ok(outcome) | Err(Failure::Outcome(outcome))) => Ok(outcome),
        Ok(Err(Failure::Error(error))) => Err(error),
        Err(_) => Ok(Outcome::Dropped),
    }
}

/// Whether the machine has had less than a moment to spare since.
fn busy_since(then: Option<Duration>) -> bool {
    then.zip(idle()).is_some_and(|(then, now)| now.saturating_sub(then) < SPARE)
}

/// How long the machine's processors have had nothing to do, all of them together; unknown where there is no /proc.
fn idle() -> Option<Duration> {
    spare(&fs::read_to_string("/proc/uptime").ok()?)
}

/// The second number of /proc/uptime (man 5 proc_uptime).
fn spare(uptime: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(uptime.split_whitespace().nth(1)?.parse().ok()?).ok()
}

async fn by_stream(transport: Transport, question: Question) -> Result<Outcome, Failure> {
    let fd = question.open(Speech::of(transport, question.family()))?;
    question.connect(&fd)?;
    let fd = connected(question, fd).await?;
    // From now on the kernel notes errors and goes on trying (`tcp_v4_err`); with the option set they would end the
    // connection.
    match question.family() {
        Family::V4 => socket::option(&fd, sockopt::Ipv4RecvErr, &false),
        Family::V6 => socket::option(&fd, sockopt::Ipv6RecvErr, &false),
    }
    .map_err(|errno| failed("set", "IP_RECVERR", errno))?;
    let lost = |cause| Error::new("ask", question.to.to_string(), &cause);
    if matches!(question.options.source, Some((_, Some(_)))) {
        // A port that is asked for is wanted again before TIME_WAIT is over.
        let now = linger { l_onoff: 1, l_linger: 0 };
        socket::option(&fd, sockopt::Linger, &now).map_err(|errno| failed("set", "SO_LINGER", errno))?;
    }
    let stream = tokio::net::TcpStream::from_std(TcpStream::from(fd)).map_err(lost)?;
    Ok(talk(stream, question).await)
}

/// Waits for the end of the handshake.
async fn connected(question: Question, fd: OwnedFd) -> Result<OwnedFd, Failure> {
    let lost = |cause| Error::new("connect to", question.to.to_string(), &cause);
    let waiting = socket::watched(fd).map_err(lost)?;
    loop {
        let mut ready = waiting.ready(Interest::WRITABLE | Interest::ERROR).await.map_err(lost)?;
        let fd = waiting.get_ref();
        if let Some(told) = told::next(fd) {
            return Err(Failure::Outcome(told.outcome));
        }
        let error = getsockopt(fd, sockopt::SocketError)
            .map_err(|errno| failed("ask for the error of", "a socket", errno))?;
        match error {
            0 if is_connected(fd) => break,
            0 => ready.clear_ready(),
            // A reset in the handshake is ECONNREFUSED: this one came when it was over (`tcp_reset`, net/ipv4/tcp_input.c).
            libc::ECONNRESET | libc::EPIPE => return Err(Failure::Outcome(Outcome::Closed)),
            number => return Err(question.by_number("connect to", Errno::from_raw(number))),
        }
    }
    Ok(waiting.into_inner())
}

fn is_connected(fd: &OwnedFd) -> bool {
    getpeername::<SockaddrStorage>(fd.as_raw_fd()).is_ok()
}

/// Asks over a connection.
async fn talk(mut stream: tokio::net::TcpStream, question: Question) -> Outcome {
    let mut heard = Vec::with_capacity(PIECE_BYTES);
    if stream.write_all(&question.to_bytes()).await.is_err() {
        return Outcome::Closed;
    }
    loop {
        if let Some(answer) = Answer::read(&heard).filter(|answer| answer.nonce == question.nonce) {
            return answer.into();
        }
        // Closed and reset without an answer are one.
        match stream.read_buf(&mut heard).await {
            Ok(0) | Err(_) => return Outcome::Closed,
            Ok(_) => heard.truncate(HEARD_BYTES),
        }
    }
}

async fn by_datagram(question: Question) -> Result<Outcome, Failure> {
    let fd = question.open(Speech::of(Transport::Udp, question.family()))?;
    question.connect(&fd)?;
    let take = |bytes: &[u8]| {
        let answer = Answer::read(bytes).filter(|answer| answer.nonce == question.nonce);
        answer.map(Outcome::from)
    };
    exchange(question, fd, &question.to_bytes(), take, |_| true).await
}

/// Sends a datagram once, and waits for one that `take` takes, or for an error about one that is `mine`.
pub(super) async fn exchange(
    question: Question,
    fd: OwnedFd,
    bytes: &[u8],
    take: impl Fn(&[u8]) -> Option<Outcome>,
    mine: impl Fn(&Told) -> bool,
) -> Result<Outcome, Failure> {
    let lost = |cause| Error::new("ask", question.to.to_string(), &cause);
    let waiting = socket::watched(fd).map_err(lost)?;
    let fd = waiting.get_ref();
    match send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT) {
        // A rule of this machine's own dropped it, and may have sent an error that is on its way (`nf_hook_slow`).
        Ok(_) | Err(Errno::EPERM) => {}
        Err(Errno::EMSGSIZE) => return Ok(Outcome::Unreachable(Some(Unreachable::TooBig))),
        Err(errno) => return Err(question.could_not(fd, "send to", errno)),
    }
    let mut piece = vec![0; usize::from(u16::MAX)];
    loop {
        let mut ready = waiting.ready(Interest::READABLE | Interest::ERROR).await.map_err(lost)?;
        while let Some(told) = told::next(fd) {
            if mine(&told) {
                return Ok(told.outcome);
            }
        }
        match recv(fd.as_raw_fd(), &mut piece, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                if let Some(outcome) = piece.get(..length).and_then(&take) {
                    return Ok(outcome);
                }
            }
            Err(Errno::EAGAIN) => ready.clear_ready(),
            // The error of what was in the queue and not mine.
            Err(errno) if told::of_errno(errno).is_some() => {}
            Err(errno) => return Err(failed("hear from", question.to.to_string(), errno).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_a_machine_had_to_spare_is_read() {
        assert_eq!(spare("350735.47 234388.90\n"), Some(Duration::from_millis(234_388_900)));
        assert_eq!((spare("1.0"), spare("1.0 -2.0"), spare("")), (None, None, None));
    }

    #[test]
    fn a_machine_of_which_nothing_is_known_is_not_waited_for() {
        assert!(!busy_since(None));
        assert!(!busy_since(Some(Duration::ZERO)), "this one has had time since it started");
    }
}
