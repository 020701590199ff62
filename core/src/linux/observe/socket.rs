//! Sockets that wait for whoever comes.

use std::net::IpAddr;

use netlink_packet_sock_diag::inet::InetResponse;
use netlink_packet_sock_diag::inet::nlas::Nla;
use serde::{Deserialize, Serialize};

use crate::addr::Transport;
use crate::plan::NsName;

/// A socket that is bound, and that no process of a node's has open: whoever serves from outside has, as docker-proxy
/// and Docker's resolver do. What it is there for is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The network namespace it is in.
    pub ns: NsName,
    /// The protocol.
    pub transport: Transport,
    /// The address; any of both families where there is none.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A socket, and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) inode: u64,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

/// Reads a message.
pub(super) fn bound(message: &InetResponse) -> Bound {
    let id = &message.header.socket_id;
    let alone = message.nlas.iter().any(|nla| matches!(nla, Nla::SkV6Only(true)));
    let both = id.source_address.is_ipv6() && id.source_address.is_unspecified() && !alone;
    Bound {
        inode: message.header.inode.into(),
        address: (!both).then_some(id.source_address),
        port: id.source_port,
    }
}
