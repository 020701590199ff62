//! Ethernet frames as they are (man 7 packet).

use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;

use nix::errno::Errno;
use nix::libc::{AF_PACKET, ETH_P_ALL, sockaddr_ll};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};

/// Sends a frame out of a device of the network namespace that this thread is in. `device` is its number there.
///
/// # Errors
/// As the kernel says: no right to packet sockets, no such device, or a device that is down.
pub(crate) fn send(device: u32, frame: &[u8]) -> io::Result<()> {
    // Without a protocol the socket receives nothing.
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    sendto(socket.as_raw_fd(), frame, &address(device)?, MsgFlags::empty())?;
    Ok(())
}

/// The address of a device, as a packet socket takes it.
pub(crate) fn address(device: u32) -> io::Result<LinkAddr> {
    let address = sockaddr_ll {
        // Both are small numbers of the kernel's.
        sll_family: AF_PACKET as u16,
        sll_protocol: (ETH_P_ALL as u16).to_be(),
        sll_ifindex: i32::try_from(device).map_err(|_| Errno::ENODEV)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: nix makes a LinkAddr in no other way; the pointer is to a whole sockaddr_ll, and so says the length.
    let made = unsafe {
        LinkAddr::from_raw(ptr::from_ref(&address).cast(), Some(mem::size_of::<sockaddr_ll>() as u32))
    };
    Ok(made.ok_or(Errno::EINVAL)?)
}
