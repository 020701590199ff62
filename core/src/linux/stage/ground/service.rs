//! What the stage itself serves: docker-proxies, ports that are only held, and resolvers.

use std::rc::Rc;

use super::Ground;
use crate::linux::Error;
use crate::linux::proxy::{self, Held};
use crate::linux::resolver::Resolver;
use crate::linux::service::Running;
use crate::plan::{self, NsName, Object};
use crate::probe::NsKind;
use crate::topology::NodeName;

/// There is one in a namespace.
const RESOLVER: &str = "resolver";

/// Something that is served until this is dropped.
#[expect(dead_code, reason = "these are held for their end alone")]
pub(super) enum Service {
    Proxy(Running),
    Reservation(Held),
    Resolver(Resolver),
}

impl Ground {
    /// Begins to serve.
    pub(super) fn serve(&mut self, ns: &NsName, object: &Object) -> Result<(), Error> {
        let Some(name) = name(object) else { return Ok(()) };
        let space = Rc::clone(self.space(NsKind::Network, ns)?);
        let service = match object {
            Object::Proxy(proxy) => Service::Proxy(proxy::serve(ns, &space, proxy)?),
            Object::Reservation(held) => Service::Reservation(proxy::hold(ns, &space, held)?),
            Object::Resolver(resolver) => {
                let machine = NsName::from(&NodeName::from(ns.as_str()).machine());
                let host = Rc::clone(self.space(NsKind::Network, &machine)?);
                Service::Resolver(Resolver::serve(ns, &space, &host, resolver)?)
            }
            Object::Namespace(_)
            | Object::Link(_)
            | Object::BridgePort(_)
            | Object::Address(_)
            | Object::Up(_)
            | Object::Route(_)
            | Object::PolicyRule(_)
            | Object::Neighbour(_)
            | Object::Sysctl(_)
            | Object::Rules(_)
            | Object::Script(_)
            | Object::File(_)
            | Object::Process(_)
            | Object::Listener(_) => return Ok(()),
        };
        self.services.insert((ns.clone(), name), service);
        Ok(())
    }

    /// A resolver answers from other names from now on.
    pub(super) fn rename(&mut self, ns: &NsName, names: &plan::Resolver) -> Result<(), Error> {
        match self.services.get_mut(&(ns.clone(), RESOLVER.to_owned())) {
            Some(Service::Resolver(resolver)) => resolver.replace(names),
            Some(Service::Proxy(_) | Service::Reservation(_)) | None => {
                self.serve(ns, &Object::Resolver(names.clone()))
            }
        }
    }

    /// Serves no longer.
    pub(super) fn stop_serving(&mut self, ns: &NsName, object: &Object) {
        if let Some(name) = name(object) {
            self.services.remove(&(ns.clone(), name));
        }
    }
}

/// What tells a service from the others of its namespace.
fn name(object: &Object) -> Option<String> {
    match object {
        Object::Proxy(p) => Some(format!("docker-proxy {}/{}", p.listen, p.transport)),
        Object::Reservation(r) => Some(format!("reservation {}/{}", r.listen, r.transport)),
        Object::Resolver(_) => Some(RESOLVER.to_owned()),
        Object::Namespace(_)
        | Object::Link(_)
        | Object::BridgePort(_)
        | Object::Address(_)
        | Object::Up(_)
        | Object::Route(_)
        | Object::PolicyRule(_)
        | Object::Neighbour(_)
        | Object::Sysctl(_)
        | Object::Rules(_)
        | Object::Script(_)
        | Object::File(_)
        | Object::Process(_)
        | Object::Listener(_) => None,
    }
}
