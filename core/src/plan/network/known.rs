//! What an Engine reads past because it came with a later one (20.10.24 and 26.1.5 observed: no error, no effect).

use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::topology::{BridgeOptions, Driver, GatewayMode, Network};

/// The network as an Engine of this version understands it.
///
/// # Errors
/// A value of an option that the Engine knows, and that it does not.
pub(in crate::plan) fn known(spec: &Network, engine: Engine) -> Result<Network, Diagnostic> {
    let mut spec = spec.clone();
    if !engine.is_at_least(28, 0) {
        // `enable_ipv4`, and `interface: false` with it.
        spec.ipv4 = true;
    }
    if let Driver::Bridge(options) = &mut spec.driver {
        read_past(options, engine);
        for mode in [options.gateway_mode_ipv4, options.gateway_mode_ipv6] {
            check_mode(mode, engine).map_err(|found| Diagnostic::new(spec.at.clone(), found))?;
        }
    }
    Ok(spec)
}

fn read_past(options: &mut BridgeOptions, engine: Engine) {
    if !engine.is_at_least(27, 0) {
        options.gateway_mode_ipv4 = GatewayMode::Nat;
        options.gateway_mode_ipv6 = GatewayMode::Nat;
        options.host_ipv6 = None;
    }
    if !engine.is_at_least(28, 2) {
        options.trusted_host_interfaces.clear();
    }
}

/// 27 knows two modes; the others came with 28.0 (libnetwork/drivers/bridge/bridge_linux.go: `newGwMode`).
fn check_mode(mode: GatewayMode, engine: Engine) -> Result<(), String> {
    let name = match mode {
        GatewayMode::Nat | GatewayMode::Routed => return Ok(()),
        GatewayMode::NatUnprotected => "nat-unprotected",
        GatewayMode::Isolated => "isolated",
    };
    if engine.is_at_least(28, 0) { Ok(()) } else { Err(format!("unknown gateway mode {name}")) }
}
