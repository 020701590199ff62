//! Docker's address management: which subnet a network gets, and which address an endpoint.
//!
//! Behaviour of Engine 28 and 29 (daemon/libnetwork/ipams/defaultipam): the lowest free subnet of the predefined
//! pools, and the lowest free address, so that what is released is given again at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::addr::{Family, IpNet};

/// Why there is no subnet or no address, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum AllocError {
    /// Two networks would share addresses.
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    Overlap {
        /// The pool that was there first.
        first: IpNet,
    },
    /// No predefined pool has subnets of the size.
    #[error("invalid address pool")]
    InvalidPool,
    /// Every predefined subnet is taken.
    #[error("all predefined address pools have been fully subnetted")]
    NoMoreSubnets,
    /// Another endpoint has the address, or it is reserved.
    #[error("Address already in use")]
    InUse,
    /// The address is not in the subnet.
    #[error("requested address is out of range")]
    OutOfRange,
}

/// A pool that a network holds: a subnet and, maybe, the part of it dynamic addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolId {
    /// The subnet, without host bits.
    pub(super) subnet: IpNet,
    /// The range.
    pub(super) range: Option<IpNet>,
}

/// The pools and addresses of one Engine; those of the two families cannot overlap and live side by side.
#[derive(Debug, Clone)]
pub(super) struct Ipam {
    /// What subnets are cut from, ascending, none overlapping another, each with the prefix length of a subnet.
    predefined: Vec<(IpNet, u8)>,
    pools: BTreeMap<IpNet, Addresses>,
}

#[derive(Debug, Clone, Default)]
struct Addresses {
    taken: BTreeSet<u128>,
    ranges: BTreeSet<IpNet>,
    /// Whether a network holds the whole subnet.
    whole: bool,
}

