//! YAML as a tree in which every node knows where it stands, with limits that no alias bomb passes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::diagnostic::{At, Diagnostic, Diagnostics, Source};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// The most nodes of one file, aliases counted as what they stand for, and a long scalar as one node for each KiB.
pub const MAX_NODES: usize = 100_000;
/// The deepest nesting, aliases counted as what they stand for.
pub const MAX_DEPTH: usize = 64;

/// The key that merges mappings into the one it stands in (YAML 1.1, language-independent types: merge).
pub const MERGE: &str = "<<";

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where.
    pub at: At,
    /// What.
    pub value: Value,
    /// The tag without its `!`, where there is one: compose's `reset` and `override`.
    pub tag: Option<String>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A scalar, as written.
    Scalar(Scalar),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the file; no key stands twice.
    Mapping(Vec<(Key, Node)>),
}

/// A scalar's text, and whether it was plain: `80` is a number, `"80"` is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, unescaped.
    pub text: String,
    /// Whether it stood without quotes.
    pub plain: bool,
}

/// A mapping's key and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where.
    pub at: At,
    /// The key.
    pub name: String,
}

impl Node {
    /// Whether this is a plain `null`, `~`, or nothing at all (YAML 1.2, 10.3.2).
    #[must_use]
    pub fn is_null(&self) -> bool {
        let null = |s: &Scalar| s.plain && matches!(s.text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        matches!(&self.value, Value::Scalar(s) if null(s))
    }

    /// The scalar's text, unless this is null or no scalar.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(s) if !self.is_null() => Some(&s.text),
            Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The value of `key`, where this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|(k, _)| k.name == key).map(|(_, node)| node),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// Whether this says the same as `other`, wherever the two stand.
    #[must_use]
    pub fn says_same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Scalar(a), Value::Scalar(b)) => a == b,
            (Value::Sequence(a), Value::Sequence(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says_same(b))
            }
            (Value::Mapping(a), Value::Mapping(b)) => {
                let same = |(a, b): (&(Key, Self), &(Key, Self))| a.0.name == b.0.name && a.1.says_same(&b.1);
                a.len() == b.len() && a.iter().zip(b).all(same)
            }
            (Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_), _) => false,
        }
    }

    /// How many nodes this is, itself and all below.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.value {
            Value::Scalar(_) => 1,
            Value::Sequence(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Value::Mapping(entries) => 1 + entries.iter().map(|(_, node)| node.count()).sum::<usize>(),
        }
    }

    /// What a reader would call this: "a mapping", "a number", …
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Mapping(_) => "a mapping",
            Value::Sequence(_) => "a list",
            Value::Scalar(_) if self.is_null() => "nothing",
            Value::Scalar(s) if !s.plain => "a string",
            Value::Scalar(s) if matches!(s.text.as_str(), "true" | "false") => "a boolean",
            Value::Scalar(s) if s.text.parse::<f64>().is_ok() => "a number",
            Value::Scalar(_) => "a string",
        }
    }
}

/// Reads the one document of `source`; an empty text is null.
///
/// # Errors
/// What the YAML parser says, a second document, a key that stands twice or is no scalar, an unknown alias, and a
/// file above [`MAX_FILE_BYTES`], [`MAX_NODES`] or [`MAX_DEPTH`].
pub fn parse(source: &Arc<Source>) -> Result<Node, Diagnostics> {
    if source.text.len() > MAX_FILE_BYTES {
        let found = format!("the file is {} bytes long", source.text.len());
        return Err(Diagnostic::new(At::new(source, 0..0), found).expected("at most 1 MiB").into());
    }
    let mut tree = Tree::new(source);
    for event in Parser::new_from_str(&source.text) {
        match event {
            Ok((event, span)) => tree.take(event, span)?,
            Err(e) => {
                let at = tree.at(Span::new(*e.marker(), *e.marker()));
                return Err(Diagnostic::new(at, format!("not YAML: {}", e.info())).into());
            }
        }
    }
    Ok(tree.finish())
}

