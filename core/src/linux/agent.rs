//! A node's process as probes know it: it listens, asks, and looks names up, with real sockets, in the namespaces it is
//! in.
//!
//! * `listen`, `datagram`: sockets that answer questions, and browsers.
//! * `ask`, `echo`: questions and what comes of them; `told`: what ICMP errors mean.
//! * `raw`, `frame`, `dance`: questions in crafted frames, their bytes, and TCP's part in them.
//! * `resolve`: names, as libc has them.
//! * `run`: the program that a container is there for.
//! * `words`: what askers and listeners say to each other; `socket`: their options.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use self::ask::Question;
use super::Error;
use super::order::{Numbered, Order, Reply};
use crate::addr::{MacAddr, Transport};
use crate::plan::Listener;
use crate::probe::{Ask, Outcome, Probe, Target};
use crate::topology::NodeName;

mod ask;
mod dance;
mod datagram;
mod echo;
mod frame;
mod listen;
mod raw;
mod resolve;
mod run;
mod socket;
mod told;
pub(in crate::linux) mod words;

/// How long a line is at most, in bytes.
const LINE_BYTES: usize = 64 * 1024;
/// How many questions are under way at once; orders that follow wait.
const QUESTIONS: usize = 256;
/// How many replies wait for the stage to read them.
const REPLIES: usize = 64;

/// Carries out what the stage orders, many orders at a time, until it closes the socket; then nothing is left of them.
///
/// It needs a tokio runtime with I/O and time, of whatever kind.
///
/// # Errors
/// Where the socket fails.
pub async fn serve(control: UnixStream, node: &NodeName) -> io::Result<()> {
    let (read, write) = control.into_split();
    let (replies, said) = mpsc::channel(REPLIES);
    let mut tasks = JoinSet::new();
    tasks.spawn(tell(write, said));
    let mut agent = Agent {
        node: node.clone(),
        ears: BTreeMap::new(),
        questions: Arc::new(Semaphore::new(QUESTIONS)),
        tasks,
        replies,
    };
    agent.hear(read).await
}

/// A reply to an order.
type Numbering = Numbered<Reply>;

/// A listener's protocol, address and port.
type Ear = (Transport, Option<IpAddr>, u16);

/// What is under way.
struct Agent {
    node: NodeName,
    /// What listens.
    ears: BTreeMap<Ear, JoinSet<()>>,
    questions: Arc<Semaphore>,
    tasks: JoinSet<()>,
    replies: mpsc::Sender<Numbering>,
}

