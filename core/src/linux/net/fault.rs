//! Faults of a device's wire: what passes it is taken away, in either direction, while the link stays up.
//!
//! A filter of a few instructions (man 8 tc-bpf) stands on both ways through the device (`clsact`): netem is not in every
//! kernel, and stands on the way out alone. Rules of netfilter would do it too, but somebody's `nft flush ruleset` would
//! heal the wire. The MTU is the device's own, and what it was is kept here. What is taken is *stolen*: a drop on the way out is told to whoever sends (`NET_XMIT_DROP`, which a
//! socket with `IP_RECVERR` gets as ENOBUFS), and a cut cable tells nobody.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use nix::errno::Errno;
use nix::libc::{
    BPF_ABS, BPF_ALU, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_MOD, BPF_RET, BPF_W, ETH_P_ALL, SKF_AD_OFF,
    SKF_AD_RANDOM,
};

use super::Net;
use super::socket::Refusal;
use crate::addr::IfName;
use crate::linux::Error;
use crate::probe::{Fault, Way};

/// `TCA_BPF_OPS_LEN` and `TCA_BPF_OPS` (include/uapi/linux/pkt_cls.h).
const OPS_LEN: u16 = 4;
const OPS: u16 = 5;

/// Verdicts of a filter (include/uapi/linux/pkt_cls.h): the packet is gone without a word, or the next filter is asked.
const TC_ACT_STOLEN: u32 = 4;
const TC_ACT_UNSPEC: u32 = u32::MAX;

/// Where filters stand: the number of `clsact`, which has no other.
const CLSACT: u16 = 0xffff;

/// Each fault has a place of its own: a wire that is cut keeps its loss, and what is lost is not held.
pub(super) mod priority {
    pub(in super::super) const CUT: u16 = 1;
    pub(in super::super) const LOSS: u16 = 2;
    pub(in super::super) const DIVERT: u16 = 3;
}
use priority::{CUT, LOSS};

const CLS_BPF: &str = "a kernel with CONFIG_NET_CLS_ACT, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF \
                       (modules sch_ingress, cls_bpf)";

/// One instruction of classic BPF (`struct sock_filter`).
struct Op {
    code: u32,
    if_so: u8,
    k: u32,
}

impl Op {
    const fn new(code: u32, k: u32) -> Self {
        Self { code, if_so: 0, k }
    }

    fn bytes(&self) -> [u8; 8] {
        // A code is one of a few hundred.
        let [c0, c1] = (self.code as u16).to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        [c0, c1, self.if_so, 0, k0, k1, k2, k3]
    }
}

impl Net {
    /// Does something to the wire of a device.
    ///
    /// # Errors
    /// Where there is no such device, or the kernel has no such filters.
    pub fn fault(&self, device: &IfName, fault: Fault) -> Result<(), Error> {
        let done = self.socket.index(device).and_then(|index| match fault {
            Fault::Cut(way) => self.filter(index, way, CUT, &[Op::new(BPF_RET | BPF_K, TC_ACT_STOLEN)]),
            Fault::Loss(way, percent) => self.filter(index, way, LOSS, &lossy(percent)),
            // Nothing is sent any more to a device that is about to go.
            Fault::Heal => {
                self.heal(index).and_then(|()| self.still(index)).and_then(|()| self.restore_mtu(device))
            }
            Fault::Mtu(mtu) => self.disturb_mtu(device, mtu),
            Fault::Delay(way, ..) | Fault::Reorder(way, _) | Fault::Duplicate(way, _) => {
                self.netem(index, way, fault)
            }
            Fault::Rate(way, _) => self.netem(index, way, fault),
            Fault::Corrupt(..) => Err(Refusal {
                missing: Some("lane sim can".to_owned()),
                ..Refusal::words("no kernel leaves the Ethernet header alone when it corrupts a frame")
            }),
            Fault::Flap(_) => Err(Refusal {
                missing: Some("lane sim can".to_owned()),
                ..Refusal::words("no kernel cuts and heals a wire by itself")
            }),
        });
        done.map_err(|refusal| self.error("disturb", format!("the wire of {device}"), refusal))
    }

