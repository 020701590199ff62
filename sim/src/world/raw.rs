//! Crafted frames: a packet socket on a machine of the LAN, that sends what no routing table would.

use std::net::IpAddr;

use seatrial_core::addr::MacAddr;
use seatrial_core::topology::NodeName;

use crate::arena::{DevId, NsId};
use crate::device::Kind;
use crate::packet::{Icmp, L4, Packet};
use crate::skb::{Frame, Skb};
use crate::stack::socket::{SockId, Sort, Wake};
use crate::world::World;

impl World {
    /// The device that a crafted frame for `target` leaves by, and the MAC address it is sent to: that of the machine
    /// on the same link that has the address, and else of the Docker host, who may be talked into passing it on.
    pub(crate) fn raw_path(&self, ns: NsId, target: IpAddr) -> Option<(DevId, MacAddr)> {
        let dev = self.stacks[ns].links.values().copied().find(|d| !self.devices[*d].is_loopback())?;
        let others = self.on_link(dev);
        let has = |d: &&DevId| {
            !target.is_loopback()
                && self.stacks[self.devices[**d].ns].addresses_of(**d).any(|a| a.addr() == target)
        };
        let host = |d: &&DevId| self.stacks[self.devices[**d].ns].name.as_str() == NodeName::host().as_str();
        let to = others.iter().find(has).or_else(|| others.iter().find(host)).or_else(|| others.first())?;
        Some((dev, self.devices[*to].mac))
    }

    /// The devices on the other cables of the switch that a device is plugged into.
    fn on_link(&self, dev: DevId) -> Vec<DevId> {
        let Some(bridge) = self.peer(dev).and_then(|port| self.bridge_of(port)) else {
            return self.peer(dev).into_iter().collect();
        };
        let ports = self.devices.iter().filter(|(id, _)| self.bridge_of(*id) == Some(bridge));
        ports.filter_map(|(id, _)| self.peer(id)).filter(|d| *d != dev).collect()
    }

    fn peer(&self, dev: DevId) -> Option<DevId> {
        match self.devices[dev].kind {
            Kind::Veth { peer } => peer.filter(|p| self.devices[*p].alive),
            Kind::Loopback | Kind::Bridge(_) | Kind::Macvlan { .. } => None,
            Kind::Ipvlan { .. } | Kind::Vlan { .. } | Kind::Dummy => None,
        }
    }

    /// Sends a crafted packet: no route, no rule, no neighbour.
    pub(crate) fn raw_out(&mut self, ns: NsId, raw: Option<(DevId, MacAddr)>, skb: &mut Skb) {
        let Some((dev, to)) = raw else { return };
        debug_assert_eq!(self.devices[dev].ns, ns);
        let own = self.devices[dev].mac;
        self.transmit(dev, skb.framed(own, to));
    }

    /// Whether a packet socket takes a frame: it sees every one that reaches its device, and keeps its answers to
    /// itself, so that the machine's own stack does not reset a connection it knows nothing of.
    #[inline]
    pub(crate) fn tapped(&mut self, dev: DevId, frame: &Frame<'_>) -> bool {
        match (&self.question, frame) {
            (Some(question), Frame::Ip(skb)) if question.raw == Some(dev) => {
                let (ns, sock) = (question.ns, question.sock);
                self.tapped_by(ns, dev, sock, skb)
            }
            (Some(_) | None, Frame::Ip(_) | Frame::Neighbour(_)) => false,
        }
    }

    fn tapped_by(&mut self, ns: NsId, dev: DevId, sock: SockId, skb: &Skb) -> bool {
        let Some(socket) = self.stacks[ns].sockets.get(sock) else { return false };
        let (local, remote) = ends(&skb.packet);
        let mine = socket.address == Some(local.0)
            && socket.port == local.1
            && socket.remote.is_some_and(|r| r.1 == remote.1 || socket.sort == Sort::Echo);
        if mine {
            self.tap(ns, dev, sock, skb);
        }
        mine
    }

    fn tap(&mut self, ns: NsId, dev: DevId, sock: SockId, skb: &Skb) {
        match skb.packet.l4 {
            L4::Tcp(tcp) => {
                self.note_deliver(ns, dev, skb, sock);
                self.tcp_segment(ns, sock, skb, tcp);
            }
            L4::Udp(_) | L4::Sctp(_) | L4::Icmp(Icmp::Echo { .. }) => {
                self.datagram_deliver(ns, dev, skb, sock)
            }
            L4::Icmp(Icmp::Error { kind, code, .. }) => {
                self.note_deliver(ns, dev, skb, sock);
                let told = crate::stack::icmp::Told::by(skb.packet.family(), kind, code);
                self.wake(ns, sock, Wake::Told(told));
            }
            L4::Icmp(Icmp::Other { .. }) | L4::Other(_) => {}
        }
    }
}

/// Whose packet it is, seen from its receiver: an error's is that of the packet it quotes.
fn ends(packet: &Packet) -> ((IpAddr, u16), (IpAddr, u16)) {
    match packet.l4 {
        L4::Icmp(Icmp::Error { quoted, .. }) => {
            ((quoted.src, quoted.ports.src), (quoted.dst, quoted.ports.dst))
        }
        L4::Icmp(Icmp::Echo { id, .. }) => ((packet.dst, id), (packet.src, id)),
        L4::Tcp(_) | L4::Udp(_) | L4::Sctp(_) | L4::Icmp(Icmp::Other { .. }) | L4::Other(_) => {
            let ports = packet.ports().map_or((0, 0), |p| (p.dst, p.src));
            ((packet.dst, ports.0), (packet.src, ports.1))
        }
    }
}
