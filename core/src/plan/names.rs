//! Names: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`, and the resolver of user-defined networks.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::container::Ctr;
use super::dockerd::Dockerd;
use super::ids::short;
use super::wire::item;
use super::{File, Item, Object};
use crate::addr::Family;
use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::topology::{Container, DEFAULT_BRIDGE, ExtraHostTarget, NetworkMode, NodeName};

pub(super) mod resolv_conf;
pub(super) mod resolver;

/// What every container's `/etc/hosts` begins with.
const HOSTS_V4: &str = "127.0.0.1\tlocalhost\n";
/// What follows: left out only where IPv6 is off on every device of the container (26.0).
fn hosts_v6(engine: Engine) -> String {
    // Go writes addresses by itself since 28.0; until then the text was this.
    let zero = if engine.is_at_least(28, 0) { "" } else { "0" };
    format!(
        "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::{zero}\tip6-localnet\nff00::{zero}\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
    )
}

impl Dockerd {
    /// The three files that Docker keeps for a container.
    pub(super) fn files(&self, ctr: &Ctr) -> Vec<Item> {
        let files = ctr.files.clone().unwrap_or_else(|| self.shared_files(ctr));
        files.into_iter().map(|file| item(ctr.node().as_str(), Object::File(file))).collect()
    }

    /// A container is about to be removed: those that share its files keep them as they are.
    pub(super) fn freeze_files(&mut self, index: usize) {
        let Some(node) = self.containers.get(index).map(|c| c.node().clone()) else { return };
        let shares = |c: &&Ctr| c.is_running() && *c.node() != node && *self.files_owner(c).node() == node;
        let guests: Vec<NodeName> = self.containers.iter().filter(shares).map(|c| c.node().clone()).collect();
        for guest in guests {
            let files = self.index(&guest).and_then(|i| self.containers.get(i)).map(|c| self.shared_files(c));
            let guest = self.containers.iter_mut().find(|c| *c.node() == guest);
            guest.into_iter().for_each(|g| g.files.clone_from(&files));
        }
    }

    fn shared_files(&self, ctr: &Ctr) -> Vec<File> {
        let owner = self.files_owner(ctr);
        let hosts = match &owner.spec.network {
            NetworkMode::Host => self.host.machine.hosts_file.clone(),
            NetworkMode::DefaultBridge(_)
            | NetworkMode::Networks(_)
            | NetworkMode::None
            | NetworkMode::Container(_) => self.hosts(owner),
        };
        let files = [
            ("/etc/hostname", format!("{}\n", self.hostname(&owner.spec, &owner.id))),
            ("/etc/hosts", hosts),
            ("/etc/resolv.conf", self.resolv_conf(owner).text),
        ];
        files.into_iter().map(|(path, content)| File { path: path.to_owned(), content }).collect()
    }

    /// The container whose files these are: the one whose network it shares.
    fn files_owner<'a>(&'a self, ctr: &'a Ctr) -> &'a Ctr {
        let mut owner = ctr;
        for _ in 0..self.containers.len() {
            let NetworkMode::Container(donor) = &owner.spec.network else { break };
            let Some(next) = self.find(donor) else { break };
            owner = next;
        }
        owner
    }

    /// What `hostname` prints: as written, or that of the host or the container whose network it shares, or the id.
    pub(super) fn hostname(&self, spec: &Container, id: &str) -> String {
        match (&spec.hostname, &spec.network) {
            (Some(hostname), _) => hostname.clone(),
            (None, NetworkMode::Host) => self.host.name.to_string(),
            (None, NetworkMode::Container(donor)) => match self.find(donor) {
                Some(ctr) if ctr.spec.node != spec.node => self.hostname(&ctr.spec, &ctr.id),
                Some(_) | None => short(id),
            },
            (None, NetworkMode::DefaultBridge(_) | NetworkMode::Networks(_) | NetworkMode::None) => short(id),
        }
    }

    /// Loopback, extra hosts, links, then the container's own addresses in the order they were taken.
    fn hosts(&self, ctr: &Ctr) -> String {
        let mut text = HOSTS_V4.to_owned();
        if ctr.wants_ipv6() != Some(false) || !self.host.engine.is_at_least(26, 0) {
            text.push_str(&hosts_v6(self.host.engine));
        }
        let own_names = own_names(ctr);
        let own =
            ctr.endpoints.iter().flat_map(|e| e.addresses.iter().map(|a| (a.addr(), own_names.clone())));
        for (addr, names) in self.extra_hosts(&ctr.spec).into_iter().chain(self.link_lines(ctr)).chain(own) {
            // Writing to a String cannot fail.
            _ = writeln!(text, "{addr}\t{names}");
        }
        text
    }

