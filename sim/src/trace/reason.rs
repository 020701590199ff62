//! Why a packet goes no further, in the kernel's own names.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A name of the kernel's enum skb_drop_reason (include/net/dropreason-core.h); or, where the sending socket is
        /// told and there is no packet yet, that of the error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As the tracepoint skb:kfree_skb prints it, or errno(3).
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// A rule or a policy drops it, conntrack's table is full, or a hook cannot go on with it.
    NetfilterDrop = "NETFILTER_DROP",
    /// No socket is there for it.
    NoSocket = "NO_SOCKET",
    /// A socket's own filter drops it.
    SocketFilter = "SOCKET_FILTER",
    /// It is for another MAC address.
    OtherHost = "OTHERHOST",
    /// The checksum of its IPv4 header is wrong.
    IpCsum = "IP_CSUM",
    /// That of its TCP header.
    TcpCsum = "TCP_CSUM",
    /// That of its UDP header.
    UdpCsum = "UDP_CSUM",
    /// That of its ICMP header.
    IcmpCsum = "ICMP_CSUM",
    /// That of another header.
    SkbCsum = "SKB_CSUM",
    /// Something in its IP header forbids to pass it on.
    IpInHdr = "IP_INHDR",
    /// Its source is not behind the device it came in by.
    IpRpFilter = "IP_RPFILTER",
    /// No route, as it came in.
    IpInNoRoutes = "IP_INNOROUTES",
    /// No route, as it went out.
    IpOutNoRoutes = "IP_OUTNOROUTES",
    /// This machine does not pass it on.
    IpInAddrErrors = "IP_INADDRERRORS",
    /// Its source cannot be a sender.
    IpInvalidSource = "IP_INVALID_SOURCE",
    /// Its destination cannot be a receiver.
    IpInvalidDest = "IP_INVALID_DEST",
    /// Its source is this machine itself.
    IpLocalSource = "IP_LOCAL_SOURCE",
    /// A loopback address on another device.
    IpLocalnet = "IP_LOCALNET",
    /// Nobody knows its protocol.
    IpNoProto = "IP_NOPROTO",
    /// IPv6 is off on the device.
    Ipv6Disabled = "IPV6DISABLED",
    /// Its neighbour does not answer.
    NeighFailed = "NEIGH_FAILED",
    /// Too many wait for its neighbour.
    NeighQueueFull = "NEIGH_QUEUEFULL",
    /// It is longer than the MTU.
    PktTooBig = "PKT_TOO_BIG",
    /// Its MAC source cannot be a sender.
    MacInvalidSource = "MAC_INVALID_SOURCE",
    /// Nobody takes such a frame.
    UnhandledProto = "UNHANDLED_PROTO",
    /// The device is down.
    DevReady = "DEV_READY",
    /// Too much waits.
    CpuBacklog = "CPU_BACKLOG",
    /// A wire loses it, as netem does.
    QdiscDrop = "QDISC_DROP",
    /// The kernel gives no reason.
    NotSpecified = "NOT_SPECIFIED",
    /// The socket is told: no route.
    Enetunreach = "ENETUNREACH",
    /// The socket is told: no such address here.
    Eaddrnotavail = "EADDRNOTAVAIL",
    /// The socket is told: a loopback source may not leave.
    Einval = "EINVAL",
    /// The socket is told: a broadcast address.
    Eacces = "EACCES",
    /// The socket is told: longer than the MTU.
    Emsgsize = "EMSGSIZE",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// As text: `NO_SOCKET`.
impl Serialize for DropReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sending socket is told (include/uapi/asm-generic/errno-base.h, errno.h).
    const ERRNO: [&str; 5] = ["ENETUNREACH", "EADDRNOTAVAIL", "EINVAL", "EACCES", "EMSGSIZE"];

    #[test]
    fn every_reason_is_a_name_of_the_kernels_or_an_error_that_a_socket_is_told() {
        let kernel = include_str!("../../../fixtures/kernel/drop-reasons.txt");
        let kernel: Vec<&str> = kernel.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(kernel.len() > 100, "{}", kernel.len());
        for reason in DropReason::ALL {
            let name = reason.as_str();
            assert!(kernel.contains(&name) || ERRNO.contains(&name), "Linux has no drop reason {name}");
        }
    }
}
