//! What bears on a service's process and mounts: capabilities, users, `shm_size`, `tmpfs`, `volumes`.

use std::collections::{BTreeMap, BTreeSet};

use super::{check, keys, program};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::yaml::{Node, Value};
use crate::topology::{Mount, ProcessOptions};

/// The capabilities that Linux has (capabilities(7), include/uapi/linux/capability.h).
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Those keys of a service; volumes by name are looked up in `root`.
pub(super) fn read(node: &Node, root: &Node, out: &mut Diagnostics) -> ProcessOptions {
    let field = |name| Field::of(node, name);
    let mut options = ProcessOptions {
        shm_size: field("shm_size").and_then(|f| bytes(f, out)).filter(|size| *size > 0),
        cap_add: field("cap_add").map(|f| capabilities(f, out)).unwrap_or_default(),
        cap_drop: field("cap_drop").map(|f| capabilities(f, out)).unwrap_or_default(),
        privileged: field("privileged").and_then(|f| f.boolean(out)).unwrap_or(false),
        user: field("user").and_then(|f| f.string(out)).filter(|u| !u.is_empty()).map(str::to_owned),
        read_only: field("read_only").and_then(|f| f.boolean(out)).unwrap_or(false),
        tmpfs: field("tmpfs").map(|f| tmpfs(f, out)).unwrap_or_default(),
        mounts: Vec::new(),
        rootfs: program::read(node, out),
    };
    let mut places = BTreeMap::new();
    for entry in field("volumes").map(|f| f.list(out)).unwrap_or_default() {
        let read = match &entry.value {
            Value::Scalar(_) => Field { name: "volumes", node: entry }.string(out).and_then(short),
            Value::Mapping(_) => long(entry, &mut options.tmpfs, out),
            Value::Sequence(_) => {
                out.push(Field { name: "volumes", node: entry }.wrong("SOURCE:TARGET, or a mapping"));
                None
            }
        };
        let Some(mount) = read else { continue };
        check_volume(&mount, entry, root, out);
        let place = *places.entry(mount.target.clone()).or_insert(options.mounts.len());
        match options.mounts.get_mut(place) {
            Some(earlier) => *earlier = mount,
            None => options.mounts.push(mount),
        }
    }
    options
}

/// A size in bytes with a unit behind it, as in `64m` or `1.5gb` (github.com/docker/go-units, RAMInBytes).
fn bytes(field: Field<'_>, out: &mut Diagnostics) -> Option<u64> {
    let text = field.text(out)?;
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = lower.get(digits.len()..).unwrap_or_default();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if matches!(unit, "" | "b") => Some(0),
        "k" => Some(10),
        "m" => Some(20),
        "g" => Some(30),
        "t" => Some(40),
        "p" => Some(50),
        _ => None,
    };
    let number = digits.trim_end().parse::<f64>().ok().filter(|n| *n >= 0.0 && n.is_finite());
    let size = number.zip(shift).map(|(number, shift)| number * f64::from(shift).exp2());
    if size.is_none() {
        out.push(
            field
                .bad(format!("invalid size: '{text}'"))
                .expected("bytes, or a number with k, m or g, as in 64m"),
        );
    }
    // A float's conversion to an integer saturates.
    size.map(|size| size as u64)
}

/// `cap_add` or `cap_drop`: upper case, without `CAP_`.
fn capabilities(field: Field<'_>, out: &mut Diagnostics) -> Vec<String> {
    let mut all = Vec::new();
    for (text, at) in field.strings(out) {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if !CAPABILITIES.contains(&name) {
            let near = check::suggest(name, CAPABILITIES.iter().copied(), out);
            let expected =
                near.map_or("a capability of capabilities(7), or ALL".to_owned(), |n| format!("'{n}'"));
            let found = format!("unknown capability: \"CAP_{name}\"");
            out.push(Diagnostic::new(at, found).expected(expected));
        } else if !all.iter().any(|n| n == name) {
            all.push(name.to_owned());
        }
    }
    all
}

fn tmpfs(field: Field<'_>, out: &mut Diagnostics) -> Vec<String> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for (text, at) in field.string_or_list(out) {
        if text.starts_with('/') {
            all.extend(seen.insert(text).then(|| text.to_owned()));
        } else {
            let found = format!("invalid mount path: '{text}' mount path must be absolute");
            out.push(Diagnostic::new(at, found).expected("a path that begins with /"));
        }
    }
    all
}

/// `[SOURCE:]TARGET[:MODES]`.
fn short(text: &str) -> Option<Mount> {
    let mut parts = text.splitn(3, ':');
    let (first, second, modes) = (parts.next()?, parts.next(), parts.next().unwrap_or_default());
    let (source, target) = match second {
        Some(target) => (Some(first.to_owned()), target),
        None => (None, first),
    };
    Some(Mount { source, target: target.to_owned(), read_only: modes.split(',').any(|m| m == "ro") })
}

/// The long form; one of type `tmpfs` goes to `tmpfs`.
fn long(entry: &Node, tmpfs: &mut Vec<String>, out: &mut Diagnostics) -> Option<Mount> {
    keys::check(entry, keys::MOUNT, "a volume", out);
    let text = |name, out: &mut Diagnostics| Field::of(entry, name).and_then(|f| f.string(out));
    let kind = text("type", out).unwrap_or("volume");
    let Some(target) = text("target", out) else {
        let missing = Diagnostic::new(entry.at.clone(), "a volume without a 'target'");
        out.push(missing.expected("a path of the container as 'target'"));
        return None;
    };
    match kind {
        "tmpfs" => {
            tmpfs.push(target.to_owned());
            None
        }
        "bind" | "volume" | "npipe" | "cluster" | "image" => {
            let read_only = Field::of(entry, "read_only").and_then(|f| f.boolean(out)).unwrap_or(false);
            let source = text("source", out).map(str::to_owned);
            // The short form tells a path from a volume's name by its first character.
            let path = |s: &String| s.starts_with(['/', '.', '~']);
            let source = source.map(|s| if kind == "bind" && !path(&s) { format!("./{s}") } else { s });
            Some(Mount { source, target: target.to_owned(), read_only })
        }
        kind => {
            let field = Field::of(entry, "type")?;
            let found = field.bad(format!("a volume of type '{kind}'"));
            out.push(found.expected("bind, volume, tmpfs, image, cluster or npipe"));
            None
        }
    }
}

/// A volume by name must be one of the top level's.
fn check_volume(mount: &Mount, entry: &Node, root: &Node, out: &mut Diagnostics) {
    let Some(name) = mount.source.as_deref() else { return };
    let kind = entry.get("type").and_then(Node::as_str).unwrap_or("volume");
    if name.is_empty() || name.starts_with(['/', '.', '~']) || kind != "volume" {
        return;
    }
    let volumes = root.get("volumes");
    if volumes.and_then(|v| v.get(name)).is_none() {
        let near = check::suggest(name, check::keys_of(volumes), out);
        let expected =
            near.map_or("a key of the top level's 'volumes', or a path".to_owned(), |n| format!("'{n}'"));
        out.push(Diagnostic::new(entry.at.clone(), format!("undefined volume {name}")).expected(expected));
    }
}
