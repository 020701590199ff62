//! Every form of `ports` and `expose`.

use super::{node, read};

/// `HOST_IP HOST CONTAINER PROTO` of each.
fn published(ports: &str) -> Vec<String> {
    let project = read(&format!("services: {{ web: {{ image: nginx, ports: {ports} }} }}")).unwrap();
    let all = node(&project, "web").ports.iter().map(|p| {
        let ip = p.host_ip.map_or("any".to_owned(), |ip| ip.to_string());
        let host = p.host_ports.map_or("free".to_owned(), |h| h.to_string());
        format!("{ip} {host} {} {}", p.container_ports, p.transport)
    });
    all.collect()
}

#[test]
fn every_form_of_a_port_is_read() {
    for (written, meant) in [
        ("80", "any free 80 tcp"),
        ("'80'", "any free 80 tcp"),
        ("8080:80", "any 8080 80 tcp"),
        ("22:22", "any 22 22 tcp"),
        ("'8080:80/udp'", "any 8080 80 udp"),
        ("'8080:80/TCP'", "any 8080 80 tcp"),
        ("'8080:80/sctp'", "any 8080 80 sctp"),
        ("'127.0.0.1:8080:80'", "127.0.0.1 8080 80 tcp"),
        ("'127.0.0.1::80'", "127.0.0.1 free 80 tcp"),
        ("'[::1]:8080:80'", "::1 8080 80 tcp"),
        ("'[fd00::1]::80/udp'", "fd00::1 free 80 udp"),
        ("'0:80'", "any free 80 tcp"),
        ("':80'", "any free 80 tcp"),
        ("'80-82'", "any free 80-82 tcp"),
        ("'8000-8010:80-90'", "any 8000-8010 80-90 tcp"),
        ("'8000-8010:80'", "any 8000-8010 80 tcp"),
        ("'0.0.0.0:8000-8001:80-81/udp'", "0.0.0.0 8000-8001 80-81 udp"),
        ("{ target: 80 }", "any free 80 tcp"),
        ("{ target: '80', published: 8080 }", "any 8080 80 tcp"),
        (
            "{ target: 80, published: '8080-8090', host_ip: 127.0.0.1, protocol: udp, mode: host, name: x, \
             app_protocol: http, x-note: y }",
            "127.0.0.1 8080-8090 80 udp",
        ),
        ("{ target: 80, published: 8080, host_ip: '::1' }", "::1 8080 80 tcp"),
    ] {
        assert_eq!(published(&format!("[{written}]")), [meant], "{written}");
    }
}

#[test]
fn one_mapping_said_twice_is_one() {
    let twice = "['80:80', '80:80/tcp', { target: 80, published: 80 }, '81:80', 80, '80']";
    assert_eq!(published(twice), ["any 80 80 tcp", "any 81 80 tcp", "any free 80 tcp"]);
}

/// Compose takes an empty address for 0.0.0.0 when it looks for doubles, and the later of two stays.
#[test]
fn a_mapping_on_every_address_and_one_on_0_0_0_0_are_one() {
    assert_eq!(published("['80:80', '0.0.0.0:80:80']"), ["0.0.0.0 80 80 tcp"]);
    assert_eq!(published("['0.0.0.0:80:80', '80:80']"), ["any 80 80 tcp"]);
}

#[test]
fn exposed_ports_are_single_or_ranges() {
    let text = "services: { web: { image: nginx, expose: [80, '81', '82/udp', 3000-3005, '80/tcp'] } }";
    let project = read(text).unwrap();
    let all: Vec<String> = node(&project, "web").expose.iter().map(|(t, p)| format!("{p}/{t}")).collect();
    assert_eq!(all, ["80/tcp", "81/tcp", "82/udp", "3000-3005/tcp"]);
}
