//! A lab's door: who calls there asks one thing at a time, and may be let in.
//!
//! Each call is a JSON document in a line, and so is what is said to it; with an entry come the namespaces' descriptors.

use std::cell::{Cell, RefCell};
use std::future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::rc::Rc;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{Backlog, getsockopt, listen};
use nix::unistd::chdir;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::spawn_local;

use super::ground::Ground;
use crate::linux::node::user::User;
use crate::linux::space::Space;
use crate::linux::{Error, pass};
use crate::plan::Process;
use crate::probe::NsKind;
use crate::topology::NodeName;

/// What a lab is asked at its door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// How each node is.
    Nodes,
    /// To be let into the namespaces of a node.
    Enter(NodeName),
}

/// What is said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// How each node is, in the order of their names.
    Nodes(Vec<Standing>),
    /// What is entered. Descriptors come with it: that of the stage's user namespace, and those of `kinds`.
    Entry {
        /// The node's process.
        process: Box<Process>,
        /// Whom programs run as there.
        user: User,
        /// The kinds of its namespaces, in the order of the descriptors.
        kinds: Vec<NsKind>,
    },
    /// It could not be done.
    Failed(Error),
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The node.
    pub node: NodeName,
    /// Docker's name for the container; none for a machine.
    pub container: Option<String>,
    /// The number of its first process on the machine it runs on; none where that has ended.
    pub pid: Option<u32>,
    /// With which status it ended, as a shell would say it: 128 and more for a signal. None while it runs, or where the
    /// kernel does not say (before 6.15).
    pub status: Option<u8>,
}

/// The door, shut until the caller detaches.
pub(super) struct Door {
    socket: RefCell<Option<OwnedFd>>,
    open: Cell<bool>,
}

impl Door {
    pub(super) const fn new(socket: Option<OwnedFd>) -> Self {
        Self { socket: RefCell::new(socket), open: Cell::new(false) }
    }

    /// Opens it. From now on this process lives on without its caller.
    ///
    /// # Errors
    /// Where there is no door, or nobody has said where it is.
    pub(super) fn open(&self, ground: &Rc<Mutex<Ground>>) -> Result<(), Error> {
        let failed = |e: io::Error| Error::new("detach", "the stage", &e);
        let socket = self.socket.borrow_mut().take();
        let socket = socket.ok_or_else(|| Error::words("detach", "the stage", "it has no door"))?;
        // Whoever calls sees as whose socket it is that of whoever listens: this process (man 7 unix, SO_PEERCRED).
        listen(&socket, Backlog::MAXCONN).map_err(|e| failed(e.into()))?;
        let socket = StdListener::from(socket);
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = UnixListener::from_std(socket).map_err(failed)?;
        spawn_local(accept(socket, Rc::clone(ground)));
        chdir("/").map_err(|e| failed(e.into()))?;
        set_pdeathsig(None::<Signal>).map_err(|e| failed(e.into()))?;
        self.open.set(true);
        Ok(())
    }

    /// Where it is open, the stage ends only by being killed.
    pub(super) async fn until_the_end(&self) {
        if self.open.get() {
            future::pending().await
        }
    }
}

async fn accept(socket: UnixListener, ground: Rc<Mutex<Ground>>) {
    loop {
        match socket.accept().await {
            Ok((caller, _)) if is_outside(&caller) => {
                let ground = Rc::clone(&ground);
                // A caller that goes away in the middle is nobody else's trouble.
                spawn_local(async move { serve(caller, &ground).await });
            }
            Ok(_) => {}
            // Too many open files, or the caller went away: there will be others. Trying again at once is no use.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

/// Whether a caller is no process of the lab's own: those have a number here.
fn is_outside(caller: &UnixStream) -> bool {
    getsockopt(caller, PeerCredentials).is_ok_and(|peer| peer.pid() == 0)
}

async fn serve(caller: UnixStream, ground: &Mutex<Ground>) -> io::Result<()> {
    let mut caller = BufReader::new(caller);
    loop {
        let mut line = String::new();
        if caller.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let (word, spaces) = answer(ground, serde_json::from_str(&line)?).await;
        let fds: Vec<BorrowedFd<'_>> = spaces.iter().map(|space| space.as_fd()).collect();
        let mut line = serde_json::to_vec(&word)?;
        line.push(b'\n');
        say(caller.get_mut(), &line, &fds).await?;
    }
}

/// Sends a line, and descriptors with its first byte.
async fn say(caller: &mut UnixStream, line: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let (first, rest) = line.split_at(1.min(line.len()));
    caller.async_io(Interest::WRITABLE, || pass::send(caller.as_fd(), first, fds)).await?;
    caller.write_all(rest).await
}

async fn answer(ground: &Mutex<Ground>, call: Call) -> (Word, Vec<Rc<Space>>) {
    let ground = ground.lock().await;
    let done = match call {
        Call::Nodes => ground.standings().map(|all| (Word::Nodes(all), Vec::new())),
        Call::Enter(node) => ground.entry(&node).map(|(process, user, spaces)| {
            let kinds = spaces.iter().skip(1).map(|space| space.kind()).collect();
            (Word::Entry { process: Box::new(process), user, kinds }, spaces)
        }),
    };
    done.unwrap_or_else(|error| (Word::Failed(error), Vec::new()))
}