/// A collection that is being read.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<Key>,
    /// The keys so far, and where each stands.
    keys: BTreeMap<String, At>,
    size: Size,
}

/// How large a node is, for the limits.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Nodes, itself and all below.
    nodes: usize,
    /// Levels of collections, itself and all below.
    levels: usize,
}

struct Tree<'a> {
    source: &'a Arc<Source>,
    /// Byte offsets of the text's characters: the parser counts characters.
    offsets: Vec<usize>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, Size)>,
    nodes: usize,
    root: Option<Node>,
}

impl<'a> Tree<'a> {
    fn new(source: &'a Arc<Source>) -> Self {
        let offsets = source.text.char_indices().map(|(i, _)| i).collect();
        Self { source, offsets, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None }
    }

    fn at(&self, span: Span) -> At {
        let byte = |chars: usize| self.offsets.get(chars).copied().unwrap_or(self.source.text.len());
        At::new(self.source, byte(span.start.index())..byte(span.end.index()))
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostics> {
        let at = self.at(span);
        let tag_of = |tag: Option<Cow<'_, Tag>>| tag.map(|t| t.suffix.clone());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let says_string = tag.as_ref().is_some_and(|t| t.is_yaml_core_schema() && t.suffix == "str");
                let plain = style == ScalarStyle::Plain && !says_string;
                let scalar = Scalar { text: text.into_owned(), plain };
                self.leaf(Node { at, value: Value::Scalar(scalar), tag: tag_of(tag) }, anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::SequenceStart(anchor, tag) => {
                self.start(Node { at, value: Value::Sequence(Vec::new()), tag: tag_of(tag) }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Node { at, value: Value::Mapping(Vec::new()), tag: tag_of(tag) }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&at),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Diagnostic::new(at, "a second document").expected("one document a file").into())
            }
            Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
            Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, at: &At) -> Result<(), Diagnostics> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let found =
            format!("the file has more than {MAX_NODES} values, aliases counted as what they stand for");
        Err(Diagnostic::new(at.clone(), found).expected("a smaller file").into())
    }

    fn leaf(&mut self, node: Node, anchor: usize) -> Result<(), Diagnostics> {
        let kib = match &node.value {
            Value::Scalar(scalar) => scalar.text.len() / 1024,
            Value::Sequence(_) | Value::Mapping(_) => 0,
        };
        let size = Size { nodes: 1 + kib, levels: 0 };
        self.count(size.nodes, &node.at)?;
        self.place(node, anchor, size)
    }

