//! A wire, and what its faults make of what passes it (man 8 tc-netem, net/sched/sch_netem.c).
//!
//! Departs from netem in that each copy of a duplicated frame is lost, marred and held by itself, and in that a wrong
//! bit is never in the Ethernet header: that is a frame for somebody else, or for nobody.

use seatrial_core::addr::Family;
use seatrial_core::probe::{Fault, Way};

use crate::arena::DevId;
use crate::clock::MS;
use crate::packet::{Checksum, Packet};
use crate::seed::Seed;
use crate::skb::{Frame, Framed};
use crate::trace::DropReason;
use crate::world::{Event, World};

/// How many frames wait for a delay or a rate in one direction (netem's limit).
const LIMIT: u32 = 1000;
/// An Ethernet header, which a rate counts too.
const ETHERNET: u32 = 14;

/// The faults of a wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    into: Faults,
    out: Faults,
    /// The device's MTU before it was changed.
    mtu: Option<u32>,
    /// Since when it flaps, and how long it is cut and whole in turn, in microseconds.
    flap: Option<(u64, u64)>,
}

/// Those of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Faults {
    cut: bool,
    loss: u8,
    delay_us: u64,
    jitter_us: u64,
    reorder: u8,
    duplicate: u8,
    corrupt: u8,
    /// Bits in a second.
    rate: Option<u64>,
    /// When the last frame that waits will go on.
    last_us: u64,
    waiting: u32,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes on after so many microseconds; whether a bit of it is wrong by then.
    Passes { after_us: u64, marred: bool },
    /// It does not, for this reason and in these words.
    Lost(DropReason, &'static str),
}

impl Wire {
    /// Does something to it; why not, where it makes no sense.
    fn disturb(&mut self, fault: Fault, now_us: u64) -> Result<(), String> {
        match fault {
            Fault::Heal | Fault::Mtu(_) => {}
            Fault::Cut(way) => self.each(way, |f| f.cut = true),
            Fault::Loss(way, percent) => self.each(way, |f| f.loss = percent),
            Fault::Delay(way, ms, jitter_ms) => self.each(way, |f| {
                (f.delay_us, f.jitter_us) = (ms.saturating_mul(MS), jitter_ms.saturating_mul(MS));
            }),
            Fault::Reorder(way, _) if self.ways(way).iter().any(|f| f.delay_us == 0) => {
                // In the words of tc (iproute2, tc/q_netem.c).
                return Err("reordering not possible without specifying some delay".to_owned());
            }
            Fault::Reorder(way, percent) => self.each(way, |f| f.reorder = percent),
            Fault::Duplicate(way, percent) => self.each(way, |f| f.duplicate = percent),
            Fault::Corrupt(way, percent) => self.each(way, |f| f.corrupt = percent),
            Fault::Rate(way, rate) => self.each(way, |f| f.rate = Some(rate)),
            Fault::Flap(ms) => self.flap = Some((now_us, ms.saturating_mul(MS))),
        }
        Ok(())
    }

    fn each(&mut self, way: Way, change: impl Fn(&mut Faults)) {
        if way.is_in() {
            change(&mut self.into);
        }
        if way.is_out() {
            change(&mut self.out);
        }
    }

    fn ways(&self, way: Way) -> Vec<&Faults> {
        let ways = [(way.is_in(), &self.into), (way.is_out(), &self.out)];
        ways.into_iter().filter(|(meant, _)| *meant).map(|(_, faults)| faults).collect()
    }

    const fn toward(&mut self, way: Way) -> &mut Faults {
        match way {
            Way::In => &mut self.into,
            Way::Out | Way::Both => &mut self.out,
        }
    }

    /// Whether it is in the half of its flapping in which nothing passes: it begins with that.
    const fn is_down(&self, now_us: u64) -> bool {
        match self.flap {
            Some((since_us, period_us)) => ((now_us - since_us) / period_us).is_multiple_of(2),
            None => false,
        }
    }
}

impl Faults {
    /// How many copies of a frame there are.
    fn copies(&self, seed: &mut Seed) -> u8 {
        let twice = !self.cut && self.duplicate > 0 && seed.percent(self.duplicate);
        if twice { 2 } else { 1 }
    }

