//! Echoes, and who answered them.

use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use seatrial_core::linux::echo::Echoes;

use crate::alone::alone;
use crate::bed::Bed;

#[test]
fn an_echo_is_seen_where_it_is_delivered_and_nowhere_else() {
    if !alone() {
        return;
    }
    let mut bed = Bed::routed();
    let [a, r, b] = ["a", "r", "b"].map(|name| Echoes::open(bed.space(name)).unwrap());
    for (to, from) in [("10.0.1.2", "10.0.0.1"), ("[2001:db8:1::2]", "2001:db8::1")] {
        for size in ["", ",size=0", ",size=1000", ",size=4000"] {
            let nonce = bed.nonce();
            assert_eq!(bed.ask(&format!("a -> {to}/icmp{size}")), "reaches a", "{to}{size}");
            assert_eq!((a.seen(nonce), r.seen(nonce)), (None, None), "{to}{size}");
            assert_eq!(b.seen(nonce), Some(from.parse().unwrap()), "{to}{size}");
            assert_eq!(b.seen(nonce), None, "it is told once");
        }
    }
    let nonce = bed.nonce();
    assert_eq!(bed.ask("a -> 127.0.0.1/icmp"), "reaches a");
    assert_eq!(a.seen(nonce), Some("127.0.0.1".parse().unwrap()));
}

#[test]
fn a_thousand_pings_of_a_persons_do_not_hide_an_echo() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    let echoes = Echoes::open(bed.space("b")).unwrap();
    // Echo requests of identifier 0 without a payload: more than a socket's queue takes.
    let socket =
        bed.inside("a", || socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp));
    let (socket, to) = (socket.unwrap(), SockaddrIn::new(10, 0, 0, 2, 0));
    for _ in 0..1000 {
        sendto(socket.as_raw_fd(), &[8, 0, 0xf7, 0xff, 0, 0, 0, 0], &to, MsgFlags::empty()).unwrap();
    }
    let nonce = bed.nonce();
    assert_eq!(bed.ask("a -> 10.0.0.2/icmp"), "reaches a");
    assert_eq!(echoes.seen(nonce), Some("10.0.0.1".parse().unwrap()));
}

#[test]
fn an_echo_needs_no_more_than_a_ping_socket_or_a_raw_one() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    // As a network namespace is born, for nobody, and as Docker has it, for everybody.
    for range in ["", "0 0"] {
        if !range.is_empty() {
            bed.sh("a", &format!("sysctl -qw net.ipv4.ping_group_range='{range}'"));
        }
        assert_eq!(bed.ask("a -> 10.0.0.2/icmp"), "reaches a", "{range}");
        assert_eq!(bed.ask("a -> [2001:db8::2]/icmp"), "reaches a", "{range}");
        assert_eq!(bed.ask("a -> 10.0.0.2/icmp,from=10.0.0.1"), "reaches a", "{range}");
        assert_eq!(bed.ask("a -> 10.0.0.2/icmp,from=10.0.0.7"), "no-route", "{range}");
        assert_eq!(bed.ask("a -> 192.0.2.1/icmp"), "no-route", "{range}");
    }
}
