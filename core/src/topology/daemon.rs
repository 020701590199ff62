//! What `daemon.json` says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{CgroupMode, IpcMode};
use crate::addr::IpNet;
use crate::rules::Backend;

/// The keys of `daemon.json` that change networking, with Docker's defaults (docs: dockerd reference).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// `userland-proxy`: docker-proxy serves what DNAT cannot; default true.
    pub userland_proxy: bool,
    /// `iptables`; default true.
    pub iptables: bool,
    /// `ip6tables`; what the Engine does by itself where it is not written, which is to keep them since 27.
    pub ip6tables: Option<bool>,
    /// `ip-forward`: turn forwarding on; default true.
    pub ip_forward: bool,
    /// `ip-forward-no-drop`: leave FORWARD's policy alone; default false.
    pub ip_forward_no_drop: bool,
    /// `ip-masq`, of the default bridge; default true.
    pub ip_masq: bool,
    /// `icc`, of the default bridge; default true.
    pub icc: bool,
    /// `ipv6`, of the default bridge; default false.
    pub ipv6: bool,
    /// `ip`: where the default bridge publishes; default 0.0.0.0.
    pub ip: Option<IpAddr>,
    /// `bip`: docker0's address and network.
    pub bip: Option<IpNet>,
    /// `bip6`.
    pub bip6: Option<IpNet>,
    /// `fixed-cidr`: where docker0's containers get their addresses.
    pub fixed_cidr: Option<IpNet>,
    /// `fixed-cidr-v6`.
    pub fixed_cidr_v6: Option<IpNet>,
    /// `default-gateway` and `default-gateway-v6` of the default bridge.
    pub default_gateways: Vec<IpAddr>,
    /// `default-address-pools`, each a base and the prefix length cut from it; Docker's own where empty.
    pub default_address_pools: Vec<(IpNet, u8)>,
    /// `mtu` of the default bridge.
    pub mtu: Option<u32>,
    /// `default-network-opts` for the bridge driver.
    pub default_network_opts: BTreeMap<String, String>,
    /// `firewall-backend`: whose rules the Engine writes; default iptables (29).
    pub firewall_backend: Backend,
    /// `allow-direct-routing`: no raw rules; default false (28.2).
    pub allow_direct_routing: bool,
    /// `bridge-accept-fwmark`, as written: MARK or MARK/MASK (29).
    pub bridge_accept_fwmark: Option<String>,
    /// `dns`.
    pub dns: Vec<IpAddr>,
    /// `dns-opts`.
    pub dns_opts: Vec<String>,
    /// `dns-search`.
    pub dns_search: Vec<String>,
    /// `host-gateway-ip`: the older word for one of the next.
    pub host_gateway_ip: Option<IpAddr>,
    /// `host-gateway-ips`: what `host-gateway` stands for; docker0's addresses where there are none.
    pub host_gateway_ips: Vec<IpAddr>,
    /// `userns-remap`.
    pub userns_remap: Option<String>,
    /// `default-ipc-mode`; default private.
    pub default_ipc_mode: IpcMode,
    /// `default-cgroupns-mode`; default private (cgroup v2).
    pub default_cgroupns_mode: CgroupMode,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            userland_proxy: true,
            iptables: true,
            ip6tables: None,
            ip_forward: true,
            ip_forward_no_drop: false,
            ip_masq: true,
            icc: true,
            ipv6: false,
            ip: None,
            bip: None,
            bip6: None,
            fixed_cidr: None,
            fixed_cidr_v6: None,
            default_gateways: Vec::new(),
            default_address_pools: Vec::new(),
            mtu: None,
            default_network_opts: BTreeMap::new(),
            firewall_backend: Backend::Iptables,
            allow_direct_routing: false,
            bridge_accept_fwmark: None,
            dns: Vec::new(),
            dns_opts: Vec::new(),
            dns_search: Vec::new(),
            host_gateway_ip: None,
            host_gateway_ips: Vec::new(),
            userns_remap: None,
            default_ipc_mode: IpcMode::Private,
            default_cgroupns_mode: CgroupMode::Private,
        }
    }
}
