//! What Docker refuses before a container starts (28.5.2 observed; daemon/container.go, runconfig, runc).

use super::{Ctr, Endpoint, State};
use crate::addr::{Family, IfName};
use crate::diagnostic::Diagnostic;
use crate::plan::dockerd::Dockerd;
use crate::plan::network::Net;
use crate::plan::sandbox::is_unicast;
use crate::plan::wire::{machine_mac, sysctl_device_of};
use crate::probe::NsKind;
use crate::topology::{
    Attachment, Container, ContainerRef, Driver, IpcMode, MacvlanMode, NetworkMode, PidMode,
};

/// What runc says when a container's process cannot be made.
pub(super) const RUNC: &str = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                    runc create failed: ";

impl Dockerd {
    /// Checks a container by itself: options that exclude each other.
    pub(in crate::plan) fn check_options(&self, spec: &Container) -> Result<(), Diagnostic> {
        let refuse = |found: &str| Err(Diagnostic::new(spec.at.clone(), found.to_owned()));
        if let Some(found) = conflict(spec) {
            return refuse(&format!("conflicting options: {found}"));
        }
        self.check_known(spec)?;
        match self.conflict_when_remapped(spec) {
            Some(found) => refuse(found),
            None => Ok(()),
        }
    }

    /// Checks that the Engine's API has what is asked for; where it has not, Compose refuses in its stead (2.40.3
    /// observed with 20.10.24 and 26.1.5).
    fn check_known(&self, spec: &Container) -> Result<(), Diagnostic> {
        let engine = self.host.engine;
        let attachments: &[Attachment] = match &spec.network {
            NetworkMode::DefaultBridge(attachment) => std::slice::from_ref(&**attachment),
            NetworkMode::Networks(attachments) => attachments,
            NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => &[],
        };
        for attachment in attachments {
            let refuse = |found: String| Err(Diagnostic::new(attachment.at.clone(), found));
            if attachment.interface_name.is_some() && !engine.is_at_least(28, 1) {
                return refuse("interface_name requires Docker Engine v28.1 or later".to_owned());
            }
            if attachment.mac_address.is_some() && !engine.is_at_least(25, 0) {
                // 1.44 came with 25.0.
                let api = match engine.version.major {
                    ..=22 => 41,
                    23 => 42,
                    24.. => 43,
                };
                return refuse(format!(
                    "\"specify mac-address per network\" requires API version 1.44, but the Docker daemon API version is \
                     1.{api}"
                ));
            }
        }
        Ok(())
    }

    /// Checks whom a container shares a namespace with. Nothing is said of one that was refused itself.
    pub(in crate::plan) fn check_donors(&self, ctr: &Ctr) -> Result<(), Diagnostic> {
        let spec = &ctr.spec;
        self.check_same_donors(ctr)?;
        if let NetworkMode::Container(donor) = &spec.network {
            let name = self.find(donor).map_or("", |c| c.spec.name.as_str());
            if donor.node == spec.node {
                return Err(at(donor, "cannot join own network namespace".to_owned()));
            }
            let stopped = |state: &str| {
                format!(
                    "cannot join network namespace of a non running container: container {name} is {state}"
                )
            };
            self.check_donor(donor, "joining network namespace of container: ", |ctr| match ctr.state {
                State::Running | State::Refused => None,
                State::Created => Some(stopped("created")),
                State::Exited => Some(stopped("exited")),
            })?;
        }
        let stopped = |ctr: &Ctr| (!ctr.is_running()).then(|| format!("container {} is not running", ctr.id));
        if let Some(IpcMode::Container(donor)) = &spec.ipc {
            let default = &self.host.daemon.default_ipc_mode;
            self.check_donor(donor, "", |ctr| {
                let shareable = match ctr.spec.ipc.as_ref().unwrap_or(default) {
                    IpcMode::None | IpcMode::Private => false,
                    // Whose it is does not matter: what was joined can be joined.
                    IpcMode::Shareable | IpcMode::Host | IpcMode::Container(_) => true,
                };
                let private = || {
                    format!(
                        "container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                        ctr.id
                    )
                };
                let why = stopped(ctr).or_else(|| (!shareable).then(private));
                why.map(|why| format!("failed to join IPC namespace: {why}"))
            })?;
        }
        if let PidMode::Container(donor) = &spec.pid {
            self.check_donor(donor, "", |ctr| {
                stopped(ctr).map(|why| format!("failed to join PID namespace: {why}"))
            })?;
        }
        self.check_sysctls(spec)?;
        self.check_remapped(spec)
    }

    /// A container joins others by id: one that was made anew is not the one that is meant.
    fn check_same_donors(&self, ctr: &Ctr) -> Result<(), Diagnostic> {
        let gone = Ctr::joins(&ctr.spec).into_iter().find_map(|donor| {
            let now = self.find(donor)?;
            let then = ctr.donors.get(&donor.node).copied().unwrap_or_default();
            (now.replaced != then).then(|| (donor, Ctr::new(&now.spec, &self.host.name, then).id))
        });
        let Some((donor, id)) = gone else { return Ok(()) };
        Err(at(donor, format!("No such container: {id}")).expected("a container made after the one it joins"))
    }

