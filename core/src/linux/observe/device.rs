//! A device as its namespace's kernel tells of it.
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than a plan has words for")]

use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoVlan, IpVlanFlags,
    IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, MacVlanMode, VlanProtocol,
};

use crate::addr::{IfName, MacAddr};
use crate::topology::{IpvlanFlag, IpvlanMode, MacvlanMode};

/// What an Ethernet device carries at once where nobody says otherwise (`ETH_DATA_LEN`).
const ETHERNET: u32 = 1500;

/// A device; others are known by number here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) index: u32,
    pub(super) name: IfName,
    pub(super) kind: Kind,
    pub(super) mac: Option<MacAddr>,
    /// None where it is Ethernet's.
    pub(super) mtu: Option<u32>,
    pub(super) up: bool,
    /// The device that it is a port of.
    pub(super) master: Option<u32>,
    /// The other end of its cable, or its parent.
    pub(super) far: Option<Far>,
    /// Of a bridge port: whether frames may leave where they came in, and whether it is isolated.
    pub(super) port: Option<(bool, bool)>,
}

/// A device that may be elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Far {
    /// The number of its namespace; none where it is in this one.
    pub(super) ns: Option<i32>,
    /// Its own number there.
    pub(super) index: u32,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Loopback,
    Bridge,
    Veth,
    Macvlan(MacvlanMode),
    Ipvlan(IpvlanMode, IpvlanFlag),
    Vlan(u16),
    Dummy,
    /// What no plan has, in the words of `ip link`.
    Other(String),
}

/// What `ip link` says no kind of.
const HARDWARE: &str = "hardware";

impl Kind {
    /// Whether it leads to others by nature.
    pub(super) fn is_cable(&self) -> bool {
        match self {
            Self::Veth => true,
            Self::Other(kind) => kind == HARDWARE,
            Self::Loopback
            | Self::Bridge
            | Self::Macvlan(_)
            | Self::Ipvlan(..)
            | Self::Vlan(_)
            | Self::Dummy => false,
        }
    }
}

/// Reads a message; its name where that is none a plan could have.
pub(super) fn device(message: &LinkMessage) -> Result<Device, String> {
    let name =
        message.attributes.iter().find_map(|a| if let LinkAttribute::IfName(n) = a { Some(n) } else { None });
    let name = name.map(String::as_str).unwrap_or_default();
    let mut device = Device {
        index: message.header.index,
        name: name.parse().map_err(|_| name.to_owned())?,
        kind: kind(message),
        mac: None,
        mtu: None,
        up: message.header.flags.contains(LinkFlags::Up),
        master: None,
        far: None,
        port: None,
    };
    let (mut far, mut ns) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => device.mac = <[u8; 6]>::try_from(&bytes[..]).ok().map(MacAddr),
            LinkAttribute::Mtu(mtu) => device.mtu = Some(*mtu).filter(|mtu| *mtu != ETHERNET),
            LinkAttribute::Controller(master) => device.master = Some(*master),
            LinkAttribute::Link(index) => far = Some(*index),
            LinkAttribute::LinkNetNsId(number) => ns = Some(*number),
            LinkAttribute::LinkInfo(info) => device.port = info.iter().find_map(port),
            _ => {}
        }
    }
    device.far = far.map(|index| Far { ns, index });
    Ok(device)
}

fn kind(message: &LinkMessage) -> Kind {
    if message.header.link_layer_type == LinkLayerType::Loopback {
        return Kind::Loopback;
    }
    let info = message
        .attributes
        .iter()
        .find_map(|a| if let LinkAttribute::LinkInfo(i) = a { Some(i) } else { None });
    let info = info.map(Vec::as_slice).unwrap_or_default();
    let data = info.iter().find_map(|i| if let LinkInfo::Data(data) = i { Some(data) } else { None });
    let Some(kind) = info.iter().find_map(|i| if let LinkInfo::Kind(kind) = i { Some(kind) } else { None })
    else {
        return Kind::Other(HARDWARE.to_owned());
    };
    let known = match (kind, data) {
        (InfoKind::Bridge, _) => Some(Kind::Bridge),
        (InfoKind::Veth, _) => Some(Kind::Veth),
        (InfoKind::Dummy, _) => Some(Kind::Dummy),
        (InfoKind::MacVlan, Some(InfoData::MacVlan(data))) => macvlan(data),
        (InfoKind::IpVlan, Some(InfoData::IpVlan(data))) => ipvlan(data),
        (InfoKind::Vlan, Some(InfoData::Vlan(data))) => vlan(data),
        _ => None,
    };
    known.unwrap_or_else(|| Kind::Other(kind.to_string()))
}

fn macvlan(data: &[InfoMacVlan]) -> Option<Kind> {
    let mode = data.iter().find_map(|d| if let InfoMacVlan::Mode(mode) = d { Some(mode) } else { None })?;
    match mode {
        MacVlanMode::Bridge => Some(Kind::Macvlan(MacvlanMode::Bridge)),
        MacVlanMode::Private => Some(Kind::Macvlan(MacvlanMode::Private)),
        MacVlanMode::Vepa => Some(Kind::Macvlan(MacvlanMode::Vepa)),
        MacVlanMode::Passthrough => Some(Kind::Macvlan(MacvlanMode::Passthru)),
        _ => None,
    }
}

fn ipvlan(data: &[InfoIpVlan]) -> Option<Kind> {
    let mode = data.iter().find_map(|d| if let InfoIpVlan::Mode(mode) = d { Some(mode) } else { None })?;
    let flags = data.iter().find_map(|d| if let InfoIpVlan::Flags(flags) = d { Some(*flags) } else { None });
    let flag = match flags.unwrap_or_default() {
        flags if flags.contains(IpVlanFlags::Private) => IpvlanFlag::Private,
        flags if flags.contains(IpVlanFlags::Vepa) => IpvlanFlag::Vepa,
        _ => IpvlanFlag::Bridge,
    };
    let mode = match mode {
        IpVlanMode::L2 => IpvlanMode::L2,
        IpVlanMode::L3 => IpvlanMode::L3,
        IpVlanMode::L3S => IpvlanMode::L3s,
        _ => return None,
    };
    Some(Kind::Ipvlan(mode, flag))
}

fn vlan(data: &[InfoVlan]) -> Option<Kind> {
    // Tags within tags (802.1ad) are in no plan.
    let other =
        |d: &InfoVlan| matches!(d, InfoVlan::Protocol(protocol) if *protocol != VlanProtocol::Ieee8021Q);
    let id = data.iter().find_map(|d| if let InfoVlan::Id(id) = d { Some(*id) } else { None })?;
    (!data.iter().any(other)).then_some(Kind::Vlan(id))
}

fn port(info: &LinkInfo) -> Option<(bool, bool)> {
    let LinkInfo::PortData(InfoPortData::BridgePort(settings)) = info else { return None };
    let on = |is: fn(&InfoBridgePort) -> bool| settings.iter().any(is);
    Some((
        on(|setting| matches!(setting, InfoBridgePort::HairpinMode(true))),
        on(|setting| matches!(setting, InfoBridgePort::Isolated(true))),
    ))
}
