//! What the user wrote, in Docker's words: networks, containers, publishing, modes, namespaces.
//!
//! Nothing here names a link or a rule; [`crate::plan`] makes those. Every part remembers where it was written
//! ([`crate::diagnostic::At`]), so that a refusal that only planning can find is still shown in the user's file.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::Engine;

pub mod compose;
mod container;
mod daemon;
mod field;
pub mod files;
mod machine;
mod network;
pub mod trial;
pub mod yaml;

pub use container::{
    Attachment, CgroupMode, Container, ContainerRef, ExtraHost, ExtraHostTarget, IpcMode, Link, Mount,
    NetworkMode, PidMode, ProcessOptions, Program, Publish, RootFs,
};
pub use daemon::Daemon;
pub use machine::{LanMachine, Listener, Machine, RouteError, RouteSpec};
pub use network::{
    BridgeOptions, Driver, GatewayMode, IpvlanFlag, IpvlanMode, IpvlanOptions, MacvlanMode, MacvlanOptions,
    Network, Pool,
};

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
