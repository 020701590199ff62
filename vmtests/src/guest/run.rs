//! A program that is run in the guest, with a terminal or without.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::pty::{Winsize, openpty};
use nix::unistd::{setsid, sync};

use super::say;
use crate::channel::{Run, Word};

/// Where the disk is, and what it is found by.
const DISK: &str = "/disk";
const DEVICE: &str = "/dev/vda";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much is read at once, in bytes.
const PIECE: usize = 16 << 10;
/// What a shell says of a program that a signal ended (man 1 dash).
const SIGNALLED: i32 = 128;

/// What a program is read from, and what it reads.
struct Ends {
    child: Child,
    output: Box<dyn Read + Send>,
    input: Option<Box<dyn Write + Send>>,
}

/// Runs a program to its end, and says what comes of it.
pub(super) fn run(order: &Run, input: Receiver<Vec<u8>>, port: &Mutex<File>) {
    let ended = start(order).and_then(|ends| serve(ends, input, port));
    sync();
    // Whoever still runs holds the disk, which is left as by a power cut then.
    let _ = order.disk.map(|_| umount(DISK));
    // A host that has gone hears nothing.
    let _ = say(port, &Word::Ended(ended.map(status).map_err(|e| e.to_string())));
}

fn start(order: &Run) -> io::Result<Ends> {
    if let Some(writable) = order.disk {
        let flags = if writable { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        mount(Some(DEVICE), DISK, Some("ext4"), flags, None::<&str>).map_err(|e| {
            // A journal is replayed by writing (fs/ext4/super.c, ext4_load_journal).
            let in_use = "it was in use when its machine ended: use it once without :ro";
            let what = if e == Errno::EROFS { in_use } else { "an image of ext4 is needed" };
            io::Error::other(format!("cannot mount the disk: {e}: {what}"))
        })?;
    }
    let (program, arguments) = order.words.split_first().ok_or_else(|| io::Error::other("nothing to run"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).env("HOME", "/root").current_dir("/root");
    let of = |e: io::Error| io::Error::new(e.kind(), format!("cannot run {program}: {e}"));
    match &order.terminal {
        None => piped(&mut command).map_err(of),
        Some((name, rows, columns)) => {
            command.env("TERM", name);
            on_terminal(&mut command, *rows, *columns).map_err(of)
        }
    }
}

fn piped(command: &mut Command) -> io::Result<Ends> {
    let (output, theirs) = io::pipe()?;
    command.stdin(Stdio::piped()).stdout(theirs.try_clone()?).stderr(theirs);
    let mut child = command.spawn()?;
    // The command holds what it would write to: without it the output ends with the program's.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let input = child.stdin.take().map(|stdin| Box::new(stdin) as Box<dyn Write + Send>);
    Ok(Ends { child, output: Box::new(output), input })
}

fn on_terminal(command: &mut Command, rows: u16, columns: u16) -> io::Result<Ends> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None)?;
    command.stdin(pty.slave.try_clone()?).stdout(pty.slave.try_clone()?).stderr(pty.slave);
    let take = || {
        setsid()?;
        // SAFETY: takes numbers alone, and is safe between fork and exec.
        Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
        Ok(())
    };
    // SAFETY: between fork and exec nothing is called but setsid and ioctl, which are safe there.
    unsafe { command.pre_exec(take) };
    let child = command.spawn()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let master = File::from(pty.master);
    let input: Box<dyn Write + Send> = Box::new(master.try_clone()?);
    Ok(Ends { child, output: Box::new(master), input: Some(input) })
}

fn serve(ends: Ends, typed: Receiver<Vec<u8>>, port: &Mutex<File>) -> io::Result<ExitStatus> {
    let Ends { mut child, mut output, mut input } = ends;
    thread::spawn(move || {
        for bytes in typed {
            // A program that reads no more needs nothing.
            if bytes.is_empty() || input.as_mut().is_none_or(|input| input.write_all(&bytes).is_err()) {
                input = None;
            }
        }
    });
    let mut piece = vec![0; PIECE];
    // A terminal that nobody has any more ends with an error (man 4 pts).
    while let Ok(length @ 1..) = output.read(&mut piece) {
        say(port, &Word::Output(piece.get(..length).unwrap_or_default().to_vec()))?;
    }
    child.wait()
}

/// As a shell has it.
fn status(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| Some(SIGNALLED + status.signal()?)).unwrap_or(SIGNALLED);
    u8::try_from(number).unwrap_or(u8::MAX)
}
