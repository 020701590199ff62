//! The merged tree as a project: its name, its networks, its containers.

use std::path::{Component, Path};

use super::{Options, Project, keys, network, service};
use crate::diagnostic::Diagnostics;
use crate::topology::field::Field;
use crate::topology::files;
use crate::topology::yaml::Node;

/// What the merged tree says.
pub(super) fn build(root: &Node, folder: &Path, options: &Options, out: &mut Diagnostics) -> Project {
    keys::check(root, keys::FILE, "a compose file", out);
    let name = name(root, folder, options, out);
    let networks = network::all(root, &name, out);
    let mut containers = Vec::new();
    if let Some(services) = Field::of(root, "services") {
        for (key, node) in services.mapping(out) {
            containers.push(service::read(key, node, &name, out));
        }
    }
    Project { name, networks, containers, warnings: Vec::new(), at: root.at.clone() }
}

/// `--project-name`, `COMPOSE_PROJECT_NAME`, `name`, or the folder's name.
fn name(root: &Node, folder: &Path, options: &Options, out: &mut Diagnostics) -> String {
    let said = Field::of(root, "name").and_then(|f| f.string(out));
    let folder = files::normal(&options.directory.join(folder));
    let folder = folder.components().next_back().and_then(|c| match c {
        Component::Normal(name) => name.to_str(),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    });
    let given =
        options.project_name.as_deref().or(options.env.get("COMPOSE_PROJECT_NAME").map(String::as_str));
    let name = normalised(given.or(said).or(folder).unwrap_or_default());
    if name.is_empty() { "project".to_owned() } else { name }
}

/// Lower case, without what Docker takes for no part of a name (compose-go, NormalizeProjectName).
fn normalised(name: &str) -> String {
    let name = name.to_lowercase();
    let kept =
        name.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
    kept.collect::<String>().trim_start_matches(['-', '_']).to_owned()
}
