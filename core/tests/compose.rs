//! What compose files are read as.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use seatrial_core::topology::compose::{self, Options, Project};

/// Reads one file called `demo/compose.yaml`.
fn read(text: &str) -> Result<Project, String> {
    let path = PathBuf::from("demo/compose.yaml");
    let files = BTreeMap::from([(path.clone(), text.to_owned())]);
    compose::read(&[path], &files, &Options::default()).map_err(|e| e.to_string())
}

#[test]
fn every_file_of_the_collection_reads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/compose");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let project = read(&std::fs::read_to_string(&path).unwrap());
            assert!(!project.unwrap_or_else(|e| panic!("{e}")).containers.is_empty(), "{}", path.display());
            count += 1;
        }
    }
    assert_eq!(count, 12);
}

#[test]
fn a_service_is_a_container_of_the_project_on_the_default_network() {
    let project = read("services: {web: {image: nginx, ports: ['8080:80']}}").unwrap();
    assert_eq!(project.name, "demo");
    assert_eq!(project.networks[0].name, "demo_default");
    assert_eq!(project.containers[0].name, "demo-web-1");
    assert_eq!(project.containers[0].ports[0].container_ports.to_string(), "80");
}
