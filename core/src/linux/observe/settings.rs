//! Settings: which are read, and what each is where nobody wrote it.

use crate::addr::IfName;
use crate::linux::sysctl::{BRIDGES, CONF, PING_GROUPS, words};
use crate::plan::{Item, LinkKind, NsName, Object, Plan, Sysctl};

/// Other settings that bear on packets, and what each is from the start. An empty range of groups is one that nobody
/// is in.
const WHOLE: [(&str, &str); 8] = [
    ("net.ipv4.icmp_echo_ignore_all", "0"),
    ("net.ipv4.icmp_echo_ignore_broadcasts", "1"),
    ("net.ipv4.ip_default_ttl", "64"),
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.ip_local_port_range", "32768 60999"),
    ("net.ipv4.ip_nonlocal_bind", "0"),
    ("net.ipv4.ip_unprivileged_port_start", "1024"),
    ("net.ipv4.ping_group_range", "1 0"),
];

/// The keys that are read in a network namespace with these devices beside `lo`.
pub(super) fn keys<'a>(devices: Vec<IfName>, asked: impl Iterator<Item = &'a String>) -> Vec<String> {
    let whole = BRIDGES.into_iter().chain(WHOLE.iter().map(|(key, _)| *key)).map(str::to_owned);
    let names = ["all", "default", "lo"].map(str::to_owned).into_iter();
    let names = names.chain(devices.iter().map(|name| name.as_str().replace('.', "/")));
    let conf = names.flat_map(|device| {
        CONF.iter().map(move |(family, name, _)| format!("net.{family}.conf.{device}.{name}"))
    });
    let mut keys: Vec<String> = whole.chain(conf).collect();
    for key in asked {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

/// A setting of a device: `net.FAMILY.conf.DEVICE.NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conf<'a> {
    family: &'a str,
    /// As the key has it: a dot in its name is a slash.
    pub(super) device: &'a str,
    name: &'a str,
}

impl<'a> Conf<'a> {
    /// What a key names; `ip_forward` is that of all devices by another name.
    pub(super) fn of(key: &'a str) -> Option<Self> {
        if key == "net.ipv4.ip_forward" {
            return Some(Self { family: "ipv4", device: "all", name: "forwarding" });
        }
        let (family, rest) = key.strip_prefix("net.")?.split_once(".conf.")?;
        let (device, name) = rest.rsplit_once('.')?;
        Some(Self { family, device, name })
    }

    /// Whether what is written to `all` reaches every device, and those to come (devinet_sysctl_forward,
    /// addrconf_fixup_forwarding, addrconf_disable_ipv6).
    fn spreads(self) -> bool {
        matches!((self.family, self.name), ("ipv4" | "ipv6", "forwarding") | ("ipv6", "disable_ipv6"))
    }
}

/// What a setting is when all of a plan has been made; none where this is not known of one that nobody wrote.
pub(super) fn value(plan: &Plan, ns: &NsName, key: &str) -> Option<String> {
    let items = plan.items.iter();
    let written = |item: &Item| {
        let Object::Sysctl(sysctl) = &item.object else { return None };
        (item.ns == *ns).then(|| sysctl.clone())
    };
    let Some(conf) = Conf::of(key) else {
        let last = items.filter_map(written).rfind(|sysctl| sysctl.key == key);
        let born = WHOLE.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let born = born.or_else(|| BRIDGES.contains(&key).then_some("0"));
        return last.map(|sysctl| words(&sysctl.value)).or_else(|| born.map(str::to_owned));
    };
    let born_with = CONF.iter().find(|(family, name, _)| (*family, *name) == (conf.family, conf.name));
    let born_with = born_with.map(|(_, _, value)| (*value).to_owned())?;
    let mut state = State { own: born_with.clone(), default: born_with };
    for item in items {
        if let Some(sysctl) = written(item) {
            state.write(conf, &sysctl);
        }
        if born(item, ns).iter().any(|name| name.as_str().replace('.', "/") == conf.device) {
            state.own.clone_from(&state.default);
        }
    }
    Some(state.own)
}

/// As which ids are told that whoever looks has not (`/proc/sys/kernel/overflowgid`).
const NOBODY: u32 = 65534;

/// Whether two values are one: a range that nobody is in is told in more than one way, by who looks at it.
pub(super) fn alike(key: &str, a: &str, b: &str) -> bool {
    let empty = |range: &str| {
        let numbers: Vec<u32> = range.split(' ').filter_map(|n| n.parse().ok()).collect();
        matches!(numbers.as_slice(), [first, last] if first > last || (*first, *last) == (NOBODY, NOBODY))
    };
    a == b || key == PING_GROUPS && empty(a) && empty(b)
}

/// A device's setting, and that of devices to come.
struct State {
    own: String,
    default: String,
}

impl State {
    fn write(&mut self, conf: Conf<'_>, sysctl: &Sysctl) {
        let Some(to) = Conf::of(&sysctl.key).filter(|to| (to.family, to.name) == (conf.family, conf.name))
        else {
            return;
        };
        let spread = to.device == "all" && conf.spreads();
        if to.device == conf.device || spread {
            self.own = words(&sysctl.value);
        }
        if to.device == "default" || spread {
            self.default = words(&sysctl.value);
        }
    }
}

/// The devices that come to be in a namespace with an object.
pub(super) fn born<'a>(item: &'a Item, ns: &NsName) -> Vec<&'a IfName> {
    let Object::Link(link) = &item.object else { return Vec::new() };
    let own = (item.ns == *ns).then_some(&link.name);
    let peer = if let LinkKind::Veth(peer) = &link.kind { Some(peer) } else { None };
    let peer = peer.filter(|peer| peer.ns == *ns).map(|peer| &peer.name);
    own.into_iter().chain(peer).collect()
}
