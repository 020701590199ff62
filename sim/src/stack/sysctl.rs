//! Settings under /proc/sys that bear on packets, parsed once.

use seatrial_core::addr::{Family, IfName};

use super::limit::Limits;
use super::tcp::{SYN_TRIES, TRIES};
use super::{Stack, neighbour};
use crate::kernel::Kernel;
use crate::netfilter::{MAX_RETRANSMISSIONS, Tuning};

/// Settings of one device, or those of `all` or `default` (Documentation/networking/ip-sysctl.rst).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conf {
    pub(crate) forwarding: bool,
    pub(crate) rp_filter: u8,
    pub(crate) src_valid_mark: bool,
    pub(crate) route_localnet: bool,
    pub(crate) accept_local: bool,
    pub(crate) arp_ignore: u8,
    pub(crate) arp_announce: u8,
    pub(crate) arp_filter: bool,
    pub(crate) proxy_arp: bool,
    pub(crate) disable_ipv6: bool,
    pub(crate) forwarding_v6: bool,
}

/// Settings of a namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) all: Conf,
    pub(crate) default: Conf,
    pub(crate) bridge_calls_iptables: bool,
    pub(crate) bridge_calls_ip6tables: bool,
    pub(crate) echo_ignore_all: bool,
    pub(crate) echo_ignore_broadcasts: bool,
    pub(crate) nonlocal_bind: bool,
    pub(crate) ttl: u8,
    /// The first and the last port of those that a socket gets that asks for none.
    pub(crate) ports: (u16, u16),
    pub(crate) conntrack: Tuning,
    pub(crate) limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            all: Conf::default(),
            default: Conf::default(),
            bridge_calls_iptables: false,
            bridge_calls_ip6tables: false,
            echo_ignore_all: false,
            echo_ignore_broadcasts: true,
            nonlocal_bind: false,
            ttl: 64,
            ports: (32768, 60999),
            conntrack: Tuning::default(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// Takes on what a kernel begins with.
    pub(crate) const fn follow(&mut self, kernel: Kernel) {
        self.conntrack.kernel = kernel;
        self.limits = Limits::of(kernel);
    }
}

/// Settings of IPv4 that do not change where a packet goes here: TCP's and UDP's inner workings, memory, logging,
/// who may open which socket.
const INDIFFERENT: [&str; 11] = [
    "net.core.",
    "net.ipv4.tcp_",
    "net.ipv4.udp_",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.icmp_ignore_bogus_error_responses",
    "net.ipv4.neigh.",
    "net.ipv6.neigh.",
    "net.unix.",
    "net.netfilter.nf_log",
];

/// Settings of a device that do not change where a packet goes here.
const INDIFFERENT_CONF: [&str; 18] = [
    "accept_dad",
    "accept_ra",
    "accept_redirects",
    "accept_source_route",
    "addr_gen_mode",
    "arp_accept",
    "arp_evict_nocarrier",
    "arp_notify",
    "autoconf",
    "dad_transmits",
    "keep_addr_on_down",
    "log_martians",
    "mc_forwarding",
    "promote_secondaries",
    "router_solicitations",
    "secure_redirects",
    "send_redirects",
    "use_tempaddr",
];

impl Stack {
    /// Sets a sysctl.
    ///
    /// # Errors
    /// Why it cannot: an unknown key, a value that is no number, a device that is not there.
    pub(crate) fn set_sysctl(&mut self, key: &str, value: &str) -> Result<(), String> {
        let value = value.trim();
        if !key.starts_with("net.") || INDIFFERENT.iter().any(|known| key.starts_with(known)) {
            return Ok(());
        }
        for (prefix, family) in [("net.ipv4.conf.", Family::V4), ("net.ipv6.conf.", Family::V6)] {
            if let Some(rest) = key.strip_prefix(prefix) {
                let (device, name) = rest.rsplit_once('.').ok_or("it names no setting")?;
                return self.set_conf(family, device, name, value);
            }
        }
        self.set_whole(key, value)
    }

