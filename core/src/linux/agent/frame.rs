//! The bytes of crafted frames, and what is heard of them (pnet).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::Packet;
use pnet_packet::ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet_packet::ipv4::{self, Ipv4Flags, Ipv4Packet, MutableIpv4Packet};
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet_packet::tcp::{MutableTcpPacket, TcpPacket};
use pnet_packet::udp::MutableUdpPacket;
use pnet_packet::util;

use super::told;
use crate::addr::{Family, MacAddr};
use crate::probe::Outcome;

/// Lengths of headers without options, in bytes.
const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const TCP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const ICMP_BYTES: usize = 8;
/// How much a segment may be that is on its way.
const WINDOW: u16 = u16::MAX;
/// The hop limit of a frame that asks for none (net.ipv4.ip_default_ttl).
const TTL: u8 = 64;

/// One end: whose frames, whose packets, and the port, or the identifier of an echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) mac: MacAddr,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

/// What frames have in common: from whom to whom, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) ttl: Option<u8>,
    pub(super) df: bool,
    pub(super) speaks: Speaks,
}

/// What they speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Tcp,
    Udp,
    Echo,
}

/// A segment of TCP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) flags: u8,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) payload: &'a [u8],
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    Segment(Segment<'a>),
    /// A datagram's payload, or an echo's.
    Payload(&'a [u8]),
    /// An error about what was sent.
    Told(Outcome),
}

impl Path {
    /// A frame with a segment.
    pub(super) fn segment(&self, segment: Segment<'_>) -> Option<Vec<u8>> {
        let mut bytes = with_room(TCP_BYTES, segment.payload);
        let mut tcp = MutableTcpPacket::new(&mut bytes)?;
        tcp.set_source(self.from.port);
        tcp.set_destination(self.to.port);
        tcp.set_sequence(segment.seq);
        tcp.set_acknowledgement(segment.ack);
        tcp.set_data_offset(5);
        tcp.set_flags(segment.flags);
        tcp.set_window(WINDOW);
        let sum = self.sum(tcp.packet(), 8)?;
        tcp.set_checksum(sum);
        self.packet(&bytes)
    }

    /// A frame with a datagram, or with an echo request.
    pub(super) fn datagram(&self, payload: &[u8]) -> Option<Vec<u8>> {
        if self.speaks == Speaks::Echo {
            return self.packet(&self.echo(payload)?);
        }
        let mut bytes = with_room(UDP_BYTES, payload);
        let length = u16::try_from(bytes.len()).ok()?;
        let mut udp = MutableUdpPacket::new(&mut bytes)?;
        udp.set_source(self.from.port);
        udp.set_destination(self.to.port);
        udp.set_length(length);
        let sum = self.sum(udp.packet(), 3)?;
        // Zero would say that there is none (RFC 768).
        udp.set_checksum(if sum == 0 { 0xffff } else { sum });
        self.packet(&bytes)
    }

    fn echo(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = with_room(ICMP_BYTES, payload);
        let kind = if self.from.ip.is_ipv4() { 8 } else { 128 };
        bytes.splice(..1, [kind]);
        bytes.splice(4..6, self.from.port.to_be_bytes());
        bytes.splice(6..8, 1u16.to_be_bytes());
        let sum = if self.from.ip.is_ipv4() { util::checksum(&bytes, 1) } else { self.sum(&bytes, 1)? };
        bytes.splice(2..4, sum.to_be_bytes());
        Some(bytes)
    }

    /// The checksum of what a packet carries, but for the word it stands in; none where two families are mixed.
    fn sum(&self, bytes: &[u8], skip: usize) -> Option<u16> {
        let protocol = self.protocol();
        match (self.from.ip, self.to.ip) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Some(util::ipv4_checksum(bytes, skip, &[], &from, &to, protocol))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Some(util::ipv6_checksum(bytes, skip, &[], &from, &to, protocol))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    const fn protocol(&self) -> IpNextHeaderProtocol {
        match (self.speaks, self.from.ip) {
            (Speaks::Tcp, _) => IpNextHeaderProtocols::Tcp,
            (Speaks::Udp, _) => IpNextHeaderProtocols::Udp,
            (Speaks::Echo, IpAddr::V4(_)) => IpNextHeaderProtocols::Icmp,
            (Speaks::Echo, IpAddr::V6(_)) => IpNextHeaderProtocols::Icmpv6,
        }
    }

    fn packet(&self, payload: &[u8]) -> Option<Vec<u8>> {
        match (self.from.ip, self.to.ip) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                self.frame(EtherTypes::Ipv4, &self.ipv4(from, to, payload)?)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                self.frame(EtherTypes::Ipv6, &self.ipv6(from, to, payload)?)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    fn ipv4(&self, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = with_room(IPV4_BYTES, payload);
        let length = u16::try_from(bytes.len()).ok()?;
        let mut ip = MutableIpv4Packet::new(&mut bytes)?;
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(length);
        ip.set_flags(if self.df || self.speaks == Speaks::Tcp { Ipv4Flags::DontFragment } else { 0 });
        ip.set_ttl(self.ttl.unwrap_or(TTL));
        ip.set_next_level_protocol(self.protocol());
        ip.set_source(from);
        ip.set_destination(to);
        let sum = ipv4::checksum(&ip.to_immutable());
        ip.set_checksum(sum);
        Some(bytes)
    }

    fn ipv6(&self, from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = with_room(IPV6_BYTES, payload);
        let length = u16::try_from(payload.len()).ok()?;
        let mut ip = MutableIpv6Packet::new(&mut bytes)?;
        ip.set_version(6);
        ip.set_payload_length(length);
        ip.set_next_header(self.protocol());
        ip.set_hop_limit(self.ttl.unwrap_or(TTL));
        ip.set_source(from);
        ip.set_destination(to);
        Some(bytes)
    }

    fn frame(&self, kind: EtherType, payload: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = with_room(ETHERNET_BYTES, payload);
        let mut ethernet = MutableEthernetPacket::new(&mut bytes)?;
        ethernet.set_source(self.from.mac.0.into());
        ethernet.set_destination(self.to.mac.0.into());
        ethernet.set_ethertype(kind);
        Some(bytes)
    }

    /// What a frame says in answer; none where it is about something else. Who answers may have another address than
    /// who was asked, but not another port.
    pub(super) fn heard<'a>(&self, frame: &'a [u8]) -> Option<Heard<'a>> {
        let ethernet = EthernetPacket::new(frame)?;
        let packet = behind(frame, ETHERNET_BYTES)?;
        let (from, to, protocol, body) = match ethernet.get_ethertype() {
            EtherTypes::Ipv4 => read_ipv4(packet)?,
            EtherTypes::Ipv6 => read_ipv6(packet)?,
            _ => return None,
        };
        if to != self.from.ip || from == self.from.ip {
            return None;
        }
        match protocol {
            IpNextHeaderProtocols::Icmp if from.is_ipv4() => self.icmp(Family::V4, body),
            IpNextHeaderProtocols::Icmpv6 if from.is_ipv6() => self.icmp(Family::V6, body),
            other if other != self.protocol() || !self.is_mine(body, true) => None,
            IpNextHeaderProtocols::Tcp => {
                let tcp = TcpPacket::new(body)?;
                let payload = behind(body, usize::from(tcp.get_data_offset()) * 4)?;
                let (flags, seq, ack) = (tcp.get_flags(), tcp.get_sequence(), tcp.get_acknowledgement());
                Some(Heard::Segment(Segment { flags, seq, ack, payload }))
            }
            _ => Some(Heard::Payload(behind(body, UDP_BYTES)?)),
        }
    }

    /// An echo, or an error about what was sent (RFC 792, RFC 4443).
    fn icmp<'a>(&self, family: Family, body: &'a [u8]) -> Option<Heard<'a>> {
        let [kind, code, ..] = body else { return None };
        let payload = behind(body, ICMP_BYTES)?;
        match (family, kind) {
            (Family::V4, 0) | (Family::V6, 129) => {
                let mine = self.speaks == Speaks::Echo && body.get(4..6)? == self.from.port.to_be_bytes();
                mine.then_some(Heard::Payload(payload))
            }
            (Family::V4, 3 | 11 | 12) | (Family::V6, 1..=4) => {
                let (from, _, protocol, quoted) = match family {
                    Family::V4 => read_ipv4(payload)?,
                    Family::V6 => read_ipv6(payload)?,
                };
                let mine = from == self.from.ip && protocol == self.protocol() && self.is_mine(quoted, false);
                mine.then(|| Heard::Told(told::of_icmp(family, *kind, *code)))
            }
            _ => None,
        }
    }

    /// Whether ports are those of an answer, or of what was sent; an echo has its identifier in their place.
    fn is_mine(&self, body: &[u8], answer: bool) -> bool {
        let word = |at: usize| body.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes);
        let (own, others) = if answer { (word(2), word(0)) } else { (word(0), word(2)) };
        match self.speaks {
            Speaks::Tcp | Speaks::Udp => own == Some(self.from.port) && others == Some(self.to.port),
            Speaks::Echo => word(4) == Some(self.from.port),
        }
    }
}

