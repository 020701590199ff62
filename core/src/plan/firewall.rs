//! The rules Docker keeps on its host, event by event, as dockerd makes and unmakes them.
//!
//! Order is the point: some rules are inserted at the head of a chain and some appended, so that what stands first is a
//! matter of history. Each event here does what the Engine does at that event
//! (daemon/libnetwork/drivers/bridge/internal/iptabler), and the captured rules of real engines are its test.
//!
//! * `tables`: the chains of one family, and the few edits dockerd makes to them.
//! * `network`, `endpoint`: what one network, one container on it and one published port add.
//! * `forward`: what one network adds until 27, in FORWARD itself.
//! * `nft`: the same with the daemon's `firewall-backend: nftables`, in tables of Docker's own.
//! * `resolver`: the rules in a container's own namespace that lead to its resolver.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::addr::{Family, IfName, IpNet, Transport};
use crate::engine::{DirectAccess, Engine, Filter, ForwardDrop, Profile};
use crate::rules::{Backend, MarkValue, Policy, Ruleset};
use crate::topology::{Daemon, GatewayMode};

mod endpoint;
mod forward;
mod network;
mod nft;
mod resolver;
mod tables;

pub use resolver::resolver;
use tables::Tables;

/// The device by which Windows reaches a guest of WSL2 whose network mirrors its own.
pub(super) const MIRROR: &str = "loopback0";

/// What an event does to the rules of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Edits {
    /// Edits in iptables' tables.
    Iptables(Vec<tables::Edit>),
    /// Edits in Docker's own table of nft.
    Nft(Vec<nft::Edit>),
}

/// What the rules need to know of a bridge network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRules {
    /// The bridge.
    pub bridge: IfName,
    /// IPv4, where the network has it.
    pub v4: Option<FamilyRules>,
    /// IPv6, where the network has it.
    pub v6: Option<FamilyRules>,
    /// `enable_ip_masquerade`.
    pub masquerade: bool,
    /// `enable_icc`.
    pub icc: bool,
    /// `internal`.
    pub internal: bool,
    /// `trusted_host_interfaces`.
    pub trusted: Vec<IfName>,
}

impl NetworkRules {
    fn family(&self, family: Family) -> Option<&FamilyRules> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }
}

/// A network's part in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyRules {
    /// The subnet.
    pub subnet: IpNet,
    /// `gateway_mode_ipv4`, `gateway_mode_ipv6`.
    pub mode: GatewayMode,
    /// `host_ipv4`, `host_ipv6`: the source address instead of MASQUERADE's choice.
    pub snat: Option<IpAddr>,
}

/// What the rules need to know of a container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRules {
    /// The network's bridge.
    pub bridge: IfName,
    /// The container's addresses on it, at most one of each family.
    pub addresses: Vec<IpAddr>,
}

/// What the rules need to know of a published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRules {
    /// The bridge of the container's gateway network.
    pub bridge: IfName,
    /// The protocol.
    pub transport: Transport,
    /// The host's address and port; port 0 where the network routes and holds no host port.
    pub host: SocketAddr,
    /// The container's address and port.
    pub container: SocketAddr,
}

/// What the rules need to know of a legacy link; they are made only where `icc` is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRules {
    /// The default bridge.
    pub bridge: IfName,
    /// The container that names the link.
    pub parent: IpAddr,
    /// The container that is named.
    pub child: IpAddr,
    /// The ports the child exposes, in the order the Engine lists them.
    pub ports: Vec<(Transport, u16)>,
}

/// The rules of a Docker host: what stood before Docker, and what it has added since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    profile: Profile,
    /// `firewall-backend`.
    backend: Backend,
    /// The tables of the families that the daemon may touch, or that had rules before it came.
    families: BTreeMap<Family, Tables>,
    /// `iptables` and `ip6tables`.
    enabled: Vec<Family>,
    /// `userland-proxy: false`: traffic may turn round in the bridge.
    hairpin: bool,
    direct_routing: bool,
    /// What comes by `loopback0` comes from Windows.
    mirrored: bool,
    accept_mark: Option<MarkValue>,
    networks: BTreeMap<IfName, NetworkRules>,
    /// Docker's own tables of nft.
    bridges: BTreeMap<Family, nft::Bridges>,
    /// Rules that Docker never looks at: those of nft's other tables.
    foreign: Vec<Ruleset>,
}

