//! `seatrial trace --pcap`: a file that a sniffer on every device would have written.

use std::fs;

use crate::{Said, folder, run};

const TRACE: [&str; 3] = ["trace", "fixtures/compose/wordpress-mysql.yaml", "lan -> 203.0.113.10:80/tcp"];
/// The type of a pcapng file's first block, and the byte order that follows it.
const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

fn trace(options: &[&str]) -> Said {
    run(&[&TRACE[..], options].concat())
}

#[test]
fn a_capture_is_a_file_beside_the_same_answer_and_the_same_for_the_same_seed() {
    let folder = folder(&[("old.pcapng", "what stood here before, and was longer than nothing")]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (new, old) = (path("new.pcapng"), path("old.pcapng"));
    assert_eq!(trace(&["--pcap", &new]), trace(&[]));
    assert_eq!(trace(&["--pcap", &old, "--format", "json"]), trace(&["--format", "json"]));
    let bytes = fs::read(&new).unwrap();
    assert_eq!(bytes[..4], MAGIC);
    assert!(bytes == fs::read(&old).unwrap(), "what stood there is gone");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("host/eth0") && text.contains("nat DOCKER rule 1 DNAT: "));
    trace(&["--pcap", &old, "--seed", "2"]);
    assert!(bytes != fs::read(&old).unwrap());
}

#[test]
fn a_capture_that_cannot_be_written_is_said_and_nothing_is_answered() {
    let said = trace(&["--pcap", "no/such/a.pcapng"]);
    let err = "error: cannot write no/such/a.pcapng: No such file or directory (os error 2)\n";
    assert_eq!(said, Said { status: 2, out: String::new(), err: err.to_owned() });
    let full = trace(&["--pcap", "/dev/full"]);
    assert_eq!((full.status, full.out.as_str()), (2, ""));
    assert!(full.err.starts_with("error: cannot write /dev/full: No space left"), "{}", full.err);
}
