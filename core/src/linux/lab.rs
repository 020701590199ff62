//! A lab: a stage that outlives its caller, and is found again by its name.
//!
//! * [`Lab`]: one that is up, and what it can be asked; [`look`]: it is looked for.
//! * [`raise`], [`end`]: it comes, and it goes.
//! * [`visit`]: a program is run inside.
//! * [`bridges`]: a node's bridges, as the kernel has them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, bind, getsockopt, socket, sockopt::PeerCredentials,
};
use serde::{Deserialize, Serialize};

use super::node::user::User;
use super::stage::door::{Call, Standing, Word};
use super::stage::{Launch, Stage, Stay};
use super::state::{Berth, LabName};
use super::{Error, pass, space::Space};
use crate::plan::{ListedNetwork, ListedPort, Object, Plan, PlanOp, Process};
use crate::probe::NsKind;
use crate::topology::NodeName;

pub mod bridges;
mod end;
mod look;
pub mod visit;

pub use end::end;
pub use look::{Seen, look};

/// How long a lab may take to answer: it does no more than look.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is written down of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The files it was made of.
    pub files: Vec<PathBuf>,
    /// What was made.
    pub plan: Plan,
    /// Each Engine's networks.
    pub networks: BTreeMap<NodeName, Vec<ListedNetwork>>,
    /// Each container's ports.
    pub ports: BTreeMap<NodeName, Vec<ListedPort>>,
}

impl Record {
    /// The processes of its nodes, in the order they are started.
    pub fn nodes(&self) -> impl Iterator<Item = &Process> {
        self.plan
            .items
            .iter()
            .filter_map(|item| if let Object::Process(process) = &item.object { Some(process) } else { None })
    }
}

/// A lab that stands, and that nobody can find yet. All of it ends with this process.
#[derive(Debug)]
pub struct Rising {
    stage: Stage,
    door: OwnedFd,
}

/// Makes all that a plan has, for a lab in a folder.
///
/// # Errors
/// What could not be made; then nothing stands.
pub fn raise(berth: &Berth, launch: Launch, record: &Record) -> Result<Rising, Error> {
    let failed = |e: io::Error| Error::new("make", format!("the door of lab {}", berth.name()), &e);
    let door = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let door = door.map_err(|e| failed(e.into()))?;
    let stay = Stay { door: door.try_clone().map_err(failed)?, log: berth.log()?.into() };
    let mut stage = Stage::launch(&Launch { lab: Some(stay), ..launch })?;
    let programs: BTreeSet<&NodeName> =
        record.nodes().filter(|process| process.program.is_some()).map(|process| &process.node).collect();
    // What a program is there for it does itself.
    let stands = |object: &Object| !matches!(object, Object::Listener(l) if programs.contains(&l.node));
    let items = record.plan.items.iter().filter(|item| stands(&item.object)).cloned();
    stage.apply(items.map(PlanOp::Add).collect())?;
    stage.run()?;
    berth.write(record)?;
    Ok(Rising { stage, door })
}

impl Rising {
    /// Opens the door: from now on the lab is up, whatever becomes of this process.
    ///
    /// # Errors
    /// Where the folder has no room for a socket; then nothing stands.
    pub fn settle(self, berth: &Berth) -> Result<(), Error> {
        let failed = |e: io::Error| Error::new("make", format!("the door of lab {}", berth.name()), &e);
        let address = UnixAddr::new(&berth.socket()).map_err(|e| failed(e.into()))?;
        bind(self.door.as_raw_fd(), &address).map_err(|e| failed(e.into()))?;
        self.stage.detach()
    }
}

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    name: LabName,
    record: Record,
    control: UnixStream,
}

/// The namespaces of a node, and what its process may do.
#[derive(Debug)]
pub struct Entry {
    /// The node's process.
    pub process: Process,
    /// Whom programs run as there.
    pub user: User,
    /// The stage's namespace of users: from there is a right to all others.
    pub stage: Space,
    /// The node's, that of users last.
    pub spaces: Vec<Space>,
}

impl Lab {
    /// The lab in a folder; none where nobody answers there, and nobody will again.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn attach(berth: &Berth) -> Result<Option<Self>, Error> {
        let failed = |e: io::Error| Error::new("attach to", format!("lab {}", berth.name()), &e);
        let control = match UnixStream::connect(berth.socket()) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            control => control.map_err(failed)?,
        };
        control.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Some(Self { name: berth.name().clone(), record: berth.read()?, control }))
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &LabName {
        &self.name
    }

    /// What was written down when it was brought up.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// How each node is, in the order of their names.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn nodes(&self) -> Result<Vec<Standing>, Error> {
        match self.call(&Call::Nodes)? {
            (Word::Nodes(nodes), _) => Ok(nodes),
            (other @ (Word::Entry { .. } | Word::Failed(_)), _) => Err(self.unasked(other)),
        }
    }

    /// The way into a node.
    ///
    /// # Errors
    /// Where there is no such node, or its process has ended.
    pub fn enter(&self, node: &NodeName) -> Result<Entry, Error> {
        match self.call(&Call::Enter(node.clone()))? {
            (Word::Entry { process, user, kinds }, fds) => {
                let mut fds = fds.into_iter();
                let stage = fds.next().map(|fd| Space::of(NsKind::User, fd));
                let stage = stage.ok_or_else(|| self.failed("enter", "it sent nothing to enter by"))?;
                let spaces = kinds.into_iter().zip(fds).map(|(kind, fd)| Space::of(kind, fd)).collect();
                Ok(Entry { process: *process, user, stage, spaces })
            }
            (other @ (Word::Nodes(_) | Word::Failed(_)), _) => Err(self.unasked(other)),
        }
    }

    /// The process that all of it ends with, by its number here.
    fn first_process(&self) -> Result<i32, Error> {
        let peer = getsockopt(&self.control, PeerCredentials);
        peer.map(|peer| peer.pid()).map_err(|e| self.failed("look for", e.desc()))
    }

    fn call(&self, call: &Call) -> Result<(Word, Vec<OwnedFd>), Error> {
        let said = || -> io::Result<_> {
            let mut line = serde_json::to_vec(call)?;
            line.push(b'\n');
            pass::send(self.control.as_fd(), &line, &[])?;
            let parcel = pass::line(|| pass::receive(self.control.as_fd()))?;
            Ok((serde_json::from_slice(&parcel.bytes)?, parcel.fds))
        };
        said().map_err(|e| {
            let late = e.kind() == io::ErrorKind::WouldBlock;
            let ended = e.kind() == io::ErrorKind::UnexpectedEof;
            let cause = if late { "it has not answered for 10 seconds".to_owned() } else { e.to_string() };
            self.failed("ask", if ended { "it has ended" } else { &cause })
        })
    }

    fn unasked(&self, word: Word) -> Error {
        match word {
            Word::Failed(error) => error,
            other @ (Word::Nodes(_) | Word::Entry { .. }) => {
                self.failed("understand", &format!("it answered {other:?}"))
            }
        }
    }

    fn failed(&self, operation: &str, cause: &str) -> Error {
        Error::words(operation, format!("lab {}", self.name), cause)
    }
}
