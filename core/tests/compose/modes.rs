//! `network_mode` and the other namespaces a service may share.

use seatrial_core::topology::{CgroupMode, DEFAULT_BRIDGE, IpcMode, NetworkMode, PidMode};

use super::{joined, node, read};

#[test]
fn network_modes_are_composes() {
    let text = "
services:
  a: { image: x, network_mode: bridge }
  b: { image: x, network_mode: host }
  c: { image: x, network_mode: none }
  d: { image: x, network_mode: 'service:many' }
  e: { image: x, network_mode: 'container:named' }
  f: { image: x, network_mode: demo_default }
  g: { image: x, network_mode: 'container:demo-many-2' }
  h: { image: x, network_mode: '' }
  many: { image: x, scale: 2 }
  other: { image: x, container_name: named }";
    let project = read(text).unwrap();
    let mode = |name: &str| match &node(&project, name).network {
        NetworkMode::DefaultBridge(a) => format!("bridge {} {}", a.network, a.aliases.len()),
        NetworkMode::Networks(all) => format!("networks {} {}", all[0].network, all[0].aliases.len()),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Container(donor) => format!("container {}", donor.node),
    };
    assert_eq!(mode("a"), format!("bridge {DEFAULT_BRIDGE} 0"));
    let modes = ["b", "c", "d", "e", "f", "g", "h"].map(mode);
    let expected = [
        "host",
        "none",
        "container many.1",
        "container other",
        "networks default 0",
        "container many.2",
        "networks default 2",
    ];
    assert_eq!(modes, expected);
}

#[test]
fn other_namespaces_are_own_the_hosts_or_anothers() {
    let text = "
services:
  a: { image: x, ipc: shareable, pid: host, uts: host, userns_mode: host, cgroup: private }
  b: { image: x, ipc: 'service:a', pid: 'container:demo-a-1', cgroup: host }
  c: { image: x, ipc: '', pid: '', uts: '', userns_mode: '' }";
    let project = read(text).unwrap();
    let (a, b, c) = (node(&project, "a"), node(&project, "b"), node(&project, "c"));
    assert_eq!((a.ipc.clone(), a.pid.clone()), (Some(IpcMode::Shareable), PidMode::Host));
    assert_eq!((a.uts_host, a.userns_host, a.cgroup), (true, true, Some(CgroupMode::Private)));
    assert!(matches!(&b.ipc, Some(IpcMode::Container(d)) if d.node.as_str() == "a"));
    assert!(matches!(&b.pid, PidMode::Container(d) if d.node.as_str() == "a"));
    assert_eq!((c.ipc.clone(), c.pid.clone(), c.uts_host, c.cgroup), (None, PidMode::Private, false, None));
}

#[test]
fn ports_of_a_service_on_the_hosts_network_are_discarded_with_a_warning() {
    let project = read("services: { web: { image: x, network_mode: host, ports: ['80:80'] } }").unwrap();
    let warnings: Vec<_> = project.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["demo/compose.yaml:1:58: Published ports are discarded when using host network mode"]
    );
}

#[test]
fn a_donor_joins_nothing_but_its_own_networks() {
    let project =
        read("services: { web: { image: x, network_mode: 'service:db' }, db: { image: x } }").unwrap();
    assert_eq!(joined(node(&project, "db")), ["default"]);
    assert_eq!(project.containers[0].node.as_str(), "db", "whose network it is starts before");
}
