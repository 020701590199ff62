//! What the stage does for others for as long as they stand: on its one thread, ended by dropping it.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::{AbortHandle, spawn_local};

type Work = Rc<RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>>;

/// A service that runs until this is dropped; then its sockets are closed at once, as when a process is killed.
pub struct Running {
    work: Work,
    task: AbortHandle,
}

impl Running {
    /// Starts a service. It is of tokio's `LocalSet` that this is called in.
    pub(super) fn start(work: impl Future<Output = ()> + 'static) -> Self {
        let work: Work = Rc::new(RefCell::new(Some(Box::pin(work))));
        let shared = Rc::clone(&work);
        let task = spawn_local(std::future::poll_fn(move |cx| {
            shared.borrow_mut().as_mut().map_or(Poll::Ready(()), |work| work.as_mut().poll(cx))
        }));
        Self { work, task: task.abort_handle() }
    }
}

impl Drop for Running {
    /// An aborted task goes when it is its turn again, and would keep its ports until then: its work is taken first.
    fn drop(&mut self) {
        let work = self.work.borrow_mut().take();
        drop(work);
        self.task.abort();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// Serves each client that comes, all of them side by side, for ever. `next` is given up and called again whenever a
/// client is done: nothing may be lost by that.
pub(super) async fn each<C, W: Future<Output = ()>>(
    mut next: impl AsyncFnMut() -> C,
    serve: impl Fn(C) -> W,
) {
    let mut clients = FuturesUnordered::new();
    loop {
        tokio::select! {
            client = next() => clients.push(serve(client)),
            Some(()) = clients.next() => {}
        }
    }
}
