//! Commands of iproute2, sysctl, iptables and nft.

use std::fmt::Write as _;

use super::{exec, ip, kept, netns, shell};
use crate::addr::{Family, IpNet};
use crate::plan::{Address, BridgePort, Link, LinkKind, Neighbour, NsName, PolicyRule, Route, Sysctl};
use crate::rules::iptables::save;
use crate::rules::{Backend, Ruleset, Table, nft};
use crate::topology::{IpvlanFlag, IpvlanMode, MacvlanMode};

/// Words of a command, each part only where there is something to say.
struct Words(String);

impl Words {
    fn some(mut self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(self.0, " {name} {value}");
        }
        self
    }

    fn then(mut self, text: &str) -> Self {
        self.0.push_str(text);
        self
    }
}

/// `ip link add`; a peer's bridge takes a second command, for the kernel does not set it at birth.
pub(super) fn link(ns: &NsName, link: &Link) -> String {
    let parent = match &link.kind {
        LinkKind::Macvlan { parent, .. } | LinkKind::Ipvlan { parent, .. } => {
            Some((&parent.ns, &parent.name))
        }
        LinkKind::Vlan { parent, .. } => Some((ns, parent)),
        LinkKind::Bridge | LinkKind::Veth(_) | LinkKind::Dummy => None,
    };
    // A device is born in the namespace of its parent's name, and moves.
    let (born, moves) = match parent {
        Some((born, _)) if born != ns => (born, Some(netns(ns))),
        Some(_) | None => (ns, None),
    };
    let words = Words(format!("{} link add", ip(born)))
        .some("link", parent.map(|(_, name)| name))
        .some("name", Some(&link.name))
        .some("netns", moves)
        .some("address", link.mac)
        .some("mtu", link.mtu)
        .some("master", link.master.as_ref());
    match &link.kind {
        LinkKind::Bridge => words.then(" type bridge").0,
        LinkKind::Veth(peer) => {
            let words = words
                .then(" type veth peer")
                .some("name", Some(&peer.name))
                .some("netns", Some(netns(&peer.ns)))
                .some("address", peer.mac)
                .some("mtu", peer.mtu);
            let master = peer.master.as_ref();
            let master = master.map(|m| format!("{} link set dev {} master {m}", ip(&peer.ns), peer.name));
            words.some("&&", master).0
        }
        LinkKind::Macvlan { mode, .. } => words.then(" type macvlan").some("mode", Some(macvlan(*mode))).0,
        LinkKind::Ipvlan { mode, flag, .. } => {
            words.then(" type ipvlan").some("mode", Some(ipvlan(*mode))).then(" ").then(ipvlan_flag(*flag)).0
        }
        LinkKind::Vlan { id, .. } => words.then(" type vlan").some("id", Some(id)).0,
        LinkKind::Dummy => words.then(" type dummy").0,
    }
}

const fn macvlan(mode: MacvlanMode) -> &'static str {
    match mode {
        MacvlanMode::Bridge => "bridge",
        MacvlanMode::Private => "private",
        MacvlanMode::Vepa => "vepa",
        MacvlanMode::Passthru => "passthru",
    }
}

const fn ipvlan(mode: IpvlanMode) -> &'static str {
    match mode {
        IpvlanMode::L2 => "l2",
        IpvlanMode::L3 => "l3",
        IpvlanMode::L3s => "l3s",
    }
}

const fn ipvlan_flag(flag: IpvlanFlag) -> &'static str {
    match flag {
        IpvlanFlag::Bridge => "bridge",
        IpvlanFlag::Private => "private",
        IpvlanFlag::Vepa => "vepa",
    }
}

pub(super) fn bridge_port(ns: &NsName, port: &BridgePort) -> String {
    let switch = |on| if on { "on" } else { "off" };
    format!(
        "bridge -n {} link set dev {} hairpin {} isolated {}",
        netns(ns),
        port.link,
        switch(port.hairpin),
        switch(port.isolated)
    )
}

pub(super) fn address(ns: &NsName, verb: &str, address: &Address) -> String {
    let nodad = if address.nodad && verb == "add" { " nodad" } else { "" };
    format!("{} addr {verb} {} dev {}{nodad}", ip(ns), address.net, address.link)
}

