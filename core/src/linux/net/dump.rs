//! What stands in a network namespace, as the kernel tells it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_netfilter::nftables::{NfTablesMessage, TableAttribute, TableMessage};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use nix::errno::Errno;

use super::Net;
use super::socket::{Netlink, Refusal};
use crate::addr::Transport;
use crate::linux::Error;
use crate::plan::NsName;

/// How often a list is asked for that changes while it is told.
const ATTEMPTS: u32 = 8;

/// All that rtnetlink tells of a namespace.
#[derive(Debug, Default)]
pub(in crate::linux) struct Told {
    pub(in crate::linux) links: Vec<LinkMessage>,
    pub(in crate::linux) addresses: Vec<AddressMessage>,
    pub(in crate::linux) routes: Vec<RouteMessage>,
    pub(in crate::linux) rules: Vec<RuleMessage>,
    pub(in crate::linux) neighbours: Vec<NeighbourMessage>,
    /// Other namespaces by the number that this one knows each by (man 8 ip-netns).
    pub(in crate::linux) others: BTreeMap<i32, NsName>,
}

impl Net {
    /// All that stands here. `others` are namespaces that a device here may have its other end or its parent in.
    ///
    /// # Errors
    /// As the kernel says.
    pub(in crate::linux) fn told<'n>(
        &self,
        others: impl IntoIterator<Item = &'n Self>,
    ) -> Result<Told, Error> {
        let told = || -> Result<Told, Refusal> {
            Ok(Told {
                links: self.links()?,
                addresses: self.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?,
                routes: self.dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()))?,
                rules: self.dump(RouteNetlinkMessage::GetRule(RuleMessage::default()))?,
                neighbours: self.dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))?,
                others: self.numbers(others)?,
            })
        };
        told().map_err(|refusal| self.error("read", "the network".to_owned(), refusal))
    }

    /// The devices alone.
    ///
    /// # Errors
    /// As the kernel says.
    pub(in crate::linux) fn devices(&self) -> Result<Vec<LinkMessage>, Error> {
        self.links().map_err(|refusal| self.error("read", "devices".to_owned(), refusal))
    }

    /// The sockets of a protocol that wait for whoever comes; none of one that this kernel does not have.
    ///
    /// # Errors
    /// As the kernel says.
    pub(in crate::linux) fn bound(&self, transport: Transport) -> Result<Vec<InetResponse>, Error> {
        let ask = || -> Result<Vec<InetResponse>, Refusal> {
            let socket =
                self.space.inside(|| Netlink::open(netlink_sys::protocols::NETLINK_SOCK_DIAG)).flatten()?;
            let mut bound = Vec::new();
            for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
                let request = SockDiagMessage::InetRequest(InetRequest {
                    family,
                    protocol: transport.number(),
                    extensions: ExtensionFlags::empty(),
                    states: waiting(transport),
                    socket_id,
                });
                let told = socket.ask(request, NLM_F_DUMP)?;
                bound.extend(told.into_iter().filter_map(|answer| {
                    if let SockDiagMessage::InetResponse(socket) = answer { Some(*socket) } else { None }
                }));
            }
            Ok(bound)
        };
        match ask() {
            Err(unknown) if transport == Transport::Sctp && unknown.is(Errno::ENOENT) => Ok(Vec::new()),
            told => told.map_err(|refusal| {
                let refusal =
                    refusal.lacks(Errno::ENOENT, "a kernel with CONFIG_INET_DIAG and CONFIG_INET_UDP_DIAG");
                self.error("read", format!("{transport} sockets"), refusal)
            }),
        }
    }

    /// The tables of nftables, by family and name; none where the kernel has no such thing.
    ///
    /// # Errors
    /// As the kernel says.
    pub(in crate::linux) fn tables(&self) -> Result<Vec<(NetfilterProtoFamily, String)>, Error> {
        let ask = || -> Result<Vec<NetfilterMessage>, Refusal> {
            let socket =
                self.space.inside(|| Netlink::open(netlink_sys::protocols::NETLINK_NETFILTER)).flatten()?;
            let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
            let get = NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() });
            socket.ask(NetfilterMessage::new(header, get), NLM_F_DUMP)
        };
        match ask() {
            // A part of netfilter that is not there is no valid argument (`nfnetlink_rcv_msg`).
            Err(unknown) if unknown.is(Errno::EINVAL) || unknown.is(Errno::EPROTONOSUPPORT) => Ok(Vec::new()),
            Err(refusal) => Err(self.error("read", "tables of nftables".to_owned(), refusal)),
            Ok(told) => Ok(told.into_iter().filter_map(table).collect()),
        }
    }

    fn links(&self) -> Result<Vec<LinkMessage>, Refusal> {
        self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
    }

    fn dump<T: Kind>(&self, what: RouteNetlinkMessage) -> Result<Vec<T>, Refusal> {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match self.socket.ask(what.clone(), NLM_F_DUMP) {
                Err(torn) if torn.is(Errno::EINTR) && left > 0 => {}
                told => return Ok(told?.into_iter().filter_map(T::of).collect()),
            }
        }
    }

    fn numbers<'n>(
        &self,
        others: impl IntoIterator<Item = &'n Self>,
    ) -> Result<BTreeMap<i32, NsName>, Refusal> {
        let mut numbers = BTreeMap::new();
        for other in others {
            if let Some(number) = self.number(other)? {
                numbers.insert(number, other.name.clone());
            }
        }
        Ok(numbers)
    }

    /// The number that this namespace knows another by; none where it does not.
    fn number(&self, other: &Self) -> Result<Option<i32>, Refusal> {
        let mut message = NsidMessage::default();
        let fd = u32::try_from(other.space.as_fd().as_raw_fd()).unwrap_or_default();
        message.attributes = vec![NsidAttribute::Fd(fd)];
        let told = self.socket.ask(RouteNetlinkMessage::GetNsId(message), 0)?;
        let number = |answer: &RouteNetlinkMessage| {
            let RouteNetlinkMessage::NewNsId(answer) = answer else { return None };
            answer
                .attributes
                .iter()
                .find_map(|a| if let NsidAttribute::Id(id) = a { Some(*id) } else { None })
        };
        // One that nobody has asked for yet is -1.
        Ok(told.iter().find_map(number).filter(|number| *number >= 0))
    }
}