    fn extra_hosts(&self, spec: &Container) -> Vec<(IpAddr, String)> {
        let lines = spec.extra_hosts.iter().flat_map(|extra| {
            let addresses = match extra.target {
                ExtraHostTarget::Address(address) => vec![address],
                ExtraHostTarget::HostGateway => self.host_gateways(),
            };
            addresses.into_iter().map(|a| (a, extra.name.clone()))
        });
        lines.collect()
    }

    /// A linked container by its alias, its hostname and its name (legacy links of the default bridge).
    fn link_lines(&self, ctr: &Ctr) -> Vec<(IpAddr, String)> {
        let links = ctr.spec.links.iter().enumerate();
        let lines = links.flat_map(|(place, link)| {
            let names = self.find(&link.target).map(|target| {
                let names = format!("{} {}", link.alias, target.hostname());
                if link.alias == target.spec.name { names } else { format!("{names} {}", target.spec.name) }
            });
            let addresses = ctr.linked.get(&place).into_iter().flatten();
            addresses.filter_map(move |a| names.clone().map(|n| (*a, n)))
        });
        lines.collect()
    }

    /// Looks up the containers that one on the default bridge is linked to.
    pub(super) fn link(&self, ctr: &mut Ctr) -> Result<(), Diagnostic> {
        ctr.linked.clear();
        if !ctr.attachments.iter().any(|a| a.network == DEFAULT_BRIDGE) {
            return Ok(());
        }
        for (place, link) in ctr.spec.links.iter().enumerate() {
            let refuse = |found: String| Err(Diagnostic::new(link.target.at.clone(), found));
            let Some(target) = self.find(&link.target) else {
                let name = &link.target.node;
                return refuse(format!("could not get container for {name}: No such container: {name}"));
            };
            if !target.is_running() {
                let (name, own) = (&target.spec.name, &ctr.spec.name);
                let alias = &link.alias;
                return refuse(format!("Cannot link to a non running container: /{name} AS /{own}/{alias}"));
            }
            let Some(endpoint) = target.endpoint(DEFAULT_BRIDGE) else {
                let name = &target.spec.name;
                return refuse(format!(
                    "Cannot link to /{name}, as it does not belong to the default network"
                ));
            };
            ctr.linked.insert(place, endpoint.addresses.iter().map(|a| a.addr()).collect());
        }
        Ok(())
    }

    /// Puts a started container's addresses into the hosts files of those that are linked to it.
    pub(super) fn update_links(&mut self, started: &Ctr) {
        let Some(endpoint) = started.endpoint(DEFAULT_BRIDGE) else { return };
        let addresses: Vec<IpAddr> = endpoint.addresses.iter().map(|a| a.addr()).collect();
        for ctr in self.containers.iter_mut().filter(|c| c.is_running()) {
            for (place, link) in ctr.spec.links.iter().enumerate() {
                if link.target.node == *started.node() && ctr.linked.contains_key(&place) {
                    ctr.linked.insert(place, addresses.clone());
                }
            }
        }
    }

    /// The container's resolver configuration, from the host's file.
    pub(super) fn resolv_conf(&self, ctr: &Ctr) -> resolv_conf::ResolvConf {
        let daemon = &self.host.daemon;
        let overrides = resolv_conf::Overrides {
            nameservers: if ctr.spec.dns.is_empty() { &daemon.dns } else { &ctr.spec.dns },
            search: if ctr.spec.dns_search.is_empty() { &daemon.dns_search } else { &ctr.spec.dns_search },
            options: if ctr.spec.dns_opt.is_empty() { &daemon.dns_opts } else { &ctr.spec.dns_opt },
        };
        let ipv6 = ctr.endpoints.iter().any(|e| e.address(Family::V6).is_some());
        let kind = match &ctr.spec.network {
            NetworkMode::Host => resolv_conf::Use::Host,
            NetworkMode::DefaultBridge(_) | NetworkMode::Networks(_) | NetworkMode::None if ctr.resolver => {
                resolv_conf::Use::Internal { ipv6 }
            }
            NetworkMode::DefaultBridge(_)
            | NetworkMode::Networks(_)
            | NetworkMode::None
            | NetworkMode::Container(_) => resolv_conf::Use::Legacy { ipv6 },
        };
        let text = self.host.engine.resolv_conf_text();
        resolv_conf::resolv_conf(&self.host.machine.resolv_conf, overrides, kind, text)
    }
}

/// `fqdn short`, or the hostname alone.
fn own_names(ctr: &Ctr) -> String {
    let hostname = ctr.hostname();
    let fqdn = match &ctr.spec.domainname {
        Some(domain) => format!("{hostname}.{domain}"),
        None => hostname,
    };
    match fqdn.split_once('.') {
        Some((short, _)) => format!("{fqdn} {short}"),
        None => fqdn,
    }
}
