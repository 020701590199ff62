//! Differences are seen, and what the kernel adds is none.

use std::net::IpAddr;

use super::{Differences, differ};
use crate::addr::{Family, Transport};
use crate::linux::observe::{Held, Observed};
use crate::plan::{Item, MountRoot, Namespace, NsName, Object, Plan};
use crate::rules::iptables::parse;
use crate::topology::Mount;

fn ns(name: &str) -> NsName {
    NsName::from(name)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What tells two lists of objects in a namespace `a` apart.
fn apart(planned: &[&str], seen: &[&str]) -> Differences {
    let plan = |objects: &[&str]| Plan {
        items: objects
            .iter()
            .map(|text| Item { ns: ns("a"), object: serde_json::from_str::<Object>(text).unwrap() })
            .collect(),
    };
    differ(&plan(planned), &Observed { plan: plan(seen), ..Observed::default() })
}

const UP: &str = r#"{ "up": "eth0" }"#;
const ADDRESS: &str = r#"{ "address": { "link": "eth0", "net": "10.0.0.1/24", "nodad": false } }"#;

fn on_eth0(to: &str, source: &str) -> String {
    format!(
        r#"{{ "route": {{ "to": "{to}", "via": null, "dev": "eth0", "table": null, "metric": null,
           "source": "{source}" }} }}"#
    )
}

#[test]
fn what_is_missing_and_what_nobody_planned_is_told_as_text() {
    let apart = apart(&[UP, ADDRESS], &[ADDRESS, &on_eth0("10.9.0.0/24", "10.0.0.1")]);
    assert!(!apart.is_empty());
    assert_eq!(
        apart.to_string(),
        "- ip -n a link set dev eth0 up\n+ ip -n a route add 10.9.0.0/24 dev eth0 src 10.0.0.1\n"
    );
}

#[test]
fn a_route_of_the_kernels_is_passed_over_only_with_the_address_it_comes_with() {
    let route = on_eth0("10.0.0.0/24", "10.0.0.1");
    let alike = apart(&[UP, ADDRESS], &[UP, ADDRESS, &route]);
    assert!(alike.is_empty(), "{alike}");
    assert_eq!(alike.used, ["routes to the networks of addresses"]);
    assert!(!apart(&[UP], &[UP, &route]).is_empty());
    assert!(!apart(&[UP, ADDRESS], &[UP, ADDRESS, &on_eth0("10.0.0.0/25", "10.0.0.1")]).is_empty());
}

#[test]
fn a_cable_may_be_told_from_either_end() {
    let cable = |name: &str, peer: &str, macs: [&str; 2]| {
        format!(
            r#"{{ "link": {{ "name": "{name}", "mac": {}, "mtu": 1500, "master": null, "kind": {{ "veth":
               {{ "ns": "a", "name": "{peer}", "mac": {}, "mtu": null, "master": "br0" }} }} }} }}"#,
            macs[0], macs[1]
        )
    };
    let mac = r#""02:00:00:00:00:01""#;
    let planned = cable("x", "b", ["null", mac]);
    let seen = r#"{ "link": { "name": "b", "mac": "02:00:00:00:00:01", "mtu": null, "master": "br0", "kind": { "veth":
        { "ns": "a", "name": "x", "mac": "06:00:00:00:00:09", "mtu": null, "master": null } } } }"#;
    let alike = apart(&[&planned], &[seen]);
    assert!(alike.is_empty(), "{alike}");
    assert_eq!(alike.used, ["hardware addresses that nobody chose"]);
    assert!(!apart(&[&cable("x", "b", [mac, mac])], &[seen]).is_empty());
}