    fn alias(&mut self, anchor: usize, at: At) -> Result<(), Diagnostics> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(Diagnostic::new(at, "an alias inside what it stands for")
                .expected("an alias of an anchor that ended before it")
                .into());
        };
        let size = *size;
        if self.nodes + size.nodes > MAX_NODES {
            return self.count(size.nodes, &at);
        }
        if self.open.len() + size.levels > MAX_DEPTH {
            return Err(too_deep(at));
        }
        let node = node.clone();
        self.nodes += size.nodes;
        self.place(node, 0, size)
    }

    fn start(&mut self, node: Node, anchor: usize) -> Result<(), Diagnostics> {
        self.count(1, &node.at)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(node.at));
        }
        let size = Size { nodes: 1, levels: 1 };
        self.open.push(Open { node, anchor, key: None, keys: BTreeMap::new(), size });
        Ok(())
    }

    fn end(&mut self, at: &At) -> Result<(), Diagnostics> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        // A block collection's end event stands at the next token: end where its last child ended.
        let last = match &open.node.value {
            Value::Sequence(items) => items.last().map(|n| n.at.span.end),
            Value::Mapping(entries) => entries.last().map(|(k, n)| k.at.span.end.max(n.at.span.end)),
            Value::Scalar(_) => None,
        };
        let start = open.node.at.span.start;
        let flow = self.source.text[start..].starts_with(['{', '[']);
        let end = if flow { at.span.end } else { last.unwrap_or(at.span.end) };
        open.node.at.span = start..end.max(start);
        self.place(open.node, open.anchor, open.size)
    }

    fn place(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), Diagnostics> {
        if anchor > 0 {
            self.count(size.nodes, &node.at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.size.nodes += size.nodes;
        parent.size.levels = parent.size.levels.max(size.levels + 1);
        match &mut parent.node.value {
            Value::Sequence(items) => items.push(node),
            Value::Mapping(entries) => match parent.key.take() {
                Some(key) => entries.push((key, node)),
                None => parent.key = Some(key_of(node, &mut parent.keys)?),
            },
            Value::Scalar(_) => {}
        }
        Ok(())
    }

    fn finish(self) -> Node {
        self.root.unwrap_or_else(|| Node {
            at: At::new(self.source, 0..0),
            value: Value::Scalar(Scalar { text: String::new(), plain: true }),
            tag: None,
        })
    }
}

fn too_deep(at: At) -> Diagnostics {
    Diagnostic::new(at, format!("more than {MAX_DEPTH} levels of nesting")).into()
}

/// The node as a key that is not among `keys`; Compose's `<<` may stand more than once.
fn key_of(node: Node, keys: &mut BTreeMap<String, At>) -> Result<Key, Diagnostics> {
    let kind = node.kind();
    let Value::Scalar(scalar) = node.value else {
        return Err(Diagnostic::new(node.at, format!("{kind} as a key")).expected("a string").into());
    };
    let key = Key { at: node.at, name: scalar.text };
    match keys.insert(key.name.clone(), key.at.clone()) {
        Some(first) if key.name != MERGE => {
            let twice = Diagnostic::new(key.at, format!("the key '{}' stands twice", key.name));
            Err(twice.expected("each key once").related(first, "first").into())
        }
        Some(_) | None => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, Diagnostics> {
        parse(&Arc::new(Source { name: "t.yaml".into(), text: text.into() }))
    }

    #[test]
    fn every_node_knows_where_it_stands() {
        let root = read("a:\n  - é: 80\n").unwrap();
        let Some(Node { value: Value::Sequence(items), .. }) = root.get("a") else { panic!("{root:?}") };
        let port = items[0].get("é").unwrap();
        assert_eq!(
            (port.at.to_string().as_str(), port.at.text(), port.kind()),
            ("t.yaml:2:8", "80", "a number")
        );
    }

    #[test]
    fn an_empty_text_is_null() {
        assert!(read("").unwrap().is_null());
        assert!(read("# only a comment\n").unwrap().is_null());
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let before = format!("*a{}, ", i - 1).repeat(9);
            text += &format!("a{i}: &a{i} [{before}]\n");
        }
        assert!(read(&text).unwrap_err().to_string().contains("more than 100000 values"));
    }

    #[test]
    fn deep_nesting_a_second_document_and_a_double_key_are_refused() {
        assert!(read(&"[".repeat(70)).unwrap_err().to_string().contains("64 levels"));
        assert!(read("a: 1\n---\nb: 2\n").unwrap_err().to_string().contains("second document"));
        let twice = read("a: 1\nb: 2\na: 3\n").unwrap_err().to_string();
        assert_eq!(
            twice,
            "t.yaml:3:1: the key 'a' stands twice (expected each key once); first at t.yaml:1:1"
        );
    }

    #[test]
    fn aliases_of_a_long_text_count_as_much_as_the_text() {
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(900_000), "*a, ".repeat(1000));
        assert!(read(&text).unwrap_err().to_string().contains("more than 100000 values"));
    }

    #[test]
    fn aliases_nest_no_deeper_than_what_is_written_out() {
        let mut text = String::from("a0: &a0 [x]\n");
        for i in 1..70 {
            text += &format!("a{i}: &a{i} [*a{}]\n", i - 1);
        }
        assert!(read(&text).unwrap_err().to_string().contains("64 levels"));
    }

    #[test]
    fn a_tag_makes_a_number_a_string() {
        assert_eq!(read("!!str 80").unwrap().kind(), "a string");
    }

    #[test]
    fn an_alias_inside_its_own_anchor_is_refused() {
        assert!(read("a: &a [*a]\n").is_err());
    }
}
