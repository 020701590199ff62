//! What the kernel is asked to make, object by object, with no choice left to whoever makes it.
//!
//! A plan is an ordered list: an object stands after everything it needs. It mentions no packet, and the planner
//! reads no machine. Printed, it is the shell script a person would type ([`text`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::addr::{IfName, IpNet, MacAddr, Transport};
use crate::probe::NsKind;
use crate::rules::Ruleset;
use crate::rules::nft::Script;
use crate::topology::{IpvlanFlag, IpvlanMode, MacvlanMode, NodeName};

pub mod apart;
pub mod check;
pub mod firewall;

mod alloc;
mod bridge;
mod change;
mod command;
mod container;
mod dockerd;
mod filter;
mod gateway;
mod ids;
mod listing;
mod names;
mod namespaces;
mod network;
mod nft;
mod nodes;
mod objects;
mod planner;
mod publish;
mod sandbox;
mod shared;
pub mod text;
mod wire;
mod zone;

pub use change::Refused;
pub use listing::{ListedNetwork, ListedPort};
#[cfg(feature = "linux")]
pub(crate) use names::resolver::{Joined, Records, names};
pub use planner::{Planner, machines, plan};
pub(crate) use wire::stranger;
#[cfg(feature = "linux")]
pub(crate) use wire::{WIRE, bare, machine, plugged, switch};
pub use zone::Zone;

/// A namespace's name: that of the node it was made for, or `wire` for the switch between the machines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NsName(SmolStr);

impl NsName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NsName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for NsName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&NodeName> for NsName {
    fn from(node: &NodeName) -> Self {
        node.as_str().into()
    }
}

impl std::fmt::Display for NsName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Everything there is to make, in the order it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The objects.
    pub items: Vec<Item>,
}

/// One object and the namespace it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The network namespace; of a file the mount namespace; of a setting outside `net.` the IPC namespace; of a
    /// namespace its own name.
    pub ns: NsName,
    /// The object.
    pub object: Object,
}

/// One thing the kernel is asked to make, by exactly one command of the plan's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A network device, down; a veth with its peer.
    Link(Link),
    /// A bridge port's settings.
    BridgePort(BridgePort),
    /// An address on a device.
    Address(Address),
    /// A device goes up.
    Up(IfName),
    /// A route.
    Route(Route),
    /// A policy rule.
    PolicyRule(PolicyRule),
    /// A permanent neighbour.
    Neighbour(Neighbour),
    /// A setting under /proc/sys.
    Sysctl(Sysctl),
    /// All rules of one family and backend in this namespace, written at once.
    Rules(Arc<Ruleset>),
    /// What a person wrote for nft in this namespace, beside the rules of iptables and of Docker.
    Script(Arc<Script>),
    /// A file a container or a machine sees.
    File(File),
    /// A node: a container's first process, or a machine.
    Process(Process),
    /// A docker-proxy.
    Proxy(Proxy),
    /// A host port that Docker holds without serving it (`userland-proxy: false`).
    Reservation(Reservation),
    /// The resolver on 127.0.0.11.
    Resolver(Resolver),
    /// A socket that answers probes.
    Listener(Listener),
}

/// A namespace, with what it holds from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// A network namespace: `lo`, down, and nothing else.
    Network,
    /// A mount namespace with a root of its own.
    Mount(MountRoot),
    /// An IPC namespace; `shm_size` bytes of /dev/shm, or none.
    Ipc {
        /// Bytes; none where there is no /dev/shm.
        shm_size: Option<u64>,
    },
    /// A PID namespace.
    Pid,
    /// A UTS namespace.
    Uts {
        /// The host name.
        hostname: String,
        /// The NIS domain name.
        domainname: Option<String>,
    },
    /// A user namespace.
    User {
        /// Where ids of the namespace stand outside; one range.
        map: IdMap,
    },
    /// A cgroup namespace.
    Cgroup,
}

impl Namespace {
    /// Which of the seven kinds.
    #[must_use]
    pub const fn kind(&self) -> NsKind {
        match self {
            Self::Network => NsKind::Network,
            Self::Mount(_) => NsKind::Mount,
            Self::Ipc { .. } => NsKind::Ipc,
            Self::Pid => NsKind::Pid,
            Self::Uts { .. } => NsKind::Uts,
            Self::User { .. } => NsKind::User,
            Self::Cgroup => NsKind::Cgroup,
        }
    }
}

/// What a container finds mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRoot {
    /// Whether the root is read-only.
    pub read_only: bool,
    /// Where a tmpfs is mounted, as compose wrote it.
    pub tmpfs: Vec<String>,
    /// Volumes.
    pub mounts: Vec<crate::topology::Mount>,
    /// The folder or the tar archive whose files it is made of; the machine's own programs where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<String>,
}

/// A range of ids (man 7 user_namespaces).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// The first id inside.
    pub inside: u32,
    /// What it is outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: IfName,
    /// What it is.
    pub kind: LinkKind,
    /// Its hardware address; the kernel's choice, and never looked at, where there is none.
    pub mac: Option<MacAddr>,
    /// Its MTU; 1500 where there is none.
    pub mtu: Option<u32>,
    /// The bridge it is a port of, in the same namespace.
    pub master: Option<IfName>,
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A switch (net/bridge).
    Bridge,
    /// One end of a virtual cable (drivers/net/veth.c); the other end is made with it.
    Veth(Peer),
    /// A share of a parent device with a MAC of its own (drivers/net/macvlan.c).
    Macvlan {
        /// The parent.
        parent: Parent,
        /// How siblings meet.
        mode: MacvlanMode,
    },
    /// A share of a parent device with the parent's MAC (drivers/net/ipvlan).
    Ipvlan {
        /// The parent.
        parent: Parent,
        /// Switching or routing.
        mode: IpvlanMode,
        /// How siblings meet.
        flag: IpvlanFlag,
    },
    /// A VLAN of a parent in the same namespace (net/8021q).
    Vlan {
        /// The parent.
        parent: IfName,
        /// 1 to 4094.
        id: u16,
    },
    /// A device that swallows what it is given (drivers/net/dummy.c).
    Dummy,
}