impl Agent {
    /// Reads orders until there are no more.
    async fn hear(&mut self, read: OwnedReadHalf) -> io::Result<()> {
        let mut read = BufReader::new(read);
        let mut line = Vec::new();
        loop {
            line.clear();
            let whole = match next_line(&mut read, &mut line).await? {
                Line::End => return Ok(()),
                Line::Whole => serde_json::from_slice(&line).map_err(|error| error.to_string()),
                Line::TooLong => Err(format!("longer than {LINE_BYTES} bytes")),
            };
            match whole {
                Ok(order) => self.obey(order).await,
                Err(cause) => {
                    let error = Error::words("read", "an order", cause);
                    self.reply(number_of(&line), Reply::Failed(error)).await;
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    async fn obey(&mut self, Numbered { id, what }: Numbered<Order>) {
        match what {
            Order::Listen(listener) => {
                let reply = self.listen(&listener);
                self.reply(id, reply).await;
            }
            Order::Unlisten(listener) => {
                let reply = self.unlisten(&listener).await;
                self.reply(id, reply).await;
            }
            Order::Ask { nonce, probe, via } => {
                let node = self.node.clone();
                self.later(id, async move {
                    put(nonce, &probe, via, &node).await.map_or_else(Reply::Failed, Reply::Outcome)
                })
                .await;
            }
            Order::Run(program) => {
                let reply = match run::run(&program, &self.node) {
                    Ok(end) => {
                        self.tasks.spawn(end);
                        Reply::Done
                    }
                    Err(error) => Reply::Failed(error),
                };
                self.reply(id, reply).await;
            }
            Order::Resolve { name, family } => {
                self.later(id, async move {
                    resolve::resolve(&name, family).await.map_or_else(Reply::Failed, Reply::Addresses)
                })
                .await;
            }
        }
    }

    fn listen(&mut self, listener: &Listener) -> Reply {
        match listen::serve(listener, &self.node) {
            Ok(tasks) => {
                self.ears.insert(ear(listener), tasks);
                Reply::Done
            }
            Err(error) => Reply::Failed(error),
        }
    }

    /// Closes a listener and its connections; they are closed when this returns.
    async fn unlisten(&mut self, listener: &Listener) -> Reply {
        match self.ears.remove(&ear(listener)) {
            Some(mut tasks) => {
                tasks.shutdown().await;
                Reply::Done
            }
            None => {
                let name = format!("listener {}/{} of {}", listener.port, listener.transport, listener.node);
                Reply::Failed(Error::words("take away", name, "it does not listen"))
            }
        }
    }

    /// Carries something out beside what follows.
    async fn later(&mut self, id: u64, work: impl Future<Output = Reply> + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.questions).acquire_owned().await else { return };
        let replies = self.replies.clone();
        self.tasks.spawn(async move {
            let what = work.await;
            drop(permit);
            // Where nobody hears it any more the stage is gone.
            let _ = replies.send(Numbered { id, what }).await;
        });
    }

    async fn reply(&self, id: u64, what: Reply) {
        // Where nobody hears it any more the stage is gone.
        let _ = self.replies.send(Numbered { id, what }).await;
    }
}

/// Asks a question; a name is resolved first, and its first address is asked.
async fn put(nonce: u64, probe: &Probe, via: Option<MacAddr>, node: &NodeName) -> Result<Outcome, Error> {
    let address = match &probe.target {
        Target::Address(address) => Some(*address),
        Target::Name(name) => resolve::resolve(name, probe.family).await?.first().copied(),
    };
    let Some(address) = address else { return Ok(Outcome::UnknownName) };
    let question = |port| Question { nonce, to: SocketAddr::new(address, port), options: probe.options };
    match probe.ask {
        what @ Ask::Port(_, port) if probe.options.raw => raw::ask(what, question(port), via, node).await,
        what @ Ask::Echo if probe.options.raw => raw::ask(what, question(0), via, node).await,
        Ask::Port(transport, port) => ask::ask(transport, question(port)).await,
        Ask::Echo => echo::echo(question(0), node).await,
    }
}

const fn ear(listener: &Listener) -> Ear {
    (listener.transport, listener.address, listener.port)
}

/// Writes replies down, a line each.
async fn tell(mut write: OwnedWriteHalf, mut said: mpsc::Receiver<Numbering>) {
    while let Some(reply) = said.recv().await {
        let Ok(mut line) = serde_json::to_vec(&reply) else { continue };
        line.push(b'\n');
        if write.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// How a line ended.
enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads a line, and of one that is too long only its beginning.
async fn next_line(read: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<Line> {
    let mut length = 0;
    loop {
        let piece = read.fill_buf().await?;
        if piece.is_empty() {
            return Ok(Line::End);
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(piece.len(), |at| at + 1);
        let text = piece.get(..end.unwrap_or(taken)).unwrap_or_default();
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend(text.iter().take(room));
        length += text.len();
        read.consume(taken);
        if end.is_some() {
            return Ok(if length > LINE_BYTES { Line::TooLong } else { Line::Whole });
        }
    }
}

/// The number of an order that cannot be read otherwise; 0 where it has none.
fn number_of(line: &[u8]) -> u64 {
    let order: Option<Value> = serde_json::from_slice(line).ok();
    order.and_then(|order| order.get("id").and_then(Value::as_u64)).unwrap_or(0)
}
