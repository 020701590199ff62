//! A packet that begins here, or goes on: OUTPUT, POSTROUTING, fragments, and down to a device (net/ipv4/ip_output.c).

use std::net::IpAddr;

use seatrial_core::addr::MacAddr;
use seatrial_core::rules::{AddrType, Hook};
use thiserror::Error;

use super::fib::Flow;
use super::hook::Devices;
use super::icmp::Reason;
use super::neighbour::Then;
use super::route::Path;
use crate::arena::{DevId, NsId};
use crate::packet::{Checksum, L4, Packet, Payload};
use crate::skb::{Meta, Skb};
use crate::trace::{Course, DropReason, Event as Happened};
use crate::world::World;

/// Why a packet cannot even begin, in the words of the system call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SendError {
    /// ENETUNREACH.
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// EADDRNOTAVAIL.
    #[error("{0} is no address of this machine")]
    NotOurs(IpAddr),
    /// EADDRNOTAVAIL: the route has no source address of the family.
    #[error("no address to send from to {0}")]
    NoSource(IpAddr),
    /// EINVAL.
    #[error("{0} is a loopback address, and {1} has route_localnet=0")]
    Localnet(IpAddr, String),
    /// EACCES.
    #[error("{0} is a broadcast address")]
    Broadcast(IpAddr),
    /// EMSGSIZE.
    #[error("longer than the MTU, {0}")]
    TooBig(u32),
}

impl SendError {
    /// The error's number, as the drop's reason.
    pub(crate) const fn errno(&self) -> DropReason {
        match self {
            Self::NoRoute(_) => DropReason::Enetunreach,
            Self::NotOurs(_) | Self::NoSource(_) => DropReason::Eaddrnotavail,
            Self::Localnet(..) => DropReason::Einval,
            Self::Broadcast(_) => DropReason::Eacces,
            Self::TooBig(_) => DropReason::Emsgsize,
        }
    }
}

impl World {
    /// The route of a packet that begins here, and the source it has (`ip_route_output_key`).
    pub(crate) fn route_output(&self, ns: NsId, flow: &Flow<'_>) -> Result<(Path, IpAddr), SendError> {
        let stack = &self.stacks[ns];
        let mut path = self.route(ns, flow).ok_or(SendError::NoRoute(flow.dst))?;
        if flow.dst.is_multicast() {
            // Whatever the route says, a group is on the link (`ip_route_output_key`: RTN_MULTICAST).
            (path.kind, path.via) = (AddrType::Multicast, None);
        }
        let local = path.kind == AddrType::Local;
        let chosen = || {
            let own =
                if local { Some(flow.dst) } else { stack.select_source(path.dev, path.next_hop(flow.dst)) };
            path.source.or(own)
        };
        let src = flow.src.or_else(chosen).ok_or(SendError::NoSource(flow.dst))?;
        let conf = stack.conf(path.dev);
        let localnet = conf.route_localnet || stack.settings.all.route_localnet;
        if src.is_loopback() && !local && !localnet {
            return Err(SendError::Localnet(src, self.devices[path.dev].name.to_string()));
        }
        Ok((path, src))
    }

    /// Sends a packet that begins here: OUTPUT, and routed anew where that changed where it goes (`ip_local_out`, H9).
    pub(crate) fn local_out(&mut self, ns: NsId, skb: &mut Skb, mut path: Path) {
        let (dst, mark) = (skb.packet.dst, skb.packet.mark);
        self.note_route(ns, path.dev, skb, &path);
        if !self.hook(ns, Hook::Output, skb, None, Some(path.dev)) {
            return;
        }
        if (skb.packet.dst, skb.packet.mark) != (dst, mark) {
            // A source that is not ours is left alone, and then has no part in the choice (`ip_route_me_harder`).
            match self.route_output(ns, &Flow::of(&skb.packet)) {
                Ok((again, _)) => path = again,
                Err(error) => {
                    return self.note_drop(ns, Some(path.dev), skb, DropReason::NetfilterDrop, |_| {
                        format!("OUTPUT sent it elsewhere, and then: {error}")
                    });
                }
            }
            self.note_route(ns, path.dev, skb, &path);
        }
        self.ip_output(ns, skb, None, path);
    }

