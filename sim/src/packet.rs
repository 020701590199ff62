//! A packet as a small value: headers and who asks whom, no bytes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use seatrial_core::addr::{Family, MacAddr};
use seatrial_core::rules::Protocol;
use serde::{Serialize, Serializer};

pub(crate) mod discovery;

/// An IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Packet {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Don't fragment.
    pub df: bool,
    /// The mark (`skb->mark`): it stays within its namespace.
    pub mark: u32,
    /// Bytes of payload behind the transport header.
    pub size: u16,
    /// The transport header.
    pub l4: L4,
    /// What the payload says.
    pub payload: Payload,
    /// Whether its checksums hold.
    #[serde(skip_serializing_if = "Checksum::is_good")]
    pub checksum: Checksum,
}

/// Whether a packet's checksums hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// All do.
    #[default]
    Good,
    /// That of its IPv4 header does not.
    BadIp,
    /// That of its transport header does not.
    BadL4,
}

impl Checksum {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    const fn is_good(&self) -> bool {
        matches!(self, Self::Good)
    }
}

/// A transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum L4 {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp(Ports),
    /// SCTP: an INIT, or its answer.
    Sctp(Ports),
    /// ICMP or ICMPv6, by the packet's family.
    Icmp(Icmp),
    /// A protocol without a model, by number.
    Other(u8),
}

/// Source and destination port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Ports {
    /// Source.
    pub src: u16,
    /// Destination.
    pub dst: u16,
}

/// A TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Tcp {
    /// Ports.
    pub ports: Ports,
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
}

/// TCP flags, the bits of the header (RFC 9293, 3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: Self = Self(0x01);
    /// SYN.
    pub const SYN: Self = Self(0x02);
    /// RST.
    pub const RST: Self = Self(0x04);
    /// PSH.
    pub const PSH: Self = Self(0x08);
    /// ACK.
    pub const ACK: Self = Self(0x10);

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (Self::SYN, "SYN"),
            (Self::FIN, "FIN"),
            (Self::RST, "RST"),
            (Self::PSH, "PSH"),
            (Self::ACK, "ACK"),
        ];
        let set: Vec<&str> = all.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        f.write_str(&set.join(","))
    }
}

/// As text: `SYN,ACK`.
impl Serialize for TcpFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An ICMP message; the type numbers are the family's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Icmp {
    /// Echo request or reply.
    Echo {
        /// Whether it is the reply.
        reply: bool,
        /// The identifier.
        id: u16,
        /// The sequence number.
        seq: u16,
    },
    /// An error about another packet.
    Error {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// Next-hop MTU, where the type has one.
        mtu: u32,
        /// The headers it quotes.
        quoted: Quoted,
    },
    /// Anything else.
    Other {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
}

/// The headers an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quoted {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Ports, or the echo identifier twice.
    pub ports: Ports,
    /// Time to live as it stood in the quoted packet.
    pub ttl: u8,
}

/// What a payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Nothing.
    Empty,
    /// A probe's question.
    Ask(Nonce),
    /// A listener's answer to that very question.
    Answer {
        /// The question's.
        nonce: Nonce,
        /// Who answers: an index into the world's nodes.
        node: u16,
        /// On which of its ports.
        port: u16,
        /// The source it saw.
        saw: IpAddr,
    },
    /// A query to a nameserver: an index into the world's names.
    Query(u32),
    /// A nameserver's answer: an index into the world's answers.
    Reply(u32),
}

/// Tells one probe's packets from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Nonce(pub u64);

impl Packet {
    /// The packet's family.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.src)
    }

    /// The protocol number of the header behind IP.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match (self.l4, self.family()) {
            (L4::Tcp(_), _) => Protocol::TCP,
            (L4::Udp(_), _) => Protocol::UDP,
            (L4::Sctp(_), _) => Protocol::SCTP,
            (L4::Icmp(_), Family::V4) => Protocol::ICMP,
            (L4::Icmp(_), Family::V6) => Protocol::ICMPV6,
            (L4::Other(number), _) => Protocol(number),
        }
    }

    /// The ports, where the protocol has them.
    #[must_use]
    pub const fn ports(&self) -> Option<Ports> {
        match self.l4 {
            L4::Tcp(Tcp { ports, .. }) | L4::Udp(ports) | L4::Sctp(ports) => Some(ports),
            L4::Icmp(_) | L4::Other(_) => None,
        }
    }

    /// Sets the ports, where the protocol has them.
    pub const fn set_ports(&mut self, new: Ports) {
        match &mut self.l4 {
            L4::Tcp(Tcp { ports, .. }) | L4::Udp(ports) | L4::Sctp(ports) => *ports = new,
            L4::Icmp(_) | L4::Other(_) => {}
        }
    }

    /// The whole length in bytes, as the IP header gives it (IPv6: with its header).
    #[must_use]
    pub const fn len(&self) -> u32 {
        let ip = match self.family() {
            Family::V4 => 20,
            Family::V6 => 40,
        };
        let header = match self.l4 {
            L4::Tcp(_) => 20,
            L4::Udp(_) | L4::Icmp(Icmp::Echo { .. } | Icmp::Other { .. }) => 8,
            // What an error quotes: an IP header, and eight bytes more.
            L4::Icmp(Icmp::Error { .. }) => 8 + ip + 8,
            L4::Sctp(_) => 12,
            L4::Other(_) => 0,
        };
        ip + header + self.size as u32
    }

    /// Never: a packet has a header.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The sender as a reader knows it: address and port.
    #[must_use]
    pub fn source(&self) -> String {
        endpoint(self.src, self.ports().map(|p| p.src))
    }

    /// The receiver, likewise.
    #[must_use]
    pub fn destination(&self) -> String {
        endpoint(self.dst, self.ports().map(|p| p.dst))
    }
}

/// An address, with a port where there is one: `[::1]:80`.
#[must_use]
pub fn endpoint(addr: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => SocketAddr::new(addr, port).to_string(),
        None => addr.to_string(),
    }
}

/// ARP, and its IPv6 successor in the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourMessage {
    /// Whether it asks.
    pub request: bool,
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's address: in an answer the one that was asked for; unspecified in a probe.
    pub sender: IpAddr,
    /// The address that is asked for; in an answer that of the asker.
    pub target: IpAddr,
}
