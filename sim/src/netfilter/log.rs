//! Where the hops of a packet are noted, if anybody wants them.

use seatrial_core::addr::IfName;
use seatrial_core::plan::NsName;

use crate::packet::Packet;
use crate::trace::{Event, Hop};

/// A list of hops, or nothing: then no event is made at all.
pub(super) struct Log<'a>(Option<Open<'a>>);

struct Open<'a> {
    hops: &'a mut Vec<Hop>,
    place: Place<'a>,
    packet: Packet,
}

/// When and where it happens, and to which packet.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub at_us: u64,
    pub flight: u32,
    pub ns: &'a NsName,
    pub device: Option<&'a IfName>,
}

impl<'a> Log<'a> {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// A log of what happens to `packet` from now on.
    pub(super) fn new(hops: Option<&'a mut Vec<Hop>>, place: Place<'a>, packet: &Packet) -> Self {
        Self(hops.map(|hops| Open { hops, place, packet: *packet }))
    }

    #[inline]
    pub(super) fn note(&mut self, event: impl FnOnce() -> Event) {
        if self.0.is_some() {
            self.note_some(|| Some(event()));
        }
    }

    pub(super) fn note_some(&mut self, event: impl FnOnce() -> Option<Event>) {
        let Some(open) = &mut self.0 else { return };
        let Some(event) = event() else { return };
        let Place { at_us, flight, ns, device } = open.place;
        let (ns, device) = (ns.clone(), device.cloned());
        open.hops.push(Hop { at_us, flight, ns, device, packet: open.packet, event });
    }

    /// Notes that the packet was rewritten, if it was.
    #[inline]
    pub(super) fn rewritten(&mut self, after: &Packet) {
        if self.0.is_some() {
            self.note_rewritten(after);
        }
    }

    fn note_rewritten(&mut self, after: &Packet) {
        if self.0.as_ref().is_some_and(|open| open.packet != *after) {
            self.note(|| Event::Rewrite { after: *after });
        }
        if let Some(open) = &mut self.0 {
            open.packet = *after;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |open| open.hops.len())
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if let Some(open) = &mut self.0 {
            open.hops.truncate(len);
        }
    }
}
