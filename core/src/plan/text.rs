//! A plan as the shell script a person would type: each object is made by exactly one command.
//!
//! Network namespaces are those of `ip netns`; each other namespace is kept by a file, `/run/ns/NAME/KIND`. Files under
//! /etc are where `ip netns exec` finds them, `/etc/netns/NAME`. The commands are those of iproute2, iptables, procps and
//! util-linux; what listens is `docker-proxy`, `socat` and `dnsmasq`. The text decides nothing: it is the dry run, the
//! golden files and the documentation.
//!
//! * `network`: links, addresses, routes, settings, rules. `namespace`: the other namespaces, files, processes.
//! * `socket`: what listens. `shell`: quoting.

use std::fmt;

use super::{Item, NsName, Object, Plan, PlanOp};
use crate::addr::Family;

mod namespace;
mod network;
mod shell;
mod socket;

/// What stands at the head of a script.
const HEAD: &str = "\
#!/bin/bash
# Run as root, in namespaces of its own:
#   unshare --net --mount --pid --fork --kill-child --mount-proc bash SCRIPT
set -eu
";

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        let mut before: Option<&NsName> = None;
        for item in &self.items {
            if before != Some(&item.ns) {
                write!(f, "\n# {}\n", item.ns)?;
            }
            writeln!(f, "{item}")?;
            before = Some(&item.ns);
        }
        Ok(())
    }
}

/// The command that makes the object.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&add(&self.ns, &self.object))
    }
}

/// The command that carries the operation out.
impl fmt::Display for PlanOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(item) => item.fmt(f),
            Self::Remove(item) => f.pad(&remove(&item.ns, &item.object)),
            Self::Replace(item) => f.pad(&replace(&item.ns, &item.object)),
            Self::FlushConntrack { ns, address } => {
                let family = family_option(Family::of(*address));
                let delete = |side: &str| format!("conntrack -D {family} {side} {address}");
                let sides = ["--orig-dst", "--reply-src"].map(delete).join("; ");
                f.pad(&format!("{} sh -c {}", exec(ns), shell::quote(&format!("{sides}; true"))))
            }
            Self::FlushConntrackPort { ns, transport, port } => {
                let delete = format!("conntrack -D -p {transport} --orig-port-dst {port}; true");
                f.pad(&format!("{} sh -c {}", exec(ns), shell::quote(&delete)))
            }
            Self::Announce { ns, link, address } => {
                let tool = match Family::of(*address) {
                    Family::V4 => format!("arping -U -c 1 -I {link} {address}"),
                    Family::V6 => format!("ndsend {address} {link}"),
                };
                f.pad(&format!("{} {tool}", exec(ns)))
            }
        }
    }
}

fn add(ns: &NsName, object: &Object) -> String {
    match object {
        Object::Namespace(namespace) => namespace::add(ns, namespace),
        Object::Link(link) => network::link(ns, link),
        Object::BridgePort(port) => network::bridge_port(ns, port),
        Object::Address(address) => network::address(ns, "add", address),
        Object::Up(link) => format!("{} link set dev {link} up", ip(ns)),
        Object::Route(route) => network::route(ns, "add", route),
        Object::PolicyRule(rule) => network::policy_rule(ns, "add", rule),
        Object::Neighbour(neighbour) => network::neighbour(ns, "add", neighbour),
        Object::Sysctl(sysctl) => network::sysctl(ns, sysctl),
        Object::Rules(ruleset) => network::rules(ns, ruleset),
        Object::Script(script) => network::script(ns, &script.text),
        Object::File(file) => namespace::file(ns, file),
        Object::Process(process) => namespace::process(ns, process),
        Object::Proxy(proxy) => socket::start_proxy(ns, proxy),
        Object::Reservation(reservation) => socket::start(ns, &socket::reservation(reservation)),
        Object::Resolver(resolver) => socket::resolver(ns, resolver),
        Object::Listener(listener) => socket::start(ns, &socket::listener(listener)),
    }
}

fn remove(ns: &NsName, object: &Object) -> String {
    match object {
        Object::Namespace(namespace) => namespace::remove(ns, namespace),
        Object::Link(link) => format!("{} link del dev {}", ip(ns), link.name),
        Object::BridgePort(port) => {
            format!("bridge -n {} link set dev {} hairpin off isolated off", netns(ns), port.link)
        }
        Object::Address(address) => network::address(ns, "del", address),
        Object::Up(link) => format!("{} link set dev {link} down", ip(ns)),
        Object::Route(route) => network::route(ns, "del", route),
        Object::PolicyRule(rule) => network::policy_rule(ns, "del", rule),
        Object::Neighbour(neighbour) => network::neighbour(ns, "del", neighbour),
        // A setting cannot be taken away; it stays until it is set again or its device or namespace goes.
        Object::Sysctl(sysctl) => format!("# {} {} stays as it is", ns, sysctl.key),
        Object::Rules(ruleset) => network::no_rules(ns, ruleset),
        Object::Script(script) => network::script(ns, &script.room()),
        Object::File(file) => format!("rm -f {}", namespace::path(ns, file)),
        Object::Process(_) => namespace::no_process(ns),
        Object::Proxy(proxy) => socket::stop(&socket::proxy(proxy)),
        Object::Reservation(reservation) => socket::stop(&socket::reservation(reservation)),
        Object::Resolver(resolver) => socket::no_resolver(resolver, ns),
        Object::Listener(listener) => socket::stop(&socket::listener(listener)),
    }
}

/// A command that overwrites what stood there does; for the rest two, one to take away and one to make.
fn replace(ns: &NsName, object: &Object) -> String {
    match object {
        Object::Sysctl(_) | Object::Rules(_) | Object::File(_) | Object::BridgePort(_) | Object::Up(_) => {
            add(ns, object)
        }
        Object::Script(script) => network::script(ns, &(script.room() + &script.text)),
        Object::Namespace(_)
        | Object::Link(_)
        | Object::Address(_)
        | Object::Route(_)
        | Object::PolicyRule(_)
        | Object::Neighbour(_)
        | Object::Process(_)
        | Object::Proxy(_)
        | Object::Reservation(_)
        | Object::Resolver(_)
        | Object::Listener(_) => format!("{}\n{}", remove(ns, object), add(ns, object)),
    }
}

/// The name of a network namespace: a file's, so that `b/web` on a further host `b` becomes `b:web`.
fn netns(ns: &NsName) -> String {
    shell::quote(&ns.as_str().replace('/', ":"))
}

/// The file that keeps something of a node.
fn kept(ns: &NsName, what: &str) -> String {
    shell::quote(&format!("/run/ns/{}/{what}", ns.as_str().replace('/', ":")))
}

/// `ip` in a network namespace.
fn ip(ns: &NsName) -> String {
    format!("ip -n {}", netns(ns))
}

/// Another command in a network namespace, with the files of its node under /etc.
fn exec(ns: &NsName) -> String {
    format!("ip netns exec {}", netns(ns))
}

const fn family_option(family: Family) -> &'static str {
    match family {
        Family::V4 => "-f ipv4",
        Family::V6 => "-f ipv6",
    }
}
