//! What is listed: nodes, networks, bridges.

use serde_json::Value;

use crate::{Harbour, SHOP, alone, no_process_is_left, until};

#[test]
fn networks_are_listed_as_docker_network_ls_does() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    let planned = harbour.answer(&["networks", &harbour.file()]);
    harbour.up();
    assert_eq!(harbour.answer(&["networks"]), planned);
    let mut lines = planned.lines();
    assert_eq!(lines.next(), Some("NETWORK ID     NAME         DRIVER    SCOPE"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let named: Vec<&[&str]> = rows.iter().map(|row| &row[1..]).collect();
    assert_eq!(
        named,
        [
            ["bridge", "bridge", "local"],
            ["host", "host", "local"],
            ["none", "null", "local"],
            ["shop_back", "bridge", "local"],
            ["shop_front", "bridge", "local"],
        ]
    );
    let links = harbour.answer(&["exec", "host", "--", "ip", "-o", "link"]);
    for row in &rows[3..] {
        assert_eq!(row[0].len(), 12);
        assert!(links.contains(&format!("br-{}:", row[0])), "{links}");
    }
    harbour.answer(&["down"]);
    no_process_is_left();
}

#[test]
fn bridges_are_listed_as_brctl_show_does() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    let bridges = harbour.answer(&["bridges"]);
    assert_eq!(bridges.matches("8000.").count(), 3, "{bridges}");
    assert_eq!(bridges.matches("veth").count(), 3, "{bridges}");
    let theirs = harbour.run(&["exec", "host", "--", "brctl", "show"]);
    match theirs.status {
        0 => assert_eq!(bridges, theirs.out),
        127 => eprintln!("not compared: there is no brctl (install bridge-utils)"),
        _ => panic!("{theirs:?}"),
    }
    harbour.answer(&["down"]);
    no_process_is_left();
}

/// The row of a node in `ps --format json`.
fn row(harbour: &Harbour, node: &str) -> Value {
    let rows: Vec<Value> = serde_json::from_str(&harbour.answer(&["ps", "--format", "json"])).unwrap();
    rows.into_iter().find(|row| row["node"] == node).unwrap()
}

#[test]
fn nodes_are_listed_with_what_they_have() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    assert_eq!(
        harbour.answer(&["ps"]),
        "LAB       NODE      CONTAINER   STATE     PID       ADDRESSES   PORTS\n"
    );
    harbour.up();
    let web = row(&harbour, "web");
    assert_eq!(web["container"], "shop-web-1");
    assert_eq!(web["state"], "running");
    assert_eq!(web["ports"], serde_json::json!(["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"]));
    assert_eq!(web["addresses"].as_array().unwrap().len(), 2, "{web}");
    let text = harbour.answer(&["ps", "--lab", "shop"]);
    assert!(text.starts_with("NODE      CONTAINER    STATE     PID"), "{text}");
    harbour.answer(&["down"]);
    no_process_is_left();
}

#[test]
fn a_container_whose_process_dies_is_seen() {
    if !alone() {
        return;
    }
    let harbour = Harbour::new(SHOP);
    harbour.up();
    // Its number is that on its host, as `docker inspect` says it.
    let pid = row(&harbour, "web")["pid"].to_string();
    harbour.answer(&["exec", "host", "--", "kill", "-9", &pid]);
    let state = || row(&harbour, "web")["state"].as_str().unwrap().to_owned();
    assert!(until(|| state() != "running"));
    assert!(["exited (137)", "exited"].contains(&state().as_str()), "{}", state());
    assert_eq!(row(&harbour, "db")["state"], "running");
    let said = harbour.run(&["exec", "web", "true"]);
    assert_eq!(said.status, 125);
    assert_eq!(said.err, "seatrial: cannot enter web: its process has ended\n");
    harbour.answer(&["down"]);
    no_process_is_left();
}
