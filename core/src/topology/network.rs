//! Networks and their drivers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::addr::{IfName, IpNet};
use crate::diagnostic::At;

/// A user-defined network.
#[derive(Debug, Clone)]
pub struct Network {
    /// The key under `networks`.
    pub key: String,
    /// Docker's name for it: `PROJECT_KEY`, or `name`.
    pub name: String,
    /// The driver and its options.
    pub driver: Driver,
    /// `enable_ipv4`; default true.
    pub ipv4: bool,
    /// `enable_ipv6`; default false.
    pub ipv6: bool,
    /// `internal`: no way out.
    pub internal: bool,
    /// `attachable`: for swarm; changes nothing on one host.
    pub attachable: bool,
    /// `external`: made outside the project; here it is made first, since nothing else will.
    pub external: bool,
    /// `ipam.config`, in order.
    pub pools: Vec<Pool>,
    /// Where it was written.
    pub at: At,
}

/// One entry of `ipam.config`.
#[derive(Debug, Clone)]
pub struct Pool {
    /// `subnet`.
    pub subnet: Option<IpNet>,
    /// `ip_range`: where dynamic addresses come from.
    pub ip_range: Option<IpNet>,
    /// `gateway`.
    pub gateway: Option<IpAddr>,
    /// `aux_addresses`: reserved, by name.
    pub aux_addresses: BTreeMap<String, IpAddr>,
    /// Where it was written.
    pub at: At,
}

/// A network driver with its options (docs: Docker Engine, network drivers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// `bridge`.
    Bridge(BridgeOptions),
    /// `macvlan`.
    Macvlan(MacvlanOptions),
    /// `ipvlan`.
    Ipvlan(IpvlanOptions),
    /// The host's own network, where a project names `host` as an external network.
    Host,
    /// No network, where a project names `none` as an external network.
    None,
}

/// `com.docker.network.bridge.*` and what else a bridge takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeOptions {
    /// `bridge.name`: the device; `br-` and 12 digits of the network's id where there is none.
    pub name: Option<IfName>,
    /// `bridge.enable_ip_masquerade`; default true.
    pub masquerade: bool,
    /// `bridge.enable_icc`; default true.
    pub icc: bool,
    /// `bridge.gateway_mode_ipv4`.
    pub gateway_mode_ipv4: GatewayMode,
    /// `bridge.gateway_mode_ipv6`.
    pub gateway_mode_ipv6: GatewayMode,
    /// `bridge.inhibit_ipv4`: no IPv4 address on the bridge.
    pub inhibit_ipv4: bool,
    /// `bridge.host_binding_ipv4`: where a port is published that names no address; either family.
    pub host_binding: Option<IpAddr>,
    /// `bridge.trusted_host_interfaces` (28.2).
    pub trusted_host_interfaces: Vec<IfName>,
    /// `driver.mtu`.
    pub mtu: Option<u32>,
    /// `host_ipv4`: SNAT to it instead of MASQUERADE.
    pub host_ipv4: Option<IpAddr>,
    /// `host_ipv6`.
    pub host_ipv6: Option<IpAddr>,
    /// `container_iface_prefix`; default `eth`.
    pub iface_prefix: Option<String>,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            name: None,
            masquerade: true,
            icc: true,
            gateway_mode_ipv4: GatewayMode::Nat,
            gateway_mode_ipv6: GatewayMode::Nat,
            inhibit_ipv4: false,
            host_binding: None,
            trusted_host_interfaces: Vec::new(),
            mtu: None,
            host_ipv4: None,
            host_ipv6: None,
            iface_prefix: None,
        }
    }
}

/// How a bridge network meets the outside (docs: Port publishing and mapping, gateway modes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayMode {
    /// NAT, and nothing but published ports from outside.
    Nat,
    /// NAT, and every port from outside.
    NatUnprotected,
    /// No NAT; published ports by routing.
    Routed,
    /// No address on the bridge; only with `internal`.
    Isolated,
}

/// Options of `macvlan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacvlanOptions {
    /// `parent`: `eth0`, or `eth0.10` for VLAN 10; a dummy device, and no way out, where there is none.
    pub parent: Option<IfName>,
    /// `macvlan_mode`; default bridge.
    pub mode: MacvlanMode,
    /// `driver.mtu`.
    pub mtu: Option<u32>,
}

/// `macvlan_mode` (drivers/net/macvlan.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Siblings reach each other inside the parent.
    Bridge,
    /// Siblings never reach each other.
    Private,
    /// Siblings reach each other through the outside switch.
    Vepa,
    /// One device takes the parent whole.
    Passthru,
}

/// Options of `ipvlan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvlanOptions {
    /// `parent`, as with macvlan.
    pub parent: Option<IfName>,
    /// `ipvlan_mode`; default l2.
    pub mode: IpvlanMode,
    /// `ipvlan_flag`; default bridge.
    pub flag: IpvlanFlag,
    /// `driver.mtu`.
    pub mtu: Option<u32>,
}

/// `ipvlan_mode` (Documentation/networking/ipvlan.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// Switching in the parent.
    L2,
    /// Routing in the parent's namespace for what leaves.
    L3,
    /// As L3, with the parent's netfilter hooks.
    L3s,
}

/// `ipvlan_flag` (Documentation/networking/ipvlan.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlag {
    /// Siblings reach each other.
    Bridge,
    /// Siblings never reach each other.
    Private,
    /// Siblings reach each other through the outside switch.
    Vepa,
}
