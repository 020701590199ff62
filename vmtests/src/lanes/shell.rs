//! A shell in a virtual machine, or any other program, with this process's terminal or pipes.

use std::env;
use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use nix::libc;
use nix::pty::Winsize;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use seatrial_core::topology::trial::Lane;

use super::fleet::{boot, choose};
use super::{LaneMissing, Means};
use crate::channel::{Run, Word};
use crate::initramfs::SHELL;
use crate::kernels;
use crate::qemu::{Boot, Disk, Extras, Keyboard, Kit, Machine, Outside};

/// How much is read at once, in bytes.
const PIECE: usize = 4096;

/// What came of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; or why it has none: it cannot be run, its disk is none, or this process can read or write no more.
    pub status: Result<u8, String>,
    /// What the kernel said of its own mistakes.
    pub mistake: Option<String>,
}

/// Runs a program on the first of the kernels that are wanted. Without words it is a shell. A disk is what /disk is there.
///
/// # Errors
/// A machine that does not come up, with what it lacks, or that is lost.
pub fn shell(means: &Means, words: &[String], disk: Option<&Disk>) -> Result<Ended, LaneMissing> {
    run(means, words, disk).map_err(|why| LaneMissing { lane: Lane::Vm, why: why.to_string() })
}

fn run(means: &Means, words: &[String], disk: Option<&Disk>) -> io::Result<Ended> {
    let kernels = kernels::find(&means.kernels)?;
    let kernel = kernels.first().ok_or_else(|| io::Error::other("there is no kernel"))?;
    let (accel, _) = choose(&kernels, means);
    let keep = means.keep.as_ref().map(|folder| folder.join(kernel.version.to_string()));
    let extras = Extras { nic: false, disk: disk.is_some(), shell: true };
    let kit = Kit::gather(Boot { keep: keep.as_deref(), saved: None, extras, ..boot(kernel, accel, means) })?;
    let machine = kit.boot(Outside { wire: None, disk })?;
    let terminal = Terminal::of_this()?;
    let words = if words.is_empty() { vec![SHELL.to_owned()] } else { words.to_vec() };
    let size = terminal.as_ref().map(|terminal| terminal.about.clone());
    let said = machine.run(Run { words, terminal: size, disk: disk.map(|disk| disk.writable) })?;
    let keyboard = machine.keyboard()?;
    let (sender, unread) = mpsc::channel();
    // It reads until there is no more, or this process ends: nobody can wake it.
    thread::spawn(move || type_to(&keyboard, &sender));
    let ended = hear(&machine, &said, &unread);
    drop(terminal);
    Ok(Ended { status: ended?, mistake: machine.finish().err() })
}

/// Hands on all that this process reads, and says why there is no more where that is no end.
fn type_to(keyboard: &Keyboard, unread: &Sender<io::Error>) {
    let mut piece = [0; PIECE];
    loop {
        let length = match io::stdin().read(&mut piece) {
            Ok(length) => length,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => {
                // Whoever listened has all that was wanted.
                let _ = unread.send(e);
                0
            }
        };
        // A machine that has gone is missed by whoever listens to it.
        if keyboard.input(piece.get(..length).unwrap_or_default()).is_err() || length == 0 {
            break;
        }
    }
}

/// Writes what the program writes, until it has ended.
fn hear(
    machine: &Machine,
    said: &Receiver<Word>,
    unread: &Receiver<io::Error>,
) -> io::Result<Result<u8, String>> {
    let mut out = Some(io::stdout());
    for word in said {
        match word {
            Word::Output(bytes) => {
                let written =
                    out.as_mut().map_or(Ok(()), |out| out.write_all(&bytes).and_then(|()| out.flush()));
                match written {
                    Ok(()) => {}
                    // Whoever read this has seen enough; the program goes on.
                    Err(e) if e.kind() == ErrorKind::BrokenPipe => out = None,
                    Err(e) => return Ok(Err(format!("cannot write to standard output: {e}"))),
                }
            }
            Word::Ended(ended) => {
                let unread = unread.try_iter().next().map(|e| format!("cannot read standard input: {e}"));
                return Ok(unread.map_or(ended, Err));
            }
            Word::Ready(_) | Word::Said { .. } => {}
        }
    }
    Err(io::Error::other(format!("the virtual machine has ended{}", machine.tail())))
}

/// This process's terminal, which hands on each key as it is pressed until this is dropped.
struct Terminal {
    about: (String, u16, u16),
    before: Termios,
}

impl Terminal {
    /// The terminal; none where input and output are not both one.
    fn of_this() -> io::Result<Option<Self>> {
        let (input, output) = (io::stdin(), io::stdout());
        if !input.is_terminal() || !output.is_terminal() {
            return Ok(None);
        }
        let name = env::var_os("TERM").and_then(|name| name.into_string().ok());
        let name = name.unwrap_or_else(|| "dumb".to_owned());
        let (rows, columns) = size(output.as_raw_fd());
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&input, SetArg::TCSANOW, &raw)?;
        Ok(Some(Self { about: (name, rows, columns), before }))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has gone needs nothing back.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

/// Rows and columns of a terminal (man 2 TIOCGWINSZ).
fn size(terminal: RawFd) -> (u16, u16) {
    let mut size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one winsize, which lives until then; where it does not, it stays as it is.
    unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size) };
    (size.ws_row, size.ws_col)
}
