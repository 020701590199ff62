//! Virtual time: what happens next, and nothing in between.
//!
//! Events come out by time, and those of one time in the order they went in, so that a run is the same every time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A millisecond in microseconds.
pub(crate) const MS: u64 = 1000;
/// A second in microseconds.
pub(crate) const SECOND: u64 = 1_000_000;
/// What happens this soon or sooner is most of what happens: frames that cross.
const SOON_US: u64 = 1;

/// The time, and what is to happen.
#[derive(Debug, Clone)]
pub(crate) struct Clock<E> {
    now_us: u64,
    scheduled: u64,
    /// In the order they happen: time only ever goes on, and so what is put in last is due last.
    soon: VecDeque<Scheduled<E>>,
    later: BinaryHeap<Reverse<Scheduled<E>>>,
}

/// An event, ordered by its time and its number alone.
#[derive(Debug, Clone)]
struct Scheduled<E> {
    at_us: u64,
    number: u64,
    event: E,
}

impl<E> Clock<E> {
    /// Time zero, and nothing to do.
    pub(crate) const fn new() -> Self {
        Self { now_us: 0, scheduled: 0, soon: VecDeque::new(), later: BinaryHeap::new() }
    }

    /// Microseconds since the world was built.
    pub(crate) const fn now_us(&self) -> u64 {
        self.now_us
    }

    /// How many events are waiting that are due at once: no timers.
    pub(crate) fn waiting(&self) -> usize {
        self.soon.len()
    }

    /// What waits, in no order.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> impl Iterator<Item = &E> {
        let later = self.later.iter().map(|Reverse(scheduled)| scheduled);
        self.soon.iter().chain(later).map(|scheduled| &scheduled.event)
    }

    /// Lets `event` happen `delay_us` from now.
    pub(crate) fn after(&mut self, delay_us: u64, event: E) {
        let at_us = self.now_us.saturating_add(delay_us);
        let scheduled = Scheduled { at_us, number: self.scheduled, event };
        self.scheduled += 1;
        if delay_us <= SOON_US && self.soon.back().is_none_or(|last| last.at_us <= at_us) {
            self.soon.push_back(scheduled);
        } else {
            self.later.push(Reverse(scheduled));
        }
    }

    /// The next event no later than `until_us`, and on to its time.
    pub(crate) fn next(&mut self, until_us: u64) -> Option<E> {
        let (soon, later) = (self.soon.front(), self.later.peek().map(|Reverse(later)| later));
        let is_soon = match (soon, later) {
            (Some(soon), Some(later)) => soon < later,
            (soon, _) => soon.is_some(),
        };
        let at_us = if is_soon { soon } else { later }?.at_us;
        if at_us > until_us {
            return None;
        }
        self.now_us = at_us;
        if is_soon {
            self.soon.pop_front().map(|next| next.event)
        } else {
            self.later.pop().map(|Reverse(next)| next.event)
        }
    }

    /// On to a time, if it is not past; what was due before must have happened.
    pub(crate) fn advance_to(&mut self, at_us: u64) {
        self.now_us = self.now_us.max(at_us);
    }
}

impl<E> Scheduled<E> {
    const fn key(&self) -> (u64, u64) {
        (self.at_us, self.number)
    }
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Scheduled<E> {}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_time_happen_in_the_order_they_were_scheduled() {
        let mut clock = Clock::new();
        for name in ["a", "b", "c"] {
            clock.after(5, name);
        }
        clock.after(1, "first");
        let order: Vec<&str> = std::iter::from_fn(|| clock.next(10)).collect();
        assert_eq!(order, ["first", "a", "b", "c"]);
        assert_eq!(clock.now_us(), 5);
    }

    #[test]
    fn near_and_far_events_happen_in_the_order_of_time() {
        let mut clock = Clock::new();
        let mut order = Vec::new();
        clock.after(2, "timer at 2");
        clock.after(1, "frame at 1");
        clock.after(0, "frame at 0");
        while let Some(event) = clock.next(10) {
            order.push(event);
            if event == "frame at 1" {
                clock.after(1, "frame at 2");
                clock.after(0, "another at 1");
            }
        }
        assert_eq!(order, ["frame at 0", "frame at 1", "another at 1", "timer at 2", "frame at 2"]);
    }

    #[test]
    fn an_event_past_the_limit_waits() {
        let mut clock = Clock::new();
        clock.after(11, ());
        assert_eq!(clock.next(10), None);
        assert_eq!((clock.now_us(), clock.waiting()), (0, 0));
        clock.advance_to(10);
        assert_eq!(clock.next(11), Some(()));
    }
}
