//! The bytes of a frame: Ethernet, ARP, IP and its fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header,
    Ipv6FragmentHeader, Ipv6Header,
};
use seatrial_core::addr::MacAddr;

use super::transport;
use crate::packet::discovery::{Discovery, LINK_HOPS};
use crate::packet::{Checksum, NeighbourMessage, Packet};
use crate::skb::{Framed, Meta, Skb, Spoken};

/// Fragments but the last are multiples of this, in bytes.
const UNIT: usize = 8;
const VLAN_TAG: u16 = 0x8100;
/// What is wrong in a packet that a wire marred.
const WRONG_BIT: u8 = 1;

/// The bytes of a frame; of a packet in pieces, those of each.
pub(super) fn frames(framed: &Framed, payload: Vec<u8>) -> Vec<Vec<u8>> {
    let (kind, bodies) = match framed {
        Framed::Ip(Skb { packet, meta }) => (ether_type(packet.src), packets(packet, meta, payload)),
        Framed::Neighbour(Spoken { message, meta }) => match message.discovery(meta.dst) {
            Some(of) => (EtherType::IPV6, vec![discovery(message, &of)]),
            None => (EtherType::ARP, vec![arp(meta.dst, message)]),
        },
    };
    let header = ethernet(framed.meta(), kind);
    bodies.iter().map(|body| [header.as_slice(), body].concat()).collect()
}

const fn ether_type(address: IpAddr) -> EtherType {
    match address {
        IpAddr::V4(_) => EtherType::IPV4,
        IpAddr::V6(_) => EtherType::IPV6,
    }
}

const fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

const fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        // No message has one of each.
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

fn ethernet(meta: &Meta, kind: EtherType) -> Vec<u8> {
    let mut header = [meta.dst.0, meta.src.0].concat();
    if let Some(id) = meta.vlan {
        header.extend(VLAN_TAG.to_be_bytes());
        header.extend(id.to_be_bytes());
    }
    header.extend(kind.0.to_be_bytes());
    header
}

fn arp(dst: MacAddr, message: &NeighbourMessage) -> Vec<u8> {
    let (operation, target_mac) = match message.request {
        true if dst.is_multicast() => (ArpOperation::REQUEST, MacAddr::ZERO),
        true => (ArpOperation::REQUEST, dst),
        false => (ArpOperation::REPLY, dst),
    };
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: message.sender_mac.0,
        sender_ipv4: v4(message.sender).octets(),
        target_mac: target_mac.0,
        target_ipv4: v4(message.target).octets(),
    };
    packet.to_bytes().to_vec()
}

/// A neighbour solicitation or advertisement with its link-layer address (RFC 4861, 4.3 and 4.4).
fn discovery(message: &NeighbourMessage, of: &Discovery) -> Vec<u8> {
    let option = if message.request { 1 } else { 2 };
    let mut body = of.about.octets().to_vec();
    body.extend([option, 1]);
    body.extend(message.sender_mac.0);
    let kind = Icmpv6Type::Unknown { type_u8: of.kind, code_u8: 0, bytes5to8: [of.flags, 0, 0, 0] };
    let mut icmp = Icmpv6Header::new(kind);
    _ = icmp.update_checksum(of.src.octets(), of.dst.octets(), &body);
    let message = [icmp.to_bytes().as_slice(), &body].concat();
    let header = ipv6(of.src, of.dst, LINK_HOPS, IpNumber::IPV6_ICMP, message.len());
    [header.to_bytes().as_slice(), &message].concat()
}

