//! Names, by the libc of the machine this runs on and the files that the agent finds.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::thread;

use nix::mount::{MsFlags, mount};
use seatrial_core::addr::Family;
use seatrial_core::linux::order::{Order, Reply};

use crate::alone::alone;
use crate::bed::Bed;

/// Takes the machine's own files away: there is an empty /etc now.
fn empty_etc() {
    let nothing = None::<&str>;
    mount(Some("none"), "/etc", Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
}

fn resolve(bed: &mut Bed, name: &str, family: Option<Family>) -> Vec<String> {
    let reply = bed.obey("a", Order::Resolve { name: name.to_owned(), family });
    let Reply::Addresses(addresses) = reply else { unreachable!("{reply:?}") };
    addresses.iter().map(ToString::to_string).collect()
}

/// A nameserver on 127.0.0.1:53 of `a` that knows these names, and answers anything else with NXDOMAIN.
fn nameserver(bed: &Bed, names: BTreeMap<&'static str, Vec<IpAddr>>) {
    let socket = bed.inside("a", || UdpSocket::bind("127.0.0.1:53").unwrap());
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            socket.send_to(&answer(&query[..length], &names), from).unwrap();
        }
    });
}

/// An answer in the words of RFC 1035.
fn answer(query: &[u8], names: &BTreeMap<&'static str, Vec<IpAddr>>) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let (kind, question) = (query[at + 2], &query[12..at + 5]);
    let known = names.get(labels.join(".").to_lowercase().as_str());
    let wanted = |a: &&IpAddr| if kind == 1 { a.is_ipv4() } else { kind == 28 && a.is_ipv6() };
    let found: Vec<&IpAddr> = known.into_iter().flatten().filter(wanted).collect();
    let code = if known.is_some() { 0x80 } else { 0x83 };
    let count = u8::try_from(found.len()).unwrap();
    let mut reply = vec![query[0], query[1], 0x81, code, 0, 1, 0, count, 0, 0, 0, 0];
    reply.extend(question);
    for address in found {
        let octets = match address {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        let length = u8::try_from(octets.len()).unwrap();
        reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length]);
        reply.extend(octets);
    }
    reply
}

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n10.0.0.2\tdb db.example\n\
                     2001:db8::2\tDB\n10.0.0.3\tdb\n";

#[test]
fn a_hosts_file_comes_before_a_nameserver_and_gives_every_address() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    empty_etc();
    fs::write("/etc/hosts", HOSTS).unwrap();
    // As images of Debian, Ubuntu and Fedora have it; libc reads it once.
    fs::write("/etc/host.conf", "multi on\n").unwrap();
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\n").unwrap();
    nameserver(&bed, BTreeMap::from([("db", vec!["10.0.0.9".parse().unwrap()])]));
    assert_eq!(resolve(&mut bed, "localhost", None), ["::1", "127.0.0.1"]);
    assert_eq!(resolve(&mut bed, "db", None), ["2001:db8::2", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(resolve(&mut bed, "db", Some(Family::V4)), ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(resolve(&mut bed, "Db", Some(Family::V6)), ["2001:db8::2"]);
    bed.listen("b", "80/tcp");
    assert_eq!(bed.ask("a -> db:80/tcp"), "reaches b:80 from 2001:db8::1");
    assert_eq!(bed.ask("a -> db:80/tcp4"), "reaches b:80 from 10.0.0.1");
}

#[test]
fn without_multi_on_glibc_takes_a_names_first_line_alone() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    empty_etc();
    fs::write("/etc/hosts", HOSTS).unwrap();
    if cfg!(target_env = "gnu") {
        // man 5 host.conf.
        assert_eq!(resolve(&mut bed, "localhost", None), ["127.0.0.1"]);
        assert_eq!(resolve(&mut bed, "db", None), ["10.0.0.2"]);
        assert_eq!(resolve(&mut bed, "db", Some(Family::V6)), ["2001:db8::2"]);
    }
}

#[test]
fn a_nameserver_is_asked_for_both_families_and_searched_names() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    empty_etc();
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\nsearch one.example two.example\noptions ndots:1\n")
        .unwrap();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let names = BTreeMap::from([
        ("web", vec![ip("10.0.0.2"), ip("2001:db8::2")]),
        ("six", vec![ip("2001:db8::2")]),
        ("far", vec![ip("2001:db8:9::1"), ip("10.0.0.2")]),
        ("short.two.example", vec![ip("10.0.0.2")]),
        ("a.b", vec![ip("10.0.0.7")]),
        ("a.b.one.example", vec![ip("10.0.0.8")]),
    ]);
    nameserver(&bed, names);
    assert_eq!(resolve(&mut bed, "web", None), ["2001:db8::2", "10.0.0.2"]);
    assert_eq!(resolve(&mut bed, "WEB.", Some(Family::V4)), ["10.0.0.2"]);
    assert_eq!(resolve(&mut bed, "six", Some(Family::V4)), Vec::<String>::new());
    // What cannot be reached comes last (RFC 3484, rule 1).
    assert_eq!(resolve(&mut bed, "far", None), ["10.0.0.2", "2001:db8:9::1"]);
    assert_eq!(resolve(&mut bed, "short", None), ["10.0.0.2"]);
    assert_eq!(resolve(&mut bed, "a.b", None), ["10.0.0.7"]);
    assert_eq!(resolve(&mut bed, "nobody", None), Vec::<String>::new());
    assert_eq!(bed.ask("a -> nobody:80/tcp"), "unknown-name");
    assert_eq!(bed.ask("a -> six:80/tcp4"), "unknown-name");
}

#[test]
fn other_questions_are_answered_while_libc_waits_for_a_nameserver() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    empty_etc();
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    // It hears and says nothing.
    let _silent = bed.inside("a", || UdpSocket::bind("127.0.0.1:53").unwrap());
    bed.listen("b", "80/tcp");
    let waiting = bed.order("a", Order::Resolve { name: "nobody".to_owned(), family: None });
    assert_eq!(bed.ask("a -> 10.0.0.2:80/tcp"), "reaches b:80 from 10.0.0.1");
    let reply = bed.reply("a");
    assert_eq!((reply.id, reply.what), (waiting, Reply::Addresses(Vec::new())));
}

#[test]
fn without_any_file_a_name_is_unknown_at_once() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    empty_etc();
    assert_eq!(bed.ask("a -> nobody:80/tcp"), "unknown-name");
}
