//! From files to one tree: `.env`, variables, `<<`, `extends`, `include`, and the files laid over each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Options, dotenv, extends, include, interpolate, merge};
use crate::diagnostic::{At, Diagnostic, Diagnostics};
use crate::topology::files::{self, Files};
use crate::topology::yaml::{self, MAX_FILE_BYTES, MAX_NODES, Node, Value};

/// The most files of one project.
pub(super) const MAX_FILES: usize = 256;

/// Reads the files of a project, and what they name.
pub(super) struct Loader<'a> {
    files: &'a dyn Files,
    /// All that is wrong so far.
    pub(super) out: Diagnostics,
    /// What Compose would warn of.
    pub(super) warnings: Vec<Diagnostic>,
    loaded: usize,
    nodes: usize,
    /// Trees of files that `extends` names, by scope and path.
    pub(super) bases: BTreeMap<(usize, PathBuf), Option<Rc<Node>>>,
    /// Circles of services that extend one another, each reported once.
    pub(super) circles: BTreeSet<BTreeSet<(PathBuf, String)>>,
    scopes: usize,
}

/// What is found while a tree is read.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    /// What is wrong.
    pub(super) out: &'a mut Diagnostics,
    /// What Compose would warn of.
    pub(super) warnings: &'a mut Vec<Diagnostic>,
}

/// What holds for all files of a project, or of an included one.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// Where relative paths start from.
    pub(super) folder: PathBuf,
    /// The variables.
    pub(super) env: BTreeMap<String, String>,
    /// The files that include one another, this scope's last.
    pub(super) chain: Vec<PathBuf>,
    /// Tells scopes apart.
    pub(super) id: usize,
}

impl<'a> Loader<'a> {
    /// A loader that has read nothing.
    pub(super) fn new(files: &'a dyn Files) -> Self {
        Self {
            files,
            out: Diagnostics::default(),
            warnings: Vec::new(),
            loaded: 0,
            nodes: 0,
            bases: BTreeMap::new(),
            circles: BTreeSet::new(),
            scopes: 0,
        }
    }

    /// The scope of a whole project: as of its folder, but with the files of `--env-file` in place of `.env`.
    pub(super) fn project(&mut self, folder: &Path, options: &Options) -> Scope {
        if options.env_files.is_empty() {
            return self.scope(folder, &options.env);
        }
        let at = At::nowhere("--env-file");
        let env_files: Vec<_> = options.env_files.iter().map(|path| (path.clone(), at.clone())).collect();
        self.scope_of(folder, &env_files, &options.env)
    }

    /// The scope of a folder: the variables of `env`, and those of `.env` in it.
    pub(super) fn scope(&mut self, folder: &Path, env: &BTreeMap<String, String>) -> Scope {
        let path = files::normal(&folder.join(".env"));
        let there = match self.files.read(&path, MAX_FILE_BYTES) {
            Ok(_) => true,
            Err(e) => !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        let at = At::nowhere(&path.display().to_string());
        let env_files = if there { vec![(path, at)] } else { Vec::new() };
        self.scope_of(folder, &env_files, env)
    }

    /// The scope of a folder: the variables of `env`, and those of files, each with the place that asks for it.
    pub(super) fn scope_of(
        &mut self,
        folder: &Path,
        env_files: &[(PathBuf, At)],
        env: &BTreeMap<String, String>,
    ) -> Scope {
        let mut all = env.clone();
        for (path, at) in env_files {
            let source = files::load(self.files, path, at);
            let read = source.and_then(|source| dotenv::parse(&source, env, &mut all));
            self.out.extend(read.err());
        }
        self.scopes += 1;
        Scope { folder: folder.to_owned(), env: all, chain: Vec::new(), id: self.scopes }
    }

    /// The files of a project as one tree, the later ones laid over the earlier; `at` asks for them.
    pub(super) fn model(&mut self, paths: &[PathBuf], at: &At, scope: &Scope) -> Option<Node> {
        let mut all: Option<Node> = None;
        for path in paths {
            let tree = self.file(path, at, scope)?;
            let scope = Scope { chain: [&scope.chain[..], &[files::normal(path)]].concat(), ..scope.clone() };
            let tree = self.document(tree, &scope)?;
            all = Some(match all {
                Some(base) => merge::merge(base, tree, &[], &mut self.out),
                None => merge::plain(tree),
            });
        }
        all
    }

    /// The tree of one file with its variables replaced.
    pub(super) fn file(&mut self, path: &Path, at: &At, scope: &Scope) -> Option<Node> {
        self.loaded += 1;
        if self.loaded > MAX_FILES {
            let found = format!("more than {MAX_FILES} files, each counted as often as it is read");
            self.out.push(Diagnostic::new(at.clone(), found));
            return None;
        }
        let parsed = files::load(self.files, path, at).map_err(Diagnostics::from);
        match parsed.and_then(|source| yaml::parse(&source)) {
            Ok(tree) => Some(self.prepared(tree, scope)),
            Err(diagnostics) => {
                self.out.extend(diagnostics.0);
                None
            }
        }
    }

    /// The tree with `<<` and variables replaced.
    pub(super) fn prepared(&mut self, tree: Node, scope: &Scope) -> Node {
        let mut tree = merge::flatten(tree, &mut self.out);
        interpolate::interpolate(&mut tree, &scope.env, &mut self.out, &mut self.warnings);
        tree
    }

    /// The tree of one file with what it extends and includes.
    pub(super) fn document(&mut self, mut tree: Node, scope: &Scope) -> Option<Node> {
        if tree.is_null() {
            let empty = Diagnostic::new(tree.at, "empty compose file");
            self.out.push(empty.expected("at least a 'services' mapping"));
            return None;
        }
        if !matches!(tree.value, Value::Mapping(_)) {
            let found = format!("a compose file that is {}", tree.kind());
            self.out.push(Diagnostic::new(tree.at, found).expected("a mapping with 'services'"));
            return None;
        }
        if let Some(version) = tree.get("version") {
            let found = "'version' is obsolete and ignored";
            self.warnings.push(Diagnostic::new(version.at.clone(), found));
        }
        extends::resolve(self, &mut tree, scope);
        include::resolve(self, &mut tree, scope);
        Some(tree)
    }

    /// Whether a copy of `node` is within the limit of a project's size; if not, that is reported at `at`.
    pub(super) fn spend(&mut self, node: &Node, at: &At) -> bool {
        let before = self.nodes;
        self.nodes = self.nodes.saturating_add(node.count());
        if before <= MAX_NODES && self.nodes > MAX_NODES {
            let found = format!("more than {MAX_NODES} values once 'extends' and 'include' are followed");
            self.out.push(Diagnostic::new(at.clone(), found).expected("a smaller project"));
        }
        self.nodes <= MAX_NODES
    }
}
