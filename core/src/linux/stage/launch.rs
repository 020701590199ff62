//! The caller's side: a stage is launched, asked, and ended.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{NAME, ROOT, identity};
use crate::linux::Error;
use crate::linux::machine::path;
use crate::linux::observe::Observed;
use crate::linux::order::Numbered;
use crate::linux::request::{Answer, Request};
use crate::linux::space::Space;
use crate::plan::{Item, Namespace, Object, Plan, PlanOp};
use crate::probe::NsKind;

/// How a stage is launched.
#[derive(Debug)]
pub struct Launch {
    /// The program that is the stage, and every agent on it: one that calls [`entry`](crate::linux::entry()) first.
    pub program: PathBuf,
    /// The first id that an ordinary user has beside root's, of those that /etc/subuid grants.
    pub first_id: u32,
    /// What a stage needs that is to outlive its caller.
    pub lab: Option<Stay>,
    /// Whose rights it has.
    pub rights: Rights,
}

/// Whose rights a stage has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Those of the first user of a user namespace of its own.
    Own,
    /// Root's of this machine, which a Docker Engine needs.
    Root,
}

/// What a stage needs that is to outlive its caller.
#[derive(Debug)]
pub struct Stay {
    /// A Unix socket, for others to call at when the caller has ended. The caller binds it; the stage listens.
    pub door: OwnedFd,
    /// What the stage's processes complain of goes here.
    pub log: OwnedFd,
}

impl Launch {
    /// For a plan, by a program.
    #[must_use]
    pub fn of(program: &Path, plan: &Plan) -> Self {
        let remapped = plan.items.iter().find_map(|Item { object, .. }| {
            let Object::Namespace(Namespace::User { map }) = object else { return None };
            (map.outside > 0).then_some(map.outside)
        });
        let program = program.to_owned();
        Self { program, first_id: remapped.unwrap_or(1), lab: None, rights: Rights::Own }
    }
}

/// A stage, alive as long as this is.
#[derive(Debug)]
pub struct Stage {
    process: Child,
    control: UnixStream,
    answers: BufReader<UnixStream>,
    asked: u64,
}

