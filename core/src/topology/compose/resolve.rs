//! Services become containers: whom each means by a name, and what two of them may not both say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::load::Findings;
use super::modes::{Donor, Mode, Sharing};
use super::names::WantedLink;
use super::network::PREDEFINED;
use super::service::Service;
use super::{attach, check, conflict};
use crate::addr::Family;
use crate::diagnostic::{At, Diagnostic};
use crate::topology::{
    Attachment, Container, ContainerRef, DEFAULT_BRIDGE, IpcMode, Link, Network, NetworkMode, NodeName,
    PidMode,
};

/// The most containers of one project.
const MAX_CONTAINERS: u32 = 10_000;

/// The project's containers, in the order of `services`.
pub(super) fn containers(
    services: &[Service],
    networks: &[Network],
    project: &str,
    found: &mut Findings<'_>,
) -> Vec<Container> {
    let total: u32 = services.iter().fold(0, |sum, s| sum.saturating_add(s.replicas));
    if let Some(many) = services.iter().max_by_key(|s| s.replicas)
        && total > MAX_CONTAINERS
    {
        let words = format!("{total} containers");
        let diagnostic = Diagnostic::new(many.at.clone(), words);
        found.out.push(diagnostic.expected(format!("at most {MAX_CONTAINERS} in one project")));
        return Vec::new();
    }
    let project = Names::new(services, networks, project);
    project.check(services, found);
    let mut containers = Vec::new();
    for service in services {
        let service = Resolved::new(service, &project, found);
        containers.extend((1..=service.service.replicas).map(|number| service.container(number, &project)));
    }
    check::twice(containers.iter().map(|c| (&c.node, &c.at)), found.out, |node| {
        (format!("two containers are called '{node}' in probes"), "another name of a service".to_owned())
    });
    static_addresses(services, found);
    containers
}

/// Every name that a service may mean.
struct Names<'a> {
    project: &'a str,
    services: BTreeMap<&'a str, &'a Service>,
    /// Networks by their key.
    networks: BTreeMap<&'a str, &'a Network>,
    /// Containers by Docker's name.
    containers: BTreeMap<String, NodeName>,
    /// The keys of networks that exist once the project is up.
    used: BTreeSet<&'a str>,
}

/// The name in probes of the container `number` of a service.
fn node(service: &Service, number: u32) -> NodeName {
    match service.replicas {
        0 | 1 => NodeName::from(service.name.as_str()),
        _ => NodeName::from(format!("{}.{number}", service.name)),
    }
}

fn container_name(service: &Service, number: u32, project: &str) -> String {
    match &service.container_name {
        Some((name, _)) => name.clone(),
        None => format!("{project}-{}-{number}", service.name),
    }
}

impl<'a> Names<'a> {
    fn new(services: &'a [Service], networks: &'a [Network], project: &'a str) -> Self {
        let all = services.iter().flat_map(|s| (1..=s.replicas).map(move |number| (s, number)));
        let containers = all.map(|(s, number)| (container_name(s, number, project), node(s, number)));
        let joined = services.iter().flat_map(|s| &s.networks).map(|j| j.attachment.network.as_str());
        let external = networks.iter().filter(|n| n.external).map(|n| n.key.as_str());
        Self {
            project,
            services: services.iter().map(|s| (s.name.as_str(), s)).collect(),
            networks: networks.iter().map(|n| (n.key.as_str(), n)).collect(),
            containers: containers.collect(),
            used: joined.chain(external).collect(),
        }
    }

    /// What no two services may both say, and what no service may say.
    fn check(&self, services: &[Service], found: &mut Findings<'_>) {
        let named = services.iter().filter_map(|s| s.container_name.as_ref().map(|(name, at)| (name, at)));
        check::twice(named, found.out, |name| {
            (format!("container name \"{name}\" is already in use"), "another 'container_name'".to_owned())
        });
        for service in services {
            if let Some((name, at)) = &service.container_name
                && service.replicas > 1
            {
                let words = format!("container_name '{name}' for {} containers", service.replicas);
                found.out.push(
                    Diagnostic::new(at.clone(), words)
                        .expected("no 'container_name', or one container: the name must be unique"),
                );
            }
        }
    }

    /// The first container of a service, or the container of a name.
    fn donor(&self, donor: &Donor, what: &str, found: &mut Findings<'_>) -> Option<ContainerRef> {
        let refuse = |words: String| Diagnostic::new(donor.at.clone(), words);
        let node = if donor.is_service {
            // One that is not defined was refused with the needs.
            let service = self.services.get(donor.name.as_str())?;
            if service.replicas == 0 {
                let words =
                    format!("cannot share {what} namespace with service {}: container missing", donor.name);
                found.out.push(refuse(words).expected("a service with a container"));
                return None;
            }
            node(service, 1)
        } else {
            let Some(node) = self.containers.get(&donor.name) else {
                let words = format!("No such container: {}", donor.name);
                found.out.push(refuse(words).expected(self.expected(&donor.name, found)));
                return None;
            };
            node.clone()
        };
        Some(ContainerRef { node, at: donor.at.clone() })
    }

