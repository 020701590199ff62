//! What a service says about names: `extra_hosts`, `dns`, `links`, `external_links`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::yaml::Value;
use crate::topology::{ExtraHost, ExtraHostTarget};

/// `SERVICE[:ALIAS]`, or `CONTAINER[:ALIAS]` of an external one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedLink {
    /// The service or the container.
    pub(super) target: String,
    /// The name it gets.
    pub(super) alias: String,
    /// Where.
    pub(super) at: At,
}

/// `links` or `external_links`.
pub(super) fn links(field: Field<'_>, out: &mut Diagnostics) -> Vec<WantedLink> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for (text, at) in field.strings(out) {
        let (target, alias) = text.split_once(':').unwrap_or((text, text));
        let alias = if alias.is_empty() { target } else { alias };
        if seen.insert((target, alias)) {
            all.push(WantedLink { target: target.to_owned(), alias: alias.to_owned(), at });
        }
    }
    all
}

/// `extra_hosts`: a list of `NAME:ADDRESS` or `NAME=ADDRESS`, or a mapping of a name to one or more addresses.
pub(super) fn extra_hosts(field: Field<'_>, out: &mut Diagnostics) -> Vec<ExtraHost> {
    let mut all = Vec::new();
    match &field.node.value {
        Value::Mapping(entries) => {
            for (key, node) in entries {
                let values = Field { name: &key.name, node }.string_or_list(out);
                all.extend(values.into_iter().filter_map(|(text, at)| extra_host(&key.name, text, at, out)));
            }
        }
        Value::Sequence(_) => {
            for (text, at) in field.strings(out) {
                match text.split_once('=').or_else(|| text.split_once(':')) {
                    Some((name, address)) => all.extend(extra_host(name, address, at, out)),
                    None => out.push(
                        Diagnostic::new(at, format!("bad format for add-host: \"{text}\""))
                            .expected("NAME:ADDRESS or NAME=ADDRESS"),
                    ),
                }
            }
        }
        Value::Scalar(_) => out.push(field.wrong("a list of NAME:ADDRESS, or a mapping")),
    }
    all
}

fn extra_host(name: &str, text: &str, at: At, out: &mut Diagnostics) -> Option<ExtraHost> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let target = match bare {
        "host-gateway" => Some(ExtraHostTarget::HostGateway),
        bare => bare.parse().ok().map(ExtraHostTarget::Address),
    };
    if name.is_empty() || target.is_none() {
        let found = match target {
            None => format!("invalid IP address in add-host: \"{text}\""),
            Some(_) => "an extra host without a name".to_owned(),
        };
        let diagnostic = Diagnostic::new(at, found);
        out.push(diagnostic.expected("NAME:ADDRESS, the address an IP one or host-gateway"));
        return None;
    }
    target.map(|target| ExtraHost { name: name.to_owned(), target, at })
}

/// `dns`.
pub(super) fn dns(field: Field<'_>, out: &mut Diagnostics) -> Vec<IpAddr> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for (text, at) in field.string_or_list(out) {
        match text.parse::<IpAddr>() {
            Ok(address) if !seen.insert(address) => {}
            Ok(address) => all.push(address),
            Err(_) => out.push(
                Diagnostic::new(at, format!("bad nameserver address {text}"))
                    .expected("an IP address without a port"),
            ),
        }
    }
    all
}
