//! The bytes behind an IP header: TCP, UDP, SCTP and ICMP, with their checksums.

use std::net::IpAddr;

use crc::{CRC_32_ISCSI, Crc};
use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, Ipv4Header, Ipv6Header, TcpHeader,
    UdpHeader,
};
use seatrial_core::rules::Protocol;

use crate::packet::{Icmp, L4, Packet, Payload, Ports, Quoted, Tcp, TcpFlags};

/// Every window is this (RFC 9293, 3.1), for no packet has options.
const WINDOW: u16 = u16::MAX;
/// SCTP's checksum (RFC 9260, appendix A).
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// How long the part of an INIT is that is always there, with its chunk's header.
const INIT_BYTES: usize = 20;

/// All that is behind the IP header.
pub(super) fn bytes(packet: &Packet, payload: &[u8]) -> Vec<u8> {
    let ends = (packet.src, packet.dst);
    match &packet.l4 {
        L4::Tcp(header) => tcp(ends, header, payload),
        L4::Udp(ports) => udp(ends, *ports, payload),
        L4::Sctp(ports) => sctp(*ports, packet.payload, payload),
        L4::Icmp(message) => icmp(ends, message, payload),
        L4::Other(_) => payload.to_vec(),
    }
}

fn tcp(ends: (IpAddr, IpAddr), tcp: &Tcp, payload: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(tcp.ports.src, tcp.ports.dst, tcp.seq, WINDOW);
    header.acknowledgment_number = tcp.ack;
    header.fin = tcp.flags.has(TcpFlags::FIN);
    header.syn = tcp.flags.has(TcpFlags::SYN);
    header.rst = tcp.flags.has(TcpFlags::RST);
    header.psh = tcp.flags.has(TcpFlags::PSH);
    header.ack = tcp.flags.has(TcpFlags::ACK);
    let sum = match ends {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            header.calc_checksum_ipv4_raw(src.octets(), dst.octets(), payload).ok()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), payload).ok()
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    };
    header.checksum = sum.unwrap_or(0);
    [header.to_bytes().as_slice(), payload].concat()
}

fn udp(ends: (IpAddr, IpAddr), ports: Ports, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UdpHeader::LEN + payload.len()).unwrap_or(u16::MAX);
    let mut header = UdpHeader { source_port: ports.src, destination_port: ports.dst, length, checksum: 0 };
    let sum = match ends {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            header.calc_checksum_ipv4_raw(src.octets(), dst.octets(), payload).ok()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), payload).ok()
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    };
    header.checksum = sum.unwrap_or(0);
    [header.to_bytes().as_slice(), payload].concat()
}

/// An INIT that asks, an INIT ACK that answers, or an ABORT (RFC 9260, 3.3). What is said stands in a parameter: of an
/// INIT in padding (RFC 4820), of an INIT ACK in its cookie.
fn sctp(ports: Ports, meant: Payload, payload: &[u8]) -> Vec<u8> {
    const PADDING: u16 = 0x8005;
    const STATE_COOKIE: u16 = 7;
    let (verification, chunk) = match meant {
        Payload::Ask(nonce) => (0, init(1, tag(nonce.0), PADDING, payload)),
        Payload::Answer { nonce, .. } => (tag(nonce.0), init(2, tag(nonce.0 >> 32), STATE_COOKIE, payload)),
        // Its sender reflects a tag that it does not know (the T bit).
        Payload::Empty | Payload::Query(_) | Payload::Reply(_) => (0, vec![6, 1, 0, 4]),
    };
    let mut packet = head(ports);
    packet.extend(u32::to_be_bytes(verification));
    let checksum = packet.len();
    packet.extend([0; 4]);
    packet.extend(chunk);
    let sum = CRC32C.checksum(&packet).to_le_bytes();
    packet.splice(checksum..checksum + sum.len(), sum);
    packet
}

/// A verification tag is never zero.
fn tag(number: u64) -> u32 {
    number as u32 | 1
}

