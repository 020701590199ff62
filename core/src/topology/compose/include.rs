//! `include`: other projects' services, networks and the rest, read with their own folder and variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::keys;
use super::load::{Loader, Scope};
use crate::diagnostic::{At, Diagnostic};
use crate::topology::field::Field;
use crate::topology::files;
use crate::topology::yaml::{Key, Node, Value};

/// The longest chain of files that include one another.
const MAX_DEPTH: usize = 16;

/// The sections that an included file brings along.
const SECTIONS: &[&str] = &["services", "networks", "volumes", "secrets", "configs", "models"];

/// Puts into `tree` what it includes.
pub(super) fn resolve(loader: &mut Loader<'_>, tree: &mut Node, scope: &Scope) {
    let Value::Mapping(root) = &mut tree.value else { return };
    let Some(place) = root.iter().position(|(key, _)| key.name == "include") else { return };
    let (_, include) = root.remove(place);
    if include.is_null() {
        return;
    }
    let mut places = places(tree);
    for entry in (Field { name: "include", node: &include }).list(&mut loader.out) {
        let Some(said) = said(loader, entry, scope) else { continue };
        if let Some(included) = project(loader, &said, scope) {
            import(loader, tree, &mut places, included, &said.at);
        }
    }
}

/// What an entry says.
struct Said {
    paths: Vec<PathBuf>,
    folder: PathBuf,
    env_files: Option<Vec<(PathBuf, At)>>,
    at: At,
}

fn said(loader: &mut Loader<'_>, entry: &Node, scope: &Scope) -> Option<Said> {
    let out = &mut loader.out;
    let field = Field { name: "include", node: entry };
    let under = |path: &str| files::normal(&scope.folder.join(path));
    let long = matches!(entry.value, Value::Mapping(_));
    if long {
        keys::check(entry, &["path", "project_directory", "env_file"], "an entry of 'include'", out);
    }
    let paths = match (long, Field::of(entry, "path")) {
        (true, None) => {
            out.push(field.bad("an entry of 'include' without a 'path'").expected("a file's path"));
            return None;
        }
        (true, Some(path)) => path.string_or_list(out),
        (false, _) => vec![(field.string(out)?, entry.at.clone())],
    };
    let paths: Vec<PathBuf> = paths.into_iter().map(|(path, _)| under(path)).collect();
    let first = paths.first()?;
    let folder = match Field::of(entry, "project_directory") {
        Some(directory) => under(directory.string(out)?),
        None => first.parent().map(PathBuf::from).unwrap_or_default(),
    };
    let env_files = Field::of(entry, "env_file").map(|f| f.string_or_list(out));
    let env_files = env_files.map(|all| all.into_iter().map(|(path, at)| (under(path), at)).collect());
    Some(Said { paths, folder, env_files, at: entry.at.clone() })
}

/// The included files as one tree.
fn project(loader: &mut Loader<'_>, said: &Said, scope: &Scope) -> Option<Node> {
    if let Some(again) = said.paths.iter().find(|p| scope.chain.contains(p)) {
        loader.out.push(cycle(&scope.chain, again, said.at.clone()));
        return None;
    }
    if scope.chain.len() >= MAX_DEPTH {
        let found = format!("more than {MAX_DEPTH} files that include one another");
        loader.out.push(Diagnostic::new(said.at.clone(), found));
        return None;
    }
    let mut inner = match &said.env_files {
        None => loader.scope(&said.folder, &scope.env),
        Some(env_files) => loader.scope_of(&said.folder, env_files, &scope.env),
    };
    inner.chain.clone_from(&scope.chain);
    loader.model(&said.paths, &said.at, &inner)
}

fn cycle(chain: &[PathBuf], again: &Path, at: At) -> Diagnostic {
    let from = chain.iter().position(|p| p == again).unwrap_or_default();
    let files = chain.iter().map(PathBuf::as_path).skip(from).chain([again]);
    let files: Vec<String> = files.map(|p| p.display().to_string()).collect();
    Diagnostic::new(at, format!("files include one another in a circle: {}", files.join(" -> ")))
}

/// The entries of the sections so far: where each stands, and whether it is the including file's own.
type Places = BTreeMap<(String, String), (usize, bool)>;

fn places(tree: &Node) -> Places {
    let sections = SECTIONS.iter().filter_map(|name| Some((*name, tree.get(name)?)));
    let entries = sections.flat_map(|(name, section)| match &section.value {
        Value::Mapping(entries) => entries.iter().enumerate().map(|(i, (k, _))| (name, i, k)).collect(),
        Value::Scalar(_) | Value::Sequence(_) => Vec::new(),
    });
    entries.map(|(name, i, key)| ((name.to_owned(), key.name.clone()), (i, true))).collect()
}

/// Adds the entries of `included`; one that the including file has itself, or another says otherwise, is refused.
fn import(loader: &mut Loader<'_>, tree: &mut Node, places: &mut Places, included: Node, at: &At) {
    let Value::Mapping(sections) = included.value else { return };
    for (section, node) in sections {
        if !SECTIONS.contains(&section.name.as_str()) || node.is_null() || !loader.spend(&node, at) {
            continue;
        }
        let Value::Mapping(new) = node.value else {
            loader.out.push(Field { name: &section.name, node: &node }.wrong("a mapping"));
            continue;
        };
        // A section of another type is refused where it is read.
        let Some(entries) = entries(tree, &section) else { continue };
        for (key, node) in new {
            let name = (section.name.clone(), key.name.clone());
            let there = places.get(&name).and_then(|(i, own)| Some((entries.get(*i)?, *own)));
            match there {
                Some(((_, other), own)) if own || !other.says_same(&node) => {
                    loader.out.push(conflict(&section, &key, other));
                }
                Some(_) => {}
                None => {
                    places.insert(name, (entries.len(), false));
                    entries.push((key, node));
                }
            }
        }
    }
}

/// The entries of a section, which is made where there is none.
fn entries<'a>(tree: &'a mut Node, section: &Key) -> Option<&'a mut Vec<(Key, Node)>> {
    let Value::Mapping(root) = &mut tree.value else { return None };
    let place = root.iter().position(|(key, _)| key.name == section.name).unwrap_or_else(|| {
        let empty = Node { at: section.at.clone(), value: Value::Mapping(Vec::new()), tag: None };
        root.push((section.clone(), empty));
        root.len() - 1
    });
    let (_, node) = root.get_mut(place)?;
    if node.is_null() {
        node.value = Value::Mapping(Vec::new());
    }
    match &mut node.value {
        Value::Mapping(entries) => Some(entries),
        Value::Scalar(_) | Value::Sequence(_) => None,
    }
}

fn conflict(section: &Key, key: &Key, other: &Node) -> Diagnostic {
    let found = format!("'{}' of '{}' conflicts with an included one", key.name, section.name);
    Diagnostic::new(key.at.clone(), found).expected("another name").related(other.at.clone(), "the other")
}
