//! What a machine does that was restored: it takes the time, and chance of its own.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::libc;

use crate::channel::{Own, Wake};

/// include/uapi/linux/random.h: RNDADDENTROPY, RNDRESEEDCRNG (4.17).
const ADD: libc::c_ulong = 0x4008_5203;
const RESEED: libc::c_ulong = 0x5207;
/// How many bits a byte counts for.
const BITS: libc::c_int = 8;

/// struct rand_pool_info, with its bytes.
#[repr(C)]
struct Pool {
    entropy_count: libc::c_int,
    buf_size: libc::c_int,
    buf: [u8; 32],
}

/// Time and chance as they are here now.
///
/// # Errors
/// Without /dev/urandom.
#[expect(clippy::disallowed_methods, reason = "whether the clock is right is what is asked")]
pub(super) fn own() -> io::Result<Own> {
    let mut own = Own {
        now: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        ..Own::default()
    };
    File::open("/dev/urandom")?.read_exact(&mut own.chance)?;
    Ok(own)
}

/// Takes time and chance from the host.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn wake(wake: &Wake) -> io::Result<()> {
    let of = |what: &str| {
        let what = what.to_owned();
        move |e: Errno| io::Error::new(io::Error::from(e).kind(), format!("{what}: {e}"))
    };
    let now = libc::timespec {
        tv_sec: wake.now.as_secs().try_into().unwrap_or(0),
        tv_nsec: wake.now.subsec_nanos().into(),
    };
    // SAFETY: the kernel reads one timespec, which lives until then.
    Errno::result(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const now) })
        .map_err(of("cannot set the clock"))?;
    let random = File::options().write(true).open("/dev/urandom")?;
    let pool = Pool { entropy_count: BITS * 32, buf_size: 32, buf: wake.seed };
    // SAFETY: the kernel reads a rand_pool_info and as many bytes behind it as it says, which is what a Pool is.
    Errno::result(unsafe { libc::ioctl(random.as_raw_fd(), ADD, &raw const pool) })
        .map_err(of("cannot add to the random state"))?;
    // SAFETY: nothing is passed.
    Errno::result(unsafe { libc::ioctl(random.as_raw_fd(), RESEED) })
        .map_err(of("cannot renew the random state"))?;
    Ok(())
}