    fn fate(&mut self, len: u32, now_us: u64, seed: &mut Seed) -> Fate {
        if self.cut {
            return Fate::Lost(DropReason::QdiscDrop, "is cut");
        }
        if self.loss > 0 && seed.percent(self.loss) {
            return Fate::Lost(DropReason::QdiscDrop, "lost it");
        }
        let marred = self.corrupt > 0 && seed.percent(self.corrupt);
        if self.waiting >= LIMIT {
            return Fate::Lost(DropReason::QdiscDrop, "has 1000 frames waiting");
        }
        Fate::Passes { after_us: self.hold(len, now_us, seed), marred }
    }

    /// For how long a frame is held (`netem_enqueue`).
    fn hold(&mut self, len: u32, now_us: u64, seed: &mut Seed) -> u64 {
        if self.reorder > 0 && seed.percent(self.reorder) {
            return 0;
        }
        let mut delay_us = self.delay_us;
        if self.jitter_us > 0 {
            let spread = u32::try_from(self.jitter_us.saturating_mul(2)).unwrap_or(u32::MAX);
            delay_us = (delay_us + u64::from(seed.below(spread))).saturating_sub(self.jitter_us);
        }
        if let Some(rate) = self.rate {
            // Behind the last that waits; of the delay only what is left then.
            let behind_us = self.last_us.saturating_sub(now_us);
            let sending_us = u64::from(len + ETHERNET) * 8 * 1_000_000 / rate;
            delay_us = behind_us.max(delay_us) + sending_us;
        }
        self.last_us = self.last_us.max(now_us + delay_us);
        delay_us
    }
}

impl World {
    /// Does something to the wire of a device; why not, where it cannot be.
    pub(crate) fn disturb(&mut self, dev: DevId, fault: Fault) -> Result<(), String> {
        let now_us = self.clock.now_us();
        let device = &mut self.devices[dev];
        match fault {
            Fault::Heal => {
                let was = device.wire.take().and_then(|wire| wire.mtu);
                device.mtu = was.unwrap_or(device.mtu);
            }
            Fault::Mtu(mtu) => {
                device.wire.get_or_insert_default().mtu.get_or_insert(device.mtu);
                device.mtu = mtu;
            }
            Fault::Cut(_)
            | Fault::Loss(..)
            | Fault::Delay(..)
            | Fault::Reorder(..)
            | Fault::Duplicate(..) => {
                device.wire.get_or_insert_default().disturb(fault, now_us)?;
            }
            Fault::Corrupt(..) | Fault::Rate(..) | Fault::Flap(_) => {
                device.wire.get_or_insert_default().disturb(fault, now_us)?;
            }
        }
        Ok(())
    }

    /// Lets a frame pass the wire of a device; whether it does so at once, as it is or marred.
    #[inline]
    pub(crate) fn pass(&mut self, dev: DevId, way: Way, frame: &mut Frame<'_>) -> bool {
        self.devices[dev].wire.is_none() || self.pass_faults(dev, way, frame)
    }

    fn pass_faults(&mut self, dev: DevId, way: Way, frame: &mut Frame<'_>) -> bool {
        let Self { devices, seed, .. } = self;
        let Some(wire) = &mut devices[dev].wire else { return true };
        if wire.toward(way).copies(seed) > 1 {
            let mut copy = frame.copy();
            if self.pass_one(dev, way, &mut copy.frame()) {
                self.hold(dev, way, 0, copy);
            }
        }
        self.pass_one(dev, way, frame)
    }

    fn pass_one(&mut self, dev: DevId, way: Way, frame: &mut Frame<'_>) -> bool {
        let now_us = self.clock.now_us();
        let Self { devices, seed, .. } = self;
        let Some(wire) = &mut devices[dev].wire else { return true };
        let fate = if wire.is_down(now_us) {
            Fate::Lost(DropReason::QdiscDrop, "is cut just now: it flaps")
        } else {
            wire.toward(way).fate(frame.len(), now_us, seed)
        };
        match fate {
            Fate::Lost(reason, words) => {
                let why = |w: &Self| format!("the wire of {} {words}", w.devices[dev].name);
                self.drop_frame(dev, frame, reason, why);
                false
            }
            Fate::Passes { marred: true, .. } if !mar(frame, seed) => false,
            Fate::Passes { after_us: 0, .. } => true,
            Fate::Passes { after_us, .. } => {
                self.hold(dev, way, after_us, frame.copy());
                false
            }
        }
    }