impl Stage {
    /// Launches a stage and waits until it is ready.
    ///
    /// # Errors
    /// What this machine refuses: namespaces, ids, mounts; with what the user can do.
    pub fn launch(launch: &Launch) -> Result<Self, Error> {
        let failed = |e: io::Error| Error::new("launch", "the stage", &e);
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(&launch.program);
        if launch.rights == Rights::Root {
            command.arg(ROOT);
        }
        command.arg0(NAME).stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).env("PATH", path());
        if let Some(Stay { door, log }) = &launch.lab {
            command.stdout(door.try_clone().map_err(failed)?).stderr(log.try_clone().map_err(failed)?);
        }
        let process = command.spawn().map_err(failed)?;
        // The command holds the other end too: only without it does a dead stage's silence end.
        drop(command);
        let answers = BufReader::new(control.try_clone().map_err(failed)?);
        let mut stage = Self { process, control, answers, asked: 0 };
        stage.greeting()?;
        if launch.rights == Rights::Own {
            identity::give(stage.process.id(), launch.first_id)?;
        }
        stage.control.write_all(b"go\n").map_err(failed)?;
        stage.greeting()?;
        Ok(stage)
    }

    /// What is `/` on the stage, for whoever may look into its process.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.process.id()).into()
    }

    /// The network namespace it is in: what leads out of it is put there.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn network(&self) -> io::Result<Space> {
        Space::open(NsKind::Network, &self.process.id().to_string())
    }

    /// Has something done that is answered by no more than that it is.
    ///
    /// # Errors
    /// Why it could not be.
    pub fn order(&mut self, request: Request) -> Result<(), Error> {
        self.done(request)
    }

    /// Carries operations out.
    ///
    /// # Errors
    /// The first that could not be; those before it stand.
    pub fn apply(&mut self, operations: Vec<PlanOp>) -> Result<(), Error> {
        self.done(Request::Apply(operations))
    }

    /// Says what stands; with all settings among it that a plan has written.
    ///
    /// # Errors
    /// What could not be looked at.
    pub fn observe(&mut self, plan: &Plan) -> Result<Observed, Error> {
        let settings = plan.items.iter().filter_map(|Item { ns, object }| {
            let Object::Sysctl(sysctl) = object else { return None };
            Some((ns.clone(), sysctl.key.clone()))
        });
        match self.ask(Request::Observe(settings.collect()))? {
            Answer::Failed(error) => Err(error),
            Answer::Observed(observed) => Ok(*observed),
            other @ (Answer::Done | Answer::Outcome(_) | Answer::Otherwise(_) | Answer::Unheard(_)) => {
                Err(unasked(&other))
            }
        }
    }

    /// Runs in each container the program that it is there for.
    ///
    /// # Errors
    /// The first that cannot be run.
    pub fn run(&mut self) -> Result<(), Error> {
        self.done(Request::Run)
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// Where the stage has ended.
    pub fn ask(&mut self, request: Request) -> Result<Answer, Error> {
        let mut answers = self.ask_all([request])?;
        answers.pop().ok_or_else(|| Error::words("ask", "the stage", "there was no answer"))
    }

    /// Asks several things at one time; the answers stand in the order of the requests.
    ///
    /// # Errors
    /// Where the stage has ended.
    pub fn ask_all(&mut self, requests: impl IntoIterator<Item = Request>) -> Result<Vec<Answer>, Error> {
        let first = self.asked;
        for what in requests {
            self.send(&Numbered { id: self.asked, what })?;
            self.asked += 1;
        }
        let mut answers = BTreeMap::new();
        while (answers.len() as u64) < self.asked - first {
            let Numbered { id, what } = self.receive()?;
            answers.insert(id, what);
        }
        Ok(answers.into_values().collect())
    }

    /// Lets the stage live on after this process; others call at its door.
    ///
    /// # Errors
    /// Where it cannot: then it has ended, as whatever is dropped.
    pub fn detach(mut self) -> Result<(), Error> {
        self.done(Request::Detach)?;
        // What is dropped is ended. The process between this one and the stage goes when this one does.
        std::mem::forget(self);
        Ok(())
    }

    fn done(&mut self, request: Request) -> Result<(), Error> {
        match self.ask(request)? {
            Answer::Failed(error) => Err(error),
            Answer::Done => Ok(()),
            other
            @ (Answer::Outcome(_) | Answer::Observed(_) | Answer::Otherwise(_) | Answer::Unheard(_)) => {
                Err(unasked(&other))
            }
        }
    }

    fn send(&mut self, request: &Numbered<Request>) -> Result<(), Error> {
        let failed = |e: io::Error| Error::new("ask", "the stage", &e);
        let mut line = serde_json::to_vec(request).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        self.control.write_all(&line).map_err(failed)
    }

    fn receive<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Error> {
        let failed = |e: &io::Error| Error::new("hear", "the stage", e);
        let mut line = String::new();
        match self.answers.read_line(&mut line).map_err(|e| failed(&e))? {
            0 => Err(Error::words("hear", "the stage", "it has ended")),
            _ => serde_json::from_str(&line).map_err(|e| failed(&e.into())),
        }
    }

    /// What the stage says of itself when it has come a step further.
    fn greeting(&mut self) -> Result<(), Error> {
        self.receive::<Result<(), Error>>()?
    }
}

impl Drop for Stage {
    /// Ends the stage and all that is on it, and waits until it has ended.
    fn drop(&mut self) {
        // Either may have happened by itself: an end that has been reached is what is wanted.
        let _ = self.control.shutdown(Shutdown::Both);
        let _ = self.process.wait();
    }
}

fn unasked(answer: &Answer) -> Error {
    Error::words("understand", "the stage", format!("it answered {answer:?}"))
}
