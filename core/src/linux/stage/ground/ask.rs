//! Questions: an agent asks them, and the stage says who answered an echo.

use std::rc::Rc;

use super::Ground;
use crate::addr::MacAddr;
use crate::linux::Error;
use crate::linux::echo::Echoes;
use crate::linux::order::{Order, Reply};
use crate::linux::stage::agent::Agent;
use crate::probe::{Ask, Outcome, Probe, Target};
use crate::topology::NodeName;

/// A question that is being asked. Nothing of the ground is held meanwhile: many are asked at one time.
pub(in crate::linux::stage) struct Asking {
    agent: Rc<Agent>,
    nonce: u64,
    probe: Probe,
    via: Option<MacAddr>,
    /// Who could answer an echo, and what they saw.
    echoes: Vec<(NodeName, Rc<Echoes>)>,
}

impl Ground {
    /// Prepares a question.
    ///
    /// # Errors
    /// Where whoever asks does not run.
    pub(in crate::linux::stage) fn asking(&mut self, probe: &Probe) -> Result<Asking, Error> {
        let actor = self.actor(&probe.from)?;
        let agent = Rc::clone(&actor.agent);
        let via = match probe.target {
            Target::Address(target) if probe.options.raw => self.via(&actor.network, target),
            Target::Address(_) | Target::Name(_) => None,
        };
        self.asked += 1;
        let echoes = match probe.ask {
            Ask::Echo => self.hearers(),
            Ask::Port(..) => Vec::new(),
        };
        Ok(Asking { agent, nonce: self.asked, probe: probe.clone(), via, echoes })
    }

    /// The nodes that have a network namespace of their own: one that is shared answers as whose it is.
    fn hearers(&self) -> Vec<(NodeName, Rc<Echoes>)> {
        let owner = |ns: &crate::plan::NsName| {
            let mut inside =
                self.nodes.iter().filter(|(_, actor)| actor.network == *ns).map(|(node, _)| node);
            let named = inside.clone().find(|node| node.as_str() == ns.as_str());
            named.or_else(|| inside.next()).cloned()
        };
        self.echoes.iter().filter_map(|(ns, echoes)| Some((owner(ns)?, Rc::clone(echoes)))).collect()
    }
}

impl Asking {
    /// Asks, and waits for what comes of it.
    ///
    /// # Errors
    /// Where whoever asks cannot.
    pub(in crate::linux::stage) async fn outcome(self) -> Result<Outcome, Error> {
        let Self { agent, nonce, probe, via, echoes } = self;
        let echo = matches!(probe.ask, Ask::Echo);
        let outcome = match agent.order(Order::Ask { nonce, probe, via }).await? {
            Reply::Outcome(outcome) => outcome,
            other @ (Reply::Done | Reply::Addresses(_) | Reply::Failed(_)) => {
                return Err(Error::words("understand", "an agent", format!("it answered {other:?}")));
            }
        };
        if !(echo && matches!(outcome, Outcome::Reaches { .. })) {
            return Ok(outcome);
        }
        let saw = echoes.iter().find_map(|(node, echoes)| Some((node, echoes.seen(nonce)?)));
        let (node, from) = saw.ok_or_else(|| {
            Error::words("find", "who answered an echo", "the request was seen in no namespace")
        })?;
        Ok(Outcome::Reaches { node: node.clone(), port: None, from: Some(from) })
    }
}