/// The other end of a veth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its namespace: it is born there.
    pub ns: NsName,
    /// Its name.
    pub name: IfName,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// The bridge it is a port of, in its namespace.
    pub master: Option<IfName>,
}

/// The device that a macvlan or an ipvlan is a share of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its namespace.
    pub ns: NsName,
    /// Its name.
    pub name: IfName,
}

/// Settings of a bridge port (man 8 bridge).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePort {
    /// The port.
    pub link: IfName,
    /// A frame may leave by the port it came in.
    pub hairpin: bool,
    /// It may not talk to other isolated ports.
    pub isolated: bool,
}

/// An address on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The device.
    pub link: IfName,
    /// The address with its prefix length.
    pub net: IpNet,
    /// No duplicate address detection (IPv6).
    pub nodad: bool,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub to: IpNet,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The device; the one that reaches the next hop where there is none.
    pub dev: Option<IfName>,
    /// The table; main where there is none.
    pub table: Option<u32>,
    /// The metric.
    pub metric: Option<u32>,
    /// The source address it prefers.
    pub source: Option<IpAddr>,
}

/// A policy rule (man 8 ip-rule).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Lower is looked at first.
    pub priority: u32,
    /// Packets from here.
    pub from: Option<IpNet>,
    /// Packets to here.
    pub to: Option<IpNet>,
    /// Packets that came in here.
    pub iif: Option<IfName>,
    /// Packets with this mark, under this mask.
    pub fwmark: Option<(u32, u32)>,
    /// The table to look into.
    pub table: u32,
}

/// A permanent neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The device.
    pub link: IfName,
    /// The address.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: MacAddr,
}

/// A setting under /proc/sys: `net.ipv4.ip_forward`, with `/` for a dot inside a device's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Its text.
    pub content: String,
}

/// A node and the namespaces it runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The node.
    pub node: NodeName,
    /// Docker's name for the container; the node's own for a machine.
    pub container: Option<String>,
    /// Which namespace of each kind; every kind is there.
    pub namespaces: BTreeMap<NsKind, NsName>,
    /// Capabilities added to and dropped from Docker's default set, upper case, without `CAP_`.
    pub cap_add: Vec<String>,
    /// See `cap_add`.
    pub cap_drop: Vec<String>,
    /// `privileged`.
    pub privileged: bool,
    /// `user`, as written.
    pub user: Option<String>,
    /// What runs there in a lab, beside what answers probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<crate::topology::Program>,
}

/// A docker-proxy: accepts on the host, connects to the container (cmd/docker-proxy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// The protocol.
    pub transport: Transport,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it connects to.
    pub connect: SocketAddr,
    /// Whether a datagram's answer comes from the address that routing gives it, and not from the one that was asked: so
    /// it was until 28.0 (moby#48571).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers_by_route: bool,
}

/// A host port bound, and closed to everyone by a filter on the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The protocol.
    pub transport: Transport,
    /// The address and port.
    pub listen: SocketAddr,
}

/// The resolver of a user-defined network's container: 127.0.0.11:53, by NAT to these ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Where it listens for UDP, on 127.0.0.11.
    pub udp_port: u16,
    /// Where it listens for TCP.
    pub tcp_port: u16,
    /// What it answers itself; containers on the same networks share it.
    pub zone: Arc<Zone>,
    /// Whom it asks for anything else.
    pub upstream: Vec<Upstream>,
}

/// A nameserver the resolver forwards to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its address.
    pub address: IpAddr,
    /// Whether it is asked from the host's namespace.
    pub from_host: bool,
}

/// A socket that answers probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Whose process listens.
    pub node: NodeName,
    /// The protocol.
    pub transport: Transport,
    /// The address; any of both families where there is none.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// One operation of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanOp {
    /// Make an object.
    Add(Item),
    /// Take an object away, and with it what cannot be without it: all that is in a namespace, a device's addresses,
    /// routes and settings and the other end of its cable, a process's listeners.
    Remove(Item),
    /// Put an object in place of the one of its name: a file, a namespace's rules, a resolver.
    Replace(Item),
    /// Forget what conntrack knows of flows to an address (`conntrack -D`).
    FlushConntrack {
        /// Where.
        ns: NsName,
        /// The address, as original destination, reply source, or either side.
        address: IpAddr,
    },
    /// Forget flows that were sent to a port of the host (`conntrack -D --orig-port-dst`).
    FlushConntrackPort {
        /// Where.
        ns: NsName,
        /// The protocol.
        transport: Transport,
        /// The port of the original destination.
        port: u16,
    },
    /// Announce an address on a link: gratuitous ARP or an unsolicited neighbour advertisement.
    Announce {
        /// Where.
        ns: NsName,
        /// The device.
        link: IfName,
        /// The address.
        address: IpAddr,
    },
}
