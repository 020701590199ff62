//! `default-network-opts` of `daemon.json`: what a user-defined bridge has where its file says nothing.
//!
//! The Engine fills in what was not written; here a value that was written and is Docker's own default counts as not
//! written too, since the topology does not tell the two apart.

use std::collections::BTreeMap;

use crate::diagnostic::{At, Diagnostic};
use crate::topology::{BridgeOptions, Driver, GatewayMode, Network};

/// The network with the daemon's defaults filled in.
pub(in crate::plan) fn with_defaults(
    spec: &Network,
    defaults: &BTreeMap<String, String>,
) -> Result<Network, Diagnostic> {
    let mut spec = spec.clone();
    if let Driver::Bridge(options) = &mut spec.driver {
        for (key, value) in defaults {
            fill(options, key, value).ok_or_else(|| {
                let found = format!("default-network-opts: '{key}: {value}' is not understood");
                Diagnostic::new(At::nowhere("daemon.json"), found).expected("an option of the bridge driver")
            })?;
        }
    }
    Ok(spec)
}

/// Fills in one option; nothing where it is none, or the value none of its own.
fn fill(options: &mut BridgeOptions, key: &str, value: &str) -> Option<()> {
    match key.strip_prefix("com.docker.network.")? {
        "driver.mtu" => options.mtu = options.mtu.or(Some(value.parse().ok()?)),
        "container_iface_prefix" => {
            options.iface_prefix = options.iface_prefix.take().or_else(|| Some(value.to_owned()));
        }
        "host_ipv4" => options.host_ipv4 = options.host_ipv4.or(Some(value.parse().ok()?)),
        "host_ipv6" => options.host_ipv6 = options.host_ipv6.or(Some(value.parse().ok()?)),
        "bridge.host_binding_ipv4" => {
            options.host_binding = options.host_binding.or(Some(value.parse().ok()?))
        }
        "bridge.enable_icc" => options.icc &= flag(value)?,
        "bridge.enable_ip_masquerade" => options.masquerade &= flag(value)?,
        "bridge.inhibit_ipv4" => options.inhibit_ipv4 |= flag(value)?,
        "bridge.gateway_mode_ipv4" => mode(&mut options.gateway_mode_ipv4, value)?,
        "bridge.gateway_mode_ipv6" => mode(&mut options.gateway_mode_ipv6, value)?,
        "bridge.trusted_host_interfaces" => {
            let names: Result<Vec<_>, _> = value.split(':').map(str::parse).collect();
            let names = names.ok()?;
            if options.trusted_host_interfaces.is_empty() {
                options.trusted_host_interfaces = names;
            }
        }
        _ => return None,
    }
    Some(())
}

fn mode(mode: &mut GatewayMode, value: &str) -> Option<()> {
    let wanted = match value {
        "nat" => GatewayMode::Nat,
        "nat-unprotected" => GatewayMode::NatUnprotected,
        "routed" => GatewayMode::Routed,
        "isolated" => GatewayMode::Isolated,
        _ => return None,
    };
    if *mode == GatewayMode::Nat {
        *mode = wanted;
    }
    Some(())
}

/// As Go's `strconv.ParseBool` reads it.
fn flag(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
