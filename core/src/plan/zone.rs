//! What a resolver answers itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The names that a resolver knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Names, lower case, each with its addresses in order; of `name.network` the network as it is called.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// The networks behind names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub networks: BTreeSet<String>,
    /// Names of addresses (PTR).
    pub reverse: BTreeMap<IpAddr, String>,
}

impl Zone {
    /// The addresses of a name. Capitals in it say nothing, but those of a network do: `WEB.demo_front` is known, and
    /// `web.Demo_Front` is not (20.10.24, 26.1.5 and 28.5.2; `ResolveName` compares it with the network's name).
    #[must_use]
    pub fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        let lower = name.to_ascii_lowercase();
        let of_network = self.networks.iter().find_map(|network| {
            let at = name.len().checked_sub(network.len()).filter(|at| *at > 1)?;
            let behind = name.get(at..).filter(|behind| behind.eq_ignore_ascii_case(network))?;
            name.get(..at)?.ends_with('.').then_some((at, behind))
        });
        let key = match of_network {
            Some((at, network)) => lower.get(..at)?.to_owned() + network,
            None => lower,
        };
        self.names.get(&key).map(Vec::as_slice)
    }
}