/// Docker's own pools for networks of one host (daemon/libnetwork/ipamutils).
fn local_pools() -> Vec<(IpNet, u8)> {
    let v4 = |a, b, prefix, size| {
        ipnet::Ipv4Net::new(Ipv4Addr::new(a, b, 0, 0), prefix).map(|n| (IpNet::V4(n), size)).ok()
    };
    [
        v4(172, 17, 16, 16),
        v4(172, 18, 16, 16),
        v4(172, 19, 16, 16),
        v4(172, 20, 14, 16),
        v4(172, 24, 14, 16),
        v4(172, 28, 14, 16),
        v4(192, 168, 16, 20),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Ipam {
    /// Pools as `default-address-pools` names them; Docker's own where it names none. `ula` is the IPv6 pool that an
    /// Engine has by itself (27), and that is there unless the list has one of its own.
    pub(super) fn new(default_address_pools: &[(IpNet, u8)], ula: Option<(IpNet, u8)>) -> Self {
        let mut predefined = default_address_pools.to_vec();
        if predefined.is_empty() {
            predefined = local_pools();
        }
        if predefined.iter().all(|(net, _)| Family::of_net(*net) == Family::V4) {
            predefined.extend(ula);
        }
        predefined.iter_mut().for_each(|(net, _)| *net = net.trunc());
        predefined.sort_by_key(|(net, size)| (net.network(), net.prefix_len(), *size));
        let mut kept: Vec<(IpNet, u8)> = Vec::new();
        for (net, size) in predefined {
            if !kept.iter().any(|(other, _)| overlap(*other, net)) {
                kept.push((net, size));
            }
        }
        Self { predefined: kept, pools: BTreeMap::new() }
    }

    /// Whether there are pools of a family to take subnets from.
    pub(super) fn has_predefined(&self, family: Family) -> bool {
        self.predefined.iter().any(|(net, _)| Family::of_net(*net) == family)
    }

    /// A subnet by name. With a range, overlap with other subnets is not looked for (moby#46756).
    pub(super) fn request_pool(&mut self, subnet: IpNet, range: Option<IpNet>) -> Result<PoolId, AllocError> {
        let subnet = subnet.trunc();
        let range = range.map(|r| if r.prefix_len() < subnet.prefix_len() { subnet } else { r.trunc() });
        let same_range = |a: &Addresses| range.is_some_and(|r| a.ranges.contains(&r));
        let first = match range {
            None => self.pools.keys().copied().find(|other| overlap(*other, subnet)),
            Some(_) => self.pools.get_key_value(&subnet).filter(|(_, a)| same_range(a)).map(|(net, _)| *net),
        };
        if let Some(first) = first {
            return Err(AllocError::Overlap { first });
        }
        let pool = self.pools.entry(subnet).or_insert_with(|| Addresses::of(subnet));
        match range {
            Some(range) => _ = pool.ranges.insert(range),
            None => pool.whole = true,
        }
        Ok(PoolId { subnet, range })
    }

    /// The lowest predefined subnet, of a pool's own size or of `size`, that overlaps neither another nor a reserved
    /// network.
    pub(super) fn request_predefined(
        &mut self,
        family: Family,
        size: Option<u8>,
        reserved: &[IpNet],
    ) -> Result<PoolId, AllocError> {
        let taken: Vec<IpNet> = self.pools.keys().chain(reserved).copied().collect();
        let of_family = self.predefined.iter().filter(|(net, _)| Family::of_net(*net) == family);
        let bases: Vec<(IpNet, u8)> = of_family
            .map(|(net, own)| (*net, size.unwrap_or(*own)))
            .filter(|(net, size)| (net.prefix_len()..=net.max_prefix_len()).contains(size))
            .collect();
        if bases.is_empty() {
            return Err(AllocError::InvalidPool);
        }
        let free = bases.into_iter().find_map(|(base, size)| first_free(base, size, &taken));
        let subnet = free.ok_or(AllocError::NoMoreSubnets)?;
        self.pools.insert(subnet, Addresses { whole: true, ..Addresses::of(subnet) });
        Ok(PoolId { subnet, range: None })
    }

    /// Gives a network's pool back.
    pub(super) fn release_pool(&mut self, pool: PoolId) {
        let Some(addresses) = self.pools.get_mut(&pool.subnet) else { return };
        match pool.range {
            Some(range) => _ = addresses.ranges.remove(&range),
            None => addresses.whole = false,
        }
        if addresses.ranges.is_empty() && !addresses.whole {
            self.pools.remove(&pool.subnet);
        }
    }

    /// The address that is asked for, or the lowest free one of the pool's range; none where there is none.
    pub(super) fn request_address(
        &mut self,
        pool: PoolId,
        preferred: Option<IpAddr>,
    ) -> Result<Option<IpAddr>, AllocError> {
        let Some(addresses) = self.pools.get_mut(&pool.subnet) else { return Ok(None) };
        let Some(preferred) = preferred else {
            let free = addresses.lowest_free(pool.range.unwrap_or(pool.subnet));
            return Ok(free.map(|n| address(Family::of_net(pool.subnet), n)));
        };
        if !pool.subnet.contains(&preferred) {
            return Err(AllocError::OutOfRange);
        }
        if addresses.taken.insert(number(preferred)) { Ok(Some(preferred)) } else { Err(AllocError::InUse) }
    }

    /// Gives an address back.
    pub(super) fn release_address(&mut self, pool: PoolId, addr: IpAddr) {
        if let Some(addresses) = self.pools.get_mut(&pool.subnet) {
            addresses.taken.remove(&number(addr));
        }
    }
}

impl Addresses {
    /// What is never given: the network's own address and, for IPv4, the broadcast address (RFC 3021: not of a /31).
    fn of(subnet: IpNet) -> Self {
        let mut taken = BTreeSet::new();
        let bits = subnet.max_prefix_len() - subnet.prefix_len();
        let v4 = Family::of_net(subnet) == Family::V4;
        if !v4 || bits > 1 {
            taken.insert(number(subnet.network()));
        }
        if v4 && bits > 1 {
            taken.insert(number(subnet.broadcast()));
        }
        Self { taken, ..Self::default() }
    }

    fn lowest_free(&mut self, range: IpNet) -> Option<u128> {
        let (mut candidate, last) = (number(range.network()), number(range.broadcast()));
        for taken in self.taken.range(candidate..=last) {
            if *taken != candidate {
                break;
            }
            candidate = candidate.checked_add(1)?;
        }
        (candidate <= last && self.taken.insert(candidate)).then_some(candidate)
    }
}

/// Whether two networks have an address in common.
pub(super) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The lowest subnet of `size` in `base` that overlaps none of `taken`.
fn first_free(base: IpNet, size: u8, taken: &[IpNet]) -> Option<IpNet> {
    let family = Family::of_net(base);
    let step = 1u128.checked_shl(u32::from(base.max_prefix_len().checked_sub(size)?)).unwrap_or(0);
    let end = number(base.broadcast());
    let mut start = number(base.network());
    loop {
        let candidate = IpNet::new(address(family, start), size).ok().filter(|_| start <= end)?;
        match taken.iter().find(|t| overlap(**t, candidate)) {
            None => return Some(candidate),
            // The next multiple of `step` behind what is in the way.
            Some(taken) => {
                let behind = number(taken.broadcast()).max(number(candidate.broadcast())).checked_add(1)?;
                start = behind.checked_next_multiple_of(step.max(1))?;
            }
        }
    }
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(s: &str) -> IpNet {
        s.parse().unwrap()
    }

    fn ipam() -> Ipam {
        Ipam::new(&[], Some((net("fd00:1:2::/48"), 64)))
    }

    fn addresses(ipam: &mut Ipam, pool: PoolId, count: usize) -> Vec<String> {
        (0..count).map_while(|_| ipam.request_address(pool, None).unwrap()).map(|a| a.to_string()).collect()
    }

    #[test]
    fn there_are_31_predefined_ipv4_networks() {
        let mut ipam = ipam();
        let all: Vec<String> = std::iter::from_fn(|| ipam.request_predefined(Family::V4, None, &[]).ok())
            .map(|p| p.subnet.to_string())
            .collect();
        assert_eq!(all.len(), 31);
        assert_eq!(all[..3], ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16"]);
        assert_eq!(all[14..16], ["172.31.0.0/16", "192.168.0.0/20"]);
        assert_eq!(all[30], "192.168.240.0/20");
        assert_eq!(ipam.request_predefined(Family::V4, None, &[]), Err(AllocError::NoMoreSubnets));
    }

    #[test]
    fn a_predefined_subnet_steps_over_what_is_taken_and_reserved() {
        let mut ipam = ipam();
        ipam.request_pool(net("172.17.128.0/24"), None).unwrap();
        let reserved = [net("172.18.0.0/15"), net("172.20.7.1/32")];
        let pool = ipam.request_predefined(Family::V4, None, &reserved).unwrap();
        assert_eq!(pool.subnet, net("172.21.0.0/16"));
    }

    #[test]
    fn a_released_subnet_is_given_again() {
        let mut ipam = ipam();
        let first = ipam.request_predefined(Family::V4, None, &[]).unwrap();
        ipam.request_predefined(Family::V4, None, &[]).unwrap();
        ipam.release_pool(first);
        assert_eq!(ipam.request_predefined(Family::V4, None, &[]).unwrap(), first);
    }

    #[test]
    fn an_overlapping_pool_is_refused_unless_a_range_is_named() {
        let mut ipam = ipam();
        let first = ipam.request_pool(net("10.0.0.0/16"), None).unwrap().subnet;
        assert_eq!(ipam.request_pool(net("10.0.4.0/24"), None), Err(AllocError::Overlap { first }));
        assert_eq!(ipam.request_pool(net("10.0.0.0/16"), None), Err(AllocError::Overlap { first }));
        ipam.request_pool(net("10.0.4.0/24"), Some(net("10.0.4.128/25"))).unwrap();
    }

    #[test]
    fn the_lowest_free_address_is_given_and_given_again() {
        let mut ipam = ipam();
        let pool = ipam.request_pool(net("10.0.0.0/29"), None).unwrap();
        assert_eq!(addresses(&mut ipam, pool, 3), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        ipam.release_address(pool, "10.0.0.2".parse().unwrap());
        assert_eq!(addresses(&mut ipam, pool, 9), ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
    }

    #[test]
    fn a_range_gives_its_own_first_and_last_address() {
        let mut ipam = ipam();
        let pool = ipam.request_pool(net("172.28.0.0/16"), Some(net("172.28.30.0/30"))).unwrap();
        let all = ["172.28.30.0", "172.28.30.1", "172.28.30.2", "172.28.30.3"];
        assert_eq!(addresses(&mut ipam, pool, 9), all);
        let outside = "172.28.5.5".parse().unwrap();
        assert_eq!(ipam.request_address(pool, Some(outside)), Ok(Some(outside)));
        assert_eq!(ipam.request_address(pool, Some(outside)), Err(AllocError::InUse));
        let wrong = "172.29.0.1".parse().unwrap();
        assert_eq!(ipam.request_address(pool, Some(wrong)), Err(AllocError::OutOfRange));
    }

    #[test]
    fn what_is_reserved_depends_on_family_and_prefix() {
        for (subnet, all) in [
            ("10.0.0.0/30", &["10.0.0.1", "10.0.0.2"][..]),
            ("10.0.0.0/31", &["10.0.0.0", "10.0.0.1"]),
            ("10.0.0.0/32", &["10.0.0.0"]),
            ("fd00::/126", &["fd00::1", "fd00::2", "fd00::3"]),
        ] {
            let mut ipam = ipam();
            let pool = ipam.request_pool(net(subnet), None).unwrap();
            assert_eq!(addresses(&mut ipam, pool, 9), all, "{subnet}");
        }
    }

    #[test]
    fn ipv6_subnets_are_cut_from_the_ula_pool() {
        let mut ipam = ipam();
        assert_eq!(ipam.request_predefined(Family::V6, None, &[]).unwrap().subnet, net("fd00:1:2::/64"));
        assert_eq!(ipam.request_predefined(Family::V6, None, &[]).unwrap().subnet, net("fd00:1:2:1::/64"));
    }
}
