//! The text of `iptables-save` and `ip6tables-save`.
#![expect(clippy::wildcard_enum_match_arm, reason = "netfilter has more families than a plan")]

use netlink_packet_netfilter::NetfilterProtoFamily;

use super::Seen;
use crate::addr::Family;
use crate::plan::{NsName, Object};
use crate::rules::iptables::parse;

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
        Ok(rules) => seen.item(ns, Object::Rules(rules)),
        Err(error) => seen.unknown(ns, format!("rules of IPv{}: {error}", family.number())),
    }
}

/// Names the tables of nftables that no text of `iptables-save` had: somebody else's, or those of an iptables that is
/// not this machine's.
pub(super) fn unread(ns: &NsName, tables: &[(NetfilterProtoFamily, String)], seen: &mut Seen) {
    let has = |family: Family, name: &str| {
        seen.items.iter().any(|item| {
            let Object::Rules(rules) = &item.object else { return false };
            item.ns == *ns && rules.family == family && rules.table(name).is_some()
        })
    };
    let mut unread = Vec::new();
    for (family, name) in tables {
        let read = match family {
            NetfilterProtoFamily::IPv4 => has(Family::V4, name),
            NetfilterProtoFamily::IPv6 => has(Family::V6, name),
            _ => false,
        };
        if !read {
            unread.push(format!(
                "table {name} of nftables ({family:?}): only what iptables-save tells is read"
            ));
        }
    }
    unread.into_iter().for_each(|what| seen.unknown(ns, what));
}
