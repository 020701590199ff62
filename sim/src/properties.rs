//! What holds of any network, whatever is asked of it and whatever goes wrong with it.
//!
//! * `shape`: a network that Docker would make, small and random. `voyage`: what is done to it, and asked.
//! * `backends`: Engine 29 with iptables and with nftables, side by side.
//! * `watch`: checkers that look at every event, outside the code they check. `plant`: mistakes for them to find.
//!
//! `SEATRIAL_SEED` is the seed of every case; a failure says how to see it again.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a checker looks at what it is about, and at nothing else"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

pub(crate) use self::plant::Bug;
use self::shape::Shape;
use self::voyage::{Act, Voyage};
use self::watch::Mark;

mod backends;
mod fib;
mod plant;
mod shape;
mod voyage;
pub(crate) mod watch;

/// How many voyages are made.
const CASES: u32 = 400;
/// And how many to find a mistake that was planted.
const HUNT: u32 = 400;

/// A network, the kinds of fault that there are in it, and what happens.
type Case = (Shape, Vec<Act>);

fn case() -> impl Strategy<Value = Case> {
    (shape::shape(), voyage::acts())
}

/// The seed of all cases, from SEATRIAL_SEED.
#[expect(clippy::disallowed_methods, reason = "tests are run by people, who have an environment")]
fn base() -> u64 {
    let given = std::env::var("SEATRIAL_SEED").ok();
    given.map_or(1, |seed| seed.parse().unwrap_or_else(|_| panic!("SEATRIAL_SEED={seed} is no number")))
}

fn runner(base: u64, cases: u32, max_shrink_iters: u32) -> TestRunner {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&base.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let config = Config { cases, failure_persistence: None, max_shrink_iters, ..Config::default() };
    TestRunner::new_with_rng(config, rng)
}

/// The words of a failure, with the way to see it again.
fn again(test: &str, why: &str, case: &impl std::fmt::Debug) -> String {
    format!(
        "{why}\nsmallest case: {case:?}\nsee it again with\n  SEATRIAL_SEED={} cargo test -p seatrial-sim --lib -- \
         properties::{test}",
        base()
    )
}

/// Tries a property of all cases, and panics with the smallest that it does not hold of.
fn hold<S: Strategy>(test: &str, cases: u32, strategy: &S, property: impl Fn(S::Value) -> Result<(), String>)
where
    S::Value: std::fmt::Debug,
{
    let ran = runner(base(), cases, 500).run(strategy, |case| property(case).map_err(TestCaseError::fail));
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{}", again(test, why.message(), &case)),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Goes on a voyage; what was met, and the first thing that must not be.
fn sail((shape, acts): &Case, bug: Option<Bug>) -> (BTreeMap<Mark, usize>, Result<(), String>) {
    let mut voyage = Voyage::new(shape, bug);
    let done = voyage.run(acts);
    (voyage.marks(), done)
}

#[test]
fn nothing_that_must_not_be_happens_on_any_voyage_and_everything_rare_happens_on_some() {
    let met = std::cell::RefCell::new(BTreeMap::<Mark, usize>::new());
    let test = "nothing_that_must_not_be_happens_on_any_voyage_and_everything_rare_happens_on_some";
    hold(test, CASES, &case(), |case| {
        let (marks, done) = sail(&case, None);
        marks.into_iter().for_each(|(mark, count)| *met.borrow_mut().entry(mark).or_default() += count);
        done
    });
    let met = met.into_inner();
    let never: Vec<Mark> = Mark::ALL.into_iter().filter(|mark| !met.contains_key(mark)).collect();
    assert!(never.is_empty(), "{}", again(test, &format!("never met: {never:?}"), &met));
}

/// A case with nothing in it that can be left out: proptest tries to leave out each thing only once.
fn least((shape, acts): Case, fails: impl Fn(&Case) -> bool) -> Case {
    let plain = voyage::plain(&shape, &acts);
    let mut case = (shape, plain);
    loop {
        let (shape, acts) = &case;
        let with = |at: usize, new: Option<Act>| -> Vec<Act> {
            let (before, after) = (&acts[..at], &acts[at + 1..]);
            before.iter().cloned().chain(new).chain(after.iter().cloned()).collect()
        };
        let others =
            (0..acts.len()).flat_map(|at| voyage::others(&acts[at]).into_iter().map(move |act| (at, act)));
        let meant: Vec<Vec<Act>> =
            [acts.clone()].into_iter().chain(others.map(|(at, act)| with(at, Some(act)))).collect();
        let shapes = shape
            .smaller()
            .into_iter()
            .flat_map(|less| meant.iter().map(move |acts| (less.clone(), acts.clone())));
        let lists = (0..acts.len()).map(|at| (shape.clone(), with(at, None)));
        match lists.chain(shapes).find(|smaller| fails(smaller)) {
            Some(smaller) => case = smaller,
            None => return case,
        }
    }
}

/// A checker finds the mistake that is made for it, in a case of three nodes at most. The seed is always one.
fn finds(bug: Bug, words: &str) {
    let found = runner(1, HUNT, 0).run(&case(), |case| sail(&case, Some(bug)).1.map_err(TestCaseError::fail));
    let Err(TestError::Fail(why, case)) = found else { panic!("{bug:?} was not found: {found:?}") };
    assert!(why.message().contains(words), "{bug:?}: {why}\n{case:?}");
    let case = least(case, |case| sail(case, Some(bug)).1.is_err_and(|why| why.contains(words)));
    assert!(case.0.nodes() <= 3, "{bug:?}: {} nodes\n{case:?}", case.0.nodes());
}

#[test]
fn a_packet_that_is_swallowed_is_missed() {
    finds(Bug::Swallow, "went no further, and nothing says why");
}

#[test]
fn a_private_source_that_leaves_the_host_is_seen() {
    finds(Bug::Leak, "left the host with its private source");
}

#[test]
fn a_frame_on_another_networks_bridge_is_seen() {
    finds(Bug::Miswire, "networks that have nothing to do with each other");
}

#[test]
fn a_learned_address_behind_a_port_that_is_gone_is_seen() {
    finds(Bug::StalePort, "is no port of the bridge");
}

#[test]
fn two_flows_with_one_tuple_are_seen() {
    finds(Bug::BlindTable, "belongs to two flows");
}

#[test]
fn a_hop_that_leaves_the_ttl_as_it_was_is_seen() {
    finds(Bug::Undying, "its TTL is still");
}

#[test]
fn a_packet_that_has_passed_too_many_devices_is_seen() {
    finds(Bug::Loop, "has passed 65 devices");
}

#[test]
fn an_answer_from_somebody_else_is_seen() {
    finds(Bug::WrongReply, "whom it never asked");
}

#[test]
fn a_wire_that_does_not_heal_is_seen() {
    finds(Bug::Unhealed, "could be reached before");
}
