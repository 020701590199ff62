//! A host on which events happen to its rules.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use seatrial_core::addr::{Family, IfName};
use seatrial_core::engine::Engine;
use seatrial_core::plan::firewall::{
    EndpointRules, FamilyRules, Firewall, LinkRules, NetworkRules, PortRules,
};
use seatrial_core::rules::iptables::{parse, save};
use seatrial_core::rules::{Backend, Ruleset};
use seatrial_core::topology::{Daemon, GatewayMode};

pub(crate) fn engines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/engines")
}

/// Every folder of an engine in which events are written down.
pub(crate) fn scenarios(engine: &str) -> Vec<PathBuf> {
    let folder = engines().join(engine);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut folders: Vec<_> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.join("rules.events").exists()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "{}: no scenario", folder.display());
    folders
}

/// A host on which events happen, one line each.
pub(crate) struct Scene {
    engine: Engine,
    daemon: Daemon,
    before: Vec<Ruleset>,
    firewall: Option<Firewall>,
}

impl Scene {
    pub(crate) fn new(engine: &str) -> Self {
        Self {
            engine: engine.parse().unwrap(),
            daemon: Daemon::default(),
            before: Vec::new(),
            firewall: None,
        }
    }

    pub(crate) fn firewall(&mut self) -> &mut Firewall {
        let Self { engine, daemon, before, firewall } = self;
        firewall.get_or_insert_with(|| Firewall::new(*engine, daemon, before))
    }

    /// One event; see fixtures/engines/README.md.
    pub(crate) fn event(&mut self, folder: &Path, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["daemon", options @ ..] => options.iter().for_each(|o| self.option(o)),
            ["before", file] => self.before.push(read(&folder.join(file))),
            ["forward-drop", family] => self.firewall().set_forward_policy_drop(family_of(family)),
            ["network", bridge, options @ ..] => self.firewall().add_network(&network(bridge, options)),
            ["network-", bridge] => self.firewall().remove_network(&bridge.parse().unwrap()),
            ["endpoint", bridge, addresses @ ..] => {
                self.firewall().add_endpoint(&endpoint(bridge, addresses))
            }
            ["endpoint-", bridge, addresses @ ..] => {
                self.firewall().remove_endpoint(&endpoint(bridge, addresses));
            }
            ["publish", bridge, transport, host, container] => {
                self.firewall().publish(&port(bridge, transport, host, container));
            }
            ["publish-", bridge, transport, host, container] => {
                self.firewall().unpublish(&port(bridge, transport, host, container));
            }
            ["link", bridge, parent, child, ports @ ..] => {
                self.firewall().link(&link(bridge, parent, child, ports));
            }
            ["expect"] => self.expect(folder, ""),
            ["expect", step] => self.expect(folder, &format!(".{step}")),
            _ => panic!("{}: what is '{line}'?", folder.display()),
        }
    }

    fn option(&mut self, option: &str) {
        match option {
            "userland-proxy=false" => self.daemon.userland_proxy = false,
            "firewall-backend=nftables" => self.daemon.firewall_backend = Backend::Nft,
            "allow-direct-routing" => self.daemon.allow_direct_routing = true,
            "ip6tables=false" => self.daemon.ip6tables = Some(false),
            _ => match option.split_once('=') {
                Some(("bridge-accept-fwmark", mark)) => {
                    self.daemon.bridge_accept_fwmark = Some(mark.to_owned());
                }
                _ => panic!("no daemon option '{option}'"),
            },
        }
    }

    fn expect(&mut self, folder: &Path, step: &str) {
        let rulesets = self.firewall().rulesets();
        for (family, tool) in [(Family::V4, "iptables"), (Family::V6, "ip6tables")] {
            let file = folder.join(format!("{tool}-save{step}.txt"));
            let captured = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let ours = rulesets.iter().find(|r| r.family == family).map(save).unwrap_or_default();
            assert_eq!(ours, captured, "{} is not what the engine wrote", file.display());
        }
    }
}

pub(crate) fn read(file: &Path) -> Ruleset {
    let family = if file.to_string_lossy().contains("ip6tables") { Family::V6 } else { Family::V4 };
    parse(&fs::read_to_string(file).unwrap(), family).unwrap()
}

pub(crate) fn family_of(text: &str) -> Family {
    match text {
        "v4" => Family::V4,
        "v6" => Family::V6,
        _ => panic!("no family '{text}'"),
    }
}

pub(crate) fn network(bridge: &str, options: &[&str]) -> NetworkRules {
    let mut network = NetworkRules {
        bridge: bridge.parse().unwrap(),
        v4: None,
        v6: None,
        masquerade: true,
        icc: true,
        internal: false,
        trusted: Vec::new(),
    };
    for option in options {
        match option.split_once('=') {
            None if *option == "internal" => network.internal = true,
            None => {
                let subnet = option.parse().unwrap();
                let rules = FamilyRules { subnet, mode: GatewayMode::Nat, snat: None };
                match Family::of_net(subnet) {
                    Family::V4 => network.v4 = Some(rules),
                    Family::V6 => network.v6 = Some(rules),
                }
            }
            Some(("icc", "false")) => network.icc = false,
            Some(("masquerade", "false")) => network.masquerade = false,
            Some(("trusted", names)) => {
                network.trusted = names.split(':').map(|n| n.parse::<IfName>().unwrap()).collect();
            }
            Some(("snat", address)) => {
                let address: IpAddr = address.parse().unwrap();
                part(&mut network, Family::of(address)).snat = Some(address);
            }
            Some((family, mode)) => part(&mut network, family_of(family)).mode = gateway_mode(mode),
        }
    }
    network
}

pub(crate) fn part(network: &mut NetworkRules, family: Family) -> &mut FamilyRules {
    match family {
        Family::V4 => network.v4.as_mut().unwrap(),
        Family::V6 => network.v6.as_mut().unwrap(),
    }
}

pub(crate) fn gateway_mode(text: &str) -> GatewayMode {
    match text {
        "nat-unprotected" => GatewayMode::NatUnprotected,
        "routed" => GatewayMode::Routed,
        "isolated" => GatewayMode::Isolated,
        _ => panic!("no gateway mode '{text}'"),
    }
}

pub(crate) fn endpoint(bridge: &str, addresses: &[&str]) -> EndpointRules {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    EndpointRules { bridge: bridge.parse().unwrap(), addresses }
}

pub(crate) fn port(bridge: &str, transport: &str, host: &str, container: &str) -> PortRules {
    PortRules {
        bridge: bridge.parse().unwrap(),
        transport: transport.parse().unwrap(),
        host: host.parse().unwrap(),
        container: container.parse().unwrap(),
    }
}

pub(crate) fn link(bridge: &str, parent: &str, child: &str, ports: &[&str]) -> LinkRules {
    let port = |text: &&str| {
        let (port, transport) = text.split_once('/').unwrap();
        (transport.parse().unwrap(), port.parse().unwrap())
    };
    LinkRules {
        bridge: bridge.parse().unwrap(),
        parent: parent.parse().unwrap(),
        child: child.parse().unwrap(),
        ports: ports.iter().map(port).collect(),
    }
}
