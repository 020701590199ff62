//! Commands of util-linux: namespaces other than the network's, what they hold, and the processes in them.

use super::{exec, kept, netns, shell};
use crate::plan::{File, IdMap, MountRoot, Namespace, NsName, Process};
use crate::probe::NsKind;
use crate::topology::Program;

/// What Docker lets a container do (moby: oci/caps/defaults.go).
const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

pub(super) fn add(ns: &NsName, namespace: &Namespace) -> String {
    let keep = |kind: &str| format!("install -Dm0 /dev/null {}", kept(ns, kind));
    let unshare = |kind: &str| format!("{} && unshare --{kind}={}", keep(kind), kept(ns, kind));
    match namespace {
        Namespace::Network => format!("ip netns add {}", netns(ns)),
        Namespace::Mount(root) => mounts(ns, root),
        Namespace::Ipc { shm_size } => {
            let shm = match shm_size {
                Some(bytes) => format!("/dev/shm of {bytes} bytes"),
                None => "no /dev/shm".to_owned(),
            };
            format!("{} true  # {shm}", unshare("ipc"))
        }
        // The first process of a PID namespace must live, and is waited for a moment.
        Namespace::Pid => format!("{} && {} & sleep 0.1", keep("pid"), first_process(ns)),
        Namespace::Uts { hostname, domainname: None } => {
            format!("{} hostname {}", unshare("uts"), shell::quote(hostname))
        }
        Namespace::Uts { hostname, domainname: Some(domainname) } => {
            let both =
                format!("hostname {} && domainname {}", shell::quote(hostname), shell::quote(domainname));
            format!("{} sh -c {}", unshare("uts"), shell::quote(&both))
        }
        Namespace::User { map } => user(ns, *map, &keep("user")),
        Namespace::Cgroup => format!("{} true", unshare("cgroup")),
    }
}

/// What holds a PID namespace open.
fn first_process(ns: &NsName) -> String {
    format!("unshare --pid={} --fork --kill-child sleep infinity", kept(ns, "pid"))
}

/// A user namespace cannot keep itself: its process is not root outside. Its ids are mapped from outside, too.
fn user(ns: &NsName, map: IdMap, keep: &str) -> String {
    let IdMap { inside, outside, count } = map;
    format!(
        "unshare --user sleep infinity & sleep 0.1; {keep} && mount --bind /proc/$!/ns/user {} && echo '{inside} \
         {outside} {count}' | tee /proc/$!/uid_map >/proc/$!/gid_map; kill $!",
        kept(ns, "user")
    )
}

/// What a node finds mounted, as a script that its process runs first, in a mount namespace of its own.
fn mounts(ns: &NsName, root: &MountRoot) -> String {
    let mut script = String::from("#!/bin/sh\nset -eu\n");
    script += &root.rootfs.as_deref().map(own_root).unwrap_or_default();
    let at = |target: &str| match root.rootfs {
        Some(_) => format!("$d/root{}", shell::quote(target)),
        None => shell::quote(target),
    };
    for tmpfs in &root.tmpfs {
        let (target, options) = tmpfs.split_once(':').map_or((tmpfs.as_str(), None), |(t, o)| (t, Some(o)));
        let options = options.map(|o| format!("-o {} ", shell::quote(o))).unwrap_or_default();
        script += &format!("mount -t tmpfs {options}tmpfs {}\n", at(target));
    }
    for mount in &root.mounts {
        let target = at(&mount.target);
        script += &match &mount.source {
            Some(source) => format!("mount --bind {} {target}\n", shell::quote(source)),
            None => format!("mount -t tmpfs volume {target}\n"),
        };
        if mount.read_only {
            script += &format!("mount -o remount,bind,ro {target}\n");
        }
    }
    if root.read_only {
        script +=
            &format!("mount -o remount,bind,ro {}\n", if root.rootfs.is_some() { "$d/root" } else { "/" });
    }
    script += if root.rootfs.is_some() { "exec chroot $d/root \"$@\"\n" } else { "exec \"$@\"\n" };
    shell::feed(&format!("install -Dm755 /dev/stdin {}", kept(ns, "mounts")), &script)
}

/// A root of the files of a folder or an archive; what is written there goes with the node.
fn own_root(path: &str) -> String {
    let (lower, unpack) = if path.ends_with(".tar") {
        ("$d/lower".to_owned(), format!("mkdir $d/lower && tar -xf {} -C $d/lower\n", shell::quote(path)))
    } else {
        (shell::quote(path), String::new())
    };
    format!(
        "d=$(mktemp -d)\nmount -t tmpfs root $d\n{unpack}mkdir $d/upper $d/work $d/root\nmount -t overlay -o \
         lowerdir={lower},upperdir=$d/upper,workdir=$d/work root $d/root\n"
    )
}

