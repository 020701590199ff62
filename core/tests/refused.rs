//! What Docker refuses, in its own words and where the user wrote it: no trial of `fixtures/bad/refused` can
//! be planned.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::plan::plan;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::{compose::Options, trial};

/// The disk, below a folder.
struct Below(PathBuf);

impl Files for Below {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(self.0.join(path))
    }
}

#[test]
fn what_docker_refuses_is_shown_where_it_was_written() {
    insta::glob!("../../fixtures/bad/refused", "*.trial.yaml", |path| {
        let files = Below(path.parent().unwrap().to_owned());
        let name = PathBuf::from(path.file_name().unwrap());
        let read = trial::read(&name, &files, &Options::default());
        let refused = read.and_then(|trial| plan(&trial.topology)).unwrap_err();
        insta::assert_snapshot!(refused.to_string());
    });
}
