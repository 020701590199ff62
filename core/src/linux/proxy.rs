//! docker-proxy (cmd/docker-proxy), and the ports that Docker holds without one.

mod stream;
mod udp;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use tokio::net::{TcpListener, UdpSocket};

use super::Error;
use super::service::Running;
use super::socket::{Door, bind, failed};
use super::space::Space;
use crate::addr::Transport;
use crate::plan::{NsName, Proxy, Reservation};

/// Takes what arrives at a port of a namespace to a container, until the answer is dropped. `ns` is what the plan calls
/// the namespace. To be called in tokio's `LocalSet`.
///
/// # Errors
/// Where the port cannot be had, or the kernel does not know the protocol.
pub fn serve(ns: &NsName, space: &Rc<Space>, proxy: &Proxy) -> Result<Running, Error> {
    let Proxy { transport, listen, connect, .. } = *proxy;
    start(space, proxy)
        .map_err(|e| failed(format!("docker-proxy {listen}/{transport} to {connect} in {ns}"), listen, &e))
}

fn start(space: &Rc<Space>, proxy: &Proxy) -> io::Result<Running> {
    let Proxy { transport, listen, connect, answers_by_route } = *proxy;
    let socket = bind(space, transport, listen, Door::Open)?;
    let space = Rc::clone(space);
    Ok(match transport {
        Transport::Tcp | Transport::Sctp => {
            Running::start(stream::serve(space, transport, TcpListener::from_std(socket.into())?, connect))
        }
        Transport::Udp => {
            let front = UdpSocket::from_std(socket.into())?;
            Running::start(udp::serve(space, front, connect, answers_by_route))
        }
    })
}

/// A port that is held, and answers nobody, until this is dropped.
#[derive(Debug)]
pub struct Held {
    _socket: OwnedFd,
}

/// Holds a port of a namespace: the socket is bound, and its filter drops all that comes (`userland-proxy: false`).
/// `ns` is what the plan calls the namespace.
///
/// # Errors
/// Where the port cannot be had, or the kernel does not know the protocol.
pub fn hold(ns: &NsName, space: &Space, held: &Reservation) -> Result<Held, Error> {
    let Reservation { transport, listen } = *held;
    let socket = bind(space, transport, listen, Door::Shut);
    let socket =
        socket.map_err(|e| failed(format!("reservation of {listen}/{transport} in {ns}"), listen, &e))?;
    Ok(Held { _socket: socket.into() })
}