pub(super) fn remove(ns: &NsName, namespace: &Namespace) -> String {
    match namespace {
        Namespace::Network => format!("ip netns del {}", netns(ns)),
        Namespace::Mount(_) => format!("rm -f {}", kept(ns, "mounts")),
        Namespace::Pid => {
            format!("{}; umount {}", super::socket::stop(&first_process(ns)), kept(ns, "pid"))
        }
        Namespace::Ipc { .. } | Namespace::Uts { .. } | Namespace::User { .. } | Namespace::Cgroup => {
            format!("umount {}", kept(ns, namespace.kind().as_str()))
        }
    }
}

/// Where a file is put so that its node sees it.
pub(super) fn path(ns: &NsName, file: &File) -> String {
    match file.path.strip_prefix("/etc/") {
        Some(name) => shell::quote(&format!("/etc/netns/{}/{name}", ns.as_str().replace('/', ":"))),
        None => kept(ns, &format!("root{}", file.path)),
    }
}

pub(super) fn file(ns: &NsName, file: &File) -> String {
    let path = path(ns, file);
    if file.content.is_empty() {
        return format!("install -Dm644 /dev/null {path}");
    }
    shell::feed(&format!("install -Dm644 /dev/stdin {path}"), &file.content)
}

/// A process that does nothing, or what runs there, in every namespace it is to be in; what is mounted comes last, over a copy of what
/// `ip netns exec` mounts.
pub(super) fn process(ns: &NsName, process: &Process) -> String {
    let of = |kind: NsKind| process.namespaces.get(&kind).unwrap_or(ns);
    let mut command = format!("{} nsenter", exec(of(NsKind::Network)));
    for kind in [NsKind::Ipc, NsKind::Pid, NsKind::Uts, NsKind::User, NsKind::Cgroup] {
        command += &format!(" --{kind}={}", kept(of(kind), kind.as_str()));
    }
    command += &format!(" unshare --mount {}", kept(of(NsKind::Mount), "mounts"));
    let container = process.container.as_ref();
    if container.is_some() {
        command += &privileges(process);
    }
    let comment = container.map(|name| format!("  # container {name}")).unwrap_or_default();
    let program = process.program.as_ref().map_or_else(|| "sleep infinity".to_owned(), program);
    format!("{command} {program} & echo $! >{}{comment}", kept(ns, "process"))
}

/// A program with its environment and its place.
fn program(program: &Program) -> String {
    let place = program.working_dir.as_deref().unwrap_or("/");
    let variables = program.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let words = variables.chain(program.command.iter().cloned());
    let words: Vec<String> = words.map(|word| shell::quote(&word).to_string()).collect();
    format!("env -C {} {}", shell::quote(place), words.join(" "))
}

/// The process is a child of the `nsenter` that was started.
pub(super) fn no_process(ns: &NsName) -> String {
    format!("pkill -9 -P \"$(cat {})\"", kept(ns, "process"))
}

/// The user and the bounding set; a privileged container has every capability.
fn privileges(process: &Process) -> String {
    let mut words = String::from(" setpriv");
    if let Some(user) = &process.user {
        let (user, group) = user.split_once(':').map_or((user.as_str(), None), |(u, g)| (u, Some(g)));
        words += &format!(" --reuid={}", shell::quote(user));
        words += &match group {
            Some(group) => format!(" --regid={} --clear-groups", shell::quote(group)),
            None => " --init-groups".to_owned(),
        };
    }
    words += &format!(
        " --bounding-set={}",
        if process.privileged { "+all".to_owned() } else { capabilities(process) }
    );
    words
}

/// Docker's capabilities with those added and without those dropped; `ALL` means every one (oci/caps/utils.go).
fn capabilities(process: &Process) -> String {
    let all = |list: &[String]| list.iter().any(|c| c == "ALL");
    let dropped = |cap: &str| process.cap_drop.iter().any(|c| c == cap);
    if all(&process.cap_add) {
        let without = process.cap_drop.iter().filter(|c| *c != "ALL");
        return ["+all".to_owned()]
            .into_iter()
            .chain(without.map(|c| format!("-{}", c.to_lowercase())))
            .collect::<Vec<_>>()
            .join(",");
    }
    let default = CAPABILITIES.into_iter().filter(|c| !all(&process.cap_drop) && !dropped(c));
    let added = process.cap_add.iter().map(String::as_str);
    let mut kept: Vec<_> = default.chain(added).map(str::to_lowercase).collect();
    kept.sort();
    kept.dedup();
    ["-all".to_owned()]
        .into_iter()
        .chain(kept.into_iter().map(|c| format!("+{c}")))
        .collect::<Vec<_>>()
        .join(",")
}