fn init(kind: u8, tag: u32, parameter: u16, payload: &[u8]) -> Vec<u8> {
    let room = payload.len().saturating_sub(INIT_BYTES).next_multiple_of(4);
    let length = u16::try_from(INIT_BYTES + room).unwrap_or(u16::MAX);
    let mut chunk = vec![kind, 0];
    chunk.extend(length.to_be_bytes());
    chunk.extend(tag.to_be_bytes());
    chunk.extend(u32::from(WINDOW).to_be_bytes());
    // One stream each way, and the first number is the tag's.
    chunk.extend([0, 1, 0, 1]);
    chunk.extend(tag.to_be_bytes());
    if room >= 4 {
        chunk.extend(parameter.to_be_bytes());
        chunk.extend(u16::try_from(room).unwrap_or(u16::MAX).to_be_bytes());
        chunk.extend(payload.iter().take(room - 4));
        chunk.resize(INIT_BYTES + room, 0);
    }
    chunk
}

fn head(ports: Ports) -> Vec<u8> {
    [ports.src.to_be_bytes(), ports.dst.to_be_bytes()].concat()
}

fn icmp(ends: (IpAddr, IpAddr), message: &Icmp, payload: &[u8]) -> Vec<u8> {
    match (message, ends) {
        (Icmp::Echo { reply, id, seq }, (src, _)) => {
            let kind = match (src, reply) {
                (IpAddr::V4(_), false) => 8,
                (IpAddr::V4(_), true) => 0,
                (IpAddr::V6(_), false) => 128,
                (IpAddr::V6(_), true) => 129,
            };
            icmp_message(ends, kind, 0, [*id, *seq], payload)
        }
        (Icmp::Error { kind, code, mtu, quoted }, _) => {
            let mtu = mtu.to_be_bytes();
            let words = [u16::from_be_bytes([mtu[0], mtu[1]]), u16::from_be_bytes([mtu[2], mtu[3]])];
            icmp_message(ends, *kind, *code, words, &quote(quoted))
        }
        (Icmp::Other { kind, code }, _) => icmp_message(ends, *kind, *code, [0, 0], payload),
    }
}

fn icmp_message(ends: (IpAddr, IpAddr), kind: u8, code: u8, rest: [u16; 2], body: &[u8]) -> Vec<u8> {
    let [[a, b], [c, d]] = rest.map(u16::to_be_bytes);
    let bytes5to8 = [a, b, c, d];
    let header = match ends {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut header =
                Icmpv6Header::new(Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8 });
            _ = header.update_checksum(src.octets(), dst.octets(), body);
            header.to_bytes().to_vec()
        }
        (IpAddr::V4(_), _) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            let kind = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8 };
            Icmpv4Header::with_checksum(kind, body).to_bytes().to_vec()
        }
    };
    [header.as_slice(), body].concat()
}

/// The headers that an error quotes, and eight bytes more (RFC 792).
fn quote(quoted: &Quoted) -> Vec<u8> {
    let ends = (quoted.src, quoted.dst);
    let Ports { src: id, .. } = quoted.ports;
    let (body, length) = match quoted.protocol {
        Protocol::TCP => ([head(quoted.ports), vec![0; 4]].concat(), TcpHeader::MIN_LEN),
        Protocol::UDP => (udp(ends, quoted.ports, &[]), UdpHeader::LEN),
        Protocol::ICMP => (icmp_message(ends, 8, 0, [id, 1], &[]), 8),
        Protocol::ICMPV6 => (icmp_message(ends, 128, 0, [id, 1], &[]), 8),
        Protocol(_) => ([head(quoted.ports), vec![0; 4]].concat(), 12),
    };
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    let protocol = IpNumber(quoted.protocol.0);
    match ends {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = Ipv4Header {
                total_len: Ipv4Header::MIN_LEN_U16 + length,
                time_to_live: quoted.ttl,
                protocol,
                source: src.octets(),
                destination: dst.octets(),
                ..Ipv4Header::default()
            };
            header.header_checksum = header.calc_header_checksum();
            [header.to_bytes().as_slice(), &body].concat()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header {
                payload_length: length,
                next_header: protocol,
                hop_limit: quoted.ttl,
                source: src.octets(),
                destination: dst.octets(),
                ..Ipv6Header::default()
            };
            [header.to_bytes().as_slice(), &body].concat()
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => body,
    }
}