    /// What a setting is; where nothing here can be set, what is taken for granted.
    pub(crate) fn sysctl(&self, key: &str) -> Option<String> {
        for (prefix, family) in [("net.ipv4.conf.", Family::V4), ("net.ipv6.conf.", Family::V6)] {
            if let Some((device, name)) = key.strip_prefix(prefix).and_then(|rest| rest.rsplit_once('.')) {
                return self.conf_of(device)?.get(family, name);
            }
        }
        for prefix in ["net.ipv4.neigh.", "net.ipv6.neigh."] {
            if let Some((device, name)) = key.strip_prefix(prefix).and_then(|rest| rest.rsplit_once('.')) {
                let device: IfName = device.replace('/', ".").parse().ok()?;
                return self.links.get(&device).and(neighbour::setting(name)).map(|n| n.to_string());
            }
        }
        self.whole(key)
    }

    fn conf_of(&self, device: &str) -> Option<&Conf> {
        match device {
            "all" => Some(&self.settings.all),
            "default" => Some(&self.settings.default),
            _ => {
                let device: IfName = device.replace('/', ".").parse().ok()?;
                self.links.get(&device).and_then(|dev| self.inet.get(dev)).map(|inet| &inet.conf)
            }
        }
    }

    fn whole(&self, key: &str) -> Option<String> {
        let settings = &self.settings;
        let number = match key {
            "net.ipv4.ip_forward" => settings.all.forwarding.into(),
            "net.bridge.bridge-nf-call-iptables" => settings.bridge_calls_iptables.into(),
            "net.bridge.bridge-nf-call-ip6tables" => settings.bridge_calls_ip6tables.into(),
            "net.ipv4.icmp_echo_ignore_all" => settings.echo_ignore_all.into(),
            "net.ipv4.icmp_echo_ignore_broadcasts" => settings.echo_ignore_broadcasts.into(),
            "net.ipv4.icmp_ratelimit" => settings.limits.v4_ms.into(),
            "net.ipv4.icmp_ratemask" => settings.limits.v4_types.into(),
            "net.ipv6.icmp.ratelimit" => settings.limits.v6_ms.into(),
            "net.ipv4.ip_nonlocal_bind" => settings.nonlocal_bind.into(),
            "net.ipv4.ip_default_ttl" => settings.ttl.into(),
            "net.ipv4.tcp_syn_retries" => SYN_TRIES.into(),
            "net.ipv4.tcp_retries2" => TRIES.into(),
            "net.netfilter.nf_conntrack_max" => u64::try_from(settings.conntrack.max).ok()?,
            "net.netfilter.nf_conntrack_checksum" => settings.conntrack.checksum.into(),
            "net.netfilter.nf_conntrack_tcp_max_retrans" => MAX_RETRANSMISSIONS.into(),
            "net.ipv4.ip_local_port_range" => {
                return Some(format!("{} {}", settings.ports.0, settings.ports.1));
            }
            _ => {
                let mut timeouts = settings.conntrack.timeouts;
                (*timeouts.named(key.strip_prefix("net.netfilter.nf_conntrack_")?)?).into()
            }
        };
        Some(number.to_string())
    }

    /// Hands conntrack its settings.
    pub(crate) fn tune(&mut self) {
        let tuning = self.settings.conntrack;
        self.netfilter.iter_mut().for_each(|netfilter| netfilter.tune(tuning));
    }

    /// A setting of the whole namespace.
    fn set_whole(&mut self, key: &str, value: &str) -> Result<(), String> {
        let settings = &mut self.settings;
        match key {
            "net.ipv4.ip_forward" => return self.set_conf(Family::V4, "all", "forwarding", value),
            "net.bridge.bridge-nf-call-iptables" => settings.bridge_calls_iptables = flag(value)?,
            "net.bridge.bridge-nf-call-ip6tables" => settings.bridge_calls_ip6tables = flag(value)?,
            "net.bridge.bridge-nf-call-arptables" => _ = flag(value)?,
            "net.ipv4.icmp_echo_ignore_all" => settings.echo_ignore_all = flag(value)?,
            "net.ipv4.icmp_echo_ignore_broadcasts" => settings.echo_ignore_broadcasts = flag(value)?,
            "net.ipv4.icmp_ratelimit" => settings.limits.v4_ms = number(value)?,
            "net.ipv4.icmp_ratemask" => settings.limits.v4_types = number(value)?,
            "net.ipv6.icmp.ratelimit" => settings.limits.v6_ms = number(value)?,
            "net.ipv4.ip_nonlocal_bind" => settings.nonlocal_bind = flag(value)?,
            "net.ipv4.ip_default_ttl" => settings.ttl = number(value)?,
            "net.netfilter.nf_conntrack_max" | "net.nf_conntrack_max" => {
                settings.conntrack.max = number(value)?;
                self.tune();
            }
            "net.netfilter.nf_conntrack_checksum" => {
                settings.conntrack.checksum = flag(value)?;
                self.tune();
            }
            "net.ipv4.ip_local_port_range" => settings.ports = range(value)?,
            _ => {
                let timeout = key.strip_prefix("net.netfilter.nf_conntrack_");
                let timeout = timeout.and_then(|name| settings.conntrack.timeouts.named(name));
                *timeout.ok_or(UNKNOWN)? = number(value)?;
                self.tune();
            }
        }
        Ok(())
    }

