//! What the packet filter is told as networks, endpoints and ports come and go.

use std::net::IpAddr;

use super::container::{Ctr, Endpoint};
use super::dockerd::Dockerd;
use super::firewall::{EndpointRules, FamilyRules, Firewall, LinkRules, MIRROR, NetworkRules, PortRules};
use super::network::Net;
use super::publish::Binding;
use crate::addr::{Family, IpNet, Transport};
use crate::diagnostic::{At, Diagnostic};
use crate::engine::ForwardDrop;
use crate::rules::Backend;
use crate::topology::{Container, DEFAULT_BRIDGE, Driver, Host};

/// The rules of a host whose daemon has just started.
pub(super) fn start(host: &Host) -> Firewall {
    let mut firewall = Firewall::new(host.engine, &host.daemon, &host.machine.firewall);
    if is_mirrored(host) {
        firewall = firewall.mirrored();
    }
    if turns_forwarding_on(host, Family::V4) && !keeps_policy(host) {
        firewall.set_forward_policy_drop(Family::V4);
    }
    firewall
}

/// An Engine that has no such key does not start (daemon/config: `findConfigurationConflicts`).
pub(super) fn check_backend(host: &Host) -> Result<(), Diagnostic> {
    let has = match host.daemon.firewall_backend {
        Backend::Iptables => true,
        Backend::Nft => host.engine.has_nftables(),
    };
    let found = "the following directives don't match any configuration option: firewall-backend";
    let refused = |found: &str, expected: &str| {
        Err(Diagnostic::new(At::nowhere("daemon.json"), found).expected(expected))
    };
    if !has {
        return refused(found, "Engine 29 or newer");
    }
    if is_mirrored(host) && host.daemon.firewall_backend == Backend::Nft {
        let found = "what nftables gets for WSL2's mirrored network (the interface loopback0) is not planned";
        return refused(found, "firewall-backend: iptables");
    }
    Ok(())
}

/// Whether the host is a guest of WSL2 whose network mirrors that of Windows, and the Engine minds: it knows by the device
/// and by `/usr/bin/wslinfo` (moby#48514).
fn is_mirrored(host: &Host) -> bool {
    let has = host.machine.interfaces.keys().any(|device| device.as_str() == MIRROR);
    has && host.engine.is_at_least(27, 3)
}

/// Whether a family was forwarded before Docker came.
pub(super) fn forwarded_before(host: &Host, family: Family) -> bool {
    let (key, boot) = match family {
        Family::V4 => ("net.ipv4.ip_forward", host.machine.boot_ip_forward),
        Family::V6 => ("net.ipv6.conf.all.forwarding", false),
    };
    host.machine.sysctls.get(key).map_or(boot, |value| value.trim() != "0")
}

/// Whether Docker turns forwarding on by itself, and so lets nothing through that no rule accepts. With nft's rules it
/// never does.
pub(super) fn turns_forwarding_on(host: &Host, family: Family) -> bool {
    let may = host.daemon.ip_forward && host.daemon.firewall_backend == Backend::Iptables;
    may && !forwarded_before(host, family)
}

/// Whether FORWARD's policy is left alone: by `ip-forward-no-drop`, which an older Engine does not have.
fn keeps_policy(host: &Host) -> bool {
    host.daemon.ip_forward_no_drop && host.engine.is_at_least(28, 0)
}

/// Forwarding that is off where Docker wants it on and leaves that to whoever keeps the host: with nft's rules
/// (`checkIPv4Forwarding`, `checkIPv6Forwarding`, 29).
pub(super) fn lacks_forwarding(host: &Host, family: Family) -> Option<&'static str> {
    let wants = host.daemon.ip_forward && host.daemon.firewall_backend == Backend::Nft;
    let default_off = || {
        let default = host.machine.sysctls.get("net.ipv6.conf.default.forwarding");
        family == Family::V6 && default.is_some_and(|value| value.trim() == "0")
    };
    let said = match family {
        Family::V4 => {
            "IPv4 forwarding is disabled: check your host's firewalling and set sysctl net.ipv4.ip_forward=1, or \
             disable this check using daemon option --ip-forward=false"
        }
        Family::V6 => {
            "IPv6 global forwarding is disabled: check your host's firewalling and set sysctls \
             net.ipv6.conf.all.forwarding=1 and net.ipv6.conf.default.forwarding=1, or disable this check using \
             daemon option --ip-forward=false"
        }
    };
    (wants && (!forwarded_before(host, family) || default_off())).then_some(said)
}

