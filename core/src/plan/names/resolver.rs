//! What the resolver on 127.0.0.11 answers itself (daemon/libnetwork/sandbox.go: `ResolveName`; network.go).
//!
//! A name is looked for on one network after the other, the best gateway first; the first that knows it answers, each
//! family by itself. `name.network` asks one network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::addr::Family;
use crate::plan::container::Ctr;
use crate::plan::dockerd::Dockerd;
use crate::plan::ids::{Seed, short};
use crate::plan::network::Net;
use crate::plan::{Item, Object, Resolver, Zone, firewall, gateway};
use crate::probe::NsKind;
use crate::rules::Ruleset;

/// Linux's ephemeral ports, where the resolver's sockets are.
const PORTS: (u16, u16) = (32768, 28232);

/// The names of one network, lower case, each with its addresses in the order the containers came.
pub(crate) type Records = BTreeMap<String, Vec<IpAddr>>;

/// A network that a container is on, and the names that it knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined<'a> {
    pub(crate) name: &'a str,
    pub(crate) has_v6: bool,
    pub(crate) records: &'a Records,
}

/// The records of every network, by its key, and the zones made of them so far.
///
/// A zone has a name for every container of a network, and every container has a zone: one is made for all that are on
/// the same networks, with the same links.
#[derive(Debug, Default)]
pub(in crate::plan) struct Zones {
    records: BTreeMap<String, Records>,
    made: BTreeMap<ZoneKey, Arc<Zone>>,
}

/// What makes zones equal: the keys of the networks, the best gateway first, and the links.
type ZoneKey = (Vec<String>, BTreeMap<String, String>);

impl Dockerd {
    /// The resolver of a container, where it has one.
    pub(in crate::plan) fn resolver(&self, ctr: &Ctr, zones: &mut Zones) -> Option<Resolver> {
        let mut upstream = Some(ctr).filter(|c| c.resolver).map(|c| self.resolv_conf(c).upstream)?;
        // The host's own servers are not asked for a container that has no way out (28.0).
        let external = self.gateways(ctr) != gateway::Gateways::default();
        upstream.retain(|server| external || !server.from_host);
        let [tcp_port, udp_port] = self.resolver_ports(ctr);
        Some(Resolver { udp_port, tcp_port, zone: self.zone(ctr, zones), upstream })
    }

    /// The rules in a container's own namespace: those that lead to the resolver, or what was made of them by hand.
    pub(in crate::plan) fn own_rules(&self, ctr: &Ctr) -> Vec<Ruleset> {
        let [tcp_port, udp_port] = self.resolver_ports(ctr);
        let backend = self.host.daemon.firewall_backend;
        let by_hand = || ctr.rules.iter().any(|r| r.family == Family::V4 && r.backend == backend);
        let own = (ctr.resolver && !by_hand()).then(|| firewall::resolver(backend, tcp_port, udp_port));
        own.into_iter().chain(ctr.rules.iter().cloned()).collect()
    }

    /// The same as objects.
    pub(in crate::plan) fn rule_items(&self, ctr: &Ctr) -> Vec<Item> {
        let item = |rules: Ruleset| Item { ns: ctr.ns(NsKind::Network), object: Object::Rules(rules.into()) };
        self.own_rules(ctr).into_iter().map(item).collect()
    }

    /// Its ports, random in truth; none that a listener of the container wants.
    fn resolver_ports(&self, ctr: &Ctr) -> [u16; 2] {
        let own = self.listeners(ctr.node());
        let taken: BTreeSet<u16> = own.map(|l| l.port).collect();
        ["tcp", "udp"].map(|what| {
            let salted =
                |n: u32| Seed::of(&["resolver", what, &ctr.id, &n.to_string()]).port(PORTS.0, PORTS.1);
            (0..64).map(salted).find(|p| !taken.contains(p)).unwrap_or(PORTS.0)
        })
    }

    /// The records of every network, and no zone.
    pub(in crate::plan) fn zones(&self) -> Zones {
        let records = self.networks.iter().map(|(key, net)| (key.clone(), self.records(net))).collect();
        Zones { records, made: BTreeMap::new() }
    }

