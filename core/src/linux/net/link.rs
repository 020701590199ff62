//! Devices: made, set up, taken away; the settings of bridge ports.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth,
    InfoVlan, IpVlanFlags, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use nix::errno::Errno;

use super::Net;
use super::socket::Refusal;
use crate::addr::{IfName, MacAddr};
use crate::linux::Error;
use crate::linux::space::Space;
use crate::plan::{BridgePort, Link, LinkKind, NsName, Peer};
use crate::topology::{IpvlanFlag, IpvlanMode, MacvlanMode};

/// What `rtnl_newlink` (net/core/rtnetlink.c) says of a type it does not have; older kernels say nothing.
const UNKNOWN_TYPE: &str = "Unknown device type";

impl Net {
    pub(super) fn make_link<'n>(
        &self,
        link: &Link,
        others: impl Fn(&NsName) -> Option<&'n Self>,
    ) -> Result<(), Refusal> {
        let find = |ns: &NsName| {
            let other = if *ns == self.name { Some(self) } else { others(ns) };
            other.ok_or_else(|| Refusal::words(format!("there is no network namespace {ns}")))
        };
        let (home, parent) = match parent(&self.name, &link.kind) {
            Some((ns, parent)) => (find(ns)?, Some(parent)),
            None => (self, None),
        };
        // Before Linux 6.16 a name is looked for where the request goes, and not where the device is born
        // (`rtnl_newlink`): the parent's `eth0` would be in the way of the container's.
        let foreign = home.name != self.name;
        let name = if foreign && home.socket.index(&link.name).is_ok() { &unnamed()? } else { &link.name };
        let mut attributes = born(name, link.mac, link.mtu);
        if let Some(master) = &link.master {
            attributes.push(LinkAttribute::Controller(self.socket.index(master)?));
        }
        // The request goes where the parent's number means something; the device is born here all the same.
        if let Some(parent) = parent {
            attributes.push(LinkAttribute::Link(home.socket.index(parent)?));
            attributes.extend(foreign.then(|| self.here()));
        }
        let peer = match &link.kind {
            LinkKind::Veth(peer) => Some((peer, find(&peer.ns)?)),
            LinkKind::Bridge | LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. } => None,
            LinkKind::Vlan { .. } | LinkKind::Dummy => None,
        };
        let peer_master = peer.map(|(peer, net)| net.master_of(peer)).transpose()?.flatten();
        let mut info = vec![LinkInfo::Kind(kind(&link.kind))];
        info.extend(data(&link.kind, peer.map(|(peer, net)| net.birth(peer))).map(LinkInfo::Data));
        attributes.push(LinkAttribute::LinkInfo(info));
        home.create(attributes).map_err(|refusal| lacking(refusal, &link.kind))?;
        if *name != link.name {
            let renamed = self.rename(name, &link.name);
            return renamed.or_else(|refusal| self.unmake_link(name).and(Err(refusal)));
        }
        if let (Some((peer, net)), Some(master)) = (peer, peer_master) {
            let enslaved = net.set(&peer.name, [LinkAttribute::Controller(master)]);
            return enslaved.or_else(|refusal| self.unmake_link(&link.name).and(Err(refusal)));
        }
        Ok(())
    }

    /// Takes the device of a link's name from the network namespace that this thread is in, and makes it as the link says.
    ///
    /// # Errors
    /// As the kernel says; where there is none, above all.
    pub fn adopt(&self, link: &Link) -> Result<(), Error> {
        let here = Self::current(self.name.clone())?;
        let done = here.set(&link.name, [self.here()]).and_then(|()| {
            let born = message(born(&link.name, link.mac, link.mtu));
            self.socket.ask(RouteNetlinkMessage::NewLink(born), 0).map(drop)
        });
        done.map_err(|refusal| self.error("plug in", format!("device {}", link.name), refusal))
    }

    /// A peer as `VETH_INFO_PEER` has it. Its master is not among it: the kernel passes over that at birth.
    fn birth(&self, peer: &Peer) -> LinkMessage {
        let mut attributes = born(&peer.name, peer.mac, peer.mtu);
        attributes.push(self.here());
        message(attributes)
    }

    fn master_of(&self, peer: &Peer) -> Result<Option<u32>, Refusal> {
        peer.master.as_ref().map(|master| self.socket.index(master)).transpose()
    }

    /// Into this namespace.
    fn here(&self) -> LinkAttribute {
        LinkAttribute::NetNsFd(self.space.as_fd().as_raw_fd())
    }

    /// A device's own MAC address.
    pub(super) fn mac(&self, name: &IfName) -> Result<MacAddr, Refusal> {
        let mac = self.look(name)?.attributes.into_iter().find_map(|attribute| {
            let LinkAttribute::Address(bytes) = attribute else { return None };
            <[u8; 6]>::try_from(&bytes[..]).ok()
        });
        mac.map(MacAddr).ok_or_else(|| Refusal::words(format!("{name} has no MAC address")))
    }

    /// Whether a device is there, and up, and what is below it is too.
    #[must_use]
    pub fn is_carrying(&self, name: &IfName) -> bool {
        self.carries(name).unwrap_or(false)
    }

    /// Whether a device is up, and what is below it is too.
    pub(super) fn carries(&self, name: &IfName) -> Result<bool, Refusal> {
        Ok(self.look(name)?.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp))
    }

    /// Whether a device that can carry something does. The kernel puts its queue in place when it has time
    /// (`linkwatch_do_dev`, net/core/link_watch.c); until then what is sent by it is lost.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn runs(&self, name: &IfName) -> Result<bool, Error> {
        match self.look(name) {
            Ok(link) => {
                let flags = link.header.flags;
                Ok(!flags.contains(LinkFlags::LowerUp) || flags.contains(LinkFlags::Running))
            }
            // It went with its peer.
            Err(refusal) if refusal.is(Errno::ENODEV) => Ok(true),
            Err(refusal) => Err(self.error("look for", format!("link {name}"), refusal)),
        }
    }

    /// Sets a device's MTU; what it was before the first time is kept.
    pub(super) fn disturb_mtu(&self, name: &IfName, mtu: u32) -> Result<(), Refusal> {
        let is = self.look(name)?.attributes.into_iter().find_map(|attribute| {
            let LinkAttribute::Mtu(mtu) = attribute else { return None };
            Some(mtu)
        });
        self.set(name, [LinkAttribute::Mtu(mtu)])?;
        if let Some(is) = is {
            self.mtus.borrow_mut().entry(name.clone()).or_insert(is);
        }
        Ok(())
    }

    /// Sets a device's MTU back to what it was.
    pub(super) fn restore_mtu(&self, name: &IfName) -> Result<(), Refusal> {
        let was = self.mtus.borrow_mut().remove(name);
        was.map_or(Ok(()), |mtu| self.set(name, [LinkAttribute::Mtu(mtu)]))
    }

    fn look(&self, name: &IfName) -> Result<LinkMessage, Refusal> {
        let told = self.socket.ask(RouteNetlinkMessage::GetLink(message(vec![named(name)])), 0)?;
        let link = told.into_iter().find_map(|answer| {
            let RouteNetlinkMessage::NewLink(link) = answer else { return None };
            Some(link)
        });
        link.ok_or_else(|| Refusal::words(format!("the kernel says nothing of {name}")))
    }

    pub(super) fn create(&self, attributes: Vec<LinkAttribute>) -> Result<(), Refusal> {
        let request = RouteNetlinkMessage::NewLink(message(attributes));
        self.socket.ask(request, NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Changes a device that is there, by name.
    fn set(&self, name: &IfName, to: impl IntoIterator<Item = LinkAttribute>) -> Result<(), Refusal> {
        let attributes = [named(name)].into_iter().chain(to).collect();
        self.socket.ask(RouteNetlinkMessage::NewLink(message(attributes)), 0).map(drop)
    }

    fn rename(&self, name: &IfName, to: &IfName) -> Result<(), Refusal> {
        let mut request = message(vec![named(to)]);
        request.header.index = self.socket.index(name)?;
        self.socket.ask(RouteNetlinkMessage::NewLink(request), 0).map(drop)
    }

    pub(super) fn unmake_link(&self, name: &IfName) -> Result<(), Refusal> {
        self.socket.ask(RouteNetlinkMessage::DelLink(message(vec![named(name)])), 0).map(drop)
    }

    pub(super) fn set_up(&self, name: &IfName, up: bool) -> Result<(), Refusal> {
        let mut request = message(vec![named(name)]);
        request.header.change_mask = LinkFlags::Up;
        request.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        self.socket.ask(RouteNetlinkMessage::NewLink(request), 0).map(drop)
    }

    pub(super) fn set_port(&self, port: &BridgePort) -> Result<(), Refusal> {
        self.port(&port.link, port.hairpin, port.isolated)
    }

    /// A port as it is when it is new.
    pub(super) fn reset_port(&self, link: &IfName) -> Result<(), Refusal> {
        self.port(link, false, false)
    }

    fn port(&self, link: &IfName, hairpin: bool, isolated: bool) -> Result<(), Refusal> {
        let settings = vec![InfoBridgePort::HairpinMode(hairpin), InfoBridgePort::Isolated(isolated)];
        let info = vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ];
        self.set(link, [LinkAttribute::LinkInfo(info)])
    }
}