    fn check_donor(
        &self,
        donor: &ContainerRef,
        prefix: &str,
        wrong: impl Fn(&Ctr) -> Option<String>,
    ) -> Result<(), Diagnostic> {
        let Some(ctr) = self.find(donor) else {
            return Err(at(donor, format!("{prefix}No such container: {}", donor.node)));
        };
        match wrong(ctr) {
            Some(found) => {
                Err(at(donor, found).related(ctr.spec.at.clone(), format!("{} is here", ctr.spec.name)))
            }
            None => Ok(()),
        }
    }

    /// Whether a container's donors were refused: then so is it, without a word of its own.
    pub(in crate::plan) fn follows_refused(&self, spec: &Container) -> bool {
        Ctr::joins(spec).into_iter().filter_map(|d| self.find(d)).any(|c| c.state == State::Refused)
    }

    /// Settings must belong to a namespace that is the container's own.
    fn check_sysctls(&self, spec: &Container) -> Result<(), Diagnostic> {
        let refuse = |found: String| Err(Diagnostic::new(spec.at.clone(), format!("{RUNC}{found}")));
        let on_host = self.owner(NsKind::Network, spec) == self.host.name;
        for key in spec.sysctls.keys().filter(|key| *key != "kernel.domainname") {
            let ipc = key.starts_with("fs.mqueue.")
                || ["kernel.msg", "kernel.sem", "kernel.shm"].iter().any(|p| key.starts_with(p));
            if key.starts_with("net.") && on_host {
                return refuse(format!("sysctl \"{key}\" not allowed in host network namespace"));
            }
            // Of one that a container is joined to that has the host's, nothing is said.
            if ipc && spec.ipc == Some(IpcMode::Host) {
                return refuse(format!("sysctl \"{key}\" is not allowed in the hosts ipc namespace"));
            }
            if sysctl_device_of(key).is_some() {
                let found = format!(
                    "interface specific sysctl setting {key:?} must be supplied using driver option \
                     'com.docker.network.endpoint.sysctls'"
                );
                return Err(Diagnostic::new(spec.at.clone(), found));
            }
            if !key.starts_with("net.") && !ipc {
                return refuse(format!("sysctl \"{key}\" is not in a separate kernel namespace"));
            }
            if let Some(why) = is_no_setting(key) {
                return refuse(format!(
                    "unable to start container process: error during container init: open sysctl {key} file: {why}"
                ));
            }
        }
        if spec.uts_host && self.domainname(spec).is_some() {
            return refuse("sysctl \"kernel.domainname\" is not in a separate kernel namespace".to_owned());
        }
        Ok(())
    }

    /// Checks one attachment against its network.
    pub(in crate::plan) fn check_join(
        &self,
        ctr: &Ctr,
        attachment: &Attachment,
        net: &Net,
    ) -> Result<(), Diagnostic> {
        let refuse = |found: String| Err(Diagnostic::new(attachment.at.clone(), found));
        for (family, wanted) in [(Family::V4, attachment.ipv4_address), (Family::V6, attachment.ipv6_address)]
        {
            let Some(wanted) = wanted else { continue };
            let config = format!("invalid config for network {}: invalid endpoint settings: ", net.spec.name);
            if !net.has_configured_subnet(family) {
                return refuse(format!(
                    "{config}user specified IP address is supported only when connecting to networks with user \
                     configured subnets"
                ));
            }
            if net.subnet(family).is_some_and(|s| !s.pool.subnet.contains(&wanted)) {
                return refuse(format!(
                    "{config}no configured subnet or ip-range contain the IP address {wanted}"
                ));
            }
        }
        let failed = self.set_up_failed("");
        if let Some(mac) = attachment.mac_address {
            if matches!(net.spec.driver, Driver::Ipvlan(_)) {
                let found = format!("{failed}ipvlan interfaces do not support custom mac address assignment");
                return refuse(found);
            }
            if !is_unicast(mac) {
                return refuse(format!(
                    "{failed}failed to add interface to sandbox: error setting interface MAC to \"{mac}\": cannot \
                     assign requested address"
                ));
            }
        }
        self.check_mac_free(ctr, attachment, net)?;
        self.check_device_free(ctr, attachment)?;
        match self.parent_is_busy(net) {
            Some(found) => refuse(format!("{failed}{found}")),
            None => Ok(()),
        }
    }

