//! An address prefix, ready to be compared: packets are held against many.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    V4 { bits: u32, mask: u32 },
    V6 { bits: u128, mask: u128 },
}

impl Prefix {
    /// Whether the address is in it.
    pub(crate) const fn contains(self, addr: IpAddr) -> bool {
        match (self, addr) {
            (Self::V4 { bits, mask }, IpAddr::V4(addr)) => addr.to_bits() & mask == bits,
            (Self::V6 { bits, mask }, IpAddr::V6(addr)) => addr.to_bits() & mask == bits,
            (Self::V4 { .. }, IpAddr::V6(_)) | (Self::V6 { .. }, IpAddr::V4(_)) => false,
        }
    }

    /// The only address in it, if there is only one.
    pub(crate) const fn only(self) -> Option<IpAddr> {
        match self {
            Self::V4 { bits, mask: u32::MAX } => Some(IpAddr::V4(std::net::Ipv4Addr::from_bits(bits))),
            Self::V6 { bits, mask: u128::MAX } => Some(IpAddr::V6(std::net::Ipv6Addr::from_bits(bits))),
            Self::V4 { .. } | Self::V6 { .. } => None,
        }
    }
}

impl From<IpNet> for Prefix {
    fn from(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => Self::V4 { bits: net.network().to_bits(), mask: net.netmask().to_bits() },
            IpNet::V6(net) => Self::V6 { bits: net.network().to_bits(), mask: net.netmask().to_bits() },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        let v4 = prop_oneof![0u32..4, any::<u32>()].prop_map(|bits| IpAddr::from(bits.to_be_bytes()));
        let v6 = prop_oneof![0u128..4, any::<u128>()].prop_map(|bits| IpAddr::from(bits.to_be_bytes()));
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn it_contains_what_the_network_contains(net in address(), len in 0u8..=128, addr in address()) {
            let most = if net.is_ipv4() { 32 } else { 128 };
            let net = IpNet::new(net, len.min(most)).unwrap();
            for addr in [addr, net.addr(), net.network(), net.broadcast()] {
                prop_assert_eq!(Prefix::from(net).contains(addr), net.contains(&addr));
            }
            let only = (net.prefix_len() == most).then_some(net.addr());
            prop_assert_eq!(Prefix::from(net).only(), only);
        }
    }
}
