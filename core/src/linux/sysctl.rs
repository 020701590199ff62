//! Settings under /proc/sys: each is that of the namespace of whoever writes it.

use std::fs;
use std::io;

use super::Error;
use super::space::Space;
use crate::plan::Sysctl;

/// Who may send echo requests without the right to raw sockets (man 7 icmp).
pub(super) const PING_GROUPS: &str = "net.ipv4.ping_group_range";

/// How many flows there may be in all namespaces together (net/netfilter/nf_conntrack_standalone.c).
const CONNTRACK_MAX: &str = "net.netfilter.nf_conntrack_max";

/// What `br_netfilter` shows to the rules.
pub(super) const BRIDGES: [&str; 3] = [
    "net.bridge.bridge-nf-call-arptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-iptables",
];

/// Settings of devices that bear on packets, and what each is from the start (net/ipv4/devinet.c, net/ipv6/addrconf.c).
pub(super) const CONF: [(&str, &str, &str); 12] = [
    ("ipv4", "accept_local", "0"),
    ("ipv4", "arp_announce", "0"),
    ("ipv4", "arp_filter", "0"),
    ("ipv4", "arp_ignore", "0"),
    ("ipv4", "forwarding", "0"),
    ("ipv4", "proxy_arp", "0"),
    ("ipv4", "route_localnet", "0"),
    ("ipv4", "rp_filter", "0"),
    ("ipv4", "src_valid_mark", "0"),
    ("ipv6", "accept_ra", "1"),
    ("ipv6", "disable_ipv6", "0"),
    ("ipv6", "forwarding", "0"),
];

/// Writes a setting in a namespace: the network's for `net.…`, and else the IPC namespace's.
///
/// # Errors
/// Where the kernel has no such setting there, or refuses the value.
pub fn write(space: &Space, ns: &str, sysctl: &Sysctl) -> Result<(), Error> {
    let object = || format!("sysctl {}={} in {ns}", sysctl.key, sysctl.value);
    let failed = |e: io::Error| {
        let error = Error::new("write", object(), &e);
        if sysctl.key == CONNTRACK_MAX && e.kind() == io::ErrorKind::PermissionDenied {
            return error.missing("only the machine's first network namespace has it (CONFIG_NF_CONNTRACK)");
        }
        if e.kind() == io::ErrorKind::NotFound { error.missing(needs(&sysctl.key)) } else { error }
    };
    let value = match sysctl.key.as_str() {
        PING_GROUPS => ping_groups(&sysctl.value).map_err(failed)?,
        _ => sysctl.value.clone(),
    };
    space.inside(|| fs::write(path(&sysctl.key), value)).and_then(|written| written).map_err(failed)
}

/// Reads settings of a namespace; those that this kernel has not are left out. White space is a blank each.
///
/// # Errors
/// Where the namespace may not be entered, or a setting not read.
pub(super) fn read(space: &Space, ns: &str, keys: &[String]) -> Result<Vec<Sysctl>, Error> {
    let one = |key: &String| match fs::read_to_string(path(key)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::new("read", format!("sysctl {key} in {ns}"), &e)),
        Ok(text) => Ok(Some(Sysctl { key: key.clone(), value: words(&text) })),
    };
    let all = || keys.iter().filter_map(|key| one(key).transpose()).collect();
    space.inside(all).unwrap_or_else(|e| Err(Error::new("enter", ns, &e)))
}

/// A value with a blank wherever it has white space.
pub(super) fn words(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Gives a new network namespace what the kernel gives the first one. Its own it has in part from the machine's first,
/// and those of `br_netfilter`, where the machine has loaded it, are on from the start: Docker loads it only where a
/// plan asks for one of them. What is already so is not written; what was is the same for each namespace of a machine.
///
/// # Errors
/// As the kernel says.
pub fn reset(space: &Space, ns: &str) -> Result<Vec<Sysctl>, Error> {
    let born: Vec<(String, &str)> = born().collect();
    let keys: Vec<String> = born.iter().map(|(key, _)| key.clone()).collect();
    let found = read(space, ns, &keys)?;
    let other =
        born.into_iter().filter(|(key, value)| found.iter().any(|s| s.key == *key && s.value != *value));
    let other: Vec<Sysctl> = other.map(|(key, value)| Sysctl { key, value: value.to_owned() }).collect();
    other.iter().try_for_each(|setting| write(space, ns, setting))?;
    Ok(other)
}

/// The settings that a namespace is born with where nobody has written any: those that bear on packets, of `all`,
/// `default` and `lo`, and those of `br_netfilter`, as if that were not loaded.
pub(super) fn born() -> impl Iterator<Item = (String, &'static str)> {
    let conf = ["all", "default", "lo"].into_iter().flat_map(|device| {
        CONF.iter().map(move |(family, name, value)| (format!("net.{family}.conf.{device}.{name}"), *value))
    });
    conf.chain(BRIDGES.iter().map(|key| ((*key).to_owned(), "0")))
}

/// A range of groups. Docker's names every group there is, and the kernel refuses one that the writer's user namespace
/// has not (net/ipv4/sysctl_net_ipv4.c): an ordinary user's ends with his last.
fn ping_groups(range: &str) -> io::Result<String> {
    let map = fs::read_to_string("/proc/thread-self/gid_map")?;
    Ok(within(range, &map))
}

fn within(range: &str, map: &str) -> String {
    let last = map.lines().filter_map(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [inside, _, count] = numbers.as_slice() else { return None };
        (inside + count).checked_sub(1)
    });
    match (range.split_whitespace().collect::<Vec<_>>().as_slice(), last.max()) {
        ([first, to], Some(last)) if to.parse::<u64>().is_ok_and(|to| to > last) => format!("{first} {last}"),
        (_, _) => range.to_owned(),
    }
}

/// A setting's file: dots part folders, and a slash stands for a dot in a name (man 8 sysctl).
fn path(key: &str) -> String {
    let folder = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    format!("/proc/sys/{}", key.chars().map(folder).collect::<String>())
}

/// What brings a setting that is not there.
fn needs(key: &str) -> &'static str {
    match key {
        _ if key.starts_with("net.bridge.") => "load br_netfilter (CONFIG_BRIDGE_NETFILTER)",
        _ if key.starts_with("net.netfilter.") => "load nf_conntrack (CONFIG_NF_CONNTRACK)",
        _ if key.starts_with("net.ipv6.") => "boot without ipv6.disable=1 (CONFIG_IPV6)",
        _ => "a kernel that has it",
    }
}

#[cfg(test)]
mod tests {
    use super::{path, within};

    #[test]
    fn a_range_of_groups_ends_with_the_last_there_is() {
        let docker = "0 2147483647";
        assert_eq!(within(docker, "0 0 4294967295\n"), docker);
        assert_eq!(within(docker, "0 1000 1\n"), "0 0");
        assert_eq!(within(docker, "0 1000 1\n100000 200000 65536\n"), "0 165535");
        assert_eq!(within("1 0", "0 1000 1\n"), "1 0");
    }

    #[test]
    fn a_slash_in_a_key_is_a_dot_in_a_devices_name() {
        assert_eq!(
            path("net.ipv6.conf.eth0/10.disable_ipv6"),
            "/proc/sys/net/ipv6/conf/eth0.10/disable_ipv6"
        );
    }
}
