//! Flows are forgotten: those that are meant, and no others.

use std::process::Command;

use seatrial_core::addr::Transport;

use super::Place;
use crate::alone::alone;

/// Flows as `conntrack -I` makes them, each with a mark that tells it from others.
const FLOWS: [&str; 10] = [
    "-p udp -s 10.0.0.1 -d 10.0.0.2 --sport 1000 --dport 53 -m 1",
    "-p udp -s 10.0.0.1 -d 10.0.0.9 --sport 1001 --dport 8053 -r 10.0.0.2 -q 10.0.0.1 --reply-port-src 53 \
     --reply-port-dst 1001 -m 2",
    "-p udp -s 10.0.0.2 -d 10.0.0.3 --sport 53 --dport 54 -m 3",
    "-p udp -s 10.0.0.4 -d 10.0.0.5 --sport 1000 --dport 53 -m 4",
    "-p tcp -s 10.0.0.4 -d 10.0.0.5 --sport 1000 --dport 53 --state ESTABLISHED -m 5",
    "-p icmp -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 7 -m 6",
    "-p udp -s fd00::1 -d fd00::2 --sport 1000 --dport 53 -m 7",
    "-p tcp -s fd00::2 -d fd00::3 --sport 1000 --dport 80 --state ESTABLISHED -m 8",
    "-p udp -s 10.0.0.1 -d 10.0.0.2 --sport 1000 --dport 53 -w 5 -m 9",
    "-p udp -s 10.0.0.4 -d 10.0.0.6 --sport 53 --dport 1000 -m 10",
];

/// Whether there is a tool that makes flows.
#[expect(clippy::print_stdout, reason = "what is skipped says so")]
fn tool() -> bool {
    let there = Command::new("conntrack").arg("--version").output().is_ok();
    if !there {
        println!("skipped: no conntrack");
    }
    there
}

fn flows() -> Option<Place> {
    if !alone() || !tool() {
        return None;
    }
    let place = Place::new("a");
    FLOWS.iter().for_each(|flow| _ = place.run(&format!("conntrack -I -t 300 {flow}")));
    assert_eq!(marks(&place), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    Some(place)
}

/// The marks of all flows that conntrack knows.
fn marks(place: &Place) -> Vec<u32> {
    let all = place.run("conntrack -L -f ipv4") + &place.run("conntrack -L -f ipv6");
    let mark = |line: &str| line.split("mark=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut marks: Vec<u32> = all.lines().map(mark).collect();
    marks.sort_unstable();
    marks
}

#[test]
fn flows_of_an_address_are_forgotten_whichever_side_it_is_on() {
    let Some(place) = flows() else { return };
    place.net.flush("10.0.0.2".parse().unwrap()).unwrap();
    assert_eq!(marks(&place), [4, 5, 7, 8, 10]);
    place.net.flush("fd00::2".parse().unwrap()).unwrap();
    assert_eq!(marks(&place), [4, 5, 10]);
    place.net.flush("10.0.0.2".parse().unwrap()).unwrap();
    assert_eq!(marks(&place), [4, 5, 10]);
}

#[test]
fn flows_to_a_port_are_forgotten_by_the_port_they_were_sent_to() {
    let Some(place) = flows() else { return };
    place.net.flush_port(Transport::Udp, 53).unwrap();
    assert_eq!(marks(&place), [2, 3, 5, 6, 8, 10]);
    place.net.flush_port(Transport::Tcp, 80).unwrap();
    assert_eq!(marks(&place), [2, 3, 5, 6, 10]);
}

#[test]
fn many_flows_are_more_than_one_answer() {
    if !alone() || !tool() {
        return;
    }
    let place = Place::new("a");
    let line = |n: u32| {
        format!(
            "-I -t 300 -p udp -s 10.0.{}.{} -d 10.9.0.1 --sport 1 --dport {}\n",
            n / 250,
            n % 250,
            53 + n % 2
        )
    };
    let lines: String = (0..1000).map(line).collect();
    let file = std::env::temp_dir().join(format!("flows-{}", std::process::id()));
    std::fs::write(&file, lines).unwrap();
    place.run(&format!("conntrack -R {}", file.display()));
    std::fs::remove_file(file).unwrap();
    let count = || place.run("conntrack -L").lines().count();
    assert_eq!(count(), 1000);
    place.net.flush_port(Transport::Udp, 53).unwrap();
    assert_eq!(count(), 500);
}
