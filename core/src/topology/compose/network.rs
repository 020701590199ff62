//! `networks` at the top level.

use crate::diagnostic::Diagnostics;
use crate::topology::yaml::Node;
use crate::topology::{BridgeOptions, Driver, Network};

/// The networks in the order they are made: the implicit one first, then as the file has them.
pub(super) fn all(root: &Node, project: &str, _out: &mut Diagnostics) -> Vec<Network> {
    vec![Network {
        key: "default".to_owned(),
        name: format!("{project}_default"),
        driver: Driver::Bridge(BridgeOptions::default()),
        ipv4: true,
        ipv6: false,
        internal: false,
        attachable: false,
        external: false,
        pools: Vec::new(),
        at: root.at.clone(),
    }]
}
