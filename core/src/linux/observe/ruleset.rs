//! The text of `iptables-save`, `ip6tables-save` and `nft list`.
#![expect(clippy::wildcard_enum_match_arm, reason = "netfilter has more families than a plan")]

use netlink_packet_netfilter::NetfilterProtoFamily;

use super::Seen;
use crate::addr::Family;
use crate::plan::{Item, NsName, Object};
use crate::rules::iptables::parse;
use crate::rules::nft::{self, Script};
use crate::rules::{Backend, Ruleset};

/// What the tool says of rules that it does not show: another tool's.
const SILENT: [&str; 2] = ["# Warning: ", "# Table "];

/// Reads what the tool has written of a namespace.
pub(super) fn read(ns: &NsName, family: Family, text: &str, seen: &mut Seen) {
    let silent = text.lines().filter(|line| SILENT.iter().any(|word| line.starts_with(word)));
    for line in silent {
        seen.unknown(ns, format!("rules of IPv{}: {}", family.number(), line.trim_start_matches("# ")));
    }
    match parse(text, family) {
        Ok(rules) if rules.tables.is_empty() => {}
        Ok(rules) => seen.item(ns, Object::Rules(rules.into())),
        Err(error) => seen.unknown(ns, format!("rules of IPv{}: {error}", family.number())),
    }
}

/// Docker's own tables of nftables.
pub(super) fn dockers(tables: &[(NetfilterProtoFamily, String)]) -> Vec<(Family, String)> {
    let own = |(told, name): &(NetfilterProtoFamily, String)| {
        let family = match told {
            NetfilterProtoFamily::IPv4 => Family::V4,
            NetfilterProtoFamily::IPv6 => Family::V6,
            _ => return None,
        };
        name.starts_with("docker-").then(|| (family, name.clone()))
    };
    tables.iter().filter_map(own).collect()
}

/// The tables of nftables that nothing seen so far has: somebody else's, or those of an iptables that is not this
/// machine's. One of a family that no plan has is named.
pub(super) fn unread(
    ns: &NsName,
    tables: &[(NetfilterProtoFamily, String)],
    seen: &mut Seen,
) -> Vec<(&'static str, String)> {
    let mut unread = Vec::new();
    for (told, name) in tables {
        let (family, own) = match told {
            NetfilterProtoFamily::IPv4 => ("ip", Some(Family::V4)),
            NetfilterProtoFamily::IPv6 => ("ip6", Some(Family::V6)),
            NetfilterProtoFamily::Inet => ("inet", None),
            _ => {
                seen.unknown(ns, format!("table {name} of nftables: no plan has one of family {told:?}"));
                continue;
            }
        };
        let has = |item: &Item| match &item.object {
            Object::Rules(rules) => {
                item.ns == *ns && Some(rules.family) == own && rules.table(name).is_some()
            }
            _ => false,
        };
        if !seen.items.iter().any(has) {
            unread.push((family, name.clone()));
        }
    }
    unread
}

/// Reads what `nft list` has written of tables that people wrote.
pub(super) fn read_script(ns: &NsName, text: &str, seen: &mut Seen) {
    if text.is_empty() {
        return;
    }
    match Script::read(text) {
        Ok(script) => seen.item(ns, Object::Script(script.into())),
        Err(error) => seen.unknown(ns, format!("tables of nftables: {error}")),
    }
}

/// Reads what `nft list` has written of tables: one set of rules for each family.
pub(super) fn read_listed(ns: &NsName, listed: &[(Family, String)], seen: &mut Seen) {
    for family in Family::ALL {
        let mut tables = Vec::new();
        for (_, text) in listed.iter().filter(|(of, _)| *of == family) {
            match nft::parse(text, family) {
                Ok(read) => tables.extend(read),
                Err(error) => {
                    let table = text.lines().next().unwrap_or_default().trim_end_matches(" {");
                    seen.unknown(ns, format!("{table} of nftables: {error}"));
                }
            }
        }
        if !tables.is_empty() {
            let rules = Ruleset { family, backend: Backend::Nft, tables };
            seen.item(ns, Object::Rules(rules.into()));
        }
    }
}
