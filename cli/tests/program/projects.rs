//! Every compose file of `fixtures/compose`, as it is: who reaches whom, and some packets on their way.

use crate::{answer, run};

/// The questions that a reader of each file would ask first.
const PROBES: [(&str, [&str; 2]); 12] = [
    ("apache-php", ["lan -> 203.0.113.10:80/tcp", "web -> host.docker.internal:80/tcp"]),
    ("flask-redis", ["web -> redis:6379/tcp", "host -> 127.0.0.1:8000/tcp"]),
    ("nextcloud-redis-mariadb", ["redis -> 172.18.0.3:3306/tcp", "nc -> redis:6379/tcp"]),
    ("nginx-golang-postgres", ["proxy -> backend/icmp", "backend -> db:5432/tcp"]),
    ("nginx-nodejs-redis", ["nginx -> web1:5000/tcp", "lan -> 203.0.113.10:81/tcp"]),
    ("pihole-cloudflared-DoH", ["lan -> 203.0.113.10:53/udp", "pihole -> cloudflared:5054/udp"]),
    ("postgresql-pgadmin", ["pgadmin -> postgres:5432/tcp", "pgadmin -> 203.0.113.10:5432/tcp"]),
    ("prometheus-grafana", ["grafana -> prometheus:9090/tcp", "lan -> 172.18.0.2:9090/tcp"]),
    ("react-express-mongodb", ["frontend -> mongo:27017/tcp", "frontend -> 172.19.0.2:27017/tcp"]),
    ("traefik-golang", ["frontend -> backend/icmp", "frontend -> 203.0.113.50/icmp"]),
    ("wireguard", ["lan -> 203.0.113.10:51820/udp", "wireguard -> 203.0.113.10/icmp,ttl=1"]),
    ("wordpress-mysql", ["wordpress -> db:3306/tcp", "lan -> 203.0.113.10:3306/tcp"]),
];

#[test]
fn every_compose_file_says_who_reaches_whom_and_by_what_way() {
    insta::glob!("../../../fixtures/compose", "*.yaml", |path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let file = format!("fixtures/compose/{name}.yaml");
        let (_, probes) = PROBES.iter().find(|(project, _)| *project == name).unwrap();
        let mut text = format!("$ seatrial matrix {file}\n{}", answer(&["matrix", &file]));
        for probe in probes {
            text += &format!("\n$ seatrial trace {file} '{probe}'\n{}", answer(&["trace", &file, probe]));
        }
        let wide: Vec<&str> =
            text.lines().filter(|l| !l.starts_with('$') && l.chars().count() > 80).collect();
        assert!(wide.is_empty(), "wider than 80 columns: {wide:#?}");
        insta::assert_snapshot!(text);
    });
}

/// A variable that is not set may be a port: whoever reads the answer must know.
#[test]
fn what_compose_warns_of_is_on_standard_error_and_the_answer_is_there_all_the_same() {
    let said = run(&["matrix", "fixtures/compose/wireguard.yaml"]);
    assert_eq!(
        said.err,
        "\
warning: fixtures/compose/wireguard.yaml:12:12: the variable TIMEZONE is not set; an empty string stands for it
warning: fixtures/compose/wireguard.yaml:13:19: the variable VPN_SERVER_URL is not set; an empty string stands for it
warning: fixtures/compose/wireguard.yaml:1:10: 'version' is obsolete and ignored
"
    );
    assert_eq!(said.status, 0);
}