    fn hold(&mut self, dev: DevId, way: Way, for_us: u64, framed: Framed) {
        if let Framed::Ip(skb) = &framed
            && for_us > 0
        {
            // It may outlast the patience of whoever asks.
            self.aside(dev, skb, DropReason::QdiscDrop, |w| {
                format!("the wire of {} held it for {} ms", w.devices[dev].name, for_us / MS)
            });
        }
        if let Some(wire) = &mut self.devices[dev].wire {
            wire.toward(way).waiting += 1;
        }
        self.clock.after(for_us, Event::Passed(dev, way, framed));
    }

    /// A frame has passed a wire that held it.
    pub(crate) fn passed(&mut self, dev: DevId, way: Way, frame: Frame<'_>) {
        if let Some(wire) = &mut self.devices[dev].wire {
            let faults = wire.toward(way);
            faults.waiting = faults.waiting.saturating_sub(1);
        }
        match way {
            Way::In => self.arrive(dev, frame),
            Way::Out | Way::Both => self.put(dev, frame),
        }
    }
}

/// Turns one bit of a frame; whether anything is left of it. ARP has no checksum, and what a wrong bit says there is
/// anybody's guess: here it is lost.
fn mar(frame: &mut Frame<'_>, seed: &mut Seed) -> bool {
    match frame {
        Frame::Ip(skb) => {
            skb.packet.checksum = wrong(&skb.packet, seed);
            true
        }
        Frame::Neighbour(_) => false,
    }
}

