//! Containers, in the words of the API.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigCgroupnsModeEnum,
    NetworkingConfig, PortBinding,
};
use seatrial_core::linux::node::{CALL, CONTAINED};
use seatrial_core::linux::stage::DOORS;
use seatrial_core::topology::{
    Attachment, CgroupMode, Container, ContainerRef, DEFAULT_BRIDGE, ExtraHostTarget, Host, IpcMode,
    NetworkMode, PidMode, Publish,
};

/// What the image is called.
pub(super) const IMAGE: &str = "seatrial:agent";
/// What the default bridge is called.
const BRIDGE: &str = "bridge";

/// A container, and which networks it is connected to when it has been made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) body: ContainerCreateBody,
    pub(super) then: Vec<(String, EndpointSettings)>,
}

/// What makes a container that calls at the door of a number; `at_once` where the Engine takes all networks with it.
pub(super) fn request(host: &Host, container: &Container, door: usize, at_once: bool) -> Made {
    let joined = joined(host, container);
    let count = if at_once { joined.len() } else { 1 };
    let mut endpoints = joined.clone();
    let then = endpoints.split_off(count.min(endpoints.len()));
    let networking = NetworkingConfig { endpoints_config: Some(endpoints.into_iter().collect()) };
    let (ports, exposed) = ports(&container.ports);
    let expose = container.expose.iter();
    let expose = expose.flat_map(|(transport, range)| range.ports().map(move |p| format!("{p}/{transport}")));
    let nameless = container.process.mounts.iter().filter(|mount| mount.source.is_none());
    let body = ContainerCreateBody {
        volumes: Some(nameless.map(|mount| mount.target.clone()).collect()),
        image: Some(IMAGE.to_owned()),
        entrypoint: Some(vec![CONTAINED.to_owned()]),
        cmd: Some(vec![container.node.to_string()]),
        hostname: container.hostname.clone(),
        domainname: container.domainname.clone(),
        user: container.process.user.clone(),
        exposed_ports: Some(exposed.into_iter().chain(expose).collect()),
        networking_config: Some(networking),
        host_config: Some(HostConfig {
            network_mode: Some(mode(host, container, joined.first().map(|(name, _)| name.as_str()))),
            port_bindings: Some(ports.into_iter().map(|(port, all)| (port, Some(all))).collect()),
            binds: Some(binds(container, door)),
            ..options(host, container)
        }),
        ..ContainerCreateBody::default()
    };
    Made { body, then }
}

/// What does not bear on where it is connected.
fn options(host: &Host, container: &Container) -> HostConfig {
    let process = &container.process;
    let words = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let hosts = container.extra_hosts.iter().map(|extra| match extra.target {
        ExtraHostTarget::Address(address) => format!("{}:{address}", extra.name),
        ExtraHostTarget::HostGateway => format!("{}:host-gateway", extra.name),
    });
    let tmpfs = process.tmpfs.iter().map(|text| {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        (path.to_owned(), options.to_owned())
    });
    let default_bridge = matches!(container.network, NetworkMode::DefaultBridge(_));
    HostConfig {
        links: default_bridge.then(|| links(host, container)).flatten(),
        extra_hosts: Some(hosts.collect()),
        dns: Some(container.dns.iter().map(ToString::to_string).collect()),
        dns_search: words(&container.dns_search),
        dns_options: words(&container.dns_opt),
        sysctls: Some(container.sysctls.clone().into_iter().collect()),
        ipc_mode: container.ipc.as_ref().map(|mode| match mode {
            IpcMode::None => "none".to_owned(),
            IpcMode::Private => "private".to_owned(),
            IpcMode::Shareable => "shareable".to_owned(),
            IpcMode::Host => "host".to_owned(),
            IpcMode::Container(other) => of(host, other),
        }),
        pid_mode: match &container.pid {
            PidMode::Private => None,
            PidMode::Host => Some("host".to_owned()),
            PidMode::Container(other) => Some(of(host, other)),
        },
        uts_mode: container.uts_host.then(|| "host".to_owned()),
        userns_mode: container.userns_host.then(|| "host".to_owned()),
        cgroupns_mode: container.cgroup.map(|mode| match mode {
            CgroupMode::Private => HostConfigCgroupnsModeEnum::PRIVATE,
            CgroupMode::Host => HostConfigCgroupnsModeEnum::HOST,
        }),
        shm_size: process.shm_size.and_then(|bytes| i64::try_from(bytes).ok()),
        cap_add: words(&process.cap_add),
        cap_drop: words(&process.cap_drop),
        privileged: Some(process.privileged),
        readonly_rootfs: Some(process.read_only),
        tmpfs: Some(tmpfs.collect()),
        ..HostConfig::default()
    }
}

/// `container:NAME`.
fn of(host: &Host, other: &ContainerRef) -> String {
    format!("container:{}", name(host, other))
}

/// Docker's name for a container.
fn name<'h>(host: &'h Host, other: &'h ContainerRef) -> &'h str {
    let found = host.containers.iter().find(|c| c.node == other.node);
    found.map_or(other.node.as_str(), |container| container.name.as_str())
}