    fn expected(&self, name: &str, found: &Findings<'_>) -> String {
        let near = check::suggest(name, self.containers.keys().map(String::as_str), found.out);
        near.map_or("a container of this project".to_owned(), |near| format!("'{near}'"))
    }

    /// The network that a `network_mode` names: Docker's name of one that is there.
    fn named(&self, name: &str, at: &At, found: &mut Findings<'_>) -> Option<Attachment> {
        let network = self.networks.values().find(|n| n.name == name);
        match network {
            Some(network) if self.used.contains(network.key.as_str()) => {
                Some(Attachment::plain(&network.key, at.clone()))
            }
            Some(network) => {
                let words = format!("network {name} not found: no service joins it, so it is not made");
                let expected = format!("'networks: [{}]' instead of 'network_mode'", network.key);
                found.out.push(Diagnostic::new(at.clone(), words).expected(expected));
                None
            }
            None => {
                let known = PREDEFINED.iter().copied().chain(self.networks.values().map(|n| n.name.as_str()));
                let near = check::suggest(name, known, found.out);
                let expected = near.map_or_else(
                    || "bridge, host, none, service:NAME, container:NAME or a network's name".to_owned(),
                    |near| format!("'{near}'"),
                );
                let words = format!("network {name} not found");
                found.out.push(Diagnostic::new(at.clone(), words).expected(expected));
                None
            }
        }
    }
}

/// A service whose names are resolved.
struct Resolved<'a> {
    service: &'a Service,
    network: NetworkMode,
    ipc: Option<IpcMode>,
    pid: PidMode,
    external_links: Vec<Link>,
}

impl<'a> Resolved<'a> {
    fn new(service: &'a Service, names: &Names<'a>, found: &mut Findings<'_>) -> Self {
        let network = match &service.mode {
            None => {
                let joined = service.networks.iter();
                let joined = joined.filter(|j| joins(service, &j.attachment, names, found));
                NetworkMode::Networks(joined.map(|j| j.attachment.clone()).collect())
            }
            Some(Mode::Bridge(at)) => {
                NetworkMode::DefaultBridge(Box::new(Attachment::plain(DEFAULT_BRIDGE, at.clone())))
            }
            Some(Mode::Host) => NetworkMode::Host,
            Some(Mode::None) => NetworkMode::None,
            Some(Mode::Donor(donor)) => {
                let donor = names.donor(donor, "network", found);
                donor.map_or(NetworkMode::None, NetworkMode::Container)
            }
            Some(Mode::Named(name, at)) => {
                let attachment = names.named(name, at, found);
                attachment.map_or(NetworkMode::None, |a| NetworkMode::Networks(vec![a]))
            }
        };
        conflict::check(service, found);
        let ipc = match &service.ipc {
            None => None,
            Some(Sharing::Alone(mode)) => Some(mode.clone()),
            Some(Sharing::Donor(donor)) => names.donor(donor, "IPC", found).map(IpcMode::Container),
        };
        let pid = match &service.pid {
            None => PidMode::Private,
            Some(Sharing::Alone(())) => PidMode::Host,
            Some(Sharing::Donor(donor)) => {
                names.donor(donor, "PID", found).map_or(PidMode::Private, PidMode::Container)
            }
        };
        let external = |link: &WantedLink, found: &mut Findings<'_>| {
            let donor = Donor { is_service: false, name: link.target.clone(), at: link.at.clone() };
            let target = names.donor(&donor, "network", found)?;
            Some(Link { target, alias: link.alias.clone() })
        };
        let external_links = service.external_links.iter().filter_map(|l| external(l, found)).collect();
        Self { service, network, ipc, pid, external_links }
    }

    /// The container of this number, from 1.
    fn container(&self, number: u32, names: &Names<'_>) -> Container {
        let name = container_name(self.service, number, names.project);
        let mut network = self.network.clone();
        if let (NetworkMode::Networks(joined), None) = (&mut network, &self.service.mode) {
            for attachment in joined {
                // Compose's own aliases come first (observed on 2.40).
                let own = [name.clone(), self.service.name.clone()];
                let said = std::mem::take(&mut attachment.aliases);
                let mut seen = BTreeSet::new();
                let all = own.into_iter().chain(said).filter(|alias| seen.insert(alias.clone()));
                attachment.aliases = all.collect();
            }
        }
        Container {
            node: node(self.service, number),
            name,
            network,
            ipc: self.ipc.clone(),
            pid: self.pid.clone(),
            links: self.links(number, names),
            ..self.service.template.clone()
        }
    }

    /// Compose's links: each container of the service by the alias, and by two names that have the number of the
    /// container that links (observed on 2.40).
    fn links(&self, number: u32, names: &Names<'_>) -> Vec<Link> {
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        for wanted in &self.service.links {
            let Some(service) = names.services.get(wanted.target.as_str()) else { continue };
            let numbered = format!("{}-{number}", service.name);
            let full = format!("{}-{numbered}", names.project);
            for target in 1..=service.replicas {
                let target = ContainerRef { node: node(service, target), at: wanted.at.clone() };
                for alias in [&wanted.alias, &numbered, &full] {
                    if seen.insert((target.node.clone(), alias.clone())) {
                        all.push(Link { target: target.clone(), alias: alias.clone() });
                    }
                }
            }
        }
        all.extend(self.external_links.iter().cloned());
        all
    }
}

