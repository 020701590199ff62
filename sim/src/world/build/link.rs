//! Devices and their addresses, as a plan has them.

use std::net::IpAddr;

use seatrial_core::addr::{Family, IfName, IpNet, MacAddr};
use seatrial_core::plan::{Address, BridgePort, Link, LinkKind, Parent, Peer};
use seatrial_core::rules::AddrType;

use super::Refusal;
use crate::arena::{DevId, NsId};
use crate::device::{Device, Kind, bridge::Bridge};
use crate::stack::address::{IfAddr, link_local};
use crate::stack::fib::{Entry, TABLE_LOCAL, TABLE_MAIN};
use crate::world::World;

impl World {
    fn parent(&self, parent: &Parent) -> Result<DevId, Refusal> {
        let ns = self.network(&parent.ns)?;
        self.device(ns, &parent.name)
    }

    pub(super) fn make_link(&mut self, ns: NsId, link: &Link) -> Result<(), Refusal> {
        let kind = match &link.kind {
            LinkKind::Bridge => Kind::Bridge(Bridge::new(link.mac.is_some())),
            LinkKind::Veth(_) => Kind::Veth { peer: None },
            LinkKind::Macvlan { parent, mode } => Kind::Macvlan { lower: self.parent(parent)?, mode: *mode },
            LinkKind::Ipvlan { parent, mode, flag } => {
                Kind::Ipvlan { lower: self.parent(parent)?, mode: *mode, flag: *flag }
            }
            LinkKind::Vlan { parent, id } => Kind::Vlan { lower: self.device(ns, parent)?, id: *id },
            LinkKind::Dummy => Kind::Dummy,
        };
        let dev = self.make_device(ns, &link.name, kind, link.mac, link.mtu, link.master.as_ref())?;
        if let LinkKind::Veth(peer) = &link.kind {
            self.make_peer(dev, peer)?;
        }
        Ok(())
    }

    fn make_peer(&mut self, dev: DevId, peer: &Peer) -> Result<(), Refusal> {
        let ns = self.network(&peer.ns)?;
        let kind = Kind::Veth { peer: Some(dev) };
        let other = self.make_device(ns, &peer.name, kind, peer.mac, peer.mtu, peer.master.as_ref())?;
        self.devices[dev].kind = Kind::Veth { peer: Some(other) };
        Ok(())
    }

    fn make_device(
        &mut self,
        ns: NsId,
        name: &IfName,
        kind: Kind,
        mac: Option<MacAddr>,
        mtu: Option<u32>,
        master: Option<&IfName>,
    ) -> Result<DevId, Refusal> {
        if self.stacks[ns].links.contains_key(name) {
            return Err(format!("there is a device {name} already"));
        }
        let master = master.map(|m| self.device(ns, m)).transpose()?;
        if let Some(bridge) = master.filter(|m| !matches!(self.devices[*m].kind, Kind::Bridge(_))) {
            return Err(format!("{} is no bridge", self.devices[bridge].name));
        }
        let (lower, shared) = match &kind {
            Kind::Macvlan { lower, .. } => (Some(*lower), None),
            Kind::Ipvlan { lower, .. } | Kind::Vlan { lower, .. } => {
                (Some(*lower), Some(self.devices[*lower].mac))
            }
            Kind::Loopback | Kind::Bridge(_) | Kind::Veth { .. } | Kind::Dummy => (None, None),
        };
        let mut device = Device::new(ns, name.clone(), kind);
        device.mtu = mtu.or(lower.map(|l| self.devices[l].mtu)).unwrap_or(device.mtu);
        device.mac = mac.or(shared).unwrap_or_else(|| self.any_mac());
        let dev = self.devices.push(device);
        lower.into_iter().for_each(|lower| self.devices[lower].uppers.push(dev));
        self.stacks[ns].adopt(name.clone(), dev);
        master.into_iter().for_each(|bridge| self.enslave(dev, bridge));
        Ok(dev)
    }

    /// A MAC address that nobody looks at: unicast, locally administered.
    fn any_mac(&mut self) -> MacAddr {
        let [a, b, c, d, e, ..] = self.seed.next_u64().to_be_bytes();
        MacAddr([0x02, a, b, c, d, e])
    }

    pub(super) fn set_port(&mut self, ns: NsId, port: &BridgePort) -> Result<(), Refusal> {
        let dev = self.device(ns, &port.link)?;
        let Some(settings) = self.devices[dev].port.as_mut() else {
            return Err(format!("{} is no port of a bridge", port.link));
        };
        (settings.hairpin, settings.isolated) = (port.hairpin, port.isolated);
        Ok(())
    }

