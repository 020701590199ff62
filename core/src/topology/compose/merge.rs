//! One tree laid over another: several files, `extends`, and `<<` (compose-go, override).

use std::collections::{BTreeMap, BTreeSet};

use super::keys;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::topology::yaml::{Key, MERGE, Node, Scalar, Value};

/// How two values of one key become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Mappings key by key, lists one behind the other, scalars replaced.
    Deep,
    /// The later one.
    Replace,
    /// As lists, one behind the other: a scalar is a list of one, a mapping one of `KEY=VALUE`.
    Lists,
    /// As mappings: a list is one of nulls.
    Mappings,
    /// Entries with the same `subnet` as mappings, the others one behind the other.
    BySubnet,
}

/// The rule for the value at a path of keys; what changes no network is replaced.
fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "environment"] => Rule::Lists,
        ["services", _, key] if keys::SERVICE_READ_PAST.contains(key) => Rule::Replace,
        ["services", _, "dns" | "dns_opt" | "dns_search" | "extra_hosts" | "sysctls" | "tmpfs"] => {
            Rule::Lists
        }
        ["services", _, "depends_on" | "networks"] => Rule::Mappings,
        ["services", _, "deploy", key] if *key != "replicas" => Rule::Replace,
        ["volumes" | "secrets" | "configs" | "models", _] => Rule::Replace,
        ["networks", _, "labels"] => Rule::Replace,
        ["networks", _, "ipam", "config"] => Rule::BySubnet,
        [.., key] if key.starts_with("x-") => Rule::Replace,
        _ => Rule::Deep,
    }
}

/// `over` laid over `base`, both at `path`; `!reset` and `!override` are obeyed, and gone afterwards.
pub(super) fn merge(base: Node, over: Node, path: &[&str], out: &mut Diagnostics) -> Node {
    if over.tag.as_deref() == Some("override") || base.is_null() {
        return plain(over);
    }
    if over.is_null() {
        return base;
    }
    match rule(path) {
        Rule::Replace => plain(over),
        Rule::Deep => deep(base, over, path, out),
        Rule::Lists => deep(listed(base), listed(over), path, out),
        Rule::Mappings => deep(mapped(base), mapped(over), path, out),
        Rule::BySubnet => by_subnet(base, over, path, out),
    }
}

fn deep(base: Node, over: Node, path: &[&str], out: &mut Diagnostics) -> Node {
    let (at, kinds) = (base.at.clone(), (base.kind(), over.kind()));
    let over_at = over.at.clone();
    match (base.value, over.value) {
        (Value::Mapping(base), Value::Mapping(over)) => {
            Node { at: over_at, value: Value::Mapping(mappings(base, over, path, out)), tag: None }
        }
        (Value::Sequence(mut base), Value::Sequence(over)) => {
            base.extend(over.into_iter().map(plain));
            Node { at: over_at, value: Value::Sequence(base), tag: None }
        }
        (Value::Scalar(_), over) => plain(Node { at: over_at, value: over, tag: None }),
        (base @ (Value::Mapping(_) | Value::Sequence(_)), _) => {
            let key = path.last().copied().unwrap_or("the file");
            let found = format!("'{key}' is {} here and {} elsewhere", kinds.1, kinds.0);
            out.push(Diagnostic::new(over_at, found).expected(kinds.0).related(at.clone(), "elsewhere"));
            Node { at, value: base, tag: None }
        }
    }
}

fn mappings(
    mut base: Vec<(Key, Node)>,
    over: Vec<(Key, Node)>,
    path: &[&str],
    out: &mut Diagnostics,
) -> Vec<(Key, Node)> {
    let mut places: BTreeMap<String, usize> =
        base.iter().enumerate().map(|(i, (key, _))| (key.name.clone(), i)).collect();
    let mut dropped = BTreeSet::new();
    for (key, node) in over {
        let Some(&place) = places.get(&key.name) else {
            if node.tag.as_deref() != Some("reset") {
                places.insert(key.name.clone(), base.len());
                base.push((key, plain(node)));
            }
            continue;
        };
        if node.tag.as_deref() == Some("reset") {
            dropped.insert(place);
            continue;
        }
        if let Some((_, slot)) = base.get_mut(place) {
            let null = Node { at: node.at.clone(), value: null(), tag: None };
            let before = std::mem::replace(slot, null);
            let path: Vec<&str> = path.iter().copied().chain([key.name.as_str()]).collect();
            *slot = merge(before, node, &path, out);
        }
    }
    let kept = base.into_iter().enumerate().filter(|(i, _)| !dropped.contains(i));
    kept.map(|(_, entry)| entry).collect()
}

const fn null() -> Value {
    Value::Scalar(Scalar { text: String::new(), plain: true })
}

