//! Faults of time and number, by netem (man 8 tc-netem), which stands on the way out of a device alone: what comes in is
//! sent through a device that is made for it (`ifb`), and comes in behind that.
//!
//! `corrupt` is not done so: netem's wrong bit may be in the Ethernet header (`netem_enqueue`, net/sched/sch_netem.c), and
//! what comes in has that one behind it.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirrorOption, TcActionOption, TcActionType, TcAttribute,
    TcFilterMatchAllOption, TcHandle, TcHeader, TcMessage, TcMirror, TcMirrorActionType, TcOption,
};
use nix::errno::Errno;

use super::Net;
use super::fault::{ingress, priority};
use super::socket::Refusal;
use crate::addr::IfName;
use crate::probe::{Fault, Way};

/// How many frames wait at most, as in the simulator.
const LIMIT: u32 = 1000;
/// `TCA_OPTIONS` (include/uapi/linux/rtnetlink.h).
const OPTIONS: u16 = 2;
/// Attributes of netem (include/uapi/linux/pkt_sched.h).
const REORDER: u16 = 3;
const RATE: u16 = 6;
const RATE64: u16 = 8;
const LATENCY64: u16 = 10;
const JITTER64: u16 = 11;
/// A millisecond, in nanoseconds.
const MS: i64 = 1_000_000;

const NETEM: &str = "a kernel with CONFIG_NET_SCH_NETEM (module sch_netem)";
const IFB: &str = "a kernel with CONFIG_IFB, CONFIG_NET_ACT_MIRRED and CONFIG_NET_CLS_MATCHALL (modules ifb, act_mirred, cls_matchall)";

/// What is done to frames on one way through a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Netem {
    delay_ms: u64,
    jitter_ms: u64,
    reorder: u8,
    duplicate: u8,
    /// Bits a second.
    rate: Option<u64>,
}

/// What is done on both; what does nothing stands there too.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Disturbed {
    into: Option<Netem>,
    out: Option<Netem>,
}

impl Netem {
    /// A fault takes the place of the last of its kind.
    const fn take(&mut self, fault: Fault) {
        match fault {
            Fault::Delay(_, delay_ms, jitter_ms) => {
                self.delay_ms = delay_ms;
                self.jitter_ms = jitter_ms;
            }
            Fault::Reorder(_, percent) => self.reorder = percent,
            Fault::Duplicate(_, percent) => self.duplicate = percent,
            Fault::Rate(_, rate) => self.rate = Some(rate),
            Fault::Heal | Fault::Cut(_) | Fault::Loss(..) | Fault::Corrupt(..) => {}
            Fault::Mtu(_) | Fault::Flap(_) => {}
        }
    }

    /// `struct tc_netem_qopt`, and the attributes behind it.
    fn options(&self) -> Vec<u8> {
        // A frame that is not held overtakes all that are, at once (`gap`).
        let gap = u32::from(self.reorder > 0);
        let head = [0, LIMIT, 0, gap, probability(self.duplicate), 0];
        let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let ns = |ms: u64| (i64::try_from(ms).unwrap_or(i64::MAX / MS) * MS).to_ne_bytes();
        attribute(&mut bytes, LATENCY64, &ns(self.delay_ms));
        attribute(&mut bytes, JITTER64, &ns(self.jitter_ms));
        if self.reorder > 0 {
            attribute(&mut bytes, REORDER, &words([probability(self.reorder), 0]));
        }
        if let Some(rate) = self.rate {
            let rate = (rate / 8).max(1);
            if u32::try_from(rate).is_err() {
                attribute(&mut bytes, RATE64, &rate.to_ne_bytes());
            }
            // What does not fit is in the other attribute.
            attribute(&mut bytes, RATE, &words([u32::try_from(rate).unwrap_or(u32::MAX), 0, 0, 0]));
        }
        bytes
    }
}

/// So many of a hundred, as a part of all 32-bit numbers.
fn probability(percent: u8) -> u32 {
    let part = u64::from(percent) * u64::from(u32::MAX) / 100;
    u32::try_from(part).unwrap_or(u32::MAX)
}

fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Puts an attribute behind others; all of these have a length that four divides.
fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // A value has a few bytes.
    bytes.extend((value.len() as u16 + 4).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
}