/// `default` is of IPv4 unless `-6` says otherwise.
fn ip_of(ns: &NsName, family: Family) -> String {
    match family {
        Family::V4 => ip(ns),
        Family::V6 => format!("ip -6 -n {}", netns(ns)),
    }
}

pub(super) fn route(ns: &NsName, verb: &str, route: &Route) -> String {
    let to = if route.to.prefix_len() == 0 { "default".to_owned() } else { route.to.to_string() };
    Words(format!("{} route {verb} {to}", ip_of(ns, Family::of_net(route.to))))
        .some("via", route.via)
        .some("dev", route.dev.as_ref())
        .some("table", route.table)
        .some("metric", route.metric)
        .some("src", route.source)
        .0
}

pub(super) fn policy_rule(ns: &NsName, verb: &str, rule: &PolicyRule) -> String {
    let nets = [rule.from, rule.to];
    let v6 = nets.iter().flatten().any(|net| Family::of_net(*net) == Family::V6);
    let family = if v6 { Family::V6 } else { Family::V4 };
    Words(format!("{} rule {verb} priority {}", ip_of(ns, family), rule.priority))
        .some("from", Some(rule.from.map_or("all".to_owned(), |net: IpNet| net.to_string())))
        .some("to", rule.to)
        .some("iif", rule.iif.as_ref())
        .some("fwmark", rule.fwmark.map(|(value, mask)| format!("{value:#x}/{mask:#x}")))
        .some("lookup", Some(rule.table))
        .0
}

pub(super) fn neighbour(ns: &NsName, verb: &str, neighbour: &Neighbour) -> String {
    let Neighbour { link, address, mac } = neighbour;
    match verb {
        "add" => format!("{} neigh add {address} lladdr {mac} dev {link} nud permanent", ip(ns)),
        _ => format!("{} neigh {verb} {address} dev {link}", ip(ns)),
    }
}

/// A setting of the network, of the host's name, or of IPC: each belongs to a namespace of another kind.
pub(super) fn sysctl(ns: &NsName, sysctl: &Sysctl) -> String {
    let setting = shell::quote(&format!("{}={}", sysctl.key, sysctl.value));
    let enter = match sysctl.key.as_str() {
        key if key.starts_with("net.") => exec(ns),
        "kernel.hostname" | "kernel.domainname" => format!("nsenter --uts={}", kept(ns, "uts")),
        _ => format!("nsenter --ipc={}", kept(ns, "ipc")),
    };
    format!("{enter} sysctl -qw {setting}")
}

/// The tool that writes a family's rules at once.
fn restore(ruleset: &Ruleset) -> &'static str {
    match ruleset.family {
        Family::V4 => "iptables-restore",
        Family::V6 => "ip6tables-restore",
    }
}

pub(super) fn rules(ns: &NsName, ruleset: &Ruleset) -> String {
    match ruleset.backend {
        Backend::Iptables => shell::feed(&format!("{} {}", exec(ns), restore(ruleset)), &save(ruleset)),
        Backend::Nft => match nft::script(ruleset) {
            Ok(script) => shell::feed(&format!("{} nft -f -", exec(ns)), &(nft::room(ruleset) + &script)),
            Err(unwritable) => format!("# {ns}: {unwritable}"),
        },
    }
}

/// What nft is given as it is.
pub(super) fn script(ns: &NsName, text: &str) -> String {
    shell::feed(&format!("{} nft -f -", exec(ns)), text)
}

/// Takes the tables away, or all that is in them where they are iptables' own.
pub(super) fn no_rules(ns: &NsName, ruleset: &Ruleset) -> String {
    let empty = |table: &Table| Table { name: table.name.clone(), maps: Vec::new(), chains: Vec::new() };
    match ruleset.backend {
        Backend::Iptables => {
            rules(ns, &Ruleset { tables: ruleset.tables.iter().map(empty).collect(), ..*ruleset })
        }
        Backend::Nft => shell::feed(&format!("{} nft -f -", exec(ns)), &nft::room(ruleset)),
    }
}