impl Firewall {
    /// The daemon starts among the rules in `before`.
    #[must_use]
    pub fn new(engine: Engine, daemon: &Daemon, before: &[Ruleset]) -> Self {
        let enabled: Vec<_> = Family::ALL
            .into_iter()
            .filter(|family| match family {
                Family::V4 => daemon.iptables,
                Family::V6 => daemon.ip6tables.unwrap_or(engine.profile.filters(Family::V6)),
            })
            .collect();
        let mark = daemon.bridge_accept_fwmark.as_ref().filter(|_| engine.is_at_least(29, 0));
        let mut firewall = Self {
            profile: engine.profile,
            backend: daemon.firewall_backend,
            families: BTreeMap::new(),
            enabled,
            hairpin: !daemon.userland_proxy,
            direct_routing: daemon.allow_direct_routing && engine.is_at_least(28, 2),
            mirrored: false,
            accept_mark: mark.and_then(|m| m.parse().ok()),
            networks: BTreeMap::new(),
            bridges: BTreeMap::new(),
            foreign: Vec::new(),
        };
        for ruleset in before {
            match ruleset.backend {
                Backend::Iptables => firewall.tables(ruleset.family).extend(ruleset),
                Backend::Nft => firewall.foreign.push(ruleset.clone()),
            }
        }
        let (profile, hairpin) = (firewall.profile, firewall.hairpin);
        for family in firewall.enabled.clone() {
            match firewall.backend {
                Backend::Iptables => {
                    firewall.forget_nft(family);
                    tables::start(firewall.tables(family), profile, family, hairpin);
                }
                Backend::Nft => {
                    firewall.families.get_mut(&family).into_iter().for_each(|t| tables::clean(t, family));
                    firewall.bridges.insert(family, nft::Bridges::start(family, hairpin));
                }
            }
        }
        if profile.forward_drop() == ForwardDrop::Ipv6Always && daemon.ip_forward {
            firewall.set_forward_policy_drop(Family::V6);
        }
        firewall
    }

    /// The host is a guest of WSL2 whose network mirrors that of Windows, which sends to 127.0.0.1 by `loopback0`: that is
    /// for docker-proxy (`mirroredWSL2Workaround`, 27.3).
    #[must_use]
    pub fn mirrored(mut self) -> Self {
        self.mirrored = true;
        if !self.hairpin && self.enabled.contains(&Family::V4) {
            self.tables(Family::V4).apply(&[endpoint::from_windows()]);
        }
        self
    }

    /// The table of a daemon that wrote for nft goes when one comes that writes for iptables (`nftabler.Cleanup`, 29).
    fn forget_nft(&mut self, family: Family) {
        if self.profile == Profile::V29 {
            let of_family = self.foreign.iter_mut().filter(|rules| rules.family == family);
            of_family.for_each(|rules| rules.tables.retain(|table| table.name != nft::TABLE));
        }
    }

    /// A bridge network is made.
    pub fn add_network(&mut self, network: &NetworkRules) {
        self.apply(self.network_edits(network));
        match self.profile.filter() {
            Filter::Forward => self.jump_from_forward(network),
            Filter::Sets | Filter::Stages | Filter::Internal => {}
        }
        self.networks.insert(network.bridge.clone(), network.clone());
        self.fill_sets();
    }

    /// The subnets that FORWARD asks for are those that there are (28.0.0).
    fn fill_sets(&mut self) {
        match self.profile.filter() {
            Filter::Forward | Filter::Stages | Filter::Internal => return,
            Filter::Sets => {}
        }
        for family in self.enabled.clone() {
            let external = self.networks.values().filter(|network| !network.internal);
            let subnets = external.filter_map(|n| Some(n.family(family)?.subnet.trunc())).collect();
            self.tables(family).fill(tables::bridges_set(family), &subnets);
        }
    }

    /// A bridge network is removed.
    pub fn remove_network(&mut self, bridge: &IfName) {
        let Some(network) = self.networks.remove(bridge) else { return };
        self.undo(self.network_edits(&network));
        self.fill_sets();
    }

    /// A container joins a network.
    pub fn add_endpoint(&mut self, endpoint: &EndpointRules) {
        self.apply(self.endpoint_edits(endpoint));
    }

    /// A container leaves a network.
    pub fn remove_endpoint(&mut self, endpoint: &EndpointRules) {
        self.undo(self.endpoint_edits(endpoint));
    }

    /// A port is published.
    pub fn publish(&mut self, port: &PortRules) {
        self.apply(self.port_edits(port));
    }

    /// A port is no longer published. A rule that several mappings share goes with the first of them, as in dockerd.
    pub fn unpublish(&mut self, port: &PortRules) {
        self.undo(self.port_edits(port));
    }

    /// A legacy link is made.
    pub fn link(&mut self, link: &LinkRules) {
        self.apply(self.link_edits(link));
    }

    /// A legacy link is cut.
    pub fn unlink(&mut self, link: &LinkRules) {
        self.undo(self.link_edits(link));
    }

    fn apply(&mut self, edits: Vec<(Family, Edits)>) {
        for (family, edits) in edits {
            match edits {
                Edits::Iptables(edits) => self.tables(family).apply(&edits),
                Edits::Nft(edits) => self.bridges.entry(family).or_default().apply(&edits),
            }
        }
    }

    fn undo(&mut self, edits: Vec<(Family, Edits)>) {
        for (family, edits) in edits {
            match edits {
                Edits::Iptables(edits) => self.tables(family).undo(&edits),
                Edits::Nft(edits) => self.bridges.entry(family).or_default().undo(&edits),
            }
        }
    }