    /// Macvlans of one parent cannot have one hardware address, nor the parent's, unless that is passed through
    /// (drivers/net/macvlan.c: `macvlan_addr_busy`). A bridge takes any.
    fn check_mac_free(&self, ctr: &Ctr, attachment: &Attachment, net: &Net) -> Result<(), Diagnostic> {
        let Driver::Macvlan(options) = &net.spec.driver else { return Ok(()) };
        let Some(mac) = attachment.mac_address else { return Ok(()) };
        let found = format!(
            "{}failed to add interface to sandbox: error setting interface MAC to \"{mac}\": address already in use",
            self.set_up_failed("")
        );
        let refused = Diagnostic::new(attachment.at.clone(), found);
        let shares =
            |e: &&Endpoint| self.networks.get(&e.attachment.network).is_some_and(|n| n.device == net.device);
        let containers = self.containers.iter().chain([ctr]);
        let endpoints = containers.flat_map(|c| c.endpoints.iter().map(move |e| (c, e)));
        let mut sharing = endpoints.filter(|(_, e)| shares(e));
        if let Some((ctr, other)) = sharing.find(|(_, e)| e.mac == mac) {
            return Err(refused.related(other.attachment.at.clone(), format!("{} has it", ctr.spec.name)));
        }
        let parents =
            options.mode != MacvlanMode::Passthru && mac == machine_mac(&self.host.name, &net.device);
        if parents { Err(refused.expected("another one than that of the parent")) } else { Ok(()) }
    }

    /// Two devices of a container cannot have one name.
    fn check_device_free(&self, ctr: &Ctr, attachment: &Attachment) -> Result<(), Diagnostic> {
        let Some(name) = &attachment.interface_name else { return Ok(()) };
        let Some(other) = ctr.endpoints.iter().find(|e| e.device == *name) else { return Ok(()) };
        let found = format!(
            "{}failed to add interface to sandbox: error renaming interface to \"{name}\": file exists",
            self.set_up_failed("")
        );
        let label = format!("the first {name}");
        Err(Diagnostic::new(attachment.at.clone(), found).related(other.attachment.at.clone(), label))
    }

    /// A device is the parent of macvlans or of ipvlans, not of both, and passed through only once.
    fn parent_is_busy(&self, net: &Net) -> Option<&'static str> {
        let running = self.containers.iter().flat_map(|c| &c.endpoints);
        let others = running.filter_map(|e| self.networks.get(&e.attachment.network));
        let mut sharing = others.filter(|n| n.device == net.device);
        match &net.spec.driver {
            Driver::Macvlan(o) => {
                let ipvlan = sharing.clone().any(|n| matches!(n.spec.driver, Driver::Ipvlan(_)));
                let twice = o.mode == MacvlanMode::Passthru && sharing.next().is_some();
                let taken = ipvlan.then_some("failed to create the macvlan port: device or resource busy");
                taken.or(twice.then_some("failed to create the macvlan port: invalid argument"))
            }
            Driver::Ipvlan(_) => {
                let macvlan = sharing.any(|n| matches!(n.spec.driver, Driver::Macvlan(_)));
                macvlan.then_some("failed to create the ipvlan port: device or resource busy")
            }
            Driver::Bridge(_) | Driver::Host | Driver::None => None,
        }
    }

    /// The NIS domain name: that of the setting, or else that of the container whose network it shares, if it does.
    pub(in crate::plan) fn domainname(&self, spec: &Container) -> Option<String> {
        let setting = spec.sysctls.get("kernel.domainname").cloned();
        let written = || match &spec.network {
            NetworkMode::Container(donor) => self.find(donor).and_then(|c| c.spec.domainname.clone()),
            NetworkMode::DefaultBridge(_)
            | NetworkMode::Networks(_)
            | NetworkMode::Host
            | NetworkMode::None => spec.domainname.clone(),
        };
        setting.or_else(written)
    }
}

fn at(donor: &ContainerRef, found: String) -> Diagnostic {
    Diagnostic::new(donor.at.clone(), found)
}

/// What opening a setting's file comes to where its key is no path, or names a device that no kernel could have.
fn is_no_setting(key: &str) -> Option<&'static str> {
    let parts: Vec<&str> = key.split('.').collect();
    let device = match parts.as_slice() {
        ["net", "ipv4" | "ipv6", "conf" | "neigh", device, _] => {
            device.replace('/', ".").parse::<IfName>().err()
        }
        _ => None,
    };
    if key.ends_with('.') {
        return Some("is a directory");
    }
    (device.is_some() || parts.iter().any(|p| p.is_empty())).then_some("no such file or directory")
}

/// The first pair of options that exclude each other.
fn conflict(spec: &Container) -> Option<&'static str> {
    let shares = matches!(spec.network, NetworkMode::Container(_));
    let links = !spec.links.is_empty();
    let pairs = [
        (spec.uts_host && spec.hostname.is_some(), "hostname and the UTS mode"),
        (shares && spec.hostname.is_some(), "hostname and the network mode"),
        (
            shares && links,
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (
            matches!(spec.network, NetworkMode::Host) && links,
            "host type networking can't be used with links. This would result in undefined behavior",
        ),
        (shares && !spec.dns.is_empty(), "dns and the network mode"),
        (shares && !spec.extra_hosts.is_empty(), "custom host-to-IP mapping and the network mode"),
        (shares && !spec.ports.is_empty(), "port publishing and the container type network mode"),
        (shares && !spec.expose.is_empty(), "port exposing and the container type network mode"),
    ];
    pairs.into_iter().find_map(|(holds, words)| holds.then_some(words))
}
