//! Which keys a compose file may have, and which of them bear on networking or namespaces.
//!
//! The lists are those of the Compose Specification (compose-spec.json). What is in neither list of its mapping is an
//! error with the nearest known key; `x-` keys are anyone's.

use super::check;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::yaml::{Node, Value};

/// The top level of a file.
pub(super) const FILE: &[&str] =
    &["version", "name", "include", "services", "networks", "volumes", "secrets", "configs", "models"];

/// A service's keys that are honoured.
pub(super) const SERVICE: &[&str] = &[
    "cap_add",
    "cap_drop",
    "cgroup",
    "container_name",
    "depends_on",
    "deploy",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "hostname",
    "ipc",
    "links",
    "mac_address",
    "network_mode",
    "networks",
    "pid",
    "ports",
    "privileged",
    "profiles",
    "read_only",
    "scale",
    "shm_size",
    "sysctls",
    "tmpfs",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
];

/// A service's keys that change neither its network nor its namespaces.
pub(super) const SERVICE_READ_PAST: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cgroup_parent",
    "command",
    "configs",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "develop",
    "device_cgroup_rules",
    "devices",
    "entrypoint",
    "env_file",
    "environment",
    "gpus",
    "group_add",
    "healthcheck",
    "image",
    "init",
    "isolation",
    "label_file",
    "labels",
    "logging",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "oom_kill_disable",
    "oom_score_adj",
    "pids_limit",
    "platform",
    "post_start",
    "pre_stop",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "restart",
    "runtime",
    "secrets",
    "security_opt",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "tty",
    "ulimits",
    "use_api_socket",
    "working_dir",
];

/// The long form of an entry of `ports`.
pub(super) const PORT: &[&str] =
    &["name", "mode", "host_ip", "target", "published", "protocol", "app_protocol"];

/// A network of the top level.
pub(super) const NETWORK: &[&str] = &[
    "name",
    "driver",
    "driver_opts",
    "ipam",
    "external",
    "internal",
    "enable_ipv4",
    "enable_ipv6",
    "attachable",
    "labels",
];

/// `ipam` of a network.
pub(super) const IPAM: &[&str] = &["driver", "config", "options"];

/// An entry of `ipam.config`.
pub(super) const POOL: &[&str] = &["subnet", "ip_range", "gateway", "aux_addresses"];

/// A network of a service.
pub(super) const ATTACHMENT: &[&str] = &[
    "aliases",
    "interface_name",
    "ipv4_address",
    "ipv6_address",
    "link_local_ips",
    "mac_address",
    "driver_opts",
    "priority",
    "gw_priority",
];

/// `deploy` of a service.
pub(super) const DEPLOY: &[&str] = &[
    "mode",
    "endpoint_mode",
    "replicas",
    "labels",
    "rollback_config",
    "update_config",
    "resources",
    "restart_policy",
    "placement",
];

/// An entry of `depends_on`.
pub(super) const DEPENDENCY: &[&str] = &["condition", "restart", "required"];

/// The long form of an entry of a service's `volumes`.
pub(super) const MOUNT: &[&str] =
    &["type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs", "image"];

/// Whether every key of the mapping `node` is in `known`; `place` names the mapping.
pub(super) fn check(node: &Node, known: &[&str], place: &str, out: &mut Diagnostics) -> bool {
    check_all(node, &[known], place, out)
}

/// Whether `node`, which stands under `name`, is a mapping at all; its keys are checked as by [`check`].
pub(super) fn check_mapping(
    name: &str,
    node: &Node,
    known: &[&str],
    place: &str,
    out: &mut Diagnostics,
) -> bool {
    let is_mapping = matches!(node.value, Value::Mapping(_));
    if is_mapping {
        check(node, known, place, out);
    } else {
        out.push(Field { name, node }.wrong("a mapping"));
    }
    is_mapping
}

/// As [`check`], with several lists.
pub(super) fn check_all(node: &Node, known: &[&[&str]], place: &str, out: &mut Diagnostics) -> bool {
    let Value::Mapping(entries) = &node.value else { return true };
    let before = out.0.len();
    for (key, _) in entries {
        let is_known = known.iter().any(|list| list.contains(&key.name.as_str()));
        if !is_known && !key.name.starts_with("x-") {
            let found = format!("unknown key '{}' in {place}", key.name);
            let expected = suggestion(&key.name, known, out);
            out.push(Diagnostic::new(key.at.clone(), found).expected(expected));
        }
    }
    out.0.len() == before
}

/// The known key that is spelled most like `name`, or all of them where they are few, or that it be left out.
fn suggestion(name: &str, known: &[&[&str]], out: &Diagnostics) -> String {
    let all = || known.iter().flat_map(|list| list.iter().copied());
    match check::suggest(name, all(), out) {
        Some(key) => format!("'{key}'"),
        None if all().count() <= 12 => format!("one of {}", all().collect::<Vec<_>>().join(", ")),
        None => "a key of the Compose Specification, or one that begins with x-".to_owned(),
    }
}
