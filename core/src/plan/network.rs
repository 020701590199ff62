//! A network that stands: its subnets, its device, and what it offers to endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use self::check::check;
use super::alloc::{AllocError, Ipam, PoolId};
use super::ids::{Seed, short};
use crate::addr::{Family, IfName, IpNet};
use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::topology::{DEFAULT_BRIDGE, Driver, GatewayMode, Host, IpvlanMode, Network, Pool};

mod check;
pub(super) mod defaults;
pub(super) mod docker0;
mod known;

pub(super) use known::known;

/// What an Engine says that has no IPv6 pools: by itself until 27, or by `daemon.json` (26.1.5 observed).
const NO_IPV6_POOL: &str = "could not find an available, non-overlapping IPv6 address pool among the defaults to assign to \
                            the network";

/// A network that stands.
#[derive(Debug, Clone)]
pub(super) struct Net {
    /// What the user wrote; for the default bridge what `daemon.json` says.
    pub(super) spec: Network,
    /// 64 hexadecimal digits.
    pub(super) id: String,
    /// The bridge, or the device that endpoints are shares of.
    pub(super) device: IfName,
    /// Whether containers route by it: until 24 by an internal bridge too, whose rules stop them (20.10.24 observed).
    routes: bool,
    /// IPv4.
    v4: Option<Subnet>,
    /// IPv6.
    v6: Option<Subnet>,
}

/// A network's part in one family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subnet {
    /// Where addresses come from.
    pub(super) pool: PoolId,
    /// The gateway's address; none where the network reserves none.
    pub(super) gateway: Option<IpAddr>,
}

impl Subnet {
    /// The gateway's address with the subnet's prefix length.
    pub(super) fn gateway_net(&self) -> Option<IpNet> {
        self.gateway.and_then(|g| self.with_prefix(g))
    }

    /// An address with the subnet's prefix length.
    pub(super) fn with_prefix(&self, addr: IpAddr) -> Option<IpNet> {
        IpNet::new(addr, self.pool.subnet.prefix_len()).ok()
    }
}

/// How a container gets out by way of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gateway {
    /// By a next hop.
    Via(IpAddr),
    /// Straight out of the device, whose kernel routes (ipvlan l3).
    Device,
}

impl Net {
    /// The part in a family.
    pub(super) const fn subnet(&self, family: Family) -> Option<&Subnet> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Whether this is `docker0`.
    pub(super) fn is_default(&self) -> bool {
        self.spec.key == DEFAULT_BRIDGE
    }

    /// Whether nothing leads out: by the user's word, or because the parent is a dummy.
    pub(super) fn is_internal(&self) -> bool {
        let dummy = match &self.spec.driver {
            Driver::Macvlan(o) => o.parent.is_none(),
            Driver::Ipvlan(o) => o.parent.is_none(),
            Driver::Bridge(_) | Driver::Host | Driver::None => false,
        };
        self.spec.internal || dummy
    }

    /// How a bridge meets the outside; NAT for others, which nobody asks.
    pub(super) const fn gateway_mode(&self, family: Family) -> GatewayMode {
        gateway_mode(&self.spec, family)
    }

    /// The way out in a family, where the network has one.
    pub(super) fn gateway(&self, family: Family) -> Option<Gateway> {
        let subnet = self.subnet(family).filter(|_| self.routes)?;
        match &self.spec.driver {
            Driver::Ipvlan(o) if o.mode != IpvlanMode::L2 => Some(Gateway::Device),
            Driver::Bridge(_) => self.default_gateway(family).or(subnet.gateway).map(Gateway::Via),
            Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None => {
                subnet.gateway.map(Gateway::Via)
            }
        }
    }

    /// Where containers go out in the gateway's place: by an auxiliary address of a certain name (`DefaultGatewayV4AuxKey`,
    /// daemon/libnetwork/drivers/bridge), which `default-gateway` gives docker0.
    fn default_gateway(&self, family: Family) -> Option<IpAddr> {
        written(&self.spec, family)?.aux_addresses.get(docker0::default_gateway_key(family)).copied()
    }

