//! Mistakes, each for one checker to find.

use std::net::IpAddr;
use std::sync::Arc;

use seatrial_core::addr::MacAddr;
use seatrial_core::plan::{LinkKind, Object, Plan};
use seatrial_core::rules::Target;

use crate::device::Kind;
use crate::packet::Payload;
use crate::skb::{Framed, Skb};
use crate::world::{Event, World};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A frame with an answer in it disappears.
    Swallow,
    /// The planner forgets to masquerade.
    Leak,
    /// The planner puts every cable into one bridge.
    Miswire,
    /// A bridge keeps what it learned of a port that is gone.
    StalePort,
    /// Conntrack does not look whether a tuple is taken.
    BlindTable,
    /// A router leaves the TTL as it is.
    Undying,
    /// A frame has gone round for a while.
    Loop,
    /// An answer comes from another address than the one that was asked.
    WrongReply,
    /// Healing does nothing.
    Unhealed,
}

/// The plan with the mistake in it.
pub(super) fn plan(mut plan: Plan, bug: Option<Bug>) -> Plan {
    let bridge = plan.items.iter().find_map(|item| match &item.object {
        Object::Link(link) if link.kind == LinkKind::Bridge && link.name.as_str().starts_with("br-") => {
            Some(link.name.clone())
        }
        _ => None,
    });
    for item in &mut plan.items {
        match (&mut item.object, bug) {
            (Object::Rules(rules), Some(Bug::Leak)) => {
                let chains = Arc::make_mut(rules).tables.iter_mut().flat_map(|table| &mut table.chains);
                chains.for_each(|chain| {
                    chain.rules.retain(|r| !matches!(r.target, Some(Target::Masquerade(..))))
                });
            }
            (Object::Link(link), Some(Bug::Miswire)) => {
                let peer = match &mut link.kind {
                    LinkKind::Veth(peer) => peer.master.as_mut(),
                    _ => None,
                };
                let masters = link.master.as_mut().into_iter().chain(peer);
                masters
                    .filter(|m| m.as_str().starts_with("br-"))
                    .zip(bridge.iter().cycle())
                    .for_each(|(m, b)| *m = b.clone());
            }
            _ => {}
        }
    }
    plan
}

/// Changes an event; whether it does not happen at all.
pub(super) fn event(world: &World, event: &mut Event, bug: Bug) -> bool {
    let Event::Receive(dev, framed) = event else { return false };
    let device = &world.devices[*dev];
    let guest = device.name.as_str() == "eth0" && world.stacks[device.ns].name.as_str() != "host";
    let Framed::Ip(Skb { packet, meta }) = framed else { return false };
    let answers = matches!(packet.payload, Payload::Answer { .. });
    match bug {
        Bug::Swallow => return answers,
        Bug::Loop if answers => meta.hops = 65,
        Bug::WrongReply if answers && guest => packet.src = IpAddr::from([192, 0, 2, 99]),
        _ => {}
    }
    false
}

/// Changes a world between two acts.
pub(super) fn world(world: &mut World, bug: Bug) {
    if bug == Bug::StalePort {
        let dead = world.devices.iter().find(|(_, d)| !d.alive).map(|(id, _)| id);
        let bridge = world
            .devices
            .iter()
            .find(|(_, d)| d.alive && matches!(d.kind, Kind::Bridge(_)))
            .map(|(id, _)| id);
        if let Some((dead, bridge)) = dead.zip(bridge) {
            let fdb = world.devices[bridge].bridge_mut().unwrap();
            fdb.learn(MacAddr([2, 0, 0, 0, 0, 9]), dead, 0);
        }
    }
}