    /// Puts a filter on one way or both, in the place of one that is there.
    fn filter(&self, index: u32, way: Way, place: u16, program: &[Op]) -> Result<(), Refusal> {
        self.both_ways(index)?;
        let ways = [(way.is_in(), TcHandle::MIN_INGRESS), (way.is_out(), TcHandle::MIN_EGRESS)];
        for (_, parent) in ways.into_iter().filter(|(meant, _)| *meant) {
            let message = RouteNetlinkMessage::NewTrafficFilter(filter(index, parent, place, program));
            self.socket.ask(message, NLM_F_CREATE).map_err(lacking)?;
        }
        Ok(())
    }

    /// Makes the place of filters for both ways; says whether there was none.
    pub(super) fn both_ways(&self, index: u32) -> Result<bool, Refusal> {
        let both_ways = RouteNetlinkMessage::NewQueueDiscipline(clsact(index));
        match self.socket.ask(both_ways, NLM_F_CREATE | NLM_F_EXCL) {
            Err(refusal) if refusal.is(Errno::EEXIST) => Ok(false),
            made => made.map(|_| true).map_err(lacking),
        }
    }

    /// Takes away the place of filters, and all of them.
    pub(super) fn heal(&self, index: u32) -> Result<(), Refusal> {
        match self.socket.ask(RouteNetlinkMessage::DelQueueDiscipline(clsact(index)), 0) {
            // A wire without a fault.
            Err(refusal) if refusal.is(Errno::ENOENT) || refusal.is(Errno::EINVAL) => Ok(()),
            gone => gone.map(drop),
        }
    }
}

fn lacking(refusal: Refusal) -> Refusal {
    refusal.lacks(Errno::ENOENT, CLS_BPF).lacks(Errno::EOPNOTSUPP, CLS_BPF)
}

/// Takes so many of a hundred.
fn lossy(percent: u8) -> [Op; 5] {
    // The kernel reads the offset as the number it is below zero.
    let random = (SKF_AD_OFF + SKF_AD_RANDOM) as u32;
    [
        Op::new(BPF_LD | BPF_W | BPF_ABS, random),
        Op::new(BPF_ALU | BPF_MOD | BPF_K, 100),
        Op { if_so: 1, ..Op::new(BPF_JMP | BPF_JGE | BPF_K, percent.into()) },
        Op::new(BPF_RET | BPF_K, TC_ACT_STOLEN),
        Op::new(BPF_RET | BPF_K, TC_ACT_UNSPEC),
    ]
}

/// The place of filters for both ways (net/sched/sch_ingress.c).
fn clsact(index: u32) -> TcMessage {
    let header = TcHeader {
        // A device's number is a positive int.
        index: index as i32,
        parent: TcHandle::CLSACT,
        handle: TcHandle { major: CLSACT, minor: 0 },
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, vec![TcAttribute::Kind("clsact".to_owned())])
}

/// A filter for every protocol, in one of the places there are.
fn place(index: u32, way: u16, place: u16) -> TcHeader {
    let every_protocol = u32::from((ETH_P_ALL as u16).to_be());
    TcHeader {
        index: index as i32,
        parent: TcHandle { major: CLSACT, minor: way },
        handle: TcHandle { major: 0, minor: 1 },
        info: u32::from(place) << 16 | every_protocol,
        ..TcHeader::default()
    }
}

/// A filter of what comes in.
pub(super) fn ingress(index: u32, priority: u16) -> TcHeader {
    place(index, TcHandle::MIN_INGRESS, priority)
}

fn filter(index: u32, way: u16, priority: u16, program: &[Op]) -> TcMessage {
    let header = place(index, way, priority);
    let code: Vec<u8> = program.iter().flat_map(Op::bytes).collect();
    // A program has a handful of instructions.
    let length = (program.len() as u16).to_ne_bytes().to_vec();
    let options = [
        TcFilterBpfOption::Other(DefaultNla::new(OPS_LEN, length)),
        TcFilterBpfOption::Other(DefaultNla::new(OPS, code)),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    let options = TcAttribute::Options(options.into_iter().map(TcOption::Bpf).collect());
    TcMessage::from_parts(header, vec![TcAttribute::Kind("bpf".to_owned()), options])
}