    /// Whether its devices look for neighbours; those of ipvlan l3 leave that to the parent's namespace.
    pub(super) fn has_neighbours(&self) -> bool {
        match &self.spec.driver {
            Driver::Ipvlan(o) => o.mode == IpvlanMode::L2,
            Driver::Bridge(_) | Driver::Macvlan(_) | Driver::Host | Driver::None => true,
        }
    }

    /// The MTU that was asked for.
    pub(super) const fn mtu(&self) -> Option<u32> {
        match &self.spec.driver {
            Driver::Bridge(o) => o.mtu,
            Driver::Macvlan(o) => o.mtu,
            Driver::Ipvlan(o) => o.mtu,
            Driver::Host | Driver::None => None,
        }
    }

    /// Whether the user named a subnet of a family: only then may an endpoint name its address.
    pub(super) fn has_configured_subnet(&self, family: Family) -> bool {
        self.subnet(family).is_some() && written(&self.spec, family).is_some()
    }

    /// Whether a bridge carries its gateway's address of a family.
    pub(super) fn carries_gateway(&self, family: Family) -> bool {
        let Driver::Bridge(options) = &self.spec.driver else { return false };
        let inhibited = family == Family::V4 && options.inhibit_ipv4;
        !inhibited && self.gateway_mode(family) != GatewayMode::Isolated
    }
}

const fn gateway_mode(spec: &Network, family: Family) -> GatewayMode {
    match (&spec.driver, family) {
        (Driver::Bridge(o), Family::V4) => o.gateway_mode_ipv4,
        (Driver::Bridge(o), Family::V6) => o.gateway_mode_ipv6,
        (Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None, _) => GatewayMode::Nat,
    }
}

/// The entry of `ipam.config` that names a family's subnet.
fn written(spec: &Network, family: Family) -> Option<&Pool> {
    spec.pools.iter().find(|p| p.subnet.is_some_and(|s| Family::of_net(s) == family))
}

/// Takes subnets and gateways for a network.
pub(super) fn create(
    spec: &Network,
    host: &Host,
    standing: &BTreeMap<String, Net>,
    ipam: &mut Ipam,
    reserved: &[IpNet],
) -> Result<Net, Diagnostic> {
    let id = Seed::of(&["network", host.name.as_str(), &spec.name]).id();
    let device = device(spec, &id);
    check(spec, (&id, &device), host, standing)?;
    let mut net = Net { spec: spec.clone(), id, device, routes: false, v4: None, v6: None };
    let bridge = matches!(spec.driver, Driver::Bridge(_));
    net.routes = !net.is_internal() || (bridge && !host.engine.is_at_least(25, 0));
    if spec.ipv4 {
        net.v4 = Some(request(spec, Family::V4, &host.engine, ipam, reserved, standing)?);
    }
    if spec.ipv6 {
        match request(spec, Family::V6, &host.engine, ipam, &[], standing) {
            Ok(subnet) => net.v6 = Some(subnet),
            Err(diagnostic) => {
                net.v4.iter().for_each(|s| ipam.release_pool(s.pool));
                return Err(diagnostic);
            }
        }
    }
    Ok(net)
}

/// The bridge's name, or the parent's: `dm-` and `di-` are the dummies Docker makes where there is none.
fn device(spec: &Network, id: &str) -> IfName {
    let (named, prefix) = match &spec.driver {
        Driver::Bridge(o) => (&o.name, "br-"),
        Driver::Macvlan(o) => (&o.parent, "dm-"),
        Driver::Ipvlan(o) => (&o.parent, "di-"),
        Driver::Host | Driver::None => (&None, "br-"),
    };
    named.clone().or_else(|| format!("{prefix}{}", short(id)).parse().ok()).unwrap_or_else(IfName::lo)
}