    /// Docker turned forwarding on by itself: what nobody accepts is no longer forwarded. With nft it never does, whatever
    /// upstream's new-daemon.md says: the nftabler of 29 sets no policy (bridge_linux.go: `filterForwardDropper`).
    pub fn set_forward_policy_drop(&mut self, family: Family) {
        if self.enabled.contains(&family) && self.backend == Backend::Iptables {
            self.tables(family).set_policy("filter", "FORWARD", Policy::Drop);
        }
    }

    /// Somebody else wrote the rules of a family anew; Docker finds its own among them.
    pub fn take(&mut self, ruleset: &Ruleset) {
        self.tables(ruleset.family).extend(ruleset);
    }

    /// Everything that stands now: iptables' rules, family by family, as `iptables-save` would write them, then nft's.
    #[must_use]
    pub fn rulesets(&self) -> Vec<Ruleset> {
        let families = self.families.iter().map(|(family, tables)| tables.ruleset(*family));
        families.chain(Family::ALL.into_iter().filter_map(|family| self.nft(family))).collect()
    }

    /// A family's tables of nft, where there are any: Docker's come after those that it found.
    fn nft(&self, family: Family) -> Option<Ruleset> {
        let foreign = self.foreign.iter().filter(|r| r.family == family).flat_map(|r| r.tables.clone());
        let tables: Vec<_> = foreign.chain(self.bridges.get(&family).map(nft::Bridges::table)).collect();
        (!tables.is_empty()).then_some(Ruleset { family, backend: Backend::Nft, tables })
    }

    fn tables(&mut self, family: Family) -> &mut Tables {
        self.families.entry(family).or_default()
    }

    fn network_edits(&self, network: &NetworkRules) -> Vec<(Family, Edits)> {
        let edits = |family, config| match self.backend {
            Backend::Iptables => Edits::Iptables(match self.profile.filter() {
                Filter::Forward => self.forward_edits(network, config),
                Filter::Sets | Filter::Stages | Filter::Internal => self.iptables_network(network, config),
            }),
            Backend::Nft => Edits::Nft(self.nft_network(network, family, config)),
        };
        let parts = self.parts(network);
        let own = parts.iter().map(|(family, config)| (*family, edits(*family, config)));
        let apart = match self.profile.filter() {
            Filter::Forward => self.apart_edits(network),
            Filter::Sets | Filter::Stages | Filter::Internal => Vec::new(),
        };
        own.chain(apart.into_iter().map(|(family, edits)| (family, Edits::Iptables(edits)))).collect()
    }

    /// Nobody outside the bridge may speak to a container's own address (`filterDirectAccess`).
    fn endpoint_edits(&self, endpoint: &EndpointRules) -> Vec<(Family, Edits)> {
        match self.profile.direct_access() {
            DirectAccess::Open | DirectAccess::PortsDropped => return Vec::new(),
            DirectAccess::Dropped => {}
        }
        let edits = |network: &NetworkRules, address| match self.backend {
            Backend::Iptables => Edits::Iptables(endpoint::guard(network, address)),
            Backend::Nft => Edits::Nft(nft::guard(network, address)),
        };
        let guarded = endpoint.addresses.iter().filter_map(|address| {
            let (network, config) = self.network_of(&endpoint.bridge, *address)?;
            let guarded = config.mode == GatewayMode::Nat && !self.direct_routing;
            guarded.then(|| (Family::of(*address), edits(network, *address)))
        });
        guarded.collect()
    }

    fn port_edits(&self, port: &PortRules) -> Vec<(Family, Edits)> {
        let address = port.container.ip();
        let Some((network, config)) = self.network_of(&port.bridge, address) else { return Vec::new() };
        let edits = match self.backend {
            Backend::Iptables => Edits::Iptables(self.iptables_port(port, network, config)),
            Backend::Nft => Edits::Nft(self.nft_port(port, config)),
        };
        vec![(Family::of(address), edits)]
    }

    /// Where containers may not speak to each other, linked ones may, to exposed ports (`AddLink`).
    fn link_edits(&self, link: &LinkRules) -> Vec<(Family, Edits)> {
        let apart = self.network_of(&link.bridge, link.parent).filter(|(network, _)| !network.icc);
        let edits = apart.map(|_| match self.backend {
            Backend::Iptables => Edits::Iptables(endpoint::link(link)),
            Backend::Nft => Edits::Nft(nft::link(link)),
        });
        edits.into_iter().map(|edits| (Family::V4, edits)).collect()
    }

    /// The network of a bridge, if it has rules in an address's family and is not internal.
    fn network_of(&self, bridge: &IfName, address: IpAddr) -> Option<(&NetworkRules, &FamilyRules)> {
        let family = Family::of(address);
        let network = self.networks.get(bridge).filter(|n| !n.internal && self.enabled.contains(&family))?;
        Some((network, network.family(family).filter(|f| f.mode != GatewayMode::Isolated)?))
    }

    /// The families of a network that the daemon keeps rules for.
    fn parts(&self, network: &NetworkRules) -> Vec<(Family, FamilyRules)> {
        self.enabled.iter().filter_map(|family| Some((*family, *network.family(*family)?))).collect()
    }
}
