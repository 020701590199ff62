//! Who has an address on a link: ARP, and for IPv6 neighbour discovery in the same words (net/core/neighbour.c).

use std::net::IpAddr;

use seatrial_core::addr::{Family, MacAddr};
use seatrial_core::rules::{AddrType, Hook};

use super::Stack;
use super::fib::Flow;
use super::hook::Devices;
use super::icmp::Reason;
use crate::arena::{DevId, NsId};
use crate::clock::{MS, SECOND};
use crate::packet::NeighbourMessage;
use crate::skb::{Frame, Meta, Skb, Spoken};
use crate::trace::{DropReason, Event as Happened};
use crate::world::{Event, World};

/// How often a neighbour is asked for, by everyone or itself, before it has failed (mcast_solicit, ucast_solicit).
const TRIES: u8 = 3;
/// Between two of them (retrans_time).
const RETRANS_US: u64 = SECOND;
/// How long an answer is good (base_reachable_time; the kernel draws half to one and a half of it).
const REACHABLE_US: u64 = 30 * SECOND;
/// How long a stale address is used before it is asked for again (delay_first_probe_time).
const DELAY_US: u64 = 5 * SECOND;
/// How many packets wait for an answer (the kernel counts bytes, SK_WMEM_MAX).
const QUEUE: usize = 101;

/// What these are called under net.ipv4.neigh and net.ipv6.neigh (man 7 arp).
pub(super) fn setting(name: &str) -> Option<u64> {
    Some(match name {
        "mcast_solicit" | "ucast_solicit" => TRIES.into(),
        "retrans_time_ms" => RETRANS_US / MS,
        "base_reachable_time_ms" => REACHABLE_US / MS,
        "delay_first_probe_time" => DELAY_US / SECOND,
        "unres_qlen" => u64::try_from(QUEUE).unwrap_or(u64::MAX),
        _ => return None,
    })
}

/// What is known of a neighbour.
#[derive(Debug, Clone)]
pub(crate) struct Neighbour {
    state: State,
    /// Packets that wait for it.
    queue: Vec<(Skb, Then)>,
    /// Tells the timer that was set last from those before it.
    timer: u32,
}

/// How sure that is (NUD_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Permanent(MacAddr),
    /// Asked so many times, and not answered yet.
    Incomplete(u8),
    /// Answered then.
    Reachable(MacAddr, u64),
    /// Heard of, not confirmed.
    Stale(MacAddr),
    /// In use, and soon to be confirmed.
    Delay(MacAddr),
    /// Asked itself so many times.
    Probe(MacAddr, u8),
    Failed,
}

/// What happens to a packet once its neighbour is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    /// It is sent.
    Transmit,
    /// It goes on in the bridge, with the sender's MAC address it had (br_nf_pre_routing_finish_bridge).
    Bridge { port: DevId, src: MacAddr },
}

/// A packet that waits: from where, and its number.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    src: IpAddr,
    flight: u32,
}

impl Waiting {
    const fn of(skb: &Skb) -> Self {
        Self { src: skb.packet.src, flight: skb.meta.flight }
    }
}

impl Neighbour {
    /// Packets that wait for it.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Skb> {
        self.queue.iter().map(|(skb, _)| skb)
    }

    /// One that was written down and is never asked for.
    pub(crate) const fn permanent(mac: MacAddr) -> Self {
        Self { state: State::Permanent(mac), queue: Vec::new(), timer: 0 }
    }

    const fn new() -> Self {
        Self { state: State::Failed, queue: Vec::new(), timer: 0 }
    }

    const fn mac(&self) -> Option<MacAddr> {
        match self.state {
            State::Permanent(mac) | State::Reachable(mac, _) | State::Stale(mac) => Some(mac),
            State::Delay(mac) | State::Probe(mac, _) => Some(mac),
            State::Incomplete(_) | State::Failed => None,
        }
    }
}