impl Dockerd {
    /// A network was made; the first with IPv6 turns its forwarding on.
    pub(super) fn filter_network(&mut self, net: &Net) {
        let Driver::Bridge(options) = &net.spec.driver else { return };
        let snat = |family| match family {
            Family::V4 => options.host_ipv4,
            Family::V6 => options.host_ipv6,
        };
        let part = |family| {
            let subnet = net.subnet(family)?.pool.subnet;
            Some(FamilyRules { subnet, mode: net.gateway_mode(family), snat: snat(family) })
        };
        let rules = NetworkRules {
            bridge: net.device.clone(),
            v4: part(Family::V4),
            v6: part(Family::V6),
            masquerade: options.masquerade,
            icc: options.icc,
            internal: net.spec.internal,
            trusted: options.trusted_host_interfaces.clone(),
        };
        let drops = turns_forwarding_on(&self.host, Family::V6) && !keeps_policy(&self.host);
        match self.host.engine.profile.forward_drop() {
            ForwardDrop::Turned if rules.v6.is_some() && drops => {
                self.firewall.set_forward_policy_drop(Family::V6);
            }
            ForwardDrop::Turned | ForwardDrop::Ipv6Always => {}
        }
        self.firewall.add_network(&rules);
    }

    /// An endpoint comes, with the legacy links of its container, or goes.
    pub(super) fn filter_endpoint(&mut self, ctr: &Ctr, endpoint: &Endpoint, comes: bool) {
        let Some(net) = self.networks.get(&endpoint.attachment.network) else { return };
        if !matches!(net.spec.driver, Driver::Bridge(_)) {
            return;
        }
        let addresses = endpoint.addresses.iter().map(IpNet::addr).collect();
        let rules = EndpointRules { bridge: net.device.clone(), addresses };
        let links = if net.is_default() { self.links(ctr, endpoint, net) } else { Vec::new() };
        if comes {
            self.firewall.add_endpoint(&rules);
            links.iter().for_each(|l| self.firewall.link(l));
        } else {
            links.iter().for_each(|l| self.firewall.unlink(l));
            self.firewall.remove_endpoint(&rules);
        }
    }

    /// The links to a container from those that run, and from it to those.
    fn links(&self, ctr: &Ctr, endpoint: &Endpoint, net: &Net) -> Vec<LinkRules> {
        let running = || self.containers.iter().filter(|c| c.is_running() && c.node() != ctr.node());
        let v4 = |c: &Ctr| c.endpoint(DEFAULT_BRIDGE).and_then(|e| e.address(Family::V4));
        let linked = |from: &Container, to: &Ctr| from.links.iter().any(|l| l.target.node == *to.node());
        let Some(own) = endpoint.address(Family::V4) else { return Vec::new() };
        let rules = |parent: IpAddr, child: IpAddr, to: &Container| LinkRules {
            bridge: net.device.clone(),
            parent,
            child,
            ports: exposed(to),
        };
        let parents = running().filter(|p| linked(&p.spec, ctr));
        let children = running().filter(|c| linked(&ctr.spec, c));
        let to_own = parents.filter_map(|p| Some(rules(v4(p)?, own, &ctr.spec)));
        to_own.chain(children.filter_map(|c| Some(rules(own, v4(c)?, &c.spec)))).collect()
    }
}

/// Ports are published by way of a network.
pub(super) fn publish(firewall: &mut Firewall, net: &Net, bindings: &[Binding]) {
    port_rules(net, bindings).for_each(|rules| firewall.publish(&rules));
}

/// Ports are no longer published.
pub(super) fn unpublish(firewall: &mut Firewall, net: &Net, bindings: &[Binding]) {
    port_rules(net, bindings).for_each(|rules| firewall.unpublish(&rules));
}

fn port_rules<'a>(net: &'a Net, bindings: &'a [Binding]) -> impl Iterator<Item = PortRules> + 'a {
    bindings.iter().map(|b| PortRules {
        bridge: net.device.clone(),
        transport: b.transport,
        host: b.host,
        container: b.container,
    })
}

/// What a container exposes, by `expose` and by `ports`; the Engine lists them in the random order of a Go map.
fn exposed(spec: &Container) -> Vec<(Transport, u16)> {
    let exposed = spec.expose.iter().flat_map(|(t, range)| range.ports().map(|p| (*t, p)));
    let published = spec.ports.iter().flat_map(|p| p.container_ports.ports().map(|port| (p.transport, port)));
    let mut ports = Vec::new();
    for port in exposed.chain(published) {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}
