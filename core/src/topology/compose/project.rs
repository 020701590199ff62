//! The merged tree as a project: its name, its networks, its containers.

use std::collections::BTreeSet;
use std::path::Component;

use super::load::{Findings, Loader, Scope};
use super::{Options, Project, keys, network, order, resolve, service};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::yaml::Node;
use crate::topology::{Network, NetworkMode, files};

/// What the tree says, and all that was wrong on the way to it.
pub(super) fn finish(
    loader: Loader<'_>,
    tree: Option<Node>,
    scope: &Scope,
    options: &Options,
) -> Result<Project, Diagnostics> {
    let Loader { mut out, mut warnings, .. } = loader;
    let Some(root) = tree else { return Err(out) };
    let mut found = Findings { out: &mut out, warnings: &mut warnings };
    let (name, networks, containers) = build(&root, scope, options, &mut found);
    let project = Project { name, networks, containers, warnings, at: At::new(&root.at.source, 0..0) };
    out.into_result(project)
}

type Parts = (String, Vec<Network>, Vec<crate::topology::Container>);

fn build(root: &Node, scope: &Scope, options: &Options, found: &mut Findings<'_>) -> Parts {
    keys::check(root, keys::FILE, "a compose file", found.out);
    let name = name(root, scope, options, found.out);
    let networks = network::all(root, &name, found);
    let services = Field::of(root, "services").map(|f| f.mapping(found.out)).unwrap_or_default();
    let mut refused = BTreeSet::new();
    let services = services.iter().filter_map(|(key, node)| {
        let service = service::read(key, node, root, found);
        refused.extend(service.is_none().then_some(key.name.as_str()));
        service
    });
    let services = services.collect();
    let services = order::enabled(services, &refused, &active(scope, options), found.out);
    let services = order::by_need(services, found.out);
    let containers = resolve::containers(&services, &networks, &name, found);
    let joined = containers.iter().flat_map(|c| match &c.network {
        NetworkMode::Networks(all) => all.as_slice(),
        NetworkMode::DefaultBridge(_) | NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => {
            &[]
        }
    });
    let used: BTreeSet<&str> = joined.map(|a| a.network.as_str()).collect();
    let (external, own): (Vec<_>, Vec<_>) =
        networks.into_iter().filter(|n| used.contains(n.key.as_str())).partition(|n| n.external);
    (name, external.into_iter().chain(own).collect(), containers)
}

/// `--profile` and `COMPOSE_PROFILES`.
fn active(scope: &Scope, options: &Options) -> BTreeSet<String> {
    let said = scope.env.get("COMPOSE_PROFILES").map(String::as_str).unwrap_or_default();
    let said = said.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned);
    said.chain(options.profiles.iter().cloned()).collect()
}

/// `--project-name`, `COMPOSE_PROJECT_NAME`, `name`, or the folder's name.
fn name(root: &Node, scope: &Scope, options: &Options, out: &mut Diagnostics) -> String {
    let field = Field::of(root, "name");
    let said = field.and_then(|f| f.string(out));
    let given = options.project_name.as_ref().or_else(|| scope.env.get("COMPOSE_PROJECT_NAME"));
    if let Some(given) = given.filter(|name| !name.is_empty()) {
        if normalised(given) != *given {
            let found = format!("invalid project name \"{given}\"");
            let expected = "lower-case letters, digits, '-' and '_', a letter or digit first";
            out.push(Diagnostic::new(At::nowhere("the project's name"), found).expected(expected));
        }
        return given.clone();
    }
    let folder = files::normal(&options.directory.join(&scope.folder));
    let folder = folder.components().next_back().and_then(|c| match c {
        Component::Normal(name) => name.to_str().map(normalised),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    });
    match (said.map(normalised), field) {
        (Some(name), Some(field)) if name.is_empty() => {
            out.push(field.bad("project name must not be empty").expected("letters, digits, '-' and '_'"));
            name
        }
        (Some(name), _) => name,
        // A folder without a name, or with none that Compose would take.
        (None, _) => folder.filter(|name| !name.is_empty()).unwrap_or_else(|| "project".to_owned()),
    }
}

/// Lower case, without what Docker takes for no part of a name (compose-go, NormalizeProjectName).
fn normalised(name: &str) -> String {
    let name = name.to_lowercase();
    let kept =
        name.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
    kept.collect::<String>().trim_start_matches(['-', '_']).to_owned()
}