/// A packet's addresses, protocol and payload.
type Read<'a> = (IpAddr, IpAddr, IpNextHeaderProtocol, &'a [u8]);

fn read_ipv4(bytes: &[u8]) -> Option<Read<'_>> {
    let ip = Ipv4Packet::new(bytes)?;
    let body = behind(bytes, usize::from(ip.get_header_length()) * 4)?;
    // A frame may be filled up to the 60 bytes that Ethernet wants.
    let length = usize::from(ip.get_total_length()).checked_sub(usize::from(ip.get_header_length()) * 4)?;
    let body = body.get(..length).unwrap_or(body);
    Some((ip.get_source().into(), ip.get_destination().into(), ip.get_next_level_protocol(), body))
}

fn read_ipv6(bytes: &[u8]) -> Option<Read<'_>> {
    let ip = Ipv6Packet::new(bytes)?;
    let body = behind(bytes, IPV6_BYTES)?;
    let body = body.get(..usize::from(ip.get_payload_length())).unwrap_or(body);
    Some((ip.get_source().into(), ip.get_destination().into(), ip.get_next_header(), body))
}

fn behind(bytes: &[u8], at: usize) -> Option<&[u8]> {
    bytes.get(at..)
}

/// A payload with room for a header before it.
fn with_room(header: usize, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; header];
    bytes.extend(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(speaks: Speaks, from: &str, to: &str) -> Path {
        let end = |ip: &str, port| End { mac: MacAddr::ZERO, ip: ip.parse().unwrap(), port };
        Path { from: end(from, 40_000), to: end(to, 80), ttl: None, df: false, speaks }
    }

    const FAMILIES: [(&str, &str); 2] = [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")];

    #[test]
    fn what_one_end_sends_the_other_hears() {
        for (a, b) in FAMILIES {
            let (here, there) = (path(Speaks::Tcp, a, b), path(Speaks::Tcp, b, a));
            let there =
                Path { from: End { port: 80, ..there.from }, to: End { port: 40_000, ..there.to }, ..there };
            let segment = Segment { flags: 2, seq: 7, ack: 9, payload: b"text" };
            assert_eq!(there.heard(&here.segment(segment).unwrap()), Some(Heard::Segment(segment)));
            let (here, there) = (Path { speaks: Speaks::Udp, ..here }, Path { speaks: Speaks::Udp, ..there });
            assert_eq!(there.heard(&here.datagram(b"text").unwrap()), Some(Heard::Payload(b"text")));
        }
    }

    #[test]
    fn another_port_or_address_is_not_heard() {
        for (a, b) in FAMILIES {
            let (here, there) = (path(Speaks::Udp, a, b), path(Speaks::Udp, b, a));
            let frame = here.datagram(b"text").unwrap();
            assert_eq!(there.heard(&frame), None, "ports are not swapped");
            assert_eq!(here.heard(&frame), None, "it is one's own");
        }
    }

    #[test]
    fn broken_frames_say_nothing() {
        for (a, b) in FAMILIES {
            let (here, there) = (path(Speaks::Tcp, a, b), path(Speaks::Tcp, b, a));
            let there =
                Path { from: End { port: 80, ..there.from }, to: End { port: 40_000, ..there.to }, ..there };
            let frame = here.segment(Segment { flags: 2, seq: 7, ack: 9, payload: b"" }).unwrap();
            for end in 0..frame.len() {
                assert_eq!(there.heard(&frame[..end]), None, "{end}");
            }
        }
    }
}
