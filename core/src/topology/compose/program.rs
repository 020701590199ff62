//! What a service's container runs in a lab: its root is named by `x-rootfs`, in place of the image that is not fetched.

use std::path::Path;

use crate::diagnostic::Diagnostics;
use crate::topology::field::Field;
use crate::topology::files;
use crate::topology::yaml::{Node, Value};
use crate::topology::{Program, RootFs};

/// The extension key.
pub(super) const ROOTFS: &str = "x-rootfs";

/// The root that a service names, and what runs there; nothing where it names none.
pub(super) fn read(node: &Node, out: &mut Diagnostics) -> Option<RootFs> {
    let field = Field::of(node, ROOTFS)?;
    let path = field.string(out)?;
    if path.is_empty() {
        out.push(field.bad(format!("'{ROOTFS}' is empty")).expected("a folder, or a tar archive"));
        return None;
    }
    // As every path of a file that extends, or is extended.
    let folder = Path::new(&field.node.at.source.name).parent().unwrap_or(Path::new(""));
    let path = files::normal(&folder.join(path)).display().to_string();
    let words =
        |name, out: &mut Diagnostics| Field::of(node, name).map(|f| words(f, out)).unwrap_or_default();
    let command = [words("entrypoint", out), words("command", out)].concat();
    let working_dir = Field::of(node, "working_dir").and_then(|f| f.string(out)).map(str::to_owned);
    let environment = Field::of(node, "environment").map(|f| environment(f, out)).unwrap_or_default();
    let program = (!command.is_empty()).then_some(Program { command, environment, working_dir });
    Some(RootFs { path, program })
}

/// A list, or a line that is split as a shell would (compose-go, types.ShellCommand).
fn words(field: Field<'_>, out: &mut Diagnostics) -> Vec<String> {
    if let Value::Sequence(_) = field.node.value {
        return field.strings(out).into_iter().map(|(word, _)| word.to_owned()).collect();
    }
    let Some(line) = field.string(out) else { return Vec::new() };
    shlex::split(line).unwrap_or_else(|| {
        out.push(field.bad(format!("'{}' has a quote without its other", field.name)).expected("a command"));
        Vec::new()
    })
}

/// A mapping, or a list of `NAME=VALUE`; the last of one name holds, and one without a value is left out.
fn environment(field: Field<'_>, out: &mut Diagnostics) -> Vec<(String, String)> {
    match &field.node.value {
        Value::Mapping(entries) => {
            let said = entries.iter().filter(|(_, node)| !node.is_null());
            let value = |node| Field { name: field.name, node };
            said.filter_map(|(key, node)| Some((key.name.clone(), value(node).text(out)?.to_owned())))
                .collect()
        }
        Value::Sequence(_) => {
            let all = field.strings(out).into_iter();
            all.filter_map(|(text, _)| text.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        }
        Value::Scalar(_) => {
            out.push(field.wrong("a mapping, or a list of NAME=VALUE"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::Source;
    use crate::topology::yaml;

    fn read_text(text: &str) -> (Option<RootFs>, Diagnostics) {
        let source = Arc::new(Source { name: "shop/compose.yaml".into(), text: text.into() });
        let mut out = Diagnostics::default();
        let read = read(&yaml::parse(&source).unwrap(), &mut out);
        (read, out)
    }

    #[test]
    fn a_root_is_named_from_the_folder_of_its_file() {
        let text = "x-rootfs: ../roots/nginx\nentrypoint: [/run.sh]\ncommand: nginx -g 'daemon off;'\nworking_dir: /srv\nenvironment: { A: 1, B: }\n";
        let (read, out) = read_text(text);
        assert!(out.0.is_empty(), "{out}");
        let words = |all: &[&str]| all.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(
            read,
            Some(RootFs {
                path: "roots/nginx".into(),
                program: Some(Program {
                    command: words(&["/run.sh", "nginx", "-g", "daemon off;"]),
                    environment: vec![("A".into(), "1".into())],
                    working_dir: Some("/srv".into()),
                })
            })
        );
    }

    #[test]
    fn a_command_alone_runs_nothing() {
        assert_eq!(read_text("command: nginx\n").0, None);
        assert_eq!(read_text("x-rootfs: /r\n").0, Some(RootFs { path: "/r".into(), program: None }));
    }

    #[test]
    fn what_is_wrong_is_said_where_it_stands() {
        let (_, out) = read_text("x-rootfs: /r\ncommand: it's\nenvironment: A\n");
        let said: Vec<String> = out.0.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with("shop/compose.yaml:2:10: 'command' has a quote without its other"),
            "{said:?}"
        );
        assert!(said[1].starts_with("shop/compose.yaml:3:14: 'environment' is a string"), "{said:?}");
    }
}
