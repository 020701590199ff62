//! QEMU at work: its console is watched, and whoever waits for the guest hears what it says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use seatrial_core::linux::Error;
use seatrial_core::linux::request::Answer;

use super::console::Console;
use crate::channel::{Hello, Word};

pub(super) type Said = Result<Vec<Answer>, Error>;

/// QEMU, and who reads its console. It ends with this.
#[derive(Debug)]
pub(super) struct Emulator {
    pub(super) process: Child,
    pub(super) watcher: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Ends it, and waits until all that it said has been read.
    pub(super) fn end(&mut self) -> io::Result<ExitStatus> {
        // It may have ended by itself: that is what is wanted.
        let _ = self.process.kill();
        let status = self.process.wait();
        let _ = self.watcher.take().map(JoinHandle::join);
        status
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What those who listen to the machine leave for those who ask.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) console: Mutex<Console>,
    /// Who waits for an answer about which stage; no more where the guest has gone.
    pub(super) waiting: Mutex<Option<BTreeMap<u64, Sender<Said>>>>,
    /// Who waits for what a program writes, and for its end.
    pub(super) program: Mutex<Option<Sender<Word>>>,
}

impl Shared {
    /// Reads the console to its end; a log gets all of it.
    pub(super) fn watch(&self, console: impl Read, mut log: Option<File>) {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            // A log that cannot be written ends early; what the machine says is heard all the same.
            let _ = log.as_mut().map(|log| writeln!(log, "{line}"));
            lock(&self.console).hear(line);
        }
    }

    /// Hands what the guest says to whoever waits for it.
    pub(super) fn listen(&self, port: UnixStream, ready: &Sender<Hello>) {
        for line in BufReader::new(port).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Word::Ready(hello)) => drop(ready.send(hello)),
                Ok(Word::Said { stage, said }) => {
                    let waiting = lock(&self.waiting).as_mut().and_then(|waiting| waiting.remove(&stage));
                    // Nobody waits any more for what came too late.
                    let _ = waiting.map(|waiting| waiting.send(said));
                }
                Ok(word @ (Word::Output(_) | Word::Ended(_))) => {
                    lock(&self.program).iter().for_each(|waits| drop(waits.send(word.clone())));
                }
                Err(_) => break,
            }
        }
        *lock(&self.waiting) = None;
        *lock(&self.program) = None;
    }

    /// What the console says.
    pub(super) fn tail(&self) -> String {
        lock(&self.console).tail()
    }
}

/// Takes what is behind a lock, whoever panicked with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_waits_for_a_guest_that_goes_hears_so() {
        let shared = Shared::default();
        let ((ready, hello), (sender, said)) = (mpsc::channel(), mpsc::channel());
        *lock(&shared.waiting) = Some(BTreeMap::from([(7, sender)]));
        let (port, mut guest) = UnixStream::pair().unwrap();
        guest.write_all(b"{\"ready\":{\"release\":\"6.1\",\"refused\":[]}}\nnonsense\n").unwrap();
        shared.listen(port, &ready);
        assert_eq!(hello.recv().unwrap().release, "6.1");
        assert!(said.recv().is_err() && lock(&shared.waiting).is_none());
    }
}
