//! A question's options, by what they change.

use crate::alone::alone;
use crate::bed::Bed;

#[test]
fn a_datagram_that_may_not_be_cut_is_too_big_for_the_link() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.listen("b", "80/udp");
    for (to, fits) in [("10.0.0.2", 1500 - 28), ("[2001:db8::2]", 1500 - 48)] {
        for what in [":80/udp", "/icmp"] {
            let mut ask = |size: u16, df: &str| bed.ask(&format!("a -> {to}{what},size={size}{df}"));
            assert!(ask(fits, ",df").starts_with("reaches"), "{to}{what}");
            assert_eq!(ask(fits + 1, ",df"), "unreachable (too big)", "{to}{what}");
            assert!(ask(fits + 1, "").starts_with("reaches"), "{to}{what}");
            assert!(ask(0, "").starts_with("reaches"), "{to}{what}");
        }
    }
}

#[test]
fn a_router_says_that_a_datagram_is_too_big_for_the_next_link() {
    if !alone() {
        return;
    }
    let mut bed = Bed::routed();
    bed.listen("b", "80/udp");
    bed.listen("b", "80/tcp");
    bed.sh("r", "ip link set eth1 mtu 1400");
    bed.sh("b", "ip link set eth0 mtu 1400");
    for (to, what) in [
        ("10.0.1.2", ":80/udp,df"),
        ("10.0.1.2", "/icmp,df"),
        ("[2001:db8:1::2]", ":80/udp"),
        ("[2001:db8:1::2]", "/icmp"),
    ] {
        bed.sh("a", "ip route flush cache; ip -6 route flush cache");
        let (what, df) = what.split_once(',').map_or((what, ""), |(what, _)| (what, ",df"));
        let outcome = bed.ask(&format!("a -> {to}{what},size=1400{df}"));
        assert_eq!(outcome, "unreachable (too big)", "{to}{what}");
        assert!(bed.ask(&format!("a -> {to}{what},size=1300{df}")).starts_with("reaches"), "{to}{what}");
    }
    // TCP makes its segments smaller.
    bed.sh("a", "ip route flush cache; ip -6 route flush cache");
    for to in ["10.0.1.2", "[2001:db8:1::2]"] {
        assert!(bed.ask(&format!("a -> {to}:80/tcp,size=60000")).starts_with("reaches b:80"), "{to}");
    }
}

#[test]
fn a_source_is_the_one_that_is_asked_for() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.sh("a", "ip addr add 10.0.0.7/24 dev eth0; ip addr add 2001:db8::7/64 dev eth0 nodad");
    bed.sh("b", "nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'");
    for transport in ["tcp", "udp"] {
        bed.listen("b", &format!("80/{transport}"));
        bed.listen("b", &format!("81/{transport}"));
        bed.sh("b", &format!("nft add rule inet t c {transport} dport 81 {transport} sport != 40000 reject"));
        for (to, from) in [("10.0.0.2", "10.0.0.7"), ("[2001:db8::2]", "2001:db8::7")] {
            let (probe, saw) =
                (format!("a -> {to}:80/{transport},from={from}"), format!("reaches b:80 from {from}"));
            assert_eq!(bed.ask(&probe), saw);
            let bracketed = if from.contains(':') { format!("[{from}]") } else { from.to_owned() };
            let port = |port: u16| format!("a -> {to}:81/{transport},from={bracketed}:{port}");
            assert_eq!(bed.ask(&port(40000)), format!("reaches b:81 from {from}"));
            assert_eq!(bed.ask(&port(40000)), format!("reaches b:81 from {from}"), "once more");
            assert_eq!(bed.ask(&port(40001)), "refused");
        }
    }
}

#[test]
fn a_mark_chooses_the_route() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.sh("a", "ip rule add fwmark 7 prohibit; ip -6 rule add fwmark 7 prohibit");
    bed.listen("b", "80/tcp");
    bed.listen("b", "80/udp");
    for to in ["10.0.0.2", "[2001:db8::2]"] {
        for what in [":80/tcp", ":80/udp", "/icmp"] {
            assert_eq!(bed.ask(&format!("a -> {to}{what},mark=7")), "no-route", "{to}{what}");
            assert!(bed.ask(&format!("a -> {to}{what},mark=8")).starts_with("reaches"), "{to}{what}");
        }
    }
}

#[test]
fn the_unspecified_address_means_this_machine() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    for on in ["80/tcp", "80/udp"] {
        bed.listen("a", on);
        assert_eq!(bed.ask(&format!("a -> 0.0.0.0:{on}")), "reaches a:80 from 127.0.0.1");
        assert_eq!(bed.ask(&format!("a -> [::]:{on}")), "reaches a:80 from ::1");
    }
    assert_eq!(bed.ask("a -> 0.0.0.0/icmp"), "reaches a");
    assert_eq!(bed.ask("a -> [::]/icmp"), "reaches a");
}
