//! A wire is cut, loses, and is healed.

use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use seatrial_core::linux::Error;
use seatrial_core::plan::{Neighbour, Object};
use seatrial_core::probe::{Fault, Way};

use super::{Place, cable, name};
use crate::alone::alone;

/// The last datagram of a row: what has not come before it is lost.
const LAST: &[u8] = b"last";

/// Two ends of a cable that need not ask where the other is, each with a socket connected to the other's.
fn ends() -> [(Place, UdpSocket); 2] {
    let (a, b) = cable();
    let neighbour = |at: &Place, device: &str, address: &str, of: &Place, other: &str| {
        let mac = of.device(other)["address"].as_str().unwrap().parse().unwrap();
        at.add(Object::Neighbour(Neighbour { link: name(device), address: address.parse().unwrap(), mac }));
    };
    neighbour(&a, "a0", "10.0.0.2", &b, "b0");
    neighbour(&b, "b0", "10.0.0.1", &a, "a0");
    let socket = |place: &Place, own: &str, other: &str| {
        let socket = place.space.inside(|| UdpSocket::bind((own, 7))).unwrap().unwrap();
        socket.connect((other, 7)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // Whatever the kernel knows of a loss is to be told.
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true).unwrap();
        socket
    };
    let (at_a, at_b) = (socket(&a, "10.0.0.1", "10.0.0.2"), socket(&b, "10.0.0.2", "10.0.0.1"));
    [(a, at_a), (b, at_b)]
}

/// A datagram of a row.
const ONE: &[u8] = b"one of a row";

/// How many of so many datagrams come through while the wire of a0 is as it is. It is whole afterwards.
fn passed(a: &Place, count: usize, from: &UdpSocket, to: &UdpSocket) -> usize {
    (0..count).for_each(|_| _ = from.send(ONE).unwrap());
    a.net.fault(&name("a0"), Fault::Heal).unwrap();
    from.send(LAST).unwrap();
    let mut buffer = [0; 64];
    let mut next = || to.recv(&mut buffer).map(|length| buffer[..length] == *LAST).unwrap();
    (0..).take_while(|_| !next()).count()
}

fn fault(a: &Place, fault: Fault) {
    a.net.fault(&name("a0"), fault).unwrap();
}

#[test]
fn nothing_passes_a_cut_wire_and_everything_passes_a_healed_one() {
    if !alone() {
        return;
    }
    let [(a, at_a), (b, at_b)] = ends();
    for (from, to) in [(&at_a, &at_b), (&at_b, &at_a)] {
        assert_eq!(passed(&a, 10, from, to), 10);
        fault(&a, Fault::Cut(Way::Both));
        for (place, device) in [(&a, "a0"), (&b, "b0")] {
            assert_eq!(place.device(device)["operstate"], "UP", "{device}");
        }
        assert_eq!(passed(&a, 10, from, to), 0);
        fault(&a, Fault::Cut(Way::Both));
        fault(&a, Fault::Cut(Way::Both));
        assert_eq!(passed(&a, 10, from, to), 0);
    }
    fault(&a, Fault::Heal);
    fault(&a, Fault::Heal);
    assert_eq!(a.run("tc qdisc show dev a0").matches("clsact").count(), 0);
}

#[test]
fn a_wire_may_be_cut_in_one_direction_alone() {
    if !alone() {
        return;
    }
    let [(a, at_a), (_b, at_b)] = ends();
    for (way, out, back) in [(Way::Out, 0, 10), (Way::In, 10, 0)] {
        fault(&a, Fault::Cut(way));
        assert_eq!(passed(&a, 10, &at_a, &at_b), out, "{way:?}");
        fault(&a, Fault::Cut(way));
        assert_eq!(passed(&a, 10, &at_b, &at_a), back, "{way:?}");
    }
}

#[test]
fn a_devices_mtu_is_what_it_was_when_its_wire_is_healed() {
    if !alone() {
        return;
    }
    let [(a, _), (_b, _)] = ends();
    for mtu in [1400, 1300] {
        fault(&a, Fault::Mtu(mtu));
        assert_eq!(a.device("a0")["mtu"], mtu);
    }
    fault(&a, Fault::Heal);
    assert_eq!(a.device("a0")["mtu"], 1500);
}

