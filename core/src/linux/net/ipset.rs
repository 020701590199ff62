//! Sets of networks that rules of iptables ask (man 8 ipset, `hash:net`), filled as the rules say
//! (include/uapi/linux/netfilter/ipset/ip_set.h).

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::socket::{Netlink, Refusal};
use crate::addr::{Family, IpNet};
use crate::linux::Error;
use crate::linux::space::Space;
use crate::rules::{Match, Ruleset, SetMatch};

/// `NFNL_SUBSYS_IPSET` (include/uapi/linux/netfilter/nfnetlink.h).
const SUBSYSTEM: u8 = 6;
/// `IPSET_CMD_CREATE`, `IPSET_CMD_FLUSH`, `IPSET_CMD_ADD`.
const CREATE: u8 = 2;
const FLUSH: u8 = 4;
const ADD: u8 = 9;
/// `IPSET_PROTOCOL_MIN`: no kernel of the last ten years asks for more.
const PROTOCOL: u8 = 6;
/// `IPSET_ATTR_…` of a command.
const ATTR_PROTOCOL: u16 = 1;
const ATTR_SETNAME: u16 = 2;
const ATTR_TYPENAME: u16 = 3;
const ATTR_REVISION: u16 = 4;
const ATTR_FAMILY: u16 = 5;
const ATTR_DATA: u16 = 7;
/// `IPSET_ATTR_…` of an element.
const ATTR_IP: u16 = 1;
const ATTR_CIDR: u16 = 3;
/// `NLA_F_NESTED`, `NLA_F_NET_BYTEORDER` (include/uapi/linux/netlink.h).
const NESTED: u16 = 1 << 15;
const NET_BYTEORDER: u16 = 1 << 14;
/// What a kernel without them lacks.
const LACKS: &str =
    "a kernel with CONFIG_IP_SET_HASH_NET and CONFIG_NETFILTER_XT_SET (modules ip_set_hash_net, xt_set)";

/// Makes the sets that rules ask, where they are not there, with what is in them, and nothing else.
///
/// # Errors
/// As the kernel says.
pub(in crate::linux) fn fill(space: &Space, ns: &str, rules: &Ruleset) -> Result<(), Error> {
    let sets = sets(rules);
    if sets.is_empty() {
        return Ok(());
    }
    let done = || -> Result<(), Refusal> {
        let socket = space.inside(|| Netlink::open(NETLINK_NETFILTER))??;
        sets.values().try_for_each(|set| make(&socket, rules.family, set))
    };
    done().map_err(|refusal| {
        let error = Error::words("fill", format!("sets of networks in {ns}"), refusal.words);
        refusal.missing.into_iter().fold(error, Error::missing)
    })
}

/// The sets whose content is known, by name.
fn sets(rules: &Ruleset) -> BTreeMap<&str, &SetMatch> {
    let rules = rules.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules);
    let all = rules.flat_map(|rule| &rule.matches);
    let sets = all.filter_map(|m| if let Match::Set(set) = m { Some(&set.value) } else { None });
    sets.filter(|set| set.networks.is_some()).map(|set| (set.name.as_str(), set)).collect()
}

fn make(socket: &Netlink, family: Family, set: &SetMatch) -> Result<(), Refusal> {
    let number = match family {
        Family::V4 => NetfilterProtoFamily::IPv4,
        Family::V6 => NetfilterProtoFamily::IPv6,
    };
    let named = |more: Vec<DefaultNla>| {
        let name = DefaultNla::new(ATTR_SETNAME, text(&set.name));
        [DefaultNla::new(ATTR_PROTOCOL, vec![PROTOCOL]), name].into_iter().chain(more).collect()
    };
    let ask = |command, attributes, flags| {
        let subsys = NetfilterSubsystem::Other(SUBSYSTEM);
        let inner = NetfilterMessageInner::Other { subsys, message_type: command, attributes };
        let header = NetfilterHeader::new(number, 0, 0);
        socket.ask(NetfilterMessage::new(header, inner), flags).map(drop)
    };
    let made = named(vec![
        DefaultNla::new(ATTR_TYPENAME, text("hash:net")),
        DefaultNla::new(ATTR_REVISION, vec![0]),
        DefaultNla::new(ATTR_FAMILY, vec![u8::from(number)]),
        DefaultNla::new(ATTR_DATA | NESTED, Vec::new()),
    ]);
    // Without the subsystem, or without the type, it is no valid argument or not found.
    let lacks = |r: Refusal| r.lacks(Errno::EINVAL, LACKS).lacks(Errno::ENOENT, LACKS);
    ask(CREATE, made, NLM_F_CREATE).map_err(lacks)?;
    ask(FLUSH, named(Vec::new()), 0)?;
    let networks = set.networks.iter().flatten();
    networks.into_iter().try_for_each(|network| {
        let element = DefaultNla::new(ATTR_DATA | NESTED, element(network));
        ask(ADD, named(vec![element]), 0)
    })
}

/// `IPSET_ATTR_IP` and `IPSET_ATTR_CIDR`.
fn element(network: &IpNet) -> Vec<u8> {
    let (kind, address) = match network.addr() {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let address = attribute(kind | NET_BYTEORDER, &address);
    [attribute(ATTR_IP | NESTED, &address), attribute(ATTR_CIDR, &[network.prefix_len()])].concat()
}

/// An attribute inside another: its length and kind, what it holds, and room up to the next multiple of four.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}
