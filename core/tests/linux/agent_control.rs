//! The agent's orders: many at a time, malformed ones, and their end.

use std::io::Read;
use std::net::TcpStream;

use seatrial_core::linux::order::{Order, Reply};

use crate::alone::alone;
use crate::bed::{Bed, listener};

#[test]
fn a_hundred_questions_are_asked_at_once() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    for on in ["80/tcp", "80/udp"] {
        bed.listen("b", on);
    }
    let kinds =
        ["a -> 10.0.0.2:80/tcp", "a -> [2001:db8::2]:80/udp", "a -> 10.0.0.2/icmp", "a -> 10.0.0.2:81/tcp"];
    let probes: Vec<&str> = kinds.into_iter().cycle().take(400).collect();
    let expected = ["reaches b:80 from 10.0.0.1", "reaches b:80 from 2001:db8::1", "reaches a", "refused"];
    for (at, outcome) in bed.ask_all(&probes).iter().enumerate() {
        assert_eq!(outcome, expected[at % 4], "{}", probes[at]);
    }
}

#[test]
fn a_line_that_is_no_order_is_answered_with_an_error_and_the_next_is_obeyed() {
    if !alone() {
        return;
    }
    let mut bed = Bed::new(&["a"]);
    let long = format!("{{\"id\":9,\"what\":\"{}\"}}", "x".repeat(70_000));
    let lines = [
        ("", 0),
        ("nonsense", 0),
        ("{\"id\":7,\"what\":\"dance\"}", 7),
        ("{\"id\":-1,\"what\":{\"resolve\":{}}}", 0),
        ("\u{0}\u{1}\u{2}", 0),
        (long.as_str(), 0),
    ];
    for (line, id) in lines {
        bed.say("a", line);
        let reply = bed.reply("a");
        assert_eq!(reply.id, id, "{line:.40}");
        assert!(matches!(reply.what, Reply::Failed(_)), "{line:.40}: {reply:?}");
    }
    bed.listen("a", "80/tcp");
    assert_eq!(bed.ask("a -> 127.0.0.1:80/tcp"), "reaches a:80 from 127.0.0.1");
}

#[test]
fn a_port_is_taken_once_and_given_back() {
    if !alone() {
        return;
    }
    let mut bed = Bed::new(&["a"]);
    for transport in ["tcp", "udp"] {
        let name = format!("80/{transport}");
        bed.listen("a", &name);
        let Reply::Failed(error) = bed.obey("a", Order::Listen(listener("a", &name))) else { unreachable!() };
        assert_eq!(error.errno, Some(nix::libc::EADDRINUSE), "{error}");
        assert!(!error.missing);
        assert_eq!(bed.ask(&format!("a -> 127.0.0.1:{name}")), "reaches a:80 from 127.0.0.1");
        assert_eq!(bed.obey("a", Order::Unlisten(listener("a", &name))), Reply::Done);
        let again = bed.obey("a", Order::Unlisten(listener("a", &name)));
        assert!(matches!(again, Reply::Failed(_)), "{again:?}");
        bed.listen("a", &name);
    }
}

#[test]
fn a_listener_that_is_taken_away_closes_its_connections() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.listen("b", "80/tcp");
    let mut stream = bed.inside("a", || TcpStream::connect("10.0.0.2:80").unwrap());
    assert_eq!(bed.ask("a -> 10.0.0.2:80/tcp"), "reaches b:80 from 10.0.0.1");
    assert_eq!(bed.obey("b", Order::Unlisten(listener("b", "80/tcp"))), Reply::Done);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn sctp_is_asked_or_said_to_be_missing() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    match bed.obey("b", Order::Listen(listener("b", "80/sctp"))) {
        Reply::Done => {
            assert_eq!(bed.ask("a -> 10.0.0.2:80/sctp"), "reaches b:80 from 10.0.0.1");
            assert_eq!(bed.ask("a -> 10.0.0.2:81/sctp"), "refused");
        }
        Reply::Failed(error) => {
            assert!(error.missing && error.to_string().contains("CONFIG_IP_SCTP"), "{error}");
            let Reply::Failed(error) = bed.put("a -> 10.0.0.2:80/sctp") else { unreachable!() };
            assert!(error.missing && error.to_string().contains("CONFIG_IP_SCTP"), "{error}");
        }
        other @ (Reply::Outcome(_) | Reply::Addresses(_)) => unreachable!("{other:?}"),
    }
}

#[test]
fn when_the_stage_closes_the_socket_nothing_is_left_of_an_agent() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.listen("b", "80/tcp");
    assert_eq!(bed.ask("a -> 10.0.0.2:80/tcp"), "reaches b:80 from 10.0.0.1");
    bed.close("b");
    assert_eq!(bed.ask("a -> 10.0.0.2:80/tcp"), "refused");
}
