//! TCP (`tcp_proxy_linux.go`) and SCTP (`sctp_proxy_linux.go`): a connection to the container for each client.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use socket2::SockRef;
use tokio::io::{AsyncWriteExt, BufReader, copy, copy_buf};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::addr::Transport;
use crate::linux::service::each;
use crate::linux::socket::{accept, connect, tune};
use crate::linux::space::Space;

/// What is read of an SCTP association at a time (Go's `io.Copy`): a message up to here stays one.
const MESSAGE: usize = 32 * 1024;

/// Serves the clients of a listening socket.
pub(super) async fn serve(space: Rc<Space>, transport: Transport, listener: TcpListener, to: SocketAddr) {
    each(async || accept(&listener).await, |client| serve_client(&space, transport, client, to)).await;
}

/// A client whose container cannot be reached is sent away: it was accepted, and is closed.
async fn serve_client(space: &Space, transport: Transport, mut client: TcpStream, to: SocketAddr) {
    tune(&client, transport);
    let Ok(mut container) = connect(space, transport, to).await else { return };
    let (from_client, to_client) = client.split();
    let (from_container, to_container) = container.split();
    match transport {
        // Each direction ends for itself: half-closed connections stay so.
        Transport::Tcp | Transport::Udp => {
            tokio::join!(carry(from_client, to_container), carry(from_container, to_client));
        }
        // SCTP knows no half-closed association (RFC 9260 §1.5.1): the first end is the end.
        Transport::Sctp => {
            tokio::select! {
                _ = carry_messages(from_client, to_container) => {}
                _ = carry_messages(from_container, to_client) => {}
            }
        }
    }
}

/// Copies until one side ends or breaks, and tells both: docker-proxy reads no more, and says that it writes no more.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
    // Broken or ended is the same to docker-proxy, here and below.
    let _ = copy(&mut from, &mut to).await;
    let _ = SockRef::from(from.as_ref()).shutdown(Shutdown::Read);
    let _ = to.shutdown().await;
}

async fn carry_messages(from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<u64> {
    copy_buf(&mut BufReader::with_capacity(MESSAGE, from), &mut to).await
}