fn written(key: &str, value: &str) -> String {
    format!(r#"{{ "sysctl": {{ "key": "{key}", "value": "{value}" }} }}"#)
}

const BRIDGE: &str =
    r#"{ "link": { "name": "br0", "kind": "bridge", "mac": null, "mtu": null, "master": null } }"#;

#[test]
fn a_setting_that_nobody_wrote_is_passed_over_where_the_kernel_would_have_it_so() {
    let key = |device: &str| format!("net.ipv4.conf.{device}.forwarding");
    let [forwards, of_all, of_it] =
        [written("net.ipv4.ip_forward", "1"), written(&key("all"), "1"), written(&key("br0"), "1")];
    let all = apart(&[&forwards, BRIDGE], &[&forwards, BRIDGE, &of_all, &of_it]);
    assert!(all.is_empty(), "{all}");
    // It comes to be after the write, and is as `default` is.
    assert!(!apart(&[BRIDGE], &[BRIDGE, &of_it]).is_empty());
    let [to_come, off] = ["default", "br0"].map(|d| written(&format!("net.ipv6.conf.{d}.disable_ipv6"), "1"));
    assert!(apart(&[&to_come, BRIDGE], &[&to_come, BRIDGE, &off]).is_empty());
    assert!(!apart(&[BRIDGE, &to_come], &[&to_come, BRIDGE, &off]).is_empty());
    let shown = written("net.bridge.bridge-nf-call-iptables", "1");
    assert_eq!(
        apart(&[], &[&shown]).to_string(),
        "+ ip netns exec a sysctl -qw net.bridge.bridge-nf-call-iptables=1\n"
    );
}

#[test]
fn of_a_setting_written_twice_the_last_counts() {
    let [off, on] = ["0", "1"].map(|value| written("net.ipv4.ip_forward", value));
    assert!(apart(&[&off, &on], &[&on]).is_empty());
    assert!(!apart(&[&on, &off], &[&on]).is_empty());
}

#[test]
fn rules_that_differ_are_told_line_by_line() {
    let rules = |policy: &str, packets: u64| {
        let text = format!(
            "*filter\n:INPUT {policy} [{packets}:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
        );
        serde_json::to_string(&Object::Rules(parse(&text, Family::V4).unwrap().into())).unwrap()
    };
    assert!(apart(&[&rules("DROP", 0)], &[&rules("DROP", 7)]).is_empty());
    assert_eq!(
        apart(&[&rules("DROP", 0)], &[&rules("ACCEPT", 0)]).to_string(),
        "  rules of a:\n- :INPUT DROP [0:0]\n+ :INPUT ACCEPT [0:0]\n"
    );
}

#[test]
fn addresses_in_another_order_are_a_difference() {
    let [one, two] = ["10.0.0.1/24", "10.0.0.2/24"]
        .map(|net| format!(r#"{{ "address": {{ "link": "eth0", "net": "{net}", "nodad": false }} }}"#));
    assert!(apart(&[&one, &two], &[&one, &two]).is_empty());
    assert_eq!(apart(&[&one, &two], &[&two, &one]).other.len(), 2);
}

#[test]
fn what_is_served_from_outside_is_known_by_its_socket_alone() {
    let proxy = r#"{ "proxy": { "transport": "tcp", "listen": "0.0.0.0:80", "connect": "172.18.0.2:80" } }"#;
    let plan = Plan { items: vec![Item { ns: ns("a"), object: serde_json::from_str(proxy).unwrap() }] };
    let held = |port| Held { ns: ns("a"), transport: Transport::Tcp, address: Some(ip("0.0.0.0")), port };
    let seen = |held| Observed { held, ..Observed::default() };
    assert!(differ(&plan, &seen(vec![held(80)])).is_empty());
    assert_eq!(differ(&plan, &seen(vec![])).missing, plan.items);
    let apart = differ(&plan, &seen(vec![held(80), held(81)])).to_string();
    assert_eq!(apart, "? a: a tcp socket on 0.0.0.0 port 81\n");
}

#[test]
fn mounts_are_one_where_they_are_in_one_place_and_the_image_is_the_machines() {
    let root = |mounts: &[(&str, bool)], tmpfs: &[&str]| {
        let mount = |(target, read_only): &(&str, bool)| Mount {
            source: Some("/x".to_owned()),
            target: (*target).to_owned(),
            read_only: *read_only,
        };
        let root = MountRoot {
            mounts: mounts.iter().map(mount).collect(),
            tmpfs: tmpfs.iter().map(|&text| text.to_owned()).collect(),
            ..MountRoot::default()
        };
        serde_json::to_string(&Object::Namespace(Namespace::Mount(root))).unwrap()
    };
    let planned = root(&[("/data", true), ("/lib/modules", true)], &["/run/x:size=1m"]);
    let seen = [("/data", true), ("/usr/lib/modules", true), ("/usr", true), ("/etc/ssl", true)];
    assert!(apart(&[&planned], &[&root(&seen, &["/run/x"])]).is_empty());
    for (mounts, tmpfs) in [
        (vec![("/data", false), ("/usr/lib/modules", true)], vec!["/run/x"]),
        (vec![("/usr/lib/modules", true)], vec!["/run/x"]),
        (vec![("/data", true), ("/usr/lib/modules", true)], vec![]),
        (vec![("/data", true), ("/usr/lib/modules", true), ("/other", true)], vec!["/run/x"]),
        (vec![("/data", true), ("/usr/lib/modules", true), ("/usr", false)], vec!["/run/x"]),
    ] {
        assert!(!apart(&[&planned], &[&root(&mounts, &tmpfs)]).is_empty(), "{mounts:?} {tmpfs:?}");
    }
}