    /// A setting of a device, of all, or of those to come. Written to `all`, forwarding and disable_ipv6 reach every
    /// device; of the others `all` is a value of its own, that each device's is combined with.
    fn set_conf(&mut self, family: Family, device: &str, name: &str, value: &str) -> Result<(), String> {
        let spreads = matches!((family, name), (_, "forwarding") | (Family::V6, "disable_ipv6"));
        let Settings { all, default, .. } = &mut self.settings;
        let confs: Vec<&mut Conf> = match device {
            "all" if spreads => {
                [all, default].into_iter().chain(self.inet.values_mut().map(|i| &mut i.conf)).collect()
            }
            "all" => vec![all],
            "default" => vec![default],
            _ => {
                let device: IfName = device.replace('/', ".").parse().map_err(|e| format!("{e}"))?;
                let inet = self.links.get(&device).and_then(|dev| self.inet.get_mut(dev));
                vec![&mut inet.ok_or_else(|| format!("there is no device {device}"))?.conf]
            }
        };
        confs.into_iter().try_for_each(|conf| conf.set(family, name, value))
    }
}

const UNKNOWN: &str = "the simulator does not know what it does";

impl Conf {
    fn set(&mut self, family: Family, name: &str, value: &str) -> Result<(), String> {
        match (family, name) {
            (_, name) if INDIFFERENT_CONF.contains(&name) => {}
            (Family::V4, "forwarding") => self.forwarding = flag(value)?,
            (Family::V4, "rp_filter") => self.rp_filter = number(value)?,
            (Family::V4, "src_valid_mark") => self.src_valid_mark = flag(value)?,
            (Family::V4, "route_localnet") => self.route_localnet = flag(value)?,
            (Family::V4, "accept_local") => self.accept_local = flag(value)?,
            (Family::V4, "arp_ignore") => self.arp_ignore = number(value)?,
            (Family::V4, "arp_announce") => self.arp_announce = number(value)?,
            (Family::V4, "arp_filter") => self.arp_filter = flag(value)?,
            (Family::V4, "proxy_arp") => self.proxy_arp = flag(value)?,
            (Family::V6, "disable_ipv6") => self.disable_ipv6 = flag(value)?,
            (Family::V6, "forwarding") => self.forwarding_v6 = flag(value)?,
            _ => return Err(UNKNOWN.to_owned()),
        }
        Ok(())
    }
}

impl Conf {
    fn get(&self, family: Family, name: &str) -> Option<String> {
        let number = match (family, name) {
            (Family::V4, "forwarding") => self.forwarding.into(),
            (Family::V4, "rp_filter") => self.rp_filter,
            (Family::V4, "src_valid_mark") => self.src_valid_mark.into(),
            (Family::V4, "route_localnet") => self.route_localnet.into(),
            (Family::V4, "accept_local") => self.accept_local.into(),
            (Family::V4, "arp_ignore") => self.arp_ignore,
            (Family::V4, "arp_announce") => self.arp_announce,
            (Family::V4, "arp_filter") => self.arp_filter.into(),
            (Family::V4, "proxy_arp") => self.proxy_arp.into(),
            (Family::V6, "disable_ipv6") => self.disable_ipv6.into(),
            (Family::V6, "forwarding") => self.forwarding_v6.into(),
            _ => return None,
        };
        Some(number.to_string())
    }
}

fn flag(value: &str) -> Result<bool, String> {
    number::<i32>(value).map(|n| n != 0)
}

fn number<N: std::str::FromStr>(value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("'{value}' is not a number it can have"))
}

fn range(value: &str) -> Result<(u16, u16), String> {
    let mut words = value.split_whitespace();
    match (words.next().map(number), words.next().map(number), words.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) if first <= last => Ok((first, last)),
        _ => Err(format!("'{value}' is not a range of ports")),
    }
}
