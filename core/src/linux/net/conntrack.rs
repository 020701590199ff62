//! What conntrack knows of flows, forgotten as `conntrack -D` does: looked through, and deleted one by one.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, Nla as _};
use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Tuple};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::Net;
use super::socket::{Netlink, Refusal};
use crate::addr::Transport;
use crate::linux::Error;

/// `CTA_ID` and `CTA_ZONE` (include/uapi/linux/netfilter/nfnetlink_conntrack.h): with them the very entry is deleted, and
/// never one that came after it.
const IDENTITY: [u16; 2] = [12, 18];

/// What a kernel lacks that knows nothing of conntrack's entries.
const CTNETLINK: &str = "a kernel with CONFIG_NF_CT_NETLINK (module nf_conntrack_netlink)";

impl Net {
    /// Forgets every flow that has an address on either side, in either direction.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn flush(&self, address: IpAddr) -> Result<(), Error> {
        let has = |ip: &IPTuple| matches!(ip, IPTuple::SourceAddress(a) | IPTuple::DestinationAddress(a) if *a == address);
        let of =
            |tuple: &[Tuple]| tuple.iter().any(|part| matches!(part, Tuple::Ip(ips) if ips.iter().any(has)));
        let done = self.forget(|entry| original(entry).is_some_and(of) || reply(entry).is_some_and(of));
        done.map_err(|refusal| self.error("flush", format!("conntrack's entries of {address}"), refusal))
    }

    /// Forgets the flows of a protocol that were sent to a port.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn flush_port(&self, transport: Transport, port: u16) -> Result<(), Error> {
        let has = |wanted: ProtoTuple| move |part: &Tuple| matches!(part, Tuple::Proto(all) if all.contains(&wanted));
        let protocol = has(ProtoTuple::Protocol(transport.number().into()));
        let port_to = has(ProtoTuple::DestinationPort(port));
        let of = |tuple: &[Tuple]| tuple.iter().any(&protocol) && tuple.iter().any(&port_to);
        let done = self.forget(|entry| original(entry).is_some_and(of));
        done.map_err(|refusal| {
            self.error("flush", format!("conntrack's entries of port {port}/{transport}"), refusal)
        })
    }

    fn forget(&self, which: impl Fn(&[ConntrackAttribute]) -> bool) -> Result<(), Refusal> {
        let socket = self.space.inside(|| Netlink::open(NETLINK_NETFILTER))?;
        let socket = socket.map_err(|e| Refusal::from(e).lacks(Errno::EPROTONOSUPPORT, CTNETLINK))?;
        let every = message(NetfilterProtoFamily::Unspec, ConntrackMessage::Get(Vec::new()));
        // A part of netfilter that is not there is no valid argument (`nfnetlink_rcv_msg`, net/netfilter/nfnetlink.c).
        let entries = socket.ask(every, NLM_F_DUMP).map_err(|r| r.lacks(Errno::EINVAL, CTNETLINK))?;
        for NetfilterMessage { header, inner, .. } in entries {
            let NetfilterMessageInner::Conntrack(ConntrackMessage::New(mut entry)) = inner else { continue };
            if !which(&entry) {
                continue;
            }
            entry
                .retain(|a| matches!(a, ConntrackAttribute::CtaTupleOrig(_)) || IDENTITY.contains(&a.kind()));
            match socket.ask(message(header.family, ConntrackMessage::Delete(entry)), 0) {
                // It ended by itself.
                Err(refusal) if refusal.is(Errno::ENOENT) => {}
                done => _ = done?,
            }
        }
        Ok(())
    }
}

fn message(family: NetfilterProtoFamily, what: ConntrackMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), what)
}

fn original(entry: &[ConntrackAttribute]) -> Option<&[Tuple]> {
    entry
        .iter()
        .find_map(|a| if let ConntrackAttribute::CtaTupleOrig(tuple) = a { Some(&tuple[..]) } else { None })
}

fn reply(entry: &[ConntrackAttribute]) -> Option<&[Tuple]> {
    entry
        .iter()
        .find_map(|a| if let ConntrackAttribute::CtaTupleReply(tuple) = a { Some(&tuple[..]) } else { None })
}
