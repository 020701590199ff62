//! Questions: an agent asks them, and the stage says who answered an echo.

use std::rc::Rc;

use super::Ground;
use crate::addr::MacAddr;
use crate::linux::Error;
use crate::linux::echo::Echoes;
use crate::linux::order::{Order, Reply};
use crate::linux::request::{Among, Answer};
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
    /// Whether nobody on another stage could.
    alone: bool,
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
        let alone = self.beyond.is_none();
        Ok(Asking { agent, nonce: self.asked, probe: probe.clone(), via, echoes, alone })
    }

    /// Knows of other stages from now on.
    pub(in crate::linux::stage) fn be_among(&mut self, Among { asked, beyond }: Among) {
        self.asked = asked;
        self.beyond = Some(beyond);
    }

    /// Whether another stage's echo request was delivered here, and where.
    pub(in crate::linux::stage) fn heard(&self, nonce: u64) -> Answer {
        seen(&self.hearers(), nonce).map_or(Answer::Unheard(nonce), Answer::Outcome)
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
    pub(in crate::linux::stage) async fn answer(self) -> Result<Answer, Error> {
        let Self { agent, nonce, probe, via, echoes, alone } = self;
        let echo = matches!(probe.ask, Ask::Echo);
        let outcome = match agent.order(Order::Ask { nonce, probe, via }).await? {
            Reply::Outcome(outcome) => outcome,
            other @ (Reply::Done | Reply::Addresses(_) | Reply::Failed(_)) => {
                return Err(Error::words("understand", "an agent", format!("it answered {other:?}")));
            }
        };
        if !(echo && matches!(outcome, Outcome::Reaches { .. })) {
            return Ok(Answer::Outcome(outcome));
        }
        match seen(&echoes, nonce) {
            Some(outcome) => Ok(Answer::Outcome(outcome)),
            None if alone => {
                let why = "the request was seen in no namespace";
                Err(Error::words("find", "who answered an echo", why))
            }
            None => Ok(Answer::Unheard(nonce)),
        }
    }
}

/// What came of an echo request that was delivered to one of these.
fn seen(echoes: &[(NodeName, Rc<Echoes>)], nonce: u64) -> Option<Outcome> {
    let (node, from) = echoes.iter().find_map(|(node, echoes)| Some((node, echoes.seen(nonce)?)))?;
    Some(Outcome::Reaches { node: node.clone(), port: None, from: Some(from) })
}
