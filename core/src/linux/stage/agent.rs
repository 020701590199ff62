//! An agent as the stage sees it: orders go out, replies come in, in any order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, oneshot};
use tokio::task::spawn_local;

use crate::linux::Error;
use crate::linux::order::{Numbered, Order, Reply};
use crate::topology::NodeName;

/// Who waits for which reply; none once the agent has ended.
type Waiting = Rc<RefCell<Option<BTreeMap<u64, oneshot::Sender<Reply>>>>>;

/// A node's agent.
#[derive(Debug)]
pub(super) struct Agent {
    node: NodeName,
    orders: Mutex<(u64, OwnedWriteHalf)>,
    waiting: Waiting,
}

impl Agent {
    /// The agent at the other end of a socket.
    pub(super) fn new(node: &NodeName, control: UnixStream) -> Self {
        let (replies, orders) = control.into_split();
        let waiting: Waiting = Rc::new(RefCell::new(Some(BTreeMap::new())));
        spawn_local(hear(replies, Rc::clone(&waiting)));
        Self { node: node.clone(), orders: Mutex::new((0, orders)), waiting }
    }

    /// Gives an order and waits for the reply.
    ///
    /// # Errors
    /// Where the agent has ended, or could not do it.
    pub(super) async fn order(&self, order: Order) -> Result<Reply, Error> {
        match self.send(order).await?.await {
            Ok(Reply::Failed(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(_) => Err(self.ended()),
        }
    }

    async fn send(&self, order: Order) -> Result<oneshot::Receiver<Reply>, Error> {
        let mut orders = self.orders.lock().await;
        let (next, stream) = &mut *orders;
        let (reply, waits) = oneshot::channel();
        match self.waiting.borrow_mut().as_mut() {
            Some(waiting) => waiting.insert(*next, reply),
            None => return Err(self.ended()),
        };
        let failed =
            |e: std::io::Error| Error::new("give an order to", format!("the agent of {}", self.node), &e);
        let mut line =
            serde_json::to_vec(&Numbered { id: *next, what: order }).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        *next += 1;
        stream.write_all(&line).await.map_err(failed)?;
        Ok(waits)
    }

    fn ended(&self) -> Error {
        Error::words("ask", self.node.as_str(), "its process has ended")
    }
}

/// Hands each reply to whoever waits for it, until the agent ends.
async fn hear(replies: OwnedReadHalf, waiting: Waiting) {
    let mut lines = BufReader::new(replies).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(Numbered { id, what }) = serde_json::from_str::<Numbered<Reply>>(&line) else { break };
        let waits = waiting.borrow_mut().as_mut().and_then(|waiting| waiting.remove(&id));
        // Whoever asked may have gone.
        let _ = waits.map(|waits| waits.send(what));
    }
    *waiting.borrow_mut() = None;
}
