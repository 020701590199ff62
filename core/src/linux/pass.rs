//! Descriptors go from one process to another, over a Unix socket (man 7 unix, SCM_RIGHTS).

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, sendmsg};
use nix::{cmsg_space, libc};

/// The most descriptors that are sent at one time: a namespace of each kind, and one to spare.
pub const MOST: usize = 8;

/// What came at one time.
#[derive(Debug, Default)]
pub struct Parcel {
    /// The bytes; none where the other end is closed.
    pub bytes: Vec<u8>,
    /// The descriptors that came with them.
    pub fds: Vec<OwnedFd>,
    /// The sender's process id as it is here, where the socket was set to ask for it (SO_PASSCRED).
    pub from: Option<i32>,
}

/// Sends bytes, and descriptors with the first of them.
///
/// # Errors
/// Where the other end is closed, or a socket that does not block is full.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let mut with = if raw.is_empty() { &[][..] } else { &rights[..] };
    let mut left = bytes;
    while !left.is_empty() {
        let flags = MsgFlags::MSG_NOSIGNAL;
        let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(left)], with, flags, None)?;
        left = left.get(sent..).unwrap_or_default();
        with = &[];
    }
    Ok(())
}

/// Waits for what comes next, as far as the socket waits.
///
/// # Errors
/// As `recvmsg` says (man 2 recvmsg).
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<Parcel> {
    let mut buffer = vec![0; 1 << 16];
    let mut control = cmsg_space!([RawFd; MOST], UnixCredentials);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let mut parcel = Parcel::default();
    for said in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = &said {
            // SAFETY: the kernel has just put these descriptors into this process, and nobody else knows of them.
            parcel.fds.extend(raw.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }));
        } else if let ControlMessageOwned::ScmCredentials(sender) = &said {
            parcel.from = Some(sender.pid());
        }
    }
    let length = message.bytes;
    buffer.truncate(length);
    parcel.bytes = buffer;
    Ok(parcel)
}

/// Waits for a line; what comes behind it is not asked for by anybody and counts as part of it.
///
/// # Errors
/// `UnexpectedEof` where the other end is closed before that.
pub fn line(mut receive: impl FnMut() -> io::Result<Parcel>) -> io::Result<Parcel> {
    let mut whole = Parcel::default();
    while whole.bytes.last() != Some(&b'\n') {
        whole.add(receive()?)?;
    }
    Ok(whole)
}

impl Parcel {
    /// Puts what came later behind what came first.
    ///
    /// # Errors
    /// `UnexpectedEof` where the other end is closed.
    pub fn add(&mut self, next: Self) -> io::Result<()> {
        if next.bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bytes.extend(next.bytes);
        self.fds.extend(next.fds);
        self.from = next.from.or(self.from);
        Ok(())
    }
}

/// Closes every descriptor but the standard ones and one. Whoever holds it in this process must not use it again: this
/// is for a process that has just begun.
///
/// # Errors
/// Where /proc is not mounted, on kernels before 5.9.
pub fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = u32::try_from(kept.as_raw_fd()).map_err(io::Error::other)?;
    let ranges = [(3, kept.saturating_sub(1)), (kept.max(2) + 1, u32::MAX)];
    ranges.into_iter().filter(|(first, last)| first <= last).try_for_each(|(first, last)| close(first, last))
}

/// Closes the descriptors from the first to the last (man 2 close_range).
fn close(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the call takes numbers only; that nobody uses the descriptors any more is the caller's word.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    match Errno::result(done) {
        Err(Errno::ENOSYS) => {}
        other => return other.map(drop).map_err(Into::into),
    }
    let names = fs::read_dir("/proc/self/fd")?.collect::<io::Result<Vec<_>>>()?;
    for fd in names.iter().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if (first..=last).contains(&fd) {
            // SAFETY: as above. The one that /proc was read with is closed already: that is no error here.
            unsafe { libc::close(fd.cast_signed()) };
        }
    }
    Ok(())
}
