//! Goldens: the plan of every compose file as the script a person would type.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::engine::Engine;
use seatrial_core::plan::check::check;
use seatrial_core::plan::plan;
use seatrial_core::topology::files::Files;
use seatrial_core::topology::{compose, trial};

/// The disk, below a folder.
struct Below(PathBuf);

impl Files for Below {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(self.0.join(path))
    }
}

#[test]
fn every_compose_file_is_planned_as_approved() {
    insta::glob!("../../fixtures/compose", "*.yaml", |path| {
        let name = PathBuf::from(path.file_name().unwrap());
        let files = Below(path.parent().unwrap().to_owned());
        let options = compose::Options { directory: "/project".into(), ..compose::Options::default() };
        let project = compose::read(&[name], &files, &options).unwrap();
        let plan = plan(&trial::assume(project, Engine::NEWEST).unwrap()).unwrap();
        assert_eq!(check(&plan), Ok(()));
        insta::assert_snapshot!(plan.to_string());
    });
}
