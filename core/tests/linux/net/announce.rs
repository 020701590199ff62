//! An address is announced to whoever is on the link.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use super::{Place, cable, name};
use crate::alone::alone;

/// Hears all frames that come to a place.
fn ear(place: &Place) -> OwnedFd {
    let open = || {
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap()
    };
    let ear = place.space.inside(open).unwrap();
    setsockopt(&ear, sockopt::ReceiveTimeout, &TimeVal::new(5, 0)).unwrap();
    ear
}

/// The next frame of an EtherType to a MAC address.
fn hear(ear: &OwnedFd, to: [u8; 6], ethertype: [u8; 2]) -> Vec<u8> {
    let mut frame = [0; 2048];
    loop {
        let length = recv(ear.as_raw_fd(), &mut frame, nix::sys::socket::MsgFlags::empty()).unwrap();
        if frame[..6] == to && frame[12..14] == ethertype {
            return frame[..length].to_vec();
        }
    }
}

fn mac(place: &Place, device: &str) -> Vec<u8> {
    let text = place.device(device)["address"].as_str().unwrap().to_owned();
    text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn an_ipv4_address_is_announced_by_a_request_that_asks_for_itself() {
    if !alone() {
        return;
    }
    let (a, b) = cable();
    let ear = ear(&b);
    // One who knows a wrong MAC address learns the right one.
    b.run("ip neigh replace 10.0.0.1 lladdr 02:00:00:00:00:99 dev b0 nud stale");
    a.net.announce(&name("a0"), "10.0.0.1".parse().unwrap()).unwrap();
    let frame = hear(&ear, [0xff; 6], [0x08, 0x06]);
    let (own, address) = (mac(&a, "a0"), [10, 0, 0, 1]);
    assert_eq!(frame[6..12], own);
    let request = [0, 1, 8, 0, 6, 4, 0, 1];
    assert_eq!(frame[14..42], [&request[..], &own, &address, &[0; 6], &address].concat());
    let known = b.json("ip -j neigh show 10.0.0.1 dev b0");
    assert_eq!(known[0]["lladdr"], a.device("a0")["address"]);
}

#[test]
fn an_ipv6_address_is_announced_by_an_advertisement_that_overrides() {
    if !alone() {
        return;
    }
    let (a, b) = cable();
    a.add(super::address("a0", "fd00::1/64"));
    let ear = ear(&b);
    b.run("ip neigh replace fd00::1 lladdr 02:00:00:00:00:99 dev b0 nud stale");
    a.net.announce(&name("a0"), "fd00::1".parse().unwrap()).unwrap();
    let frame = loop {
        let frame = hear(&ear, [0x33, 0x33, 0, 0, 0, 1], [0x86, 0xdd]);
        // Others speak to all nodes too.
        if frame[54] == 136 {
            break frame;
        }
    };
    let own = mac(&a, "a0");
    assert_eq!((&frame[6..12], frame[21]), (&own[..], 255));
    assert_eq!(frame[58..62], [0x20, 0, 0, 0], "the override flag and no other");
    assert_eq!(frame[62..78], "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(frame[78..86], [&[2, 1][..], &own].concat());
    let known = || b.json("ip -j neigh show fd00::1 dev b0")[0]["lladdr"].clone();
    // The kernel takes it in by itself, right after it is heard.
    assert!((0..1000).any(|_| known() == a.device("a0")["address"]), "{}", known());
}

#[test]
fn what_cannot_be_announced_says_where_and_what() {
    if !alone() {
        return;
    }
    let (a, _b) = cable();
    let error = a.net.announce(&name("nodev"), "10.0.0.1".parse().unwrap()).unwrap_err();
    let words = "cannot announce 10.0.0.1 on nodev in a: there is no device nodev (ENODEV)";
    assert_eq!(error.to_string(), words);
    a.net.remove(&super::up("a0")).unwrap();
    let error = a.net.announce(&name("a0"), "10.0.0.1".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "cannot announce 10.0.0.1 on a0 in a: Network is down (ENETDOWN)");
}