    /// POSTROUTING, which sees the device that a forwarded packet came in by (since 5.7), and down to the device
    /// (`ip_output`).
    pub(crate) fn ip_output(&mut self, ns: NsId, skb: &mut Skb, input: Option<DevId>, path: Path) {
        let next_hop = path.next_hop(skb.packet.dst);
        let by = Devices { input, output: Some(path.dev), port: None, next_hop: Some(next_hop) };
        if !self.hook_to(ns, Hook::Postrouting, skb, &by) {
            return;
        }
        let mtu = self.devices[path.dev].mtu;
        if skb.wire_len() > mtu {
            if skb.packet.df {
                let why = |w: &Self| format!("longer than the MTU of {}, {mtu}", w.devices[path.dev].name);
                self.note_drop(ns, Some(path.dev), skb, DropReason::PktTooBig, why);
                return self.icmp_error(ns, skb, Reason::TooBig { mtu });
            }
            skb.meta.piece = Some(mtu);
        }
        self.link_output(ns, path.dev, next_hop, path.kind, skb);
    }

    fn link_output(&mut self, ns: NsId, dev: DevId, next_hop: IpAddr, kind: AddrType, skb: &mut Skb) {
        let mac = self.devices[dev].mac;
        if self.devices[dev].no_arp() {
            // Nobody is asked: the destination is the device itself.
            self.transmit(dev, skb.framed(mac, mac));
        } else if matches!(kind, AddrType::Broadcast | AddrType::Multicast) {
            self.transmit(dev, skb.framed(mac, MacAddr::BROADCAST));
        } else {
            self.neighbour_output(ns, dev, next_hop, skb, Then::Transmit);
        }
    }

    /// A packet of the kernel's own, or a socket's: by the best route, from the source it names or the best one.
    pub(crate) fn send(&mut self, ns: NsId, skb: &mut Skb, src: Option<IpAddr>) -> Result<(), SendError> {
        let flow = Flow { src, ..Flow::of(&skb.packet) };
        let (path, src) = self.route_output(ns, &flow)?;
        skb.packet.src = src;
        self.local_out(ns, skb, path);
        Ok(())
    }

    /// A packet that begins here, with a number of its own.
    pub(crate) fn fresh(&mut self, packet: Packet) -> Skb {
        self.flights += 1;
        Skb { packet, meta: Meta::new(self.flights) }
    }

    /// Notes the route of a packet that begins here, as `ip route get DST` says it.
    fn note_route(&mut self, ns: NsId, dev: DevId, skb: &Skb, path: &Path) {
        self.note(ns, Some(dev), skb, |w| w.course(path, skb, false));
    }

    /// Notes the route of a packet that is passed on, as `ip route get DST from SRC iif DEV` says it.
    pub(crate) fn note_passage(&mut self, ns: NsId, dev: DevId, skb: &Skb, path: &Path) {
        self.note(ns, Some(dev), skb, |w| w.course(path, skb, true));
    }

    fn course(&self, path: &Path, skb: &Skb, passes: bool) -> Happened {
        let Packet { src, dst, .. } = skb.packet;
        let (local, via, dev) = (path.kind == AddrType::Local, path.via, self.devices[path.dev].name.clone());
        Happened::Route { text: Course { dst, src, passes, local, via, dev } }
    }
}

/// A bare packet, for its maker to fill in.
pub(crate) const fn packet(src: IpAddr, dst: IpAddr, ttl: u8, l4: L4) -> Packet {
    let (payload, checksum) = (Payload::Empty, Checksum::Good);
    Packet { src, dst, ttl, df: false, mark: 0, size: 0, l4, payload, checksum }
}
