//! A machine at work: it is started, says its first word, and does what it is told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use seatrial_core::linux::Error;

use super::command::Call;
use super::emulator::{Emulator, Said, Shared, lock};
use super::{Boot, Wire, cannot_run};
use crate::channel::{Hello, Order, Run, What, Word};
use crate::kernels::Kernel;

/// A machine that has come up.
#[derive(Debug)]
pub(crate) struct Machine {
    emulator: Mutex<Emulator>,
    port: Mutex<UnixStream>,
    shared: Arc<Shared>,
    stages: AtomicU64,
    pub(super) hello: Hello,
    pub(super) limit: Duration,
    /// Whether it is a copy of one that was saved.
    pub(super) restored: bool,
}

/// A machine that has been started, and has said nothing yet.
pub(super) struct Start<'a> {
    kernel: &'a Kernel,
    emulator: Emulator,
    pub(super) port: UnixStream,
    shared: Arc<Shared>,
    hello: Receiver<Hello>,
}

impl<'a> Start<'a> {
    /// Starts QEMU, which this gives its shape.
    ///
    /// # Errors
    /// An emulator that cannot be run.
    pub(super) fn new(
        boot: Boot<'a>,
        wire: Option<&Wire>,
        log: Option<File>,
        shape: impl FnOnce(&mut Call) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (port, theirs) = UnixStream::pair()?;
        let (console, output) = io::pipe()?;
        let end = wire.map(Wire::plug).transpose()?;
        let mut call = Call::new(boot.accel, theirs.into(), output, end)?;
        shape(&mut call)?;
        let process = call.command().spawn().map_err(|e| cannot_run(&e))?;
        let shared = Arc::new(Shared::default());
        *lock(&shared.waiting) = Some(BTreeMap::new());
        let (ready, hello) = mpsc::channel();
        let watcher = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.watch(console, log))
        };
        let emulator = Emulator { process, watcher: Some(watcher) };
        {
            let (shared, port) = (Arc::clone(&shared), port.try_clone()?);
            thread::spawn(move || shared.listen(port, &ready));
        }
        Ok(Self { kernel: boot.kernel, emulator, port, shared, hello })
    }

    /// Waits for its first word.
    ///
    /// # Errors
    /// Why none comes, with what its console says.
    pub(super) fn came_up(mut self, limit: Duration) -> io::Result<Machine> {
        match self.hello.recv_timeout(limit) {
            Ok(hello) => Ok(Machine {
                emulator: Mutex::new(self.emulator),
                port: Mutex::new(self.port),
                shared: self.shared,
                stages: AtomicU64::new(0),
                hello,
                limit,
                restored: false,
            }),
            Err(silence) => {
                let status = self.emulator.end()?;
                let why = match silence {
                    RecvTimeoutError::Timeout => format!("it said nothing for {} s", limit.as_secs()),
                    // One that was still on its way out has been helped.
                    RecvTimeoutError::Disconnected if status.signal() == Some(Signal::SIGKILL as i32) => {
                        "it ended before it said anything".to_owned()
                    }
                    RecvTimeoutError::Disconnected => format!("it ended before it said anything ({status})"),
                };
                Err(io::Error::other(format!("kernel {}: {why}{}", self.kernel.version, self.shared.tail())))
            }
        }
    }
}

impl Machine {
    /// Whether it is a copy of one that was saved; else it was booted.
    pub(crate) const fn restored(&self) -> bool {
        self.restored
    }

    /// What the guest said when it came up.
    pub(crate) const fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Runs a program, and says where what it writes comes from, and its end.
    ///
    /// # Errors
    /// A machine that has ended.
    pub(crate) fn run(&self, run: Run) -> io::Result<Receiver<Word>> {
        let (sender, words) = mpsc::channel();
        *lock(&self.shared.program) = Some(sender);
        send(&lock(&self.port), &Order::Run(run))?;
        Ok(words)
    }

    /// What the program is typed to by. Nothing else is sent to the machine meanwhile.
    ///
    /// # Errors
    /// Too many open files.
    pub(crate) fn keyboard(&self) -> io::Result<Keyboard> {
        lock(&self.port).try_clone().map(Keyboard)
    }

    /// What its console says, for whoever finds it gone.
    pub(crate) fn tail(&self) -> String {
        self.shared.tail()
    }

    /// A number for a stage to come.
    pub(crate) fn next_stage(&self) -> u64 {
        self.stages.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the guest to do something with a stage, and waits until it is done.
    ///
    /// # Errors
    /// What the guest says, or that it says nothing more.
    pub(crate) fn order(&self, stage: u64, what: What) -> Said {
        let limit = self.limit + what.waits();
        let broken = |cause: String| {
            let machine = format!("the virtual machine of {}", self.hello.release);
            Error::words("ask", machine, format!("{cause}{}", self.shared.tail()))
        };
        // Nobody else waits as long for a machine that hangs.
        let lost = |cause: String| {
            let _ = lock(&self.emulator).end();
            broken(cause)
        };
        let (sender, said) = mpsc::channel();
        match lock(&self.shared.waiting).as_mut() {
            Some(waiting) => waiting.insert(stage, sender),
            None => return Err(lost("it has ended".to_owned())),
        };
        send(&lock(&self.port), &Order::Stage { stage, what }).map_err(|e| {
            let gone = matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
            lost(if gone { "it has ended".to_owned() } else { e.to_string() })
        })?;
        let said = said.recv_timeout(limit).map_err(|silence| match silence {
            RecvTimeoutError::Timeout => {
                lost(format!("it said nothing for {} s, and was ended", limit.as_secs()))
            }
            RecvTimeoutError::Disconnected => lost("it has ended".to_owned()),
        })?;
        let complained = lock(&self.shared.console).complained();
        if complained { Err(broken("its kernel complains of itself".to_owned())) } else { said }
    }

    /// Tells the guest that a stage is needed no more.
    pub(crate) fn end(&self, stage: u64) {
        lock(&self.shared.waiting).iter_mut().for_each(|waiting| drop(waiting.remove(&stage)));
        // A guest that has gone has ended its stages.
        let _ = send(&lock(&self.port), &Order::Stage { stage, what: What::End });
    }

    /// Ends it, and reads its console to the end.
    ///
    /// # Errors
    /// That its kernel complained of itself, with its words: what was asked of it before proves nothing.
    pub(crate) fn finish(self) -> Result<(), String> {
        // It may have ended by itself, and has said so to whoever asked it something.
        let _ = lock(&self.emulator).end();
        let complained = lock(&self.shared.console).complained();
        if complained { Err(format!("its kernel complains of itself{}", self.shared.tail())) } else { Ok(()) }
    }
}

/// What a program in a machine reads from.
#[derive(Debug)]
pub(crate) struct Keyboard(UnixStream);

impl Keyboard {
    /// Hands on what is typed: nothing is the end of it.
    ///
    /// # Errors
    /// A machine that has ended.
    pub(crate) fn input(&self, bytes: &[u8]) -> io::Result<()> {
        send(&self.0, &Order::Input(bytes.to_vec()))
    }
}

pub(super) fn send(mut port: &UnixStream, order: &Order) -> io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    port.write_all(&line)
}
