//! Containers, their namespaces and their places on networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::NodeName;
use crate::addr::{IfName, MacAddr, PortRange, Transport};
use crate::diagnostic::At;

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
    /// The key under the project's `networks`; [`super::DEFAULT_BRIDGE`] for the default bridge.
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
