//! Namespaces that a service shares: `network_mode`, `ipc`, `pid`, `uts`, `userns_mode`, `cgroup`.

use crate::diagnostic::{At, Diagnostics};
use crate::topology::CgroupMode;
use crate::topology::IpcMode;
use crate::topology::field::Field;

/// Whose namespace is joined, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Donor {
    /// `service:NAME`, and not `container:NAME`.
    pub(super) is_service: bool,
    /// The name.
    pub(super) name: String,
    /// Where.
    pub(super) at: At,
}

/// `network_mode`.
#[derive(Debug, Clone)]
pub(super) enum Mode {
    /// `bridge` or `default`.
    Bridge(At),
    /// `host`.
    Host,
    /// `none`.
    None,
    /// `service:X` or `container:X`.
    Donor(Donor),
    /// Docker's name for a network.
    Named(String, At),
}

/// A namespace of its own, the host's, or another container's.
#[derive(Debug, Clone)]
pub(super) enum Sharing<T> {
    /// What needs nobody else.
    Alone(T),
    /// Another container's.
    Donor(Donor),
}

/// `service:X` or `container:X`; nothing where `text` is neither.
fn donor(field: Field<'_>, text: &str, what: &str, out: &mut Diagnostics) -> Option<Option<Donor>> {
    let (is_service, name) = match text.split_once(':') {
        Some(("service", name)) => (true, name),
        Some(("container", name)) => (false, name),
        Some(_) | None => return Some(None),
    };
    if name.is_empty() {
        let kind = if is_service { "service" } else { "container" };
        out.push(
            field.bad(format!("invalid {what}: '{text}' names no {kind}")).expected(format!("{kind}:NAME")),
        );
        return None;
    }
    Some(Some(Donor { is_service, name: name.to_owned(), at: field.at() }))
}

/// `network_mode`; an empty one is none.
pub(super) fn network(field: Field<'_>, out: &mut Diagnostics) -> Option<Mode> {
    let text = field.string(out).filter(|t| !t.is_empty())?;
    let at = field.at();
    match text {
        "bridge" | "default" => Some(Mode::Bridge(at)),
        "host" => Some(Mode::Host),
        "none" => Some(Mode::None),
        text => Some(match donor(field, text, "network mode", out)? {
            Some(donor) => Mode::Donor(donor),
            None => Mode::Named(text.to_owned(), at),
        }),
    }
}

/// `ipc`.
pub(super) fn ipc(field: Field<'_>, out: &mut Diagnostics) -> Option<Sharing<IpcMode>> {
    let text = field.string(out).filter(|t| !t.is_empty())?;
    let alone = match text {
        "none" => IpcMode::None,
        "private" => IpcMode::Private,
        "shareable" => IpcMode::Shareable,
        "host" => IpcMode::Host,
        text => {
            let donor = donor(field, text, "IPC mode", out)?;
            if donor.is_none() {
                let expected = "none, private, shareable, host, service:NAME or container:NAME";
                out.push(field.bad(format!("invalid IPC mode: {text}")).expected(expected));
            }
            return donor.map(Sharing::Donor);
        }
    };
    Some(Sharing::Alone(alone))
}

/// `pid`: the host's, or another's.
pub(super) fn pid(field: Field<'_>, out: &mut Diagnostics) -> Option<Sharing<()>> {
    let text = field.string(out).filter(|t| !t.is_empty())?;
    if text == "host" {
        return Some(Sharing::Alone(()));
    }
    let donor = donor(field, text, "PID mode", out)?;
    if donor.is_none() {
        let expected = "host, service:NAME or container:NAME, or no 'pid' for one of its own";
        out.push(field.bad(format!("invalid PID mode: {text}")).expected(expected));
    }
    donor.map(Sharing::Donor)
}

/// A key that says `host` or nothing.
pub(super) fn host(field: Field<'_>, what: &str, out: &mut Diagnostics) -> bool {
    match field.string(out) {
        Some("host") => true,
        Some("") | None => false,
        Some(text) => {
            let expected = format!("host, or no '{}' for one of its own", field.name);
            out.push(field.bad(format!("invalid {what} mode: {text}")).expected(expected));
            false
        }
    }
}

/// `cgroup`.
pub(super) fn cgroup(field: Field<'_>, out: &mut Diagnostics) -> Option<CgroupMode> {
    match field.string(out)? {
        "host" => Some(CgroupMode::Host),
        "private" => Some(CgroupMode::Private),
        text => {
            out.push(field.bad(format!("invalid cgroup namespace mode: {text}")).expected("host or private"));
            None
        }
    }
}
