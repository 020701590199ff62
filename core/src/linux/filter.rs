//! Filters on sockets: programs of classic BPF, that say what a socket takes (man 7 socket, SO_ATTACH_FILTER).

use std::os::fd::OwnedFd;

use nix::libc::{self, sock_filter, sock_fprog};
use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// The program.
    AttachFilter, SetOnly, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, sock_fprog
);

/// Takes nothing.
pub(super) const NOTHING: [sock_filter; 1] = [ret(0)];

/// Lets a socket take only what a program says. What has come before stays.
pub(super) fn attach(fd: &OwnedFd, program: &[sock_filter]) -> nix::Result<()> {
    let mut program = program.to_vec();
    let len = u16::try_from(program.len()).unwrap_or(u16::MAX);
    // The kernel copies the program before the call returns.
    setsockopt(fd, AttachFilter, &sock_fprog { len, filter: program.as_mut_ptr() })
}

/// Loads the byte at an offset from the beginning.
pub(super) const fn byte(at: u32) -> sock_filter {
    code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at)
}

/// Loads the four bytes at an offset from the beginning.
pub(super) const fn word(at: u32) -> sock_filter {
    code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at)
}

/// Makes the length of the IPv4 header at the beginning the base of what is loaded next.
pub(super) const fn behind_ip() -> sock_filter {
    code(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0)
}

/// Loads the byte at an offset from the base.
pub(super) const fn byte_behind(at: u32) -> sock_filter {
    code(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, at)
}

/// Loads the four bytes at an offset from the base.
pub(super) const fn word_behind(at: u32) -> sock_filter {
    code(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, at)
}

/// Goes on where what was loaded is this, and otherwise jumps so far.
pub(super) const fn unless(value: u32, jump: u8) -> sock_filter {
    sock_filter { jf: jump, ..code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value) }
}

/// Takes so many bytes of it.
pub(super) const fn ret(bytes: u32) -> sock_filter {
    code(libc::BPF_RET | libc::BPF_K, bytes)
}

const fn code(code: u32, k: u32) -> sock_filter {
    // Codes have eight bits (linux/bpf_common.h).
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}
