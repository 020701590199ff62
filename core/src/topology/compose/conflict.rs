//! Options of one service that exclude each other (moby, runconfig; texts observed on Engine 28.5).

use super::load::Findings;
use super::modes::{Mode, Sharing};
use super::service::Service;
use crate::diagnostic::Diagnostic;
use crate::topology::IpcMode;

/// Refuses what cannot stand together, in Docker's words.
pub(super) fn check(service: &Service, found: &mut Findings<'_>) {
    let spec = &service.template;
    if spec.uts_host {
        let domain = "sysctl \"kernel.domainname\" is not in a separate kernel namespace";
        let refused = [
            ("hostname", spec.hostname.is_some(), "conflicting options: hostname and the UTS mode"),
            ("domainname", spec.domainname.is_some(), domain),
            ("sysctls", spec.sysctls.contains_key("kernel.domainname"), domain),
        ];
        refuse(service, &refused, "no such key with 'uts: host'", found);
    }
    let setting = spec.sysctls.keys().find(|name| is_of_ipc(name));
    if let (Some(Sharing::Alone(IpcMode::Host)), Some(name)) = (&service.ipc, setting) {
        let words = format!("sysctl \"{name}\" is not allowed in the hosts ipc namespace");
        refuse(service, &[("sysctls", true, &words)], "no such key with 'ipc: host'", found);
    }
    match &service.mode {
        Some(Mode::Donor(_)) => donor(service, found),
        Some(Mode::Host) => host(service, found),
        Some(Mode::Bridge(_) | Mode::None | Mode::Named(..)) | None => {}
    }
}

/// Whether a setting belongs to an IPC namespace (man 7 `ipc_namespaces`).
fn is_of_ipc(name: &str) -> bool {
    ["fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm"].iter().any(|start| name.starts_with(start))
}

type Refused<'a> = (&'a str, bool, &'a str);

fn refuse(service: &Service, all: &[Refused<'_>], expected: &str, found: &mut Findings<'_>) {
    for (key, _, words) in all.iter().filter(|(_, holds, _)| *holds) {
        let at = service.places.get(*key).unwrap_or(&service.at);
        found.out.push(Diagnostic::new(at.clone(), *words).expected(expected));
    }
}

/// `network_mode: service:X` or `container:X`: its names and ports are the other's.
fn donor(service: &Service, found: &mut Findings<'_>) {
    let spec = &service.template;
    let links = "conflicting options: container type network can't be used with links. This would result in \
                 undefined behavior";
    let hosts = "conflicting options: custom host-to-IP mapping and the network mode";
    let ports = "conflicting options: port publishing and the container type network mode";
    let expose = "conflicting options: port exposing and the container type network mode";
    let refused = [
        ("hostname", spec.hostname.is_some(), "conflicting options: hostname and the network mode"),
        ("links", !service.links.is_empty(), links),
        ("external_links", !service.external_links.is_empty(), links),
        ("dns", !spec.dns.is_empty(), "conflicting options: dns and the network mode"),
        ("extra_hosts", !spec.extra_hosts.is_empty(), hosts),
        ("ports", !spec.ports.is_empty(), ports),
        ("expose", !spec.expose.is_empty(), expose),
    ];
    refuse(service, &refused, "such a key at the container whose network it is", found);
}

/// `network_mode: host`: no links, no settings of a network of its own; ports are discarded.
fn host(service: &Service, found: &mut Findings<'_>) {
    let spec = &service.template;
    let links = "conflicting options: host type networking can't be used with links. This would result in \
                 undefined behavior";
    let setting = spec.sysctls.keys().find(|name| name.starts_with("net."));
    let sysctl = setting.map(|name| format!("sysctl \"{name}\" not allowed in host network namespace"));
    let refused = [
        ("links", !service.links.is_empty(), links),
        ("external_links", !service.external_links.is_empty(), links),
        ("sysctls", setting.is_some(), sysctl.as_deref().unwrap_or_default()),
    ];
    refuse(service, &refused, "no such key with 'network_mode: host'", found);
    if let Some(port) = spec.ports.first() {
        let words = "Published ports are discarded when using host network mode";
        found.warnings.push(Diagnostic::new(port.at.clone(), words));
    }
}
