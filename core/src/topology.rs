//! What the user wrote, in Docker's words: networks, containers, publishing, modes, namespaces.
//!
//! Nothing here names a link or a rule; [`crate::plan`] makes those. Every part remembers where it was written
//! ([`At`]), so that a refusal that only planning can find is still shown in the user's file.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use thiserror::Error;

use crate::addr::{IfName, IpNet, MacAddr, PortRange, Transport};
use crate::diagnostic::At;
use crate::engine::Engine;
use crate::rules::{Backend, Ruleset};

pub mod compose;
mod field;
pub mod files;
pub mod trial;
pub mod yaml;

/// The default bridge's key in attachments: no key of a compose file has a slash, and `bridge` may be one.
pub const DEFAULT_BRIDGE: &str = "/bridge";

/// Who takes part: `host`, a machine of the LAN, a service, `service.N` of a replicated one, or, on a further Docker
/// host `b`, `b` and `b/service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(SmolStr);

impl NodeName {
    /// The trial's first Docker host.
    #[must_use]
    pub fn host() -> Self {
        "host".into()
    }

    /// The machine that a node runs on, by its name: `b` of `b/web`, and else the first Docker host.
    #[must_use]
    pub fn machine(&self) -> Self {
        self.0.split_once('/').map_or_else(Self::host, |(machine, _)| machine.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeName {
    fn from(s: &str) -> Self {
        Self(s.into())
    }
}

impl From<String> for NodeName {
    fn from(s: String) -> Self {
        Self(s.into())
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Docker hosts and the machines around them, on one wire.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The Docker hosts, the one called `host` first; never empty.
    pub hosts: Vec<Host>,
    /// The machines on eth0's wire.
    pub lan: Vec<LanMachine>,
    /// Sockets that answer.
    pub listeners: Vec<Listener>,
    /// What was assumed because nothing said it, one sentence each.
    pub assumed: Vec<String>,
}

/// One machine with a Docker Engine.
#[derive(Debug, Clone)]
pub struct Host {
    /// `host`, or the key under `hosts`.
    pub name: NodeName,
    /// Compose's project name: it prefixes the names of networks and containers.
    pub project: String,
    /// Which Engine.
    pub engine: Engine,
    /// The keys of `daemon.json` that change networking.
    pub daemon: Daemon,
    /// What Docker finds on the machine.
    pub machine: Machine,
    /// The project's networks in the order they are created; `docker0` is not among them.
    pub networks: Vec<Network>,
    /// The project's containers in the order they are started.
    pub containers: Vec<Container>,
}

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
    /// Rules that stood before Docker came.
    pub firewall: Vec<Ruleset>,
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
    /// `host-gateway-ip`, `host-gateway-ips`: what `host-gateway` stands for; docker0's addresses where empty.
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
            host_gateway_ips: Vec::new(),
            userns_remap: None,
            default_ipc_mode: IpcMode::Private,
            default_cgroupns_mode: CgroupMode::Private,
        }
    }
}

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

/// One container.
#[derive(Debug, Clone)]
pub struct Container {
    /// The service, or `service.N` where there are several: its name in probes.
    pub node: NodeName,
    /// The key under `services`.
    pub service: String,
    /// Docker's name for it: `PROJECT-SERVICE-N`, or `container_name`.
    pub name: String,
    /// `hostname`; the first 12 digits of the id where there is none.
    pub hostname: Option<String>,
    /// `domainname`.
    pub domainname: Option<String>,
    /// `network_mode` and `networks`.
    pub network: NetworkMode,
    /// `ports`, and whether they were all kept is the planner's question.
    pub ports: Vec<Publish>,
    /// `expose`.
    pub expose: Vec<(Transport, PortRange)>,
    /// `links` and `external_links`.
    pub links: Vec<Link>,
    /// `extra_hosts`: a name and its addresses.
    pub extra_hosts: Vec<ExtraHost>,
    /// `dns`.
    pub dns: Vec<IpAddr>,
    /// `dns_search`.
    pub dns_search: Vec<String>,
    /// `dns_opt`.
    pub dns_opt: Vec<String>,
    /// `mac_address` of the service.
    pub mac_address: Option<MacAddr>,
    /// `sysctls`.
    pub sysctls: BTreeMap<String, String>,
    /// `ipc`; the daemon's default where there is none.
    pub ipc: Option<IpcMode>,
    /// `pid`.
    pub pid: PidMode,
    /// `uts: host`.
    pub uts_host: bool,
    /// `userns_mode: host`.
    pub userns_host: bool,
    /// `cgroup`; the daemon's default where there is none.
    pub cgroup: Option<CgroupMode>,
    /// What the process may do.
    pub process: ProcessOptions,
    /// Where it was written.
    pub at: At,
}

/// What bears on a container's process and mounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessOptions {
    /// `shm_size`, in bytes; 64 MiB where there is none.
    pub shm_size: Option<u64>,
    /// `cap_add`, upper case, without `CAP_`.
    pub cap_add: Vec<String>,
    /// `cap_drop`, likewise.
    pub cap_drop: Vec<String>,
    /// `privileged`.
    pub privileged: bool,
    /// `user`, as written.
    pub user: Option<String>,
    /// `read_only`.
    pub read_only: bool,
    /// `tmpfs`, as written.
    pub tmpfs: Vec<String>,
    /// `volumes`: source (none for an anonymous one), target, read-only.
    pub mounts: Vec<Mount>,
    /// `x-rootfs`, with `entrypoint`, `command`, `environment` and `working_dir`.
    pub rootfs: Option<RootFs>,
}

