//! Questions that others are asked: each nameserver in turn, as they came, and the answer as it came back.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::{self, Over, Said};
use super::{ADDRESS, read, write};
use crate::addr::Transport;
use crate::linux::socket::{connect, receive, towards};
use crate::linux::space::Space;
use crate::plan::Upstream;

/// How long a nameserver is waited for, and how long a question for its turn (`extIOTimeout`).
const PATIENCE: Duration = Duration::from_secs(4);
/// How many nameservers are asked (`maxExtDNS`).
const NAMESERVERS: usize = 3;
/// How many questions are asked at the same time (`maxConcurrent`).
const AT_ONCE: usize = 1024;
/// Where nameservers listen.
const PORT: u16 = 53;

/// Asks nameservers, from the container's namespace or from its host's.
#[derive(Debug)]
pub(super) struct Forwarder {
    /// The container's namespace.
    pub(super) own: Rc<Space>,
    host: Rc<Space>,
    turns: Semaphore,
}

impl Forwarder {
    pub(super) fn new(own: Rc<Space>, host: Rc<Space>) -> Self {
        Self { own, host, turns: Semaphore::new(AT_ONCE) }
    }

    /// The first answer that is one; a failure where there is none.
    pub(super) async fn forward(
        &self,
        upstream: &[Upstream],
        question: &[u8],
        over: Over,
    ) -> Option<Vec<u8>> {
        for server in upstream.iter().filter(|server| !is_itself(server)).take(NAMESERVERS) {
            let Ok(turn) = timeout(PATIENCE, self.turns.acquire()).await else {
                return answer::refused(question);
            };
            let answer = self.ask(server, question, over).await;
            drop(turn);
            if let Ok(answer) = answer {
                return Some(answer);
            }
        }
        answer::failed(question)
    }

    /// Asks by the protocol that it was asked by. Any error is a reason to ask the next.
    async fn ask(&self, server: &Upstream, question: &[u8], over: Over) -> io::Result<Vec<u8>> {
        let space = if server.from_host { &self.host } else { &self.own };
        let to = SocketAddr::from((server.address, PORT));
        match over {
            Over::Udp => timeout(PATIENCE, ask_datagram(space, to, question)).await?,
            Over::Tcp => {
                let mut stream = timeout(PATIENCE, connect(space, Transport::Tcp, to)).await??;
                timeout(PATIENCE, async {
                    write(&mut stream, question).await?;
                    let answer = read(&mut stream).await?;
                    match answer::said(question, &answer) {
                        Said::Something => Ok(answer),
                        Said::Failure | Said::Aside => Err(io::ErrorKind::InvalidData.into()),
                    }
                })
                .await?
            }
        }
    }
}

/// Its own address is never a nameserver: it would ask itself for ever (`filterExtServers`).
fn is_itself(server: &Upstream) -> bool {
    !server.from_host && server.address == IpAddr::V4(ADDRESS)
}

async fn ask_datagram(space: &Space, to: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = towards(space, to)?;
    socket.send(question).await?;
    loop {
        let answer = receive(&socket).await?;
        match answer::said(question, &answer) {
            Said::Something => return Ok(answer),
            Said::Failure => return Err(io::ErrorKind::InvalidData.into()),
            Said::Aside => {}
        }
    }
}
