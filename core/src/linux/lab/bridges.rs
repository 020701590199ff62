//! Bridges, as the kernel tells of them.

use std::io;

use netlink_packet_route::link::{
    BridgeId, BridgeStpState, InfoBridge, InfoData, LinkAttribute, LinkInfo, LinkMessage,
};

use super::Entry;
use crate::linux::Error;
use crate::linux::net::Net;
use crate::plan::NsName;
use crate::probe::NsKind;

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its id: a priority and a hardware address, `8000.0242ac110001`.
    pub id: String,
    /// Whether it speaks the spanning tree protocol.
    pub stp: bool,
    /// Its ports, sorted.
    pub ports: Vec<String>,
}

/// The bridges of a node, sorted by name. This process goes where the node's network is, and stays there.
///
/// # Errors
/// Where it may not be entered, or tells nothing.
pub fn read(entry: &Entry) -> Result<Vec<Bridge>, Error> {
    let node = &entry.process.node;
    let failed = |e: io::Error| Error::new("enter", format!("{node}"), &e);
    let network = entry.spaces.iter().find(|space| space.kind() == NsKind::Network);
    let network = network.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    entry.stage.enter().and_then(|()| network.enter()).map_err(failed)?;
    Ok(among(&Net::current(NsName::from(node))?.devices()?))
}

/// The bridges among the devices of a namespace.
fn among(devices: &[LinkMessage]) -> Vec<Bridge> {
    let mut bridges: Vec<Bridge> = devices.iter().filter_map(|device| bridge(device, devices)).collect();
    bridges.sort_by(|a, b| a.name.cmp(&b.name));
    bridges
}

fn bridge(device: &LinkMessage, all: &[LinkMessage]) -> Option<Bridge> {
    let data = device.attributes.iter().find_map(|attribute| {
        let LinkAttribute::LinkInfo(info) = attribute else { return None };
        info.iter()
            .find_map(|i| if let LinkInfo::Data(InfoData::Bridge(data)) = i { Some(data) } else { None })
    })?;
    let id = data.iter().find_map(|d| if let InfoBridge::BridgeId(id) = d { Some(id) } else { None })?;
    let speaks =
        |d: &InfoBridge| matches!(d, InfoBridge::StpState(state) if *state != BridgeStpState::Disabled);
    let plug = LinkAttribute::Controller(device.header.index);
    let plugged = |other: &&LinkMessage| other.attributes.contains(&plug);
    let mut ports: Vec<String> = all.iter().filter(plugged).filter_map(name).collect();
    ports.sort();
    Some(Bridge { name: name(device)?, id: written(id), stp: data.iter().any(speaks), ports })
}

/// As /sys/class/net has it, where `brctl` reads it (bridge-utils, libbridge/libbridge_devif.c).
fn written(id: &BridgeId) -> String {
    let mac: String = id.address.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{:04x}.{mac}", id.priority)
}

fn name(device: &LinkMessage) -> Option<String> {
    device
        .attributes
        .iter()
        .find_map(|a| if let LinkAttribute::IfName(name) = a { Some(name.clone()) } else { None })
}
