//! A netlink socket that is asked one thing at a time (man 7 netlink).
//!
//! The kernel does what it is asked, and has put its answer into the socket, before `sendmsg` returns
//! (`netlink_unicast_kernel`, net/netlink/af_netlink.c). So nobody ever waits for an answer here, and there is nothing
//! for an event loop to do in the meantime.

use std::cell::Cell;
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_sys::Socket;
use nix::errno::Errno;

use crate::addr::IfName;

/// Bytes of an answer: at least the kernel's `NLMSG_GOODSIZE`, and a dump fills what it is given up to 32 KiB.
const ANSWER: usize = 32 * 1024;

/// `NLMSGERR_ATTR_MSG` (include/uapi/linux/netlink.h): the kernel's words.
const ERROR_WORDS: u16 = 1;

/// Bytes of a message's header, which an error repeats.
const HEADER: usize = 16;

/// Why something could not be done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) errno: Option<i32>,
    pub(super) words: String,
    /// What this machine lacks.
    pub(super) missing: Option<String>,
    /// Whether the kernel said more than the number.
    pub(super) told: Option<String>,
}

impl Refusal {
    pub(super) fn words(words: impl Into<String>) -> Self {
        Self { errno: None, words: words.into(), missing: None, told: None }
    }

    /// A number of the kernel's, and its own words where it has any.
    fn kernel(errno: i32, told: Option<String>) -> Self {
        let known = Errno::from_raw(errno);
        let words = format!("{} ({known:?})", told.as_deref().unwrap_or_else(|| known.desc()));
        Self { errno: Some(errno), words, missing: None, told }
    }

    pub(super) fn is(&self, errno: Errno) -> bool {
        // The numbers of man 3 errno are those of the enum.
        self.errno == Some(errno as i32)
    }

    /// The same; where it is this number, the machine lacks something.
    pub(super) fn lacks(self, errno: Errno, help: &str) -> Self {
        if self.is(errno) { Self { missing: Some(help.to_owned()), ..self } } else { self }
    }

    /// The same; with why what had been done until then could not be undone, where that is so.
    pub(super) fn with(self, undone: Result<(), Self>) -> Self {
        match undone {
            Ok(()) => self,
            Err(other) => {
                Self { words: format!("{}; and it is left half done: {}", self.words, other.words), ..self }
            }
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        error.raw_os_error().map_or_else(|| Self::words(error.to_string()), |errno| Self::kernel(errno, None))
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Netlink {
    /// Opens a socket in the network namespace that this thread is in.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        // Errors come with the kernel's words, and without the whole request.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: Cell::new(0) })
    }

    /// Asks for something, and gives back what the kernel tells of it before it says that it is done. A list that
    /// changed while it was told is `EINTR`.
    pub(super) fn ask<T>(&self, what: T, flags: u16) -> Result<Vec<T>, Refusal>
    where
        T: NetlinkSerializable + NetlinkDeserializable + Debug,
    {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(what));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        self.answer(sequence)
    }

    fn answer<T: NetlinkDeserializable>(&self, sequence: u32) -> Result<Vec<T>, Refusal> {
        let mut told = Vec::new();
        let mut torn = false;
        let mut bytes = Vec::with_capacity(ANSWER);
        loop {
            bytes.clear();
            match self.socket.recv(&mut bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let message = NetlinkMessage::<T>::deserialize(rest)
                    .map_err(|e| Refusal::words(format!("an answer that nobody understands: {e}")))?;
                rest = rest.get(aligned(message.header.length)..).unwrap_or_default();
                // What is left of a request that was given up.
                if message.header.sequence_number != sequence {
                    continue;
                }
                torn |= message.header.flags & NLM_F_DUMP_INTR > 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => told.push(inner),
                    NetlinkPayload::Error(error) => return outcome(&error).map(|()| told),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(Refusal::kernel(-done.code, None));
                    }
                    NetlinkPayload::Done(_) if torn => {
                        return Err(Refusal::kernel(Errno::EINTR as i32, None));
                    }
                    NetlinkPayload::Done(_) => return Ok(told),
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) => {}
                    // The enum is open; a kind of message that has no name yet is none of ours.
                    _ => {}
                }
            }
        }
    }

    /// A device's number, by its name (man 7 netdevice, SIOCGIFINDEX).
    pub(super) fn index(&self, name: &IfName) -> Result<u32, Refusal> {
        rustix::net::netdevice::name_to_index(self, name.as_str()).map_err(|errno| {
            Refusal::kernel(errno.raw_os_error(), Some(format!("there is no device {name}")))
        })
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the socket's, which lives as long as the borrow. netlink-sys has no `AsFd`.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

/// Messages stand at multiples of four bytes (`NLMSG_ALIGN`).
const fn aligned(length: u32) -> usize {
    // A length is far below 2^32, and a usize has at least that here.
    (length as usize).next_multiple_of(4)
}

fn outcome(error: &ErrorMessage) -> Result<(), Refusal> {
    let Some(code) = error.code else { return Ok(()) };
    let attributes = NlasIterator::new(error.header.get(HEADER..).unwrap_or_default());
    let words = attributes.flatten().find(|nla| nla.kind() == ERROR_WORDS);
    let words = words.map(|nla| String::from_utf8_lossy(nla.value()).trim_end_matches('\0').to_owned());
    Err(Refusal::kernel(code.get().abs(), words))
}
