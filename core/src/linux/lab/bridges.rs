//! Bridges, as the kernel shows them under /sys/class/net: where `brctl` reads them too (bridge-utils,
//! libbridge/libbridge_devif.c).

use std::fs;
use std::io;
use std::path::Path;

use super::Entry;
use crate::linux::Error;
use crate::linux::space::Space;
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

/// The bridges of a node, sorted by name. This process goes into the node's mount namespace for it, and stays there.
///
/// # Errors
/// Where it may not be entered, or shows nothing.
pub fn read(entry: &Entry) -> Result<Vec<Bridge>, Error> {
    let node = &entry.process.node;
    let failed = |what: &str, e: io::Error| Error::new(what, format!("{node}"), &e);
    let mount = entry.spaces.iter().find(|space| space.kind() == NsKind::Mount);
    let enter = || entry.stage.enter().and_then(|()| mount.map_or(Ok(()), Space::enter));
    enter().map_err(|e| failed("enter", e))?;
    below(Path::new("/sys/class/net")).map_err(|e| failed("read the bridges of", e))
}

fn below(devices: &Path) -> io::Result<Vec<Bridge>> {
    let mut bridges = Vec::new();
    for name in names(devices)? {
        let device = devices.join(&name);
        let read = |file: &str| fs::read_to_string(device.join("bridge").join(file));
        match read("bridge_id") {
            Ok(id) => bridges.push(Bridge {
                name,
                id: id.trim().to_owned(),
                stp: read("stp_state")?.trim() != "0",
                ports: names(&device.join("brif"))?,
            }),
            // No bridge, or one no more; or no device at all, as `bonding_masters` is.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(bridges)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
