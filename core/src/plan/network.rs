//! A network that stands: its subnets, its device, and what it offers to endpoints.

use std::net::IpAddr;

use super::alloc::{AllocError, Ipam, PoolId};
use super::ids::{Seed, short};
use crate::addr::{Family, IfName, IpNet};
use crate::diagnostic::Diagnostic;
use crate::topology::{Driver, GatewayMode, Network, Pool};

/// The key of the default bridge in attachments, and Docker's name for it.
pub(super) const DEFAULT_BRIDGE: &str = "bridge";

/// A network that stands.
#[derive(Debug, Clone)]
pub(super) struct Net {
    /// What the user wrote; for the default bridge what `daemon.json` says.
    pub(super) spec: Network,
    /// 64 hexadecimal digits.
    pub(super) id: String,
    /// The bridge.
    pub(super) device: IfName,
    /// IPv4.
    pub(super) v4: Option<Subnet>,
    /// IPv6.
    pub(super) v6: Option<Subnet>,
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

impl Net {
    /// The part in a family.
    pub(super) fn subnet(&self, family: Family) -> Option<&Subnet> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Whether this is `docker0`.
    pub(super) fn is_default(&self) -> bool {
        self.spec.key == DEFAULT_BRIDGE
    }

    /// How a bridge meets the outside; NAT for others, which nobody asks.
    pub(super) fn gateway_mode(&self, family: Family) -> GatewayMode {
        match (&self.spec.driver, family) {
            (Driver::Bridge(o), Family::V4) => o.gateway_mode_ipv4,
            (Driver::Bridge(o), Family::V6) => o.gateway_mode_ipv6,
            (Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None, _) => GatewayMode::Nat,
        }
    }

    /// The MTU that was asked for.
    pub(super) fn mtu(&self) -> Option<u32> {
        match &self.spec.driver {
            Driver::Bridge(o) => o.mtu,
            Driver::Macvlan(o) => o.mtu,
            Driver::Ipvlan(o) => o.mtu,
            Driver::Host | Driver::None => None,
        }
    }
}

/// Takes subnets and gateways for a network.
pub(super) fn create(
    spec: &Network,
    host: &str,
    ipam: &mut Ipam,
    reserved: &[IpNet],
) -> Result<Net, Diagnostic> {
    let id = Seed::of(&["network", host, &spec.name]).id();
    let device = device(spec, &id);
    let mut subnet = |family, wanted: bool| match wanted {
        true => request(spec, family, ipam, reserved).map(Some),
        false => Ok(None),
    };
    let v4 = subnet(Family::V4, spec.ipv4)?;
    let v6 = subnet(Family::V6, spec.ipv6)?;
    Ok(Net { spec: spec.clone(), id, device, v4, v6 })
}

fn device(spec: &Network, id: &str) -> IfName {
    let named = match &spec.driver {
        Driver::Bridge(o) => o.name.clone(),
        Driver::Macvlan(_) | Driver::Ipvlan(_) | Driver::Host | Driver::None => None,
    };
    named.or_else(|| format!("br-{}", short(id)).parse().ok()).unwrap_or_else(IfName::lo)
}

fn request(
    spec: &Network,
    family: Family,
    ipam: &mut Ipam,
    reserved: &[IpNet],
) -> Result<Subnet, Diagnostic> {
    let written = spec.pools.iter().find(|p| p.subnet.is_some_and(|s| Family::of_net(s) == family));
    let at = written.map_or(&spec.at, |p| &p.at);
    let refuse = |e: AllocError| Diagnostic::new(at.clone(), e.to_string());
    let pool = match written.and_then(|p| p.subnet.map(|s| (s, p.ip_range))) {
        Some((subnet, range)) => ipam.request_pool(subnet, range),
        None => ipam.request_predefined(family, reserved),
    }
    .map_err(refuse)?;
    let gateway = ipam.request_address(pool, written.and_then(|p| p.gateway)).map_err(refuse);
    let reserved = gateway.and_then(|gateway| reserve_aux(written, pool, ipam).map(|()| gateway));
    match reserved {
        Ok(gateway) => Ok(Subnet { pool, gateway }),
        Err(diagnostic) => {
            ipam.release_pool(pool);
            Err(diagnostic)
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
