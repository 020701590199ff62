//! Chance comes from the seed, and from nowhere else.

use seatrial_core::probe::Outcome;
use seatrial_sim::world::Answer;

use super::{Told, Voyage, sail, trial, trials};

/// What a person is shown of it, to the byte.
fn text(voyage: &Voyage) -> String {
    let told = voyage.told.iter().map(|told| match told {
        Told::Asked(probe, Answer { outcome, trace }) => format!("{probe} {outcome}\n{trace}"),
        Told::Did(step) => format!("{step}\n"),
    });
    told.collect()
}

/// What is asserted of it: no port, no time.
fn outcomes(voyage: &Voyage) -> Vec<&Outcome> {
    let outcome = |told| match told {
        &Told::Asked(_, Answer { ref outcome, .. }) => Some(outcome),
        Told::Did(_) => None,
    };
    voyage.told.iter().filter_map(outcome).collect()
}

#[test]
fn the_same_plan_trial_and_seed_give_the_same_events_and_the_same_trace() {
    for path in trials() {
        for seed in [1, u64::MAX] {
            let (first, second) = (sail(&trial(&path), seed), sail(&trial(&path), seed));
            assert_eq!(first.digests, second.digests, "{}, seed {seed}", path.display());
            assert_eq!(text(&first), text(&second), "{}, seed {seed}", path.display());
            assert_eq!(first, second, "{}, seed {seed}", path.display());
        }
    }
}

#[test]
fn another_seed_gives_other_events_and_the_same_outcomes() {
    let mut others = 0;
    for path in trials() {
        let trial = trial(&path);
        let first = sail(&trial, 1);
        for seed in [2, 3, 4, 5, 0x5ea7_12a1] {
            let other = sail(&trial, seed);
            assert_eq!(outcomes(&other), outcomes(&first), "{}, seed {seed}", path.display());
            others += usize::from(other.digests != first.digests);
        }
    }
    assert!(others > 300, "the seed made a difference {others} times");
}
