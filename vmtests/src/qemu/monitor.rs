//! QEMU's monitor: commands and their answers, a JSON document a line (docs/interop/qmp-spec).

use std::io::{self, BufRead, BufReader, IoSlice, Read as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};

/// How long QEMU may take at most for what it does at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The monitor of one QEMU.
#[derive(Debug)]
pub(super) struct Monitor {
    stream: UnixStream,
    said: BufReader<UnixStream>,
}

impl Monitor {
    /// Makes a connection ready for commands, none of which may take longer than this. Memory that is a shared file takes no part in what is saved
    /// (`x-ignore-shared`).
    ///
    /// # Errors
    /// No QEMU behind it, or one that cannot do that.
    pub(super) fn new(stream: UnixStream, limit: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(limit.min(PATIENCE)))?;
        let mut monitor = Self { said: BufReader::new(stream.try_clone()?), stream };
        monitor.run(&json!({ "execute": "qmp_capabilities" }), &[])?;
        let on = |capability| json!({ "capability": capability, "state": true });
        let capabilities = [on("events"), on("x-ignore-shared")];
        let command =
            json!({ "execute": "migrate-set-capabilities", "arguments": { "capabilities": capabilities } });
        monitor.run(&command, &[])?;
        Ok(monitor)
    }

    /// Stops the machine, and says the state of its devices.
    ///
    /// # Errors
    /// What QEMU says against it.
    pub(super) fn save(&mut self) -> io::Result<Vec<u8>> {
        let (mut ours, theirs) = UnixStream::pair()?;
        self.run(&json!({ "execute": "getfd", "arguments": { "fdname": "state" } }), &[theirs.as_raw_fd()])?;
        drop(theirs);
        let reader = thread::spawn(move || {
            let mut state = Vec::new();
            ours.read_to_end(&mut state).map(|_| state)
        });
        self.run(&json!({ "execute": "migrate", "arguments": { "uri": "fd:state" } }), &[])?;
        loop {
            let said = self.hear()?;
            match said.pointer("/data/status").and_then(Value::as_str) {
                Some("completed") => break,
                Some("failed" | "cancelled") => return Err(io::Error::other("QEMU could not save it")),
                Some(_) | None => {}
            }
        }
        reader.join().unwrap_or_else(|_| Err(io::Error::other("the reader of the state panicked")))
    }

    /// Takes the state of devices from a file that QEMU has under this number; the machine runs from then on.
    ///
    /// # Errors
    /// What QEMU says against it.
    pub(super) fn restore(&mut self, state: RawFd) -> io::Result<()> {
        let uri = format!("fd:{state}");
        self.run(&json!({ "execute": "migrate-incoming", "arguments": { "uri": uri } }), &[])
    }

    /// Lets a machine run that was stopped.
    ///
    /// # Errors
    /// What QEMU says against it.
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        self.run(&json!({ "execute": "cont" }), &[])
    }

    fn run(&mut self, command: &Value, files: &[RawFd]) -> io::Result<()> {
        let line = command.to_string() + "\n";
        let rights = [ControlMessage::ScmRights(files)];
        let with = if files.is_empty() { &[][..] } else { &rights[..] };
        sendmsg::<()>(
            self.stream.as_raw_fd(),
            &[IoSlice::new(line.as_bytes())],
            with,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        loop {
            let said = self.hear()?;
            if let Some(why) = said.pointer("/error/desc").and_then(Value::as_str) {
                return Err(io::Error::other(format!("QEMU refuses {}: {why}", command["execute"])));
            }
            if said.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn hear(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        match self.said.read_line(&mut line) {
            Ok(0) => Err(io::Error::other("QEMU's monitor has gone")),
            Ok(_) => Ok(serde_json::from_str(&line)?),
            Err(e) => Err(io::Error::new(e.kind(), format!("QEMU's monitor says nothing: {e}"))),
        }
    }
}
