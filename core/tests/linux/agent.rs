//! Agents ask and answer over real sockets: every outcome, each both ways where there are two.

use seatrial_core::linux::order::{Order, Reply};

use crate::alone::alone;
use crate::bed::{Bed, listener};

#[test]
fn a_listener_answers_over_both_families_and_says_whom_it_saw() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    for transport in ["tcp", "udp"] {
        let name = format!("80/{transport}");
        bed.listen("b", &name);
        assert_eq!(bed.ask(&format!("a -> 10.0.0.2:{name}")), "reaches b:80 from 10.0.0.1");
        assert_eq!(bed.ask(&format!("a -> [2001:db8::2]:{name}")), "reaches b:80 from 2001:db8::1");
        assert_eq!(bed.ask(&format!("b -> 127.0.0.1:{name}")), "reaches b:80 from 127.0.0.1");
        assert_eq!(bed.ask(&format!("b -> [::1]:{name}")), "reaches b:80 from ::1");
        assert_eq!(bed.obey("b", Order::Unlisten(listener("b", &name))), Reply::Done);
        assert_eq!(bed.ask(&format!("a -> 10.0.0.2:{name}")), "refused");
        assert_eq!(bed.ask(&format!("a -> [2001:db8::2]:{name}")), "refused");
    }
}

#[test]
fn a_listener_on_one_address_is_no_listener_on_another() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.sh("b", "ip addr add 10.0.0.3/24 dev eth0");
    for transport in ["tcp", "udp"] {
        bed.listen("b", &format!("10.0.0.3:80/{transport}"));
        bed.listen("b", &format!("[2001:db8::2]:80/{transport}"));
        bed.listen("b", &format!("0.0.0.0:81/{transport}"));
        assert_eq!(bed.ask(&format!("a -> 10.0.0.3:80/{transport}")), "reaches b:80 from 10.0.0.1");
        assert_eq!(bed.ask(&format!("a -> 10.0.0.2:80/{transport}")), "refused");
        assert_eq!(bed.ask(&format!("a -> [2001:db8::2]:80/{transport}")), "reaches b:80 from 2001:db8::1");
        assert_eq!(bed.ask(&format!("a -> 10.0.0.2:81/{transport}")), "reaches b:81 from 10.0.0.1");
        assert_eq!(bed.ask(&format!("a -> [2001:db8::2]:81/{transport}")), "refused");
    }
}

#[test]
fn a_udp_answer_comes_from_the_address_that_was_asked() {
    if !alone() {
        return;
    }
    // The route back prefers another source; a connected client does not hear it.
    let mut bed = Bed::pair();
    bed.sh("b", "ip addr add 10.0.0.3/24 dev eth0; ip addr add 2001:db8::3/64 dev eth0 nodad");
    bed.listen("b", "53/udp");
    for address in ["10.0.0.2", "10.0.0.3", "[2001:db8::2]", "[2001:db8::3]"] {
        let answer = bed.ask(&format!("a -> {address}:53/udp"));
        assert!(answer.starts_with("reaches b:53"), "{address}: {answer}");
    }
}

#[test]
fn a_hop_limit_that_runs_out_on_the_way_is_time_exceeded() {
    if !alone() {
        return;
    }
    let mut bed = Bed::routed();
    for on in ["80/tcp", "80/udp"] {
        bed.listen("b", on);
        for to in ["10.0.1.2", "[2001:db8:1::2]"] {
            assert_eq!(bed.ask(&format!("a -> {to}:{on},ttl=1")), "unreachable (time exceeded)", "{to} {on}");
            assert!(bed.ask(&format!("a -> {to}:{on},ttl=2")).starts_with("reaches b:80"), "{to} {on}");
        }
    }
    for to in ["10.0.1.2", "[2001:db8:1::2]"] {
        assert_eq!(bed.ask(&format!("a -> {to}/icmp,ttl=1")), "unreachable (time exceeded)", "{to}");
        assert_eq!(bed.ask(&format!("a -> {to}/icmp,ttl=2")), "reaches a", "{to}");
    }
}
