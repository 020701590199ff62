//! `/etc/resolv.conf` as Engines until 25 wrote it: the host's lines, or new ones without comments
//! (libnetwork/resolvconf; 20.10.24 observed).

use std::net::IpAddr;

use super::{Overrides, Parsed, RESOLVER, ResolvConf, Use, fallback, parse};
use crate::plan::Upstream;

/// The container's file, made from the host's.
pub(super) fn resolv_conf(host: &str, overrides: Overrides<'_>, kind: Use) -> ResolvConf {
    let overridden = !overrides.words().is_empty();
    let text = match kind {
        Use::Host if !overridden => host.to_owned(),
        Use::Legacy { ipv6 } if !overridden => filter(host, ipv6),
        Use::Host | Use::Legacy { .. } => build(&merged(host, overrides)),
        Use::Internal { ipv6 } => return internal(host, overrides, ipv6),
    };
    ResolvConf { text, upstream: Vec::new() }
}

/// What a file says, but for `domain`, and what is said instead.
fn merged(file: &str, overrides: Overrides<'_>) -> Parsed {
    let lines: Vec<&str> = file.lines().filter(|l| !l.trim_start().starts_with("domain")).collect();
    let mut conf = parse(&lines.join("\n"));
    if !overrides.nameservers.is_empty() {
        conf.nameservers = overrides.nameservers.to_vec();
    }
    if !overrides.search.is_empty() {
        conf.search = overrides.search.to_vec();
    }
    if !overrides.options.is_empty() {
        conf.options = overrides.options.to_vec();
    }
    conf
}

/// The resolver stands for IPv4's servers; IPv6's are named beside it, and asked by the container itself.
fn internal(host: &str, overrides: Overrides<'_>, ipv6: bool) -> ResolvConf {
    let v4 = |conf: &Parsed, from_host: bool| {
        let servers = conf.nameservers.iter().filter(|a| a.is_ipv4());
        let server = |a: &IpAddr| Upstream { address: *a, from_host: from_host && a.is_loopback() };
        servers.map(server).collect::<Vec<_>>()
    };
    let overridden = !overrides.words().is_empty();
    let before = merged(host, overrides);
    let mut conf = if overridden { merged(host, overrides) } else { merged(&filter(host, ipv6), overrides) };
    let mut upstream = v4(&before, overrides.nameservers.is_empty());
    if upstream.is_empty() {
        upstream = v4(&conf, false);
    }
    conf.nameservers.retain(IpAddr::is_ipv6);
    conf.nameservers.insert(0, RESOLVER);
    if !conf.has_ndots() {
        conf.options.push("ndots:0".to_owned());
    }
    ResolvConf { text: build(&conf), upstream }
}

/// New lines (`Build`).
fn build(conf: &Parsed) -> String {
    let mut lines = Vec::new();
    if !conf.search.is_empty() && conf.search != ["."] {
        lines.push(format!("search {}\n", conf.search.join(" ")));
    }
    lines.extend(conf.nameservers.iter().map(|address| format!("nameserver {address}\n")));
    if !conf.options.is_empty() {
        lines.push(format!("options {}\n", conf.options.join(" ")));
    }
    lines.concat()
}

/// The host's own lines without servers that the container cannot ask (`FilterResolvDNS`).
fn filter(host: &str, ipv6: bool) -> String {
    let server =
        |line: &str| line.strip_prefix("nameserver")?.split_whitespace().next()?.parse::<IpAddr>().ok();
    let asked = |a: IpAddr| !a.is_loopback() && (a.is_ipv4() || ipv6);
    let kept: Vec<&str> = host.lines().filter(|l| server(l).is_none_or(asked)).collect();
    let mut text: String = kept.iter().map(|line| format!("{line}\n")).collect();
    if !kept.iter().any(|line| server(line).is_some()) {
        let lines = fallback(ipv6).into_iter().map(|a| format!("nameserver {a}\n"));
        text.push('\n');
        text.extend(lines);
    }
    text
}
