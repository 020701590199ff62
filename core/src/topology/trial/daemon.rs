//! `daemon`: the keys of `daemon.json` that change networking (docs: dockerd, daemon configuration file).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use crate::addr::IpNet;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::Engine;
use crate::rules::Backend;
use crate::topology::field::Field;
use crate::topology::{CgroupMode, Daemon, IpcMode};

/// Keys that are honoured.
const KEYS: &[&str] = &[
    "allow-direct-routing",
    "bip",
    "bip6",
    "bridge-accept-fwmark",
    "default-address-pools",
    "default-cgroupns-mode",
    "default-gateway",
    "default-gateway-v6",
    "default-ipc-mode",
    "default-network-opts",
    "dns",
    "dns-opts",
    "dns-search",
    "firewall-backend",
    "fixed-cidr",
    "fixed-cidr-v6",
    "host-gateway-ip",
    "host-gateway-ips",
    "icc",
    "ip",
    "ip-forward",
    "ip-forward-no-drop",
    "ip-masq",
    "ip6tables",
    "iptables",
    "ipv6",
    "mtu",
    "userland-proxy",
    "userns-remap",
];

/// Keys that change networking and are not planned, each with what the user can do.
const REFUSED: &[(&str, &str)] = &[
    ("bridge", "no key: the default bridge is docker0"),
    ("live-restore", "no key: the daemon never restarts here"),
    ("userland-proxy-path", "userland-proxy alone: the proxy is not a program here"),
];

/// Keys by their first release, where that is later than the oldest planned.
const SINCE: &[(&str, (u32, u32))] = &[
    ("allow-direct-routing", (28, 2)),
    ("bip6", (28, 0)),
    ("bridge-accept-fwmark", (29, 0)),
    ("firewall-backend", (29, 0)),
    ("host-gateway-ips", (28, 0)),
    ("ip-forward-no-drop", (28, 0)),
];

/// The first release that has a key of `daemon.json`, where that is later than the oldest planned.
#[must_use]
pub fn since(key: &str) -> Option<(u32, u32)> {
    SINCE.iter().find(|(name, _)| *name == key).map(|(_, since)| *since)
}

/// Reads `daemon`.
pub(super) fn read(field: Field<'_>, engine: Engine, out: &mut Diagnostics) -> Daemon {
    let known: Vec<&str> = KEYS.iter().copied().chain(REFUSED.iter().map(|(key, _)| *key)).collect();
    super::keys(field.node, &known, "'daemon'", out);
    for (key, instead) in REFUSED {
        if let Some(found) = Field::of(field.node, key) {
            out.push(found.bad(format!("'{key}' is not planned")).expected(*instead));
        }
    }
    for (key, (major, minor)) in SINCE {
        if let Some(found) = Field::of(field.node, key).filter(|_| !engine.is_at_least(*major, *minor)) {
            let since = if *minor == 0 { major.to_string() } else { format!("{major}.{minor}") };
            out.push(
                found
                    .bad(format!("Engine {engine} has no '{key}'"))
                    .expected(format!("Engine {since} or newer")),
            );
        }
    }
    let mut daemon = Keys { field, out }.daemon();
    if !engine.is_at_least(24, 0) {
        // An older one does not know the key and does not say so: it takes what is in it for keys of its own (20.10.24).
        daemon.default_network_opts.clear();
    }
    daemon
}

/// Reads keys one by one.
struct Keys<'a, 'b> {
    field: Field<'a>,
    out: &'b mut Diagnostics,
}

