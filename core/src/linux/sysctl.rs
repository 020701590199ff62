//! Settings under /proc/sys: each is that of the namespace of whoever writes it.

use std::fs;
use std::io;

use super::Error;
use super::space::Space;
use crate::plan::Sysctl;

/// Who may send echo requests without the right to raw sockets (man 7 icmp).
const PING_GROUPS: &str = "net.ipv4.ping_group_range";

/// Writes a setting in a namespace: the network's for `net.…`, and else the IPC namespace's.
///
/// # Errors
/// Where the kernel has no such setting there, or refuses the value.
pub fn write(space: &Space, ns: &str, sysctl: &Sysctl) -> Result<(), Error> {
    let object = || format!("sysctl {}={} in {ns}", sysctl.key, sysctl.value);
    let failed = |e: io::Error| {
        let error = Error::new("write", object(), &e);
        if e.kind() == io::ErrorKind::NotFound { error.missing(needs(&sysctl.key)) } else { error }
    };
    let value = match sysctl.key.as_str() {
        PING_GROUPS => ping_groups(&sysctl.value).map_err(failed)?,
        _ => sysctl.value.clone(),
    };
    space.inside(|| fs::write(path(&sysctl.key), value)).and_then(|written| written).map_err(failed)
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
