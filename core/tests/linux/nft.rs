//! What the kernel and `nft` make of Docker's tables, as text.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{fs, thread};

use seatrial_core::plan::{Item, Object, plan};
use seatrial_core::rules::nft::Script;
use seatrial_core::rules::{Backend, Ruleset, nft};
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial;

use crate::alone::alone;

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

/// What nft says, fed with a script.
fn run(args: &[&str], script: &str) -> String {
    let mut nft = Command::new("nft");
    let mut nft = nft.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = nft.stdin.take().unwrap();
    let script = script.to_owned();
    let feed = thread::spawn(move || input.write_all(script.as_bytes()).unwrap());
    let output = nft.wait_with_output().unwrap();
    feed.join().unwrap();
    assert!(output.status.success(), "nft {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn rulesets(trial: &Path) -> Vec<Arc<Ruleset>> {
    let topology = trial::read(trial, &Disk, &Options::default()).unwrap().topology;
    let of_nft = |item: Item| {
        let Object::Rules(rules) = item.object else { return None };
        (rules.backend == Backend::Nft).then_some(rules)
    };
    plan(&topology).unwrap().items.into_iter().filter_map(of_nft).collect()
}

#[test]
fn nft_lists_the_tables_of_every_trial_as_they_are_planned_to_the_byte() {
    if !alone() {
        return;
    }
    let trials = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/trials/nft");
    let mut listed = 0;
    for entry in fs::read_dir(trials).unwrap() {
        let trial = entry.unwrap().path();
        for rules in rulesets(&trial) {
            run(&["-f", "-"], &nft::script(&rules).unwrap());
            // An nft before 1.0.7 has no name for the priority of destination NAT at output.
            let old = "hook output priority -100";
            let list =
                run(&["--stateless", "list", "ruleset"], "").replace(old, "hook output priority dstnat");
            assert_eq!(list, nft::list(&rules).unwrap(), "{}", trial.display());
            run(&["-f", "-"], "flush ruleset\n");
            listed += 1;
        }
    }
    assert!(listed > 40, "only {listed} sets of rules");
}

#[test]
fn what_nft_lists_of_a_text_is_read_as_the_text_is() {
    if !alone() {
        return;
    }
    // `iif lo` is read anywhere; a device of another name has to be there.
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/rules");
    let mut read = 0;
    for file in ["nft/server.nft", "nft/workstation.nft", "firewalld/docker-zone.nft"] {
        let text = fs::read_to_string(rules.join(file)).unwrap();
        let written = Script::read(&text).unwrap();
        run(&["-f", "-"], &text);
        let listed = run(&["--stateless", "list", "ruleset"], "");
        let listed = Script::read(&listed).unwrap_or_else(|e| panic!("{file}: {e}\n{listed}"));
        for (ours, theirs) in written.rulesets.iter().zip(&listed.rulesets) {
            for (ours, theirs) in ours.tables.iter().zip(&theirs.tables) {
                assert_eq!(ours, theirs, "{file}");
            }
        }
        assert_eq!(written.rulesets, listed.rulesets, "{file}");
        run(&["-f", "-"], "flush ruleset\n");
        read += written.rulesets.iter().flat_map(|rules| &rules.tables).flat_map(|t| &t.chains).count();
    }
    assert!(read > 100, "only {read} chains");
}
