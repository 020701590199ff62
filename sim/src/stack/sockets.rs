//! The sockets of a namespace: by number, and by what they are bound to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use seatrial_core::addr::Family;

use super::socket::{End, SockId, Socket, Sort};

/// Sockets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sockets {
    all: IndexMap<SockId, Socket, FxBuildHasher>,
    /// Which of them have a port ([`key`]).
    by_port: BTreeSet<u64>,
}

impl Sockets {
    pub(crate) fn insert(&mut self, id: SockId, socket: Socket) {
        self.by_port.insert(key(socket.sort, socket.port, id));
        self.all.insert(id, socket);
    }

    pub(crate) fn get(&self, id: SockId) -> Option<&Socket> {
        self.all.get(&id)
    }

    /// To change anything but what it is bound to: [`Sockets::bind`] does that.
    pub(crate) fn get_mut(&mut self, id: SockId) -> Option<&mut Socket> {
        self.all.get_mut(&id)
    }

    /// Binds a socket to an address and a port, and connects it.
    pub(crate) fn bind(&mut self, id: SockId, local: End, remote: End) {
        let Some(socket) = self.all.get_mut(&id) else { return };
        let (before, after) = (key(socket.sort, socket.port, id), key(socket.sort, local.1, id));
        if before != after {
            self.by_port.remove(&before);
            self.by_port.insert(after);
        }
        (socket.address, socket.port, socket.remote) = (Some(local.0), local.1, Some(remote));
        socket.family = Some(Family::of(remote.0));
    }

    pub(crate) fn remove(&mut self, id: SockId) {
        if let Some(socket) = self.all.swap_remove(&id) {
            self.by_port.remove(&key(socket.sort, socket.port, id));
        }
    }

    /// Closes those of which `goes` holds.
    pub(crate) fn remove_all(&mut self, goes: impl Fn(&Socket) -> bool) {
        let gone: Vec<SockId> = self.all.iter().filter(|(_, s)| goes(s)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.remove(id));
    }

    /// Those with a port, oldest first.
    fn on(&self, sort: Sort, port: u16) -> impl Iterator<Item = (SockId, &Socket)> {
        let range = key(sort, port, SockId(u32::MIN))..=key(sort, port, SockId(u32::MAX));
        let id = |key: &u64| SockId(*key as u32);
        self.by_port.range(range).filter_map(move |key| Some((id(key), self.all.get(&id(key))?)))
    }

    /// Whether any socket has a port.
    pub(crate) fn has(&self, sort: Sort, port: u16) -> bool {
        self.on(sort, port).next().is_some()
    }

    /// The socket that gets a packet for `local` from `remote`: the best fit, and of equals the oldest.
    pub(crate) fn find(&self, sort: Sort, local: End, remote: End) -> Option<SockId> {
        let on = self.on(sort, local.1);
        let scored = on.filter_map(|(id, socket)| Some((socket.score(sort, local, remote)?, id)));
        scored.max_by_key(|(score, id)| (*score, std::cmp::Reverse(*id))).map(|(_, id)| id)
    }

    /// The socket that is bound as `like` is, and to nobody connected.
    pub(crate) fn bound(&self, like: &Socket) -> Option<SockId> {
        let key = |s: &Socket| -> (_, Option<IpAddr>, _, _) { (s.owner, s.address, s.family, s.remote) };
        self.on(like.sort, like.port).find(|(_, socket)| key(socket) == key(like)).map(|(id, _)| id)
    }
}

/// A socket by what it is looked for: in the order of sorts, ports and ages.
const fn key(sort: Sort, port: u16, SockId(id): SockId) -> u64 {
    (sort as u64) << 48 | (port as u64) << 32 | id as u64
}
