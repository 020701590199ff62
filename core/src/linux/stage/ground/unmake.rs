//! Objects are taken away, and put in the place of others.

use super::Ground;
use crate::linux::order::Order;
use crate::linux::rules::{self, Before};
use crate::linux::{Error, files};
use crate::plan::{NsName, Object};
use crate::probe::NsKind;
use crate::topology::NodeName;

impl Ground {
    /// Takes one object away.
    pub(super) async fn remove(&mut self, ns: &NsName, object: &Object) -> Result<(), Error> {
        match object {
            Object::Namespace(namespace) => {
                if namespace.kind() == NsKind::Network {
                    self.clear(ns)?;
                    self.scripts.remove(ns);
                }
                self.give_up(ns, namespace.kind())
            }
            Object::Link(_)
            | Object::BridgePort(_)
            | Object::Address(_)
            | Object::Up(_)
            | Object::Route(_)
            | Object::PolicyRule(_)
            | Object::Neighbour(_) => {
                self.net(ns)?.remove(object)?;
                self.forget(ns, object);
                Ok(())
            }
            // A setting that nobody asks for any more keeps its value, as it does under Docker.
            Object::Sysctl(_) => Ok(()),
            Object::Rules(ruleset) => self.begin_rules(ns, &rules::emptied(ruleset), Before::Others).await,
            Object::Script(script) => {
                self.scripts.remove(ns);
                self.begin_text(ns, script.room()).await
            }
            Object::File(file) => files::remove(ns, file),
            Object::Process(process) => self.end(&process.node).await,
            Object::Proxy(_) | Object::Reservation(_) | Object::Resolver(_) => {
                self.stop_serving(ns, object);
                Ok(())
            }
            Object::Listener(listener) => {
                self.actor(&listener.node)?.agent.order(Order::Unlisten(listener.clone())).await.map(|_| ())
            }
        }
    }

    /// Puts an object in place of the one of its name.
    pub(super) async fn replace(&mut self, ns: &NsName, object: &Object) -> Result<(), Error> {
        match object {
            Object::Resolver(names) => self.rename(ns, names),
            Object::Rules(ruleset) => self.begin_rules(ns, ruleset, Before::Others).await,
            Object::File(_) | Object::Sysctl(_) | Object::Script(_) => self.add(ns, object).await,
            Object::Link(_)
            | Object::BridgePort(_)
            | Object::Address(_)
            | Object::Up(_)
            | Object::Route(_)
            | Object::PolicyRule(_)
            | Object::Neighbour(_) => self.net(ns)?.replace(object),
            Object::Namespace(_)
            | Object::Process(_)
            | Object::Proxy(_)
            | Object::Reservation(_)
            | Object::Listener(_) => {
                self.remove(ns, object).await?;
                self.add(ns, object).await
            }
        }
    }

    async fn end(&mut self, node: &NodeName) -> Result<(), Error> {
        self.end_daemon(node);
        match self.nodes.remove(node) {
            Some(actor) => actor.node.stop().await,
            None => Err(Error::words("end", node.as_str(), "no process of it runs")),
        }
    }
}