fn request(
    spec: &Network,
    family: Family,
    engine: &Engine,
    ipam: &mut Ipam,
    reserved: &[IpNet],
    standing: &BTreeMap<String, Net>,
) -> Result<Subnet, Diagnostic> {
    let written = written(spec, family);
    let at = written.map_or(&spec.at, |p| &p.at);
    let named = written.and_then(|p| p.subnet.map(|s| (s, p.ip_range)));
    let pool = match named {
        // Since 29.0 the unspecified address asks for a size alone.
        Some((subnet, None)) if subnet.addr().is_unspecified() && engine.is_at_least(29, 0) => {
            ipam.request_predefined(family, Some(subnet.prefix_len()), reserved)
        }
        Some((subnet, range)) => ipam.request_pool(subnet, range),
        None if family == Family::V6 && !ipam.has_predefined(family) => {
            return Err(Diagnostic::new(at.clone(), NO_IPV6_POOL).expected("an IPv6 'subnet' in 'ipam'"));
        }
        None => ipam.request_predefined(family, None, reserved),
    }
    .map_err(|e| explained(Diagnostic::new(at.clone(), e.to_string()), &e, standing))?;
    let taken = take_gateway(spec, written, family, engine, pool, ipam)
        .and_then(|gateway| reserve_aux(written, pool, ipam).map(|()| gateway));
    match taken {
        Ok(gateway) => Ok(Subnet { pool, gateway }),
        Err(diagnostic) => {
            ipam.release_pool(pool);
            Err(diagnostic)
        }
    }
}

/// Names the network that was there first, or what the user can do.
fn explained(diagnostic: Diagnostic, error: &AllocError, standing: &BTreeMap<String, Net>) -> Diagnostic {
    let first = match error {
        AllocError::Overlap { first } => first,
        AllocError::NoMoreSubnets => {
            return diagnostic.expected("a 'subnet' of its own, or more 'default-address-pools'");
        }
        AllocError::InvalidPool | AllocError::InUse | AllocError::OutOfRange => return diagnostic,
    };
    let holds =
        |net: &&Net| Family::ALL.iter().any(|f| net.subnet(*f).is_some_and(|s| s.pool.subnet == *first));
    match standing.values().find(holds) {
        Some(net) => {
            diagnostic.related(net.spec.at.clone(), format!("network {} has {first}", net.spec.name))
        }
        None => diagnostic,
    }
}

/// The gateway's address: the one that is named, or the lowest free one where the driver wants one.
fn take_gateway(
    spec: &Network,
    written: Option<&Pool>,
    family: Family,
    engine: &Engine,
    pool: PoolId,
    ipam: &mut Ipam,
) -> Result<Option<IpAddr>, Diagnostic> {
    let named = written.and_then(|p| p.gateway);
    let shares_parent = matches!(spec.driver, Driver::Macvlan(_) | Driver::Ipvlan(_));
    let isolated = gateway_mode(spec, family) == GatewayMode::Isolated;
    // Until 28 macvlan and ipvlan took the first address and routed by it; since 29.0 none that is not named.
    let wanted = !isolated && (!shares_parent || engine.profile.shared_parent_has_gateway());
    if named.is_none() && !wanted {
        return Ok(None);
    }
    let at = written.map_or(&spec.at, |p| &p.at);
    let gateway =
        ipam.request_address(pool, named).map_err(|e| Diagnostic::new(at.clone(), e.to_string()))?;
    match gateway {
        Some(gateway) => Ok(Some(gateway)),
        None => {
            let found =
                format!("no available IPv{} addresses on this network's address pools", family.number());
            Err(Diagnostic::new(at.clone(), found).expected("a subnet with room for a gateway"))
        }
    }
}

fn reserve_aux(written: Option<&Pool>, pool: PoolId, ipam: &mut Ipam) -> Result<(), Diagnostic> {
    let Some(written) = written else { return Ok(()) };
    for (name, addr) in &written.aux_addresses {
        ipam.request_address(pool, Some(*addr)).map_err(|e| {
            let found = format!("failed to allocate secondary ip address ({name}:{addr}): {e}");
            Diagnostic::new(written.at.clone(), found)
        })?;
    }
    Ok(())
}
