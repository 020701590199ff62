//! A lab is ended.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Lab;
use crate::linux::Error;
use crate::linux::state::Berth;

/// How long a kernel may take to end every process of a lab.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends a lab, where it is up, waits until its last process has ended, and takes its folder away. What there was in it, by
/// name.
///
/// # Errors
/// Where it does not end, or the folder cannot be taken away.
pub fn end(berth: &Berth) -> Result<Vec<String>, Error> {
    if let Some(lab) = Lab::attach(berth)? {
        kill(&lab, berth)?;
    }
    berth.remove()
}

/// Kills the first process: the kernel kills the others with it, and only then has it ended (man 7 pid_namespaces).
fn kill(lab: &Lab, berth: &Berth) -> Result<(), Error> {
    let failed = |cause: String| Error::words("end", format!("lab {}", lab.name), cause);
    let pid = Pid::from_raw(lab.first_process()?);
    let pid = pid.ok_or_else(|| failed("its first process cannot be seen from here".to_owned()))?;
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        // It has ended by itself.
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        process => process.map_err(|e| failed(e.to_string()))?,
    };
    // Whoever still answers had that number when it was looked up: nobody else has got it meanwhile.
    if Lab::attach(berth)?.is_none() {
        return Ok(());
    }
    match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(e) => return Err(failed(e.to_string())),
    }
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    loop {
        return match poll(&mut fds, patience) {
            Ok(0) => {
                Err(failed(format!("its processes have not ended after {} seconds", PATIENCE.as_secs())))
            }
            Ok(_) => Ok(()),
            // This process was stopped, and goes on.
            Err(Errno::EINTR) => continue,
            Err(e) => Err(failed(e.desc().to_owned())),
        };
    }
}