/// Gives a device of the network namespace that this thread is in to another namespace.
///
/// # Errors
/// As the kernel says.
pub fn hand_over(device: &IfName, to: &Space) -> Result<(), Error> {
    let here = Net::current(NsName::from("this machine"))?;
    let there = LinkAttribute::NetNsFd(to.as_fd().as_raw_fd());
    let handed = here.set(device, [there]);
    handed.map_err(|refusal| here.error("hand over", format!("device {device}"), refusal))
}

fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    message
}

fn named(name: &IfName) -> LinkAttribute {
    LinkAttribute::IfName(name.as_str().to_owned())
}

/// What a device is called that cannot have its own name yet.
fn unnamed() -> Result<IfName, Refusal> {
    "unnamed".parse().map_err(|e| Refusal::words(format!("{e}")))
}

/// What a device is born with, whatever its kind.
fn born(name: &IfName, mac: Option<MacAddr>, mtu: Option<u32>) -> Vec<LinkAttribute> {
    let mac = mac.map(|MacAddr(bytes)| LinkAttribute::Address(bytes.to_vec()));
    [Some(named(name)), mac, mtu.map(LinkAttribute::Mtu)].into_iter().flatten().collect()
}

/// The parent and its namespace.
const fn parent<'a>(own: &'a NsName, kind: &'a LinkKind) -> Option<(&'a NsName, &'a IfName)> {
    match kind {
        LinkKind::Macvlan { parent, .. } | LinkKind::Ipvlan { parent, .. } => {
            Some((&parent.ns, &parent.name))
        }
        LinkKind::Vlan { parent, .. } => Some((own, parent)),
        LinkKind::Bridge | LinkKind::Veth(_) | LinkKind::Dummy => None,
    }
}

