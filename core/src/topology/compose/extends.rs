//! `extends`: a service laid over another, of the same file or of another one.

use std::path::PathBuf;
use std::rc::Rc;

use super::load::{Loader, Scope};
use super::{check, keys, merge};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::field::Field;
use crate::topology::files;
use crate::topology::yaml::{Key, Node, Value};

/// The longest chain of services that extend one another.
const MAX_CHAIN: usize = 32;

/// Lays every service of `tree` over what it extends.
pub(super) fn resolve(loader: &mut Loader<'_>, tree: &mut Node, scope: &Scope) {
    let extending = |node: &Node| node.get("extends").is_some();
    let Some(services) = tree.get("services") else { return };
    let Value::Mapping(entries) = &services.value else { return };
    if !entries.iter().any(|(_, node)| extending(node)) {
        return;
    }
    let file = scope.chain.last().cloned().unwrap_or_else(|| tree.at.source.name.clone().into());
    let here = Rc::new(tree.clone());
    let mut resolved = Vec::new();
    for (key, node) in entries.iter().filter(|(_, node)| extending(node)) {
        let origin = Origin { file: file.clone(), folder: scope.folder.clone(), tree: Rc::clone(&here) };
        resolved
            .extend(service(loader, key, origin, scope).map(|new| (key.name.clone(), node.tag.clone(), new)));
    }
    let Value::Mapping(root) = &mut tree.value else { return };
    let services = root.iter_mut().find(|(key, _)| key.name == "services").map(|(_, node)| &mut node.value);
    let Some(Value::Mapping(entries)) = services else { return };
    let mut resolved = resolved.into_iter().peekable();
    for (key, node) in entries {
        if let Some((_, tag, new)) = resolved.next_if(|(name, ..)| *name == key.name) {
            *node = Node { tag, ..new };
        }
    }
}

/// A file in which a service is looked up.
struct Origin {
    file: PathBuf,
    folder: PathBuf,
    tree: Rc<Node>,
}

impl Origin {
    fn service(&self, name: &str) -> Option<&Node> {
        self.tree.get("services").and_then(|s| s.get(name))
    }
}

/// The service under `key`, laid over what it extends.
fn service(loader: &mut Loader<'_>, key: &Key, origin: Origin, scope: &Scope) -> Option<Node> {
    let (mut origin, mut name, mut at) = (origin, key.name.clone(), key.at.clone());
    let mut seen: Vec<(PathBuf, String)> = Vec::new();
    let mut layers = Vec::new();
    loop {
        let link = (origin.file.clone(), name.clone());
        if seen.contains(&link) {
            let from = seen.iter().position(|other| *other == link).unwrap_or_default();
            let circle = seen.split_off(from);
            if loader.circles.insert(circle.iter().cloned().collect()) {
                loader.out.push(cycle(&circle, at));
            }
            return None;
        }
        seen.push(link);
        if seen.len() > MAX_CHAIN {
            let found = format!("more than {MAX_CHAIN} services that extend one another");
            loader.out.push(Diagnostic::new(at, found));
            return None;
        }
        let Some(layer) = origin.service(&name) else {
            let missing = missing(&origin, &name, at, &loader.out);
            loader.out.push(missing);
            return None;
        };
        if !loader.spend(layer, &at) {
            return None;
        }
        let mut layer = layer.clone();
        let extends = take_extends(&mut layer);
        layers.push(layer);
        let Some(extends) = extends else { break };
        let said = said(loader, &extends)?;
        at = extends.at.clone();
        name = said.service;
        if let Some(file) = said.file {
            origin = open(loader, &origin, &file, &at, scope)?;
        }
    }
    let base = merge::plain(layers.pop()?);
    let over = |base, over| merge::merge(base, over, &["services", &key.name], &mut loader.out);
    Some(layers.into_iter().rev().fold(base, over))
}

fn take_extends(layer: &mut Node) -> Option<Node> {
    let Value::Mapping(entries) = &mut layer.value else { return None };
    let place = entries.iter().position(|(key, _)| key.name == "extends")?;
    Some(entries.remove(place).1).filter(|node| !node.is_null())
}

/// What an `extends` says.
struct Said {
    service: String,
    file: Option<String>,
}

fn said(loader: &mut Loader<'_>, extends: &Node) -> Option<Said> {
    let field = Field { name: "extends", node: extends };
    match &extends.value {
        Value::Scalar(_) => Some(Said { service: field.string(&mut loader.out)?.to_owned(), file: None }),
        Value::Mapping(_) => {
            keys::check(extends, &["service", "file"], "'extends'", &mut loader.out);
            let Some(service) = Field::of(extends, "service") else {
                loader.out.push(field.bad("'extends' without a 'service'").expected("the service's name"));
                return None;
            };
            let service = service.string(&mut loader.out)?.to_owned();
            let file = Field::of(extends, "file").and_then(|f| f.string(&mut loader.out));
            Some(Said { service, file: file.map(str::to_owned) })
        }
        Value::Sequence(_) => {
            loader.out.push(field.wrong("a service's name, or a mapping with 'service' and 'file'"));
            None
        }
    }
}

fn open(loader: &mut Loader<'_>, from: &Origin, file: &str, at: &At, scope: &Scope) -> Option<Origin> {
    let path = files::normal(&from.folder.join(file));
    let key = (scope.id, path.clone());
    let tree = match loader.bases.get(&key) {
        Some(tree) => tree.clone(),
        None => {
            let tree = loader.file(&path, at, scope).map(Rc::new);
            loader.bases.insert(key, tree.clone());
            tree
        }
    };
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    tree.map(|tree| Origin { file: path, folder, tree })
}

fn missing(origin: &Origin, name: &str, at: At, out: &Diagnostics) -> Diagnostic {
    let found = format!("service '{name}' is not in {}", origin.file.display());
    let near = check::suggest(name, check::keys_of(origin.tree.get("services")), out);
    let expected = near.map_or_else(|| "a service of that file".to_owned(), |n| format!("'{n}'"));
    Diagnostic::new(at, found).expected(expected)
}

fn cycle(circle: &[(PathBuf, String)], at: At) -> Diagnostic {
    let links = circle.iter().chain(circle.first());
    let links: Vec<String> = links.map(|(file, name)| format!("{name} in {}", file.display())).collect();
    Diagnostic::new(at, format!("services extend one another in a circle: {}", links.join(" -> ")))
}
