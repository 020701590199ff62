//! What else a service says: names, links, settings, mounts.

use seatrial_core::topology::ExtraHostTarget;

use super::{node, read};

#[test]
fn extra_hosts_have_a_list_form_and_a_mapping_form() {
    let text = "
services:
  a: { image: x, extra_hosts: ['a:1.2.3.4', 'b=1.2.3.4', 'c=[::1]', 'd:::1', 'e:[::1]', 'host.docker.internal:host-gateway'] }
  b: { image: x, extra_hosts: { z: 1.2.3.4, y: '::1', x: [1.1.1.1, host-gateway] } }";
    let project = read(text).unwrap();
    let said = |name| {
        let all = node(&project, name).extra_hosts.iter().map(|h| match h.target {
            ExtraHostTarget::Address(ip) => format!("{}={ip}", h.name),
            ExtraHostTarget::HostGateway => format!("{}=host-gateway", h.name),
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(
        said("a"),
        ["a=1.2.3.4", "b=1.2.3.4", "c=::1", "d=::1", "e=::1", "host.docker.internal=host-gateway"]
    );
    assert_eq!(said("b"), ["z=1.2.3.4", "y=::1", "x=1.1.1.1", "x=host-gateway"]);
}

/// Observed on Compose 2.40: the second and third name have the number of the container that links.
#[test]
fn links_name_every_container_of_a_service() {
    let text = "services: { a: { image: x, scale: 2 }, b: { image: x, links: ['a:x', a], external_links: ['demo-a-1:ext'] } }";
    let project = read(text).unwrap();
    let links: Vec<_> =
        node(&project, "b").links.iter().map(|l| format!("{}:{}", l.target.node, l.alias)).collect();
    assert_eq!(
        links,
        ["a.1:x", "a.1:a-1", "a.1:demo-a-1", "a.2:x", "a.2:a-1", "a.2:demo-a-1", "a.1:a", "a.2:a", "a.1:ext"]
    );
}

#[test]
fn what_a_process_may_do_and_mounts() {
    let text = "
services:
  a:
    image: x
    user: '1000:1000'
    privileged: 'true'
    read_only: yes
    cap_add: [cap_net_admin, ALL, NET_ADMIN]
    cap_drop: [MKNOD]
    shm_size: 1.5m
    tmpfs: [/run, '/tmp:size=1m']
    volumes:
      - /anonymous
      - ./a:/b:ro
      - data:/d
      - { type: bind, source: q, target: /q, read_only: true }
      - { type: tmpfs, target: /t }
      - ./other:/d
volumes: { data: }";
    let project = read(text).unwrap();
    let p = &node(&project, "a").process;
    assert_eq!((p.user.as_deref(), p.privileged, p.read_only), (Some("1000:1000"), true, true));
    assert_eq!(
        (p.cap_add.clone(), p.cap_drop.clone()),
        (vec!["NET_ADMIN".into(), "ALL".into()], vec!["MKNOD".to_owned()])
    );
    assert_eq!((p.shm_size, p.tmpfs.len()), (Some(1_572_864), 3));
    let mounts: Vec<_> = p
        .mounts
        .iter()
        .map(|m| format!("{} {} {}", m.source.as_deref().unwrap_or("-"), m.target, m.read_only))
        .collect();
    assert_eq!(mounts, ["- /anonymous false", "./a /b true", "./other /d false", "./q /q true"]);
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [
        ("2gb", 2 << 30),
        ("64000000", 64_000_000),
        ("1.5m", 3 << 19),
        ("'64 MiB'", 64 << 20),
        ("1k", 1024),
        ("10b", 10),
    ] {
        let project = read(&format!("services: {{ a: {{ image: x, shm_size: {text} }} }}")).unwrap();
        assert_eq!(node(&project, "a").process.shm_size, Some(bytes), "{text}");
    }
}

#[test]
fn settings_have_a_list_form_and_a_mapping_form() {
    let text = "
services:
  a: { image: x, sysctls: [net.core.somaxconn=9, net/ipv4/ip_forward=1, net.ipv4.x] }
  b: { image: x, sysctls: { net.core.somaxconn: 9, kernel.shm_rmid_forced: , fs.mqueue.msg_max: 5 } }";
    let project = read(text).unwrap();
    let said = |name| {
        let all = node(&project, name).sysctls.iter().map(|(k, v)| format!("{k}={v}"));
        all.collect::<Vec<_>>()
    };
    assert_eq!(said("a"), ["net.core.somaxconn=9", "net.ipv4.ip_forward=1", "net.ipv4.x="]);
    assert_eq!(said("b"), ["fs.mqueue.msg_max=5", "kernel.shm_rmid_forced=", "net.core.somaxconn=9"]);
}

#[test]
fn keys_that_change_no_network_are_read_past() {
    let text = "
services:
  a:
    image: x
    build: { context: ., extra_hosts: [x] }
    command: [a, b]
    environment: { A: 1 }
    healthcheck: { test: [CMD, x] }
    logging: { driver: none }
    x-anything: { a: b }
secrets: { s: { file: x } }
x-top: 1";
    assert!(read(text).unwrap().warnings.is_empty());
}