/// Whether a service can join the network of an attachment.
fn joins(service: &Service, attachment: &Attachment, names: &Names<'_>, found: &mut Findings<'_>) -> bool {
    let Some(network) = names.networks.get(attachment.network.as_str()) else {
        let words =
            format!("service '{}' refers to undefined network '{}'", service.name, attachment.network);
        let near = check::suggest(&attachment.network, names.networks.keys().copied(), found.out);
        let expected = near.map_or("a key of 'networks'".to_owned(), |near| format!("'{near}'"));
        found.out.push(Diagnostic::new(attachment.at.clone(), words).expected(expected));
        return false;
    };
    if network.external && PREDEFINED.contains(&network.name.as_str()) {
        let words = format!(
            "invalid config for network {}: network-scoped alias is supported only for containers in user defined \
             networks",
            network.name
        );
        let expected = format!("'network_mode: {}' instead of 'networks'", network.name);
        found.out.push(
            Diagnostic::new(attachment.at.clone(), words)
                .expected(expected)
                .related(network.at.clone(), "the network"),
        );
        return false;
    }
    let joined = service.networks.iter().find(|j| j.attachment.network == attachment.network);
    for (address, at) in joined.map(|j: &attach::Joined| j.addresses_at.as_slice()).unwrap_or_default() {
        found.out.extend(outside(*address, at, network));
    }
    true
}

/// A refusal of a static address that no subnet of the network holds.
fn outside(address: IpAddr, at: &At, network: &Network) -> Option<Diagnostic> {
    let (family, enabled) = match Family::of(address) {
        Family::V4 => (Family::V4, network.ipv4),
        Family::V6 => (Family::V6, network.ipv6),
    };
    let subnets = network.pools.iter().filter_map(|p| Some((p.subnet?, &p.at)));
    let subnets: Vec<_> = subnets.filter(|(s, _)| enabled && Family::of_net(*s) == family).collect();
    let refuse = |words: String| {
        let config = format!("invalid config for network {}: {words}", network.name);
        Diagnostic::new(at.clone(), config)
    };
    if subnets.is_empty() {
        let words = "user specified IP address is supported only when connecting to networks with user configured \
                     subnets";
        let expected = match enabled {
            true => format!("'ipam.config' with an IPv{} subnet in the network", family.number()),
            false => format!("'enable_ipv{}: true' and such a subnet in the network", family.number()),
        };
        return Some(refuse(words.to_owned()).expected(expected).related(network.at.clone(), "the network"));
    }
    if subnets.iter().any(|(subnet, _)| subnet.contains(&address)) {
        return None;
    }
    let all: Vec<String> = subnets.iter().map(|(subnet, _)| subnet.to_string()).collect();
    let diagnostic = refuse(format!("no configured subnet or ip-range contain the IP address {address}"));
    let place = subnets.first().map(|(_, at)| At::clone(at)).into_iter();
    Some(place.fold(diagnostic.expected(format!("an address of {}", all.join(" or "))), |d, at| {
        d.related(at, "the subnet")
    }))
}

/// Refuses a static address that two containers of a network have.
fn static_addresses(services: &[Service], found: &mut Findings<'_>) {
    let mut first: BTreeMap<(&str, IpAddr), &At> = BTreeMap::new();
    for (service, joined) in services.iter().flat_map(|s| s.networks.iter().map(move |j| (s, j))) {
        for (address, at) in &joined.addresses_at {
            let refuse = |words: &str| Diagnostic::new(at.clone(), format!("{address}: {words}"));
            if service.replicas > 1 {
                let words = refuse("Address already in use");
                let expected =
                    "one container, or no static address: every container of a service has the same";
                found.out.push(words.expected(expected));
            }
            match first.get(&(joined.attachment.network.as_str(), *address)) {
                Some(before) => {
                    let words = refuse("Address already in use").expected("another address");
                    found.out.push(words.related(At::clone(before), "first"));
                }
                None => _ = first.insert((&joined.attachment.network, *address), at),
            }
        }
    }
}
