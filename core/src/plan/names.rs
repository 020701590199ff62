//! Names: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`, and the resolver of user-defined networks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::container::Ctr;
use super::network::Net;
use crate::addr::Family;

pub(super) mod resolv_conf;

/// What every container's `/etc/hosts` begins with.
const HOSTS_V4: &str = "127.0.0.1\tlocalhost\n";
/// Left out only where IPv6 is off on every device of the container.
const HOSTS_V6: &str = "\
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// Extra lines of a hosts file: an address and its names.
pub(super) type HostsLine = (IpAddr, String);

/// A container's hosts file: loopback, extra hosts, links, then its own addresses.
pub(super) fn hosts(ctr: &Ctr, extra: &[HostsLine], links: &[HostsLine]) -> String {
    let v6_off = ctr.spec.sysctls.get("net.ipv6.conf.all.disable_ipv6").is_some_and(|v| v == "1");
    let mut text = HOSTS_V4.to_owned();
    if !v6_off {
        text.push_str(HOSTS_V6);
    }
    let own = own_names(ctr);
    let own = ctr.endpoints.iter().flat_map(|e| e.addresses.iter().map(|a| (a.addr(), own.clone())));
    for (addr, names) in extra.iter().chain(links).cloned().chain(own) {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{addr}\t{names}");
    }
    text
}

/// `fqdn short`, or the hostname alone.
fn own_names(ctr: &Ctr) -> String {
    let hostname = ctr.hostname();
    let fqdn = match &ctr.spec.domainname {
        Some(domain) => format!("{hostname}.{domain}"),
        None => hostname,
    };
    match fqdn.split_once('.') {
        Some((short, _)) => format!("{fqdn} {short}"),
        None => fqdn,
    }
}

/// What the resolver of a container answers itself: the names of every container on its user-defined networks.
pub(super) fn zone(
    ctr: &Ctr,
    networks: &BTreeMap<String, Net>,
    all: &[Ctr],
) -> (BTreeMap<String, Vec<IpAddr>>, BTreeMap<IpAddr, String>) {
    let (mut zone, mut reverse) = (BTreeMap::<String, Vec<IpAddr>>::new(), BTreeMap::new());
    let joined = ctr.endpoints.iter().filter_map(|e| networks.get(&e.attachment.network));
    for net in joined.filter(|n| !n.is_default()) {
        for other in all.iter().filter(|c| c.running) {
            let on = other.endpoints.iter().find(|e| e.attachment.network == net.spec.key);
            let Some(endpoint) = on else { continue };
            for name in dns_names(other, &endpoint.attachment.aliases) {
                for name in [name.clone(), format!("{name}.{}", net.spec.name)] {
                    let addrs = zone.entry(name.to_lowercase()).or_default();
                    let new = endpoint.addresses.iter().map(|a| a.addr());
                    new.for_each(|a| {
                        if !addrs.contains(&a) {
                            addrs.push(a)
                        }
                    });
                }
            }
            for address in &endpoint.addresses {
                reverse
                    .entry(address.addr())
                    .or_insert_with(|| format!("{}.{}", other.spec.name, net.spec.name));
            }
        }
    }
    zone.values_mut().for_each(|addrs| addrs.sort_by_key(|a| Family::of(*a)));
    (zone, reverse)
}

/// The container's name, its aliases, its short id, and its hostname where one was given.
fn dns_names(ctr: &Ctr, aliases: &[String]) -> Vec<String> {
    let mut names = vec![ctr.spec.name.clone()];
    names.extend(aliases.iter().cloned());
    names.push(super::ids::short(&ctr.id));
    names.extend(ctr.spec.hostname.clone());
    names
}