impl World {
    /// Sends a packet to a neighbour, once its MAC address is known (`neigh_resolve_output`).
    pub(crate) fn neighbour_output(
        &mut self,
        ns: NsId,
        dev: DevId,
        next_hop: IpAddr,
        skb: &mut Skb,
        then: Then,
    ) {
        let now_us = self.clock.now_us();
        let key = (dev, next_hop);
        let entry = self.stacks[ns].neighbours.entry(key).or_insert_with(Neighbour::new);
        let Some(mac) = entry.mac() else {
            let asking = matches!(entry.state, State::Incomplete(_));
            let dropped = (entry.queue.len() >= QUEUE).then(|| entry.queue.remove(0));
            entry.queue.push((skb.clone(), then));
            if let Some((old, _)) = dropped {
                let why = |_: &Self| format!("too many packets wait for {next_hop}");
                self.note_drop(ns, Some(dev), &old, DropReason::NeighQueueFull, why);
            }
            if !asking {
                self.note(ns, Some(dev), skb, |_| Happened::Neighbour {
                    text: format!("who has {next_hop}?"),
                });
                self.neighbour_state(ns, key, State::Incomplete(1), RETRANS_US);
                self.solicit(ns, key, MacAddr::BROADCAST, Some(Waiting::of(skb)));
            }
            return;
        };
        match entry.state {
            State::Reachable(mac, at) if now_us > at + REACHABLE_US => {
                self.neighbour_state(ns, key, State::Delay(mac), DELAY_US);
            }
            State::Stale(mac) => self.neighbour_state(ns, key, State::Delay(mac), DELAY_US),
            State::Permanent(_) | State::Reachable(..) | State::Delay(_) => {}
            State::Probe(..) | State::Incomplete(_) | State::Failed => {}
        }
        self.neighbour_send(dev, mac, skb, then);
    }

    fn neighbour_send(&mut self, dev: DevId, mac: MacAddr, skb: &mut Skb, then: Then) {
        match then {
            Then::Transmit => {
                let own = self.devices[dev].mac;
                self.transmit(dev, skb.framed(own, mac));
            }
            Then::Bridge { port, src } => self.bridge_decide(port, skb.framed(src, mac)),
        }
    }

    fn neighbour_state(&mut self, ns: NsId, key: (DevId, IpAddr), state: State, timer_us: u64) {
        let Some(entry) = self.stacks[ns].neighbours.get_mut(&key) else { return };
        entry.state = state;
        entry.timer += 1;
        let timer = entry.timer;
        self.clock.after(timer_us, Event::Neighbour { ns, dev: key.0, address: key.1, timer });
    }

    /// A neighbour's timer rang (`neigh_timer_handler`).
    pub(crate) fn neighbour_timer(&mut self, ns: NsId, dev: DevId, address: IpAddr, timer: u32) {
        let key = (dev, address);
        let entry = self.stacks[ns].neighbours.get(&key).filter(|n| n.timer == timer);
        let Some(entry) = entry else { return };
        let waiting = entry.queue.first().map(|(skb, _)| Waiting::of(skb));
        match entry.state {
            State::Incomplete(tries) if tries < TRIES => {
                self.neighbour_state(ns, key, State::Incomplete(tries + 1), RETRANS_US);
                self.solicit(ns, key, MacAddr::BROADCAST, waiting);
            }
            State::Delay(mac) => {
                self.neighbour_state(ns, key, State::Probe(mac, 1), RETRANS_US);
                self.solicit(ns, key, mac, None);
            }
            State::Probe(mac, tries) if tries < TRIES => {
                self.neighbour_state(ns, key, State::Probe(mac, tries + 1), RETRANS_US);
                self.solicit(ns, key, mac, None);
            }
            State::Incomplete(_) | State::Probe(..) => self.neighbour_failed(ns, key),
            State::Permanent(_) | State::Reachable(..) | State::Stale(_) | State::Failed => {}
        }
    }

    /// Nobody answered: whoever sent what waits is told (`neigh_invalidate`, A6).
    fn neighbour_failed(&mut self, ns: NsId, key: (DevId, IpAddr)) {
        let (dev, address) = key;
        let Some(entry) = self.stacks[ns].neighbours.get_mut(&key) else { return };
        entry.state = State::Failed;
        let queue = std::mem::take(&mut entry.queue);
        for (skb, _) in queue {
            let text = format!("{address} does not answer");
            self.note(ns, Some(dev), &skb, |_| Happened::Neighbour { text });
            let why = |w: &Self| format!("nobody on {} has {address}", w.devices[dev].name);
            self.note_drop(ns, Some(dev), &skb, DropReason::NeighFailed, why);
            self.icmp_error(ns, &skb, Reason::NoNeighbour);
        }
    }