/// A root that stands in for an image, in a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// A folder, or a tar archive.
    pub path: String,
    /// What runs there; nothing but what answers probes where there is none.
    pub program: Option<Program>,
}

/// A program and what it is run with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// Where it runs; `/` where there is none.
    pub working_dir: Option<String>,
}

/// One entry of `volumes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted; none for an anonymous volume.
    pub source: Option<String>,
    /// Where.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// A container of the project, by node, or one outside it, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRef {
    /// The container that is meant.
    pub node: NodeName,
    /// Where it was written.
    pub at: At,
}

/// How a container is attached.
#[derive(Debug, Clone)]
pub enum NetworkMode {
    /// `network_mode: bridge`: the default bridge, `docker0`.
    DefaultBridge(Box<Attachment>),
    /// User-defined networks, at least one; the order is that of the file.
    Networks(Vec<Attachment>),
    /// `network_mode: host`.
    Host,
    /// `network_mode: none`.
    None,
    /// `network_mode: service:X` or `container:X`.
    Container(ContainerRef),
}

/// One container on one network.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The key under the project's `networks`; [`DEFAULT_BRIDGE`] for the default bridge.
    pub network: String,
    /// `aliases`, with those compose adds (the service, the short id is the planner's).
    pub aliases: Vec<String>,
    /// `ipv4_address`.
    pub ipv4_address: Option<IpAddr>,
    /// `ipv6_address`.
    pub ipv6_address: Option<IpAddr>,
    /// `link_local_ips`.
    pub link_local_ips: Vec<IpAddr>,
    /// `mac_address`.
    pub mac_address: Option<MacAddr>,
    /// `gw_priority`.
    pub gw_priority: i64,
    /// `interface_name`.
    pub interface_name: Option<IfName>,
    /// `driver_opts` `com.docker.network.endpoint.sysctls`: `net.ipv4.conf.IFNAME.X=V`, IFNAME literal.
    pub sysctls: Vec<(String, String)>,
    /// Where it was written.
    pub at: At,
}

impl Attachment {
    /// An attachment to `network` with nothing else said.
    #[must_use]
    pub fn plain(network: &str, at: At) -> Self {
        Self {
            network: network.to_owned(),
            aliases: Vec::new(),
            ipv4_address: None,
            ipv6_address: None,
            link_local_ips: Vec::new(),
            mac_address: None,
            gw_priority: 0,
            interface_name: None,
            sysctls: Vec::new(),
            at,
        }
    }
}

/// One entry of `ports`, a range kept whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The host's address; every address of both families where there is none.
    pub host_ip: Option<IpAddr>,
    /// The host's ports; any free one where there are none. As many as the container's, or one range to choose from.
    pub host_ports: Option<PortRange>,
    /// The container's ports.
    pub container_ports: PortRange,
    /// The protocol.
    pub transport: Transport,
    /// Where it was written.
    pub at: At,
}

/// One entry of `links` or `external_links`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which container.
    pub target: ContainerRef,
    /// The name it gets.
    pub alias: String,
}

/// One entry of `extra_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub target: ExtraHostTarget,
    /// Where it was written.
    pub at: At,
}

/// What an extra host stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraHostTarget {
    /// An address.
    Address(IpAddr),
    /// `host-gateway`: the daemon's `host-gateway-ips`.
    HostGateway,
}

/// `ipc` (docs: docker run, `--ipc`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpcMode {
    /// Its own, and no `/dev/shm`.
    None,
    /// Its own.
    Private,
    /// Its own, and others may join.
    Shareable,
    /// The host's.
    Host,
    /// Another container's.
    Container(ContainerRef),
}

/// `pid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PidMode {
    /// Its own.
    Private,
    /// The host's.
    Host,
    /// Another container's.
    Container(ContainerRef),
}

/// `cgroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// Its own.
    Private,
    /// The host's.
    Host,
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
