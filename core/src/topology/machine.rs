//! Machines: what a Docker host has by itself, those on its wire, and who listens.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::NodeName;
use crate::addr::{IfName, IpNet, Transport};
use crate::diagnostic::At;
use crate::rules::Ruleset;
use crate::rules::nft::Script;

/// What Docker would ask of its host, with defaults that are the same everywhere.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Devices and their addresses; default `eth0` 203.0.113.10/24.
    pub interfaces: BTreeMap<IfName, Vec<IpNet>>,
    /// Routes; default `default via 203.0.113.1`.
    pub routes: Vec<RouteSpec>,
    /// `/etc/resolv.conf`; default `nameserver 203.0.113.1`.
    pub resolv_conf: String,
    /// `/etc/hosts`.
    pub hosts_file: String,
    /// Ports that another process holds.
    pub ports_in_use: Vec<(Transport, u16)>,
    /// Settings that stood before Docker came.
    pub sysctls: BTreeMap<String, String>,
    /// Whether IPv4 forwarding was on before Docker came; default no: Docker turns it on and sets FORWARD to DROP.
    pub boot_ip_forward: bool,
    /// Rules of iptables that stood before Docker came.
    pub firewall: Vec<Ruleset>,
    /// What nft was given before Docker came.
    pub nft: Option<Script>,
}

impl Default for Machine {
    fn default() -> Self {
        let (address, router) = (Ipv4Addr::new(203, 0, 113, 10), Ipv4Addr::new(203, 0, 113, 1));
        let default = IpNet::V4(ipnet::Ipv4Net::default());
        Self {
            interfaces: BTreeMap::from([(
                IfName::eth0(),
                vec![IpNet::V4(ipnet::Ipv4Net::new_assert(address, 24))],
            )]),
            routes: vec![RouteSpec { to: default, via: Some(IpAddr::V4(router)), dev: None }],
            resolv_conf: format!("nameserver {router}\n"),
            hosts_file: "127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_owned(),
            ports_in_use: Vec::new(),
            sysctls: BTreeMap::new(),
            boot_ip_forward: false,
            firewall: Vec::new(),
            nft: None,
        }
    }
}

/// A route as `ip route` writes it: `172.18.0.0/16 via 203.0.113.10`, `default dev eth0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// Where to; the unspecified network for `default`.
    pub to: IpNet,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The device; eth0 where neither this nor the next hop says.
    pub dev: Option<IfName>,
}

/// Why a route could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{text}' is not a route: {why}; expected NETWORK [via ADDRESS] [dev NAME], as in 'default via 203.0.113.1'"
)]
pub struct RouteError {
    text: String,
    why: String,
}

impl FromStr for RouteSpec {
    type Err = RouteError;

    fn from_str(s: &str) -> Result<Self, RouteError> {
        let bad = |why: &str| RouteError { text: s.to_owned(), why: why.to_owned() };
        let mut words = s.split_whitespace();
        let to = words.next().ok_or_else(|| bad("it is empty"))?;
        let (mut via, mut dev) = (None, None);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| bad(&format!("'{word}' has no value")))?;
            match word {
                "via" => {
                    via = Some(value.parse::<IpAddr>().map_err(|_| bad(&format!("'{value}' is no address")))?)
                }
                "dev" => dev = Some(value.parse::<IfName>().map_err(|e| bad(&e.to_string()))?),
                _ => return Err(bad(&format!("'{word}' is neither 'via' nor 'dev'"))),
            }
        }
        let to = match (to, via) {
            ("default", Some(IpAddr::V6(_))) => IpNet::V6(ipnet::Ipv6Net::default()),
            ("default", _) => IpNet::V4(ipnet::Ipv4Net::default()),
            (net, _) => parse_net(net).ok_or_else(|| bad(&format!("'{net}' is no network")))?,
        };
        if to.trunc() != to {
            return Err(bad(&format!("'{to}' has bits beyond its prefix: {}", to.trunc())));
        }
        Ok(Self { to, via, dev })
    }
}

/// A network with its prefix, or an address alone as a network of one.
fn parse_net(s: &str) -> Option<IpNet> {
    s.parse::<IpNet>().ok().or_else(|| s.parse::<IpAddr>().ok().map(IpNet::from))
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.to.prefix_len() == 0 {
            f.write_str("default")?
        } else {
            self.to.fmt(f)?
        }
        self.via.iter().try_for_each(|via| write!(f, " via {via}"))?;
        self.dev.iter().try_for_each(|dev| write!(f, " dev {dev}"))
    }
}

/// A machine on eth0's wire.
#[derive(Debug, Clone)]
pub struct LanMachine {
    /// Its name in probes.
    pub name: NodeName,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Routes beyond its own networks.
    pub routes: Vec<RouteSpec>,
    /// Where it was written.
    pub at: At,
}

/// A socket that answers every probe that reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Who listens.
    pub node: NodeName,
    /// The address it is bound to; any, of both families, where there is none.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub transport: Transport,
    /// Where it was written.
    pub at: At,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_survives_display() {
        for text in [
            "default via 203.0.113.1",
            "172.18.0.0/16 via 203.0.113.10 dev eth0",
            "default via fe80::1 dev eth0",
        ] {
            assert_eq!(text.parse::<RouteSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bad_route_says_why() {
        for (text, why) in
            [("", "empty"), ("x", "no network"), ("default via", "no value"), ("default by 1", "neither")]
        {
            assert!(text.parse::<RouteSpec>().unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