/// This kernel may have netem, or not; `scripts/guest.sh` runs this on one that has it.
#[test]
fn what_netem_does_goes_when_the_wire_is_healed_and_without_netem_that_is_said_to_be_missing() {
    if !alone() {
        return;
    }
    let [(a, at_a), (_b, at_b)] = ends();
    for way in [Way::In, Way::Out, Way::Both] {
        for fault in [
            Fault::Delay(way, 1, 0),
            Fault::Reorder(way, 1),
            Fault::Duplicate(way, 0),
            Fault::Rate(way, 1_000_000_000),
        ] {
            match a.net.fault(&name("a0"), fault) {
                Ok(()) => disturbed(&a, way, [&at_a, &at_b]),
                Err(error) => lacking(&error, way),
            }
            a.net.fault(&name("a0"), Fault::Heal).unwrap();
            assert_eq!(passed(&a, 3, &at_b, &at_a), 3);
            assert!(!a.run("tc qdisc show").contains("netem"));
            assert_eq!(a.run("tc qdisc show dev a0").matches("clsact").count(), 0);
            assert_eq!(a.run("ip -o link").lines().count(), 2, "lo and a0");
        }
    }
}

/// Netem stands on the ways that are meant, and what is sent comes through it: what netem holds when a wire is healed is gone.
fn disturbed(a: &Place, way: Way, [at_a, at_b]: [&UdpSocket; 2]) {
    let ways = usize::from(way.is_in()) + usize::from(way.is_out());
    assert_eq!(a.run("tc qdisc show").matches("qdisc netem").count(), ways);
    assert_eq!(a.run("tc qdisc show dev a0").contains("qdisc netem"), way.is_out());
    assert_eq!(a.run("ip -o link").lines().count(), 2 + usize::from(way.is_in()));
    let mut buffer = [0; 64];
    for (from, to) in [(at_a, at_b), (at_b, at_a)] {
        (0..3).for_each(|_| _ = from.send(ONE).unwrap());
        (0..3).for_each(|_| assert_eq!(to.recv(&mut buffer).unwrap(), ONE.len()));
    }
}

/// What this kernel lacks is named, and nothing is left of what it has.
fn lacking(error: &Error, way: Way) {
    assert!(error.missing, "{error}");
    let needs = ["CONFIG_NET_SCH_NETEM", "CONFIG_IFB"].map(|need| error.to_string().contains(need));
    assert!(needs[0] || needs[1] && way != Way::Out, "{error}");
}

#[test]
fn what_no_kernel_does_is_said_to_be_missing() {
    if !alone() {
        return;
    }
    let [(a, _), (_b, _)] = ends();
    assert!(a.net.fault(&name("a0"), Fault::Flap(1000)).unwrap_err().missing);
    assert!(a.net.fault(&name("a0"), Fault::Corrupt(Way::Both, 1)).unwrap_err().missing);
}

#[test]
fn a_lossy_wire_loses_what_it_is_told_to_in_either_direction() {
    if !alone() {
        return;
    }
    let [(a, at_a), (_b, at_b)] = ends();
    for (from, to) in [(&at_a, &at_b), (&at_b, &at_a)] {
        for (percent, least, most) in [(0, 2000, 2000), (10, 1700, 1900), (50, 850, 1150), (100, 0, 0)] {
            // In rows that a socket has room for.
            let row = || {
                fault(&a, Fault::Loss(Way::Both, percent));
                passed(&a, 100, from, to)
            };
            let count: usize = (0..20).map(|_| row()).sum();
            assert!((least..=most).contains(&count), "{count} of 2000 passed with {percent} % lost");
        }
    }
}

#[test]
fn a_wire_that_is_cut_stays_cut_when_it_is_told_to_lose() {
    if !alone() {
        return;
    }
    let [(a, at_a), (_b, at_b)] = ends();
    fault(&a, Fault::Cut(Way::Both));
    fault(&a, Fault::Loss(Way::Both, 0));
    assert_eq!(passed(&a, 10, &at_a, &at_b), 0);
    fault(&a, Fault::Loss(Way::Both, 100));
    fault(&a, Fault::Loss(Way::Both, 0));
    assert_eq!(passed(&a, 10, &at_a, &at_b), 10);
}

#[test]
fn rules_that_are_flushed_heal_no_wire() {
    if !alone() {
        return;
    }
    let [(a, at_a), (_b, at_b)] = ends();
    fault(&a, Fault::Cut(Way::Both));
    assert_eq!(a.run("nft list ruleset"), "");
    a.run("nft flush ruleset");
    assert_eq!(passed(&a, 10, &at_a, &at_b), 0);
}

#[test]
fn a_wire_that_is_not_there_has_no_fault() {
    if !alone() {
        return;
    }
    let a = Place::new("a");
    let error = a.net.fault(&name("a0"), Fault::Cut(Way::Both)).unwrap_err();
    assert_eq!(error.to_string(), "cannot disturb the wire of a0 in a: there is no device a0 (ENODEV)");
}
