//! What a sniffer sees of every probe of every trial is what Wireshark takes for sound.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use seatrial_core::topology::compose::Options;
use seatrial_core::topology::trial::{Trial, read};
use seatrial_sim::world::World;

use super::{lines, sail, sail_asking, trial, trials};

/// Questions that no trial of the fixtures asks: SCTP, and what is longer than the link takes.
const RARE: &str = r#"
title: t
compose:
  networks: { default: { enable_ipv6: true } }
  services: { web: { image: x, ports: [ "8080:80/udp", "9000:9000/sctp" ] } }
lan: { laptop: 203.0.113.50/24 }
expect:
  - laptop -> 203.0.113.10:9000/sctp                   reaches web:9000
  - laptop -> 203.0.113.10:9001/sctp                   refused
  - laptop -> 203.0.113.10:8080/udp,size=4000          reaches web:80
  - laptop -> 203.0.113.10:8080/udp,ttl=1              unreachable
  - host -> web:80/udp6,size=5001                      reaches web:80
  - web -> host.docker.internal:9/tcp                  unknown-name
"#;

/// What tshark says of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame(BTreeMap<&'static str, String>);

/// What is looked at. A status is 0 of a bad checksum, 1 of a good one, and 2 where there was nothing to look at.
const FIELDS: [&str; 15] = [
    "frame.number",
    "frame.time_epoch",
    "frame.interface_name",
    "frame.comment",
    "_ws.col.Protocol",
    "_ws.col.Info",
    "_ws.malformed",
    "_ws.short",
    "_ws.expert.severity",
    "ip.checksum.status",
    "tcp.checksum.status",
    "udp.checksum.status",
    "sctp.checksum.status",
    "icmp.checksum.status",
    "icmpv6.checksum.status",
];
/// An expert's severity of what is an error.
const ERROR: &str = "8388608";

impl Frame {
    fn get(&self, field: &str) -> &str {
        &self.0[field]
    }

    /// Checksums of this status: `ip`, `tcp`, ….
    fn sums(&self, status: &str) -> Vec<&'static str> {
        let sums = self.0.iter().filter_map(|(name, value)| {
            let protocol = name.strip_suffix(".checksum.status")?;
            value.split(',').any(|one| one == status).then_some(protocol)
        });
        sums.collect()
    }

    /// Whether tshark finds nothing wrong.
    fn is_sound(&self) -> bool {
        let wrong = self.get("_ws.expert.severity").split(',').any(|severity| severity == ERROR);
        let whole = self.get("_ws.malformed").is_empty() && self.get("_ws.short").is_empty();
        whole && !wrong && self.sums("0").is_empty()
    }
}

/// The frames of a file. An IPv4 checksum is looked at only if one asks for it, and so are TCP's and UDP's.
fn tshark(file: &Path) -> Vec<Frame> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(file).args(["-T", "fields"]);
    tshark.args(["-o", "sctp.checksum:CRC 32c"]);
    for option in ["ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"] {
        tshark.arg("-o").arg(format!("{option}:TRUE"));
    }
    for field in FIELDS {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let frame = |line: &str| Frame(FIELDS.into_iter().zip(line.split('\t').map(str::to_owned)).collect());
    text.lines().map(frame).collect()
}

#[expect(clippy::print_stdout, reason = "what is skipped says so")]
fn is_missing() -> bool {
    let missing = Command::new("tshark").arg("--version").output().is_err();
    if missing {
        println!("skipped: no tshark here (scripts/setup.sh installs it)");
    }
    missing
}

/// Captures of all probes of a trial, one section each.
fn record(trial: &Trial, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    sail_asking(trial, seed, &mut |world, probe| {
        let (answer, capture) = world.record(probe);
        capture.write_to(&mut bytes).unwrap();
        answer
    });
    bytes
}

fn rare() -> Trial {
    let files = BTreeMap::from([(PathBuf::from("t.trial.yaml"), RARE.to_owned())]);
    read(Path::new("t.trial.yaml"), &files, &Options::default()).unwrap()
}

/// Whether wires change bits in it.
fn mars(trial: &Trial) -> bool {
    lines(trial, &trial.steps).iter().any(|step| step.to_string().starts_with("corrupt "))
}

