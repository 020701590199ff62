//! The text of `nft list`, read and written: upstream's own listings, and those of every trial with nftables.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::addr::Family;
use seatrial_core::plan::{Object, plan};
use seatrial_core::rules::Backend;
use seatrial_core::rules::nft::{list, parse};
use seatrial_core::topology::compose::Options;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::trial;

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files.sort();
    assert!(!files.is_empty(), "{}: no {ending}", folder.display());
    files
}

#[test]
fn every_table_that_is_planned_survives_being_written_and_read() {
    let mut read = 0;
    for file in files("trials/nft", ".trial.yaml") {
        let topology = trial::read(&file, &Disk, &Options::default()).unwrap().topology;
        for item in plan(&topology).unwrap().items {
            let Object::Rules(rules) = item.object else { continue };
            if rules.backend == Backend::Nft {
                let text = list(&rules).unwrap();
                let tables = parse(&text, rules.family).unwrap_or_else(|e| panic!("{e}\n{text}"));
                assert_eq!(tables, rules.tables, "{}", file.display());
                read += 1;
            }
        }
    }
    assert!(read > 40, "only {read} sets of rules");
}

#[test]
fn what_no_plan_has_is_refused_where_it_stands() {
    let of_chain = |rule: &str| format!("table ip t {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n");
    for (text, expected) in [
        (of_chain("limit rate 3/second accept"), "line 3, column 3: found limit, expected a match"),
        (of_chain("tcp dport { 80, 443 } accept"), "line 3, column 13: found {, expected a port"),
        (of_chain("ip6 saddr ::1 accept"), "line 3, column 3: found ip6, expected a match"),
        (of_chain("ip saddr"), "line 4, column 2: found }, expected an address or a network"),
        (
            of_chain("type filter hook ingress priority 0;"),
            "line 3, column 20: found ingress, expected a hook",
        ),
        (of_chain("tcp dport 80 counter jump"), "line 4, column 2: found }, expected a name"),
        ("table inet t {\n}\n".to_owned(), "line 1, column 7: found inet, expected 'ip'"),
        ("table ip t {\n\tset s {\n".to_owned(), "line 2, column 2: found set, expected a map or a chain"),
        ("table ip t {\n".to_owned(), "found the end of the text, expected more"),
    ] {
        let error = parse(&text, Family::V4).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}{error}");
    }
}

#[test]
fn an_engine_before_29_does_not_know_the_key() {
    let file = &files("trials/nft", "published.trial.yaml")[0];
    let mut topology = trial::read(file, &Disk, &Options::default()).unwrap().topology;
    topology.hosts[0].engine = "28.5".parse().unwrap();
    let refused = plan(&topology).unwrap_err().to_string();
    let words =
        "daemon.json: the following directives don't match any configuration option: firewall-backend";
    assert!(refused.starts_with(words), "{refused}");
}
