//! A wire between virtual machines: what the NIC of one sends, those of all others get, as from a hub.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::emulator::lock;

/// How long a frame is at most, in bytes: a NIC that no offload was negotiated with sends no longer ones.
const FRAME_BYTES: usize = 64 << 10;

/// The ends that are plugged in.
type Ends = Arc<Mutex<Vec<Arc<OwnedFd>>>>;

/// A wire. Its ends go with the machines that have them.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    ends: Ends,
}

impl Wire {
    /// A new end, for QEMU: a socket that keeps frames apart, and ends where the other side has gone (man 7 unix,
    /// SOCK_SEQPACKET).
    ///
    /// # Errors
    /// Too many open files.
    pub(super) fn plug(&self) -> io::Result<OwnedFd> {
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let (ours, theirs) = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC)?;
        let ours = Arc::new(ours);
        lock(&self.ends).push(Arc::clone(&ours));
        let ends = Arc::clone(&self.ends);
        thread::spawn(move || carry(&ours, &ends));
        Ok(theirs)
    }
}

/// Carries frames from one end to all others, until whoever has it has gone.
fn carry(from: &Arc<OwnedFd>, ends: &Ends) {
    let mut frame = vec![0; FRAME_BYTES];
    while let Ok(length @ 1..) = recv(from.as_raw_fd(), &mut frame, MsgFlags::empty()) {
        let frame = frame.get(..length).unwrap_or_default();
        for end in lock(ends).iter().filter(|end| !Arc::ptr_eq(end, from)) {
            // Who has no room for it, or has just gone, misses it, as on any wire.
            let _ = send(end.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        }
    }
    lock(ends).retain(|end| !Arc::ptr_eq(end, from));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(end: &OwnedFd) -> Vec<u8> {
        let mut frame = [0; 9];
        let length = recv(end.as_raw_fd(), &mut frame, MsgFlags::empty()).unwrap();
        frame[..length].to_vec()
    }

    fn say(end: &OwnedFd, frame: &[u8]) {
        send(end.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
    }

    #[test]
    fn all_others_get_what_one_sends_frame_by_frame() {
        let wire = Wire::default();
        let [a, b, c] = [(); 3].map(|()| wire.plug().unwrap());
        say(&a, b"one");
        say(&a, b"two");
        for end in [&b, &c] {
            assert_eq!((heard(end), heard(end)), (b"one".to_vec(), b"two".to_vec()));
        }
        say(&b, b"back");
        assert_eq!((heard(&a), heard(&c)), (b"back".to_vec(), b"back".to_vec()));
    }

    #[test]
    fn one_that_has_gone_or_does_not_listen_is_in_nobodys_way() {
        let wire = Wire::default();
        let [a, b, deaf, gone] = [(); 4].map(|()| wire.plug().unwrap());
        drop(gone);
        for _ in 0..5000 {
            say(&a, b"frame");
            assert_eq!(heard(&b), b"frame");
        }
        drop((a, b, deaf));
    }
}