/// The captures of all trials whose packets stay whole, in a few files.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<Trial> = trials().iter().map(|path| trial(path)).filter(|trial| !mars(trial)).collect();
    all.push(rare());
    let of = |(i, trials): (usize, &[Trial])| {
        let file = folder.join(format!("{i}.pcapng"));
        fs::write(&file, trials.iter().flat_map(|trial| record(trial, 1)).collect::<Vec<u8>>()).unwrap();
        file
    };
    all.chunks(20).enumerate().map(of).collect()
}

#[test]
fn tshark_finds_no_malformed_packet_and_no_bad_checksum_in_what_any_probe_sends() {
    if is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut frames, mut checked) = (0, BTreeSet::new());
    for file in files(folder.path()) {
        let seen = tshark(&file);
        let unsound: Vec<_> = seen.iter().filter(|frame| !frame.is_sound()).collect();
        assert_eq!(unsound, Vec::<&Frame>::new());
        checked.extend(seen.iter().flat_map(|frame| frame.sums("1")));
        frames += seen.len();
    }
    assert_eq!(checked.into_iter().collect::<Vec<_>>(), ["icmp", "icmpv6", "ip", "sctp", "tcp", "udp"]);
    assert!(frames > 10_000, "only {frames} frames");
}

#[test]
fn tshark_sees_it_where_a_byte_is_another() {
    if is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.pcapng");
    let mut bytes = record(&rare(), 1);
    let asks: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"ask ")).collect();
    assert!(asks.len() > 20, "{}", asks.len());
    asks.iter().for_each(|at| bytes[*at] = b'A');
    fs::write(&file, bytes).unwrap();
    let bad: BTreeSet<_> = tshark(&file).iter().flat_map(|frame| frame.sums("0")).collect();
    assert_eq!(bad.into_iter().collect::<Vec<_>>(), ["sctp", "udp"]);
}

#[test]
fn a_wrong_bit_in_a_packet_is_a_wrong_checksum_in_its_capture() {
    if is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.pcapng");
    let marred: Vec<Trial> = trials().iter().map(|path| trial(path)).filter(mars).collect();
    fs::write(&file, marred.iter().flat_map(|trial| record(trial, 1)).collect::<Vec<u8>>()).unwrap();
    let bad = tshark(&file).into_iter().filter(|frame| !frame.sums("0").is_empty());
    assert!(bad.count() > 0);
}

#[test]
fn a_capture_has_every_devices_name_virtual_time_and_the_rules_as_comments() {
    if is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.pcapng");
    let mut first = Vec::new();
    sail_asking(&rare(), 1, &mut |world: &mut World, probe| {
        let (answer, capture) = world.record(probe);
        if first.is_empty() {
            capture.write_to(&mut first).unwrap();
        }
        answer
    });
    fs::write(&file, first).unwrap();
    let seen = tshark(&file);
    let init: Vec<_> = seen.iter().filter(|frame| frame.get("_ws.col.Info").starts_with("INIT ")).collect();
    let way: Vec<_> = init.iter().map(|frame| frame.get("frame.interface_name")).collect();
    let [bridge, port] = [way[4], way[5]];
    assert!(bridge.starts_with("host/br-") && port.starts_with("host/veth"), "{way:?}");
    assert_eq!(way[..4], ["laptop/eth0", "wire/laptop.eth0", "wire/host.eth0", "host/eth0"]);
    assert_eq!(way[6], "web/eth0");
    assert!(init.windows(2).all(|pair| pair[0].get("frame.time_epoch") <= pair[1].get("frame.time_epoch")));
    assert!(init[0].get("frame.time_epoch").starts_with("0.0000"), "{}", init[0].get("frame.time_epoch"));
    let rules = init[3].get("frame.comment");
    assert!(
        rules.contains("nat PREROUTING rule 1 -> DOCKER: -m addrtype --dst-type LOCAL -j DOCKER"),
        "{rules}"
    );
    assert!(rules.contains("filter DOCKER rule 1 ACCEPT: -d 172.18.0.2/32 "), "{rules}");
    assert_eq!(init[1].get("frame.comment"), "", "a switch has no rules");
}

#[test]
fn a_capture_is_the_same_for_the_same_seed_and_changes_nothing_of_the_answer() {
    for path in trials().iter().step_by(7) {
        let trial = trial(path);
        assert!(record(&trial, 5) == record(&trial, 5), "{}", path.display());
        let recorded = sail_asking(&trial, 5, &mut |world, probe| world.record(probe).0);
        assert_eq!(recorded, sail(&trial, 5), "{}", path.display());
    }
    assert!(record(&rare(), 5) != record(&rare(), 6));
}