/// A packet, or its fragments where it travels in pieces.
fn packets(packet: &Packet, meta: &Meta, mut payload: Vec<u8>) -> Vec<Vec<u8>> {
    let headers = usize::try_from(packet.len()).unwrap_or(0).saturating_sub(payload.len());
    payload.truncate(usize::from(u16::MAX).saturating_sub(headers));
    let mut body = transport::bytes(packet, &payload);
    if let (Checksum::BadL4, Some(last)) = (packet.checksum, body.last_mut()) {
        *last ^= WRONG_BIT;
    }
    let piece = meta.piece.filter(|piece| *piece < packet.len());
    let piece = piece.and_then(|piece| usize::try_from(piece).ok());
    let id = meta.flight;
    match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let room = piece.map_or(usize::MAX, |piece| whole_units(piece, Ipv4Header::MIN_LEN));
            fragments(&body, room, |part, at, more| ipv4(packet, (src, dst), id, part, at, more))
        }
        (src, dst) => {
            let (src, dst) = (v6(src), v6(dst));
            let Some(piece) = piece else { return vec![whole_v6(packet, src, dst, &body)] };
            let room = whole_units(piece, Ipv6Header::LEN + Ipv6FragmentHeader::LEN);
            fragments(&body, room, |part, at, more| piece_v6(packet, (src, dst), id, part, at, more))
        }
    }
}

/// How much of a body a piece has room for.
const fn whole_units(piece: usize, headers: usize) -> usize {
    let room = piece.saturating_sub(headers) / UNIT * UNIT;
    if room == 0 { UNIT } else { room }
}

fn fragments(body: &[u8], room: usize, write: impl Fn(&[u8], IpFragOffset, bool) -> Vec<u8>) -> Vec<Vec<u8>> {
    let parts = body.chunks(room).count().max(1);
    let part = |i: usize| {
        let start = i.saturating_mul(room);
        let offset = u16::try_from(start / UNIT).ok().and_then(|units| IpFragOffset::try_new(units).ok());
        let part = body.get(start..start.saturating_add(room).min(body.len())).unwrap_or_default();
        write(part, offset.unwrap_or(IpFragOffset::ZERO), i + 1 < parts)
    };
    (0..parts).map(part).collect()
}

fn ipv4(
    packet: &Packet,
    (src, dst): (Ipv4Addr, Ipv4Addr),
    id: u32,
    part: &[u8],
    fragment_offset: IpFragOffset,
    more_fragments: bool,
) -> Vec<u8> {
    let length = Ipv4Header::MIN_LEN + part.len();
    let mut header = Ipv4Header {
        total_len: u16::try_from(length).unwrap_or(u16::MAX),
        // What may not be cut needs no number (RFC 6864).
        identification: if packet.df { 0 } else { id as u16 },
        dont_fragment: packet.df,
        more_fragments,
        fragment_offset,
        time_to_live: packet.ttl,
        protocol: IpNumber(packet.protocol().0),
        source: src.octets(),
        destination: dst.octets(),
        ..Ipv4Header::default()
    };
    header.header_checksum = header.calc_header_checksum();
    if packet.checksum == Checksum::BadIp {
        header.header_checksum ^= u16::from(WRONG_BIT);
    }
    [header.to_bytes().as_slice(), part].concat()
}

fn whole_v6(packet: &Packet, src: Ipv6Addr, dst: Ipv6Addr, body: &[u8]) -> Vec<u8> {
    let header = ipv6(src, dst, packet.ttl, IpNumber(packet.protocol().0), body.len());
    [header.to_bytes().as_slice(), body].concat()
}

fn piece_v6(
    packet: &Packet,
    (src, dst): (Ipv6Addr, Ipv6Addr),
    id: u32,
    part: &[u8],
    offset: IpFragOffset,
    more: bool,
) -> Vec<u8> {
    let fragment = Ipv6FragmentHeader::new(IpNumber(packet.protocol().0), offset, more, id);
    let length = Ipv6FragmentHeader::LEN + part.len();
    let header = ipv6(src, dst, packet.ttl, IpNumber::IPV6_FRAGMENTATION_HEADER, length);
    [header.to_bytes().as_slice(), &fragment.to_bytes(), part].concat()
}

fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, hop_limit: u8, next_header: IpNumber, length: usize) -> Ipv6Header {
    Ipv6Header {
        payload_length: u16::try_from(length).unwrap_or(u16::MAX),
        next_header,
        hop_limit,
        source: src.octets(),
        destination: dst.octets(),
        ..Ipv6Header::default()
    }
}
