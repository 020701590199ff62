//! Crafted frames: they reach what no route leads to, and are heard of whatever the machine makes of the answer.

use seatrial_core::addr::MacAddr;
use seatrial_core::linux::echo::Echoes;
use seatrial_core::linux::order::{Order, Reply};
use seatrial_core::probe::Probe;

use crate::alone::alone;
use crate::bed::Bed;

/// What comes of a crafted question that is sent to a machine's eth0.
fn ask(bed: &mut Bed, to: &str, probe: &str) -> String {
    let mac = mac(bed, to);
    put(bed, Some(mac), probe)
}

fn mac(bed: &Bed, of: &str) -> MacAddr {
    let link = bed.sh(of, "ip -o link show eth0");
    let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).unwrap().parse().unwrap()
}

fn put(bed: &mut Bed, via: Option<MacAddr>, probe: &str) -> String {
    let probe: Probe = probe.parse().unwrap();
    let (from, nonce) = (probe.from.to_string(), bed.nonce());
    let reply = bed.obey(&from, Order::Ask { nonce, probe, via });
    let Reply::Outcome(outcome) = reply else { unreachable!("{reply:?}") };
    outcome.to_string()
}

#[test]
fn a_crafted_question_is_answered_and_the_machine_itself_does_not_reset_it() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    for on in ["80/tcp", "80/udp"] {
        bed.listen("b", on);
        for (to, from) in [("10.0.0.2", "10.0.0.1"), ("[2001:db8::2]", "2001:db8::1")] {
            let saw = format!("reaches b:80 from {from}");
            assert_eq!(ask(&mut bed, "b", &format!("a -> {to}:{on},raw")), saw);
            let sized = format!("a -> {to}:{on},raw,size=1300");
            assert_eq!(ask(&mut bed, "b", &sized), saw, "{sized}");
        }
    }
    let long = "a -> 10.0.0.2:80/tcp,raw,size=5000";
    assert_eq!(ask(&mut bed, "b", long), "reaches b:80 from 10.0.0.1");
}

#[test]
fn a_crafted_question_is_refused_told_of_errors_or_closed() {
    if !alone() {
        return;
    }
    let mut bed = Bed::routed();
    for to in ["10.0.1.2", "[2001:db8:1::2]"] {
        for what in ["81/tcp", "81/udp"] {
            assert_eq!(ask(&mut bed, "r", &format!("a -> {to}:{what},raw")), "refused", "{to} {what}");
            let short = format!("a -> {to}:{what},raw,ttl=1");
            assert_eq!(ask(&mut bed, "r", &short), "unreachable (time exceeded)", "{short}");
        }
        let short = format!("a -> {to}/icmp,raw,ttl=1");
        assert_eq!(ask(&mut bed, "r", &short), "unreachable (time exceeded)", "{short}");
    }
    let server = bed.inside("b", || std::net::TcpListener::bind("10.0.1.2:80").unwrap());
    std::thread::spawn(move || drop(server.accept().unwrap()));
    assert_eq!(ask(&mut bed, "r", "a -> 10.0.1.2:80/tcp,raw"), "closed");
}

#[test]
fn a_crafted_echo_is_seen_and_its_reply_heard() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    let echoes = Echoes::open(bed.space("b")).unwrap();
    for (to, from) in [("10.0.0.2", "10.0.0.1"), ("[2001:db8::2]", "2001:db8::1")] {
        let nonce = bed.nonce();
        assert_eq!(ask(&mut bed, "b", &format!("a -> {to}/icmp,raw")), "reaches a", "{to}");
        assert_eq!(echoes.seen(nonce), Some(from.parse().unwrap()), "{to}");
    }
}

#[test]
fn a_crafted_frame_carries_a_loopback_address_to_a_neighbour_that_takes_it() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    for on in ["80/tcp", "80/udp"] {
        bed.listen("b", on);
        // Without a crafted frame it is this machine that is asked.
        assert_eq!(bed.ask(&format!("a -> 127.0.0.1:{on}")), "refused");
    }
    let mac = mac(&bed, "b");
    bed.sh("b", "sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
    // The answer is from a loopback address, and so is b's ARP request for a, which a then does not believe: b must
    // know a already (`arp_solicit`, `arp_process`).
    assert_eq!(put(&mut bed, Some(mac), "a -> 127.0.0.1:80/udp,raw"), "dropped");
    assert_eq!(bed.ask("a -> 10.0.0.2/icmp"), "reaches a");
    for on in ["80/tcp", "80/udp"] {
        let probe = format!("a -> 127.0.0.1:{on},raw");
        assert_eq!(put(&mut bed, Some(mac), &probe), "reaches b:80 from 10.0.0.1", "{probe}");
    }
    bed.sh("b", "sysctl -qw net.ipv4.conf.eth0.route_localnet=0");
    assert_eq!(put(&mut bed, Some(mac), "a -> 127.0.0.1:80/udp,raw"), "dropped");
    // Nobody is on the link.
    assert_eq!(put(&mut bed, None, "a -> 127.0.0.1:80/udp,raw"), "no-route");
}
