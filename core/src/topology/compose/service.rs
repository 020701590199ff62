//! One entry of `services`.

use std::collections::BTreeMap;

use super::{keys, ports};
use crate::diagnostic::Diagnostics;
use crate::topology::field::Field;
use crate::topology::yaml::{Key, Node};
use crate::topology::{Attachment, Container, NetworkMode, NodeName, PidMode, ProcessOptions};

/// What the mapping under `key` says.
pub(super) fn read(key: &Key, node: &Node, project: &str, out: &mut Diagnostics) -> Container {
    let flag =
        |name, out: &mut Diagnostics| Field::of(node, name).and_then(|f| f.boolean(out)).unwrap_or(false);
    let string =
        |name, out: &mut Diagnostics| Field::of(node, name).and_then(|f| f.string(out)).map(str::to_owned);
    let list = |name, out: &mut Diagnostics| {
        let said = Field::of(node, name).map(|f| f.string_or_list(out)).unwrap_or_default();
        said.into_iter().map(|(text, _)| text.to_owned()).collect::<Vec<_>>()
    };
    let place = format!("service '{}'", key.name);
    keys::check_all(node, &[keys::SERVICE, keys::SERVICE_READ_PAST], &place, out);
    let name = format!("{project}-{}-1", key.name);
    let mut attachment = Attachment::plain("default", key.at.clone());
    attachment.aliases = vec![name.clone(), key.name.clone()];
    Container {
        node: NodeName(key.name.clone()),
        service: key.name.clone(),
        name,
        hostname: string("hostname", out),
        domainname: string("domainname", out),
        network: NetworkMode::Networks(vec![attachment]),
        ports: Field::of(node, "ports").map(|f| ports::publishes(f, out)).unwrap_or_default(),
        expose: Field::of(node, "expose").map(|f| ports::exposed(f, out)).unwrap_or_default(),
        links: Vec::new(),
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        dns_search: list("dns_search", out),
        dns_opt: list("dns_opt", out),
        mac_address: Field::of(node, "mac_address").and_then(|f| f.parse(out)),
        sysctls: BTreeMap::new(),
        ipc: None,
        pid: PidMode::Private,
        uts_host: false,
        userns_host: false,
        cgroup: None,
        process: ProcessOptions {
            privileged: flag("privileged", out),
            read_only: flag("read_only", out),
            user: string("user", out),
            ..ProcessOptions::default()
        },
        at: key.at.clone(),
    }
}
