//! What compose files are read as, and how the broken ones of `fixtures/bad/compose` are refused.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use seatrial_core::topology::compose::{self, Options, Project};
use seatrial_core::topology::files::Files;
use seatrial_core::topology::{Container, NetworkMode};

#[path = "compose/merge.rs"]
mod merge;
#[path = "compose/modes.rs"]
mod modes;
#[path = "compose/mutations.rs"]
mod mutations;
#[path = "compose/networks.rs"]
mod networks;
#[path = "compose/ports.rs"]
mod ports;
#[path = "compose/projects.rs"]
mod projects;
#[path = "compose/services.rs"]
mod services;

/// The disk, below a folder.
struct Disk(PathBuf);

impl Files for Disk {
    fn read(&self, path: &Path, limit: usize) -> io::Result<String> {
        let text = fs::read_to_string(self.0.join(path))?;
        if text.len() > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// Reads `demo/compose.yaml`, with other files in `demo`.
fn read_with(text: &str, others: &[(&str, &str)], options: &Options) -> Result<Project, String> {
    let demo = |name: &str| Path::new("demo").join(name);
    let mut files: BTreeMap<PathBuf, String> =
        others.iter().map(|(name, text)| (demo(name), (*text).to_owned())).collect();
    files.insert(demo("compose.yaml"), text.to_owned());
    compose::read(&[demo("compose.yaml")], &files, options).map_err(|e| e.to_string())
}

/// Reads `demo/compose.yaml`.
fn read(text: &str) -> Result<Project, String> {
    read_with(text, &[], &Options::default())
}

/// Reads `demo/compose.yaml` with `demo/over.yaml` laid over it.
fn read_two(text: &str, over: &str) -> Result<Project, String> {
    let paths = ["demo/compose.yaml", "demo/over.yaml"].map(PathBuf::from);
    let texts = [text, over].map(str::to_owned);
    let files: BTreeMap<PathBuf, String> = paths.iter().cloned().zip(texts).collect();
    compose::read(&paths, &files, &Options::default()).map_err(|e| e.to_string())
}

/// The container that is called so in probes.
fn node<'a>(project: &'a Project, name: &str) -> &'a Container {
    let found = project.containers.iter().find(|c| c.node.as_str() == name);
    found.unwrap_or_else(|| panic!("no {name} in {:?}", nodes(project)))
}

fn nodes(project: &Project) -> Vec<&str> {
    project.containers.iter().map(|c| c.node.as_str()).collect()
}

/// The keys of the networks that a container joins.
fn joined(container: &Container) -> Vec<&str> {
    let NetworkMode::Networks(all) = &container.network else { panic!("{:?}", container.network) };
    all.iter().map(|a| a.network.as_str()).collect()
}

#[test]
fn every_file_of_the_collection_reads_without_a_warning_but_of_variables() {
    let disk = Disk(fixtures().join("compose"));
    let mut count = 0;
    for entry in fs::read_dir(&disk.0).unwrap() {
        let path = PathBuf::from(entry.unwrap().file_name());
        if path.extension().is_some_and(|e| e == "yaml") {
            let project = compose::read(std::slice::from_ref(&path), &disk, &Options::default());
            let project = project.unwrap_or_else(|e| panic!("{e}"));
            assert!(!project.containers.is_empty() && !project.networks.is_empty(), "{}", path.display());
            for warning in &project.warnings {
                let known = ["is not set", "'version' is obsolete"];
                assert!(known.iter().any(|k| warning.found.contains(k)), "{warning}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 12);
}

#[test]
fn every_broken_file_says_what_is_wrong_and_where() {
    let disk = Disk(fixtures().join("bad/compose"));
    insta::glob!("../../fixtures/bad/compose", "**/*.yaml", |path| {
        let path = path.strip_prefix(disk.0.canonicalize().unwrap()).unwrap();
        if path.components().count() > 1 && path.file_name().unwrap() != "compose.yaml" {
            return;
        }
        let over = path.with_file_name("compose.override.yaml");
        let mut paths = vec![path.to_owned()];
        paths.extend(disk.0.join(&over).exists().then_some(over));
        let wrong = compose::read(&paths, &disk, &Options::default());
        insta::assert_snapshot!(wrong.unwrap_err().to_string());
    });
}

#[test]
fn a_file_above_the_limit_is_refused_by_name() {
    let text = format!("services: {{ web: {{ image: nginx }} }}\n#{}\n", "x".repeat(1 << 20));
    let error = read(&text).unwrap_err();
    let expected =
        "the command line: cannot read demo/compose.yaml: it is too large (expected at most 1 MiB)";
    assert_eq!(error, expected);
}

#[test]
fn more_is_wrong_than_anybody_reads_and_the_rest_is_counted() {
    let keys: String = (0..5000).map(|i| format!("    key{i}: 1\n")).collect();
    let error = read(&format!("services:\n  web:\n{keys}")).unwrap_err();
    assert_eq!(error.lines().count(), 101);
    assert!(error.ends_with("and 4900 more from here on"), "{error}");
}