    pub(super) fn make_address(&mut self, ns: NsId, address: &Address) -> Result<(), Refusal> {
        let dev = self.device(ns, &address.link)?;
        let new = IfAddr::new(address.net);
        let off = Family::of_net(address.net) == Family::V6 && self.stacks[ns].conf(dev).disable_ipv6;
        if off {
            return Err(format!("IPv6 is off on {}", address.link));
        }
        let inet = self.stacks[ns].inet.get_mut(&dev).ok_or("the device is gone")?;
        if inet.addresses.iter().any(|a| a.net == address.net) {
            return Err("the device has it already".to_owned());
        }
        inet.addresses.push(new);
        self.refresh(ns, dev);
        Ok(())
    }

    /// Sets a device up or down; what goes down loses its routes, and what it learned.
    pub(crate) fn set_up(&mut self, ns: NsId, name: &IfName, up: bool) -> Result<(), Refusal> {
        let dev = self.device(ns, name)?;
        let now_us = self.now_us();
        self.devices[dev].up = up;
        if !up {
            self.stacks[ns].fib.forget_device(dev);
            self.stacks[ns].neighbours.retain(|(d, _), _| *d != dev);
            self.stacks[ns].netfilter.iter_mut().for_each(|n| n.forget_masquerade(name, None, now_us));
            let bridge = self.bridge_of(dev).and_then(|b| self.devices[b].bridge_mut());
            bridge.into_iter().for_each(|b| b.forget(dev));
        }
        self.refresh(ns, dev);
        Ok(())
    }

    pub(crate) fn refresh_all(&mut self, ns: NsId) {
        let devices: Vec<DevId> = self.stacks[ns].links.values().copied().collect();
        devices.into_iter().for_each(|dev| self.refresh(ns, dev));
    }

    /// Makes a device's own addresses, and the routes that its addresses bring, anew (`fib_add_ifaddr`, F2).
    pub(crate) fn refresh(&mut self, ns: NsId, dev: DevId) {
        let device = &self.devices[dev];
        let (up, loopback, mac) = (device.up, device.is_loopback(), device.mac);
        let stack = &mut self.stacks[ns];
        let speaks_v6 = !stack.conf(dev).disable_ipv6;
        let Some(inet) = stack.inet.get_mut(&dev) else { return };
        if !speaks_v6 {
            inet.addresses.retain(|a| Family::of_net(a.net) == Family::V4);
        }
        let localhost = [IpAddr::from([127, 0, 0, 1]), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
        let own = match (up, loopback) {
            (false, _) => vec![],
            (true, true) => {
                localhost.into_iter().zip([8, 128]).filter_map(|(a, p)| IpNet::new(a, p).ok()).collect()
            }
            (true, false) => link_local(mac).into_iter().collect(),
        };
        for net in own {
            let speaks = speaks_v6 || Family::of_net(net) == Family::V4;
            if speaks && !inet.addresses.iter().any(|a| a.net == net) {
                inet.addresses.push(IfAddr::new(net));
            }
        }
        let addresses: Vec<IpNet> = inet.addresses.iter().map(|a| a.net).collect();
        // A host has a device for each container: few of them have brought routes before.
        if std::mem::replace(&mut inet.routed, !addresses.is_empty()) {
            stack.fib.remove(|_, e| e.of_address && e.dev == Some(dev));
        }
        for net in &addresses {
            let primary = addresses.iter().find(|a| a.trunc() == net.trunc()).unwrap_or(net);
            for (table, entry) in routes_of(*net, dev, up, loopback, *primary) {
                stack.fib.add(table, entry);
            }
        }
    }
}

/// The routes that an address brings: to itself, to everyone on its subnet, and to the subnet. All of them prefer the
/// subnet's first address as their source, and the routes to the subnet come with that one.
fn routes_of(net: IpNet, dev: DevId, up: bool, loopback: bool, primary: IpNet) -> Vec<(u32, Entry)> {
    let (v4, width) = (Family::of_net(net) == Family::V4, net.max_prefix_len());
    let source = v4.then(|| primary.addr());
    let entry = |to: IpNet, kind, metric| Entry {
        to,
        kind,
        dev: Some(dev),
        via: None,
        source,
        metric,
        of_address: true,
    };
    let host = |addr: IpAddr| IpNet::new(addr, width).ok();
    let mut routes: Vec<(u32, Entry)> =
        host(net.addr()).into_iter().map(|to| (TABLE_LOCAL, entry(to, AddrType::Local, 0))).collect();
    if up && net == primary && net.prefix_len() < width {
        let metric = if v4 { 0 } else { 256 };
        let subnet = net.trunc();
        let broadcast =
            (v4 && net.prefix_len() < 31 && !loopback).then(|| host(subnet.broadcast())).flatten();
        routes.extend(broadcast.map(|to| (TABLE_LOCAL, entry(to, AddrType::Broadcast, 0))));
        routes.push(if loopback {
            (TABLE_LOCAL, entry(subnet, AddrType::Local, 0))
        } else {
            (TABLE_MAIN, entry(subnet, AddrType::Unicast, metric))
        });
    }
    routes
}
