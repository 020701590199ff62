//! One direction of a flow: who asks whom. The key of the conntrack table.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use seatrial_core::addr::Family;
use seatrial_core::rules::Protocol;

use crate::netfilter::condition::type_and_code;
use crate::packet::{Icmp, L4, Packet, Ports, Quoted};

/// The direction of a packet within its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::netfilter) enum Direction {
    /// As the first packet went.
    Original,
    /// The other way.
    Reply,
}

impl Direction {
    pub(in crate::netfilter) const fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// `struct nf_conntrack_tuple`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::netfilter) struct Tuple {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: Protocol,
    /// Ports; of ICMP the identifier, and type and code as one number; of any other protocol zero.
    pub ports: Ports,
}

/// As few numbers as hold it: every packet that comes in is looked up by it.
impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                state.write_u64(u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits()));
            }
            (IpAddr::V6(_), _) | (_, IpAddr::V6(_)) => (self.src, self.dst).hash(state),
        }
        let Self { protocol: Protocol(protocol), ports: Ports { src, dst }, .. } = *self;
        state.write_u64(u64::from(protocol) << 32 | u64::from(src) << 16 | u64::from(dst));
    }
}

/// Type and code as one number.
const fn icmp_word(kind: u8, code: u8) -> u16 {
    (kind as u16) << 8 | code as u16
}

impl Tuple {
    /// The tuple of a packet; none for an ICMP error, which has no flow of its own.
    pub(in crate::netfilter) const fn of(packet: &Packet) -> Option<Self> {
        let ports = match packet.l4 {
            L4::Tcp(tcp) => tcp.ports,
            L4::Udp(ports) | L4::Sctp(ports) => ports,
            L4::Icmp(Icmp::Error { .. }) => return None,
            L4::Icmp(icmp) => {
                let (kind, code) = type_and_code(icmp, packet.family());
                let id = match icmp {
                    Icmp::Echo { id, .. } => id,
                    Icmp::Error { .. } | Icmp::Other { .. } => 0,
                };
                Ports { src: id, dst: icmp_word(kind, code) }
            }
            L4::Other(_) => Ports { src: 0, dst: 0 },
        };
        Some(Self { src: packet.src, dst: packet.dst, protocol: packet.protocol(), ports })
    }

    /// The tuple of the packet an ICMP error quotes. Of a quoted echo nobody knows which way it went: `reply` says.
    pub(in crate::netfilter) const fn of_quoted(quoted: &Quoted, reply: bool) -> Self {
        let ports = match (quoted.protocol, Family::of(quoted.src)) {
            (Protocol::TCP | Protocol::UDP | Protocol::SCTP, _) => quoted.ports,
            (Protocol::ICMP, _) => {
                Ports { src: quoted.ports.src, dst: icmp_word(if reply { 0 } else { 8 }, 0) }
            }
            (Protocol::ICMPV6, Family::V6) => {
                Ports { src: quoted.ports.src, dst: icmp_word(if reply { 129 } else { 128 }, 0) }
            }
            (_, _) => Ports { src: 0, dst: 0 },
        };
        Self { src: quoted.src, dst: quoted.dst, protocol: quoted.protocol, ports }
    }

    /// Whether it is ICMP of either family.
    pub(in crate::netfilter) const fn is_icmp(&self) -> bool {
        matches!(self.protocol, Protocol::ICMP | Protocol::ICMPV6)
    }

    /// An ICMP tuple's type and code.
    pub(in crate::netfilter) const fn icmp(&self) -> (u8, u8) {
        let [kind, code] = self.ports.dst.to_be_bytes();
        (kind, code)
    }

    /// The tuple of the answer (`nf_ct_invert_tuple`); none for an ICMP message that has none.
    pub(in crate::netfilter) const fn inverse(&self) -> Option<Self> {
        let ports = if self.is_icmp() {
            let (kind, code) = self.icmp();
            match answer_type(self.protocol, kind) {
                Some(kind) => Ports { src: self.ports.src, dst: icmp_word(kind, code) },
                None => return None,
            }
        } else {
            Ports { src: self.ports.dst, dst: self.ports.src }
        };
        Some(Self { src: self.dst, dst: self.src, protocol: self.protocol, ports })
    }
}

/// The type that answers a type, either way (`invmap` in nf_conntrack_proto_icmp.c and nf_conntrack_proto_icmpv6.c).
const fn answer_type(protocol: Protocol, kind: u8) -> Option<u8> {
    match (protocol, kind) {
        (Protocol::ICMP, 8) => Some(0),
        (Protocol::ICMP, 0) => Some(8),
        (Protocol::ICMP, 13 | 15 | 17) => Some(kind + 1),
        (Protocol::ICMP, 14 | 16 | 18) => Some(kind - 1),
        (Protocol::ICMPV6, 128 | 139) => Some(kind + 1),
        (Protocol::ICMPV6, 129 | 140) => Some(kind - 1),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn tuple(protocol: u8, src: u16, dst: u16) -> Tuple {
        Tuple {
            src: IpAddr::from([192, 0, 2, 1]),
            dst: IpAddr::from([192, 0, 2, 2]),
            protocol: Protocol(protocol),
            ports: Ports { src, dst },
        }
    }

    #[test]
    fn c2_an_echo_keeps_its_id_and_swaps_its_type() {
        let inverse = tuple(1, 7, icmp_word(8, 0)).inverse().unwrap();
        assert_eq!(inverse.ports, Ports { src: 7, dst: icmp_word(0, 0) });
        assert_eq!((inverse.src, inverse.dst), (IpAddr::from([192, 0, 2, 2]), IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn c2_a_message_without_an_answer_has_no_inverse() {
        for kind in [3, 5, 9, 11] {
            assert_eq!(tuple(1, 0, icmp_word(kind, 0)).inverse(), None);
        }
    }

    proptest! {
        #[test]
        fn the_inverse_of_the_inverse_is_the_tuple(protocol in 0u8.., src: u16, dst: u16) {
            let tuple = tuple(protocol, src, dst);
            if let Some(inverse) = tuple.inverse() {
                prop_assert_eq!(inverse.inverse(), Some(tuple));
            } else {
                prop_assert!(tuple.is_icmp());
            }
        }
    }
}