fn links(host: &Host, container: &Container) -> Option<Vec<String>> {
    let links = container.links.iter().map(|l| format!("{}:{}", name(host, &l.target), l.alias));
    (!container.links.is_empty()).then(|| links.collect())
}

fn mode(host: &Host, container: &Container, first: Option<&str>) -> String {
    match &container.network {
        NetworkMode::DefaultBridge(_) => BRIDGE.to_owned(),
        NetworkMode::Networks(_) => first.unwrap_or(BRIDGE).to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Container(other) => of(host, other),
    }
}

/// Docker's name for a network, by its key.
pub(super) fn network_name(host: &Host, key: &str) -> String {
    let found = host.networks.iter().find(|network| network.key == key || network.name == key);
    let known = if matches!(key, DEFAULT_BRIDGE | "docker0") { BRIDGE } else { key };
    found.map_or_else(|| known.to_owned(), |network| network.name.clone())
}

/// The networks it joins, by name, in the order of their names.
fn joined(host: &Host, container: &Container) -> Vec<(String, EndpointSettings)> {
    let attachments: Vec<&Attachment> = match &container.network {
        NetworkMode::DefaultBridge(attachment) => vec![attachment],
        NetworkMode::Networks(attachments) => attachments.iter().collect(),
        NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => Vec::new(),
    };
    // Compose gives the service's hardware address to the first network by name.
    let first = attachments.iter().map(|a| a.network.as_str()).min();
    let mut joined: Vec<(String, EndpointSettings)> = attachments
        .iter()
        .map(|attachment| {
            let mut endpoint = endpoint(attachment);
            if attachment.network != DEFAULT_BRIDGE {
                endpoint.links = links(host, container);
            }
            if Some(attachment.network.as_str()) == first && endpoint.mac_address.is_none() {
                endpoint.mac_address = container.mac_address.map(|mac| mac.to_string());
            }
            (network_name(host, &attachment.network), endpoint)
        })
        .collect();
    joined.sort_by(|(a, _), (b, _)| a.cmp(b));
    joined
}

fn endpoint(attachment: &Attachment) -> EndpointSettings {
    let text = |address: Option<std::net::IpAddr>| address.map(|a| a.to_string());
    let local: Vec<String> = attachment.link_local_ips.iter().map(ToString::to_string).collect();
    let ipam = EndpointIpamConfig {
        ipv4_address: text(attachment.ipv4_address),
        ipv6_address: text(attachment.ipv6_address),
        link_local_ips: (!local.is_empty()).then_some(local),
    };
    let sysctls: Vec<String> = attachment.sysctls.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let options: BTreeMap<&str, String> = [
        ("com.docker.network.endpoint.ifname", attachment.interface_name.as_ref().map(ToString::to_string)),
        ("com.docker.network.endpoint.sysctls", (!sysctls.is_empty()).then(|| sysctls.join(","))),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    EndpointSettings {
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        mac_address: attachment.mac_address.map(|mac| mac.to_string()),
        aliases: (!attachment.aliases.is_empty()).then(|| attachment.aliases.clone()),
        driver_opts: (!options.is_empty())
            .then(|| options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        gw_priority: (attachment.gw_priority != 0).then_some(attachment.gw_priority),
        ..EndpointSettings::default()
    }
}

type Bindings = BTreeMap<String, Vec<PortBinding>>;

/// What is published, and what is exposed by that; ranges of equal length pair up, as Compose has it.
fn ports(all: &[Publish]) -> (Bindings, Vec<String>) {
    let mut bindings = Bindings::new();
    for publish in all {
        let own: Vec<u16> = publish.container_ports.ports().collect();
        let hosts: Option<Vec<u16>> = publish.host_ports.map(|range| range.ports().collect());
        for (place, port) in own.iter().enumerate() {
            let host_port = match &hosts {
                None => String::new(),
                Some(hosts) if hosts.len() == own.len() => {
                    hosts.get(place).map(ToString::to_string).unwrap_or_default()
                }
                Some(hosts) => {
                    let ends = [hosts.first(), hosts.last()];
                    ends.into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join("-")
                }
            };
            let binding = PortBinding {
                host_ip: Some(publish.host_ip.map(|ip| ip.to_string()).unwrap_or_default()),
                host_port: Some(host_port),
            };
            bindings.entry(format!("{port}/{}", publish.transport)).or_default().push(binding);
        }
    }
    let exposed = bindings.keys().cloned().collect();
    (bindings, exposed)
}

/// A path as Compose gives it to the Engine: below the project's folder. In the Engine's root that is an empty one.
fn absolute(source: &str) -> String {
    match source.strip_prefix('.') {
        Some(rest) => format!("/project/{}", rest.trim_start_matches('/')),
        None => source.to_owned(),
    }
}

/// The trial's volumes, and the door.
fn binds(container: &Container, door: usize) -> Vec<String> {
    let volumes = container.process.mounts.iter().filter_map(|mount| {
        let source = absolute(mount.source.as_ref()?);
        let mode = if mount.read_only { ":ro" } else { "" };
        Some(format!("{source}:{}{mode}", mount.target))
    });
    volumes.chain([format!("{DOORS}/{door}:{CALL}")]).collect()
}
