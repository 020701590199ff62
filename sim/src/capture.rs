//! What a sniffer on every device sees of a probe: frames as bytes, with the rules that they met.
//!
//! A packet in here has no bytes; a capture makes them, the same for the same packet.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

use pcap_file::PcapError;
use seatrial_core::addr::MacAddr;
use seatrial_core::probe::Way;
use seatrial_core::topology::NodeName;

use crate::arena::{DevId, Id as _, NsId};
use crate::packet::{L4, Payload};
use crate::skb::{Frame, Framed, Skb};
use crate::trace::{Event as Happened, Hop, RuleHit};
use crate::world::World;

mod bytes;
mod pcapng;
mod transport;

/// Frames on devices, in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture {
    interfaces: Vec<Interface>,
    frames: Vec<Seen>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    /// `host/eth0`: its namespace and its name.
    name: String,
    /// What it is: `bridge port`.
    kind: &'static str,
    mac: MacAddr,
}

/// A frame on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    at_us: u64,
    interface: u32,
    way: Way,
    bytes: Vec<u8>,
    /// The rules that it met, and what dropped it.
    comments: Vec<String>,
}

/// A frame, when it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    at_us: u64,
    dev: DevId,
    way: Way,
    framed: Framed,
    /// Hops written so far.
    hops: usize,
}

impl Capture {
    /// Writes it as pcapng: a block for each device, virtual time since 1970, rules as comments.
    ///
    /// # Errors
    /// What `out` answers.
    pub fn write_to(&self, out: impl Write) -> io::Result<()> {
        pcapng::write(self, out).map_err(|error| {
            // Whatever else can be wrong is wrong with a file that is read.
            if let PcapError::IoError(error) = error { error } else { io::Error::other(error) }
        })
    }

    /// What was seen, with the hops of all packets.
    pub(crate) fn develop(world: &World, tape: &[Shot], hops: &[Hop]) -> Self {
        let interface = |dev: DevId| {
            let device = &world.devices[dev];
            let name = format!("{}/{}", world.stacks[device.ns].name.as_str(), device.name);
            Interface { name, kind: world.place(dev).as_str(), mac: device.mac }
        };
        let interfaces = world.devices.iter().map(|(dev, _)| interface(dev)).collect();
        let mut frames = Vec::new();
        for (shot, mut comments) in tape.iter().zip(comments(world, tape, hops)) {
            for bytes in bytes::frames(&shot.framed, world.said(&shot.framed)) {
                let (at_us, interface, way) = (shot.at_us, shot.dev.position(), shot.way);
                let comments = std::mem::take(&mut comments);
                frames.push(Seen { at_us, interface, way, bytes, comments });
            }
        }
        Self { interfaces, frames }
    }
}

/// What is said of each shot: of a frame that came in, what became of it there; of one that goes out and began there,
/// how it came to be; and what dropped it.
fn comments(world: &World, tape: &[Shot], hops: &[Hop]) -> Vec<Vec<String>> {
    let mut packets: BTreeMap<(u32, NsId), Vec<usize>> = BTreeMap::new();
    for (at, shot) in tape.iter().enumerate() {
        let key = (shot.framed.meta().flight, world.devices[shot.dev].ns);
        packets.entry(key).or_default().push(at);
    }
    let mut comments = vec![Vec::new(); tape.len()];
    for ((flight, ns), shots) in packets.iter().filter(|((flight, _), _)| *flight > 0) {
        let ns = &world.stacks[*ns].name;
        let told = |range: Range<usize>| {
            let hops = hops.get(range).unwrap_or_default();
            hops.iter().filter(|hop| hop.flight == *flight && hop.ns == *ns)
        };
        let mut before = Some(0);
        for (i, at) in shots.iter().enumerate() {
            let (shot, next) = (&tape[*at], shots.get(i + 1).map_or(hops.len(), |next| tape[*next].hops));
            let after = told(shot.hops..next);
            comments[*at] = match shot.way {
                Way::In => after.filter_map(comment).collect(),
                Way::Out | Way::Both => {
                    let before = before.into_iter().flat_map(|before| told(before..shot.hops));
                    let made = before.filter(|hop| !is_drop(hop));
                    made.chain(after.filter(|hop| is_drop(hop))).filter_map(comment).collect()
                }
            };
            before = (shot.way != Way::In).then_some(shot.hops);
        }
    }
    comments
}

const fn is_drop(hop: &Hop) -> bool {
    matches!(hop.event, Happened::Drop { .. })
}

/// A hop in a line, if it is a rule's or a drop.
fn comment(hop: &Hop) -> Option<String> {
    match &hop.event {
        Happened::Rule(RuleHit { table, chain, number, text, verdict, .. }) => {
            let text = text.strip_prefix(&format!("-A {chain} ")).unwrap_or(text);
            Some(format!("{table} {chain} rule {number} {verdict}: {text}"))
        }
        Happened::Policy { table, chain, verdict, .. } => Some(format!("{table} {chain} policy {verdict}")),
        Happened::Drop { reason, why } => Some(format!("dropped {reason}: {why}")),
        Happened::Send { .. } | Happened::Route { .. } | Happened::Conntrack { .. } => None,
        Happened::Rewrite { .. } | Happened::Bridge { .. } | Happened::Cross { .. } => None,
        Happened::Neighbour { .. } | Happened::Deliver { .. } | Happened::Proxied { .. } => None,
        Happened::Answer { .. } => None,
    }
}

impl World {
    /// Notes a frame on a device, where a capture is made; on `lo` only as it comes in, as sniffers do.
    #[inline]
    pub(crate) fn film(&mut self, dev: DevId, way: Way, frame: &Frame<'_>) {
        if self.tape.is_some() {
            self.shoot(dev, way, frame);
        }
    }

    fn shoot(&mut self, dev: DevId, way: Way, frame: &Frame<'_>) {
        let hops = self.hops.as_ref().map_or(0, Vec::len);
        let twice = way == Way::Out && self.devices[dev].is_loopback();
        if let Some(tape) = self.tape.as_mut().filter(|_| !twice) {
            tape.push(Shot { at_us: self.clock.now_us(), dev, way, framed: frame.copy(), hops });
        }
    }

    /// What a packet's payload says, in bytes: a name query is one, and of a probe it is text. Readers guess by a port's
    /// number what is meant: a datagram's text stands behind an empty DNS message, so that on port 53 it is not broken.
    fn said(&self, framed: &Framed) -> Vec<u8> {
        let Framed::Ip(Skb { packet, .. }) = framed else { return Vec::new() };
        let empty: &[u8] = if matches!(packet.l4, L4::Udp(_)) { &[0; 12] } else { &[] };
        let text = |words: String| [empty, words.as_bytes()].concat();
        let mut said = match packet.payload {
            Payload::Empty => Vec::new(),
            Payload::Ask(nonce) => text(format!("ask {:016x}", nonce.0)),
            Payload::Answer { nonce, node, port, saw } => {
                let node = self.nodes.get_index(node.into()).map_or("", NodeName::as_str);
                text(format!("answer {:016x} of {node} port {port} to {saw}", nonce.0))
            }
            Payload::Query(number) => self.names.query_bytes(number),
            Payload::Reply(number) => self.names.reply_bytes(number),
        };
        said.resize(usize::from(packet.size), 0);
        said
    }
}