fn table(message: NetfilterMessage) -> Option<(NetfilterProtoFamily, String)> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) = message.inner else {
        return None;
    };
    let name = table
        .attributes
        .into_iter()
        .find_map(|attribute| if let TableAttribute::Name(name) = attribute { Some(name) } else { None });
    Some((message.header.family, name?))
}

/// The state of sockets that are bound, and connected to nobody.
const fn waiting(transport: Transport) -> StateFlags {
    match transport {
        Transport::Tcp | Transport::Sctp => StateFlags::LISTEN,
        Transport::Udp => StateFlags::CLOSE,
    }
}

/// A kind of message that a dump consists of.
trait Kind: Sized {
    fn of(message: RouteNetlinkMessage) -> Option<Self>;
}

impl Kind for LinkMessage {
    fn of(message: RouteNetlinkMessage) -> Option<Self> {
        if let RouteNetlinkMessage::NewLink(link) = message { Some(link) } else { None }
    }
}

impl Kind for AddressMessage {
    fn of(message: RouteNetlinkMessage) -> Option<Self> {
        if let RouteNetlinkMessage::NewAddress(address) = message { Some(address) } else { None }
    }
}

impl Kind for RouteMessage {
    fn of(message: RouteNetlinkMessage) -> Option<Self> {
        if let RouteNetlinkMessage::NewRoute(route) = message { Some(route) } else { None }
    }
}

impl Kind for RuleMessage {
    fn of(message: RouteNetlinkMessage) -> Option<Self> {
        if let RouteNetlinkMessage::NewRule(rule) = message { Some(rule) } else { None }
    }
}

impl Kind for NeighbourMessage {
    fn of(message: RouteNetlinkMessage) -> Option<Self> {
        if let RouteNetlinkMessage::NewNeighbour(neighbour) = message { Some(neighbour) } else { None }
    }
}