    /// What a container's networks, the best gateway first, know.
    fn zone(&self, ctr: &Ctr, zones: &mut Zones) -> Arc<Zone> {
        let order = gateway::order(&ctr.endpoints, &self.networks).into_iter();
        let on = order.filter_map(|place| ctr.endpoints.get(place).map(|e| e.attachment.network.clone()));
        let key = (on.collect(), self.aliases(ctr));
        if let Some(made) = zones.made.get(&key) {
            return Arc::clone(made);
        }
        let (on, aliases) = &key;
        let joined = on.iter().filter_map(|key| Some((self.networks.get(key)?, zones.records.get(key)?)));
        let joined: Vec<(&Net, &Records)> = joined.collect();
        let networks = joined.iter().map(|(net, _)| net.spec.name.clone()).collect();
        let known = joined.iter().map(|(net, records)| Joined {
            name: &net.spec.name,
            has_v6: net.subnet(Family::V6).is_some(),
            records,
        });
        let names = names(&known.collect::<Vec<_>>(), aliases);
        let zone = Zone { names, networks, reverse: self.reverse(&joined) };
        let zone = Arc::new(zone);
        zones.made.insert(key, Arc::clone(&zone));
        zone
    }

    /// The names of a network's running containers; the default bridge has none.
    fn records(&self, net: &Net) -> Records {
        let mut records = Records::new();
        if net.is_default() {
            return records;
        }
        for ctr in self.containers.iter().filter(|c| c.is_running()) {
            let Some(endpoint) = ctr.endpoint(&net.spec.key) else { continue };
            for name in dns_names(ctr, &endpoint.attachment.aliases) {
                let addresses = records.entry(name.to_lowercase()).or_default();
                for address in endpoint.addresses.iter().map(|a| a.addr()) {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
        }
        records
    }

    /// Links of user-defined networks: other names for containers, looked for before all else.
    fn aliases(&self, ctr: &Ctr) -> BTreeMap<String, String> {
        let links = ctr.spec.links.iter();
        let named = links
            .filter_map(|l| Some((l.alias.to_lowercase(), self.find(&l.target)?.spec.name.to_lowercase())));
        named.collect()
    }

    /// Addresses by the first name of the container, on each network a container is on.
    fn reverse(&self, joined: &[(&Net, &Records)]) -> BTreeMap<IpAddr, String> {
        let mut reverse = BTreeMap::new();
        for (net, _) in joined.iter().filter(|(net, _)| !net.is_default()) {
            for ctr in self.containers.iter().filter(|c| c.is_running()) {
                let addresses = ctr.endpoint(&net.spec.key).into_iter().flat_map(|e| &e.addresses);
                for address in addresses.map(|a| a.addr()) {
                    reverse.entry(address).or_insert_with(|| format!("{}.{}", ctr.spec.name, net.spec.name));
                }
            }
        }
        reverse
    }
}

/// The container's name, its aliases, its short id, and its hostname where one was given.
fn dns_names(ctr: &Ctr, aliases: &[String]) -> Vec<String> {
    let mut names = vec![ctr.spec.name.clone()];
    names.extend(aliases.iter().cloned());
    names.push(short(&ctr.id));
    names.extend(ctr.spec.hostname.clone());
    names
}

/// Every name that one of the networks knows, with what a question for it is answered. The best gateway's network stands
/// first; `aliases` are other names of containers.
pub(crate) fn names(joined: &[Joined<'_>], aliases: &BTreeMap<String, String>) -> Records {
    let mut zone = Records::new();
    let plain = joined.iter().flat_map(|net| net.records.keys());
    for name in plain.chain(aliases.keys()) {
        zone.insert(name.clone(), answer(joined, name, aliases));
        for one in joined {
            let addresses = answer(std::slice::from_ref(one), name, aliases);
            zone.insert(format!("{name}.{}", one.name), addresses);
        }
    }
    zone.retain(|_, addresses: &mut Vec<IpAddr>| !addresses.is_empty());
    zone
}

/// The first network's answer, of each family by itself; a network without IPv6 that knows the name ends the search
/// for IPv6.
fn answer(joined: &[Joined<'_>], name: &str, aliases: &BTreeMap<String, String>) -> Vec<IpAddr> {
    let known_as = aliases.get(name).map_or(name, String::as_str);
    let of = |family: Family| {
        let found = joined.iter().find_map(|net| {
            let addresses = net.records.get(known_as)?;
            let own: Vec<IpAddr> = addresses.iter().copied().filter(|a| Family::of(*a) == family).collect();
            let ends = family == Family::V6 && !net.has_v6;
            (ends || !own.is_empty()).then_some(own)
        });
        found.unwrap_or_default()
    };
    [of(Family::V4), of(Family::V6)].concat()
}