    /// Asks who has an address: everyone, or the neighbour itself.
    fn solicit(&mut self, ns: NsId, key: (DevId, IpAddr), to: MacAddr, waiting: Option<Waiting>) {
        let (dev, target) = key;
        let (stack, mac, from) = (&self.stacks[ns], self.devices[dev].mac, waiting.map(|w| w.src));
        let sender = match target {
            IpAddr::V4(_) => stack.announce(dev, target, from),
            // The waiting packet's source where the device has it, and else its link-local one (`ndisc_solicit`).
            IpAddr::V6(_) => {
                let own = || stack.addresses_of(dev).map(|net| net.addr());
                let narrow = |a: &IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
                own().find(|a| Some(*a) == from).or_else(|| own().find(narrow))
            }
        };
        let Some(sender) = sender else { return };
        let dst = if to == MacAddr::BROADCAST { everyone(target) } else { to };
        let message = NeighbourMessage { request: true, sender_mac: mac, sender, target };
        self.speak(dev, dst, message, waiting.map_or(0, |w| w.flight));
    }

    /// Announces an address: a gratuitous ARP request, or an unsolicited advertisement (A8).
    pub(crate) fn announce(&mut self, dev: DevId, address: IpAddr) {
        let request = Family::of(address) == Family::V4;
        let sender_mac = self.devices[dev].mac;
        let message = NeighbourMessage { request, sender_mac, sender: address, target: address };
        self.speak(dev, everyone(address), message, 0);
    }

    /// Sends a message, for the sake of the packet of this number; in IPv6 rules may drop it (`ndisc_send_skb`).
    fn speak(&mut self, dev: DevId, dst: MacAddr, message: NeighbourMessage, flight: u32) {
        let meta = Meta { src: message.sender_mac, dst, ..Meta::new(flight) };
        let mut spoken = Spoken { message, meta };
        if let Some(mut skb) = spoken.seen() {
            let (ns, next_hop) = (self.devices[dev].ns, Some(skb.packet.dst));
            let by = Devices { input: None, output: Some(dev), port: None, next_hop };
            let passes = self.hook_to(ns, Hook::Output, &mut skb, &by)
                && self.hook_to(ns, Hook::Postrouting, &mut skb, &by);
            if !passes {
                return;
            }
            spoken.meta = skb.meta;
        }
        self.transmit(dev, Frame::Neighbour(&mut spoken));
    }

    /// Whether the rules let a message in (`ipv6_rcv`, `ip6_input`); ARP meets none. One that a bridge passed on has
    /// passed PREROUTING there.
    fn rules_admit(&mut self, ns: NsId, dev: DevId, spoken: &Spoken) -> bool {
        let Some(mut skb) = spoken.seen() else { return true };
        (skb.meta.bridge.is_some() || self.hook(ns, Hook::Prerouting, &mut skb, Some(dev), None))
            && self.hook(ns, Hook::Input, &mut skb, Some(dev), None)
    }

    fn is_own(&self, ns: NsId, dev: DevId, address: IpAddr) -> bool {
        self.stacks[ns].addresses_of(dev).any(|own| own.addr() == address)
    }

    /// A message of a neighbour's (`arp_process`, `ndisc_rcv`).
    pub(crate) fn neighbour_receive(&mut self, dev: DevId, spoken: &Spoken) {
        let Spoken { message, meta } = *spoken;
        let ns = self.devices[dev].ns;
        let family = Family::of(message.target);
        let deaf =
            self.devices[dev].no_arp() || (family == Family::V6 && self.stacks[ns].conf(dev).disable_ipv6);
        // One's own question, come back. Another's may have the same MAC address: ipvlan's shares do.
        if deaf || self.is_own(ns, dev, message.sender) || !self.rules_admit(ns, dev, spoken) {
            return;
        }
        let gratuitous = message.sender == message.target;
        if message.request && !gratuitous && self.answers(ns, dev, &message) {
            self.learn(ns, dev, &message, State::Stale(message.sender_mac), true);
            let sender_mac = self.devices[dev].mac;
            let answer = NeighbourMessage {
                request: false,
                sender_mac,
                sender: message.target,
                target: message.sender,
            };
            return self.speak(dev, message.sender_mac, answer, meta.flight);
        }
        let confirmed = !message.request && !meta.dst.is_multicast();
        let state = if confirmed {
            State::Reachable(message.sender_mac, self.clock.now_us())
        } else {
            State::Stale(message.sender_mac)
        };
        self.learn(ns, dev, &message, state, false);
    }

