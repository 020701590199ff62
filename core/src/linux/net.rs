//! Network objects of a plan, made over netlink (man 7 rtnetlink).
//!
//! * `socket`: one request at a time, and its answer.
//! * `link`, `address`, `route`, `neighbour`: what is asked for each object.
//! * `dump`: what stands. `conntrack`, `announce`, `fault`, `netem`, `ipset`: what is done besides.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use crate::addr::IfName;
use crate::linux::Error;
use crate::linux::space::Space;
use crate::plan::check::label;
use crate::plan::{NsName, Object};
use crate::probe::NsKind;

mod address;
mod announce;
mod conntrack;
mod dump;
mod fault;
mod ipset;
mod link;
mod neighbour;
mod netem;
mod route;
mod socket;

pub(in crate::linux) use dump::Told;
pub(in crate::linux) use ipset::fill;
pub use link::hand_over;
use socket::{Netlink, Refusal};

/// A network namespace, and the socket by which its objects are made.
#[derive(Debug)]
pub struct Net {
    name: NsName,
    space: Space,
    socket: Netlink,
    /// The MTUs of devices before a fault.
    mtus: RefCell<BTreeMap<IfName, u32>>,
    /// What netem does to devices, by their numbers: one that takes the name of another is not disturbed.
    disturbed: RefCell<BTreeMap<u32, netem::Disturbed>>,
}

impl Net {
    /// Opens the socket inside a network namespace; the socket stays there.
    ///
    /// # Errors
    /// Where there is no right to go there.
    pub fn open(name: NsName, space: &Space) -> Result<Self, Error> {
        let open = || -> io::Result<Self> {
            let own = Space::of(space.kind(), space.as_fd().try_clone_to_owned()?);
            let socket = space.inside(|| Netlink::open(netlink_sys::protocols::NETLINK_ROUTE))??;
            Ok(Self {
                name: name.clone(),
                space: own,
                socket,
                mtus: RefCell::default(),
                disturbed: RefCell::default(),
            })
        };
        open().map_err(|cause| Error::new("open", format!("netlink in {name}"), &cause))
    }

    /// Opens the socket inside the network namespace that this thread is in.
    ///
    /// # Errors
    /// Where the kernel gives no socket.
    pub(super) fn current(name: NsName) -> Result<Self, Error> {
        let open = || -> io::Result<(Space, Netlink)> {
            Ok((Space::current(NsKind::Network)?, Netlink::open(netlink_sys::protocols::NETLINK_ROUTE)?))
        };
        match open() {
            Ok((space, socket)) => {
                Ok(Self { name, space, socket, mtus: RefCell::default(), disturbed: RefCell::default() })
            }
            Err(cause) => Err(Error::new("open", format!("netlink in {name}"), &cause)),
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn name(&self) -> &NsName {
        &self.name
    }

    /// Makes an object. `others` knows the namespaces that a veth's peer or a device's parent may be in.
    ///
    /// # Errors
    /// As the kernel says; what it made halfway is gone again.
    pub fn add<'n>(
        &self,
        object: &Object,
        others: impl Fn(&NsName) -> Option<&'n Self>,
    ) -> Result<(), Error> {
        let done = match object {
            Object::Link(link) => self.make_link(link, others),
            Object::BridgePort(port) => self.set_port(port),
            Object::Address(address) => self.make_address(address),
            Object::Up(name) => self.set_up(name, true),
            Object::Route(route) => self.make_route(route),
            Object::PolicyRule(rule) => self.make_rule(rule),
            Object::Neighbour(neighbour) => self.make_neighbour(neighbour, false),
            Object::Namespace(_) | Object::Sysctl(_) | Object::Rules(_) | Object::Script(_) => foreign(),
            Object::File(_) => foreign(),
            Object::Process(_) | Object::Proxy(_) | Object::Reservation(_) => foreign(),
            Object::Resolver(_) | Object::Listener(_) => foreign(),
        };
        done.map_err(|refusal| self.error("make", label(object), refusal))
    }

    /// Takes an object away, and with it what cannot be without it: the kernel sees to that.
    ///
    /// # Errors
    /// As the kernel says; also where there is no such object.
    pub fn remove(&self, object: &Object) -> Result<(), Error> {
        let done = match object {
            Object::Link(link) => self.unmake_link(&link.name),
            Object::BridgePort(port) => self.reset_port(&port.link),
            Object::Address(address) => self.unmake_address(address),
            Object::Up(name) => self.set_up(name, false),
            Object::Route(route) => self.unmake_route(route),
            Object::PolicyRule(rule) => self.unmake_rule(rule),
            Object::Neighbour(neighbour) => self.unmake_neighbour(neighbour),
            Object::Namespace(_) | Object::Sysctl(_) | Object::Rules(_) | Object::Script(_) => foreign(),
            Object::File(_) => foreign(),
            Object::Process(_) | Object::Proxy(_) | Object::Reservation(_) => foreign(),
            Object::Resolver(_) | Object::Listener(_) => foreign(),
        };
        done.map_err(|refusal| self.error("take away", label(object), refusal))
    }

    /// Puts an object in place of the one of its name.
    ///
    /// # Errors
    /// As the kernel says, and of an object that is only ever removed and added.
    pub fn replace(&self, object: &Object) -> Result<(), Error> {
        let done = match object {
            Object::BridgePort(port) => self.set_port(port),
            Object::Neighbour(neighbour) => self.make_neighbour(neighbour, true),
            Object::Link(_)
            | Object::Address(_)
            | Object::Up(_)
            | Object::Route(_)
            | Object::PolicyRule(_) => {
                Err(Refusal::words("such an object is removed and added, never replaced"))
            }
            Object::Namespace(_) | Object::Sysctl(_) | Object::Rules(_) | Object::Script(_) => foreign(),
            Object::File(_) => foreign(),
            Object::Process(_) | Object::Proxy(_) | Object::Reservation(_) => foreign(),
            Object::Resolver(_) | Object::Listener(_) => foreign(),
        };
        done.map_err(|refusal| self.error("replace", label(object), refusal))
    }

    fn error(&self, operation: &str, object: String, refusal: Refusal) -> Error {
        let Refusal { errno, words, missing, .. } = refusal;
        let error = Error { errno, ..Error::words(operation, format!("{object} in {}", self.name), words) };
        match missing {
            Some(help) => error.missing(help),
            None => error,
        }
    }
}

fn foreign() -> Result<(), Refusal> {
    Err(Refusal::words("it is not made over netlink"))
}