impl<'a> Keys<'a, '_> {
    fn daemon(&mut self) -> Daemon {
        let defaults = Daemon::default();
        Daemon {
            userland_proxy: self.boolean("userland-proxy", defaults.userland_proxy),
            iptables: self.boolean("iptables", defaults.iptables),
            ip6tables: self.flag("ip6tables"),
            ip_forward: self.boolean("ip-forward", defaults.ip_forward),
            ip_forward_no_drop: self.boolean("ip-forward-no-drop", defaults.ip_forward_no_drop),
            ip_masq: self.boolean("ip-masq", defaults.ip_masq),
            icc: self.boolean("icc", defaults.icc),
            ipv6: self.boolean("ipv6", defaults.ipv6),
            ip: self.parse("ip", "an address"),
            bip: self.parse("bip", "an address with its prefix, as in 10.200.0.1/24"),
            bip6: self.parse("bip6", "an address with its prefix, as in fd00:200::1/64"),
            fixed_cidr: self.parse("fixed-cidr", "a network, as in 10.200.0.128/25"),
            fixed_cidr_v6: self.parse("fixed-cidr-v6", "a network, as in fd00:200::/80"),
            default_gateways: ["default-gateway", "default-gateway-v6"]
                .into_iter()
                .filter_map(|key| self.parse(key, "an address"))
                .collect(),
            default_address_pools: self.pools(),
            mtu: self.parse("mtu", "a number of bytes"),
            default_network_opts: self.network_opts(),
            firewall_backend: self
                .word("firewall-backend", &[("iptables", Backend::Iptables), ("nftables", Backend::Nft)])
                .unwrap_or(defaults.firewall_backend),
            allow_direct_routing: self.boolean("allow-direct-routing", defaults.allow_direct_routing),
            bridge_accept_fwmark: self.fwmark(),
            dns: self.addresses("dns"),
            dns_opts: self.strings("dns-opts"),
            dns_search: self.strings("dns-search"),
            host_gateway_ip: self.parse("host-gateway-ip", "an address"),
            host_gateway_ips: self.addresses("host-gateway-ips"),
            userns_remap: self.strings("userns-remap").pop(),
            default_ipc_mode: self
                .word("default-ipc-mode", &[("private", IpcMode::Private), ("shareable", IpcMode::Shareable)])
                .unwrap_or(defaults.default_ipc_mode),
            default_cgroupns_mode: self
                .word(
                    "default-cgroupns-mode",
                    &[("private", CgroupMode::Private), ("host", CgroupMode::Host)],
                )
                .unwrap_or(defaults.default_cgroupns_mode),
        }
    }

    fn get(&self, key: &'static str) -> Option<Field<'a>> {
        Field::of(self.field.node, key)
    }

    fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.flag(key).unwrap_or(default)
    }

    fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.get(key).and_then(|f| f.boolean(self.out))
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        let field = self.get(key)?;
        let text = field.text(self.out)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.out.push(field.bad(format!("'{key}' is '{text}'")).expected(expected));
        }
        value
    }

    fn strings(&mut self, key: &'static str) -> Vec<String> {
        let found = self.get(key).map(|f| f.string_or_list(self.out)).unwrap_or_default();
        found.into_iter().map(|(text, _)| text.to_owned()).collect()
    }

    fn addresses(&mut self, key: &'static str) -> Vec<IpAddr> {
        let found = self.get(key).map(|f| f.string_or_list(self.out)).unwrap_or_default();
        let mut addresses = Vec::new();
        for (text, at) in found {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => {
                    let wrong = Diagnostic::new(at, format!("'{text}' in '{key}'"));
                    self.out.push(wrong.expected("an address"));
                }
            }
        }
        addresses
    }

    fn word<T: Clone>(&mut self, key: &'static str, known: &[(&str, T)]) -> Option<T> {
        let field = self.get(key)?;
        let text = field.text(self.out)?;
        let value = known.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
        if value.is_none() {
            let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
            self.out.push(field.bad(format!("'{key}' is '{text}'")).expected(words.join(" or ")));
        }
        value
    }

    /// `default-address-pools`: a list of `{ base, size }`.
    fn pools(&mut self) -> Vec<(IpNet, u8)> {
        let Some(field) = self.get("default-address-pools") else { return Vec::new() };
        let entries: Vec<_> = field.entries(self.out).collect();
        entries.into_iter().filter_map(|entry| pool(entry, self.out)).collect()
    }

    /// `default-network-opts`: for each driver its options.
    fn network_opts(&mut self) -> BTreeMap<String, String> {
        let Some(field) = self.get("default-network-opts") else { return BTreeMap::new() };
        super::keys(field.node, &["bridge"], "'default-network-opts'", self.out);
        let options = Field::of(field.node, "bridge").map(|f| f.mapping(self.out)).unwrap_or_default();
        let text = |(key, node): &'a (crate::topology::yaml::Key, crate::topology::yaml::Node)| {
            let value = Field { name: &key.name, node }.text(self.out)?;
            Some((key.name.clone(), value.to_owned()))
        };
        options.iter().filter_map(text).collect()
    }

    fn fwmark(&mut self) -> Option<String> {
        let field = self.get("bridge-accept-fwmark")?;
        let text = field.text(self.out)?;
        let number = |t: &str| match t.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).is_ok(),
            None => t.parse::<u32>().is_ok(),
        };
        let good = text.split('/').count() <= 2 && text.split('/').all(number);
        if !good {
            let wrong = field.bad(format!("'bridge-accept-fwmark' is '{text}'"));
            self.out.push(wrong.expected("MARK or MARK/MASK, as in 0xe/0xf"));
        }
        good.then(|| text.to_owned())
    }
}

fn pool(entry: Field<'_>, out: &mut Diagnostics) -> Option<(IpNet, u8)> {
    let expected =
        "a mapping with base, a network, and size, a prefix length, as in { base: 10.10.0.0/16, size: 24 }";
    if !super::keys(entry.node, &["base", "size"], "an address pool", out) {
        return None;
    }
    let part = |key| Field::of(entry.node, key).and_then(|f| f.node.as_str());
    let base = part("base").and_then(|t| t.parse::<IpNet>().ok());
    let size = part("size").and_then(|t| t.parse::<u8>().ok());
    match (base, size) {
        (Some(base), Some(size)) if (base.prefix_len()..=base.max_prefix_len()).contains(&size) => {
            Some((base, size))
        }
        (Some(_) | None, _) => {
            out.push(entry.bad("an address pool that is none").expected(expected));
            None
        }
    }
}