/// Which checksum a wrong bit breaks: the IP header has one of its own in IPv4 alone, and TCP's covers its addresses.
fn wrong(packet: &Packet, seed: &mut Seed) -> Checksum {
    match packet.family() {
        Family::V4 if seed.below(packet.len()) < 20 => Checksum::BadIp,
        Family::V4 | Family::V6 => Checksum::BadL4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{ask, dropped, name, pair, probe};
    use crate::trace::Event as Happened;

    /// a and b, who know each other, with a fault of b's wire, written as in a trial.
    fn disturbed(faults: &[&str]) -> World {
        let mut world = pair().listen("b", "80/tcp").listen("b", "80/udp").world();
        ask(&mut world, "a -> 10.0.0.2/icmp");
        faults.iter().for_each(|fault| disturb(&mut world, fault).unwrap());
        world
    }

    fn disturb(world: &mut World, fault: &str) -> Result<(), String> {
        use seatrial_core::probe::Change;
        let change = format!("{fault} b.eth0").parse().unwrap();
        let Change::Fault(node, device, fault) = change else { panic!("{change} is no fault") };
        world.fault(&node, &device, fault).map_err(|refused| refused.why)
    }

    /// How long a question takes, in milliseconds.
    fn takes(world: &mut World, question: &str) -> u64 {
        let before_us = world.now_us();
        ask(world, question);
        (world.now_us() - before_us) / MS
    }

    #[test]
    fn a_cut_one_way_lets_the_other_way_pass() {
        for (fault, at) in [("cut in", 1), ("cut out", 2), ("loss 100% out", 2)] {
            let mut world = disturbed(&[fault]);
            let answer = probe(&mut world, "a -> 10.0.0.2:80/udp");
            assert_eq!(dropped(&answer).0, "QDISC_DROP", "{fault}");
            // The question is the first packet, its answer the second.
            assert_eq!(answer.trace.hops.last().unwrap().flight, at, "{fault}");
        }
    }

    #[test]
    fn a_delay_is_kept_in_each_direction_it_is_meant_for() {
        for (fault, ms) in [("delay 100ms", 200), ("delay 100ms in", 100), ("delay 1500ms out", 1500)] {
            assert_eq!(takes(&mut disturbed(&[fault]), "a -> 10.0.0.2:80/udp"), ms, "{fault}");
        }
    }

    #[test]
    fn a_delay_that_jitters_stays_within_its_bounds_and_is_not_always_the_same() {
        let mut world = disturbed(&["delay 100ms 20ms in"]);
        let times: Vec<u64> = (0..100).map(|_| takes(&mut world, "a -> 10.0.0.2:80/udp")).collect();
        assert!(times.iter().all(|ms| (80..=120).contains(ms)), "{times:?}");
        assert!(times.iter().any(|ms| *ms < 90) && times.iter().any(|ms| *ms > 110), "{times:?}");
    }

    #[test]
    fn what_is_reordered_is_not_delayed() {
        let mut world = disturbed(&["delay 100ms in", "reorder 25% in"]);
        let swift = (0..200).filter(|_| takes(&mut world, "a -> 10.0.0.2:80/udp") == 0).count();
        assert!((25..75).contains(&swift), "{swift} of 200");
        let refused = disturb(&mut disturbed(&[]), "reorder 25%").unwrap_err();
        assert_eq!(refused, "reordering not possible without specifying some delay");
    }

    #[test]
    fn what_is_duplicated_arrives_twice_and_is_answered_twice() {
        let answer = probe(&mut disturbed(&["duplicate 100% in"]), "a -> 10.0.0.2:80/udp");
        let delivered = |hop: &&crate::trace::Hop| {
            hop.ns.as_str() == "b" && matches!(hop.event, Happened::Deliver { .. })
        };
        assert_eq!(answer.trace.hops.iter().filter(delivered).count(), 2);
        assert_eq!(
            ask(&mut disturbed(&["duplicate 100%"]), "a -> 10.0.0.2:80/tcp"),
            "reaches b:80 from 10.0.0.1"
        );
    }

    #[test]
    fn a_rate_takes_its_time_for_every_byte_on_the_wire() {
        // 1000 bytes, and headers of UDP, IPv4 and Ethernet: 1042 bytes at 8 bits a byte.
        assert_eq!(takes(&mut disturbed(&["rate 8kbit in"]), "a -> 10.0.0.2:80/udp,size=1000"), 1042);
        assert_eq!(takes(&mut disturbed(&["rate 1mbit in"]), "a -> 10.0.0.2:80/udp,size=1000"), 8);
    }

    #[test]
    fn frames_wait_for_each_other_and_a_thousand_is_enough() {
        let (mut faults, mut seed) = (Faults { rate: Some(8_000), ..Faults::default() }, Seed::new(1));
        for waits in 1..=1000 {
            let fate = faults.fate(86, 0, &mut seed);
            assert_eq!(fate, Fate::Passes { after_us: waits * 100_000, marred: false });
            faults.waiting += 1;
        }
        assert!(matches!(faults.fate(86, 0, &mut seed), Fate::Lost(DropReason::QdiscDrop, _)));
    }

    #[test]
    fn a_wire_that_flaps_is_cut_and_whole_in_turn() {
        let mut world = disturbed(&["flap 6s"]);
        let mut ask = |wait_s: u64| {
            world.advance_ms(wait_s * 1000);
            ask(&mut world, "a -> 10.0.0.2:80/udp")
        };
        let reaches = "reaches b:80 from 10.0.0.1";
        assert_eq!([ask(0), ask(2), ask(3)], ["dropped", reaches, reaches]);
        assert_eq!([ask(3), ask(2)], ["dropped", reaches]);
    }

    #[test]
    fn b5_a_smaller_mtu_is_the_devices_own_until_it_is_healed() {
        let mtu = |world: &World| {
            let ns = world.spaces[&seatrial_core::plan::NsName::from("b")];
            world.devices[world.device(ns, &name("eth0")).unwrap()].mtu
        };
        let mut world = disturbed(&["mtu 1400", "mtu 1300"]);
        assert_eq!(mtu(&world), 1300);
        // The cable takes nothing that is longer than its other end's MTU and a VLAN tag.
        let answer = probe(&mut world, "a -> 10.0.0.2/icmp,size=1400,df");
        assert_eq!(dropped(&answer).0, "PKT_TOO_BIG");
        disturb(&mut world, "heal").unwrap();
        assert_eq!(mtu(&world), 1500);
    }

    #[test]
    fn a_healed_wire_is_as_it_was() {
        let faults =
            ["cut", "loss 100%", "delay 4s", "duplicate 100%", "corrupt 100%", "rate 1kbit", "flap 9s"];
        let mut world = disturbed(&faults);
        disturb(&mut world, "heal").unwrap();
        assert_eq!(takes(&mut world, "a -> 10.0.0.2:80/udp"), 0);
    }
}