/// The tree without `!reset` and `!override`: nothing lies below it.
pub(super) fn plain(node: Node) -> Node {
    let value = match node.value {
        Value::Scalar(scalar) => Value::Scalar(scalar),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(plain).collect()),
        Value::Mapping(entries) => {
            let kept = entries.into_iter().filter(|(_, n)| n.tag.as_deref() != Some("reset"));
            Value::Mapping(kept.map(|(key, node)| (key, plain(node))).collect())
        }
    };
    Node { at: node.at, value, tag: None }
}

/// A scalar as a list of one, a mapping as a list of `KEY=VALUE`.
fn listed(node: Node) -> Node {
    let Node { at, value, tag } = node;
    let items = match value {
        Value::Sequence(items) => items,
        Value::Scalar(scalar) => vec![Node { at: at.clone(), value: Value::Scalar(scalar), tag: None }],
        Value::Mapping(entries) => entries.into_iter().flat_map(|(key, node)| pairs(&key, node)).collect(),
    };
    Node { at, value: Value::Sequence(items), tag }
}

/// `KEY=VALUE`, one for each value of a list.
fn pairs(key: &Key, node: Node) -> Vec<Node> {
    let pair = |node: &Node| {
        let text = format!("{}={}", key.name, node.as_str().unwrap_or_default());
        Node { at: node.at.clone(), value: Value::Scalar(Scalar { text, plain: false }), tag: None }
    };
    match &node.value {
        Value::Scalar(_) => vec![pair(&node)],
        Value::Sequence(items) => items.iter().map(pair).collect(),
        // Refused where the list is read.
        Value::Mapping(_) => vec![node],
    }
}

/// A list as a mapping of nulls; what is no name stays as it is and is refused where it is read.
fn mapped(node: Node) -> Node {
    let Node { at, value, tag } = node;
    let value = match value {
        Value::Sequence(items) if items.iter().all(|i| i.as_str().is_some()) => {
            let mut names = BTreeSet::new();
            let mut first = |item: &Node| names.insert(item.as_str().unwrap_or_default().to_owned());
            let entry = |item: Node| {
                let key = Key { at: item.at.clone(), name: item.as_str().unwrap_or_default().to_owned() };
                (key, Node { at: item.at, value: null(), tag: None })
            };
            let entries = items.into_iter().filter(|item| first(item)).map(entry).collect();
            Value::Mapping(entries)
        }
        value @ (Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_)) => value,
    };
    Node { at, value, tag }
}

fn by_subnet(base: Node, over: Node, path: &[&str], out: &mut Diagnostics) -> Node {
    let subnet = |node: &Node| node.get("subnet").and_then(Node::as_str).map(str::to_owned);
    match (base.value, over.value) {
        (Value::Sequence(mut base), Value::Sequence(over_items)) => {
            let places: BTreeMap<_, _> =
                base.iter().enumerate().filter_map(|(i, n)| Some((subnet(n)?, i))).collect();
            for item in over_items {
                let place = subnet(&item).and_then(|s| places.get(&s));
                match place.and_then(|i| base.get_mut(*i)) {
                    Some(slot) => *slot = deep(slot.clone(), item, path, out),
                    None => base.push(plain(item)),
                }
            }
            Node { at: over.at, value: Value::Sequence(base), tag: None }
        }
        (base_value, over_value) => {
            let base = Node { at: base.at, value: base_value, tag: None };
            deep(base, Node { at: over.at, value: over_value, tag: None }, path, out)
        }
    }
}

/// Puts what `<<` names into the mappings it stands in: what is written out wins, then the earlier of a list.
pub(super) fn flatten(node: Node, out: &mut Diagnostics) -> Node {
    let value = match node.value {
        Value::Scalar(scalar) => Value::Scalar(scalar),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(|n| flatten(n, out)).collect()),
        Value::Mapping(entries) => {
            let entries = entries.into_iter().map(|(key, node)| (key, flatten(node, out)));
            let (merged, mut own): (Vec<_>, Vec<_>) = entries.partition(|(key, _)| key.name == MERGE);
            let mut names: BTreeSet<String> = own.iter().map(|(key, _)| key.name.clone()).collect();
            for (_, node) in merged {
                for (key, node) in merged_entries(node, out) {
                    if names.insert(key.name.clone()) {
                        own.push((key, node));
                    }
                }
            }
            Value::Mapping(own)
        }
    };
    Node { at: node.at, value, tag: node.tag }
}

fn merged_entries(node: Node, out: &mut Diagnostics) -> Vec<(Key, Node)> {
    let refuse = |node: &Node| {
        let found = format!("'{MERGE}' is {}", node.kind());
        Diagnostic::new(node.at.clone(), found).expected("a mapping, or a list of mappings")
    };
    match node.value {
        Value::Mapping(entries) => entries,
        Value::Sequence(items) => {
            let mut all = Vec::new();
            for item in items {
                match item.value {
                    Value::Mapping(entries) => all.extend(entries),
                    Value::Scalar(_) | Value::Sequence(_) => out.push(refuse(&item)),
                }
            }
            all
        }
        Value::Scalar(_) => {
            out.push(refuse(&node));
            Vec::new()
        }
    }
}
