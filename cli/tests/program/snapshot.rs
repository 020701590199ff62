//! `seatrial snapshot`, and what can be asked of one.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use seatrial_core::diagnostic::Source;
use seatrial_core::probe::{Outcome, Probe};
use seatrial_core::snapshot::Snapshot;
use seatrial_sim::world::World;

use crate::{Said, answer, folder, program, root, run, run_in};

const PLAIN: &str = "fixtures/hosts/plain-28/snapshot.json";

/// The folders of captured hosts.
fn hosts() -> Vec<PathBuf> {
    let folders = fs::read_dir(root().join("fixtures/hosts")).unwrap().map(|entry| entry.unwrap().path());
    let mut hosts: Vec<PathBuf> = folders.filter(|path| path.join("setup.sh").exists()).collect();
    hosts.sort();
    hosts
}

/// What scripts/capture-hosts.sh asked of a real kernel is asked of its snapshot.
#[test]
fn a_host_answers_as_its_own_kernel_did() {
    let (mut asked, mut differ) = (0, String::new());
    for host in hosts() {
        let name = host.join("snapshot.json");
        let text = fs::read_to_string(&name).unwrap();
        let source = Source { name: name.display().to_string(), text };
        let (plan, _) = Snapshot::parse(&source.into()).unwrap().surrounded();
        let world = World::build(&plan, 1).unwrap();
        for line in fs::read_to_string(host.join("asked.txt")).unwrap().lines() {
            let (question, word) = line.rsplit_once(' ').unwrap();
            let probe: Probe = question.parse().unwrap();
            let outcome = world.clone().ask(&probe);
            let reaches = matches!(outcome, Outcome::Reaches { .. });
            asked += 1;
            if reaches != (word == "reaches") {
                differ += &format!("{}: {line}, and here {outcome}\n", host.display());
            }
        }
    }
    assert!(asked > 1000, "only {asked} questions");
    assert!(differ.is_empty(), "{differ}");
}

#[test]
fn a_snapshot_has_a_matrix_a_trace_and_a_plan() {
    insta::assert_snapshot!(answer(&["matrix", PLAIN]));
    let trace = answer(&["trace", PLAIN, "lan -> 203.0.113.10:8080/tcp"]);
    assert!(trace.starts_with("lan -> 203.0.113.10:8080/tcp  reaches web:80 from 203.0.113."), "{trace}");
    let plan = answer(&["plan", PLAIN, "--format", "iptables-save"]);
    assert!(plan.contains("-A DOCKER ! -i br-") && plan.contains("--to-destination 172.18.0.2:80"), "{plan}");
}

#[test]
fn two_snapshots_are_compared() {
    let said = run(&["diff", "fixtures/hosts/plain-26/snapshot.json", PLAIN]);
    assert_eq!((said.status, said.err.as_str()), (1, ""));
    assert!(said.out.contains("lan -> 172.18.0.2:80/tcp,raw"), "{}", said.out);
    let same = run(&["diff", PLAIN, PLAIN]);
    assert_eq!((same.status, same.err.as_str()), (0, ""));
}

#[test]
fn what_is_no_snapshot_is_refused_where_it_is_wrong() {
    let whole = fs::read_to_string(root().join(PLAIN)).unwrap();
    let cut = whole.get(..whole.len() / 2).unwrap();
    let newer = whole.replacen("\"seatrial_snapshot\": 1", "\"seatrial_snapshot\": 2", 1);
    let no_lo = whole.replacen("\"kernel\":", "\"kernels\":", 1);
    let folder = folder(&[("cut.json", cut), ("newer.json", &newer), ("other.json", &no_lo)]);
    for (file, words) in [
        ("cut.json", "no snapshot: EOF while parsing"),
        ("newer.json", "a snapshot of version 2"),
        ("other.json", "no snapshot: missing field `kernel`"),
    ] {
        let said = run_in(folder.path(), &["matrix", file]);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{file}: {}", said.err);
        assert!(said.err.starts_with(&format!("error: {words}")), "{file}: {}", said.err);
    }
    for options in [["--engine", "26"], ["-f", "more.yaml"], ["-p", "shop"], ["--profile", "dev"]] {
        let said = run(&[&["matrix", PLAIN][..], &options].concat());
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{options:?}");
        let words: Vec<&str> = said.err.split_whitespace().collect();
        assert!(words.join(" ").contains("is a snapshot: it is as it was found"), "{}", said.err);
    }
    let up = run(&["up", PLAIN]);
    assert_eq!(up.status, 2);
    assert!(up.err.starts_with("error: a snapshot has no project in it"), "{}", up.err);
}

#[test]
fn whoever_is_not_root_is_told_so() {
    let mut program = program(&root(), &["snapshot"]);
    if nix::unistd::geteuid().is_root() {
        program.uid(65534);
    }
    let said = match program.output() {
        Ok(output) => Said::from(output),
        // Where this folder is root's alone there is nobody else to try it.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return println!("skipped: {e}"),
        Err(e) => panic!("{e}"),
    };
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{}", said.err);
    let words: Vec<&str> = said.err.split_whitespace().collect();
    assert!(words.join(" ").ends_with("only root may: sudo seatrial snapshot"), "{}", said.err);
}
