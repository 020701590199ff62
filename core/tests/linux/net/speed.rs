//! How long networks take. Nothing is asserted: the machine may be busy.

use std::time::{Duration, Instant};

use seatrial_core::plan::{Link, LinkKind, Object};

use super::{Peer, Place, Route, address, bridge, link, name, peer, route, up};
use crate::alone::alone;

#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}

#[test]
fn a_hundred_containers_on_one_bridge() {
    if !alone() {
        return;
    }
    const COUNT: usize = 100;
    let host = Place::new("host");
    host.add(bridge("br0"));
    host.add(address("br0", "10.0.0.1/16"));
    host.add(up("br0"));
    let (spaces, places) = timed(|| (0..COUNT).map(|n| Place::new(&n.to_string())).collect::<Vec<_>>());
    let container = |n: usize, place: &Place| {
        let eth0 = Peer { mac: Some("02:42:0a:00:00:02".parse().unwrap()), ..peer(&n.to_string(), "eth0") };
        let veth = Link { master: Some(name("br0")), ..link(&format!("v{n}"), LinkKind::Veth(eth0)) };
        let (veths, ()) = timed(|| {
            host.add_with(Object::Link(veth), place);
            host.add(up(&format!("v{n}")));
        });
        place.add(up("lo"));
        place.add(address("eth0", &format!("10.0.1.{}/16", n + 1)));
        place.add(up("eth0"));
        place.add(Object::Route(Route { via: Some("10.0.0.1".parse().unwrap()), ..route("0.0.0.0/0") }));
        veths
    };
    let each: Vec<_> = places.iter().enumerate().map(|(n, place)| timed(|| container(n, place))).collect();
    let ms = |times: Duration| times.as_secs_f64() * 1e3;
    let sum = |of: &dyn Fn(&(Duration, Duration)) -> Duration| ms(each.iter().map(of).sum());
    println!("{COUNT} namespaces and their sockets: {:.1} ms", ms(spaces));
    println!(
        "{COUNT} containers: {:.1} ms, of which veth, enslave and up {:.1} ms",
        sum(&|x| x.0),
        sum(&|x| x.1)
    );
    println!("the first {:.2} ms, the last {:.2} ms", ms(each[0].0), ms(each[COUNT - 1].0));
}