const fn kind(kind: &LinkKind) -> InfoKind {
    match kind {
        LinkKind::Bridge => InfoKind::Bridge,
        LinkKind::Veth(_) => InfoKind::Veth,
        LinkKind::Macvlan { .. } => InfoKind::MacVlan,
        LinkKind::Ipvlan { .. } => InfoKind::IpVlan,
        LinkKind::Vlan { .. } => InfoKind::Vlan,
        LinkKind::Dummy => InfoKind::Dummy,
    }
}

fn data(kind: &LinkKind, peer: Option<LinkMessage>) -> Option<InfoData> {
    match kind {
        LinkKind::Bridge | LinkKind::Dummy => None,
        LinkKind::Veth(_) => peer.map(|peer| InfoData::Veth(InfoVeth::Peer(peer))),
        LinkKind::Macvlan { mode, .. } => Some(InfoData::MacVlan(vec![InfoMacVlan::Mode(macvlan(*mode))])),
        LinkKind::Ipvlan { mode, flag, .. } => {
            let (mode, flag) = (InfoIpVlan::Mode(ipvlan(*mode)), InfoIpVlan::Flags(ipvlan_flag(*flag)));
            Some(InfoData::IpVlan(vec![mode, flag]))
        }
        LinkKind::Vlan { id, .. } => Some(InfoData::Vlan(vec![InfoVlan::Id(*id)])),
    }
}

const fn macvlan(mode: MacvlanMode) -> MacVlanMode {
    match mode {
        MacvlanMode::Bridge => MacVlanMode::Bridge,
        MacvlanMode::Private => MacVlanMode::Private,
        MacvlanMode::Vepa => MacVlanMode::Vepa,
        MacvlanMode::Passthru => MacVlanMode::Passthrough,
    }
}

const fn ipvlan(mode: IpvlanMode) -> IpVlanMode {
    match mode {
        IpvlanMode::L2 => IpVlanMode::L2,
        IpvlanMode::L3 => IpVlanMode::L3,
        IpvlanMode::L3s => IpVlanMode::L3S,
    }
}

const fn ipvlan_flag(flag: IpvlanFlag) -> IpVlanFlags {
    match flag {
        IpvlanFlag::Bridge => IpVlanFlags::empty(),
        IpvlanFlag::Private => IpVlanFlags::Private,
        IpvlanFlag::Vepa => IpVlanFlags::Vepa,
    }
}

/// What a kernel needs to have for a device that it says it does not know.
fn lacking(refusal: Refusal, kind: &LinkKind) -> Refusal {
    let help = match kind {
        LinkKind::Bridge => "a kernel with CONFIG_BRIDGE (module bridge)",
        LinkKind::Veth(_) => "a kernel with CONFIG_VETH (module veth)",
        LinkKind::Macvlan { .. } => "a kernel with CONFIG_MACVLAN (module macvlan)",
        LinkKind::Ipvlan { .. } => "a kernel with CONFIG_IPVLAN (module ipvlan)",
        LinkKind::Vlan { .. } => "a kernel with CONFIG_VLAN_8021Q (module 8021q)",
        LinkKind::Dummy => "a kernel with CONFIG_DUMMY (module dummy)",
    };
    let unknown = refusal.told.as_deref().is_none_or(|words| words.contains(UNKNOWN_TYPE));
    if unknown { refusal.lacks(Errno::EOPNOTSUPP, help) } else { refusal }
}