    /// Notes where the sender of a message is: in an entry that is there, or, asked by it, in a new one (A3).
    fn learn(&mut self, ns: NsId, dev: DevId, message: &NeighbourMessage, state: State, create: bool) {
        if message.sender.is_unspecified() {
            return;
        }
        let entries = &mut self.stacks[ns].neighbours;
        let key = (dev, message.sender);
        let entry = match entries.get_mut(&key) {
            Some(entry) => entry,
            None if create => entries.entry(key).or_insert_with(Neighbour::new),
            None => return,
        };
        let same = entry.mac() == Some(message.sender_mac);
        let sure = matches!(entry.state, State::Permanent(_))
            || (same && matches!(state, State::Stale(_)) && matches!(entry.state, State::Reachable(..)));
        if sure {
            return;
        }
        entry.state = state;
        entry.timer += 1;
        let queue = std::mem::take(&mut entry.queue);
        for (mut skb, then) in queue {
            let (address, mac) = (message.sender, message.sender_mac);
            self.note(ns, Some(dev), &skb, |_| Happened::Neighbour {
                text: format!("{address} is at {mac}"),
            });
            self.neighbour_send(dev, mac, &mut skb, then);
        }
    }

    /// Whether a request is answered: for one's own address on whichever device (A1), or for another's (A2).
    fn answers(&self, ns: NsId, dev: DevId, message: &NeighbourMessage) -> bool {
        let stack = &self.stacks[ns];
        let (target, sender) = (message.target, message.sender);
        let (all, conf) = (stack.settings.all, stack.conf(dev));
        let on_dev = || stack.addresses_of(dev).any(|a| a.addr() == target);
        if Family::of(target) == Family::V6 {
            return on_dev();
        }
        // The question is routed like a packet: a martian gets no answer (net/ipv4/arp.c: `arp_process`).
        if (target.is_loopback() || sender.is_loopback()) && !(conf.route_localnet || all.route_localnet) {
            return false;
        }
        if stack.addr_type(target) == AddrType::Local {
            let same_subnet = || stack.addresses_of(dev).any(|a| a.addr() == target && a.contains(&sender));
            let heard = match all.arp_ignore.max(conf.arp_ignore) {
                0 => true,
                1 => on_dev(),
                2 => on_dev() && same_subnet(),
                3 => !target.is_loopback(),
                _ => false,
            };
            let filtered = (all.arp_filter || conf.arp_filter)
                && !sender.is_unspecified()
                && self.route(ns, &Flow::to(sender)).is_none_or(|path| path.dev != dev);
            return heard && !filtered;
        }
        let proxy = (all.proxy_arp || conf.proxy_arp) && conf.forwarding;
        let path = self.route(ns, &Flow::to(target));
        proxy && path.is_some_and(|path| path.dev != dev && path.kind == AddrType::Unicast)
    }
}

impl Stack {
    /// The address a request is sent from: the waiting packet's own, if it is ours and arp_announce lets it (A4).
    fn announce(&self, dev: DevId, target: IpAddr, from: Option<IpAddr>) -> Option<IpAddr> {
        let level = self.settings.all.arp_announce.max(self.conf(dev).arp_announce);
        let own = from.filter(|src| self.is_local(*src));
        let same_subnet =
            |src: &IpAddr| self.addresses_of(dev).any(|a| a.addr() == *src && a.contains(&target));
        let own = match level {
            0 => own,
            1 => own.filter(same_subnet),
            _ => None,
        };
        own.or_else(|| self.select_source(dev, target))
    }
}

/// The MAC address of everyone who may have an address: broadcast, or the solicited-node group (RFC 4861).
const fn everyone(address: IpAddr) -> MacAddr {
    match address {
        IpAddr::V4(_) => MacAddr::BROADCAST,
        IpAddr::V6(a) => {
            let [.., x, y, z] = a.octets();
            MacAddr([0x33, 0x33, 0xff, x, y, z])
        }
    }
}