impl Net {
    /// Does what only netem does. What comes in needs more of a kernel, and is done first: one that has not all of it is left
    /// as it was.
    pub(super) fn netem(&self, index: u32, way: Way, fault: Fault) -> Result<(), Refusal> {
        let Disturbed { into, out } = self.disturbed.borrow().get(&index).copied().unwrap_or_default();
        let with = |before: Option<Netem>| {
            let mut netem = before.unwrap_or_default();
            netem.take(fault);
            netem
        };
        if way.is_in() {
            let netem = with(into);
            self.divert(index, &netem)?;
            self.note(index, |disturbed| disturbed.into = Some(netem));
        }
        if way.is_out() {
            let netem = with(out);
            self.queue(index, &netem)?;
            self.note(index, |disturbed| disturbed.out = Some(netem));
        }
        Ok(())
    }

    /// Takes away what netem does to a device to which nothing is redirected any more.
    pub(super) fn still(&self, index: u32) -> Result<(), Refusal> {
        let Disturbed { into, out } = self.disturbed.borrow().get(&index).copied().unwrap_or_default();
        if into.is_some() {
            self.unmake_link(&through(index)?)?;
            self.note(index, |disturbed| disturbed.into = None);
        }
        if out.is_some() {
            self.socket.ask(RouteNetlinkMessage::DelQueueDiscipline(root(index)), 0)?;
            self.note(index, |disturbed| disturbed.out = None);
        }
        Ok(())
    }

    /// Keeps in mind what is done to a device by now.
    fn note(&self, index: u32, what: impl FnOnce(&mut Disturbed)) {
        what(self.disturbed.borrow_mut().entry(index).or_default());
    }

    /// Puts netem on the way out of a device.
    fn queue(&self, index: u32, netem: &Netem) -> Result<(), Refusal> {
        let mut message = root(index);
        message.attributes.push(TcAttribute::Kind("netem".to_owned()));
        message.attributes.push(TcAttribute::Other(DefaultNla::new(OPTIONS, netem.options())));
        let asked =
            self.socket.ask(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE);
        asked.map(drop).map_err(|refusal| refusal.lacks(Errno::ENOENT, NETEM))
    }

    /// Sends what comes in by a device through another, with netem on the way out of that.
    fn divert(&self, index: u32, netem: &Netem) -> Result<(), Refusal> {
        let through = through(index)?;
        match self.socket.index(&through) {
            Ok(there) => return self.queue(there, netem),
            Err(refusal) if refusal.is(Errno::ENODEV) => {}
            Err(refusal) => return Err(refusal),
        }
        self.create(vec![
            LinkAttribute::IfName(through.as_str().to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]),
        ])
        .map_err(|refusal| refusal.lacks(Errno::EOPNOTSUPP, IFB))?;
        self.lead(index, &through, netem).map_err(|refusal| refusal.with(self.unmake_link(&through)))
    }

    /// Readies a device for what comes in by another, and redirects that last.
    fn lead(&self, index: u32, through: &IfName, netem: &Netem) -> Result<(), Refusal> {
        self.set_up(through, true)?;
        let there = self.socket.index(through)?;
        self.queue(there, netem)?;
        let made = self.both_ways(index)?;
        let redirect = RouteNetlinkMessage::NewTrafficFilter(redirect(index, there));
        let asked = self.socket.ask(redirect, NLM_F_CREATE).map(drop);
        asked.map_err(|refusal| {
            let refusal = refusal.lacks(Errno::ENOENT, IFB);
            if made { refusal.with(self.heal(index)) } else { refusal }
        })
    }
}

/// The device that what comes in by another is sent through.
fn through(index: u32) -> Result<IfName, Refusal> {
    format!("in{index}").parse().map_err(|e| Refusal::words(format!("{e}")))
}

fn root(index: u32) -> TcMessage {
    // A device's number is a positive int.
    let header = TcHeader { index: index as i32, parent: TcHandle::ROOT, ..TcHeader::default() };
    TcMessage::from_parts(header, Vec::new())
}

/// All that comes in, and that no filter before it has taken, goes out by another device.
fn redirect(index: u32, to: u32) -> TcMessage {
    let mut mirror = TcMirror::default();
    mirror.generic.action = TcActionType::Stolen;
    mirror.eaction = TcMirrorActionType::EgressRedir;
    mirror.ifindex = to;
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind("mirred".to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))]),
    ];
    let options = TcFilterMatchAllOption::Action(vec![action]);
    let options = TcAttribute::Options(vec![TcOption::MatchAll(options)]);
    let attributes = vec![TcAttribute::Kind("matchall".to_owned()), options];
    TcMessage::from_parts(ingress(index, priority::DIVERT), attributes)
}
